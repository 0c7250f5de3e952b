//! STS: sessions made of a key, of another session, or of a token of the OpenID Connect issuer.
//!
//! `query` hands over the form of a request whose sender is known, or is nobody for the operations that are not signed, to
//! [`answer`]; what comes back is the inside of the answer. All but that one is pure: time and randomness are arguments.
//!
//! I1. A session is never wider than what it was made of: it keeps the holder, the key and every narrowing of the session that
//! made it, and adds its own. I2. A session made with a session (role chaining) lives an hour at most and never outlives
//! that one. I3. A role is a name and grants nothing: any role of this account can be assumed, with the rights of
//! who assumes it. I4. What changes how policies see the sender (tags, source identity) needs a permission of its own. I5. No
//! field of a form goes unread: one that was to narrow the session would leave it wider than who sent it meant.

use bytes::Bytes;
use nilas_catalog::access::{Access, Resource};
use nilas_engine::rt;

use crate::audit::{Decisions, Issued};
use crate::auth::{AuthError, Denied};
use crate::identity::model::{Attachable, Fault, Model};
use crate::identity::oidc::OidcFault;
use crate::identity::oidc::jwt::TokenFault;
use crate::identity::policy::{Policy, PolicyError, PolicyKind};
use crate::identity::session::{
    Credentials, Holder, MintFault, RoleNames, SessionClaims, SessionPolicy, TokenKey, mint,
};
use crate::identity::{Sender, SenderKind, Senders};
use crate::limits::{
    CHAINED_SESSION_S_MAX, ROLE_ARN_BYTES_MAX, ROLE_SESSION_S_MAX, ROOT_SESSION_S_MAX,
    SESSION_POLICY_CHARS_MAX, SESSION_POLICY_NAMES_MAX, SESSION_S_MIN, SESSION_TAGS_MAX, USER_SESSION_S_MAX,
};
use crate::query::error::QueryError;
use crate::query::form::{Field, Form};
use crate::query::operations::Operation;
use crate::render::time::iso_8601;
use crate::render::xml::Xml;

/// Seconds of a session of a role when the client says nothing.
const ROLE_SESSION_S: u64 = 3_600;
/// Seconds of GetSessionToken when the client says nothing.
const USER_SESSION_S: u64 = 43_200;
/// The role of who names none, as some clients of other servers do.
const NO_ROLE: &str = "self";
const NO_SESSION_NAME: &str = "session";

