//! hyper over glommio's sockets: reading and writing one connection, and the marks by which it is watched. [glommio]
//! `listen` makes one [`Io`] per connection and asks its [`ConnectionActivity`] once in a while whether the client has stalled.
//!
//! Bodies leave through `sendmsg` on the pieces hyper has, so nothing is copied into one buffer first.
//! hyper sends `100 Continue` when a body is read, and never for an empty one; for that it is owed ([`ConnectionActivity::send_continue`]).
//! There is no timer per request: every step leaves a mark with the core's coarse clock, and one sweep reads them.

use std::cell::Cell;
use std::fmt;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::io::{AsyncRead, AsyncWrite};
use glommio::net::{TcpListener, TcpStream};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};

/// Pieces that one `sendmsg` takes; the kernel refuses more than 1,024.
const PIECES_MAX: usize = 64;

/// Bytes below which a piece of a body is copied. The smallest buffer that hyper reads into is twice this.
const OWN_BYTES_MAX: usize = 4 << 10;

/// Connections the kernel keeps for us until they are accepted.
const BACKLOG: libc::c_int = 1024;

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Between two requests.
    Idle,
    /// The head of a request is expected, or arriving.
    Head,
    /// A request is being answered.
    Busy,
}

/// When a connection last moved, by the coarse clock of its core (milliseconds).
pub(crate) struct ConnectionActivity {
    clock: Rc<Cell<u64>>,
    phase: Cell<Phase>,
    since: Cell<u64>,
    body: Waits,
    write: Waits,
    body_left: Cell<bool>,
    /// The client sends nothing of the body that is waited for; its next read fails.
    body_stalled: Cell<bool>,
    /// Bytes of [`CONTINUE`] that are not sent yet.
    continue_left: Cell<usize>,
}

/// What a client with `Expect: 100-continue` waits for.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Which of its waits a client has used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stall {
    /// That for a request's body: an answer can still say so.
    Body,
    /// Another one: no answer is possible.
    Connection,
}

/// One direction of a connection: since when we wait for the client, and what came of all waiting so far.
#[derive(Default)]
struct Waits {
    since: Cell<Option<u64>>,
    /// Milliseconds waited, and bytes moved, since the window began.
    waited: Cell<u64>,
    moved: Cell<u64>,
}

/// How long a client may keep us waiting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClientTimeouts {
    pub(crate) idle: Duration,
    pub(crate) head: Duration,
    pub(crate) body: MinRate,
    pub(crate) write: MinRate,
}

/// The slowest client that is borne: no longer than `wait` without a byte, and no fewer bytes than `rate` in each second of
/// waiting once it has made us wait that long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MinRate {
    pub(crate) wait: Duration,
    pub(crate) rate: u64,
}

impl Waits {
    fn pending(&self, pending: bool, now: u64) {
        match (pending, self.since.get()) {
            (true, None) => self.since.set(Some(now)),
            (true, Some(_)) | (false, None) => {}
            (false, Some(since)) => {
                self.waited.set(self.waited.get() + now.saturating_sub(since));
                self.since.set(None);
            }
        }
    }

    fn moved(&self, bytes: usize, now: u64) {
        self.moved.set(self.moved.get().saturating_add(bytes as u64));
        if self.since.get().is_some() {
            self.pending(false, now);
            self.pending(true, now);
        }
    }

    fn is_too_slow(&self, min_rate: &MinRate, now: u64) -> bool {
        let Some(since) = self.since.get() else { return false };
        let wait_ms = u64::try_from(min_rate.wait.as_millis()).unwrap_or(u64::MAX);
        let still = now.saturating_sub(since);
        if wait_ms < still {
            return true;
        }
        let waited = self.waited.get() + still;
        if waited <= wait_ms {
            return false;
        }
        if self.moved.get() < min_rate.rate.saturating_mul(waited) / 1_000 {
            return true;
        }
        // Quick enough in this window: another begins.
        self.waited.set(0);
        self.moved.set(0);
        false
    }
}

impl ConnectionActivity {
    /// A fresh connection, whose first head is awaited.
    pub(crate) fn new(clock: Rc<Cell<u64>>) -> Rc<ConnectionActivity> {
        let since = Cell::new(clock.get());
        Rc::new(ConnectionActivity {
            clock,
            phase: Cell::new(Phase::Head),
            since,
            body: Waits::default(),
            write: Waits::default(),
            body_left: Cell::new(false),
            body_stalled: Cell::new(false),
            continue_left: Cell::new(0),
        })
    }

