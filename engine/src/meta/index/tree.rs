//! An ordered map from byte strings to small payloads, in leaves that a checkpoint can write as they are.
//!
//! Two levels of sorted arrays over the leaves: chunks of up to 512 leaves, and the chunks. A search compares eight
//! bytes of a key at a time (`Fence`) and touches one leaf. Equal keys may stand more than once; they keep their order.
//! I1. No leaf is empty, no chunk is empty. I2. A leaf is never changed in place. I3. `page` of a leaf says where a
//! checkpoint keeps exactly these bytes; a leaf that was made since has none.

use std::cmp::Ordering;

use bytes::Bytes;

use super::leaf::{Cell, Key, LEAF_BYTES_MAX, Leaf, build, build_behind};
use crate::format::page::PageRef;
use crate::mutant::{Mutant, seeded};

const CHUNK_LEAVES_MAX: usize = 512;

/// The map.
#[derive(Default)]
pub(crate) struct Tree {
    fence: Fence,
    chunks: Vec<Chunk>,
    /// Bytes of all leaves.
    bytes: u64,
}

#[derive(Default)]
struct Chunk {
    fence: Fence,
    leaves: Vec<Slot>,
}

/// A leaf and where a checkpoint has it.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) bytes: Bytes,
    pub(crate) page: Option<PageRef>,
}

/// A place between cells, or the end. Any change of the tree makes it void.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    chunk: usize,
    leaf: usize,
    cell: usize,
}

/// One cell, read in place.
#[derive(Clone, Copy)]
pub(crate) struct CellRef<'a> {
    pub(crate) key: Key<'a>,
    pub(crate) payload: &'a [u8],
    /// The leaf, for sharing its memory.
    leaf: &'a Bytes,
}

impl CellRef<'_> {
    /// Bytes of the payload that keep the leaf's memory and copy nothing.
    pub(crate) fn share(&self, part: &[u8]) -> Bytes {
        if part.is_empty() { Bytes::new() } else { self.leaf.slice_ref(part) }
    }
}

impl Tree {
    /// A tree of leaves in order, as a checkpoint has them; `None` when they are not in order.
    pub(crate) fn from_slots(slots: Vec<Slot>) -> Option<Tree> {
        let in_order = slots.windows(2).all(|pair| {
            let (a, b) = (Leaf::of(&pair[0].bytes), Leaf::of(&pair[1].bytes));
            b.key(0).compare(&a.key(a.count() - 1).to_vec()) != Ordering::Less
        });
        if !in_order {
            return None;
        }
        let mut tree =
            Tree { bytes: slots.iter().map(|slot| slot.bytes.len() as u64).sum(), ..Tree::default() };
        let mut slots = slots.into_iter().peekable();
        while slots.peek().is_some() {
            let mut chunk =
                Chunk { leaves: slots.by_ref().take(CHUNK_LEAVES_MAX * 3 / 4).collect(), ..Chunk::default() };
            chunk.refresh();
            tree.chunks.push(chunk);
        }
        tree.refresh();
        Some(tree)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Bytes of all leaves.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// All leaves in order.
    pub(crate) fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.chunks.iter().flat_map(|chunk| &chunk.leaves)
    }

    /// Forgets where leaves are kept when `unwanted` says so of their page: the next checkpoint writes them again.
    pub(crate) fn forget_pages(&mut self, unwanted: impl Fn(&PageRef) -> bool) {
        for slot in self.chunks.iter_mut().flat_map(|chunk| &mut chunk.leaves) {
            slot.page = slot.page.filter(|page| !unwanted(page));
        }
    }

    /// Notes where a leaf is kept, if it is still the same leaf.
    pub(crate) fn note_page(&mut self, leaf: &Bytes, page: PageRef) {
        let first = Leaf::of(leaf).key(0).to_vec();
        let Position { mut chunk, leaf: mut nth, .. } = self.search(&first);
        while let Some(slot) = self.chunks.get_mut(chunk).and_then(|chunk| chunk.leaves.get_mut(nth)) {
            if slot.bytes.as_ptr() == leaf.as_ptr() && slot.bytes.len() == leaf.len() {
                slot.page = Some(page);
                return;
            }
            if Leaf::of(&slot.bytes).key(0).compare(&first) == Ordering::Greater {
                return;
            }
            nth += 1;
            if nth == self.chunks[chunk].leaves.len() {
                (chunk, nth) = (chunk + 1, 0);
            }
        }
    }

