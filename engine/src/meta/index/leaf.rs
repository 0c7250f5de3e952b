//! A leaf of an index tree: up to about 4 KiB of sorted cells in one immutable byte string, the same in memory and in a
//! checkpoint. See FORMAT.md, "Leaf".
//!
//! `tree` makes new leaves out of old ones and never changes one, so a checkpoint can hold on to what it is writing.
//! I1. Every leaf in a tree was made here or passed [`is_valid`], so reading one cannot run out of its bytes. I2. Cells
//! are in byte order of their keys; cells of one key keep the order in which they were placed. I3. A leaf of more than
//! 64 KiB has one cell, so offsets fit 16 bits.

use std::cmp::Ordering;

use bytes::Bytes;

use crate::format::varint;

/// A leaf that would grow beyond this is split.
pub(crate) const LEAF_BYTES_MAX: usize = 4096;
const HEAD_BYTES: usize = 4;

/// A key in two pieces: what its leaf's cells have in common, and the rest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key<'a> {
    head: &'a [u8],
    tail: &'a [u8],
}

impl<'a> Key<'a> {
    pub(crate) fn whole(key: &'a [u8]) -> Key<'a> {
        Key { head: &[], tail: key }
    }

    pub(crate) fn len(&self) -> usize {
        self.head.len() + self.tail.len()
    }

    pub(crate) fn to_vec(self) -> Vec<u8> {
        [self.head, self.tail].concat()
    }

    pub(crate) fn compare(&self, other: &[u8]) -> Ordering {
        if other.len() < self.head.len() {
            return self.head.cmp(other);
        }
        let (front, back) = other.split_at(self.head.len());
        self.head.cmp(front).then_with(|| self.tail.cmp(back))
    }

    pub(crate) fn starts_with(&self, prefix: &[u8]) -> bool {
        if prefix.len() <= self.head.len() {
            return self.head.starts_with(prefix);
        }
        let (front, back) = prefix.split_at(self.head.len());
        self.head == front && self.tail.starts_with(back)
    }

    /// The two pieces without the first `skip` bytes.
    pub(crate) fn rest(&self, skip: usize) -> [&'a [u8]; 2] {
        let from_head = skip.min(self.head.len());
        [&self.head[from_head..], &self.tail[(skip - from_head).min(self.tail.len())..]]
    }

    /// Bytes that both keys begin with.
    fn common(&self, other: &Key<'_>) -> usize {
        let bytes = |key: &Key<'a>| key.head.iter().chain(key.tail).copied().collect::<Vec<u8>>();
        let (a, b) = (bytes(self), other.to_vec());
        a.iter().zip(&b).take_while(|(a, b)| a == b).count()
    }
}

/// A leaf's bytes, read.
#[derive(Clone, Copy)]
pub(crate) struct Leaf<'a> {
    bytes: &'a [u8],
    count: usize,
    prefix_bytes: usize,
}

impl<'a> Leaf<'a> {
    pub(crate) fn of(bytes: &'a [u8]) -> Leaf<'a> {
        Leaf { bytes, count: u16_at(bytes, 0), prefix_bytes: u16_at(bytes, 2) }
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    fn prefix(&self) -> &'a [u8] {
        &self.bytes[HEAD_BYTES..HEAD_BYTES + self.prefix_bytes]
    }

    fn start(&self, nth: usize) -> usize {
        u16_at(self.bytes, HEAD_BYTES + self.prefix_bytes + 2 * nth)
    }

    fn end(&self, nth: usize) -> usize {
        if nth + 1 == self.count { self.bytes.len() } else { self.start(nth + 1) }
    }

    fn suffix(&self, nth: usize) -> &'a [u8] {
        let from = self.start(nth);
        // Almost every suffix is shorter than 128 bytes, and then its length is one byte.
        let first = self.bytes[from];
        if first < 0x80 {
            return &self.bytes[from + 1..from + 1 + usize::from(first)];
        }
        let (length, used) = varint::read(&self.bytes[from..]).expect("I1");
        let from = from + used;
        &self.bytes[from..from + usize::try_from(length).expect("I1")]
    }

