//! Memory that a drive can read into and a socket can send from, without a copy in between.
//! Every core makes one [`Arena`]; the drives, the log and the body readers take [`Buffer`]s from it.
//!
//! I1. A block is either in one free list or owned by one `Buffer`, never both.
//! I2. The mapping lives until the arena and its last buffer are gone.
//! I3. Memory is given to the process by the kernel only when it is first touched: an idle arena costs nothing.
//!
//! Free lists are lock-free, so a buffer may be dropped on any thread. Huge pages are what makes large transfers
//! cheap (one segment per 2 MiB in place of 512); a kernel that refuses them costs speed, nothing else.
#![cfg_attr(test, expect(clippy::disallowed_methods, reason = "tests drop buffers on another thread"))]
#![expect(clippy::disallowed_types, reason = "the list of waiters, touched only when memory is short")]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use crossbeam_queue::ArrayQueue;

use crate::error::EngineError;

/// Bytes of address space of one core's arena, unless configured otherwise.
pub const ARENA_BYTES: usize = 64 << 20;

/// Bytes of buffers that one core may take from the heap when its arena is used up, unless configured otherwise.
pub const HEAP_BUFFER_BYTES_MAX: usize = 256 << 20;

/// Tasks of one core that may wait for a buffer; one more is refused as busy.
pub const BUFFER_WAITERS_MAX: usize = 1_024;

/// Bytes of one buffer. Larger ones are a bug of the caller.
pub const BUFFER_BYTES_MAX: usize = 64 << 20;

/// Address and file alignment of every buffer, in bytes.
pub const BUFFER_ALIGN: usize = 4096;

/// The arena is carved in pieces of two huge pages. Each piece has the same layout, and no block crosses its end.
pub const CHUNK_BYTES: usize = 4 << 20;

const HUGE_PAGE_BYTES: usize = 2 << 20;

/// Block sizes with their number in one chunk: a small record; an unaligned 128 KiB; an unaligned 1 MiB.
const CLASSES: [Class; 3] = [
    Class { bytes: 16 << 10, per_chunk: 3 },
    Class { bytes: 136 << 10, per_chunk: 7 },
    Class { bytes: (1 << 20) + (8 << 10), per_chunk: 3 },
];

struct Class {
    bytes: usize,
    per_chunk: usize,
}

const _: () = {
    let mut sum = 0;
    let mut i = 0;
    while i < CLASSES.len() {
        assert!(CLASSES[i].bytes.is_multiple_of(BUFFER_ALIGN));
        sum += CLASSES[i].bytes * CLASSES[i].per_chunk;
        i += 1;
    }
    assert!(sum == CHUNK_BYTES);
};

/// One core's buffer memory. Cheap to clone; buffers keep it alive.
#[derive(Clone)]
pub struct Arena {
    shared: Arc<ArenaState>,
}

/// How much memory an [`Arena`] may use.
#[derive(Clone, Copy, Debug)]
pub struct ArenaConfig {
    /// Bytes of the mapping, rounded up to [`CHUNK_BYTES`]. Only what was used at some time is resident.
    pub region_bytes: usize,
    /// Bytes that may come from the heap when the mapping is used up.
    pub heap_bytes_max: usize,
}

impl Default for ArenaConfig {
    fn default() -> Self {
        ArenaConfig { region_bytes: ARENA_BYTES, heap_bytes_max: HEAP_BUFFER_BYTES_MAX }
    }
}

/// What an arena holds at one moment, for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArenaFacts {
    /// Whether the kernel agreed to back the mapping by huge pages.
    pub huge_pages: bool,
    /// Bytes of the mapping.
    pub region_bytes: usize,
    /// Bytes of the mapping that were handed out at some time.
    pub carved_bytes: usize,
    /// Bytes of heap buffers alive.
    pub heap_bytes: usize,
}

