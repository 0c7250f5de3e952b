//! Who sent a request: an access key, with a session token or without, and all that binds what it may do.
//!
//! The verification asks [`Senders`] for secrets, the gateway for the [`Sender`] behind a right signature, and the
//! authorizer judges by it. One [`Senders`] per core.
//! I1. A sender is made of one snapshot of the model and judged by it to the end of its request: never by a mixture.
//! I2. A change of the model is in force for every request that is looked up after it was published. I3. Tables are
//! bounded and hold nothing that is not in the snapshot or sealed in a token.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use nilas_catalog::access::{KeptPrincipal, VendRequest, Vended};
use nilas_engine::rt;
use sha2::{Digest as _, Sha256};

use crate::audit::Decisions;
use crate::auth::{KeyFault, KeyStore};
use crate::generations::Generations;
use crate::identity::IdentityStore;
use crate::identity::bearer::{ClientKey, Clients};
use crate::identity::model::{AccessKey, LastUse, Model, User, owner_id};
use crate::identity::oidc::jwt::TokenFault;
use crate::identity::oidc::{Issuer, OidcFault};
use crate::identity::policy::{Policy, PolicyKind, PolicySet, PrincipalNames};
use crate::identity::root_key::RootKey;
use crate::identity::seal::SealKeys;
use crate::identity::session::{
    self, Holder, Holders, Session, SessionClaims, SessionFault, SessionPolicy, TableScope, TokenKey,
    open_bearer,
};
use crate::limits::{OIDC_KEYS_LIFE_MS, OIDC_SKEW_S, SENDERS_MAX, SESSIONS_OPEN_MAX, VENDED_LIFE_S};

/// What kind of sender it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SenderKind {
    /// Holds the root key.
    Root,
    /// Holds an access key of a user.
    User,
    /// Holds a session.
    Session,
    /// Showed nothing, or was not asked to.
    Anonymous,
}

impl SenderKind {
    /// Its name in logs and answers.
    pub fn name(self) -> &'static str {
        match self {
            SenderKind::Root => "root",
            SenderKind::User => "user",
            SenderKind::Session => "session",
            SenderKind::Anonymous => "anonymous",
        }
    }
}

/// What a sender may do at most, before buckets' policies and what narrows it.
#[derive(Clone, Debug)]
pub enum Rights {
    /// Root: everything.
    Everything,
    /// What these allow.
    Policies(Arc<PolicySet>),
    /// Nothing of its own.
    Nothing,
}

/// The sender of a request.
#[derive(Clone, Debug)]
pub struct Sender {
    /// What kind it is.
    pub kind: SenderKind,
    /// The access key whose secret was proven; empty when none was.
    pub access_key: Box<str>,
    secret: Option<Arc<str>>,
    token: Option<Box<str>>,
    /// Where the use of a user's key is written down.
    pub(crate) last_use: Option<Arc<LastUse>>,
    /// The user whose key it is, or who holds the session.
    pub user: Option<Arc<User>>,
    /// `root`, the user's name, or empty for who has none.
    pub name: Box<str>,
    /// `aws:userid`.
    pub user_id: Box<str>,
    /// How answers and logs name it.
    pub arn: Box<str>,
    /// The ARNs by which policies may name it. Those of roles are not among them: any name of a role can be assumed.
    pub arns: Box<[Box<str>]>,
    /// By which S3 names owners.
    pub owner_id: Box<str>,
    /// What it may do at most.
    pub rights: Rights,
    /// Each of these must allow as well: the access key's own policy, those of a session.
    pub limits: Vec<Arc<PolicySet>>,
    /// The table whose files a vended session is for, and nothing else.
    pub table: Option<TableScope>,
    /// The name of the session, and of the role it is in.
    pub role: Option<session::RoleNames>,
    /// The issuer of a web identity.
    pub issuer: Option<Box<str>>,
    /// Session tags.
    pub tags: Vec<(String, String)>,
    /// `SourceIdentity`.
    pub source_identity: Option<Box<str>>,
    /// What the session's token says.
    pub claims: Option<Arc<SessionClaims>>,
    /// When the session was made, in milliseconds since 1970.
    pub issued_ms: Option<u64>,
    /// When the key or session ends, in milliseconds since 1970.
    pub expires_ms: Option<u64>,
    /// The snapshot that it is of.
    pub model: Arc<Model>,
}

