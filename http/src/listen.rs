//! Accepting connections on one core and serving HTTP/1.1 on them. [glommio]
//! `process::core` calls [`listen`] on every core; requests come out as calls of a hyper service with a
//! [`RequestBody`].
//!
//! Every wait for a client is bounded: [`ListenLimits`]. A client that keeps us waiting is cut, and its request's
//! future is dropped; but whoever reads a body that does not come gets an error and may answer first. Waits are looked at by
//! a sweep, so they may last a quarter longer than the limit.
//!
//! I1. A connection stays open after an answer only when the next byte on it is that of a request: the body before it
//! was read to its end, and a client that asked for `100 Continue` got it.
#![expect(clippy::disallowed_methods, reason = "the fence: waits for clients are timed here")]

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use futures_util::future::{Either, select};
use futures_util::io::{AsyncReadExt, AsyncWriteExt};
use glommio::net::TcpStream;
use http::header::{CONNECTION, EXPECT};
use http::{HeaderValue, Request, Response, Version};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use nilas_engine::rt;

pub use crate::hyper_io::{BodyFault, RequestBody};
use crate::hyper_io::{ClientTimeouts, ConnectionActivity, Io, MinRate, Phase, ResponseBody, Stall, bind};
use crate::limits::{
    CLIENT_RATE_MIN, CONNECTION_BUFFER_BYTES_MAX, CONNECTIONS_MAX, SHORT_CLIENT_RATE_MIN, SHORT_TIMEOUT,
};
use crate::memory::Shortage;
use crate::source::Source;

/// Connections over the limit that are told so at the same time; more are closed without a word.
const REFUSALS_MAX: usize = 64;

/// Bytes read and thrown away after an early answer, so that the client gets to read it.
const LINGER_BYTES_MAX: usize = 64 << 20;

/// Bytes of them in one go: many connections may be ending at once.
const LINGER_STEP_BYTES: usize = 16 << 10;

/// Longest time between two looks at all connections.
const SWEEP_MAX: Duration = Duration::from_secs(1);

/// What one core allows its clients.
#[derive(Clone, Copy, Debug)]
pub struct ListenLimits {
    /// Connections of one core; one more is answered 503 and closed.
    pub connections_max: usize,
    /// Bytes of a request's head; a larger one is answered 431.
    pub head_bytes_max: usize,
    /// Header lines of a request; more are answered 431.
    pub headers_max: usize,
    /// From the first byte of a head (for the first request: from the connection) to its end.
    pub head_timeout: Duration,
    /// Between two requests.
    pub idle_timeout: Duration,
    /// Without a byte of a body that the service waits for.
    pub body_timeout: Duration,
    /// Without room for a byte of a response.
    pub write_timeout: Duration,
    /// For requests to finish after the stop.
    pub stop_grace: Duration,
    /// For reading on after an answer that came before the end of the body.
    pub linger: Duration,
}

impl ListenLimits {
    /// What a server uses unless configured otherwise.
    pub const SERVER: ListenLimits = ListenLimits {
        connections_max: CONNECTIONS_MAX,
        head_bytes_max: 32 << 10,
        headers_max: 100,
        head_timeout: Duration::from_secs(10),
        idle_timeout: Duration::from_secs(75),
        body_timeout: Duration::from_secs(30),
        write_timeout: Duration::from_secs(30),
        stop_grace: Duration::from_secs(15),
        linger: Duration::from_secs(5),
    };

    /// How long clients are waited for; those that hold what others lack, for less.
    fn timeouts(&self, shortage: Shortage) -> ClientTimeouts {
        let slowest = |wait: Duration, short: bool| match short {
            false => MinRate { wait, rate: CLIENT_RATE_MIN },
            true => MinRate { wait: wait.min(SHORT_TIMEOUT), rate: SHORT_CLIENT_RATE_MIN },
        };
        ClientTimeouts {
            idle: self.idle_timeout,
            head: self.head_timeout,
            body: slowest(self.body_timeout, shortage.bodies),
            write: slowest(self.write_timeout, shortage.answers),
        }
    }