impl Arena {
    /// Maps the region without touching it.
    ///
    /// Fails only when the kernel gives no address space.
    pub fn new(config: ArenaConfig) -> io::Result<Arena> {
        let chunks = config.region_bytes.div_ceil(CHUNK_BYTES).max(1);
        let map = Map::new(chunks * CHUNK_BYTES)?;
        let free = CLASSES.each_ref().map(|class| ArrayQueue::new(class.per_chunk * chunks));
        Ok(Arena {
            shared: Arc::new(ArenaState {
                map,
                chunks,
                carved: AtomicUsize::new(0),
                free,
                heap_bytes: AtomicUsize::new(0),
                heap_bytes_max: config.heap_bytes_max,
                waiting: AtomicBool::new(false),
                waiters: Mutex::new(Vec::new()),
                next_waiter: AtomicU64::new(0),
            }),
        })
    }

    /// An empty buffer with room for at least `bytes`, or `None` when arena and heap allowance are used up.
    ///
    /// `bytes` is at most [`BUFFER_BYTES_MAX`] (asserted).
    pub fn take(&self, bytes: usize) -> Option<Buffer> {
        assert!(bytes <= BUFFER_BYTES_MAX, "a buffer of {bytes} bytes is over the limit");
        ArenaState::take(&self.shared, bytes)
    }

    /// Like [`take`](Self::take), but waits until a buffer comes back.
    ///
    /// Refused with [`EngineError::Busy`] when [`BUFFER_WAITERS_MAX`] tasks wait already. There is no limit in
    /// time: put a timeout around it where the holder of the buffers is not ourselves. Dropping the future takes
    /// nothing.
    pub fn take_wait(
        &self,
        bytes: usize,
    ) -> impl Future<Output = Result<Buffer, EngineError>> + Send + use<> {
        assert!(bytes <= BUFFER_BYTES_MAX, "a buffer of {bytes} bytes is over the limit");
        TakeWait { shared: Arc::clone(&self.shared), bytes, id: None }
    }

    /// First byte and length of the mapping, for registration with the kernel.
    pub fn region(&self) -> (NonNull<u8>, usize) {
        (self.shared.map.start, self.shared.map.bytes)
    }

    /// Figures for metrics.
    pub fn facts(&self) -> ArenaFacts {
        ArenaFacts {
            huge_pages: self.shared.map.huge_pages,
            region_bytes: self.shared.map.bytes,
            carved_bytes: self.shared.carved.load(Ordering::Relaxed).min(self.shared.chunks) * CHUNK_BYTES,
            heap_bytes: self.shared.heap_bytes.load(Ordering::Relaxed),
        }
    }
}

impl fmt::Debug for Arena {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Arena").field(&self.facts()).finish()
    }
}

/// Owned memory, aligned to [`BUFFER_ALIGN`]. Goes back to its arena when dropped, on whatever thread.
pub struct Buffer {
    ptr: NonNull<u8>,
    capacity: usize,
    len: usize,
    home: Home,
}

/// Where the memory goes back to.
enum Home {
    Arena { shared: Arc<ArenaState>, class: usize, block: u32 },
    Heap { shared: Option<Arc<ArenaState>>, layout: Layout },
}

// SAFETY: the memory is owned by this value alone (I1), and giving it back uses only atomics and a mutex.
#[expect(unsafe_code, reason = "a raw pointer is not Send by itself")]
unsafe impl Send for Buffer {}

// SAFETY: `&Buffer` gives nothing but `&[u8]`; there is no interior mutability.
#[expect(unsafe_code, reason = "a raw pointer is not Sync by itself")]
unsafe impl Sync for Buffer {}

impl Buffer {
    /// A buffer of `bytes` zeros from the heap that counts against no limit: for tests, the simulator, start-up, and a
    /// log that must not wait for memory.
    pub fn unpooled(bytes: usize) -> Buffer {
        let mut buffer = Buffer::heap(bytes, None);
        buffer.set_len_for_read(bytes);
        buffer
    }