impl Sender {
    /// The names by which a bucket's policy knows it, for `arns` borrowed from [`Sender::arns`].
    pub(crate) fn names<'a>(&'a self, arns: &'a [&'a str]) -> PrincipalNames<'a> {
        PrincipalNames {
            anonymous: self.kind == SenderKind::Anonymous,
            arns,
            user_id: self.user.as_ref().map_or("", |user| &user.id),
            canonical_id: &self.owner_id,
            account: self.model.account(),
        }
    }

    /// Whether it is the holder of the root key, or a session of that.
    pub(crate) fn is_of_root(&self) -> bool {
        let held = self.claims.as_ref().map(|claims| matches!(claims.holder, Holder::Root { .. }));
        held.unwrap_or(self.kind == SenderKind::Root)
    }

    /// What the token of a session says that is made by this sender, and lets it do all that the sender may: to be narrowed, and
    /// given its times. `None` for nobody in particular.
    pub fn session_claims(&self) -> Option<SessionClaims> {
        let (holder, epoch) = match (&self.claims, self.kind, &self.user) {
            (Some(claims), ..) => return Some((**claims).clone()),
            (None, SenderKind::Root, _) => {
                (Holder::Root { key: self.access_key.to_string() }, self.model.facts().root_session_epoch)
            }
            (None, SenderKind::User, Some(user)) => {
                let key = Some(self.access_key.to_string()).filter(|key| !key.is_empty());
                (Holder::User { id: user.id.clone(), key }, user.session_epoch)
            }
            _ => return None,
        };
        Some(SessionClaims {
            holder,
            role: None,
            issued_s: 0,
            expires_s: 0,
            epoch,
            policies: Vec::new(),
            table: None,
            source: None,
            tags: Vec::new(),
        })
    }

    /// As whom it is kept with work that goes on when its request has ended. A session is not kept: what narrows it ends with
    /// the request.
    pub fn kept(&self) -> KeptPrincipal {
        match (self.kind, &self.user) {
            (SenderKind::Root, _) => {
                KeptPrincipal { kind: self.kind.name().to_owned(), ..KeptPrincipal::default() }
            }
            (SenderKind::User, Some(user)) => KeptPrincipal {
                kind: self.kind.name().to_owned(),
                id: user.id.clone(),
                access_key: self.access_key.to_string(),
            },
            _ => KeptPrincipal::default(),
        }
    }

    /// Nobody in particular.
    pub fn anonymous(model: Arc<Model>) -> Sender {
        Sender {
            kind: SenderKind::Anonymous,
            access_key: "".into(),
            secret: None,
            token: None,
            last_use: None,
            user: None,
            name: "".into(),
            user_id: "anonymous".into(),
            arn: "*".into(),
            arns: Box::default(),
            owner_id: ANONYMOUS_OWNER.into(),
            rights: Rights::Nothing,
            limits: Vec::new(),
            table: None,
            role: None,
            issuer: None,
            tags: Vec::new(),
            source_identity: None,
            claims: None,
            issued_ms: None,
            expires_ms: None,
            model,
        }
    }

    /// The holder of the root key.
    pub fn root(model: Arc<Model>, root_key: &RootKey) -> Sender {
        let arn = root_arn(&model);
        Sender {
            kind: SenderKind::Root,
            access_key: root_key.access_key().into(),
            secret: Some(root_key.secret_key().into()),
            name: "root".into(),
            user_id: model.account().into(),
            arns: [arn.clone()].into(),
            arn,
            owner_id: owner_id(model.account(), "root").into(),
            rights: Rights::Everything,
            ..Sender::anonymous(model)
        }
    }

    /// A user, by no key in particular: as whom a policy is tried out.
    pub fn user(model: Arc<Model>, user: &Arc<User>) -> Sender {
        let arn: Box<str> = model.user_arn(user).into();
        Sender {
            kind: SenderKind::User,
            name: user.name.as_str().into(),
            user_id: user.id.as_str().into(),
            arns: [arn.clone()].into(),
            arn,
            owner_id: user.owner_id.as_str().into(),
            rights: match user.is_enabled {
                true => Rights::Policies(model.policies_of(user)),
                false => Rights::Nothing,
            },
            user: Some(user.clone()),
            ..Sender::anonymous(model)
        }
    }

    /// The holder of an access key of a user.
    pub fn of_key(model: Arc<Model>, user: &Arc<User>, key: &AccessKey) -> Sender {
        Sender {
            access_key: key.id.as_str().into(),
            secret: Some(key.secret.expose().into()),
            last_use: Some(key.last_use.clone()),
            limits: key.policy.iter().map(|policy| Arc::new(PolicySet::new([policy.clone()]))).collect(),
            expires_ms: key.expires_ms,
            ..Sender::user(model, user)
        }
    }
}

