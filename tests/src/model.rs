//! What a store must do, in maps: the reference that the engine is compared with, one operation at a time.
//!
//! `prove` runs every [`Op`] here and on the engine (`ops`). It knows nothing of drives, logs or time. I1. An operation
//! happens whole or not at all. I2. Contents are named by their seed: the bytes follow from seed and size.

use std::collections::{BTreeMap, BTreeSet};

use nilas_engine::PutRefused;

/// Seed and size of each part of an object; one for an object put in one piece.
pub type Parts = Vec<(u64, u64)>;

/// One thing that a client asks for.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "named as the calls of the engine")]
pub enum Op {
    CreateBucket,
    DeleteBucket,
    Put {
        key: Key,
        seed: u64,
        size: u64,
        condition: Condition,
    },
    /// Bytes from `from` to `to` thousandths of the object.
    Get {
        key: Key,
        from: u64,
        to: u64,
    },
    Head {
        key: Key,
    },
    Delete {
        keys: Vec<Key>,
    },
    DeleteIf {
        key: Key,
        condition: Condition,
    },
    /// By what the source is, and by what the new key holds.
    Rename {
        key: Key,
        to: Key,
        condition: Condition,
        target: Condition,
    },
    List {
        prefix: Key,
        delimiter: Key,
        after: Key,
        max: usize,
    },
    /// Opens a multipart upload that is called `slot` from then on.
    Open {
        slot: u64,
        key: Key,
    },
    Part {
        slot: u64,
        number: u16,
        seed: u64,
        size: u64,
    },
    ListParts {
        slot: u64,
    },
    Complete {
        slot: u64,
        numbers: Vec<u16>,
        tag: u64,
        condition: Condition,
    },
    Abort {
        slot: u64,
    },
    Transact {
        puts: Vec<(Key, u64, u64)>,
        deletes: Vec<Key>,
        values: Vec<(Key, Option<u64>)>,
    },
    Value {
        key: Key,
    },
    /// Sets values of the store itself; the bucket does not matter.
    System {
        values: Vec<(Key, Option<u64>)>,
    },
}

/// Keys and names of buckets.
pub type Key = &'static str;

/// When a write happens: always, or by what the key holds.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "named as `PutCondition`")]
pub enum Condition {
    None,
    IfAbsent,
    IfPresent,
    /// By the tag of the object.
    IfMatch(u64),
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Answer {
    Done,
    Exists,
    NotEmpty,
    NoBucket,
    NoSlot,
    Refused(PutRefused),
    Found(Vec<bool>),
    Object(Option<Object>),
    /// Seed and size of each part, and which bytes of them all.
    Bytes(Option<(Parts, u64, u64)>),
    Page(BTreeSet<String>, BTreeSet<String>),
    PartList(BTreeMap<u16, (u64, u64)>),
    Value(Option<u64>),
}

/// One object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Object {
    pub tag: u64,
    pub parts: Parts,
}

/// One bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Contents {
    pub objects: BTreeMap<String, Object>,
    pub values: BTreeMap<String, u64>,
    /// By slot.
    pub uploads: BTreeMap<u64, Upload>,
}

/// Slots from here on are no names that a client gives.
const NAMELESS: u64 = 1_000;

/// One open upload: its key and its parts.
pub type Upload = (String, BTreeMap<u16, (u64, u64)>);

/// All buckets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    /// By name.
    pub buckets: BTreeMap<String, Contents>,
    /// Values of the store itself.
    pub system: BTreeMap<String, u64>,
}

impl Model {
    /// Does what is asked and answers.
    pub fn apply(&mut self, name: Key, op: &Op) -> Answer {
        if let Op::System { values } = op {
            set_values(&mut self.system, values);
            return Answer::Done;
        }
        let Some(bucket) = self.buckets.get_mut(name) else {
            return match op {
                Op::CreateBucket => {
                    self.buckets.insert(name.to_owned(), Contents::default());
                    Answer::Done
                }
                _ => Answer::NoBucket,
            };
        };
        match op {
            Op::CreateBucket => Answer::Exists,
            // Open uploads go with it.
            Op::DeleteBucket if !bucket.objects.is_empty() || !bucket.values.is_empty() => Answer::NotEmpty,
            Op::DeleteBucket => {
                self.buckets.remove(name);
                Answer::Done
            }
            op => bucket.apply(op).unwrap_or_else(|refused| refused),
        }
    }

    /// With uploads numbered by what they are: how they were called is not kept in a store.
    pub fn normal(&self) -> Model {
        let mut normal = self.clone();
        for contents in normal.buckets.values_mut() {
            let mut uploads: Vec<Upload> = std::mem::take(&mut contents.uploads).into_values().collect();
            uploads.sort();
            contents.uploads = (0..).zip(uploads).collect();
        }
        normal
    }
}

fn set_values(into: &mut BTreeMap<String, u64>, values: &[(Key, Option<u64>)]) {
    for (key, value) in values {
        match value {
            Some(value) => drop(into.insert((*key).to_owned(), *value)),
            None => drop(into.remove(*key)),
        }
    }
}

