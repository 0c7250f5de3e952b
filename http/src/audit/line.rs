//! One event of the audit log as a line of JSON. Pure.
//!
//! `audit` renders what the gateway recorded. I1. A line holds printable characters only: whatever else a request carries
//! is escaped, also what would turn a terminal's line round. I2. Every text is cut to its bound, which `…` shows, and
//! a line to [`AUDIT_LINE_BYTES_MAX`].

use std::fmt::{self, Write as _};

use nilas_engine::calendar::Civil;

use crate::audit::decisions::{Decisions, Judged};
use crate::limits::{AUDIT_LINE_BYTES_MAX, AUDIT_NAME_BYTES_MAX, AUDIT_TEXT_BYTES_MAX};
use crate::source::Source;

/// How a request ended, for the audit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Done,
    /// Its sender is known and may not; or nobody needs to be known, and anonymous senders may not.
    Refused,
    /// Its sender did not prove who they are.
    Unproven,
    /// Its sender failed too often, or asks too often.
    Throttled,
    /// It was allowed, and failed for another reason: it does not exist, a condition does not hold, the store is full.
    Failed,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Outcome; 5] =
        [Outcome::Done, Outcome::Refused, Outcome::Unproven, Outcome::Throttled, Outcome::Failed];

    /// Returns its name in the log.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Done => "done",
            Outcome::Refused => "refused",
            Outcome::Unproven => "unproven",
            Outcome::Throttled => "throttled",
            Outcome::Failed => "failed",
        }
    }

    /// Whether it is recorded for reads as well.
    pub fn is_refusal(self) -> bool {
        match self {
            Outcome::Refused | Outcome::Unproven | Outcome::Throttled => true,
            Outcome::Done | Outcome::Failed => false,
        }
    }
}

/// Who sent a request, as the log names them.
#[derive(Clone, Copy, Debug, Default)]
pub struct AuditPrincipal<'a> {
    /// `root`, `user`, `session`, `vended`, `web`, `anonymous`; `unproven` for one that only claims its access key.
    pub kind: &'a str,
    /// Name of the user.
    pub name: Option<&'a str>,
    /// The access key that signed, or was claimed.
    pub access_key: Option<&'a str>,
    /// ARN of the user or the assumed role.
    pub arn: Option<&'a str>,
    /// Name of the session.
    pub session: Option<&'a str>,
    /// Whom the issuer of a web identity says that it is: the issuer, and the subject of its token.
    pub web: Option<(&'a str, &'a str)>,
}

/// A session or a bearer token that an answer holds: what leads from its use to who got it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// `session` or `bearer`.
    pub kind: &'static str,
    /// The access key of a session; the one that a bearer token speaks for.
    pub access_key: Option<String>,
    /// The issuer and the subject of a web identity.
    pub web: Option<(String, String)>,
    /// The role and the name of the session.
    pub role: Option<(String, String)>,
    /// When it ends, in seconds since 1970.
    pub expires_s: u64,
}

/// A request that was answered.
pub struct AuditEvent<'a> {
    /// In milliseconds since 1970.
    pub at_ms: u64,
    /// The id in the answer's headers.
    pub request_id: &'a str,
    /// `s3`, `iceberg`, `iam`, `sts`, `admin`.
    pub api: &'static str,
    /// As metrics name it.
    pub operation: &'static str,
    /// Whether the operation may change something.
    pub changes: bool,
    /// Who sent it.
    pub principal: AuditPrincipal<'a>,
    /// Where it came from.
    pub source: Source,
    /// What was decided on the way.
    pub decisions: &'a Decisions,
    /// What was issued.
    pub issued: Option<&'a Issued>,
    /// The action and resource that the head names; looked at only when nothing was decided.
    pub asked: Option<(&'static str, &'a dyn fmt::Display)>,
    /// Status of the answer.
    pub status: u16,
    /// How it ended.
    pub outcome: Outcome,
    /// Code of the error in the answer.
    pub error: Option<&'a str>,
    /// The header of this name, as it came.
    pub user_agent: Option<&'a [u8]>,
}