/// The canonical id that AWS gives to everybody.
const ANONYMOUS_OWNER: &str = "65a011a29cdf8ec533ec3d1ccaae921c";

fn root_arn(model: &Model) -> Box<str> {
    format!("arn:aws:iam::{}:root", model.account()).into()
}

/// An opened session token, with what narrows it compiled.
#[derive(Debug)]
struct OpenSession {
    session: Session,
    /// Inline policies of the token, by narrowing; `None` where there is none.
    inline: Vec<Option<Arc<Policy>>>,
}

/// Finds the senders of one core.
pub(crate) struct Senders {
    pub(crate) store: IdentityStore,
    pub(crate) root_key: RootKey,
    pub(crate) session_key: TokenKey,
    pub(crate) bearer_key: TokenKey,
    /// The issuer whose web identities are known.
    pub(crate) issuer: Option<Arc<Issuer>>,
    known: RefCell<Known>,
    sessions: RefCell<Generations<Rc<OpenSession>>>,
    /// What tokens of the issuer say that were verified, by their hash.
    web: RefCell<Generations<Rc<Web>>>,
}

/// What a token of the issuer says.
struct Web {
    claims: SessionClaims,
    /// When it was verified, in milliseconds since 1970.
    verified_ms: u64,
}

/// Senders of one snapshot.
struct Known {
    model: Arc<Model>,
    /// By access key.
    senders: Generations<Rc<Sender>>,
    /// By the hash of a bearer token.
    bearers: Generations<Rc<Sender>>,
}

impl Senders {
    pub(crate) fn new(
        store: IdentityStore,
        root_key: RootKey,
        keys: &SealKeys,
        issuer: Option<Arc<Issuer>>,
    ) -> Senders {
        let known = Known {
            model: store.current(),
            senders: Generations::new(SENDERS_MAX),
            bearers: Generations::new(SESSIONS_OPEN_MAX),
        };
        Senders {
            store,
            root_key,
            session_key: keys.session_key().clone(),
            bearer_key: keys.bearer_key().clone(),
            issuer,
            known: RefCell::new(known),
            sessions: RefCell::new(Generations::new(SESSIONS_OPEN_MAX)),
            web: RefCell::new(Generations::new(SESSIONS_OPEN_MAX)),
        }
    }

