//! Identities on the simulated machine: one change at a time, on all cores before its answer, whole or not at all whatever
//! power cut comes, sealed anew under a new root secret, and closed when the directory is damaged or a write fails.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use nilas_engine::platform::simulated::{Faults, Loss, Medium, Random, Rates, SimulatedDrive, Simulator};
use nilas_engine::{Engine, Transaction, ValueOwner};
use nilas_http::identity::model::{Fault, Model, NewAccessKey, NewUser, Of, Secret, Tags};
use nilas_http::identity::seal::SealKeys;
use nilas_http::identity::store::{
    ChangeError, IdentityCell, IdentityStore, LoadError, RootSecrets, account_of,
};
use nilas_tests::machine::{Finding, Geometry, Kind, finding, formatted, on_machine, start};

const GEOMETRY: Geometry = Geometry::small(2);
const OLD: &str = "the old root secret";
const NEW: &str = "the new root secret";

fn secrets(engine: &Engine, current: &str, previous: Option<&str>) -> RootSecrets {
    let of = |secret| SealKeys::derive(secret, engine.store_id());
    let previous = previous.map(of).into_iter().collect();
    RootSecrets { current: of(current), previous, kept: Vec::new(), forgets_keys: false }
}

/// A served store: a handle for each core.
async fn loaded(
    engines: &[Engine],
    current: &str,
    previous: Option<&str>,
) -> Result<(Vec<IdentityStore>, Option<String>), LoadError> {
    let cell = IdentityCell::new(&account_of(engines[0].store_id()));
    let note = cell.load(&engines[0], secrets(&engines[0], current, previous)).await?;
    Ok((engines.iter().map(|engine| IdentityStore::new(cell.clone(), engine.clone())).collect(), note))
}

/// Runs `work` on a store of two cores; whether it came to its end before the power went.
fn on(
    medium: &Medium,
    seed: u64,
    faults: Faults,
    work: impl AsyncFnOnce(Simulator, SimulatedDrive, Vec<Engine>) -> Result<(), Finding> + 'static,
) -> bool {
    let ended = on_machine(seed, medium, faults, async move |machine, drive| {
        match start(&machine, &drive, 2).await {
            Ok(engines) => work(machine, drive, engines).await,
            Err(text) => finding(Kind::Lost, format!("the start is refused: {text}")),
        }
    });
    ended.unwrap_or_else(|found| panic!("seed {seed}: {found:?}")).is_some()
}

async fn create(store: &IdentityStore, name: &'static str) -> Result<(String, Secret), ChangeError> {
    let made = store.change(move |model, moment| {
        let user = model.create_user(&NewUser { name, path: "/", tags: Tags::new() }, moment)?;
        user.then(|model, _| model.create_access_key(name, &NewAccessKey::default(), moment))
    });
    made.await.map(|key| (key.id.clone(), key.secret.clone()))
}

fn names(model: &Model) -> Vec<String> {
    model.users().map(|user| user.name.clone()).collect()
}

/// Every byte of every value that identity keeps.
async fn stored(engine: &Engine) -> Vec<(Bytes, Bytes)> {
    let values = engine.on_system(ValueOwner::Identity, |_, system| {
        let mut values = Vec::new();
        system.values(b"", |key, value| {
            values.push((Bytes::copy_from_slice(key), value.clone()));
            true
        });
        std::future::ready(values)
    });
    values.await.expect("the shard is there")
}

