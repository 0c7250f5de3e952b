//! What cores share, under a model checker: the same code, thousands of schedules of its threads.
//!
//! `cargo x prove threads --count N` runs these. Half of the schedules are drawn evenly, half by priorities with few
//! changes, which finds what needs one thread to run far ahead. A schedule that leaves a thread waiting for ever fails.
//! Every mistake of [`Race`] must be found, or the proof proves nothing. What this cannot find: effects of memory
//! orders weaker than one order for all threads, and faults inside the crates of the queue and the waker.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::panic::catch_unwind;
use std::pin::pin;
use std::sync::atomic::AtomicUsize as Plain;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Weak};
use std::task::Poll;

use futures_util::future::select;
use shuttle::sync::atomic::AtomicUsize;
use shuttle::{check_pct, check_random, thread};

use super::Race;
use super::model::{seed, step};
use crate::mailbox::Mailbox;
use crate::space::pins::{is_unread, share};
use crate::space::zones::{Purpose, ZoneTable};

/// Schedules of each proof unless `NILAS_SCHEDULES` says otherwise.
const SCHEDULES: usize = 10_000;
/// Schedules within which a mistake must be found.
const SCHEDULES_PER_MISTAKE: usize = 10_000;
/// Changes of priority in a schedule of that kind.
const DEPTH: usize = 3;

const SENDERS: usize = 2;
const MESSAGES_EACH: usize = 3;

/// Messages of several senders through a mailbox that is mostly full: each arrives once, in its sender's order, and
/// the last one without another to wake the receiver.
fn mailbox() {
    let mailbox = Arc::new(Mailbox::new(2));
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let mailbox = Arc::clone(&mailbox);
            thread::spawn(move || {
                for nth in 0..MESSAGES_EACH {
                    let mut message = (sender, nth);
                    while let Err(refused) = mailbox.send(message) {
                        message = refused;
                        thread::yield_now();
                    }
                }
            })
        })
        .collect();
    let next = RefCell::new([0; SENDERS]);
    let left = Cell::new(SENDERS * MESSAGES_EACH);
    let receive = mailbox.receive(|(sender, nth): (usize, usize)| {
        assert_eq!(std::mem::replace(&mut next.borrow_mut()[sender], nth + 1), nth, "out of order");
        left.set(left.get() - 1);
    });
    let done = poll_fn(|_| if left.get() == 0 { Poll::Ready(()) } else { Poll::Pending });
    shuttle::future::block_on(select(pin!(receive), pin!(done)));
    for sender in senders {
        sender.join().expect("a sender asserts nothing");
    }
    assert_eq!(*next.borrow(), [MESSAGES_EACH; SENDERS]);
}

const ZONES: u32 = 3;
const RESERVE: u32 = 1;

/// Cores that claim and release zones of a small drive: no zone has two holders, the zones kept for maintenance stay, and
/// the count is right at the end.
fn zones() {
    let table = Arc::new(ZoneTable::new(ZONES, RESERVE));
    let holders: Arc<[Plain; ZONES as usize]> = Arc::default();
    let data_zones = Arc::new(Plain::new(0));
    let cores: Vec<_> = (0..3)
        .map(|core| {
            let (table, holders, data_zones) = (table.clone(), holders.clone(), data_zones.clone());
            thread::spawn(move || {
                let mut held = 0;
                for round in 0..3 {
                    let is_maintenance = core == 0 && round == 2;
                    let purpose = if is_maintenance { Purpose::Maintenance } else { Purpose::Data };
                    let Some(zone) = table.claim(purpose) else { continue };
                    assert_eq!(holders[zone as usize].fetch_add(1, SeqCst), 0, "one zone, two holders");
                    if !is_maintenance {
                        let taken = data_zones.fetch_add(1, SeqCst) + 1;
                        assert!(taken <= (ZONES - RESERVE) as usize, "data in what is kept for maintenance");
                    }
                    assert!(table.free() <= ZONES, "more zones free than there are");
                    // The last one is kept, as a grant that succeeded.
                    if round == 2 {
                        held += 1;
                        continue;
                    }
                    holders[zone as usize].fetch_sub(1, SeqCst);
                    if !is_maintenance {
                        data_zones.fetch_sub(1, SeqCst);
                    }
                    table.release(zone);
                }
                held
            })
        })
        .collect();
    let held: u32 = cores.into_iter().map(|core| core.join().expect("asserts hold")).sum();
    assert_eq!(table.free(), ZONES - held, "the count is off");
    let flags = (0..ZONES).filter(|zone| table.is_taken(*zone)).count();
    assert_eq!(flags, held as usize, "the flags are off");
}

/// A scan that marks zones while another core claims: a marked zone is never claimed.
fn marks() {
    let table = Arc::new(ZoneTable::new(3, 0));
    // The scan before the first claim.
    table.mark(1);
    let scanning = table.clone();
    let scan = thread::spawn(move || scanning.mark(1));
    let claiming: Vec<_> = (0..2)
        .map(|_| {
            let table = table.clone();
            thread::spawn(move || table.claim(Purpose::Maintenance))
        })
        .collect();
    scan.join().expect("asserts nothing");
    let mut claimed: Vec<_> = claiming.into_iter().map(|core| core.join().expect("no asserts")).collect();
    claimed.sort();
    assert_eq!(claimed, [Some(0), Some(2)]);
    assert_eq!((table.free(), table.claim(Purpose::Maintenance)), (0, None));
}