    fn sweep(&self) -> Duration {
        let shortest =
            self.idle_timeout.min(self.head_timeout).min(self.body_timeout).min(self.write_timeout);
        (shortest / 4).clamp(Duration::from_millis(5), SWEEP_MAX)
    }
}

/// An address that cannot be listened on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenError {
    /// The address.
    pub address: SocketAddr,
    /// The `errno` value.
    pub code: i32,
}

impl ListenError {
    pub(crate) fn new(address: SocketAddr, e: &io::Error) -> ListenError {
        ListenError { address, code: e.raw_os_error().unwrap_or(libc::EIO) }
    }
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cause = io::Error::from_raw_os_error(self.code);
        write!(f, "cannot listen on {}: {cause}", self.address)?;
        match self.code {
            libc::EADDRINUSE => {
                write!(f, "; another process listens there, stop it or choose another --address")
            }
            libc::EACCES => write!(f, "; ports below 1024 need CAP_NET_BIND_SERVICE"),
            libc::EADDRNOTAVAIL => write!(f, "; no interface of this machine has that address"),
            _ => Ok(()),
        }
    }
}

impl Error for ListenError {}

/// Accepts connections of this core's share of `address` and serves them until `stop` resolves, then lets requests finish.
///
/// `service` makes the service of one connection. Response bodies are sent piece by piece as they are; a frame should
/// have 64 KiB to 1 MiB. `shortage` is asked about once a second. Returns once all connections are closed, at the latest after `stop_grace`.
pub async fn listen<F, S, B>(
    address: SocketAddr,
    limits: ListenLimits,
    stop: impl Future<Output = ()>,
    shortage: impl FnMut() -> Shortage + 'static,
    service: F,
) -> Result<(), ListenError>
where
    F: Fn(Source) -> S,
    S: Service<Request<RequestBody>, Response = Response<B>> + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let listener = bind(address).map_err(|e| ListenError::new(address, &e))?;
    let core = Rc::new(ListenerCore {
        limits,
        clock: Rc::new(Cell::new(0)),
        connections: RefCell::new(BTreeMap::new()),
        refusals: Cell::new(0),
        done: Cell::new(false),
    });
    rt::spawn_local(sweep(Rc::clone(&core), shortage));
    let mut begun = pin!(stop);
    let mut next_id = 0_u64;
    loop {
        let accepted = match select(&mut begun, pin!(listener.accept())).await {
            Either::Left(((), _)) => break,
            Either::Right((accepted, _)) => accepted,
        };
        let Ok(stream) = accepted else {
            // Out of descriptors, or the client has gone: either way the listener is fine.
            rt::sleep(Duration::from_millis(20)).await;
            continue;
        };
        if limits.connections_max <= core.connections.borrow().len() {
            refuse(&core, stream);
            continue;
        }
        // A connection that has no other end any more is over, and nobody can be judged by an address that is not known.
        let Ok(address) = stream.peer_addr() else { continue };
        // Nagle's algorithm would hold back the end of every answer; a socket without it works as well.
        drop(stream.set_nodelay(true));
        next_id += 1;
        let source = Source::plain(address);
        rt::spawn_local(serve(Rc::clone(&core), next_id, stream, service(source)));
    }
    drop(listener);
    let end = Instant::now() + limits.stop_grace;
    core.order_all(Order::Finish);
    while !core.connections.borrow().is_empty() {
        if end < Instant::now() {
            core.order_all(Order::Cut);
            // The tasks end at their next turn, which lets their requests' state go on this core.
            rt::sleep(Duration::from_millis(20)).await;
            break;
        }
        rt::sleep(Duration::from_millis(5)).await;
    }
    core.done.set(true);
    Ok(())
}

/// What the connections of one core share.
struct ListenerCore {
    limits: ListenLimits,
    /// Milliseconds since `listen` began, advanced by the sweep.
    clock: Rc<Cell<u64>>,
    connections: RefCell<BTreeMap<u64, Rc<Connection>>>,
    refusals: Cell<usize>,
    done: Cell<bool>,
}

