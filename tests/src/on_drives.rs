//! The conformance suite on real drives: files or block devices, one engine over all of them.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nilas_engine::drive::{Arena, ArenaConfig, Drive, DriveLock, Ring, RingConfig, UringDrive};
use nilas_engine::platform::{CorePlatform, Platform};
use nilas_engine::rt::{RtConfig, sleep, start};
use nilas_engine::store::{FormatConfig, Store, format, recognise};

use crate::conformance;

/// Formats the drives unless they hold a store, opens it on `cores` cores and runs the suite on the last of them.
pub fn conform(cores: u16, locks: Vec<DriveLock>) {
    let open = move || {
        let arena = Arena::new(ArenaConfig::default()).expect("address space");
        let ring = Ring::new(&arena, RingConfig::default()).expect("io_uring");
        let open = |lock| UringDrive::open(lock, &ring).expect("O_DIRECT on the drive") as Rc<dyn Drive>;
        (arena, locks.iter().map(open).collect::<Vec<_>>())
    };
    let opened = open.clone();
    let formatted = start(1, RtConfig::server(), move |_| {
        let (_arena, drives) = opened();
        async move {
            match recognise(&drives).await.expect("ours or blank") {
                Some(superblocks) => superblocks,
                None => {
                    let now_ms = 1_700_000_000_000;
                    let config = FormatConfig { shards: 5, now_ms, store: 0x5107, zone_bytes: None };
                    format(&drives, config).await.expect("large enough")
                }
            }
        }
    });
    let superblocks = formatted.expect("a core").join().pop().expect("one core").expect("no panic");
    let store = Store::new(superblocks, cores);
    let done = Arc::new(AtomicBool::new(false));
    let running = start(usize::from(cores), RtConfig::server(), move |context| {
        let (arena, drives) = open();
        let (store, done) = (store.clone(), done.clone());
        async move {
            let platform: Rc<dyn Platform> = Rc::new(CorePlatform::new(arena));
            let engine = store.start_core(context.core, platform, drives).await.expect("recovers");
            while !store.is_ready() {
                sleep(Duration::from_millis(1)).await;
            }
            if context.core.0 + 1 == context.cores {
                conformance::run(&engine).await;
                done.store(true, Ordering::SeqCst);
            }
            // The others serve until the last one is done; then what is pending is written.
            while !done.load(Ordering::SeqCst) {
                sleep(Duration::from_millis(5)).await;
            }
            engine.stop().await;
        }
    });
    for core in running.expect("cores start").join() {
        core.expect("no panic");
    }
}