/// Why STS makes no session, beside what every query may be refused with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StsFault {
    /// Policies, tags and names take more than a token holds; in percent of it.
    PackedPolicyTooLarge {
        /// What they take, in percent.
        percent: usize,
    },
    /// The web identity's token is over.
    ExpiredToken,
    /// The web identity's token is not true, or not for us.
    InvalidIdentityToken(&'static str),
    /// The web identity's claim grants nothing.
    IdpRejectedClaim,
    /// The issuer does not answer.
    IdpCommunicationError,
    /// Something that a session may not do.
    OfSession(&'static str),
}

impl StsFault {
    /// Whether somebody may have made up what was shown.
    pub(crate) fn is_guess(&self) -> bool {
        matches!(self, StsFault::InvalidIdentityToken(_))
    }

    /// For people.
    pub(crate) fn message(&self) -> String {
        match self {
            StsFault::PackedPolicyTooLarge { percent } => {
                format!("Serialized token too large for session: {percent} percent of what a token holds")
            }
            StsFault::ExpiredToken => "Token expired".to_owned(),
            StsFault::InvalidIdentityToken(why) | StsFault::OfSession(why) => (*why).to_owned(),
            StsFault::IdpRejectedClaim => {
                "The claim of the token names no policy of this account, or too many".to_owned()
            }
            StsFault::IdpCommunicationError => {
                "The identity provider's keys cannot be read now, try again".to_owned()
            }
        }
    }
}

impl From<StsFault> for QueryError {
    fn from(fault: StsFault) -> QueryError {
        QueryError::Sts(fault)
    }
}

impl From<OidcFault> for QueryError {
    fn from(fault: OidcFault) -> QueryError {
        QueryError::Sts(match fault {
            OidcFault::Token(TokenFault::Expired) => StsFault::ExpiredToken,
            OidcFault::Token(TokenFault::Policies) => StsFault::IdpRejectedClaim,
            OidcFault::Token(fault) => StsFault::InvalidIdentityToken(fault.text()),
            OidcFault::Unreachable | OidcFault::Busy => StsFault::IdpCommunicationError,
        })
    }
}

/// What all forms have.
const COMMON: &[Field] = &[Field::One("Action"), Field::One("Version")];
/// What forms of all sessions of roles have.
const OF_ROLE: &[Field] = &[
    Field::One("RoleArn"),
    Field::One("RoleSessionName"),
    Field::One("DurationSeconds"),
    Field::One("Policy"),
    Field::Structures("PolicyArns", &["arn"]),
];
const TAGS: Field = Field::Structures("Tags", &["Key", "Value"]);
/// Of the devices that nobody has here. They widen nothing.
const MFA: &[Field] = &[Field::One("SerialNumber"), Field::One("TokenCode")];

/// The fields of an operation. Those that mean nothing here take nothing from what the client asks for: every tag is
/// transitive, no role asks for an external id.
fn check_fields(operation: Operation, form: &Form) -> Result<(), QueryError> {
    let own: &[&[Field]] = match operation {
        Operation::AssumeRole => &[
            OF_ROLE,
            MFA,
            &[TAGS, Field::List("TransitiveTagKeys"), Field::One("SourceIdentity"), Field::One("ExternalId")],
        ],
        Operation::AssumeRoleWithWebIdentity => &[
            OF_ROLE,
            &[
                Field::One("WebIdentityToken"),
                Field::One("ProviderId"),
                Field::One("WebIdentityAccessToken"),
                Field::One("WebIdentityRefreshToken"),
            ],
        ],
        Operation::AssumeRoleWithClientGrants => &[OF_ROLE, &[Field::One("Token")]],
        Operation::GetSessionToken => &[MFA, &[Field::One("DurationSeconds")]],
        Operation::GetAccessKeyInfo => &[&[Field::One("AccessKeyId")]],
        _ => &[],
    };
    form.only(&[&[COMMON], own].concat().concat())
}

/// What an operation comes to.
pub(crate) struct Answer {
    /// The inside of its result.
    pub(crate) xml: Bytes,
    /// The session in it.
    pub(crate) issued: Option<Issued>,
}

impl Answer {
    fn of(xml: Bytes) -> Answer {
        Answer { xml, issued: None }
    }
}

/// Carries out one operation of STS for `sender`.
pub(crate) async fn answer(
    senders: &Senders,
    form: &Form,
    operation: Operation,
    sender: &Sender,
    access: &dyn Access,
    notes: &Decisions,
    now_ms: u64,
) -> Result<Answer, QueryError> {
    let token_field = match operation {
        Operation::AssumeRoleWithWebIdentity => "WebIdentityToken",
        Operation::AssumeRoleWithClientGrants => "Token",
        _ => {
            let mint =
                Mint { model: &sender.model, key: &senders.session_key, now_ms, random: &rt::random_u128 };
            return signed(operation, form, sender, access, &mint, senders.root_key.access_key());
        }
    };
    check_fields(operation, form)?;
    let token = form.need(token_field)?;
    // Only the role, the duration and the policies count: what is wrong with them is said before the issuer is asked.
    let (role_arn, role) = role_of(form, &sender.model)?;
    RoleRequest::read(form, &sender.model, role_arn.clone(), role.clone())?;
    let claims = senders.verify_web(token, now_ms, notes).await?;
    let model = senders.store.current();
    let mint = Mint { model: &model, key: &senders.session_key, now_ms, random: &rt::random_u128 };
    let request = RoleRequest::read(form, &model, role_arn, role)?;
    let made = mint.web_session(request, claims)?;
    let xml = match operation {
        Operation::AssumeRoleWithClientGrants => made.client_grants(model.account()),
        _ => made.web_identity(model.account()),
    };
    Ok(made.answer(xml))
}

/// Carries out an operation of a sender who is known.
fn signed(
    operation: Operation,
    form: &Form,
    sender: &Sender,
    access: &dyn Access,
    mint: &Mint<'_>,
    root_key: &str,
) -> Result<Answer, QueryError> {
    let account = mint.model.account();
    let may = |action: &'static str, arn: &str, facts: &[(&'static str, &str)]| {
        if access.allows_with(action, Resource::Identity(arn), facts) {
            return Ok(());
        }
        Err(QueryError::AccessDenied { who: sender.arn.to_string(), action, arn: arn.to_owned() })
    };
    match operation {
        Operation::AssumeRole => {
            // Judged before it is said what is wrong with it.
            let duration_s = duration_s_of(form);
            let facts = session_facts(form, &duration_s);
            may(operation.facts().action, &role_arn(form, account), &facts)?;
            check_fields(operation, form)?;
            let (role_arn, role) = role_of(form, mint.model)?;
            let request = RoleRequest::read(form, mint.model, role_arn, role)?;
            if form.has("Tags.member") || form.has("TransitiveTagKeys.member") {
                may("sts:TagSession", &request.role_arn, &facts)?;
            }
            if request.source.is_some() {
                may("sts:SetSourceIdentity", &request.role_arn, &facts)?;
            }
            let made = request.assume(Origin::of(sender)?, mint)?;
            Ok(made.answer(made.assume_role(account)))
        }
        Operation::GetSessionToken => {
            check_fields(operation, form)?;
            let made = mint.session_token(form, Origin::of(sender)?)?;
            Ok(made.answer(made.session_token()))
        }
        Operation::GetAccessKeyInfo => {
            let key = form.need("AccessKeyId")?;
            if !access.allows(operation.facts().action, Resource::Service) {
                let (who, action) = (sender.arn.to_string(), operation.facts().action);
                return Err(QueryError::AccessDenied { who, action, arn: Resource::Service.to_string() });
            }
            check_fields(operation, form)?;
            let is_ours = key == root_key || mint.model.key(key).is_some() || key == &*sender.access_key;
            if !is_ours {
                return Err(QueryError::NoSuchEntity {
                    message: format!("The Access Key with id {key} cannot be found."),
                });
            }
            Ok(Answer::of(access_key_info(account)))
        }
        // As in AWS nothing refuses it: who holds a key may know whose it is.
        _ => {
            check_fields(operation, form)?;
            Ok(Answer::of(caller_identity(&sender.arn, &sender.user_id, account)))
        }
    }
}