struct Connection {
    activity: Rc<ConnectionActivity>,
    order: Cell<Order>,
    waker: RefCell<Option<Waker>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Order {
    Run,
    /// Answer the request at hand, take no other.
    Finish,
    Finishing,
    Cut,
}

impl ListenerCore {
    fn order_all(&self, order: Order) {
        let mut woken = Vec::new();
        for connection in self.connections.borrow().values() {
            if connection.order.get() < order {
                connection.order.set(order);
                woken.extend(connection.waker.borrow_mut().take());
            }
        }
        for waker in woken {
            waker.wake();
        }
    }

    /// Cuts connections whose client keeps us waiting. Where a body is waited for, its reader fails first.
    fn end_waits(&self, timeouts: &ClientTimeouts) {
        let mut woken = Vec::new();
        for connection in self.connections.borrow().values() {
            match connection.activity.stall(timeouts) {
                None => continue,
                Some(Stall::Body) if connection.activity.fail_body() => {}
                Some(Stall::Body | Stall::Connection) => connection.order.set(Order::Cut),
            }
            woken.extend(connection.waker.borrow_mut().take());
        }
        for waker in woken {
            waker.wake();
        }
    }
}

async fn sweep(core: Rc<ListenerCore>, mut shortage: impl FnMut() -> Shortage) {
    let start = Instant::now();
    while !core.done.get() {
        rt::sleep(core.limits.sweep()).await;
        core.clock.set(u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX));
        let timeouts = core.limits.timeouts(shortage());
        core.end_waits(&timeouts);
    }
}

async fn serve<S, B>(core: Rc<ListenerCore>, id: u64, stream: TcpStream, service: S)
where
    S: Service<Request<RequestBody>, Response = Response<B>> + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let activity = ConnectionActivity::new(Rc::clone(&core.clock));
    let connection = Rc::new(Connection {
        activity: Rc::clone(&activity),
        order: Cell::new(Order::Run),
        waker: RefCell::new(None),
    });
    core.connections.borrow_mut().insert(id, Rc::clone(&connection));
    let finished = run(&core.limits, &connection, Io::new(stream, Rc::clone(&activity)), service).await;
    if let Some(stream) = finished.filter(|_| activity.body_left()) {
        linger(stream, core.limits.linger).await;
    }
    let gone = core.connections.borrow_mut().remove(&id);
    drop(gone);
}

/// Serves requests until the client or an order ends it; gives the socket back unless it was cut.
async fn run<S, B>(limits: &ListenLimits, connection: &Connection, io: Io, service: S) -> Option<TcpStream>
where
    S: Service<Request<RequestBody>, Response = Response<B>> + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let activity = Rc::clone(&connection.activity);
    let service = service_fn(move |request: Request<Incoming>| {
        activity.enter(Phase::Busy);
        let asked = Rc::clone(&activity);
        let owes_continue = owes_continue(&request);
        let answer = service.call(request.map(|body| RequestBody::new(body, Rc::clone(&asked))));
        async move {
            if owes_continue {
                asked.send_continue().await;
            }
            let mut answer = answer.await?;
            // hyper closes a connection with the rest of a body on it: a client that is not told would send its next
            // request into that.
            if asked.body_left() {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, S::Error>(answer.map(|body| ResponseBody::new(body, asked)))
        }
    });
    let mut http = http1::Builder::new()
        .max_headers(limits.headers_max)
        .max_header_size(limits.head_bytes_max)
        .header_read_timeout(None)
        .max_buf_size(CONNECTION_BUFFER_BYTES_MAX)
        .serve_connection(io, service);
    let ended = std::future::poll_fn(|cx| {
        match connection.order.get() {
            Order::Cut => return Poll::Ready(false),
            Order::Finish => {
                connection.order.set(Order::Finishing);
                Pin::new(&mut http).graceful_shutdown();
            }
            Order::Run | Order::Finishing => {}
        }
        let mut waker = connection.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        drop(waker);
        // What went wrong on the connection is the client's business: it sees it closed.
        Pin::new(&mut http).poll(cx).map(|_| true)
    })
    .await;
    ended.then(|| http.into_parts().io.into_stream())
}

