//! How the operator wants what is stored to be verified, and the scrubs of the engine that follow from it.
//!
//! The command line makes the settings; a core starts the first pass by itself, the page of the scrub one that was asked
//! for.

use std::time::Duration;

use nilas_engine::{DamagedUnit, ScrubConfig};

/// Bytes in a second of a scrub that was asked for where none is started by itself, and how long the first pass waits
/// after the start.
const SCRUB_BYTES_PER_SECOND: u64 = 32 << 20;
const SCRUB_FIRST_AFTER: Duration = Duration::from_secs(600);

/// How what is stored is verified in the background.
#[derive(Clone, Copy, Debug)]
pub struct ScrubSettings {
    /// Bytes that the scrub reads in a second; 0: none is started by itself.
    pub bytes_per_second: u64,
    /// Time between the end of a pass and the next one.
    pub every: Duration,
}

impl ScrubSettings {
    /// The first pass after a start; `None` when none is started by itself.
    pub(crate) fn at_start(&self) -> Option<ScrubConfig> {
        (self.bytes_per_second > 0).then(|| self.pass(SCRUB_FIRST_AFTER))
    }

    /// A pass that was asked for, and those after it.
    pub(crate) fn now(&self) -> ScrubConfig {
        self.pass(Duration::ZERO)
    }

    fn pass(&self, first_after: Duration) -> ScrubConfig {
        let bytes_per_second = match self.bytes_per_second {
            0 => SCRUB_BYTES_PER_SECOND,
            bytes => bytes,
        };
        let report = |damaged: &DamagedUnit| eprintln!("nilas: damaged: {damaged}");
        ScrubConfig { bytes_per_second, first_after, repeat_after: self.every, report }
    }
}