    /// Bytes that hold something.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether `len` is 0.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes there is room for; a multiple of [`BUFFER_ALIGN`].
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: `len <= capacity`, the memory is owned by `self`, and all of it was initialised: fresh pages and
        // heap blocks are zeroed, later ones hold what an earlier owner wrote.
        #[expect(unsafe_code, reason = "the only way from an owned pointer to a slice")]
        unsafe {
            std::slice::from_raw_parts(self.ptr.as_ptr(), self.len)
        }
    }

    /// The bytes, to be changed.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as in `as_slice`, and `&mut self` makes it unique.
        #[expect(unsafe_code, reason = "the only way from an owned pointer to a slice")]
        unsafe {
            std::slice::from_raw_parts_mut(self.ptr.as_ptr(), self.len)
        }
    }

    /// Sets the length; bytes that come in are zero. `len` is at most the capacity (asserted).
    pub fn set_len(&mut self, len: usize) {
        let old = self.len;
        self.set_len_for_read(len);
        if let Some(grown) = self.as_mut_slice().get_mut(old..) {
            grown.fill(0);
        }
    }

    /// Sets the length without clearing: bytes that come in are those of some earlier use.
    ///
    /// Only for a buffer that goes to [`Drive::read`](super::Drive::read) next; a failed read sets the length to 0.
    pub fn set_len_for_read(&mut self, len: usize) {
        assert!(len <= self.capacity, "length {len} is over the capacity {}", self.capacity);
        self.len = len;
    }

    /// Puts `bytes` behind what is there. They must fit (asserted).
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        let old = self.len;
        self.set_len_for_read(old + bytes.len());
        self.as_mut_slice()[old..].copy_from_slice(bytes);
    }

    /// The same memory as shared bytes; it goes back to the arena when the last slice of them is dropped.
    pub fn freeze(self) -> Bytes {
        if self.is_empty() {
            return Bytes::new();
        }
        Bytes::from_owner(self)
    }

    /// First byte, for the kernel. Valid for `capacity` bytes while the buffer lives.
    pub(crate) fn as_mut_ptr(&mut self) -> *mut u8 {
        self.ptr.as_ptr()
    }

    fn heap(bytes: usize, shared: Option<Arc<ArenaState>>) -> Buffer {
        let capacity = bytes.max(1).next_multiple_of(BUFFER_ALIGN);
        let layout = Layout::from_size_align(capacity, BUFFER_ALIGN)
            .expect("a size far below isize::MAX and a power of two");
        // SAFETY: `layout` has a size above 0.
        #[expect(unsafe_code, reason = "aligned memory that is not a Vec")]
        let ptr = unsafe { alloc_zeroed(layout) };
        let Some(ptr) = NonNull::new(ptr) else { handle_alloc_error(layout) };
        Buffer { ptr, capacity, len: 0, home: Home::Heap { shared, layout } }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        match &self.home {
            Home::Arena { shared, class, block } => {
                // The queue has room for every block of its class, so nothing can be refused.
                let refused = shared.free[*class].push(*block).is_err();
                assert!(!refused, "a block came back twice");
                shared.wake_waiters();
            }
            Home::Heap { shared, layout } => {
                // SAFETY: allocated in `heap` with this layout, and released once.
                #[expect(unsafe_code, reason = "releases what `heap` took")]
                unsafe {
                    dealloc(self.ptr.as_ptr(), *layout);
                }
                if let Some(shared) = shared {
                    shared.heap_bytes.fetch_sub(layout.size(), Ordering::SeqCst);
                    shared.wake_waiters();
                }
            }
        }
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer").field("len", &self.len).field("capacity", &self.capacity).finish()
    }
}

struct ArenaState {
    map: Map,
    chunks: usize,
    /// Chunks handed to the free lists so far; may overshoot `chunks`.
    carved: AtomicUsize,
    /// Free blocks by class, as block numbers of `BUFFER_ALIGN` bytes from the start of the mapping.
    free: [ArrayQueue<u32>; CLASSES.len()],
    heap_bytes: AtomicUsize,
    heap_bytes_max: usize,
    /// Whether `waiters` may be non-empty: spares the lock on the usual path.
    waiting: AtomicBool,
    waiters: Mutex<Vec<(u64, Waker)>>,
    next_waiter: AtomicU64,
}

