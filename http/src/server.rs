//! What one core answers requests with: [`CoreState`], made by `process::core`. `gateway` takes its requests.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use nilas_catalog::Catalog;
use nilas_engine::{CoreId, Engine, rt};

use crate::admin::Figures;
use crate::audit::{Audit, Decisions};
use crate::auth::SigningKeyCache;
use crate::body::Md5Lanes;
use crate::download::Downloads;
use crate::identity::oidc::Issuer;
use crate::identity::root_key::RootKey;
use crate::identity::seal::SealKeys;
use crate::identity::store::IdentityCell;
use crate::identity::{Evaluator, IdentityStore, RequestFacts, RulesCache, Sender, Senders};
use crate::memory::{CoreMemory, Shortage};
use crate::s3::lifecycle::Clock;
use crate::s3::{S3, json_attributes};
use crate::scrub::ScrubSettings;
use crate::sse::store::{KeyCell, KeyStore};
use crate::throttle::Throttle;

/// What one core needs to answer requests.
pub(crate) struct CoreState {
    /// There once the store has recovered.
    services: OnceCell<Services>,
    pub(crate) identity: Identity,
    /// The keys that objects are encrypted under, as all cores share them.
    encryption_keys: Arc<KeyCell>,
    /// Failed proofs of who sends.
    pub(crate) throttle: RefCell<Throttle>,
    pub(crate) audit: Audit,
    pub(crate) request_ids: RequestIds,
    pub(crate) place: Place,
    pub(crate) scrub: ScrubSettings,
    pub(crate) lifecycle_clock: Clock,
    /// What is counted and shown of the process and this core.
    pub(crate) figures: Figures,
    pub(crate) memory: CoreMemory,
    downloads: Downloads,
}

/// Where clients believe that they reach us.
pub(crate) struct Place {
    /// The region that S3 clients are told.
    pub(crate) region: String,
    /// Names under which `bucket.name` is a bucket.
    pub(crate) domains: Arc<[String]>,
    /// Whether customers' keys are taken.
    pub(crate) takes_customer_keys: bool,
}

/// Who may ask, and what verifying them costs again and again.
pub(crate) struct Identity {
    pub(crate) root_key: RootKey,
    /// What is derived of its secret for this store.
    pub(crate) keys: SealKeys,
    /// Who there is, as all cores share it.
    pub(crate) cell: Arc<IdentityCell>,
    /// Whether presigned URLs of signature version 2 are taken.
    pub(crate) presigned_v2: bool,
    /// The OpenID Connect issuer whose tokens are taken.
    pub(crate) issuer: Option<Arc<Issuer>>,
    pub(crate) signing_keys: RefCell<SigningKeyCache>,
}

/// Ids of requests: unique in this process, and hard to confuse with another process's.
pub(crate) struct RequestIds {
    core: CoreId,
    next: Cell<u64>,
    salt: u128,
}

/// What there is once the store has recovered.
pub(crate) struct Services {
    pub(crate) engine: Engine,
    pub(crate) s3: S3,
    pub(crate) catalog: Catalog,
    pub(crate) senders: Senders,
    pub(crate) rules: Rc<RulesCache>,
}

impl Services {
    /// Whether a bucket has a policy, which alone lets in those who show nothing.
    pub(crate) fn has_policy(&self, bucket: &str, sender: &Sender) -> bool {
        let bucket = self.engine.bucket(bucket).ok();
        let rules = bucket.and_then(|bucket| self.rules.of(&bucket, sender.model.account()));
        rules.is_some_and(|rules| rules.policy.is_some())
    }

    /// Who is to be asked what `sender` may do in a request.
    pub(crate) fn evaluator<'a>(
        &'a self,
        sender: &'a Sender,
        request: RequestFacts<'a>,
        notes: &'a Decisions,
    ) -> Evaluator<'a> {
        Evaluator::new(sender, request, Some(&self.engine), &self.rules, notes)
            .with_tables(&self.senders, &self.catalog)
    }
}

impl RequestIds {
    pub(crate) fn next(&self) -> String {
        let number = self.next.get();
        self.next.set(number + 1);
        let salt = self.salt ^ (self.salt >> 64);
        format!("{:08X}{:02X}{number:010X}", salt & 0xffff_ffff, self.core.0)
    }
}

impl CoreState {
    /// A core that answers health pages and tells everything else to come again, until [`CoreState::set_engine`].
    pub(crate) fn new(
        figures: Figures,
        identity: Identity,
        encryption_keys: Arc<KeyCell>,
        throttle: Throttle,
        place: Place,
        scrub: ScrubSettings,
        lifecycle_clock: Clock,
    ) -> CoreState {
        let memory = figures.memory().clone();
        CoreState {
            services: OnceCell::new(),
            identity,
            encryption_keys,
            throttle: RefCell::new(throttle),
            audit: Audit::new(figures.process.audit.clone(), figures.core),
            request_ids: RequestIds { core: figures.core, next: Cell::new(0), salt: rt::random_u128() },
            place,
            scrub,
            lifecycle_clock,
            figures,
            downloads: Downloads::new(memory.downloads.clone()),
            memory,
        }
    }

    /// Lets the core serve. To be called once, by the recovery of this core.
    pub(crate) fn set_engine(&self, engine: Engine) {
        let Identity { root_key, keys, cell, issuer, .. } = &self.identity;
        let rules = Rc::new(RulesCache::new());
        let store = IdentityStore::new(cell.clone(), engine.clone());
        let senders = Senders::new(store, root_key.clone(), keys, issuer.clone());
        let md5_lanes = Md5Lanes::new();
        let s3 = S3 {
            engine: engine.clone(),
            region: self.place.region.clone(),
            rules: rules.clone(),
            md5_lanes,
            memory: self.memory.clone(),
            downloads: self.downloads.clone(),
            lifecycle_clock: self.lifecycle_clock,
            keys: KeyStore::new(self.encryption_keys.clone(), engine.clone()),
            takes_customer_keys: self.place.takes_customer_keys,
        };
        let purges = self.figures.process.purges.clone();
        let catalog = Catalog::new(engine.clone(), json_attributes(), &self.place.region)
            .with_purges(purges, |text| eprintln!("nilas: {text}"));
        // Set once, by the one recovery of this core.
        drop(self.services.set(Services { engine, s3, catalog, senders, rules }));
    }

    /// What there is once the store has recovered.
    pub(crate) fn services(&self) -> Option<&Services> {
        self.services.get()
    }

    /// The engine, once the store has recovered.
    pub(crate) fn engine(&self) -> Option<&Engine> {
        self.services.get().map(|services| &services.engine)
    }

    /// The core.
    pub(crate) fn core(&self) -> CoreId {
        self.figures.core
    }

    /// What this core's requests may hold.
    pub(crate) fn memory(&self) -> &CoreMemory {
        &self.memory
    }

    /// What was refused since the last look; cuts downloads whose client does not read while others lack room.
    pub(crate) fn shortage(&self) -> Shortage {
        self.downloads.shed_stalled();
        self.memory.take_shortage()
    }
}