/// Whether the client waits for `100 Continue` though its body is empty. For any other hyper sends it with the first read
/// of the body; without one the connection is closed.
fn owes_continue(request: &Request<Incoming>) -> bool {
    request.body().is_end_stream()
        && request.version() == Version::HTTP_11
        && request
            .headers()
            .get_all(EXPECT)
            .iter()
            .any(|it| it.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// Tells a client over the limit so.
fn refuse(core: &Rc<ListenerCore>, mut stream: TcpStream) {
    if REFUSALS_MAX <= core.refusals.get() {
        return;
    }
    core.refusals.set(core.refusals.get() + 1);
    let core = Rc::clone(core);
    rt::spawn_local(async move {
        const ANSWER: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\n\
            Content-Length: 0\r\n\r\n";
        if let Some(Ok(())) = rt::timeout(core.limits.linger, stream.write_all(ANSWER)).await {
            linger(stream, core.limits.linger.min(Duration::from_secs(1))).await;
        }
        core.refusals.set(core.refusals.get() - 1);
    });
}

/// Ends our side and reads on for a while. Closing a socket with unread bytes makes the kernel reset the connection,
/// and the client would lose the answer it has not read yet.
async fn linger(mut stream: TcpStream, limit: Duration) {
    if stream.shutdown(std::net::Shutdown::Write).await.is_err() {
        return;
    }
    let read = async {
        let mut waste = vec![0_u8; LINGER_STEP_BYTES];
        let mut total = 0;
        while total < LINGER_BYTES_MAX {
            match stream.read(&mut waste).await {
                Ok(0) | Err(_) => return,
                Ok(count) => total += count,
            }
        }
    };
    let _: Option<()> = rt::timeout(limit, read).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::machine::claim_address;
    use crate::process::shutdown::Stop;
    use bytes::Bytes;
    use http_body::Frame;
    use http_body_util::BodyExt;
    use std::convert::Infallible;
    use std::io::{Read, Write};
    use std::net;
    use std::task::Context;
    use std::thread::JoinHandle;

    const MIB: usize = 1 << 20;

    /// Limits for tests that are in a hurry.
    const QUICK: ListenLimits = ListenLimits {
        head_timeout: Duration::from_millis(200),
        idle_timeout: Duration::from_millis(600),
        body_timeout: Duration::from_millis(300),
        write_timeout: Duration::from_millis(300),
        stop_grace: Duration::from_secs(3),
        linger: Duration::from_millis(300),
        ..ListenLimits::SERVER
    };

    /// `left` pieces of 1 MiB, or one short text.
    struct Pieces {
        piece: Bytes,
        left: usize,
    }

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            if self.left == 0 {
                return Poll::Ready(None);
            }
            self.left -= 1;
            Poll::Ready(Some(Ok(Frame::data(self.piece.clone()))))
        }

        fn size_hint(&self) -> http_body::SizeHint {
            http_body::SizeHint::with_exact((self.piece.len() * self.left) as u64)
        }
    }

    async fn answer(mut request: Request<RequestBody>) -> Result<Response<Pieces>, Infallible> {
        let text = |text: String| Pieces { piece: Bytes::from(text), left: 1 };
        let body = match request.uri().path() {
            "/big" => Pieces { piece: Bytes::from(vec![7; MIB]), left: 100 },
            "/slow" => {
                rt::sleep(Duration::from_millis(300)).await;
                text("slow".to_owned())
            }
            "/count" => {
                let mut sum = 0_u64;
                let mut count = 0_usize;
                let mut fault = String::new();
                while let Some(frame) = request.body_mut().frame().await {
                    let bytes = match frame {
                        Ok(frame) => frame.into_data().unwrap_or_default(),
                        Err(cut) => {
                            fault = format!(" {cut:?}");
                            // As one does who throws the rest away.
                            drop(request.body_mut().frame().await);
                            break;
                        }
                    };
                    count += bytes.len();
                    sum += bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>();
                }
                text(format!("{count} {sum}{fault}"))
            }
            "/refuse" => text("no".to_owned()),
            _ => text("hello".to_owned()),
        };
        Ok(Response::new(body))
    }

    struct Server {
        address: SocketAddr,
        stop: Stop,
        thread: Option<JoinHandle<()>>,
    }

    impl Server {
        fn start(cores: usize, limits: ListenLimits) -> Server {
            let address = claim_address(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
            let stop = Stop::new();
            let listening = stop.clone();
            let cores = rt::start(cores, rt::RtConfig::server(), move |_| {
                let stop = listening.clone();
                async move {
                    listen(address, limits, stop.begun(), Shortage::default, |_| service_fn(answer)).await
                }
            })
            .expect("cores start");
            let thread = std::thread::spawn(move || {
                for core in cores.join() {
                    core.expect("no panic").expect("listens");
                }
            });
            let server = Server { address, stop, thread: Some(thread) };
            drop(server.connect());
            server
        }

        fn connect(&self) -> net::TcpStream {
            for _ in 0..200 {
                if let Ok(stream) = net::TcpStream::connect(self.address) {
                    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket option");
                    stream.set_nodelay(true).expect("a socket option");
                    return stream;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            panic!("nobody listens on {}", self.address);
        }
    }

    impl Drop for Server {
        fn drop(&mut self) {
            self.stop.begin();
            if let Some(thread) = self.thread.take() {
                let ended = thread.join();
                assert!(ended.is_ok() || std::thread::panicking(), "a core panicked");
            }
        }
    }

    /// One answer: its status line and body.
    fn read_answer(stream: &mut net::TcpStream) -> (String, Vec<u8>) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("a head");
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).expect("text");
        let length = head
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:").map(str::to_owned))
            .map_or(0, |length| length.trim().parse::<usize>().expect("a number"));
        let mut body = vec![0; length];
        stream.read_exact(&mut body).expect("a body");
        (head.lines().next().unwrap_or_default().to_owned(), body)
    }

    fn ask(stream: &mut net::TcpStream, path: &str) -> (String, Vec<u8>) {
        write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\n\r\n").expect("sent");
        read_answer(stream)
    }

    fn ends(stream: &mut net::TcpStream) -> bool {
        match stream.read(&mut [0; 64]) {
            Ok(count) => count == 0,
            Err(e) => e.kind() == io::ErrorKind::ConnectionReset,
        }
    }

    #[test]
    fn a_connection_serves_many_requests() {
        let server = Server::start(2, ListenLimits::SERVER);
        let mut streams: Vec<_> = (0..8).map(|_| server.connect()).collect();
        for _ in 0..50 {
            for stream in &mut streams {
                assert_eq!(ask(stream, "/"), ("HTTP/1.1 200 OK".to_owned(), b"hello".to_vec()));
            }
        }
    }

    #[test]
    fn large_bodies_both_ways() {
        let server = Server::start(1, ListenLimits::SERVER);
        let mut stream = server.connect();
        let (_, body) = ask(&mut stream, "/big");
        assert_eq!(body.len(), 100 * MIB);
        assert!(body.iter().all(|byte| *byte == 7));
        let put = format!("PUT /count HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n", 100 * MIB);
        stream.write_all(put.as_bytes()).expect("sent");
        let piece = vec![3; MIB];
        for _ in 0..100 {
            stream.write_all(&piece).expect("sent");
        }
        let (_, body) = read_answer(&mut stream);
        assert_eq!(String::from_utf8_lossy(&body), format!("{} {}", 100 * MIB, 300 * MIB));
        assert_eq!(ask(&mut stream, "/").1, b"hello");
    }

    #[test]
    fn stalled_clients_are_cut() {
        let server = Server::start(1, QUICK);
        let check = |sent: &str, answered: bool, limit: Duration| {
            let mut stream = server.connect();
            stream.write_all(sent.as_bytes()).expect("sent");
            if answered {
                read_answer(&mut stream);
            }
            let start = Instant::now();
            assert!(ends(&mut stream), "{sent:?} is not cut");
            let took = start.elapsed();
            assert!(limit / 2 < took, "{sent:?} was cut after {took:?}");
        };
        check("", false, QUICK.head_timeout);
        check("GET / HT", false, QUICK.head_timeout);
        check("GET / HTTP/1.1\r\nHost: test\r\n\r\n", true, QUICK.idle_timeout);
        // A body that does not come: its reader is told, and answers before the connection ends.
        let mut stream = server.connect();
        stream.write_all(b"PUT /count HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc").expect("sent");
        let start = Instant::now();
        assert_eq!(read_answer(&mut stream).1, b"3 294 Stalled");
        assert!(QUICK.body_timeout / 2 < start.elapsed());
        assert!(ends(&mut stream));
        // A response that nobody reads: the socket's buffers fill up, then the rest of it never comes.
        let mut stream = server.connect();
        write!(stream, "GET /big HTTP/1.1\r\nHost: test\r\n\r\n").expect("sent");
        std::thread::sleep(QUICK.write_timeout * 4);
        let mut rest = Vec::new();
        drop(stream.read_to_end(&mut rest));
        assert!(rest.len() < 100 * MIB);
        // A slow service is not the client's fault.
        assert_eq!(ask(&mut server.connect(), "/slow").1, b"slow");
    }

    #[test]
    fn heads_over_the_limit() {
        let server = Server::start(1, ListenLimits::SERVER);
        let check = |head: String, want: &str| {
            let mut stream = server.connect();
            stream.write_all(head.as_bytes()).expect("sent");
            let (status, _) = read_answer(&mut stream);
            assert!(status.starts_with(want), "{status}");
        };
        let long = "x".repeat(33 << 10);
        check(format!("GET / HTTP/1.1\r\nA: {long}\r\n\r\n"), "HTTP/1.1 431");
        check(format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(101)), "HTTP/1.1 431");
        check(format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(99)), "HTTP/1.1 200");
    }

    #[test]
    fn an_early_answer_arrives() {
        let server = Server::start(1, ListenLimits::SERVER);
        for _ in 0..5 {
            let mut stream = server.connect();
            let put = format!("PUT /refuse HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n", 16 * MIB);
            stream.write_all(put.as_bytes()).expect("sent");
            for _ in 0..16 {
                stream.write_all(&vec![1; MIB]).expect("the server reads on");
            }
            assert_eq!(read_answer(&mut stream).1, b"no");
        }
    }

    #[test]
    fn an_answer_says_when_its_connection_closes() {
        let server = Server::start(1, ListenLimits::SERVER);
        let check = |request: &str, closes: bool| {
            let mut stream = server.connect();
            stream.write_all(request.as_bytes()).expect("sent");
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") {
                stream.read_exact(&mut byte).expect("a whole head");
                head.push(byte[0]);
            }
            let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
            assert_eq!(head.contains("connection: close\r\n"), closes, "{request:?}: {head:?}");
        };
        check("GET / HTTP/1.1\r\nHost: test\r\n\r\n", false);
        check("PUT /count HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\n\r\nabc", false);
        check(
            "PUT /refuse HTTP/1.1\r\nHost: test\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n",
            true,
        );
        check("PUT /refuse HTTP/1.1\r\nHost: test\r\nContent-Length: 9\r\n\r\nabc", true);
        // A body in chunks ends where its last chunk was read.
        let chunks =
            "PUT /count HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
        check(chunks, false);
        check(&chunks.replace("/count", "/refuse"), true);
        // Where one is broken nothing behind it can be a request.
        check(&chunks.replace("3\r\nabc", "zz\r\n"), true);
        check(&chunks.replace("\r\n0\r\n\r\n", "\r\nzz\r\n"), true);
    }

    #[test]
    fn an_empty_body_that_is_expected_to_be_asked_for() {
        let server = Server::start(1, ListenLimits::SERVER);
        let check = |method: &str, path: &str, version: &str, expect: &str, answers: &[&str]| {
            let mut stream = server.connect();
            let earlier = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";
            let asked =
                format!("{method} {path} HTTP/{version}\r\nHost: test\r\nContent-Length: 0\r\n{expect}\r\n");
            // Behind an answer that is still on its way.
            stream.write_all(format!("{earlier}{asked}").as_bytes()).expect("sent");
            assert_eq!(read_answer(&mut stream).1, b"hello");
            for answer in answers {
                assert!(read_answer(&mut stream).0.ends_with(answer), "{method} {path} {version} {expect}");
            }
            if version == "1.1" {
                assert_eq!(ask(&mut stream, "/").1, b"hello");
            }
        };
        for (method, path) in [("PUT", "/count"), ("PUT", "/refuse"), ("POST", "/slow"), ("GET", "/")] {
            check(method, path, "1.1", "Expect: 100-continue\r\n", &["100 Continue", "200 OK"]);
            check(method, path, "1.1", "expect: 100-Continue\r\n", &["100 Continue", "200 OK"]);
            check(method, path, "1.1", "", &["200 OK"]);
            check(method, path, "1.0", "Expect: 100-continue\r\n", &["200 OK"]);
        }
    }

    #[test]
    fn a_hundred_continue_behind_an_answer_that_nobody_reads() {
        let server = Server::start(1, ListenLimits::SERVER);
        let mut stream = server.connect();
        let asked = "PUT /count HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\nExpect: 100-continue\r\n\r\n";
        write!(stream, "GET /big HTTP/1.1\r\nHost: test\r\n\r\n{asked}").expect("sent");
        std::thread::sleep(Duration::from_millis(300));
        let (_, body) = read_answer(&mut stream);
        assert!(body.len() == 100 * MIB && body.iter().all(|byte| *byte == 7));
        assert!(read_answer(&mut stream).0.ends_with("100 Continue"));
        assert_eq!(read_answer(&mut stream).1, b"0 0");
    }

    #[test]
    fn connections_over_the_limit() {
        let server = Server::start(1, ListenLimits { connections_max: 2, ..ListenLimits::SERVER });
        // The connection that showed the server is up may still count.
        std::thread::sleep(Duration::from_millis(100));
        let mut held: Vec<_> = (0..2).map(|_| server.connect()).collect();
        for stream in &mut held {
            assert_eq!(ask(stream, "/").1, b"hello");
        }
        assert!(ask(&mut server.connect(), "/").0.starts_with("HTTP/1.1 503"));
        drop(held);
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(ask(&mut server.connect(), "/").1, b"hello");
    }

    #[test]
    fn stopping_lets_requests_finish() {
        let server = Server::start(2, ListenLimits::SERVER);
        let mut idle = server.connect();
        assert_eq!(ask(&mut idle, "/").1, b"hello");
        let mut busy = server.connect();
        write!(busy, "GET /slow HTTP/1.1\r\nHost: test\r\n\r\n").expect("sent");
        std::thread::sleep(Duration::from_millis(100));
        let start = Instant::now();
        server.stop.begin();
        assert_eq!(read_answer(&mut busy).1, b"slow");
        assert!(ends(&mut busy) && ends(&mut idle));
        let address = server.address;
        drop(server);
        assert!(start.elapsed() < Duration::from_secs(10));
        assert!(net::TcpStream::connect(address).is_err());
        // The port is free again at once, whatever state the old connections are in.
        assert_eq!(claim_address(address), Ok(address));
    }

    #[test]
    fn an_address_in_use_is_named() {
        let server = Server::start(1, ListenLimits::SERVER);
        let refused = claim_address(server.address).expect_err("in use");
        assert_eq!(refused.code, libc::EADDRINUSE);
        assert!(refused.to_string().contains(&server.address.to_string()), "{refused}");
    }
}