impl ArenaState {
    fn take(self: &Arc<Self>, bytes: usize) -> Option<Buffer> {
        if let Some(class) = CLASSES.iter().position(|class| bytes <= class.bytes) {
            // A small block may come out of a middle one; large ones are kept for large transfers.
            let last = if class == 0 { 1 } else { class };
            loop {
                if let Some(buffer) = (class..=last).find_map(|class| self.pop(class)) {
                    return Some(buffer);
                }
                if !self.carve() {
                    break;
                }
            }
        }
        let size = bytes.max(1).next_multiple_of(BUFFER_ALIGN);
        let granted = self.heap_bytes.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |used| {
            used.checked_add(size).filter(|sum| *sum <= self.heap_bytes_max)
        });
        granted.ok().map(|_| Buffer::heap(bytes, Some(Arc::clone(self))))
    }

    fn pop(self: &Arc<Self>, class: usize) -> Option<Buffer> {
        let block = self.free[class].pop()?;
        Some(Buffer {
            ptr: self.map.at(block as usize * BUFFER_ALIGN),
            capacity: CLASSES[class].bytes,
            len: 0,
            home: Home::Arena { shared: Arc::clone(self), class, block },
        })
    }

    /// Hands the next untouched chunk to the free lists; false when none is left.
    fn carve(&self) -> bool {
        if self.chunks <= self.carved.load(Ordering::SeqCst) {
            return false;
        }
        let chunk = self.carved.fetch_add(1, Ordering::SeqCst);
        if self.chunks <= chunk {
            return false;
        }
        let mut at = chunk * CHUNK_BYTES;
        // Large blocks first: they then start on a huge page.
        for (class, free) in CLASSES.iter().zip(&self.free).rev() {
            for _ in 0..class.per_chunk {
                let block =
                    u32::try_from(at / BUFFER_ALIGN).expect("the mapping is below 2^44 bytes, see Map::new");
                let refused = free.push(block).is_err();
                assert!(!refused, "a block was carved twice");
                at += class.bytes;
            }
        }
        true
    }

    fn wake_waiters(&self) {
        if !self.waiting.swap(false, Ordering::SeqCst) {
            return;
        }
        let woken = std::mem::take(&mut *self.waiters());
        for (_, waker) in woken {
            waker.wake();
        }
    }

    fn waiters(&self) -> MutexGuard<'_, Vec<(u64, Waker)>> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All waiters are woken by any returned buffer and look again: which one is served first is not defined.
struct TakeWait {
    shared: Arc<ArenaState>,
    bytes: usize,
    id: Option<u64>,
}

impl Future for TakeWait {
    type Output = Result<Buffer, EngineError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(buffer) = self.shared.take(self.bytes) {
            return Poll::Ready(Ok(buffer));
        }
        let shared = Arc::clone(&self.shared);
        let id = *self.id.get_or_insert_with(|| shared.next_waiter.fetch_add(1, Ordering::Relaxed));
        {
            let mut waiters = shared.waiters();
            let full = BUFFER_WAITERS_MAX <= waiters.len();
            match waiters.iter_mut().find(|(other, _)| *other == id) {
                Some((_, waker)) => waker.clone_from(cx.waker()),
                None if full => {
                    return Poll::Ready(Err(EngineError::Busy {
                        limit: "BUFFER_WAITERS_MAX",
                        max: BUFFER_WAITERS_MAX as u64,
                    }));
                }
                None => waiters.push((id, cx.waker().clone())),
            }
            shared.waiting.store(true, Ordering::SeqCst);
        }
        // A buffer that came back between the first look and the registration woke nobody: look again.
        match self.shared.take(self.bytes) {
            Some(buffer) => Poll::Ready(Ok(buffer)),
            None => Poll::Pending,
        }
    }
}