impl AuditEvent<'_> {
    /// Renders the line, without its end.
    pub fn render(&self) -> String {
        let mut line = Line { text: String::with_capacity(512) };
        line.text.push_str("{\"time\":\"");
        line.text.push_str(&time(self.at_ms));
        line.text.push('"');
        line.member("request_id", Some(self.request_id), AUDIT_NAME_BYTES_MAX);
        line.member("api", Some(self.api), AUDIT_NAME_BYTES_MAX);
        line.member("operation", Some(self.operation), AUDIT_NAME_BYTES_MAX);
        line.principal(&self.principal);
        line.member("source", Some(&self.source.ip.to_string()), AUDIT_NAME_BYTES_MAX);
        line.number("source_port", self.source.port.into());
        let judged = self.decisions.all();
        match (judged.split_first(), self.asked) {
            (Some((first, _)), _) => line.judged(first),
            (None, Some((action, resource))) => {
                line.member("action", Some(action), AUDIT_NAME_BYTES_MAX);
                line.member("resource", Some(&resource.to_string()), AUDIT_TEXT_BYTES_MAX);
            }
            (None, None) => {}
        }
        line.member("outcome", Some(self.outcome.name()), AUDIT_NAME_BYTES_MAX);
        line.number("status", self.status.into());
        line.member("error", self.error, AUDIT_NAME_BYTES_MAX);
        if let Some(issued) = self.issued {
            line.issued(issued);
        }
        line.member("remark", self.decisions.remarked().as_deref(), AUDIT_TEXT_BYTES_MAX);
        let user_agent = self.user_agent.map(String::from_utf8_lossy);
        line.member("user_agent", user_agent.as_deref(), AUDIT_NAME_BYTES_MAX);
        let further = judged.split_first().map_or(&[][..], |(_, further)| further);
        let left = line.further(further) + u64::from(self.decisions.beyond());
        if left > 0 {
            line.number("further_beyond", left);
        }
        line.text.push('}');
        debug_assert!(line.text.len() <= AUDIT_LINE_BYTES_MAX, "{}", line.text.len());
        line.text
    }
}

/// The line that says how many others were not written, with its end.
pub(super) fn dropped(now_ms: u64, lines: u64) -> String {
    format!("{{\"time\":\"{}\",\"event\":\"dropped\",\"lines\":{lines}}}\n", time(now_ms))
}

/// RFC 3339 with milliseconds, UTC.
fn time(ms: u64) -> String {
    let Civil { year, month, day, hour, minute, second, .. } = Civil::of_ms(ms);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", ms % 1000)
}

struct Line {
    text: String,
}

impl Line {
    fn principal(&mut self, principal: &AuditPrincipal<'_>) {
        self.text.push_str(",\"principal\":{\"kind\":");
        self.quoted(principal.kind, AUDIT_NAME_BYTES_MAX);
        self.member("name", principal.name, AUDIT_NAME_BYTES_MAX);
        self.member("access_key", principal.access_key, AUDIT_NAME_BYTES_MAX);
        self.member("arn", principal.arn, AUDIT_TEXT_BYTES_MAX);
        self.member("session", principal.session, AUDIT_NAME_BYTES_MAX);
        self.web(principal.web);
        self.text.push('}');
    }

    fn web(&mut self, web: Option<(&str, &str)>) {
        self.member("issuer", web.map(|(issuer, _)| issuer), AUDIT_NAME_BYTES_MAX);
        self.member("subject", web.map(|(_, subject)| subject), AUDIT_NAME_BYTES_MAX);
    }

    fn issued(&mut self, issued: &Issued) {
        self.text.push_str(",\"issued\":{\"kind\":");
        self.quoted(issued.kind, AUDIT_NAME_BYTES_MAX);
        self.member("access_key", issued.access_key.as_deref(), AUDIT_NAME_BYTES_MAX);
        self.member("role", issued.role.as_ref().map(|(role, _)| role.as_str()), AUDIT_NAME_BYTES_MAX);
        self.member("session", issued.role.as_ref().map(|(_, name)| name.as_str()), AUDIT_NAME_BYTES_MAX);
        self.web(issued.web.as_ref().map(|(issuer, subject)| (issuer.as_str(), subject.as_str())));
        self.member("expires", Some(&time(issued.expires_s.saturating_mul(1000))), AUDIT_NAME_BYTES_MAX);
        self.text.push('}');
    }