/// What policies may ask of a session that is to be made, beside its tags. What the form leaves out is what the session will have.
fn session_facts<'f>(form: &'f Form, duration_s: &'f str) -> Vec<(&'static str, &'f str)> {
    let name = form.get("RoleSessionName").filter(|name| !name.is_empty()).unwrap_or(NO_SESSION_NAME);
    let mut facts = vec![("sts:RoleSessionName", name), ("sts:DurationSeconds", duration_s)];
    facts.extend(form.get("SourceIdentity").map(|source| ("sts:SourceIdentity", source)));
    facts.extend(form.get("ExternalId").map(|id| ("sts:ExternalId", id)));
    facts.extend(form.list("TransitiveTagKeys").map(|key| ("sts:TransitiveTagKeys", key)));
    facts
}

/// The seconds that a form asks for, as policies write numbers; what is no number is refused by them or later.
fn duration_s_of(form: &Form) -> String {
    match form.get("DurationSeconds").map(|text| (text, text.parse::<u64>())) {
        None => ROLE_SESSION_S.to_string(),
        Some((_, Ok(seconds))) => seconds.to_string(),
        Some((text, Err(_))) => text.to_owned(),
    }
}

/// What a session is made of: who asks, as a session of theirs would say it.
#[derive(Clone, Debug)]
struct Origin {
    /// Holder, epoch and all that narrows them; times do not matter.
    claims: SessionClaims,
    /// When what proved them ends, in seconds since 1970: no session of it lives longer.
    ends_s: Option<u64>,
    /// Whether it was a session.
    is_session: bool,
}

impl Origin {
    /// The sender of a request. Nobody in particular has no sessions.
    fn of(sender: &Sender) -> Result<Origin, QueryError> {
        let claims = sender.session_claims().ok_or(AuthError::AccessDenied(Denied::NoCredentials))?;
        let ends_s = sender.expires_ms.map(|ms| ms / 1000);
        Ok(Origin { claims, ends_s, is_session: sender.kind == SenderKind::Session })
    }
}

/// What sessions are made with.
struct Mint<'a> {
    model: &'a Model,
    key: &'a TokenKey,
    now_ms: u64,
    random: &'a dyn Fn() -> u128,
}

/// A session that was made, with what the answer says of it.
#[derive(Debug)]
struct Made {
    credentials: Credentials,
    claims: SessionClaims,
    packed: Option<usize>,
}

/// What AssumeRole asks for, read from its form.
#[derive(Debug)]
struct RoleRequest {
    /// As it was given, or made of what was not.
    role_arn: String,
    names: RoleNames,
    policy: Option<SessionPolicy>,
    tags: Vec<(String, String)>,
    source: Option<String>,
    duration_s: Option<u64>,
}

impl RoleRequest {
    /// Reads what AssumeRole and its like have in common.
    fn read(form: &Form, model: &Model, role_arn: String, role: String) -> Result<RoleRequest, QueryError> {
        let session = match form.get("RoleSessionName").filter(|name| !name.is_empty()) {
            Some(name) => check_name("RoleSessionName", name)?.to_owned(),
            None => NO_SESSION_NAME.to_owned(),
        };
        let source = match form.get("SourceIdentity") {
            Some(name) => Some(check_name("SourceIdentity", name)?.to_owned()),
            None => None,
        };
        Ok(RoleRequest {
            role_arn,
            names: RoleNames { role, session },
            policy: policy_of(form, model)?,
            tags: tags_of(form)?,
            source,
            duration_s: duration(form, ROLE_SESSION_S_MAX)?,
        })
    }

    /// Makes the session of a role, for who may assume it.
    fn assume(self, origin: Origin, mint: &Mint<'_>) -> Result<Made, QueryError> {
        if origin.claims.table.is_some() {
            let why = "A session that was vended for a table assumes no role";
            return Err(StsFault::OfSession(why).into());
        }
        let max_s = if origin.is_session { CHAINED_SESSION_S_MAX } else { ROLE_SESSION_S_MAX };
        let duration_s = self.duration_s.unwrap_or(ROLE_SESSION_S);
        if max_s < duration_s {
            return Err(QueryError::Invalid {
                name: "DurationSeconds",
                why: "must be at most one hour for a role assumed by a session (role chaining)".to_owned(),
            });
        }
        let mut tags = origin.claims.tags.clone();
        if self.tags.iter().any(|(key, _)| tags.iter().any(|(known, _)| known.eq_ignore_ascii_case(key))) {
            return Err(QueryError::Invalid {
                name: "Tags",
                why: "must not change a tag of the session".to_owned(),
            });
        }
        tags.extend(self.tags);
        let source = match (origin.claims.source.clone(), self.source) {
            (Some(first), Some(other)) if first != other => {
                let why = "The source identity of a session cannot be changed";
                return Err(StsFault::OfSession(why).into());
            }
            (first, other) => first.or(other),
        };
        let is_narrowed = self.policy.is_some();
        let mut policies = origin.claims.policies.clone();
        policies.extend(self.policy);
        let claims = SessionClaims { role: Some(self.names), policies, source, tags, ..origin.claims };
        mint.make(claims, duration_s, origin.ends_s, is_narrowed)
    }
}