#[test]
fn a_change_is_on_all_cores_before_its_answer_and_there_after_a_start() {
    let medium = formatted(GEOMETRY);
    let made: Rc<RefCell<Option<(String, Secret)>>> = Rc::default();
    let kept = made.clone();
    on(&medium, 1, Faults::default(), async move |_, _, engines| {
        let (stores, note) = loaded(&engines, OLD, None).await.expect("a new store");
        assert_eq!(note, None);
        assert!(stored(&engines[0]).await.is_empty(), "nothing is written before the first change");
        assert_eq!(stores[0].current().account(), account_of(engines[0].store_id()));
        for (nth, store) in stores.iter().enumerate() {
            let (id, secret) = create(store, ["alice", "bob"][nth]).await.expect("room");
            for other in &stores {
                assert_eq!(other.current().key(&id).map(|key| &key.secret), Some(&secret));
            }
            *kept.borrow_mut() = Some((id, secret));
        }
        let before = stores[1].current();
        let taken = create(&stores[1], "alice").await;
        assert!(
            matches!(taken, Err(ChangeError::Fault(Fault::EntityAlreadyExists { .. }))),
            "{:?}",
            taken.err()
        );
        assert!(Arc::ptr_eq(&before, &stores[1].current()), "a refused change publishes nothing");
        let secret = kept.borrow().as_ref().map(|(_, secret)| secret.expose().to_owned()).expect("made");
        let values = stored(&engines[0]).await;
        assert_eq!(values.len(), 5, "two users, two keys, and the ring");
        let shows = |value: &Bytes| value.windows(secret.len()).any(|bytes| bytes == secret.as_bytes());
        assert!(!values.iter().any(|(_, value)| shows(value)), "a secret in the clear");
        Ok(())
    });
    on(&medium, 2, Faults::default(), async move |_, _, engines| {
        let (stores, _) = loaded(&engines, OLD, None).await.expect("the same root secret");
        let model = stores[1].current();
        assert_eq!(names(&model), ["alice", "bob"]);
        let (id, secret) = made.take().expect("made before");
        assert_eq!(model.key(&id).map(|key| key.secret.clone()), Some(secret));
        Ok(())
    });
}

/// Makes a user whose name tells how many there were.
async fn count(store: &IdentityStore) -> Result<(), ChangeError> {
    let made = store.change(|model, moment| {
        let name = format!("user-{:03}", model.users_len());
        model.create_user(&NewUser { name: &name, path: "/", tags: Tags::new() }, moment)
    });
    made.await.map(drop)
}

#[test]
fn changes_of_all_cores_come_one_after_the_other() {
    on(&formatted(GEOMETRY), 3, Faults::default(), async move |_, _, engines| {
        let (stores, _) = loaded(&engines, OLD, None).await.expect("a new store");
        let all = (0..100).map(|nth| count(&stores[nth % 2]));
        for made in futures_util::future::join_all(all).await {
            made.expect("every one saw all before it");
        }
        assert_eq!(stores[0].current().users_len(), 100);
        let many = (0..400).map(|_| count(&stores[0]));
        let ended = futures_util::future::join_all(many).await;
        let refused = ended.iter().filter(|made| matches!(made, Err(ChangeError::Busy))).count();
        assert_eq!(refused, 400 - 256, "the wait is bounded");
        assert_eq!(stores[1].current().users_len(), 100 + 256);
        Ok(())
    });
}