    /// Who holds keys and tokens now.
    pub(crate) fn standing(&self) -> Standing<'_> {
        Standing { model: self.store.current(), senders: self }
    }

    /// Nobody in particular, in the newest snapshot.
    pub(crate) fn anonymous(&self) -> Rc<Sender> {
        Rc::new(Sender::anonymous(self.store.current()))
    }

    /// Who holds `access_key` with `token`, or without one.
    pub(crate) fn find(
        &self,
        access_key: &str,
        token: Option<&str>,
        now_ms: u64,
    ) -> Result<Rc<Sender>, KeyFault> {
        let model = self.newest();
        let mut known = self.known.borrow_mut();
        if let Some(sender) = known.senders.get(access_key).filter(|known| known.token.as_deref() == token) {
            return in_time(sender.clone(), now_ms);
        }
        let sender = Rc::new(match token {
            None => self.lasting(model, access_key)?,
            Some(token) => self.of_token(model, access_key, token, now_ms)?,
        });
        let sender = in_time(sender, now_ms)?;
        known.senders.insert(access_key.into(), sender.clone());
        Ok(sender)
    }

    /// Who holds a bearer token. `None` for a token that can only be the issuer's and is not known yet: to be verified, and
    /// then kept by [`Senders::keep_web`].
    pub(crate) fn find_bearer(&self, token: &str, now_ms: u64) -> Result<Option<Rc<Sender>>, KeyFault> {
        let model = self.newest();
        // Tokens of ours are short, those of an issuer are not, and both are what somebody sent.
        let name = digest(token);
        // A key may have been withdrawn since: such a token is verified again as often as the keys are read again.
        let is_ours = !token.contains('.');
        let web = (!is_ours).then(|| self.web.borrow_mut().get(&name).cloned()).flatten();
        let web = web.filter(|web| now_ms < web.verified_ms.saturating_add(OIDC_KEYS_LIFE_MS));
        if !is_ours && web.is_none() {
            return if self.issuer.is_some() { Ok(None) } else { Err(KeyFault::InvalidToken) };
        }
        if let Some(sender) = self.known.borrow_mut().bearers.get(&name) {
            return bearer_in_time(sender.clone(), now_ms).map(Some);
        }
        let claims = match web {
            // What is revoked is sessions: how long a token of its own stands is the issuer's to say.
            Some(web) => SessionClaims { epoch: model.facts().web_session_epoch, ..web.claims.clone() },
            None => open_bearer(token, &self.bearer_key, now_ms)?,
        };
        self.of_bearer(model, name, claims, now_ms).map(Some)
    }

    /// What a token of the issuer says, once it is verified, with the policies that exist now. Those that do not are noted.
    pub(crate) async fn verify_web(
        &self,
        token: &str,
        now_ms: u64,
        notes: &Decisions,
    ) -> Result<SessionClaims, OidcFault> {
        let issuer = self.issuer.as_ref().ok_or(OidcFault::Token(TokenFault::Issuer))?;
        let web = issuer.verify(token, now_ms).await?;
        let model = self.store.current();
        let knows = |name: &str| model.policy_named(name).is_some();
        let (claims, unknown) = web.into_claims(model.facts().web_session_epoch, now_ms / 1000, &knows);
        if !unknown.is_empty() {
            notes.remark(format!("policies of the token that do not exist: {}", unknown.join(", ")));
        }
        Ok(claims?)
    }

    /// Keeps what a token of the issuer says, which was verified, and finds who holds it.
    pub(crate) fn keep_web(
        &self,
        token: &str,
        claims: SessionClaims,
        now_ms: u64,
    ) -> Result<Rc<Sender>, KeyFault> {
        let claims = SessionClaims { expires_s: claims.expires_s.saturating_add(OIDC_SKEW_S), ..claims };
        let name = digest(token);
        let web = Web { claims: claims.clone(), verified_ms: now_ms };
        self.web.borrow_mut().insert(name.clone(), Rc::new(web));
        self.of_bearer(self.newest(), name, claims, now_ms)
    }

    /// The newest snapshot; senders of another are forgotten.
    fn newest(&self) -> Arc<Model> {
        let model = self.store.current();
        let mut known = self.known.borrow_mut();
        if !Arc::ptr_eq(&known.model, &model) {
            known.senders.clear();
            known.bearers.clear();
            known.model = model.clone();
        }
        model
    }

    /// Who is meant by the claims of a token that needs no signature.
    fn of_bearer(
        &self,
        model: Arc<Model>,
        name: Box<str>,
        claims: SessionClaims,
        now_ms: u64,
    ) -> Result<Rc<Sender>, KeyFault> {
        let access_key = match &claims.holder {
            Holder::User { key: Some(key), .. } | Holder::Root { key } => key.clone(),
            Holder::User { key: None, .. } | Holder::Web { .. } => String::new(),
        };
        let session = Session { access_key, secret_key: String::new(), claims };
        let open = compile(session, model.account()).ok_or(KeyFault::InvalidToken)?;
        let sender = Rc::new(self.of_session(model, &open, None, now_ms)?);
        let sender = bearer_in_time(sender, now_ms)?;
        self.known.borrow_mut().bearers.insert(name, sender.clone());
        Ok(sender)
    }

    /// Makes credentials for the files of one table: a session of the sender, that may no more than the sender, and nothing but
    /// that. `None` for who is nobody, and for whose token has no room for the table.
    pub(crate) fn vend(&self, sender: &Sender, wanted: &VendRequest<'_>, now_ms: u64) -> Option<Vended> {
        let mut claims = self.claims_of(sender, wanted, now_ms)?;
        let mint = |claims: &SessionClaims| session::mint(claims, &self.session_key, &mut rt::random_u128);
        let made = match mint(&claims) {
            Err(_) => {
                claims.table.as_mut()?.names = None;
                mint(&claims).ok()?
            }
            Ok(made) => made,
        };
        Some(Vended {
            access_key: made.access_key,
            secret_key: made.secret_key,
            session_token: made.session_token,
            expires_ms: made.expires_s * 1000,
        })
    }

    fn claims_of(&self, sender: &Sender, wanted: &VendRequest<'_>, now_ms: u64) -> Option<SessionClaims> {
        let (issued_s, expires_s) = (now_ms / 1000, now_ms / 1000 + VENDED_LIFE_S);
        let scope = TableScope {
            warehouse: wanted.warehouse.to_owned(),
            table: wanted.table_id.to_owned(),
            prefix: wanted.prefix.to_owned(),
            // Which of both is the sender's right, at each request.
            writes: wanted.writes || wanted.deletes,
            names: Some((wanted.namespace.to_owned(), wanted.table.to_owned())),
        };
        let narrowed = match (&sender.table, &sender.claims) {
            // A session for one table has no keys for another.
            (Some(own), _) if own.table != scope.table || own.warehouse != scope.warehouse => return None,
            (Some(own), _) => TableScope { writes: scope.writes && own.writes, ..scope },
            (None, _) => scope,
        };
        let ends_s = sender.expires_ms.map_or(expires_s, |ms| expires_s.min(ms / 1000));
        Some(SessionClaims { issued_s, expires_s: ends_s, table: Some(narrowed), ..sender.session_claims()? })
    }

    fn lasting(&self, model: Arc<Model>, access_key: &str) -> Result<Sender, KeyFault> {
        if access_key == self.root_key.access_key() {
            return Ok(Sender::root(model, &self.root_key));
        }
        let key = model.key(access_key).filter(|key| key.is_enabled).cloned().ok_or(KeyFault::Unknown)?;
        let user = model.user_by_id(&key.user).filter(|user| user.is_enabled).cloned();
        Ok(Sender::of_key(model, &user.ok_or(KeyFault::Unknown)?, &key))
    }

    fn of_token(
        &self,
        model: Arc<Model>,
        access_key: &str,
        token: &str,
        now_ms: u64,
    ) -> Result<Sender, KeyFault> {
        let mut sessions = self.sessions.borrow_mut();
        let known = sessions.get(token).filter(|open| open.session.access_key == access_key).cloned();
        let open = match known {
            Some(open) => open,
            None => {
                let session = session::open(token, access_key, &self.session_key, now_ms)?;
                let open = Rc::new(compile(session, model.account()).ok_or(KeyFault::InvalidToken)?);
                sessions.insert(token.into(), open.clone());
                open
            }
        };
        self.of_session(model, &open, Some(token), now_ms)
    }

    fn of_session(
        &self,
        model: Arc<Model>,
        open: &OpenSession,
        token: Option<&str>,
        now_ms: u64,
    ) -> Result<Sender, KeyFault> {
        let Session { access_key, secret_key, claims } = &open.session;
        // A session that ended with its key is over, and not void.
        if claims.expires_s.saturating_mul(1000) <= now_ms {
            return Err(KeyFault::ExpiredToken);
        }
        let standing = Standing { model: model.clone(), senders: self };
        claims.check_standing(&standing, now_ms)?;
        let mut limits = Vec::new();
        let holder = match &claims.holder {
            Holder::Root { .. } => Sender::root(model.clone(), &self.root_key),
            Holder::User { id, key } => {
                let user = model.user_by_id(id).cloned().ok_or(KeyFault::InvalidToken)?;
                match key.as_deref() {
                    Some(key) => {
                        let key = model.key(key).cloned().ok_or(KeyFault::InvalidToken)?;
                        Sender::of_key(model.clone(), &user, &key)
                    }
                    None => Sender::user(model.clone(), &user),
                }
            }
            // Its policies may be others than those that were lost.
            Holder::Web { .. } if !self.store.is_complete() => return Err(KeyFault::InvalidToken),
            Holder::Web { issuer, subject, policies, .. } => {
                let granted = policies.iter().filter_map(|name| model.policy_named(name));
                Sender {
                    user_id: format!("{issuer}:{subject}").into(),
                    arn: format!("arn:aws:sts::{}:federated-user/{subject}", model.account()).into(),
                    owner_id: owner_id(model.account(), &format!("web {issuer} {subject}")).into(),
                    rights: Rights::Policies(Arc::new(PolicySet::new(granted))),
                    issuer: Some(issuer.as_str().into()),
                    ..Sender::anonymous(model.clone())
                }
            }
        };
        limits.extend(holder.limits.iter().cloned());
        for (narrowing, inline) in claims.policies.iter().zip(&open.inline) {
            limits.push(Arc::new(narrowed(&model, narrowing, inline.as_ref())));
        }
        let arn = match &claims.role {
            Some(role) => {
                let (role, session) = (&role.role, &role.session);
                format!("arn:aws:sts::{}:assumed-role/{role}/{session}", model.account()).into()
            }
            None => holder.arn.clone(),
        };
        let user_id =
            claims.assumed_role_id(model.account()).map_or_else(|| holder.user_id.clone(), Into::into);
        Ok(Sender {
            kind: if token.is_none() && claims.role.is_none() && holder.issuer.is_none() {
                // A bearer token is its key in another form.
                holder.kind
            } else {
                SenderKind::Session
            },
            access_key: access_key.as_str().into(),
            secret: Some(secret_key.as_str().into()),
            token: token.map(Into::into),
            user_id,
            arn,
            limits,
            table: claims.table.clone(),
            role: claims.role.clone(),
            tags: claims.tags.clone(),
            source_identity: claims.source.as_deref().map(Into::into),
            claims: Some(Arc::new(claims.clone())),
            issued_ms: Some(claims.issued_s * 1000),
            expires_ms: Some(earlier(claims.expires_s * 1000, holder.expires_ms)),
            ..holder
        })
    }
}