impl Mint<'_> {
    fn make(
        &self,
        claims: SessionClaims,
        duration_s: u64,
        ends_s: Option<u64>,
        is_narrowed: bool,
    ) -> Result<Made, QueryError> {
        let issued_s = self.now_ms / 1000;
        let expires_s = issued_s.saturating_add(duration_s).min(ends_s.unwrap_or(u64::MAX));
        let claims = SessionClaims { issued_s, expires_s, ..claims };
        let percent = claims.packed_percent();
        let too_large = |_: MintFault| StsFault::PackedPolicyTooLarge { percent };
        let credentials = mint(&claims, self.key, &mut || (self.random)()).map_err(too_large)?;
        Ok(Made { credentials, claims, packed: is_narrowed.then_some(percent) })
    }

    /// GetSessionToken: a session with all rights of a user or of root.
    fn session_token(&self, form: &Form, origin: Origin) -> Result<Made, QueryError> {
        if origin.is_session {
            return Err(StsFault::OfSession("Cannot call GetSessionToken with session credentials").into());
        }
        let asked_s = duration(form, USER_SESSION_S_MAX)?.unwrap_or(USER_SESSION_S);
        let duration_s = match origin.claims.holder {
            Holder::Root { .. } => asked_s.min(ROOT_SESSION_S_MAX),
            Holder::User { .. } | Holder::Web { .. } => asked_s,
        };
        self.make(origin.claims, duration_s, origin.ends_s, false)
    }

    /// AssumeRoleWithWebIdentity and its like, for what a verified token says.
    fn web_session(&self, request: RoleRequest, web: SessionClaims) -> Result<Made, QueryError> {
        // Anybody may ask for these: what needs a permission is not theirs.
        let request = RoleRequest { tags: Vec::new(), source: None, ..request };
        request.assume(Origin { claims: web, ends_s: None, is_session: false }, self)
    }
}

/// The role that a form names, or one for who names none.
fn role_arn(form: &Form, account: &str) -> String {
    match form.get("RoleArn").filter(|arn| !arn.is_empty()) {
        Some(arn) => arn.to_owned(),
        None => format!("arn:aws:iam::{account}:role/{NO_ROLE}"),
    }
}

/// Its ARN and its name, if it is one of this account.
fn role_of(form: &Form, model: &Model) -> Result<(String, String), QueryError> {
    let arn = role_arn(form, model.account());
    let name = role_name(&arn, model.account())?;
    Ok((arn, name))
}

/// The role's name, of an ARN of this account.
fn role_name(arn: &str, account: &str) -> Result<String, QueryError> {
    let invalid = |why: &str| QueryError::Invalid { name: "RoleArn", why: why.to_owned() };
    if ROLE_ARN_BYTES_MAX < arn.len() {
        return Err(invalid("must have at most 2048 characters"));
    }
    let rest = arn.strip_prefix("arn:aws:iam::").ok_or_else(|| invalid("must be an ARN of a role"))?;
    let (owner, path) = rest.split_once(":role/").ok_or_else(|| invalid("must be an ARN of a role"))?;
    let name = path.rsplit('/').next().unwrap_or_default();
    let fits = |text: &str, more: &str| {
        text.bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b) || more.as_bytes().contains(&b))
    };
    if name.is_empty() || 64 < name.len() || !fits(path, "/") {
        return Err(invalid("must be an ARN of a role"));
    }
    if owner != account {
        return Err(invalid(&format!("must be an ARN of a role of the account {account}")));
    }
    Ok(name.to_owned())
}

/// A name of a session or of a source, as AWS has it.
fn check_name<'a>(field: &'static str, name: &'a str) -> Result<&'a str, QueryError> {
    let invalid = |why: &str| QueryError::Invalid { name: field, why: why.to_owned() };
    if !(2..=64).contains(&name.len()) {
        return Err(invalid("must have length between 2 and 64"));
    }
    let fits = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b));
    if fits { Ok(name) } else { Err(invalid("must satisfy regular expression pattern: [\\w+=,.@-]*")) }
}

fn duration(form: &Form, max_s: u64) -> Result<Option<u64>, QueryError> {
    let Some(text) = form.get("DurationSeconds") else { return Ok(None) };
    let invalid = |why: String| QueryError::Invalid { name: "DurationSeconds", why };
    let seconds: u64 = text.parse().map_err(|_| invalid("must be a number".to_owned()))?;
    match seconds {
        _ if seconds < SESSION_S_MIN => {
            Err(invalid(format!("must have value greater than or equal to {SESSION_S_MIN}")))
        }
        _ if max_s < seconds => Err(invalid(format!("must have value less than or equal to {max_s}"))),
        _ => Ok(Some(seconds)),
    }
}

/// What `Policy` and `PolicyArns` narrow a session to; `None` without either.
fn policy_of(form: &Form, model: &Model) -> Result<Option<SessionPolicy>, QueryError> {
    let inline = match form.get("Policy") {
        None => None,
        // A policy that came out empty is not the same as none.
        Some("") => {
            let why = "must have length greater than or equal to 1".to_owned();
            return Err(QueryError::Invalid { name: "Policy", why });
        }
        Some(text) if SESSION_POLICY_CHARS_MAX < text.chars().count() => {
            let why = format!("must have length less than or equal to {SESSION_POLICY_CHARS_MAX}");
            return Err(QueryError::Invalid { name: "Policy", why });
        }
        Some(text) => {
            let refused = |error: PolicyError| QueryError::Fault(Fault::MalformedPolicyDocument(error));
            Policy::parse(text, PolicyKind::Session, "session", model.account()).map_err(refused)?;
            Some(without_blanks(text))
        }
    };
    let invalid = |why: String| QueryError::Invalid { name: "PolicyArns", why };
    if form.get("PolicyArns").is_some() {
        return Err(invalid("must have at least 1 member".to_owned()));
    }
    let mut managed: Vec<String> = Vec::new();
    for [arn] in form.structures("PolicyArns", ["arn"]) {
        let arn = arn.unwrap_or_default();
        let name = model.policy(arn).as_ref().map(Attachable::name);
        let name = name.ok_or_else(|| invalid(format!("must name policies that exist: {arn}")))?;
        if managed.len() == SESSION_POLICY_NAMES_MAX {
            return Err(invalid(format!("must have at most {SESSION_POLICY_NAMES_MAX} members")));
        }
        managed.push(name.to_owned());
    }
    let is_narrowed = inline.is_some() || !managed.is_empty();
    Ok(is_narrowed.then_some(SessionPolicy { inline, managed }))
}