    /// Which of the waits is over `timeouts`.
    pub(crate) fn stall(&self, timeouts: &ClientTimeouts) -> Option<Stall> {
        let now = self.clock.get();
        let over = |since: u64, limit: Duration| u128::from(now.saturating_sub(since)) > limit.as_millis();
        let phase = match self.phase.get() {
            Phase::Idle => over(self.since.get(), timeouts.idle),
            Phase::Head => over(self.since.get(), timeouts.head),
            Phase::Busy => false,
        };
        if phase || self.write.is_too_slow(&timeouts.write, now) {
            return Some(Stall::Connection);
        }
        self.body.is_too_slow(&timeouts.body, now).then_some(Stall::Body)
    }

    /// Has the next read of the body fail; false when it was to fail already.
    pub(crate) fn fail_body(&self) -> bool {
        !self.body_stalled.replace(true)
    }

    /// Sends `100 Continue` behind all earlier answers. To be awaited before the request's own answer is given to hyper,
    /// which until then writes nothing else.
    pub(crate) async fn send_continue(&self) {
        self.continue_left.set(CONTINUE.len());
        // `Io::poll_flush` wakes this task when it is done.
        std::future::poll_fn(|_| if self.continue_left.get() == 0 { Poll::Ready(()) } else { Poll::Pending })
            .await;
    }

    /// Whether a request was answered before its body was read to the end, or without one because it broke off.
    pub(crate) fn body_left(&self) -> bool {
        self.body_left.get()
    }

    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.since.set(self.clock.get());
    }

    fn read(&self, bytes: usize) {
        if self.phase.get() == Phase::Idle {
            self.enter(Phase::Head);
        }
        self.body.moved(bytes, self.clock.get());
    }
}

/// One connection as hyper sees it.
pub(crate) struct Io {
    stream: TcpStream,
    activity: Rc<ConnectionActivity>,
}

impl Io {
    pub(crate) fn new(stream: TcpStream, activity: Rc<ConnectionActivity>) -> Io {
        Io { stream, activity }
    }

    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream
    }

    fn send(&mut self, cx: &mut Context<'_>, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let sent = match send_pieces(&self.stream, pieces) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                // glommio tries once more and then waits for the socket.
                let first = pieces.iter().find(|piece| !piece.is_empty()).map_or(&[][..], |piece| &**piece);
                Pin::new(&mut self.stream).poll_write(cx, first)
            }
            sent => Poll::Ready(sent),
        };
        let now = self.activity.clock.get();
        if let Poll::Ready(Ok(count)) = &sent {
            self.activity.write.moved(*count, now);
        }
        self.activity.write.pending(sent.is_pending(), now);
        sent
    }
}

impl Read for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        // SAFETY: the room is only written to: glommio gives pointer and length to recv(2) and nothing else, so
        // no uninitialised byte is read. Just as many bytes as the kernel wrote are declared filled.
        #[expect(unsafe_code, reason = "hyper's room is uninitialised, and clearing it costs a pass")]
        let got = unsafe {
            let room: &mut [MaybeUninit<u8>] = buf.as_mut();
            let room = std::slice::from_raw_parts_mut(room.as_mut_ptr().cast::<u8>(), room.len());
            match Pin::new(&mut self.stream).poll_read(cx, room) {
                Poll::Ready(Ok(count)) => {
                    buf.advance(count);
                    Poll::Ready(Ok(count))
                }
                other => other,
            }
        };
        if let Poll::Ready(Ok(count @ 1..)) = got {
            self.activity.read(count);
        }
        got.map_ok(|_| ())
    }
}

impl Write for Io {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.send(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.send(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// hyper flushes when it has written all it has.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut left = self.activity.continue_left.get();
        if left == 0 {
            return Poll::Ready(Ok(()));
        }
        while left != 0 {
            let rest = CONTINUE.get(CONTINUE.len() - left..).unwrap_or_default();
            let sent = ready!(self.send(cx, &[IoSlice::new(rest)]))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            left = left.saturating_sub(sent);
            self.activity.continue_left.set(left);
        }
        cx.waker().wake_by_ref();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

/// Why no more of a body comes, though it is not at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFault {
    /// The connection broke, or its framing makes no sense.
    Broken,
    /// The client sent too little for too long.
    Stalled,
}

impl fmt::Display for BodyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BodyFault::Broken => "the body of the request broke off",
            BodyFault::Stalled => "the body of the request did not come in time",
        })
    }
}