    fn judged(&mut self, judged: &Judged) {
        self.member("action", Some(judged.action), AUDIT_NAME_BYTES_MAX);
        self.member("resource", Some(&judged.resource), AUDIT_TEXT_BYTES_MAX);
        self.member("statement", judged.statement.as_deref(), AUDIT_TEXT_BYTES_MAX);
    }

    /// Adds the other decisions as far as there is room, and returns how many there was none for.
    fn further(&mut self, further: &[Judged]) -> u64 {
        // The longest number and what closes the line.
        const REST: usize = 64;
        for (nth, judged) in further.iter().enumerate() {
            let before = self.text.len();
            self.text.push_str(if nth == 0 { ",\"further\":[{" } else { ",{" });
            self.text.push_str("\"allowed\":");
            self.text.push_str(if judged.is_allowed { "true" } else { "false" });
            self.judged(judged);
            self.text.push('}');
            if AUDIT_LINE_BYTES_MAX - REST < self.text.len() {
                self.text.truncate(before);
                if nth > 0 {
                    self.text.push(']');
                }
                return (further.len() - nth) as u64;
            }
        }
        if !further.is_empty() {
            self.text.push(']');
        }
        0
    }

    fn number(&mut self, name: &str, value: u64) {
        write!(self.text, ",\"{name}\":{value}").expect("a String takes all");
    }

    /// Adds a member, if it has a value.
    fn member(&mut self, name: &str, value: Option<&str>, bytes_max: usize) {
        let Some(value) = value else { return };
        self.text.push_str(",\"");
        self.text.push_str(name);
        self.text.push_str("\":");
        self.quoted(value, bytes_max);
    }

    /// Adds a string of at most `bytes_max` bytes as they are written, without its quotes.
    fn quoted(&mut self, value: &str, bytes_max: usize) {
        const CUT: char = '…';
        self.text.push('"');
        let start = self.text.len();
        for c in value.chars() {
            let before = self.text.len();
            self.escaped(c);
            if start + bytes_max - CUT.len_utf8() < self.text.len() {
                self.text.truncate(before);
                self.text.push(CUT);
                break;
            }
        }
        self.text.push('"');
    }

    fn escaped(&mut self, c: char) {
        match c {
            '"' => self.text.push_str("\\\""),
            '\\' => self.text.push_str("\\\\"),
            c if is_invisible(c) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(self.text, "\\u{unit:04x}").expect("a String takes all");
                }
            }
            c => self.text.push(c),
        }
    }
}

