//! MD5 of the uploads of one core, several at a time in the lanes of its vector unit.
//!
//! One MD5 stream is a chain that no vector speeds up, so a single upload cannot get faster, but many together can:
//! each leaves its bytes in a bounded backlog, and whoever has too much of its own, or is at its end, hashes a turn,
//! in which the uploads with the most pending bytes ride along. Nobody waits for anybody: an upload alone on its core
//! hashes at once, and there is no task. `hash` opens a [`Lane`] per body, `s3::payload` takes the turns.
//!
//! I1. The bytes of a lane are hashed in the order they were given, whoever does it. I2. What a dropped lane had
//! pending is gone with it. I3. When no lane of a core is behind, each holds at most [`MD5_BACKLOG_BYTES_MAX`].
//! Owned by one core; no borrow of it outlives a call.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use bytes::Bytes;
use md5::{Digest as _, Md5};
use md5_many::{Md5Many, Md5State};

use crate::limits::{
    HASH_BLOCK_BYTES, MD5_ALONE_BYTES_MAX, MD5_BACKLOG_BYTES_MAX, MD5_BACKLOG_CORE_BYTES_MAX,
    MD5_BACKLOG_PIECES_MAX, MD5_TURN_BYTES,
};

/// Lanes of the widest vectors (AVX-512).
const LANES_MAX: usize = 16;

/// Lanes of the narrowest vectors that are worth it (AVX2).
const LANES_MIN: usize = 8;

/// Vectors of lanes that are hashed side by side: two fill the waits of one another.
const VECTORS_MAX: usize = 2;

/// Streams below which lanes gain nothing over one stream after the other.
const STREAMS_MIN: usize = 3;

/// Bytes of an MD5 block.
const BLOCK: usize = 64;

/// The lanes of one core. Clones are the same lanes.
#[derive(Clone)]
pub struct Md5Lanes {
    /// `None` on a CPU without them: everything is hashed by `md-5` then.
    core: Option<Rc<RefCell<LaneCore>>>,
}

struct LaneCore {
    engine: Md5Many,
    streams: BTreeMap<u64, Stream>,
    next: u64,
    /// Bytes that the backlogs of all streams hold.
    pending: usize,
}

struct Stream {
    id: u64,
    state: Md5State,
    backlog: VecDeque<Bytes>,
    pending: usize,
}

/// The MD5 of one body, under way.
pub(super) enum Lane {
    /// By the library that everything is measured against.
    Plain(Md5),
    /// A body too short to gain from company.
    Alone(Md5State),
    /// A body whose bytes may wait for those of others.
    LaneState(LaneState),
}

pub(super) struct LaneState {
    core: Rc<RefCell<LaneCore>>,
    id: u64,
}

impl Md5Lanes {
    /// Looks for vectors of at least 8 lanes, and uses them if what they compute agrees with `md-5`.
    pub fn new() -> Md5Lanes {
        let engine = Md5Many::new();
        if !(LANES_MIN..=LANES_MAX).contains(&engine.lanes()) || !agrees(engine) {
            return Md5Lanes { core: None };
        }
        let core = LaneCore { engine, streams: BTreeMap::new(), next: 0, pending: 0 };
        Md5Lanes { core: Some(Rc::new(RefCell::new(core))) }
    }

    /// Starts the MD5 of a body of `bytes` bytes.
    pub(super) fn open(&self, bytes: u64) -> Lane {
        match &self.core {
            None => Lane::Plain(Md5::new()),
            Some(_) if bytes <= MD5_ALONE_BYTES_MAX => Lane::Alone(Md5State::new()),
            Some(core) => Lane::LaneState(LaneState { core: core.clone(), id: core.borrow_mut().open() }),
        }
    }
}

impl Default for Md5Lanes {
    fn default() -> Md5Lanes {
        Md5Lanes::new()
    }
}

impl std::fmt::Debug for Md5Lanes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Md5Lanes")
    }
}

impl Lane {
    /// Takes the next bytes: hashes them or keeps them.
    pub(super) fn update(&mut self, piece: &Bytes) {
        match self {
            Lane::Plain(md5) => md5.update(piece),
            Lane::Alone(state) => state.update(piece),
            Lane::LaneState(shared) => shared.core.borrow_mut().update(shared.id, piece),
        }
    }