impl std::error::Error for BodyFault {}

/// The body of a request, as hyper reads it. Polling it is what sends `100 Continue`.
pub struct RequestBody {
    incoming: Incoming,
    activity: Rc<ConnectionActivity>,
    /// Its end was read: of a body in chunks hyper does not say so.
    ended: bool,
    /// It broke off: hyper ends it like one that came whole when it is read on. Or it has trailers, of which hyper takes some
    /// that end in other ways than they may: where the next request begins is not sure.
    broken: bool,
}

impl RequestBody {
    pub(crate) fn new(incoming: Incoming, activity: Rc<ConnectionActivity>) -> RequestBody {
        RequestBody { incoming, activity, ended: false, broken: false }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        if self.activity.body_stalled.get() {
            return Poll::Ready(Some(Err(BodyFault::Stalled)));
        }
        let frame = Pin::new(&mut self.incoming).poll_frame(cx);
        self.activity.body.pending(frame.is_pending(), self.activity.clock.get());
        let frame = ready!(frame);
        self.ended |= frame.is_none();
        self.broken |= frame.as_ref().is_some_and(|frame| !frame.as_ref().is_ok_and(Frame::is_data));
        Poll::Ready(frame.map(|frame| frame.map(own_if_small).map_err(|_| BodyFault::Broken)))
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        self.activity.body.pending(false, self.activity.clock.get());
        self.activity.body_left.set(self.broken || !self.is_end_stream());
    }
}

/// Copies a few bytes out of the connection's buffer: as a slice they would keep all of it for as long as they live.
fn own_if_small(frame: Frame<Bytes>) -> Frame<Bytes> {
    frame.map_data(|bytes| if bytes.len() < OWN_BYTES_MAX { Bytes::copy_from_slice(&bytes) } else { bytes })
}

/// The body of a response; when hyper lets go of it the connection is between two requests.
pub(crate) struct ResponseBody<B> {
    body: B,
    activity: Rc<ConnectionActivity>,
}

impl<B> ResponseBody<B> {
    pub(crate) fn new(body: B, activity: Rc<ConnectionActivity>) -> ResponseBody<B> {
        ResponseBody { body, activity }
    }
}

impl<B: Body + Unpin> Body for ResponseBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B> Drop for ResponseBody<B> {
    fn drop(&mut self) {
        self.activity.enter(Phase::Idle);
    }
}

