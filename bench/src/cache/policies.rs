//! Other policies, which count in place of keeping bytes: what the engine's cache is held against.
//!
//! They charge payload alone and use maps of their own at will, so they are slightly better off than a real cache.

use std::collections::{HashMap, VecDeque};

/// A cache as a load sees it.
pub(crate) trait Policy {
    /// Reads a key of `bytes`; true if it was there.
    fn read(&mut self, key: u64, bytes: u32) -> bool;
    /// Bytes taken in so far.
    fn copied_bytes(&self) -> u64;
}

/// Least recently used goes first.
pub(crate) struct Lru {
    bytes_max: u64,
    bytes: u64,
    copied: u64,
    reads: u64,
    entries: HashMap<u64, (u64, u32)>,
    /// Every read; those that a later one of the same key followed are passed over.
    order: VecDeque<(u64, u64)>,
}

impl Lru {
    pub(crate) fn new(bytes_max: u64) -> Lru {
        Lru { bytes_max, bytes: 0, copied: 0, reads: 0, entries: HashMap::new(), order: VecDeque::new() }
    }
}

impl Policy for Lru {
    fn read(&mut self, key: u64, bytes: u32) -> bool {
        self.reads += 1;
        let before = self.entries.insert(key, (self.reads, bytes));
        self.order.push_back((key, self.reads));
        if before.is_some() {
            return true;
        }
        self.bytes += u64::from(bytes);
        self.copied += u64::from(bytes);
        while self.bytes_max < self.bytes {
            let Some((key, read)) = self.order.pop_front() else { break };
            if self.entries.get(&key).is_some_and(|(last, _)| *last == read) {
                let (_, bytes) = self.entries.remove(&key).expect("just looked at");
                self.bytes -= u64::from(bytes);
            }
        }
        false
    }

    fn copied_bytes(&self) -> u64 {
        self.copied
    }
}

/// Keys in the order in which they came, as many as something else holds.
#[derive(Default)]
struct GhostQueue {
    order: VecDeque<(u64, u64)>,
    times: HashMap<u64, u64>,
    now: u64,
}

impl GhostQueue {
    fn push(&mut self, key: u64, keys_max: usize) {
        self.now += 1;
        self.times.insert(key, self.now);
        self.order.push_back((key, self.now));
        while keys_max < self.times.len() {
            let Some((key, time)) = self.order.pop_front() else { break };
            if self.times.get(&key) == Some(&time) {
                self.times.remove(&key);
            }
        }
    }

    fn take(&mut self, key: u64) -> bool {
        self.times.remove(&key).is_some()
    }
}

#[derive(Clone, Copy)]
struct Counted {
    bytes: u32,
    touches: u8,
}

/// S3-FIFO as published: a small queue of a tenth, a main queue, ghosts of what the small queue let go.
pub(crate) struct S3Fifo {
    bytes_max: u64,
    small_bytes: u64,
    main_bytes: u64,
    copied: u64,
    entries: HashMap<u64, Counted>,
    small: VecDeque<u64>,
    main: VecDeque<u64>,
    ghosts: GhostQueue,
    /// A first read goes to the ghosts, and the small queue stays empty.
    is_ghost_first: bool,
}

impl S3Fifo {
    pub(crate) fn new(bytes_max: u64) -> S3Fifo {
        S3Fifo {
            bytes_max,
            small_bytes: 0,
            main_bytes: 0,
            copied: 0,
            entries: HashMap::new(),
            small: VecDeque::new(),
            main: VecDeque::new(),
            ghosts: GhostQueue::default(),
            is_ghost_first: false,
        }
    }

    fn forget(&mut self, key: u64) -> u64 {
        let gone = self.entries.remove(&key).expect("queued keys are there");
        // In an empty cache nothing would ever be read a second time in the window.
        self.ghosts.push(key, self.entries.len().max(1_000));
        u64::from(gone.bytes)
    }

    fn make_room(&mut self) {
        while self.bytes_max < self.small_bytes + self.main_bytes {
            let is_small = self.bytes_max / 10 < self.small_bytes || self.main.is_empty();
            let queue = if is_small { &mut self.small } else { &mut self.main };
            let Some(key) = queue.pop_front() else { break };
            let entry = self.entries.get_mut(&key).expect("queued keys are there");
            let bytes = u64::from(entry.bytes);
            if is_small {
                self.small_bytes -= bytes;
                if 1 < entry.touches {
                    entry.touches = 0;
                    self.main_bytes += bytes;
                    self.main.push_back(key);
                } else {
                    self.forget(key);
                }
            } else if 0 < entry.touches {
                entry.touches -= 1;
                self.main.push_back(key);
            } else {
                self.main_bytes -= bytes;
                match self.is_ghost_first {
                    true => drop(self.forget(key)),
                    false => drop(self.entries.remove(&key)),
                }
            }
        }
    }
}