    /// The first cell whose key is not below `key`.
    pub(crate) fn seek(&self, key: &[u8]) -> Position {
        let mut at = self.search(key);
        if let Some(slot) = self.slot(at) {
            at.cell = Leaf::of(&slot.bytes).lower_bound(key);
        }
        self.normal(at)
    }

    /// The cell at a position; `None` at the end.
    pub(crate) fn at(&self, at: Position) -> Option<CellRef<'_>> {
        let slot = self.slot(at)?;
        let leaf = Leaf::of(&slot.bytes);
        let found = at.cell < leaf.count();
        found.then(|| CellRef { key: leaf.key(at.cell), payload: leaf.payload(at.cell), leaf: &slot.bytes })
    }

    /// The next position.
    pub(crate) fn next(&self, at: Position) -> Position {
        self.normal(Position { cell: at.cell + 1, ..at })
    }

    /// The first cell of exactly this key.
    pub(crate) fn get(&self, key: &[u8]) -> Option<CellRef<'_>> {
        self.at(self.seek(key)).filter(|cell| cell.key.compare(key) == Ordering::Equal)
    }

    /// Visits cells from the first whose key is not below `from`, while `visit` answers true.
    pub(crate) fn scan(&self, from: &[u8], mut visit: impl FnMut(CellRef<'_>) -> bool) {
        let start = self.search(from);
        let mut first_cell = self.slot(start).map_or(0, |slot| Leaf::of(&slot.bytes).lower_bound(from));
        let mut first_leaf = start.leaf;
        for chunk in self.chunks.iter().skip(start.chunk) {
            for slot in chunk.leaves.iter().skip(first_leaf) {
                let leaf = Leaf::of(&slot.bytes);
                for cell in first_cell..leaf.count() {
                    let found =
                        CellRef { key: leaf.key(cell), payload: leaf.payload(cell), leaf: &slot.bytes };
                    if !visit(found) {
                        return;
                    }
                }
                first_cell = 0;
            }
            first_leaf = 0;
        }
    }

    /// Puts a cell in front of `at`, which `seek` of the same key answered just now.
    pub(crate) fn insert(&mut self, at: Position, key: &[u8], payload: &[u8]) {
        let at = self.place_for(at);
        let Some(slot) = self.slot(at) else {
            let bytes = build(&[(Key::whole(key), payload)]);
            self.bytes += bytes.len() as u64;
            self.chunks.push(Chunk { leaves: vec![Slot { bytes, page: None }], ..Chunk::default() });
            self.chunks[0].refresh();
            self.refresh();
            return;
        };
        let old = slot.bytes.clone();
        let leaf = Leaf::of(&old);
        if old.len() + payload.len() <= LEAF_BYTES_MAX
            && let Some(bytes) = leaf.with(at.cell, key, payload)
            && bytes.len() <= LEAF_BYTES_MAX
        {
            return self.exchange(at, bytes);
        }
        let new = (Key::whole(key), payload);
        if at.cell == leaf.count() && LEAF_BYTES_MAX / 2 < old.len() {
            // Keys that come in order fill leaf after leaf, and the full one stays as the checkpoint has it.
            let behind = build_behind(leaf.key(leaf.count() - 1), new);
            return self.insert_leaf(Position { leaf: at.leaf + 1, ..at }, behind);
        }
        let mut cells: Vec<Cell<'_>> =
            (0..leaf.count()).map(|nth| (leaf.key(nth), leaf.payload(nth))).collect();
        cells.insert(at.cell, new);
        self.exchange_for(at, pieces(&cells));
    }

    /// Gives a key that stands once its payload; returns whether the key is new.
    pub(crate) fn set(&mut self, key: &[u8], payload: &[u8]) -> bool {
        let at = self.seek(key);
        let is_new = !self.is_at(at, key);
        if is_new {
            self.insert(at, key, payload);
        } else {
            self.replace(at, payload);
        }
        is_new
    }

    /// Removes the first cell of a key; returns whether there was one.
    pub(crate) fn unset(&mut self, key: &[u8]) -> bool {
        let at = self.seek(key);
        let is_there = self.is_at(at, key);
        if is_there {
            self.remove(at);
        }
        is_there
    }

    fn is_at(&self, at: Position, key: &[u8]) -> bool {
        self.at(at).is_some_and(|cell| cell.key.compare(key).is_eq())
    }

    /// Exchanges the payload of the cell at `at`.
    pub(crate) fn replace(&mut self, at: Position, payload: &[u8]) {
        let old = self.chunks[at.chunk].leaves[at.leaf].bytes.clone();
        let leaf = Leaf::of(&old);
        if let Some(bytes) = leaf.replaced(at.cell, payload)
            && (bytes.len() <= LEAF_BYTES_MAX || leaf.count() == 1)
        {
            return self.exchange(at, bytes);
        }
        let mut cells: Vec<Cell<'_>> =
            (0..leaf.count()).map(|nth| (leaf.key(nth), leaf.payload(nth))).collect();
        cells[at.cell].1 = payload;
        self.exchange_for(at, pieces(&cells));
    }

    /// Removes the cell at `at`.
    pub(crate) fn remove(&mut self, at: Position) {
        let old = self.chunks[at.chunk].leaves[at.leaf].bytes.clone();
        let leaf = Leaf::of(&old);
        if leaf.count() == 1 {
            return self.remove_leaf(at);
        }
        let bytes = leaf.without(at.cell).expect("it gets smaller");
        let is_small = bytes.len() < LEAF_BYTES_MAX / 4;
        self.exchange(at, bytes);
        if is_small {
            self.merge(at);
        }
    }

    /// Joins a small leaf with the next one of its chunk.
    fn merge(&mut self, at: Position) {
        let leaves = &self.chunks[at.chunk].leaves;
        let Some(next) = leaves.get(at.leaf + 1).map(|slot| slot.bytes.clone()) else { return };
        let this = leaves[at.leaf].bytes.clone();
        if LEAF_BYTES_MAX * 3 / 4 < this.len() + next.len() {
            return;
        }
        let (a, b) = (Leaf::of(&this), Leaf::of(&next));
        let cells = |leaf: &Leaf<'_>| (0..leaf.count()).collect::<Vec<_>>();
        let mut joined: Vec<Cell<'_>> =
            cells(&a).into_iter().map(|nth| (a.key(nth), a.payload(nth))).collect();
        joined.extend(cells(&b).into_iter().map(|nth| (b.key(nth), b.payload(nth))));
        let bytes = build(&joined);
        self.remove_leaf(Position { leaf: at.leaf + 1, ..at });
        self.exchange(at, bytes);
    }

    // ---- leaves and chunks ----

    fn slot(&self, at: Position) -> Option<&Slot> {
        self.chunks.get(at.chunk)?.leaves.get(at.leaf)
    }

    /// The last leaf that begins below `key`, or the first leaf: equal keys may reach over several leaves.
    fn search(&self, key: &[u8]) -> Position {
        let chunk = self.fence.below(key, |nth| self.chunks[nth].first()).saturating_sub(1);
        let Some(found) = self.chunks.get(chunk) else { return Position { chunk: 0, leaf: 0, cell: 0 } };
        let leaf = found.fence.below(key, |nth| found.leaves[nth].first()).saturating_sub(1);
        Position { chunk, leaf, cell: 0 }
    }

    /// The same place, never behind the last cell of a leaf that another one follows.
    fn normal(&self, at: Position) -> Position {
        let Some(slot) = self.slot(at) else { return at };
        if at.cell < Leaf::of(&slot.bytes).count() {
            return at;
        }
        if at.leaf + 1 < self.chunks[at.chunk].leaves.len() {
            return Position { leaf: at.leaf + 1, cell: 0, ..at };
        }
        Position { chunk: at.chunk + 1, leaf: 0, cell: 0 }
    }

    /// Where a cell before `at` goes: rather to the end of a leaf than to the front of the next.
    fn place_for(&self, at: Position) -> Position {
        if at.cell > 0 {
            return at;
        }
        let before = if at.leaf > 0 && at.chunk < self.chunks.len() {
            Position { leaf: at.leaf - 1, ..at }
        } else if at.chunk > 0 {
            let leaves = self.chunks[at.chunk - 1].leaves.len();
            Position { chunk: at.chunk - 1, leaf: leaves - 1, cell: 0 }
        } else {
            return at;
        };
        let leaf = self.slot(before).map_or(0, |slot| Leaf::of(&slot.bytes).count());
        Position { cell: leaf, ..before }
    }

    fn exchange(&mut self, at: Position, bytes: Bytes) {
        let chunk = &mut self.chunks[at.chunk];
        let slot = &mut chunk.leaves[at.leaf];
        self.bytes = self.bytes + bytes.len() as u64 - slot.bytes.len() as u64;
        let same_first = Leaf::of(&slot.bytes).key(0).compare(&Leaf::of(&bytes).key(0).to_vec()).is_eq();
        *slot = Slot { bytes, page: slot.page.filter(|_| seeded(Mutant::StalePage)) };
        if !same_first {
            self.first_changed(at);
        }
    }

    fn first_changed(&mut self, at: Position) {
        if seeded(Mutant::FenceStale) {
            return;
        }
        let chunk = &mut self.chunks[at.chunk];
        let first = chunk.leaves[at.leaf].first().to_vec();
        if !chunk.fence.set(at.leaf, &first) {
            chunk.refresh();
        }
        if at.leaf == 0 && !self.fence.set(at.chunk, &first) {
            self.refresh();
        }
    }

    fn exchange_for(&mut self, at: Position, pieces: Vec<Bytes>) {
        let mut place = at;
        for (nth, bytes) in pieces.into_iter().enumerate() {
            match nth {
                0 => self.exchange(at, bytes),
                _ if seeded(Mutant::LeafLost) => {}
                _ => {
                    place.leaf += 1;
                    self.add_leaf(place, bytes);
                }
            }
        }
        self.split_if_large(place);
    }

    fn insert_leaf(&mut self, at: Position, bytes: Bytes) {
        self.add_leaf(at, bytes);
        self.split_if_large(at);
    }

    /// Puts a leaf before leaf `at.leaf` of its chunk.
    fn add_leaf(&mut self, at: Position, bytes: Bytes) {
        self.bytes += bytes.len() as u64;
        let chunk = &mut self.chunks[at.chunk];
        let first = Leaf::of(&bytes).key(0).to_vec();
        chunk.leaves.insert(at.leaf, Slot { bytes, page: None });
        if !chunk.fence.insert(at.leaf, &first) {
            chunk.refresh();
        }
        if at.leaf == 0 && !self.fence.set(at.chunk, &first) {
            self.refresh();
        }
    }

    fn split_if_large(&mut self, at: Position) {
        let chunk = &mut self.chunks[at.chunk];
        if chunk.leaves.len() <= CHUNK_LEAVES_MAX {
            return;
        }
        // In-order keys leave full chunks behind.
        let is_last = at.leaf + 1 == chunk.leaves.len();
        let keep = if is_last { chunk.leaves.len() - 1 } else { chunk.leaves.len() / 2 };
        let leaves = chunk.leaves.split_off(keep);
        chunk.refresh();
        let mut behind = Chunk { leaves, ..Chunk::default() };
        behind.refresh();
        let first = behind.first().to_vec();
        self.chunks.insert(at.chunk + 1, behind);
        if !self.fence.insert(at.chunk + 1, &first) {
            self.refresh();
        }
    }

    fn remove_leaf(&mut self, at: Position) {
        let chunk = &mut self.chunks[at.chunk];
        let slot = chunk.leaves.remove(at.leaf);
        self.bytes -= slot.bytes.len() as u64;
        chunk.fence.heads.remove(at.leaf);
        if chunk.leaves.is_empty() {
            self.chunks.remove(at.chunk);
            self.fence.heads.remove(at.chunk);
        } else if at.leaf == 0 {
            self.first_changed(at);
        }
    }

    fn refresh(&mut self) {
        let firsts: Vec<Vec<u8>> = self.chunks.iter().map(|chunk| chunk.first().to_vec()).collect();
        self.fence = Fence::of(&firsts);
    }
}