/// Sends what the socket takes at once.
fn send_pieces(stream: &TcpStream, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
    let pieces = pieces.get(..PIECES_MAX).unwrap_or(pieces);
    // SAFETY: all zeros is the empty message.
    #[expect(unsafe_code, reason = "a C structure with padding that differs by platform")]
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = pieces.as_ptr().cast::<libc::iovec>().cast_mut();
    message.msg_iovlen = pieces.len();
    loop {
        // SAFETY: `IoSlice` is guaranteed to have the layout of iovec; pieces and message live until the call returns,
        // and sendmsg only reads them.
        #[expect(unsafe_code, reason = "sendmsg with MSG_DONTWAIT has no safe form in std")]
        let sent = unsafe {
            libc::sendmsg(stream.as_raw_fd(), &raw const message, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
        };
        if let Ok(sent) = usize::try_from(sent) {
            return Ok(sent);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// A listening socket that shares its port with those of the other cores.
///
/// std cannot set SO_REUSEPORT before binding, and glommio's own does not set SO_REUSEADDR.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    // SAFETY: no pointers; the result is checked.
    #[expect(unsafe_code, reason = "options have to be set between socket and bind")]
    let fd = unsafe { libc::socket(family, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a descriptor just made, owned by nobody else.
    #[expect(unsafe_code, reason = "takes ownership of the new descriptor")]
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    for option in [libc::SO_REUSEADDR, libc::SO_REUSEPORT] {
        let on: libc::c_int = 1;
        // SAFETY: pointer and length are those of `on`.
        #[expect(unsafe_code, reason = "setsockopt has no safe form in std")]
        let result = unsafe {
            let value = (&raw const on).cast();
            libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, value, length_of::<libc::c_int>())
        };
        check(result)?;
    }
    let result = match address {
        SocketAddr::V4(v4) => {
            let raw = libc::sockaddr_in {
                sin_family: libc::AF_INET.try_into().unwrap_or_default(),
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from(*v4.ip()).to_be() },
                sin_zero: [0; 8],
            };
            bind_raw(&socket, &raw)
        }
        SocketAddr::V6(v6) => {
            let raw = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6.try_into().unwrap_or_default(),
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: v6.flowinfo(),
                sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                sin6_scope_id: v6.scope_id(),
            };
            bind_raw(&socket, &raw)
        }
    };
    check(result)?;
    // SAFETY: an open socket and a number.
    #[expect(unsafe_code, reason = "listen has no safe form in std")]
    let result = unsafe { libc::listen(socket.as_raw_fd(), BACKLOG) };
    check(result)?;
    // SAFETY: the descriptor is owned by the listener from here on.
    #[expect(unsafe_code, reason = "glommio takes foreign sockets only as raw descriptors")]
    let listener = unsafe { TcpListener::from_raw_fd(std::os::fd::IntoRawFd::into_raw_fd(socket)) };
    Ok(listener)
}

/// Binds to a `sockaddr_in` or `sockaddr_in6`.
fn bind_raw<A>(socket: &OwnedFd, address: &A) -> libc::c_int {
    // SAFETY: pointer and length are those of `address`; the kernel only reads, and checks family and length itself.
    #[expect(unsafe_code, reason = "bind has no safe form in std")]
    unsafe {
        libc::bind(socket.as_raw_fd(), std::ptr::from_ref(address).cast(), length_of::<A>())
    }
}

/// The size of a C structure as the kernel wants it.
fn length_of<T>() -> libc::socklen_t {
    libc::socklen_t::try_from(size_of::<T>()).expect("C structures and numbers of a few bytes")
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUTS: ClientTimeouts = ClientTimeouts {
        idle: Duration::from_millis(60),
        head: Duration::from_millis(10),
        body: MinRate { wait: Duration::from_millis(30), rate: 1_000 },
        write: MinRate { wait: Duration::from_millis(20), rate: 1_000 },
    };

    fn check(steps: impl Fn(&ConnectionActivity), after_ms: u64, want: bool) {
        let clock = Rc::new(Cell::new(5));
        let activity = ConnectionActivity::new(Rc::clone(&clock));
        steps(&activity);
        clock.set(clock.get() + after_ms);
        assert_eq!(activity.stall(&TIMEOUTS).is_some(), want, "after {after_ms}");
    }

    #[test]
    fn stalls() {
        check(|_| {}, 10, false);
        check(|_| {}, 11, true);
        check(|activity| activity.enter(Phase::Busy), 1_000, false);
        let idle = |activity: &ConnectionActivity| activity.enter(Phase::Idle);
        check(idle, 60, false);
        check(idle, 61, true);
        let next_head = |activity: &ConnectionActivity| {
            activity.enter(Phase::Idle);
            activity.read(1);
        };
        check(next_head, 11, true);
        let body = |pending: bool| {
            move |activity: &ConnectionActivity| {
                activity.enter(Phase::Busy);
                activity.body.pending(true, 5);
                activity.body.pending(pending, 5);
            }
        };
        check(body(true), 30, false);
        check(body(true), 31, true);
        check(body(false), 31, false);
        let write = |activity: &ConnectionActivity| {
            activity.enter(Phase::Busy);
            activity.write.pending(true, 5);
        };
        check(write, 20, false);
        check(write, 21, true);
    }

    #[test]
    fn drips() {
        // A byte now and then is not enough, and what is quick enough may go on for ever.
        let check = |bytes: usize, want: bool| {
            let clock = Rc::new(Cell::new(0));
            let activity = ConnectionActivity::new(Rc::clone(&clock));
            activity.enter(Phase::Busy);
            activity.body.pending(true, 0);
            let mut cut = false;
            for now in (10..=300).step_by(10) {
                clock.set(now);
                activity.read(bytes);
                cut |= activity.stall(&TIMEOUTS) == Some(Stall::Body);
            }
            assert_eq!(cut, want, "{bytes} bytes in 10 ms");
        };
        check(1, true);
        check(9, true);
        check(10, false);
    }
}