impl KeyStore for Senders {
    fn secret(&self, access_key: &str, token: Option<&str>, now_ms: u64) -> Result<Arc<str>, KeyFault> {
        let sender = self.find(access_key, token, now_ms)?;
        sender.secret.clone().ok_or(KeyFault::Unknown)
    }
}

impl From<SessionFault> for KeyFault {
    fn from(fault: SessionFault) -> KeyFault {
        match fault {
            SessionFault::Expired => KeyFault::ExpiredToken,
            SessionFault::Invalid | SessionFault::Revoked => KeyFault::InvalidToken,
        }
    }
}

/// Who holds keys and tokens, in one snapshot.
pub(crate) struct Standing<'a> {
    model: Arc<Model>,
    senders: &'a Senders,
}

impl Holders for Standing<'_> {
    fn user_epoch(&self, user_id: &str) -> Option<u64> {
        self.model.user_by_id(user_id).filter(|user| user.is_enabled).map(|user| user.session_epoch)
    }

    fn key_stands(&self, access_key: &str, user_id: &str, now_ms: u64) -> bool {
        self.model.key(access_key).is_some_and(|key| key.user == user_id && key.is_valid(now_ms))
    }

    fn root(&self) -> (&str, u64) {
        (self.senders.root_key.access_key(), self.model.facts().root_session_epoch)
    }

    fn web(&self) -> Option<(&str, u64)> {
        self.senders.issuer.as_ref().map(|issuer| (issuer.url(), self.model.facts().web_session_epoch))
    }
}