impl Chunk {
    fn first(&self) -> Key<'_> {
        self.leaves[0].first()
    }

    fn refresh(&mut self) {
        let firsts: Vec<Vec<u8>> = self.leaves.iter().map(|slot| slot.first().to_vec()).collect();
        self.fence = Fence::of(&firsts);
    }
}

impl Slot {
    fn first(&self) -> Key<'_> {
        Leaf::of(&self.bytes).key(0)
    }
}

/// Cells in leaves of about half the limit; a cell that is large for itself is alone in its leaf.
fn pieces(cells: &[Cell<'_>]) -> Vec<Bytes> {
    let size = |cell: &Cell<'_>| cell.0.len() + cell.1.len() + 4;
    let total: usize = cells.iter().map(size).sum();
    if total <= LEAF_BYTES_MAX {
        return vec![build(cells)];
    }
    let wanted = if total <= 2 * LEAF_BYTES_MAX { total / 2 } else { LEAF_BYTES_MAX / 2 };
    let mut pieces = Vec::new();
    let (mut from, mut held) = (0, 0);
    for (nth, cell) in cells.iter().enumerate() {
        let bytes = size(cell);
        let closes = from < nth && (wanted <= held || LEAF_BYTES_MAX / 2 < bytes);
        if closes {
            pieces.push(build(&cells[from..nth]));
            (from, held) = (nth, 0);
        }
        held += bytes;
    }
    pieces.push(build(&cells[from..]));
    pieces
}

/// The first keys of a row of leaves or chunks, eight bytes of each behind what they all begin with.
#[derive(Default)]
struct Fence {
    prefix: Vec<u8>,
    heads: Vec<u64>,
}

impl Fence {
    fn of(firsts: &[Vec<u8>]) -> Fence {
        let (Some(first), Some(last)) = (firsts.first(), firsts.last()) else { return Fence::default() };
        let shared = first.iter().zip(last).take_while(|(a, b)| a == b).count();
        let heads = firsts.iter().map(|key| head_of(&key[shared..])).collect();
        Fence { prefix: first[..shared].to_vec(), heads }
    }

    /// How many of the keys are below `key`.
    fn below<'a>(&self, key: &[u8], key_at: impl Fn(usize) -> Key<'a>) -> usize {
        let Some(rest) = key.strip_prefix(self.prefix.as_slice()) else {
            return if key < self.prefix.as_slice() { 0 } else { self.heads.len() };
        };
        let head = head_of(rest);
        let mut low = self.heads.partition_point(|other| *other < head);
        let mut high = low + self.heads[low..].partition_point(|other| *other <= head);
        while low < high {
            let middle = usize::midpoint(low, high);
            match key_at(middle).compare(key) {
                Ordering::Less => low = middle + 1,
                Ordering::Equal | Ordering::Greater => high = middle,
            }
        }
        low
    }

    /// Notes another key for one place; `false` when the fence is to be made anew.
    fn set(&mut self, nth: usize, key: &[u8]) -> bool {
        let Some(rest) = key.strip_prefix(self.prefix.as_slice()) else { return false };
        self.heads[nth] = head_of(rest);
        true
    }

    fn insert(&mut self, nth: usize, key: &[u8]) -> bool {
        let Some(rest) = key.strip_prefix(self.prefix.as_slice()) else { return false };
        // One key alone shares all of itself: the row learns what its keys have in common from the second.
        if self.heads.len() < 2 {
            return false;
        }
        self.heads.insert(nth, head_of(rest));
        true
    }
}