    pub(crate) fn key(&self, nth: usize) -> Key<'a> {
        Key { head: self.prefix(), tail: self.suffix(nth) }
    }

    pub(crate) fn payload(&self, nth: usize) -> &'a [u8] {
        let suffix = self.suffix(nth);
        let from = self.start(nth) + varint::length(suffix.len() as u64) + suffix.len();
        &self.bytes[from..self.end(nth)]
    }

    /// The first cell whose key is not below `key`.
    pub(crate) fn lower_bound(&self, key: &[u8]) -> usize {
        let prefix = self.prefix();
        let rest = match key.strip_prefix(prefix) {
            Some(rest) => rest,
            None if key < prefix => return 0,
            None => return self.count,
        };
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = usize::midpoint(low, high);
            match self.suffix(middle) < rest {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        low
    }

    /// The leaf with a cell before cell `nth`; `None` when it is better made anew: the key does not begin like the
    /// others.
    pub(crate) fn with(&self, nth: usize, key: &[u8], payload: &[u8]) -> Option<Bytes> {
        let suffix = key.strip_prefix(self.prefix())?;
        self.splice(nth, 0, Some((suffix, payload)))
    }

    /// The leaf with another payload in cell `nth`.
    pub(crate) fn replaced(&self, nth: usize, payload: &[u8]) -> Option<Bytes> {
        self.splice(nth, 1, Some((self.suffix(nth), payload)))
    }

    /// The leaf without cell `nth`, which is not its only one.
    pub(crate) fn without(&self, nth: usize) -> Option<Bytes> {
        self.splice(nth, 1, None)
    }

    /// The leaf with `removed` cells from `nth` on exchanged for `added`; `None` when offsets would not fit.
    fn splice(&self, nth: usize, removed: usize, added: Option<(&[u8], &[u8])>) -> Option<Bytes> {
        let added_bytes = added.map_or(0, |(suffix, payload)| cell_bytes(suffix.len(), payload.len()));
        let cells_at = HEAD_BYTES + self.prefix_bytes + 2 * self.count;
        let from = if nth < self.count { self.start(nth) } else { self.bytes.len() };
        let until = if nth + removed < self.count { self.start(nth + removed) } else { self.bytes.len() };
        let count = self.count - removed + usize::from(added.is_some());
        let total = HEAD_BYTES + self.prefix_bytes + 2 * count + (self.bytes.len() - cells_at)
            - (until - from)
            + added_bytes;
        if usize::from(u16::MAX) < total && count > 1 {
            return None;
        }
        let mut out = Vec::with_capacity(total);
        put_u16(&mut out, count);
        put_u16(&mut out, self.prefix_bytes);
        out.extend_from_slice(self.prefix());
        // Every offset moves by what the offset table grows or shrinks.
        let shifted = |at: usize| at + 2 * count - 2 * self.count;
        (0..nth).for_each(|cell| put_u16(&mut out, shifted(self.start(cell))));
        if added.is_some() {
            put_u16(&mut out, shifted(from));
        }
        for cell in nth + removed..self.count {
            put_u16(&mut out, shifted(self.start(cell)) + added_bytes - (until - from));
        }
        out.extend_from_slice(&self.bytes[cells_at..from]);
        if let Some((suffix, payload)) = added {
            varint::write(&mut out, suffix.len() as u64);
            out.extend_from_slice(suffix);
            out.extend_from_slice(payload);
        }
        out.extend_from_slice(&self.bytes[until..]);
        assert_eq!(out.len(), total);
        Some(out.into())
    }
}

/// One cell on its way into a new leaf.
pub(crate) type Cell<'a> = (Key<'a>, &'a [u8]);