    /// Whether more is pending than may be: take turns until it is not, before more bytes are given.
    pub(super) fn is_behind(&self) -> bool {
        self.shared().is_some_and(|shared| shared.core.borrow().is_behind(shared.id))
    }

    /// Whether anything is pending.
    pub(super) fn is_pending(&self) -> bool {
        self.shared().is_some_and(|shared| shared.core.borrow().pending_of(shared.id) != 0)
    }

    /// Hashes some of what is pending, here and in other lanes: about [`MD5_TURN_BYTES`], well under a millisecond.
    pub(super) fn turn(&mut self) {
        if let Some(shared) = self.shared() {
            shared.core.borrow_mut().turn(shared.id);
        }
    }

    /// Hashes what is still pending, and ends.
    pub(super) fn finish(mut self) -> [u8; 16] {
        while self.is_pending() {
            self.turn();
        }
        match self {
            Lane::Plain(md5) => md5.finalize().into(),
            Lane::Alone(state) => state.finalize(),
            Lane::LaneState(shared) => shared.core.borrow().digest(shared.id),
        }
    }

    fn shared(&self) -> Option<&LaneState> {
        match self {
            Lane::LaneState(shared) => Some(shared),
            Lane::Plain(_) | Lane::Alone(_) => None,
        }
    }
}

impl std::fmt::Debug for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lane")
    }
}

impl Drop for LaneState {
    fn drop(&mut self) {
        self.core.borrow_mut().close(self.id);
    }
}

impl LaneCore {
    fn open(&mut self) -> u64 {
        let id = self.next;
        self.next += 1;
        let stream = Stream { id, state: Md5State::new(), backlog: VecDeque::new(), pending: 0 };
        self.streams.insert(id, stream);
        id
    }

    fn close(&mut self, id: u64) {
        if let Some(stream) = self.streams.remove(&id) {
            self.pending -= stream.pending;
        }
    }

    fn stream(&self, id: u64) -> &Stream {
        self.streams.get(&id).expect("a stream is there until its lane is dropped")
    }

    fn update(&mut self, id: u64, piece: &Bytes) {
        let alone = self.streams.len() == 1;
        let stream = self.streams.get_mut(&id).expect("a stream is there until its lane is dropped");
        if alone && stream.pending == 0 {
            stream.state.update(piece);
        } else if !piece.is_empty() {
            stream.pending += piece.len();
            self.pending += piece.len();
            stream.backlog.push_back(piece.clone());
        }
    }

    fn is_behind(&self, id: u64) -> bool {
        let stream = self.stream(id);
        let alone = self.streams.len() == 1;
        let too_much = MD5_BACKLOG_BYTES_MAX < stream.pending
            || MD5_BACKLOG_PIECES_MAX < stream.backlog.len()
            || MD5_BACKLOG_CORE_BYTES_MAX < self.pending;
        stream.pending != 0 && (alone || too_much)
    }

    fn pending_of(&self, id: u64) -> usize {
        self.stream(id).pending
    }

    fn digest(&self, id: u64) -> [u8; 16] {
        let stream = self.stream(id);
        assert!(stream.pending == 0);
        stream.state.finalize()
    }

    /// Hashes for `driver` until it has nothing left or the turn is over; the fullest others come along.
    fn turn(&mut self, driver: u64) {
        let mut riders: Vec<&mut Stream> = self.streams.values_mut().filter(|s| s.pending != 0).collect();
        riders.sort_unstable_by_key(|stream| (stream.id != driver, Reverse(stream.pending)));
        riders.truncate(self.engine.lanes() * VECTORS_MAX);
        let mut hashed = 0;
        while hashed < MD5_TURN_BYTES {
            riders.retain_mut(|stream| {
                hashed += stream.align();
                !stream.backlog.is_empty()
            });
            if riders.first().is_none_or(|first| first.id != driver) {
                break;
            }
            if riders.len() < STREAMS_MIN {
                riders.truncate(1);
            }
            hashed += step(self.engine, &mut riders);
        }
        self.pending -= hashed;
    }
}

impl Stream {
    /// Hashes what is needed until whole blocks of one piece come next, or nothing. Returns how many bytes.
    fn align(&mut self) -> usize {
        let mut hashed = 0;
        while let Some(front) = self.backlog.front() {
            let partial = usize::try_from(self.state.bytes_hashed() % 64).expect("less than 64");
            let loose = match partial {
                0 if BLOCK <= front.len() => break,
                _ => front.len().min(BLOCK - partial),
            };
            let bytes = self.take(loose);
            self.state.update(&bytes);
            hashed += loose;
        }
        hashed
    }