/// Eight bytes as a number that is ordered like them.
#[expect(clippy::big_endian_bytes, reason = "byte order is key order")]
fn head_of(key: &[u8]) -> u64 {
    let mut head = [0_u8; 8];
    let count = key.len().min(8);
    head[..count].copy_from_slice(&key[..count]);
    u64::from_be_bytes(head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::simulated::Random;

    type Model = Vec<(Vec<u8>, Vec<u8>)>;

    fn check(tree: &Tree, model: &Model) {
        let mut seen = Vec::new();
        tree.scan(b"", |cell| {
            seen.push((cell.key.to_vec(), cell.payload.to_vec()));
            true
        });
        assert_eq!(seen.len(), model.len());
        assert!(seen == *model);
        let bytes: u64 = tree.slots().map(|slot| slot.bytes.len() as u64).sum();
        assert_eq!(bytes, tree.bytes());
        assert!(tree.slots().all(|slot| super::super::leaf::is_valid(&slot.bytes)));
    }

    fn lower(model: &Model, key: &[u8]) -> usize {
        model.partition_point(|(other, _)| other.as_slice() < key)
    }

    fn run(seed: u64, steps: u64, keys: u64, big: bool) -> (Tree, Model) {
        let mut random = Random::new(seed);
        let (mut tree, mut model) = (Tree::default(), Model::new());
        for step in 0..steps {
            let number = random.below(keys);
            let key = match random.below(3) {
                0 => format!("k{number}"),
                1 => format!("data/part/{number:09}/x"),
                _ => format!("data/{number}"),
            }
            .into_bytes();
            let bytes = if big && random.one_in(40) { random.below(9000) } else { random.below(90) };
            let payload =
                vec![u8::try_from(step % 256).expect("a byte"); usize::try_from(bytes).expect("small")];
            let (at, nth) = (tree.seek(&key), lower(&model, &key));
            let found = model.get(nth).is_some_and(|(other, _)| *other == key);
            assert_eq!(tree.get(&key).is_some(), found);
            match random.below(if step < steps / 2 { 4 } else { 8 }) {
                0 if found => {
                    tree.replace(at, &payload);
                    model[nth].1 = payload;
                }
                1 | 4.. if found => {
                    tree.remove(at);
                    model.remove(nth);
                }
                _ => {
                    tree.insert(at, &key, &payload);
                    model.insert(nth, (key, payload));
                }
            }
            if step % 500 == 0 {
                check(&tree, &model);
            }
        }
        (tree, model)
    }

    #[test]
    fn as_a_sorted_list_does() {
        for seed in 0..6 {
            let (tree, model) =
                run(seed, 6000, [40, 3000, 100_000][usize::try_from(seed % 3).expect("small")], seed > 2);
            check(&tree, &model);
            let copy = Tree::from_slots(tree.slots().cloned().collect()).expect("in order");
            check(&copy, &model);
            for (key, _) in &model {
                let at = copy.seek(key);
                assert_eq!(copy.at(at).map(|cell| cell.key.to_vec()).as_ref(), Some(key));
            }
        }
    }

    #[test]
    fn keys_in_order_fill_their_leaves() {
        let mut tree = Tree::default();
        for number in 0..200_000_u32 {
            let key = format!("warehouse/table/data/{number:010}.parquet").into_bytes();
            let at = tree.seek(&key);
            assert_eq!(tree.at(at).map(|cell| cell.key.to_vec()), None);
            tree.insert(at, &key, &[7; 40]);
        }
        let leaves = tree.slots().count() as u64;
        assert!(leaves * 3600 < tree.bytes(), "{leaves} leaves of {} bytes", tree.bytes());
        assert!(tree.bytes() < 200_000 * 62, "what keys have in common is kept once: {}", tree.bytes());
    }

    #[test]
    fn pages_stay_with_their_leaves() {
        let mut tree = Tree::default();
        for number in 0..2000 {
            let key = format!("{number:06}").into_bytes();
            let at = tree.seek(&key);
            tree.insert(at, &key, &[1; 50]);
        }
        let leaves: Vec<Bytes> = tree.slots().map(|slot| slot.bytes.clone()).collect();
        let at = tree.seek(b"001000");
        tree.replace(at, b"new");
        for (nth, leaf) in (1_u64..).zip(&leaves) {
            let bytes = u32::try_from(leaf.len()).expect("small");
            tree.note_page(leaf, PageRef { at: crate::units::DriveOffset(nth), bytes, crc: 0 });
        }
        assert_eq!(tree.slots().filter(|slot| slot.page.is_none()).count(), 1, "the changed one");
        tree.forget_pages(|page| page.at.0 == 1);
        assert_eq!(tree.slots().filter(|slot| slot.page.is_none()).count(), 2);
    }
}