impl Clients for Standing<'_> {
    fn client(&self, access_key: &str, now_ms: u64) -> Option<ClientKey> {
        let sender = self.senders.find(access_key, None, now_ms).ok()?;
        let claims = sender.session_claims()?;
        Some(ClientKey { secret: sender.secret.clone()?, holder: claims.holder, epoch: claims.epoch })
    }
}

/// Under which a bearer token is kept.
fn digest(token: &str) -> Box<str> {
    hex::encode(Sha256::digest(token)).into()
}

/// A session whose inline policies are read; `None` when one is none, which nobody sealed.
fn compile(session: Session, account: &str) -> Option<OpenSession> {
    let parse = |narrowing: &SessionPolicy| match narrowing.inline.as_deref() {
        Some(text) => {
            Policy::parse(text, PolicyKind::Session, "session", account).ok().map(|p| Some(Arc::new(p)))
        }
        None => Some(None),
    };
    let inline = session.claims.policies.iter().map(parse).collect::<Option<Vec<_>>>()?;
    Some(OpenSession { session, inline })
}

/// What one narrowing allows: its inline policy and the managed policies that it names, as they are now.
fn narrowed(model: &Model, narrowing: &SessionPolicy, inline: Option<&Arc<Policy>>) -> PolicySet {
    let managed = narrowing.managed.iter().filter_map(|name| model.policy_named(name));
    PolicySet::new(inline.cloned().into_iter().chain(managed))
}

fn earlier(one: u64, other: Option<u64>) -> u64 {
    other.map_or(one, |other| one.min(other))
}

/// The sender, unless its time is over. A key that has run out is as good as none.
fn in_time(sender: Rc<Sender>, now_ms: u64) -> Result<Rc<Sender>, KeyFault> {
    match sender.expires_ms {
        Some(expires_ms) if expires_ms <= now_ms => match sender.kind {
            SenderKind::Session => Err(KeyFault::ExpiredToken),
            _ => Err(KeyFault::Unknown),
        },
        _ => Ok(sender),
    }
}

/// The same for who holds a bearer token: what ends first ends it.
fn bearer_in_time(sender: Rc<Sender>, now_ms: u64) -> Result<Rc<Sender>, KeyFault> {
    match sender.expires_ms {
        Some(expires_ms) if expires_ms <= now_ms => Err(KeyFault::ExpiredToken),
        _ => Ok(sender),
    }
}