impl Policy for S3Fifo {
    fn read(&mut self, key: u64, bytes: u32) -> bool {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.touches = (entry.touches + 1).min(3);
            return true;
        }
        let is_back = self.ghosts.take(key);
        if self.is_ghost_first && !is_back {
            self.ghosts.push(key, self.entries.len().max(1_000));
            return false;
        }
        let wide = u64::from(bytes);
        self.entries.insert(key, Counted { bytes, touches: 0 });
        self.copied += wide;
        if is_back {
            self.main.push_back(key);
            self.main_bytes += wide;
        } else {
            self.small.push_back(key);
            self.small_bytes += wide;
        }
        self.make_room();
        false
    }

    fn copied_bytes(&self) -> u64 {
        self.copied
    }
}

/// S3-FIFO whose first reads go to the ghosts alone.
pub(crate) struct GhostFirst(S3Fifo);

impl GhostFirst {
    pub(crate) fn new(bytes_max: u64) -> GhostFirst {
        GhostFirst(S3Fifo { is_ghost_first: true, ..S3Fifo::new(bytes_max) })
    }
}

impl Policy for GhostFirst {
    fn read(&mut self, key: u64, bytes: u32) -> bool {
        self.0.read(key, bytes)
    }

    fn copied_bytes(&self) -> u64 {
        self.0.copied_bytes()
    }
}

/// In the manner of W-TinyLFU: a window of 2 % on the second read, and what leaves it must be more frequent, by a
/// sketch of four rows that is halved at intervals, than the next of the main queue.
pub(crate) struct Sketch {
    bytes_max: u64,
    window_bytes: u64,
    main_bytes: u64,
    copied: u64,
    reads: u64,
    counts: Vec<u8>,
    entries: HashMap<u64, u32>,
    window: VecDeque<u64>,
    main: VecDeque<u64>,
}

impl Sketch {
    pub(crate) fn new(bytes_max: u64) -> Sketch {
        let counts = usize::try_from(bytes_max / 512).expect("64 bits").next_power_of_two();
        Sketch {
            bytes_max,
            window_bytes: 0,
            main_bytes: 0,
            copied: 0,
            reads: 0,
            counts: vec![0; counts],
            entries: HashMap::new(),
            window: VecDeque::new(),
            main: VecDeque::new(),
        }
    }

    fn cells(&self, key: u64) -> [usize; 4] {
        let hash = nilas_tests::rng::Rng::new(key).draw();
        [0, 16, 32, 48].map(|turn| hash.rotate_left(turn) as usize & (self.counts.len() - 1))
    }

    fn frequency(&self, key: u64) -> u8 {
        self.cells(key).map(|cell| self.counts[cell]).into_iter().min().unwrap_or(0)
    }

    fn count(&mut self, key: u64) {
        let least = self.frequency(key);
        for cell in self.cells(key) {
            if self.counts[cell] == least {
                self.counts[cell] = (least + 1).min(15);
            }
        }
        self.reads += 1;
        if 10 * self.entries.len().max(1_000) as u64 <= self.reads {
            self.reads = 0;
            self.counts.iter_mut().for_each(|count| *count /= 2);
        }
    }

    /// Whether what left the window goes to the main queue, which makes room for it if so.
    fn wins(&mut self, key: u64, bytes: u64, main_bytes_max: u64) -> bool {
        while main_bytes_max < self.main_bytes + bytes {
            let Some(victim) = self.main.pop_front() else { return false };
            if self.frequency(key) <= self.frequency(victim) {
                self.main.push_back(victim);
                return false;
            }
            self.main_bytes -= u64::from(self.entries.remove(&victim).expect("queued keys are there"));
        }
        true
    }
}

impl Policy for Sketch {
    fn read(&mut self, key: u64, bytes: u32) -> bool {
        self.count(key);
        if self.entries.contains_key(&key) {
            return true;
        }
        if self.frequency(key) < 2 {
            return false;
        }
        self.entries.insert(key, bytes);
        self.window.push_back(key);
        self.window_bytes += u64::from(bytes);
        self.copied += u64::from(bytes);
        let window_bytes_max = self.bytes_max / 50;
        while window_bytes_max < self.window_bytes {
            let Some(key) = self.window.pop_front() else { break };
            let bytes = u64::from(self.entries[&key]);
            self.window_bytes -= bytes;
            if self.wins(key, bytes, self.bytes_max - window_bytes_max) {
                self.main.push_back(key);
                self.main_bytes += bytes;
            } else {
                self.entries.remove(&key);
            }
        }
        false
    }

    fn copied_bytes(&self) -> u64 {
        self.copied
    }
}