/// A JSON text without what stands between its values: it says the same, letter for letter.
fn without_blanks(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let (mut in_text, mut escaped) = (false, false);
    for letter in json.chars() {
        if in_text || !letter.is_ascii_whitespace() {
            out.push(letter);
        }
        match letter {
            _ if escaped => escaped = false,
            '\\' if in_text => escaped = true,
            '"' => in_text = !in_text,
            _ => {}
        }
    }
    out
}

fn tags_of(form: &Form) -> Result<Vec<(String, String)>, QueryError> {
    let invalid = |why: &str| Err(QueryError::Invalid { name: "Tags", why: why.to_owned() });
    let mut tags: Vec<(String, String)> = Vec::new();
    for [key, value] in form.structures("Tags", ["Key", "Value"]) {
        let (key, value) = (key.unwrap_or_default(), value.unwrap_or_default());
        if tags.len() == SESSION_TAGS_MAX {
            return invalid("must have at most 50 members");
        }
        if !(1..=128).contains(&key.chars().count()) || 256 < value.chars().count() {
            return invalid("must have keys of 1 to 128 characters and values of at most 256");
        }
        if key.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("aws:")) {
            return invalid("must not have keys that begin with aws:");
        }
        if key.chars().chain(value.chars()).any(char::is_control) {
            return invalid("must not have control characters");
        }
        if tags.iter().any(|(known, _)| known.eq_ignore_ascii_case(key)) {
            return invalid("must not name a key twice");
        }
        tags.push((key.to_owned(), value.to_owned()));
    }
    Ok(tags)
}

// ---- answers ----

impl Made {
    fn answer(&self, xml: Bytes) -> Answer {
        let issued = self.claims.issued("session", Some(&self.credentials.access_key));
        Answer { xml, issued: Some(issued) }
    }

    /// The inside of AssumeRole's answer.
    fn assume_role(&self, account: &str) -> Bytes {
        Xml::fragment(|xml| {
            if let Some(source) = &self.claims.source {
                xml.text("SourceIdentity", source);
            }
            self.role(xml, account);
            self.keys(xml);
            self.packed(xml);
        })
    }

    /// The inside of AssumeRoleWithWebIdentity's answer.
    fn web_identity(&self, account: &str) -> Bytes {
        Xml::fragment(|xml| {
            if let Holder::Web { issuer, subject, audience, .. } = &self.claims.holder {
                xml.text("SubjectFromWebIdentityToken", subject);
                xml.text("Audience", audience);
                xml.text("Provider", issuer);
            }
            self.role(xml, account);
            self.keys(xml);
            self.packed(xml);
        })
    }

    /// The inside of AssumeRoleWithClientGrants's answer.
    fn client_grants(&self, account: &str) -> Bytes {
        Xml::fragment(|xml| {
            if let Holder::Web { subject, .. } = &self.claims.holder {
                xml.text("SubjectFromToken", subject);
            }
            self.role(xml, account);
            self.keys(xml);
            self.packed(xml);
        })
    }

    /// The inside of GetSessionToken's answer.
    fn session_token(&self) -> Bytes {
        Xml::fragment(|xml| self.keys(xml))
    }

    fn role(&self, xml: &mut Xml, account: &str) {
        let Some(RoleNames { role, session }) = &self.claims.role else { return };
        xml.open("AssumedRoleUser");
        xml.text("Arn", &format!("arn:aws:sts::{account}:assumed-role/{role}/{session}"));
        xml.text("AssumedRoleId", &self.claims.assumed_role_id(account).unwrap_or_default());
        xml.close("AssumedRoleUser");
    }

    fn keys(&self, xml: &mut Xml) {
        xml.open("Credentials");
        xml.text("AccessKeyId", &self.credentials.access_key);
        xml.text("SecretAccessKey", &self.credentials.secret_key);
        xml.text("SessionToken", &self.credentials.session_token);
        xml.text("Expiration", &iso_8601(self.credentials.expires_s * 1000));
        xml.close("Credentials");
    }

    fn packed(&self, xml: &mut Xml) {
        if let Some(percent) = self.packed {
            xml.number("PackedPolicySize", percent as u64);
        }
    }
}

/// The inside of GetCallerIdentity's answer.
fn caller_identity(arn: &str, user_id: &str, account: &str) -> Bytes {
    Xml::fragment(|xml| {
        xml.text("Arn", arn);
        xml.text("UserId", user_id);
        xml.text("Account", account);
    })
}