/// Controls, ends of lines, and what changes the direction or hides what is written.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn event<'a>(decisions: &'a Decisions, user_agent: &'a [u8]) -> AuditEvent<'a> {
        AuditEvent {
            at_ms: 1_369_353_600_007,
            request_id: "ID",
            api: "s3",
            operation: "PutObject",
            changes: true,
            principal: AuditPrincipal {
                kind: "session",
                name: Some("alice"),
                access_key: Some("NILT1"),
                arn: Some("arn:aws:sts::1:assumed-role/r/s"),
                session: Some("s"),
                web: Some(("https://i", "sub\nject")),
            },
            source: Source::plain("[2001:db8::1]:50000".parse().expect("an address")),
            decisions,
            issued: None,
            asked: Some(("s3:PutObject", &"arn:aws:s3:::b/k")),
            status: 403,
            outcome: Outcome::Refused,
            error: Some("AccessDenied"),
            user_agent: Some(user_agent),
        }
    }

    fn parse(line: &str) -> Value {
        assert!(line.len() <= AUDIT_LINE_BYTES_MAX, "{}", line.len());
        assert!(!line.chars().any(is_invisible), "{line:?}");
        serde_json::from_str(line).expect("JSON")
    }

    #[test]
    fn a_line() {
        let decisions = Decisions::default();
        decisions.keep_allowed(true);
        decisions.note(true, "s3:GetObject", &"arn:aws:s3:::c/k", Some(&"readonly[0]"));
        decisions.note(false, "s3:PutObject", &"arn:aws:s3:::b/k", Some(&"lock[1] NoWrites"));
        let want = json!({
            "time": "2013-05-24T00:00:00.007Z", "request_id": "ID", "api": "s3", "operation": "PutObject",
            "principal": {
                "kind": "session", "name": "alice", "access_key": "NILT1",
                "arn": "arn:aws:sts::1:assumed-role/r/s", "session": "s",
                "issuer": "https://i", "subject": "sub\nject",
            },
            "source": "2001:db8::1", "source_port": 50000,
            "action": "s3:PutObject", "resource": "arn:aws:s3:::b/k", "statement": "lock[1] NoWrites",
            "outcome": "refused", "status": 403, "error": "AccessDenied", "user_agent": "aws-cli/2",
            "further": [{"allowed": true, "action": "s3:GetObject", "resource": "arn:aws:s3:::c/k", "statement": "readonly[0]"}],
        });
        assert_eq!(parse(&event(&decisions, b"aws-cli/2").render()), want);
        let issued = Issued {
            kind: "session",
            access_key: Some("NILT2".to_owned()),
            web: Some(("https://i".to_owned(), "s".repeat(10_000))),
            role: Some(("r".to_owned(), "n".to_owned())),
            expires_s: 1_369_353_600,
        };
        let line = event(&decisions, b"");
        let read = parse(&AuditEvent { issued: Some(&issued), ..line }.render());
        let subject = format!("{}…", "s".repeat(AUDIT_NAME_BYTES_MAX - 3));
        let want = json!({
            "kind": "session", "access_key": "NILT2", "role": "r", "session": "n",
            "issuer": "https://i", "subject": subject, "expires": "2013-05-24T00:00:00.000Z",
        });
        assert_eq!(read["issued"], want);
        decisions.remark("a, \u{202e}b".to_owned());
        assert_eq!(parse(&event(&decisions, b"aws-cli/2").render())["remark"], "a, \u{202e}b");
        let nothing_decided = parse(&event(&Decisions::default(), b"").render());
        assert_eq!(nothing_decided["resource"], "arn:aws:s3:::b/k");
        assert_eq!(nothing_decided.get("statement"), None);
    }

    #[test]
    fn whatever_a_request_holds_is_one_printable_line() {
        let all: Vec<u8> = (0..=255).collect();
        let check = |agent: &[u8], want: &str| {
            assert_eq!(parse(&event(&Decisions::default(), agent).render())["user_agent"], want);
        };
        check(
            "a\"\\\r\n\u{1b}[2J\u{85}\u{202e}b\u{2028}\u{e0041}".as_bytes(),
            "a\"\\\r\n\u{1b}[2J\u{85}\u{202e}b\u{2028}\u{e0041}",
        );
        let forged = "x\"}\n{\"time\":\"2000-01-01T00:00:00.000Z\",\"outcome\":\"done";
        check(forged.as_bytes(), forged);
        assert!(parse(&event(&Decisions::default(), &all).render())["user_agent"].is_string());
    }

    #[test]
    fn long_texts_are_cut() {
        let decisions = Decisions::default();
        decisions.keep_allowed(true);
        for _ in 0..crate::limits::AUDIT_JUDGED_MAX + 7 {
            decisions.note(false, "s3:DeleteObject", &"\u{1}".repeat(1024), Some(&"\u{1}".repeat(1024)));
        }
        let agent = vec![0; 100_000];
        let line = event(&decisions, &agent).render();
        let parsed = parse(&line);
        let further = parsed["further"].as_array().map_or(0, Vec::len) as u64;
        let beyond = parsed["further_beyond"].as_u64().expect("a number");
        assert_eq!(1 + further + beyond, crate::limits::AUDIT_JUDGED_MAX as u64 + 7);
        let cut = parse(&event(&Decisions::default(), &[b'a'; 1000]).render());
        let cut = cut["user_agent"].as_str().expect("a text");
        assert!(cut.ends_with("a…") && cut.len() == AUDIT_NAME_BYTES_MAX, "{}", cut.len());
        let whole = "a".repeat(AUDIT_NAME_BYTES_MAX - 3);
        assert_eq!(parse(&event(&Decisions::default(), whole.as_bytes()).render())["user_agent"], *whole);
    }
}
