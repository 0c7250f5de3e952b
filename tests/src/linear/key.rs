//! What one key does when requests come one after the other: in a plain bucket it holds an object or none, in a bucket with
//! versions a stack of versions and markers.
//!
//! Objects and markers are known by the label of the request that made them; no two requests have the same.

use super::checker::Sequential;

/// The request that made an object or a marker.
pub type Label = u32;

/// A key of a bucket that keeps versions, or not.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Whether the bucket keeps versions.
    pub versioned: bool,
}

/// An object or a marker under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Version {
    /// Who made it.
    pub label: Label,
    /// Whether it says that there is no object.
    pub is_marker: bool,
}

/// A version as a listing shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Who made it; of a marker whose delete got no answer nobody knows.
    pub label: Option<Label>,
    /// Whether it is a marker.
    pub is_marker: bool,
}

/// What a write demands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    None,
    /// `If-None-Match: *`.
    Absent,
    /// `If-Match` with the tag of that object.
    Is(Label),
}

/// What is asked of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// PutObject and CompleteMultipartUpload.
    Put(Condition),
    /// DeleteObject without a version, and a key of DeleteObjects.
    Delete(Condition),
    /// DeleteObject of one version or marker.
    DeleteVersion(Label),
    /// GetObject, HeadObject, and the key's line in ListObjects.
    Get,
    /// GetObject of one version.
    GetVersion(Label),
    /// The key's lines in ListObjectVersions.
    ListVersions,
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Success of a change.
    Done,
    /// 412.
    Refused,
    /// 404.
    Missing,
    /// An object.
    Found(Label),
    /// All versions, newest first.
    Shown(Vec<Shown>),
}

/// A request for one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Its own label.
    pub label: Label,
    /// What was asked.
    pub call: Call,
    /// What was answered, if anything was.
    pub answer: Option<Answer>,
}

impl Key {
    /// What follows a request in `state`, and how it is answered there.
    fn serve(self, state: &[Version], request: &Request) -> (Vec<Version>, Answer) {
        let current = state.first().filter(|version| !version.is_marker).map(|version| version.label);
        let same = state.to_vec();
        let holds = |condition: Condition| match (condition, current) {
            (Condition::None, _) | (Condition::Absent, None) => None,
            (Condition::Absent, Some(_)) => Some(Answer::Refused),
            (Condition::Is(_), None) => Some(Answer::Missing),
            (Condition::Is(label), Some(found)) => (label != found).then_some(Answer::Refused),
        };
        let on_top = |is_marker: bool| {
            let top = Version { label: request.label, is_marker };
            let below = if self.versioned { state } else { &[] };
            std::iter::once(top).chain(below.iter().copied()).collect()
        };
        if let Call::Put(condition) | Call::Delete(condition) = request.call
            && let Some(refusal) = holds(condition)
        {
            return (same, refusal);
        }
        match request.call {
            Call::Put(_) => (on_top(false), Answer::Done),
            Call::Delete(_) if self.versioned => (on_top(true), Answer::Done),
            Call::Delete(_) => (Vec::new(), Answer::Done),
            Call::DeleteVersion(label) => {
                (state.iter().copied().filter(|version| version.label != label).collect(), Answer::Done)
            }
            Call::Get => (same, current.map_or(Answer::Missing, Answer::Found)),
            Call::GetVersion(label) => {
                let is_there = state.iter().any(|version| version.label == label && !version.is_marker);
                (same, if is_there { Answer::Found(label) } else { Answer::Missing })
            }
            Call::ListVersions => {
                let shown =
                    |version: &Version| Shown { label: Some(version.label), is_marker: version.is_marker };
                (same, Answer::Shown(state.iter().map(shown).collect()))
            }
        }
    }
}

/// Whether `told` may be what was shown: of a marker that nobody knows, all that is known is that it is one.
fn agrees(told: &Answer, shown: &Answer) -> bool {
    match (told, shown) {
        (Answer::Shown(told), Answer::Shown(shown)) => {
            told.len() == shown.len()
                && told.iter().zip(shown).all(|(told, shown)| {
                    told.is_marker == shown.is_marker
                        && (told.label == shown.label || told.label.is_none() && told.is_marker)
                })
        }
        _ => told == shown,
    }
}

impl Sequential for Key {
    /// Newest first; at most one, and no marker, in a plain bucket.
    type State = Vec<Version>;
    type Operation = Request;

    fn start(&self) -> Vec<Version> {
        Vec::new()
    }

    fn step(&self, state: &Vec<Version>, request: &Request) -> Option<Vec<Version>> {
        let (next, shown) = self.serve(state, request);
        request.answer.as_ref().is_none_or(|told| agrees(told, &shown)).then_some(next)
    }