/// The inside of GetAccessKeyInfo's answer.
fn access_key_info(account: &str) -> Bytes {
    Xml::fragment(|xml| xml.text("Account", account))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::session::{SessionFault, TableScope, open};

    const ACCOUNT: &str = "123456789012";
    const NOW_MS: u64 = 1_700_000_000_000;
    const NOW_S: u64 = NOW_MS / 1000;
    const POLICY: &str = r#"{ "Version": "2012-10-17", "Statement": [ { "Effect": "Allow", "Action": "s3:GetObject", "Resource": "*" } ] }"#;

    fn key() -> TokenKey {
        TokenKey::new([7; 32])
    }

    fn form(fields: &[(&str, &str)]) -> Form {
        let escape = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
        let pairs: Vec<String> =
            fields.iter().map(|(name, value)| format!("{name}={}", escape(value))).collect();
        Form::parse(pairs.join("&").as_bytes()).expect("a form")
    }

    fn user() -> Origin {
        Origin {
            claims: SessionClaims {
                holder: Holder::User { id: "AIDA".to_owned(), key: Some("NILASKEY".to_owned()) },
                role: None,
                issued_s: 0,
                expires_s: 0,
                epoch: 5,
                policies: Vec::new(),
                table: None,
                source: None,
                tags: Vec::new(),
            },
            ends_s: None,
            is_session: false,
        }
    }

    /// With root's claims in place of the user's.
    fn root() -> Origin {
        let claims = SessionClaims { holder: Holder::Root { key: "ROOT".to_owned() }, ..user().claims };
        Origin { claims, ..user() }
    }

    /// Who holds a session that was made.
    fn holder_of(made: &Made) -> Origin {
        Origin { claims: made.claims.clone(), ends_s: Some(made.claims.expires_s), is_session: true }
    }

    fn with<T>(run: impl FnOnce(&Mint<'_>) -> T) -> T {
        let model = Model::empty(ACCOUNT);
        let drawn = std::cell::Cell::new(1_u128);
        let random = || {
            drawn.set(drawn.get().wrapping_mul(0x2545_F491_4F6C_DD1D_9E37_79B9_7F4A_7C15).wrapping_add(1));
            drawn.get()
        };
        run(&Mint { model: &model, key: &key(), now_ms: NOW_MS, random: &random })
    }

    fn assume(fields: &[(&str, &str)], origin: Origin) -> Result<Made, QueryError> {
        let form = form(fields);
        check_fields(Operation::AssumeRole, &form)?;
        with(|mint| {
            let (role_arn, role) = role_of(&form, mint.model)?;
            RoleRequest::read(&form, mint.model, role_arn, role)?.assume(origin, mint)
        })
    }

    fn code(error: &QueryError) -> &'static str {
        error.code().0
    }

    #[test]
    fn a_role_of_this_account_is_a_name() {
        let check = |arn: &str, want: Result<&str, &str>| {
            let got = assume(&[("RoleArn", arn), ("RoleSessionName", "me")], user());
            let got = got.map(|made| made.claims.role.expect("a role").role).map_err(|e| code(&e).to_owned());
            assert_eq!(got.as_deref().map_err(String::as_str), want, "{arn}");
        };
        check("arn:aws:iam::123456789012:role/reader", Ok("reader"));
        check("arn:aws:iam::123456789012:role/team/a/reader", Ok("reader"));
        check("", Ok("self"));
        let wrong = Err("ValidationError");
        for arn in [
            "reader",
            "arn:aws:iam::123456789013:role/reader",
            "arn:aws:iam:::role/reader",
            "arn:aws:iam::123456789012:user/reader",
            "arn:aws:iam::123456789012:role/",
            "arn:aws:iam::123456789012:role/a b",
            "arn:aws:iam::123456789012:role/<x>",
            &format!("arn:aws:iam::123456789012:role/{}", "x".repeat(65)),
            &format!("arn:aws:iam::123456789012:role/{}/x", "y".repeat(2_100)),
        ] {
            check(arn, wrong);
        }
        let named = |name: &str| assume(&[("RoleSessionName", name)], user()).map(drop).map_err(|e| code(&e));
        for name in ["ab", "a.b@c,d=e+f-g_h", &"x".repeat(64)] {
            assert_eq!(named(name), Ok(()), "{name}");
        }
        for name in ["a", &"x".repeat(65), "a b", "a/b", "a:b", "ää"] {
            assert_eq!(named(name), wrong.map(drop), "{name}");
        }
    }

    #[test]
    fn durations() {
        let check = |seconds: &str, origin: Origin, want: Result<u64, &str>| {
            let got = assume(&[("DurationSeconds", seconds)], origin);
            assert_eq!(
                got.map(|made| made.claims.expires_s - NOW_S).map_err(|e| code(&e)),
                want,
                "{seconds}"
            );
        };
        let session = || Origin { is_session: true, ends_s: Some(NOW_S + 1_800), ..user() };
        check("900", user(), Ok(900));
        check("43200", user(), Ok(43_200));
        for wrong in ["899", "43201", "-1", "x", "", "1e3", "99999999999999999999"] {
            check(wrong, user(), Err("ValidationError"));
        }
        check("900", session(), Ok(900));
        check("3600", session(), Ok(1_800));
        check("3601", session(), Err("ValidationError"));
        check("3600", Origin { ends_s: Some(NOW_S + 60), ..user() }, Ok(60));
        let token = |seconds: Option<&str>, origin: Origin| {
            let fields: Vec<_> = seconds.iter().map(|text| ("DurationSeconds", *text)).collect();
            let got = with(|mint| mint.session_token(&form(&fields), origin));
            got.map(|made| made.claims.expires_s - NOW_S).map_err(|e| code(&e))
        };
        assert_eq!(token(None, user()), Ok(43_200));
        assert_eq!(token(Some("129600"), user()), Ok(129_600));
        assert_eq!(token(Some("129601"), user()), Err("ValidationError"));
        assert_eq!(token(None, root()), Ok(3_600));
        assert_eq!(token(Some("900"), root()), Ok(900));
        assert_eq!(token(None, session()), Err("AccessDenied"));
    }

    #[test]
    fn a_session_of_a_session_is_narrower() {
        let canned = "arn:aws:iam::aws:policy/readwrite";
        let first = assume(&[("Policy", POLICY), ("RoleSessionName", "one")], user()).expect("made");
        let second =
            assume(&[("PolicyArns.member.1.arn", canned)], holder_of(&first)).expect("made of the first");
        assert_eq!(second.claims.holder, user().claims.holder);
        assert_eq!(second.claims.epoch, 5);
        let inline = SessionPolicy { inline: Some(without_blanks(POLICY)), managed: Vec::new() };
        let managed = SessionPolicy { inline: None, managed: vec!["readwrite".to_owned()] };
        assert_eq!(second.claims.policies, [inline.clone(), managed]);
        let plain = assume(&[], holder_of(&second)).expect("made of the second");
        assert_eq!(plain.claims.policies, second.claims.policies);
        let mut last = first;
        for _ in 1..crate::limits::SESSION_POLICIES_MAX {
            last = assume(&[("Policy", POLICY)], holder_of(&last)).expect("few enough");
        }
        let beyond = assume(&[("Policy", POLICY)], holder_of(&last)).expect_err("too many");
        assert_eq!(code(&beyond), "PackedPolicyTooLarge");
        let table = TableScope {
            warehouse: "w".to_owned(),
            table: "u".to_owned(),
            prefix: "p/".to_owned(),
            writes: true,
            names: None,
        };
        let vended = SessionClaims { table: Some(table), ..user().claims };
        let refused = assume(&[], Origin { claims: vended, ..user() }).expect_err("vended");
        assert_eq!(code(&refused), "AccessDenied");
    }

    #[test]
    fn what_narrows_is_read() {
        let check = |fields: &[(&str, &str)], want: Result<Option<usize>, &str>| {
            let got = assume(fields, user());
            let got = got.map(|made| made.packed.map(|_| made.claims.policies.len())).map_err(|e| code(&e));
            assert_eq!(got, want, "{fields:?}");
        };
        check(&[], Ok(None));
        check(&[("Policy", "")], Err("ValidationError"));
        let canned = "arn:aws:iam::aws:policy/readonly";
        for name in [
            "PolicyArns",
            "PolicyArns.1.arn",
            "PolicyArns.member.1",
            "PolicyArns.member.1.Arn",
            "PolicyArns.member.0.arn",
            "PolicyArns.member.01.arn",
            "PolicyArns.member.2.arn",
            "PolicyArn.member.1.arn",
            "policyArns.member.1.arn",
            "Policies",
            "policy",
        ] {
            check(&[(name, canned)], Err("ValidationError"));
            check(&[("Policy", POLICY), (name, canned)], Err("ValidationError"));
        }
        check(&[("PolicyArns", "")], Err("ValidationError"));
        check(&[("Policy", POLICY)], Ok(Some(1)));
        check(
            &[("Policy", POLICY), ("PolicyArns.member.1.arn", "arn:aws:iam::aws:policy/admin")],
            Ok(Some(1)),
        );
        check(&[("Policy", "{")], Err("MalformedPolicyDocument"));
        let long = format!("{POLICY}{}", " ".repeat(2_048));
        check(&[("Policy", &long)], Err("ValidationError"));
        check(&[("PolicyArns.member.1.arn", "arn:aws:iam::aws:policy/no")], Err("ValidationError"));
        check(&[("PolicyArns.member.1.arn", "readwrite")], Err("ValidationError"));
        let names: Vec<String> = (1..=11).map(|nth| format!("PolicyArns.member.{nth}.arn")).collect();
        let eleven: Vec<_> =
            names.iter().map(|name| (name.as_str(), "arn:aws:iam::aws:policy/readwrite")).collect();
        check(&eleven, Err("ValidationError"));
        check(&eleven[..10], Ok(Some(1)));
        assert_eq!(
            without_blanks(r#" { "a b" : "c\" d" , "e\\" : [ 1 ] } "#),
            r#"{"a b":"c\" d","e\\":[1]}"#
        );
    }

    #[test]
    fn tags_and_sources() {
        let check = |fields: &[(&str, &str)], origin: Origin, want: Result<usize, &str>| {
            let got = assume(fields, origin).map(|made| made.claims.tags.len()).map_err(|e| code(&e));
            assert_eq!(got, want, "{fields:?}");
        };
        let one = [("Tags.member.1.Key", "team"), ("Tags.member.1.Value", "a")];
        check(&one, user(), Ok(1));
        check(&[("Tags.member.1.Key", "team")], user(), Ok(1));
        for key in ["aws:x", "AWS:x", "", &"k".repeat(129), "a\nb"] {
            check(&[("Tags.member.1.Key", key)], user(), Err("ValidationError"));
        }
        check(&[one[0], ("Tags.member.2.Key", "TEAM")], user(), Err("ValidationError"));
        check(&[("Tags", ""), ("TransitiveTagKeys", "")], user(), Ok(0));
        check(&[one[0], one[1], ("TransitiveTagKeys.member.1", "team"), ("ExternalId", "x")], user(), Ok(1));
        for name in ["Tags.1.Key", "Tags.member.2.Key", "Tags.member.1.key", "TransitiveTagKeys.member.2"] {
            check(&[(name, "team")], user(), Err("ValidationError"));
        }
        let first = assume(&one, user()).expect("made");
        check(&[], holder_of(&first), Ok(1));
        check(&[("Tags.member.1.Key", "more")], holder_of(&first), Ok(2));
        check(&[("Tags.member.1.Key", "Team")], holder_of(&first), Err("ValidationError"));
        let source = |name: &str, origin: Origin| {
            let got = assume(&[("SourceIdentity", name)], origin);
            got.map(|made| made.claims.source).map_err(|e| code(&e))
        };
        assert_eq!(source("alice", user()), Ok(Some("alice".to_owned())));
        assert_eq!(source("a", user()), Err("ValidationError"));
        let alice = assume(&[("SourceIdentity", "alice")], user()).expect("made");
        assert_eq!(source("alice", holder_of(&alice)), Ok(Some("alice".to_owned())));
        assert_eq!(source("bob", holder_of(&alice)), Err("AccessDenied"));
        let large: Vec<(String, String)> =
            (1..=50).map(|n| (format!("Tags.member.{n}.Key"), format!("{n}{}", "x".repeat(100)))).collect();
        let large: Vec<_> = large.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        check(&large, user(), Err("PackedPolicyTooLarge"));
    }

    #[test]
    fn web_identities() {
        let holder = Holder::Web {
            issuer: "https://i".to_owned(),
            subject: "alice".to_owned(),
            audience: "a".to_owned(),
            policies: vec!["readwrite".to_owned()],
        };
        let web = SessionClaims { holder, epoch: 9, expires_s: NOW_S + 10, ..user().claims };
        // Tags and sources need a permission, and nobody was asked.
        let form = form(&[("Tags.member.1.Key", "team"), ("SourceIdentity", "alice"), ("Policy", POLICY)]);
        let made = with(|mint| {
            let (role_arn, role) = role_of(&form, mint.model)?;
            mint.web_session(RoleRequest::read(&form, mint.model, role_arn, role)?, web.clone())
        });
        let made = made.expect("made");
        assert_eq!((made.claims.epoch, made.claims.expires_s), (9, NOW_S + 3_600));
        assert_eq!((made.claims.tags.len(), &made.claims.source, made.claims.policies.len()), (0, &None, 1));
        assert_eq!(made.claims.holder, web.holder);
        // They have no such fields.
        for (operation, token) in [
            (Operation::AssumeRoleWithWebIdentity, "WebIdentityToken"),
            (Operation::AssumeRoleWithClientGrants, "Token"),
        ] {
            assert_eq!(check_fields(operation, &self::form(&[(token, "t"), ("Policy", POLICY)])), Ok(()));
            for name in ["Tags.member.1.Key", "SourceIdentity", "PolicyArns.member.2.arn", "policy"] {
                let refused = check_fields(operation, &self::form(&[(token, "t"), (name, "x")]));
                assert_eq!(refused.map_err(|e| code(&e)), Err("ValidationError"), "{operation:?} {name}");
            }
        }
        let faults = [
            (OidcFault::Token(TokenFault::Expired), "ExpiredTokenException"),
            (OidcFault::Token(TokenFault::Policies), "IDPRejectedClaim"),
            (OidcFault::Token(TokenFault::Signature), "InvalidIdentityToken"),
            (OidcFault::Token(TokenFault::Claim("sub")), "InvalidIdentityToken"),
            (OidcFault::Unreachable, "IDPCommunicationError"),
            (OidcFault::Busy, "IDPCommunicationError"),
        ];
        for (fault, want) in faults {
            assert_eq!(code(&QueryError::from(fault.clone())), want, "{fault:?}");
        }
    }

    #[test]
    fn answers() {
        let made = assume(&[("Policy", POLICY), ("RoleSessionName", "me")], user()).expect("made");
        let keys = &made.credentials;
        let opened = open(&keys.session_token, &keys.access_key, &key(), NOW_MS).expect("ours");
        assert_eq!((&opened.claims, &opened.secret_key), (&made.claims, &keys.secret_key));
        let over = open(&keys.session_token, &keys.access_key, &key(), NOW_MS + 3_600_000);
        assert_eq!(over, Err(SessionFault::Expired));
        let text = String::from_utf8(made.assume_role(ACCOUNT).to_vec()).expect("UTF-8");
        let id = made.claims.assumed_role_id(ACCOUNT).expect("of a role");
        assert_eq!(id.len(), "AROA".len() + 17 + ":me".len());
        let other = Origin {
            claims: SessionClaims {
                holder: Holder::User { id: "AIDB".to_owned(), key: None },
                ..user().claims
            },
            ..user()
        };
        let other = assume(&[("RoleSessionName", "me")], other).expect("made");
        assert_ne!(other.claims.assumed_role_id(ACCOUNT), Some(id.clone()), "it is the user's own");
        for part in [
            &format!("<Arn>arn:aws:sts::{ACCOUNT}:assumed-role/self/me</Arn>"),
            &format!("<AssumedRoleId>{id}</AssumedRoleId>"),
            &format!("<AccessKeyId>{}</AccessKeyId>", keys.access_key),
            &"<Expiration>2023-11-14T23:13:20.000Z</Expiration>".to_owned(),
            &"<PackedPolicySize>".to_owned(),
        ] {
            assert!(text.contains(part.as_str()), "{part} {text}");
        }
        let plain = String::from_utf8(made.session_token().to_vec()).expect("UTF-8");
        assert!(plain.starts_with("<Credentials>") && plain.ends_with("</Credentials>"), "{plain}");
    }
}