/// Some bytes on a drive: which generation of them is there.
#[derive(Default)]
struct Space {
    generation: AtomicUsize,
}

/// Readers of a displaced blob on other cores: its space is not written to before the last of them is gone, and it is
/// freed once they are.
fn displaced() {
    let space = Arc::new(Space::default());
    let blob = Arc::new(7_u8);
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let (blob, space) = (Arc::clone(&blob), space.clone());
            thread::spawn(move || {
                assert_eq!(space.generation.load(SeqCst), 0, "reused under a reader");
                // As when an answer moves from one task to another.
                let moved = Arc::clone(&blob);
                drop(blob);
                assert_eq!(space.generation.load(SeqCst), 0, "reused under a reader");
                drop(moved);
            })
        })
        .collect();
    let unused = Arc::downgrade(&blob);
    drop(blob);
    let mut rounds = 0;
    while !is_unread(&unused) {
        rounds += 1;
        assert!(rounds < 1_000, "never freed");
        thread::yield_now();
    }
    space.generation.fetch_add(1, SeqCst);
    for reader in readers {
        reader.join().expect("asserts hold");
    }
    assert_eq!(space.generation.load(SeqCst), 1, "freed once");
}

/// A shard that pins a blob for readers on other cores again and again, then displaces it: all readers of a moment
/// share one reference, no reader sees the space reused, and it is reused in the end.
fn pins() {
    let space = Arc::new(Space::default());
    let sent: Arc<Mailbox<Arc<u8>>> = Arc::new(Mailbox::new(2));
    let reader = {
        let (space, sent) = (space.clone(), sent.clone());
        thread::spawn(move || {
            let left = Cell::new(3);
            let late = RefCell::new(None);
            let read = sent.receive(|pin| {
                assert_eq!(space.generation.load(SeqCst), 0, "reused under a reader");
                // The second reader stays while the third comes and goes.
                if left.get() == 2 {
                    *late.borrow_mut() = Some(pin);
                } else {
                    step();
                    drop(pin);
                }
                left.set(left.get() - 1);
            });
            let done = poll_fn(|_| if left.get() == 0 { Poll::Ready(()) } else { Poll::Pending });
            shuttle::future::block_on(select(pin!(read), pin!(done)));
            assert_eq!(space.generation.load(SeqCst), 0, "reused under a reader");
            step();
            drop(late.take());
        })
    };
    let mut readers = Weak::new();
    for _ in 0..3 {
        let mut pin = share(&readers).unwrap_or_else(|| {
            let first = Arc::new(7);
            readers = Arc::downgrade(&first);
            first
        });
        while let Err(refused) = sent.send(pin) {
            pin = refused;
            thread::yield_now();
        }
    }
    let mut rounds = 0;
    while !is_unread(&readers) {
        rounds += 1;
        assert!(rounds < 1_000, "never unread");
        thread::yield_now();
    }
    space.generation.fetch_add(1, SeqCst);
    reader.join().expect("asserts hold");
}

type Proof = fn();

const PROOFS: [(&str, Proof); 5] =
    [("mailbox", mailbox), ("zones", zones), ("marks", marks), ("displaced", displaced), ("pins", pins)];

/// Mistakes with the proof that has to find them.
const MISTAKES: [(Race, Proof); 7] = [
    (Race::WakeBeforePush, mailbox),
    (Race::RegisterAfterLook, mailbox),
    (Race::ReleaseUncounted, zones),
    (Race::ClaimInTwoSteps, zones),
    (Race::CountBeforeUpgrade, pins),
    (Race::ReuseUnasked, pins),
    (Race::ReuseUnasked, displaced),
];

fn explore(proof: Proof, schedules: usize) {
    check_random(proof, schedules.div_ceil(2));
    check_pct(proof, schedules / 2, DEPTH);
}

/// One test for all, since a mistake is in force for the whole process.
#[test]
fn threads() {
    let schedules = std::env::var("NILAS_SCHEDULES").ok().and_then(|count| count.parse().ok());
    let schedules = schedules.unwrap_or(SCHEDULES);
    for (name, proof) in PROOFS {
        explore(proof, schedules);
        println!("{name}: {schedules} schedules");
    }
    // What a found mistake says is expected, and would only hide what is not.
    std::panic::set_hook(Box::new(|_| {}));
    let missed: Vec<Race> = MISTAKES
        .into_iter()
        .filter(|(mistake, proof)| {
            seed(Some(*mistake));
            catch_unwind(|| explore(*proof, SCHEDULES_PER_MISTAKE)).is_ok()
        })
        .map(|(mistake, _)| mistake)
        .collect();
    seed(None);
    drop(std::panic::take_hook());
    assert!(missed.is_empty(), "not found: {missed:?}");
    println!("{} mistakes found", MISTAKES.len());
}