    /// The bytes of whole blocks that come next, in one piece.
    fn run(&self) -> usize {
        self.backlog.front().map_or(0, |front| front.len() / BLOCK * BLOCK)
    }

    /// Takes bytes off the first piece.
    fn take(&mut self, bytes: usize) -> Bytes {
        let front = self.backlog.front_mut().expect("the caller looked at it");
        let taken = front.split_to(bytes);
        if front.is_empty() {
            self.backlog.pop_front();
        }
        self.pending -= bytes;
        taken
    }
}

/// Hashes as many whole blocks of each stream as all of them have next. Returns how many bytes in all.
///
/// Lanes without a stream hash the first one's bytes for nothing: unlike partly filled vectors, whole ones have a fast
/// way through the library, and only that is used.
fn step(engine: Md5Many, riders: &mut [&mut Stream]) -> usize {
    let run = riders.iter().map(|stream| stream.run()).min().unwrap_or(0).min(HASH_BLOCK_BYTES);
    let count = riders.len();
    if let [stream] = riders {
        let bytes = stream.take(run);
        stream.state.update(&bytes);
        return run;
    }
    let width = count.next_multiple_of(engine.lanes());
    let mut states = [Md5State::new(); LANES_MAX * VECTORS_MAX];
    let states = states.get_mut(..width).expect("no more streams than lanes");
    let pieces: Vec<Bytes> = riders.iter_mut().map(|stream| stream.take(run)).collect();
    let idle: &[u8] = pieces.first().expect("a stream takes the turn");
    let mut inputs = [idle; LANES_MAX * VECTORS_MAX];
    for (input, piece) in inputs.iter_mut().zip(&pieces) {
        *input = piece;
    }
    for (state, stream) in states.iter_mut().zip(riders.iter()) {
        *state = stream.state;
    }
    engine.update_many(states, inputs.get(..width).expect("as many as states"));
    for (state, stream) in states.iter().zip(riders.iter_mut()) {
        stream.state = *state;
    }
    run * count
}

