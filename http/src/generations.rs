//! A bounded map that keeps what is still asked for: two generations, of which the old one is forgotten.
//!
//! Used by caches of one core: derived signing keys, senders, opened session tokens, policies of buckets. I1. At most
//! `max` entries in each of two generations: a full young generation becomes the old one, and what is asked for moves
//! back. Whoever fills it with names of his own pushes nothing out that is in use.

use std::collections::HashMap;
use std::fmt;

/// Values by name.
pub(crate) struct Generations<V> {
    young: HashMap<Box<str>, V>,
    old: HashMap<Box<str>, V>,
    max: usize,
}

impl<V> Generations<V> {
    /// Makes an empty map of `max` entries in each generation.
    pub(crate) fn new(max: usize) -> Generations<V> {
        Generations { young: HashMap::new(), old: HashMap::new(), max }
    }

    /// The value of a name.
    pub(crate) fn get(&mut self, name: &str) -> Option<&V> {
        if !self.young.contains_key(name) {
            let (name, value) = self.old.remove_entry(name)?;
            self.insert(name, value);
        }
        self.young.get(name)
    }

    /// Keeps a value.
    pub(crate) fn insert(&mut self, name: Box<str>, value: V) {
        if self.young.len() >= self.max && !self.young.contains_key(&name) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(name, value);
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
    }
}

impl<V> fmt::Debug for Generations<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generations").field("young", &self.young.len()).field("old", &self.old.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounded_and_kind_to_what_is_in_use() {
        let mut all = Generations::new(4);
        for i in 0..20 {
            all.insert(format!("n{i}").into(), i);
            assert_eq!(all.get("n0"), Some(&0));
            assert!(all.young.len() <= 4 && all.old.len() <= 4);
        }
        assert_eq!(all.get("n1"), None);
        all.insert("n0".into(), 7);
        assert_eq!(all.get("n0"), Some(&7));
        all.clear();
        assert_eq!(all.get("n0"), None);
    }
}
