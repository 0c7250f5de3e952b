//! What was decided on the way of one request: the authorizer notes it, the audit log reads it when the answer is known.
//!
//! One value for each request, on its core. I1. A decision that nobody will read costs nothing: what is allowed is kept
//! only for requests that are recorded anyway. I2. What is refused takes the place of what is allowed, up to
//! [`AUDIT_JUDGED_MAX`].

use std::cell::{Cell, Ref, RefCell};
use std::fmt::Display;

use crate::limits::AUDIT_JUDGED_MAX;

/// One question and what was said to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// Whether the sender may.
    pub is_allowed: bool,
    /// As IAM spells it.
    pub action: &'static str,
    /// An ARN, or `*`.
    pub resource: String,
    /// What decided: a statement of a policy, or a rule of the server in words. `None`: nothing allows it.
    pub statement: Option<String>,
}

/// The decisions of one request.
#[derive(Debug, Default)]
pub struct Decisions {
    keeps_allowed: Cell<bool>,
    kept: RefCell<Vec<Judged>>,
    beyond: Cell<u32>,
    remark: RefCell<Option<String>>,
}

impl Decisions {
    /// Keeps what is allowed as well from now on, if that is so.
    pub fn keep_allowed(&self, keeps_allowed: bool) {
        self.keeps_allowed.set(keeps_allowed);
    }

    /// Whether [`Decisions::note`] would keep such a decision: saves who asks from finding out more than the answer.
    pub fn keeps(&self, is_allowed: bool) -> bool {
        !is_allowed || self.keeps_allowed.get()
    }

    /// Notes a decision. `statement`: what decided.
    pub fn note(
        &self,
        is_allowed: bool,
        action: &'static str,
        resource: &dyn Display,
        statement: Option<&dyn Display>,
    ) {
        if !self.keeps(is_allowed) {
            return;
        }
        let mut kept = self.kept.borrow_mut();
        if AUDIT_JUDGED_MAX <= kept.len() {
            self.beyond.set(self.beyond.get().saturating_add(1));
            match kept.iter().rposition(|judged| judged.is_allowed).filter(|_| !is_allowed) {
                Some(at) => drop(kept.remove(at)),
                None => return,
            }
        }
        let (resource, statement) = (resource.to_string(), statement.map(ToString::to_string));
        kept.push(Judged { is_allowed, action, resource, statement });
    }

    /// Notes what an operator has to know of a request, whether it is done or refused.
    pub fn remark(&self, text: String) {
        *self.remark.borrow_mut() = Some(text);
    }

    /// What was noted so.
    pub fn remarked(&self) -> Option<Ref<'_, str>> {
        Ref::filter_map(self.remark.borrow(), |remark| remark.as_deref()).ok()
    }

    /// Says what the newest decision was about, which was made before that was known.
    pub fn about(&self, resource: &dyn Display) {
        if let Some(judged) = self.kept.borrow_mut().last_mut() {
            judged.resource = resource.to_string();
        }
    }

    /// The one that says most about the answer first: the first refusal, or the first decision.
    pub fn all(&self) -> Ref<'_, [Judged]> {
        let mut kept = self.kept.borrow_mut();
        if let Some(at) = kept.iter().position(|judged| !judged.is_allowed) {
            kept[..=at].rotate_right(1);
        }
        drop(kept);
        Ref::map(self.kept.borrow(), Vec::as_slice)
    }

    /// Whether something was refused.
    pub fn has_refusal(&self) -> bool {
        self.kept.borrow().iter().any(|judged| !judged.is_allowed)
    }

    /// Decisions that were not kept for want of room.
    pub fn beyond(&self) -> u32 {
        self.beyond.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_have_precedence() {
        let decisions = Decisions::default();
        decisions.keep_allowed(true);
        for _ in 0..AUDIT_JUDGED_MAX + 3 {
            decisions.note(true, "s3:DeleteObject", &"a", Some(&"s"));
        }
        decisions.note(false, "s3:DeleteObject", &"*", None);
        decisions.about(&"b");
        let all = decisions.all();
        assert_eq!((all.len(), decisions.beyond()), (AUDIT_JUDGED_MAX, 4));
        assert_eq!((all[0].is_allowed, all[0].resource.as_str()), (false, "b"));
        assert!(all[1..].iter().all(|judged| judged.is_allowed && judged.resource == "a"));
    }

    #[test]
    fn what_is_allowed_is_not_kept_where_nobody_asks() {
        let decisions = Decisions::default();
        decisions.note(true, "s3:GetObject", &"a", None);
        decisions.about(&"b");
        assert!(decisions.all().is_empty() && decisions.beyond() == 0);
        assert!(!decisions.keeps(true) && decisions.keeps(false));
    }
}