impl Drop for TakeWait {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.shared.waiters().retain(|(other, _)| *other != id);
        }
    }
}

/// Anonymous memory whose first byte lies on a huge page.
struct Map {
    raw: *mut libc::c_void,
    raw_bytes: usize,
    start: NonNull<u8>,
    bytes: usize,
    huge_pages: bool,
}

// SAFETY: the mapping is plain memory; who may touch which part is I1's business.
#[expect(unsafe_code, reason = "a raw pointer is not Send by itself")]
unsafe impl Send for Map {}

// SAFETY: as above; `Map` itself gives out pointers only.
#[expect(unsafe_code, reason = "a raw pointer is not Sync by itself")]
unsafe impl Sync for Map {}

impl Map {
    fn new(bytes: usize) -> io::Result<Map> {
        let too_large = || io::Error::from(io::ErrorKind::InvalidInput);
        if u32::try_from(bytes / BUFFER_ALIGN).is_err() {
            return Err(too_large());
        }
        let raw_bytes = bytes.checked_add(HUGE_PAGE_BYTES).ok_or_else(too_large)?;
        // SAFETY: a fresh anonymous mapping touches nothing that exists.
        #[expect(unsafe_code, reason = "mmap has no safe form in std")]
        let raw = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                raw_bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if raw == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let skip = raw.addr().next_multiple_of(HUGE_PAGE_BYTES) - raw.addr();
        let start = raw.cast::<u8>().wrapping_add(skip);
        // SAFETY: `start..start + bytes` lies in the mapping made above, which has HUGE_PAGE_BYTES to available.
        #[expect(unsafe_code, reason = "madvise has no safe form in std")]
        let refused = unsafe { libc::madvise(start.cast(), bytes, libc::MADV_HUGEPAGE) } != 0;
        let start = NonNull::new(start).expect("inside a mapping that is not at address 0");
        Ok(Map { raw, raw_bytes, start, bytes, huge_pages: !refused })
    }

    fn at(&self, offset: usize) -> NonNull<u8> {
        assert!(offset < self.bytes);
        // SAFETY: the offset was just checked to be inside the mapping.
        #[expect(unsafe_code, reason = "pointer arithmetic")]
        unsafe {
            self.start.add(offset)
        }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: mapped in `new` with this length; by I2 nobody holds a piece of it.
        #[expect(unsafe_code, reason = "releases what `new` mapped")]
        let failed = unsafe { libc::munmap(self.raw, self.raw_bytes) } != 0;
        debug_assert!(!failed, "munmap of an own mapping");
    }
}