/// Whether every width that is used gives what `md-5` gives, on this CPU.
fn agrees(engine: Md5Many) -> bool {
    let byte = |stream: usize, i: usize| u8::try_from((stream * 131 + i * 7) % 251).expect("small");
    let messages: Vec<Bytes> = (0..LANES_MAX * VECTORS_MAX)
        .map(|stream| (0..4 * BLOCK + stream).map(|i| byte(stream, i)).collect())
        .collect();
    [1, engine.lanes(), engine.lanes() * VECTORS_MAX].into_iter().all(|count| {
        let mut core = LaneCore { engine, streams: BTreeMap::new(), next: 0, pending: 0 };
        let messages = messages.get(..count).unwrap_or_default();
        let ids: Vec<u64> = messages.iter().map(|_| core.open()).collect();
        for (id, message) in ids.iter().zip(messages) {
            core.update(*id, message);
        }
        ids.iter().zip(messages).all(|(id, message)| {
            core.turn(*id);
            core.pending_of(*id) == 0 && core.digest(*id) == <[u8; 16]>::from(Md5::digest(message))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(seed: u64) -> impl FnMut(usize) -> usize {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        move |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state >> 11).expect("64 bits") % below.max(1)
        }
    }

    fn payload(len: usize, random: &mut impl FnMut(usize) -> usize) -> Bytes {
        let (start, step) = (random(251), 1 + random(250));
        (0..len).map(|i| u8::try_from((start + i * step + i / 251) % 256).expect("small")).collect()
    }

    fn core_of(lanes: &Md5Lanes) -> Option<(usize, usize)> {
        lanes.core.as_ref().map(|core| (core.borrow().streams.len(), core.borrow().pending))
    }

    /// Uploads of random lengths in random pieces, taken turn by turn in random order, some of them dropped.
    fn check(seed: u64, streams: usize, piece_max: usize, engines: &[Md5Lanes]) {
        let mut random = random(seed);
        for lanes in engines {
            let mut open: Vec<(Lane, Bytes, Md5)> = (0..streams)
                .map(|_| {
                    let short = usize::try_from(MD5_ALONE_BYTES_MAX).expect("small");
                    let bytes = payload(short * random(8).min(1) + random(3 * short), &mut random);
                    (lanes.open(u64::try_from(bytes.len()).expect("small")), bytes, Md5::new())
                })
                .collect();
            while !open.is_empty() {
                let at = random(open.len());
                let (lane, rest, reference) = &mut open[at];
                if rest.is_empty() {
                    let (lane, _, reference) = open.swap_remove(at);
                    assert_eq!(lane.finish(), <[u8; 16]>::from(reference.finalize()), "seed {seed}");
                    continue;
                }
                if random(200) == 0 {
                    drop(open.swap_remove(at));
                    continue;
                }
                let piece = rest.split_to((1 + random(piece_max)).min(rest.len()));
                reference.update(&piece);
                lane.update(&piece);
                while lane.is_behind() || (lane.is_pending() && random(20) == 0) {
                    lane.turn();
                }
                if let Some(shared) = lane.shared() {
                    let core = shared.core.borrow();
                    assert!(core.pending_of(shared.id) <= MD5_BACKLOG_BYTES_MAX);
                    assert!(core.pending <= MD5_BACKLOG_CORE_BYTES_MAX);
                    assert_eq!(core.pending, core.streams.values().map(|s| s.pending).sum::<usize>());
                }
            }
            assert!(core_of(lanes).is_none_or(|left| left == (0, 0)), "something is left behind");
        }
    }

    #[test]
    fn same_as_md5() {
        let engines = [Md5Lanes::new(), Md5Lanes { core: None }];
        for streams in 1..=16 {
            for (turn, piece_max) in (0u64..).zip([100_000, 65_536, 9_000, 700]) {
                check(u64::try_from(streams).expect("small") * 10 + turn, streams, piece_max, &engines);
            }
        }
        check(1000, 40, 100_000, &engines);
    }

    #[test]
    fn lengths_around_blocks() {
        let lanes = Md5Lanes::new();
        let mut random = random(5);
        for extra in [0, 1, 55, 56, 57, 63, 64, 65, 119, 120, 127, 128, 129] {
            let open: Vec<(Lane, Bytes)> = (0..20)
                .map(|stream| {
                    let bytes = payload(extra + stream / 10, &mut random);
                    let mut lane = lanes.open(MD5_ALONE_BYTES_MAX + 1);
                    let (head, tail) = (bytes.slice(..extra / 3), bytes.slice(extra / 3..));
                    lane.update(&head);
                    lane.update(&tail);
                    (lane, bytes)
                })
                .collect();
            for (lane, bytes) in open {
                assert_eq!(lane.finish(), <[u8; 16]>::from(Md5::digest(&bytes)), "{extra}");
            }
        }
    }

    #[test]
    fn every_vector_width() {
        let reference: Vec<Bytes> = (0..32).map(|i| payload(5000, &mut random(i + 1))).collect();
        let engine = Md5Many::new();
        if !(LANES_MIN..=LANES_MAX).contains(&engine.lanes()) {
            return;
        }
        assert!(agrees(engine));
        for count in 1..=engine.lanes() * VECTORS_MAX {
            let mut core = LaneCore { engine, streams: BTreeMap::new(), next: 0, pending: 0 };
            let ids: Vec<u64> = (0..count).map(|_| core.open()).collect();
            for (id, bytes) in ids.iter().zip(&reference) {
                core.update(*id, bytes);
            }
            core.turn(ids[0]);
            for (id, bytes) in ids.iter().zip(&reference) {
                core.turn(*id);
                assert_eq!(core.digest(*id), <[u8; 16]>::from(Md5::digest(bytes)), "{count}");
            }
        }
    }

    #[test]
    fn alone_hashes_at_once() {
        let lanes = Md5Lanes::new();
        if lanes.core.is_none() {
            return;
        }
        let bytes = Bytes::from(vec![7; 300_000]);
        let mut first = lanes.open(1 << 20);
        first.update(&bytes);
        assert!(!first.is_pending());
        let mut second = lanes.open(1 << 20);
        first.update(&bytes);
        second.update(&bytes);
        assert!(first.is_pending() && !first.is_behind());
        drop(second);
        // Alone again, what it had kept is due.
        assert!(first.is_behind());
        assert_eq!(core_of(&lanes), Some((1, bytes.len())));
        drop(first);
        assert_eq!(core_of(&lanes), Some((0, 0)));
    }
}
