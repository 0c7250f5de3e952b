//! What is learned of one request on its way: who sent it and from where, what was decided, how that is told.
//!
//! The gateway makes a [`Trail`] for each request, everybody on the way writes into it, and the audit log is told from it.
//! I1. Who sent a request is written down once.

use std::cell::{Cell, OnceCell};
use std::rc::Rc;

use http::StatusCode;
use http::request::Parts;

use crate::audit::{AuditPrincipal, Decisions, Issued, Outcome};
use crate::auth::Mechanism;
use crate::identity::{RequestFacts, Sender, SenderKind};
use crate::query;
use crate::source::Source;
use crate::throttle::Attempt;

/// What is learned of a request on its way.
pub(crate) struct Trail {
    pub(crate) source: Source,
    /// On the clock that does not jump.
    pub(crate) started_us: u64,
    pub(crate) attempt: Attempt,
    pub(crate) sender: OnceCell<Rc<Sender>>,
    /// What a form asks for, when it was read.
    pub(crate) asked: Cell<Option<query::Operation>>,
    pub(crate) decisions: Decisions,
    /// The session or token in the answer.
    pub(crate) issued: OnceCell<Issued>,
}

impl Trail {
    pub(crate) fn new(source: Source, started_us: u64) -> Trail {
        Trail {
            source,
            started_us,
            attempt: Attempt::default(),
            sender: OnceCell::new(),
            asked: Cell::new(None),
            decisions: Decisions::default(),
            issued: OnceCell::new(),
        }
    }

    /// Writes down who sent it; known once.
    pub(crate) fn sent_by(&self, sender: Rc<Sender>) -> &Sender {
        self.sender.get_or_init(|| sender)
    }

    /// Writes down what a form asks for.
    pub(crate) fn asks_for(&self, operation: query::Operation) {
        self.asked.set(Some(operation));
    }

    /// How the request ended, as the audit log has it.
    pub(crate) fn outcome(&self, status: StatusCode, changes: bool) -> Outcome {
        let refused_some = || changes && self.decisions.has_refusal();
        match status.as_u16() {
            _ if self.attempt.is_throttled() => Outcome::Throttled,
            _ if self.attempt.failed().is_some() => Outcome::Unproven,
            401 | 419 => Outcome::Unproven,
            403 => Outcome::Refused,
            ..=399 if refused_some() => Outcome::Refused,
            ..=399 => Outcome::Done,
            _ => Outcome::Failed,
        }
    }

    /// Who sent it, as the audit log names them.
    /// `claimed` is the access key that the request names.
    pub(crate) fn principal<'a>(
        &'a self,
        sender: Option<&'a Sender>,
        claimed: Option<&'a str>,
    ) -> AuditPrincipal<'a> {
        let Some(sender) = sender else {
            return AuditPrincipal {
                kind: "unproven",
                access_key: self.attempt.claimed().or(claimed),
                ..AuditPrincipal::default()
            };
        };
        let some = |text: &'a str| Some(text).filter(|text| !text.is_empty());
        AuditPrincipal {
            kind: match sender.kind {
                SenderKind::Session if sender.table.is_some() => "vended",
                SenderKind::Session if sender.issuer.is_some() => "web",
                kind => kind.name(),
            },
            name: some(&sender.name),
            access_key: some(&sender.access_key),
            arn: some(&sender.arn).filter(|_| sender.kind != SenderKind::Anonymous),
            session: sender.role.as_ref().map(|role| role.session.as_str()),
            web: sender.claims.as_ref().and_then(|claims| claims.holder.web()),
        }
    }

    /// What is known of a request that is not signed.
    pub(crate) fn facts<'a>(&self, head: &'a Parts, now_ms: u64) -> RequestFacts<'a> {
        RequestFacts {
            headers: &head.headers,
            query: None,
            source: Some(self.source.ip),
            secure: self.source.secure,
            mechanism: Mechanism::Unsigned,
            signed_ms: None,
            region: "",
            now_ms,
            form_tags: &[],
            given: &[],
        }
    }
}
