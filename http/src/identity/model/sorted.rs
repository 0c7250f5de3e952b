//! An ordered map whose clone shares everything, and whose change copies one chunk of it.
//!
//! [`Model`](super::Model) keeps its tables in it: a model is cloned for every change, and most of it stays as it was.
//! I1. Chunks are in order and none is empty. I2. No chunk has more than [`CHUNK_ENTRIES_MAX`] entries.

use std::sync::Arc;

/// Entries of one chunk: a change copies so many, and as many pointers to chunks as there are.
const CHUNK_ENTRIES_MAX: usize = 64;

type Chunk<V> = Vec<(Arc<str>, V)>;

/// An ordered map from text.
#[derive(Debug)]
pub(super) struct Sorted<V> {
    chunks: Arc<Vec<Arc<Chunk<V>>>>,
    len: usize,
}

impl<V> Clone for Sorted<V> {
    fn clone(&self) -> Sorted<V> {
        Sorted { chunks: self.chunks.clone(), len: self.len }
    }
}

impl<V> Default for Sorted<V> {
    fn default() -> Sorted<V> {
        Sorted { chunks: Arc::default(), len: 0 }
    }
}

impl<V: Clone> Sorted<V> {
    /// Returns the number of entries.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Returns the value of `key`.
    pub(super) fn get(&self, key: &str) -> Option<&V> {
        let chunk = self.chunks.get(self.chunk_of(key)?)?;
        let at = chunk.binary_search_by(|(held, _)| (**held).cmp(key)).ok()?;
        chunk.get(at).map(|(_, value)| value)
    }

    /// Returns all entries in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &V)> {
        self.chunks.iter().flat_map(|chunk| chunk.iter().map(|(key, value)| (key, value)))
    }

    /// Sets the value of `key`, and returns what it was.
    pub(super) fn insert(&mut self, key: &str, value: V) -> Option<V> {
        let chunks = Arc::make_mut(&mut self.chunks);
        let Some(nth) = nth_chunk(chunks, key) else {
            chunks.push(Arc::new(vec![(key.into(), value)]));
            self.len += 1;
            return None;
        };
        let chunk = Arc::make_mut(&mut chunks[nth]);
        match chunk.binary_search_by(|(held, _)| (**held).cmp(key)) {
            Ok(at) => Some(std::mem::replace(&mut chunk[at].1, value)),
            Err(at) => {
                chunk.insert(at, (key.into(), value));
                self.len += 1;
                if CHUNK_ENTRIES_MAX < chunk.len() {
                    let upper = chunk.split_off(chunk.len() / 2);
                    chunks.insert(nth + 1, Arc::new(upper));
                }
                None
            }
        }
    }

    /// Removes `key`, and returns what its value was.
    pub(super) fn remove(&mut self, key: &str) -> Option<V> {
        self.get(key)?;
        let chunks = Arc::make_mut(&mut self.chunks);
        let nth = nth_chunk(chunks, key)?;
        let chunk = Arc::make_mut(&mut chunks[nth]);
        let at = chunk.binary_search_by(|(held, _)| (**held).cmp(key)).ok()?;
        let (_, value) = chunk.remove(at);
        if chunk.is_empty() {
            chunks.remove(nth);
        }
        self.len -= 1;
        Some(value)
    }

    fn chunk_of(&self, key: &str) -> Option<usize> {
        nth_chunk(&self.chunks, key)
    }
}

/// The chunk that holds `key`, or would: the last one that begins at or before it, else the first.
fn nth_chunk<V>(chunks: &[Arc<Chunk<V>>], key: &str) -> Option<usize> {
    let after = chunks.partition_point(|chunk| chunk.first().is_some_and(|(first, _)| **first <= *key));
    if chunks.is_empty() { None } else { Some(after.saturating_sub(1)) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// A small generator, so that a failure is the same at each run.
    fn next(state: &mut u64) -> u64 {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *state >> 33
    }

    #[test]
    fn it_is_a_map() {
        let mut state = 7;
        let (mut map, mut want) = (Sorted::default(), BTreeMap::new());
        for step in 0..20_000_u64 {
            // Grows to about a thousand entries, then shrinks to none.
            let key = format!("k{}", next(&mut state) % 1_000);
            let grows = next(&mut state) % 100 < if step < 10_000 { 70 } else { 20 };
            let before = map.clone();
            let len = before.len();
            match grows {
                true => assert_eq!(map.insert(&key, step), want.insert(key.clone(), step)),
                false => assert_eq!(map.remove(&key), want.remove(&key)),
            }
            assert_eq!((map.len(), map.get(&key)), (want.len(), want.get(&key)), "step {step}");
            assert_eq!(before.iter().count(), len, "a clone stays what it was");
            if step % 500 == 0 {
                let held: Vec<_> = map.iter().map(|(key, value)| (key.to_string(), *value)).collect();
                let wanted: Vec<_> = want.iter().map(|(key, value)| (key.clone(), *value)).collect();
                assert_eq!(held, wanted, "step {step}");
                assert!(map.chunks.iter().all(|chunk| (1..=CHUNK_ENTRIES_MAX).contains(&chunk.len())));
            }
        }
    }
}