/// A policy of a round.
fn document(round: u64) -> String {
    let statement = format!(r#"{{"Sid":"r{round}","Effect":"Deny","Action":"*","Resource":"*"}}"#);
    format!(r#"{{"Version":"2012-10-17","Statement":{statement}}}"#)
}

/// The round that a user is in; `None` before the first.
fn round_of(model: &Model, user: &str) -> Option<u64> {
    let user = model.user(user).expect("it stays");
    let text = user.grants.inline.get("round").map(|policy| policy.text().to_owned());
    (0..9).find(|round| text.as_deref() == Some(&document(*round)))
}

/// Two users get the policy of the next round at once, again and again; power cuts at every operation of the drive.
#[test]
fn whatever_cut_comes_a_change_is_old_or_new() {
    let base = formatted(GEOMETRY);
    on(&base, 4, Faults::default(), async move |_, _, engines| {
        let (stores, _) = loaded(&engines, OLD, None).await.expect("a new store");
        create(&stores[0], "alice").await.expect("room");
        create(&stores[0], "bob").await.expect("room");
        Ok(())
    });
    base.lose_power_as(Loss::Keep, &mut Random::new(1));
    let mut cut = 1;
    loop {
        let medium = base.duplicate();
        let acknowledged = Rc::new(Cell::new(None));
        let told = acknowledged.clone();
        let faults = Faults { cut_at: Some(cut), ..Faults::default() };
        let ended = on(&medium, 5, faults, async move |_, _, engines| {
            let Ok((stores, _)) = loaded(&engines, OLD, None).await else { return Ok(()) };
            for round in 0..4 {
                let text = document(round);
                let made = stores[1].change(move |model, _| {
                    let first = model.put_inline_policy(Of::User("alice"), "round", &text)?;
                    first.then(|model, ()| model.put_inline_policy(Of::User("bob"), "round", &text))
                });
                made.await.expect("room");
                told.set(Some(round));
            }
            Ok(())
        });
        medium.lose_power(&mut Random::new(cut));
        on(&medium, 6, Faults::default(), async move |_, _, engines| {
            let (stores, _) = loaded(&engines, OLD, None).await.expect("the same root secret");
            let model = stores[0].current();
            let (alice, bob) = (round_of(&model, "alice"), round_of(&model, "bob"));
            assert_eq!(alice, bob, "cut {cut}: half of a change");
            let last = acknowledged.get();
            assert!(
                alice == last || alice == Some(last.map_or(0, |round| round + 1)),
                "cut {cut}: {alice:?} {last:?}"
            );
            Ok(())
        });
        if ended {
            break;
        }
        cut += 1;
    }
    assert!(10 < cut, "{cut} cuts");
}

/// The root secret is changed with power cuts at every operation of the drive: the store opens under one of both at once,
/// under the new one in the end, and no secret is lost.
#[test]
fn whatever_cut_comes_a_new_root_secret_loses_nothing() {
    let base = formatted(GEOMETRY);
    let keys: Rc<RefCell<Vec<(String, Secret)>>> = Rc::default();
    let made = keys.clone();
    on(&base, 7, Faults::default(), async move |_, _, engines| {
        let (stores, _) = loaded(&engines, OLD, None).await.expect("a new store");
        for name in ["alice", "bob", "carol"] {
            let key = create(&stores[0], name).await.expect("room");
            made.borrow_mut().push(key);
            // More keys than are sealed by one record.
            for _ in 0..15 {
                let more = stores[0].change(move |model, moment| {
                    model.create_access_key(name, &NewAccessKey::default(), moment)
                });
                let key = more.await.expect("room");
                made.borrow_mut().push((key.id.clone(), key.secret.clone()));
            }
        }
        Ok(())
    });
    base.lose_power_as(Loss::Keep, &mut Random::new(1));
    let check = |keys: Rc<RefCell<Vec<(String, Secret)>>>, model: &Model, place: &str| {
        for (id, secret) in &*keys.borrow() {
            assert_eq!(model.key(id).map(|key| &key.secret), Some(secret), "{place}: {id}");
        }
        assert_eq!(model.keys().count(), 48, "{place}");
    };
    let mut cut = 1;
    loop {
        let medium = base.duplicate();
        let faults = Faults { cut_at: Some(cut), ..Faults::default() };
        let ended = on(&medium, 8, faults, async move |_, _, engines| {
            let (stores, note) = loaded(&engines, NEW, Some(OLD)).await.expect("the one before opens it");
            assert!(note.is_none() && stores[0].is_complete());
            Ok(())
        });
        medium.lose_power(&mut Random::new(cut));
        // Exactly one of both opens it.
        let opens = |secret: &'static str| {
            let (medium, opened) = (medium.duplicate(), Rc::new(Cell::new(false)));
            let (found, keys) = (opened.clone(), keys.clone());
            on(&medium, 9, Faults::default(), async move |_, _, engines| {
                match loaded(&engines, secret, None).await {
                    Ok((stores, _)) => {
                        check(keys, &stores[0].current(), &format!("cut {cut}, {secret}"));
                        found.set(true);
                    }
                    Err(LoadError::OtherRootSecret) => {}
                    Err(other) => panic!("cut {cut}: {other}"),
                }
                Ok(())
            });
            opened.get()
        };
        assert_ne!(opens(OLD), opens(NEW), "cut {cut}");
        let keys = keys.clone();
        // Whoever starts it again as before comes to the end.
        on(&medium, 10, Faults::default(), async move |_, _, engines| {
            let (stores, _) = loaded(&engines, NEW, Some(OLD)).await.expect("one of both");
            check(keys, &stores[0].current(), &format!("cut {cut}, again"));
            let sealed = stored(&engines[0]).await;
            let old =
                sealed.iter().filter(|(_, value)| value.windows(13).any(|bytes| bytes == b"\"secret\":\"1."));
            assert_eq!(old.count(), 0, "cut {cut}: sealed under the old key");
            let refused = loaded(&engines, OLD, None).await;
            assert!(matches!(refused, Err(LoadError::OtherRootSecret)));
            Ok(())
        });
        if ended {
            break;
        }
        cut += 1;
    }
    assert!(10 < cut, "{cut} cuts");
}

#[test]
fn a_wrong_root_secret_is_refused_and_harms_nothing() {
    on(&formatted(GEOMETRY), 11, Faults::default(), async move |_, _, engines| {
        let (stores, _) = loaded(&engines, OLD, None).await.expect("a new store");
        create(&stores[0], "alice").await.expect("room");
        let before = stored(&engines[0]).await;
        for previous in [None, Some("neither")] {
            let refused = loaded(&engines, NEW, previous).await;
            assert!(matches!(refused, Err(LoadError::OtherRootSecret)));
        }
        assert_eq!(stored(&engines[0]).await, before);
        // What a file still has is not lost, whatever is asked for.
        let kept = vec![("root.env.next", SealKeys::derive(OLD, engines[0].store_id()))];
        let forgets = RootSecrets { kept, forgets_keys: true, ..secrets(&engines[0], NEW, None) };
        let cell = IdentityCell::new(&account_of(engines[0].store_id()));
        let refused = cell.load(&engines[0], forgets).await;
        assert!(matches!(refused, Err(LoadError::SecretKept { file: "root.env.next" })));
        assert_eq!(stored(&engines[0]).await, before);
        loaded(&engines, OLD, None).await.expect("still the right one");
        Ok(())
    });
}

/// A root secret that is lost takes the access keys with it, and nothing else; cut anywhere, it can be done again.
#[test]
fn without_the_root_secret_keys_are_forgotten_when_that_is_asked_for() {
    let base = formatted(GEOMETRY);
    on(&base, 16, Faults::default(), async move |_, _, engines| {
        let (stores, _) = loaded(&engines, OLD, None).await.expect("a new store");
        create(&stores[0], "alice").await.expect("room");
        create(&stores[0], "bob").await.expect("room");
        Ok(())
    });
    base.lose_power_as(Loss::Keep, &mut Random::new(1));
    let forgetting = async |engines: &[Engine]| {
        let cell = IdentityCell::new(&account_of(engines[0].store_id()));
        let secrets = RootSecrets { forgets_keys: true, ..secrets(&engines[0], NEW, None) };
        assert_eq!(cell.load(&engines[0], secrets).await.expect("taken"), None);
        IdentityStore::new(cell, engines[0].clone())
    };
    for cut in 1.. {
        let medium = base.duplicate();
        let faults = Faults { cut_at: Some(cut), ..Faults::default() };
        let ended = on(&medium, 17, faults, async move |_, _, engines| {
            forgetting(&engines).await;
            Ok(())
        });
        medium.lose_power(&mut Random::new(cut));
        on(&medium, 18, Faults::default(), async move |_, _, engines| {
            let store = forgetting(&engines).await;
            assert_eq!(names(&store.current()), ["alice", "bob"], "cut {cut}");
            assert_eq!(store.current().keys().count(), 0, "cut {cut}");
            create(&store, "carol").await.expect("room");
            let again = forgetting(&engines).await;
            assert_eq!(again.current().keys().count(), 1, "the right secret forgets nothing");
            Ok(())
        });
        if ended {
            assert!(10 < cut, "{cut} cuts");
            break;
        }
    }
}

/// After a write that failed nobody can tell: the model stays, and takes no change until the next start.
#[test]
fn a_failed_write_closes_the_changes() {
    let medium = formatted(GEOMETRY);
    on(&medium, 12, Faults::default(), async move |_, drive, engines| {
        let (stores, _) = loaded(&engines, OLD, None).await.expect("a new store");
        create(&stores[0], "alice").await.expect("room");
        let rates = Rates { write_error: 10_000, ..Rates::default() };
        drive.set_faults(Faults { rates, ..Faults::default() });
        let failed = create(&stores[1], "bob").await;
        assert!(matches!(failed, Err(ChangeError::Indeterminate(_))), "{:?}", failed.err());
        drive.set_faults(Faults::default());
        for store in &stores {
            assert_eq!(names(&store.current()), ["alice"], "what was loaded stays");
            assert!(store.is_complete() && store.closed().is_some());
            assert!(matches!(create(store, "carol").await, Err(ChangeError::Closed(_))));
        }
        Ok(())
    });
}

/// Records that this program cannot read: nobody but root, no change, and nothing is touched.
#[test]
fn records_of_a_newer_program_close_all() {
    let medium = formatted(GEOMETRY);
    on(&medium, 13, Faults::default(), async move |_, _, engines| {
        let (stores, _) = loaded(&engines, OLD, None).await.expect("a new store");
        create(&stores[0], "alice").await.expect("room");
        let newer = engines[0].on_system(ValueOwner::Identity, |_, system| async move {
            system.room(1_000).await?;
            let record = (Bytes::from_static(b"\x20AIDANEWER"), Some(Bytes::from_static(b"{\"v\":2}")));
            let sequence = system.append(Transaction { values: vec![record], ..Transaction::default() })?;
            system.durable(sequence).await
        });
        newer.await.expect("the shard is there").expect("room");
        let before = stored(&engines[0]).await;
        let (stores, note) = loaded(&engines, OLD, None).await.expect("the start is not refused");
        assert!(note.is_some_and(|note| note.contains("newer program")), "it says why");
        for store in &stores {
            assert!(!store.is_complete() && names(&store.current()).is_empty());
            assert!(matches!(create(store, "bob").await, Err(ChangeError::Closed(_))));
        }
        assert_eq!(stored(&engines[0]).await, before);
        Ok(())
    });
}

/// With a hole in the log of the directory a policy may be missing.
#[test]
fn a_damaged_directory_leaves_root_alone() {
    let medium = formatted(GEOMETRY);
    let before: Rc<RefCell<Option<Medium>>> = Rc::default();
    let (kept, whole) = (before.clone(), medium.clone());
    on(&medium, 14, Faults::default(), async move |_, _, engines| {
        let (stores, _) = loaded(&engines, OLD, None).await.expect("a new store");
        create(&stores[0], "alice").await.expect("room");
        *kept.borrow_mut() = Some(whole.duplicate());
        create(&stores[0], "bob").await.expect("room");
        create(&stores[0], "carol").await.expect("room");
        Ok(())
    });
    let before = before.take().expect("kept");
    // The first block that came after alice, with later ones behind it.
    let changed = nilas_tests::machine::changed_blocks(&before, &medium);
    let hole = *changed.first().expect("bob was written");
    assert!(1 < changed.len());
    medium.set_block(hole, &[0; 4096]);
    on(&medium, 15, Faults::default(), async move |_, _, engines| {
        assert!(engines[0].directory().is_err(), "it is damaged");
        let (stores, note) = loaded(&engines, OLD, None).await.expect("the start is not refused");
        assert!(note.is_some_and(|note| note.contains("directory")), "it says why");
        for store in &stores {
            assert!(!store.is_complete() && names(&store.current()).is_empty());
            assert!(matches!(create(store, "dave").await, Err(ChangeError::Closed(_))));
        }
        Ok(())
    });
}