/// One block in a buffer of its own.
pub(crate) fn block_buffer(block: &[u8]) -> Buffer {
    let mut buffer = Buffer::unpooled(block.len());
    buffer.as_mut_slice().copy_from_slice(block);
    buffer
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::task::Wake;

    fn arena(chunks: usize, heap_bytes_max: usize) -> Arena {
        Arena::new(ArenaConfig { region_bytes: chunks * CHUNK_BYTES, heap_bytes_max }).expect("address space")
    }

    fn check(arena: &Arena, bytes: usize, capacity: usize) -> Buffer {
        let buffer = arena.take(bytes).expect("room");
        assert_eq!(buffer.capacity(), capacity, "take({bytes})");
        assert_eq!(buffer.len(), 0);
        assert!(buffer.as_slice().as_ptr().addr().is_multiple_of(BUFFER_ALIGN));
        buffer
    }

    #[test]
    fn classes() {
        let arena = arena(1, 64 << 20);
        for (bytes, capacity) in [
            (0, 16 << 10),
            (1, 16 << 10),
            (16 << 10, 16 << 10),
            ((16 << 10) + 1, 136 << 10),
            (136 << 10, 136 << 10),
            (1 << 20, (1 << 20) + (8 << 10)),
            ((1 << 20) + (8 << 10), (1 << 20) + (8 << 10)),
            ((1 << 20) + (8 << 10) + 1, (1 << 20) + (12 << 10)),
            (2 << 20, 2 << 20),
        ] {
            drop(check(&arena, bytes, capacity));
        }
        assert_eq!(arena.facts().heap_bytes, 0);
        assert_eq!(arena.facts().carved_bytes, CHUNK_BYTES);
    }

    #[test]
    fn every_block_is_its_own() {
        let arena = arena(2, 0);
        let mut taken = Vec::new();
        // Large ones first: a small take would break a middle block before it opens a new chunk.
        for class in CLASSES.iter().rev() {
            for _ in 0..class.per_chunk * 2 {
                let mut buffer = check(&arena, class.bytes, class.bytes);
                buffer.set_len(class.bytes);
                taken.push(buffer);
            }
        }
        for (mark, buffer) in (1_u8..).zip(&mut taken) {
            assert!(buffer.as_slice().iter().all(|byte| *byte == 0));
            buffer.as_mut_slice().fill(mark);
        }
        for (mark, buffer) in (1_u8..).zip(&taken) {
            assert!(buffer.as_slice().iter().all(|byte| *byte == mark));
        }
        assert!(arena.take(1).is_none());
        drop(taken);
        assert!(arena.take(1 << 20).is_some());
    }

    #[test]
    fn heap_is_counted_and_bounded() {
        let arena = arena(1, 3 << 20);
        let first = check(&arena, 2 << 20, 2 << 20);
        assert!(arena.take(2 << 20).is_none());
        drop(first);
        assert_eq!(arena.facts().heap_bytes, 0);
        drop(check(&arena, 2 << 20, 2 << 20));
    }

    #[test]
    fn growth_is_zero_filled() {
        let arena = arena(1, 0);
        let mut buffer = check(&arena, 100, 16 << 10);
        buffer.extend_from_slice(b"abc");
        buffer.set_len(5);
        assert_eq!(buffer.as_slice(), b"abc\0\0");
        buffer.as_mut_slice().fill(9);
        buffer.set_len(1);
        buffer.set_len(3);
        assert_eq!(buffer.as_slice(), [9, 0, 0]);
    }

    #[test]
    fn frozen_bytes_come_back_from_another_thread() {
        let arena = arena(1, 0);
        let mut all = Vec::new();
        while let Some(mut buffer) = arena.take(1 << 20) {
            buffer.set_len(1 << 20);
            all.push(buffer.freeze());
        }
        assert_eq!(all.len(), 3);
        let slices: Vec<Bytes> = all.iter().map(|bytes| bytes.slice(5..9)).collect();
        drop(all);
        assert!(arena.take(1 << 20).is_none());
        std::thread::spawn(move || drop(slices)).join().expect("no panic");
        assert!(arena.take(1 << 20).is_some());
    }

    struct Tell(mpsc::Sender<()>);

    impl Wake for Tell {
        fn wake(self: Arc<Self>) {
            self.0.send(()).expect("the test waits");
        }
    }

    #[test]
    fn waiting_for_a_buffer() {
        let arena = arena(1, 0);
        let held: Vec<Buffer> = std::iter::from_fn(|| arena.take(1 << 20)).collect();
        let (sender, receiver) = mpsc::channel();
        let waker = Waker::from(Arc::new(Tell(sender)));
        let mut cx = Context::from_waker(&waker);
        let mut wait = Box::pin(arena.take_wait(1 << 20));
        assert!(wait.as_mut().poll(&mut cx).is_pending());
        assert!(wait.as_mut().poll(&mut cx).is_pending());
        let dropped = Box::pin(arena.take_wait(1 << 20));
        drop(dropped);
        std::thread::spawn(move || drop(held)).join().expect("no panic");
        receiver.try_recv().expect("woken");
        let Poll::Ready(Ok(buffer)) = wait.as_mut().poll(&mut cx) else { panic!("a buffer is free") };
        assert_eq!(buffer.len(), 0);
    }
}