impl Contents {
    fn apply(&mut self, op: &Op) -> Result<Answer, Answer> {
        match op {
            Op::CreateBucket | Op::DeleteBucket | Op::System { .. } => {}
            Op::Put { key, seed, size, condition } => {
                self.check(key, *condition)?;
                self.put(key, *seed, vec![(*seed, *size)]);
            }
            Op::Get { key, from, to } => {
                return Ok(Answer::Bytes(self.objects.get(*key).map(|object| {
                    let size: u64 = object.parts.iter().map(|(_, size)| size).sum();
                    (object.parts.clone(), size * from / 1_000, size * to / 1_000)
                })));
            }
            Op::Head { key } => return Ok(Answer::Object(self.objects.get(*key).cloned())),
            Op::Delete { keys } => {
                let found = keys.iter().map(|key| self.objects.contains_key(*key)).collect();
                keys.iter().for_each(|key| drop(self.objects.remove(*key)));
                return Ok(Answer::Found(found));
            }
            Op::DeleteIf { key, condition } => {
                self.check(key, *condition)?;
                return Ok(Answer::Found(vec![self.objects.remove(*key).is_some()]));
            }
            Op::Rename { key, to, condition, target } => {
                let object = self.objects.get(*key).cloned();
                let object = object.ok_or(Answer::Refused(PutRefused::NoSuchKey))?;
                self.check(key, *condition)?;
                self.check(to, *target)?;
                self.objects.remove(*key);
                self.objects.insert((*to).to_owned(), object);
            }
            Op::List { prefix, delimiter, after, .. } => return Ok(self.list(prefix, delimiter, after)),
            Op::Open { slot, key } => {
                // One that was called so before stays, without a name.
                if let Some(nameless) = self.uploads.insert(*slot, ((*key).to_owned(), BTreeMap::new())) {
                    self.orphan(nameless);
                }
            }
            Op::Part { slot, number, seed, size } => {
                let (_, parts) = self.uploads.get_mut(slot).ok_or(Answer::NoSlot)?;
                parts.insert(*number, (*seed, *size));
            }
            Op::ListParts { slot } => {
                return Ok(Answer::PartList(self.uploads.get(slot).ok_or(Answer::NoSlot)?.1.clone()));
            }
            Op::Complete { slot, numbers, tag, condition } => {
                let (key, parts) = self.uploads.get(slot).ok_or(Answer::NoSlot)?.clone();
                let chosen: Option<Parts> = numbers.iter().map(|number| parts.get(number).copied()).collect();
                let distinct = numbers.iter().collect::<BTreeSet<_>>().len() == numbers.len();
                let chosen = chosen.filter(|_| distinct);
                let chosen = chosen.ok_or(Answer::Refused(PutRefused::NoSuchUpload))?;
                self.check(&key, *condition)?;
                self.put(&key, *tag, chosen);
                self.uploads.remove(slot);
            }
            Op::Abort { slot } => drop(self.uploads.remove(slot).ok_or(Answer::NoSlot)?),
            Op::Transact { puts, deletes, values } => {
                puts.iter().for_each(|(key, seed, size)| self.put(key, *seed, vec![(*seed, *size)]));
                deletes.iter().for_each(|key| drop(self.objects.remove(*key)));
                set_values(&mut self.values, values);
            }
            Op::Value { key } => return Ok(Answer::Value(self.values.get(*key).copied())),
        }
        Ok(Answer::Done)
    }

    /// Keeps an upload that its client cannot name any more.
    pub fn orphan(&mut self, upload: Upload) {
        let free = self.uploads.keys().max().map_or(0, |most| most + 1).max(NAMELESS);
        self.uploads.insert(free, upload);
    }

    fn put(&mut self, key: &str, tag: u64, parts: Parts) {
        self.objects.insert(key.to_owned(), Object { tag, parts });
    }

    fn check(&self, key: &str, condition: Condition) -> Result<(), Answer> {
        let refused = match (condition, self.objects.get(key)) {
            (Condition::None, _) | (Condition::IfAbsent, None) | (Condition::IfPresent, Some(_)) => {
                return Ok(());
            }
            (Condition::IfMatch(tag), Some(object)) if object.tag == tag => return Ok(()),
            (Condition::IfAbsent | Condition::IfMatch(_), Some(_)) => PutRefused::PreconditionFailed,
            (Condition::IfPresent | Condition::IfMatch(_), None) => PutRefused::NoSuchKey,
        };
        Err(Answer::Refused(refused))
    }

    fn list(&self, prefix: &str, delimiter: &str, after: &str) -> Answer {
        let (mut keys, mut prefixes) = (BTreeSet::new(), BTreeSet::new());
        for key in self.objects.keys().filter(|key| key.starts_with(prefix)) {
            let cut = if delimiter.is_empty() { None } else { key[prefix.len()..].find(delimiter) };
            let (seen, rolled) = match cut {
                Some(at) => (&key[..prefix.len() + at + delimiter.len()], true),
                None => (key.as_str(), false),
            };
            if after.is_empty() || after < seen {
                if rolled { &mut prefixes } else { &mut keys }.insert(seen.to_owned());
            }
        }
        Answer::Page(keys, prefixes)
    }
}