/// A leaf of these cells, at least one, in order.
pub(crate) fn build(cells: &[Cell<'_>]) -> Bytes {
    let (first, last) = (cells[0].0, cells[cells.len() - 1].0);
    // A single key says nothing of what later ones have in common with it.
    let shared = if cells.len() == 1 { 0 } else { first.common(&last) };
    build_with(shared.min(usize::from(u16::MAX)), cells)
}

/// A leaf of one cell that expects its next ones to begin like it and `before` both do.
pub(crate) fn build_behind(before: Key<'_>, cell: Cell<'_>) -> Bytes {
    build_with(cell.0.common(&before).min(LEAF_BYTES_MAX), &[cell])
}

fn build_with(shared: usize, cells: &[Cell<'_>]) -> Bytes {
    let sizes = cells.iter().map(|(key, payload)| cell_bytes(key.len() - shared, payload.len()));
    let mut at = HEAD_BYTES + shared + 2 * cells.len();
    let mut out = Vec::with_capacity(at + sizes.clone().sum::<usize>());
    put_u16(&mut out, cells.len());
    put_u16(&mut out, shared);
    out.extend_from_slice(&cells[0].0.to_vec()[..shared]);
    for bytes in sizes {
        put_u16(&mut out, at);
        at += bytes;
    }
    for (key, payload) in cells {
        varint::write(&mut out, (key.len() - shared) as u64);
        key.rest(shared).iter().for_each(|piece| out.extend_from_slice(piece));
        out.extend_from_slice(payload);
    }
    out.into()
}

/// Bytes of a cell without its place in the offset table.
fn cell_bytes(suffix: usize, payload: usize) -> usize {
    varint::length(suffix as u64) + suffix + payload
}

/// Whether bytes that come from a drive are a leaf: every offset and length stays inside, keys are in order.
pub(crate) fn is_valid(bytes: &[u8]) -> bool {
    let [count, prefix] = [0, 2].map(|at| bytes.get(at..at + 2).map_or(0, |_| u16_at(bytes, at)));
    let cells_at = HEAD_BYTES + prefix + 2 * count;
    if count == 0 || bytes.len() < cells_at || (count > 1 && usize::from(u16::MAX) < bytes.len()) {
        return false;
    }
    let leaf = Leaf::of(bytes);
    let mut before: Option<&[u8]> = None;
    let mut at = cells_at;
    for nth in 0..count {
        let end = leaf.end(nth);
        if leaf.start(nth) != at || end < at || bytes.len() < end {
            return false;
        }
        let Some((length, used)) = varint::read(&bytes[at..end]) else { return false };
        let suffix = usize::try_from(length).ok().and_then(|length| bytes[at + used..end].get(..length));
        let Some(suffix) = suffix else { return false };
        if varint::length(length) != used || before.is_some_and(|before| suffix < before) {
            return false;
        }
        before = Some(suffix);
        at = end;
    }
    true
}

fn u16_at(bytes: &[u8], at: usize) -> usize {
    usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]))
}

fn put_u16(out: &mut Vec<u8>, value: usize) {
    let value = u16::try_from(value).expect("I3");
    out.extend_from_slice(&value.to_le_bytes());
}

/// Fuzz entry: whatever passes for a leaf can be read from end to end.
pub fn fuzz_leaf(bytes: &[u8]) {
    if is_valid(bytes) {
        let leaf = Leaf::of(bytes);
        for nth in 0..leaf.count() {
            let key = leaf.key(nth).to_vec();
            assert!(leaf.payload(nth).len() <= bytes.len());
            assert!(leaf.lower_bound(&key) <= nth);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_changed_and_read() {
        let keys: [&[u8]; 3] = [b"data/a", b"data/b", b"data/cc"];
        let cells: Vec<Cell<'_>> = keys.iter().map(|key| (Key::whole(key), *key)).collect();
        let bytes = build(&cells);
        let leaf = Leaf::of(&bytes);
        assert!(is_valid(&bytes));
        assert_eq!(leaf.prefix(), b"data/");
        for (nth, key) in keys.iter().enumerate() {
            assert_eq!((leaf.key(nth).to_vec().as_slice(), leaf.payload(nth)), (*key, *key));
            assert_eq!(leaf.lower_bound(key), nth);
        }
        assert_eq!([b"a".as_slice(), b"data/bb", b"e"].map(|key| leaf.lower_bound(key)), [0, 2, 3]);
        assert!(leaf.with(3, b"e", b"").is_none(), "it does not begin like the others");
        let more = leaf.with(1, b"data/aa", &[9; 300]).expect("fits");
        let less = Leaf::of(&more).without(0).expect("fits");
        let other = Leaf::of(&less).replaced(1, b"new").expect("fits");
        for bytes in [&more, &less, &other] {
            assert!(is_valid(bytes));
        }
        let other = Leaf::of(&other);
        assert_eq!(other.key(0).to_vec(), b"data/aa");
        assert_eq!(
            (other.payload(0), other.payload(1), other.payload(2)),
            (&[9; 300][..], &b"new"[..], keys[2])
        );
        let next = build_behind(Key::whole(b"data/cc"), (Key::whole(b"data/cd"), b""));
        assert_eq!(Leaf::of(&next).prefix(), b"data/c");
        assert!(is_valid(&next));
    }

    #[test]
    fn damaged_bytes_never_panic() {
        let cells: Vec<Cell<'_>> =
            vec![(Key::whole(b"a"), b"1"), (Key::whole(b"ab"), b""), (Key::whole(b"b"), b"333")];
        let bytes = build(&cells);
        for at in 0..bytes.len() {
            fuzz_leaf(&bytes[..at]);
            for mask in [1, 0x80, 0xff] {
                let mut bad = bytes.to_vec();
                bad[at] ^= mask;
                fuzz_leaf(&bad);
            }
        }
    }
}