    fn is_answered(request: &Request) -> bool {
        request.answer.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::{Answer, Call, Condition, Key, Request, Shown};
    use crate::linear::checker::{Timed, check};

    /// Rows of start, end, what was asked and what was answered; a row's place, from 1 on, is its label.
    fn accepts(versioned: bool, rows: &[(u64, u64, Call, Option<Answer>)]) -> bool {
        let request = |(label, (start, end, call, answer)): (u32, &(u64, u64, Call, Option<Answer>))| Timed {
            start: *start,
            end: *end,
            operation: Request { label, call: *call, answer: answer.clone() },
        };
        let history: Vec<_> = (1..).zip(rows).map(request).collect();
        check(&Key { versioned }, &history).is_ok()
    }

    const PUT: Call = Call::Put(Condition::None);
    const CREATE: Call = Call::Put(Condition::Absent);
    const DELETE: Call = Call::Delete(Condition::None);
    const DONE: Option<Answer> = Some(Answer::Done);
    const MISSING: Option<Answer> = Some(Answer::Missing);
    const REFUSED: Option<Answer> = Some(Answer::Refused);

    fn found(label: u32) -> Option<Answer> {
        Some(Answer::Found(label))
    }

    #[test]
    fn plain_keys() {
        let exchange = Call::Put(Condition::Is(1));
        for (what, rows, good) in [
            ("put and get", &[(0, 1, PUT, DONE), (2, 3, Call::Get, found(1))][..], true),
            ("an acknowledged put is gone", &[(0, 1, PUT, DONE), (2, 3, Call::Get, MISSING)], false),
            ("a stale read", &[(0, 1, PUT, DONE), (2, 3, PUT, DONE), (4, 5, Call::Get, found(1))], false),
            ("a lost update", &[(0, 1, PUT, DONE), (2, 9, exchange, DONE), (2, 9, exchange, DONE)], false),
            ("one update", &[(0, 1, PUT, DONE), (2, 9, exchange, DONE), (2, 9, exchange, REFUSED)], true),
            ("two creators", &[(0, 9, CREATE, DONE), (0, 9, CREATE, DONE)], false),
            ("no creator", &[(0, 9, CREATE, REFUSED), (0, 9, CREATE, REFUSED)], false),
            ("a creator that got no answer", &[(0, 9, CREATE, None), (0, 9, CREATE, REFUSED)], true),
            (
                "it is there, then",
                &[(0, 9, CREATE, None), (0, 9, CREATE, REFUSED), (10, 11, Call::Get, MISSING)],
                false,
            ),
            ("exchange of nothing", &[(0, 1, Call::Put(Condition::Is(7)), MISSING)], true),
            ("put, delete", &[(0, 1, PUT, DONE), (2, 3, DELETE, DONE), (4, 5, Call::Get, MISSING)], true),
            (
                "a delete that came back",
                &[(0, 1, PUT, DONE), (2, 3, DELETE, DONE), (4, 5, Call::Get, found(1))],
                false,
            ),
        ] {
            assert_eq!(accepts(false, rows), good, "{what}");
        }
    }

    #[test]
    fn keys_with_versions() {
        let shown = |versions: &[(Option<u32>, bool)]| {
            let each = |&(label, is_marker): &(Option<u32>, bool)| Shown { label, is_marker };
            Some(Answer::Shown(versions.iter().map(each).collect()))
        };
        let two = [(0, 1, PUT, DONE), (2, 3, PUT, DONE)];
        let and = |more: &[(u64, u64, Call, Option<Answer>)]| [&two[..], more].concat();
        let list = Call::ListVersions;
        for (what, rows, good) in [
            ("in order", and(&[(4, 5, list, shown(&[(Some(2), false), (Some(1), false)]))]), true),
            ("out of order", and(&[(4, 5, list, shown(&[(Some(1), false), (Some(2), false)]))]), false),
            ("one is missing", and(&[(4, 5, list, shown(&[(Some(2), false)]))]), false),
            (
                "a marker on top",
                and(&[
                    (4, 5, DELETE, DONE),
                    (6, 7, Call::Get, MISSING),
                    (6, 7, Call::GetVersion(2), found(2)),
                    (8, 9, Call::DeleteVersion(3), DONE),
                    (10, 11, Call::Get, found(2)),
                    (12, 13, Call::DeleteVersion(2), DONE),
                    (14, 15, Call::Get, found(1)),
                ]),
                true,
            ),
            (
                "a marker of somebody who got no answer",
                and(&[
                    (4, 5, DELETE, None),
                    (6, 7, list, shown(&[(None, true), (Some(2), false), (Some(1), false)])),
                ]),
                true,
            ),
            (
                "a marker of nobody",
                and(&[(6, 7, list, shown(&[(None, true), (Some(2), false), (Some(1), false)]))]),
                false,
            ),
            (
                "a removed version is back",
                and(&[(4, 5, Call::DeleteVersion(1), DONE), (6, 7, Call::GetVersion(1), found(1))]),
                false,
            ),
        ] {
            assert_eq!(accepts(true, &rows), good, "{what}");
        }
    }
}
