//! Bytes that are written to extents before the transaction that publishes them.
//!
//! Runs on the owner's core. I1. Staged bytes are durable. I2. Their space is given back only when nothing refers to them
//! and no write to it is under way.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use futures_channel::oneshot;

use super::Shard;
use super::reserve::Reservation;
use crate::drive::Durability;
use crate::error::EngineError;
use crate::format::checksum::unit_checksums;
use crate::format::record::{BlobPlace, BlobRecord};
use crate::mutant::{Mutant, is};
use crate::platform::spawn;

/// Bytes in extents that nothing refers to yet. Dropping it gives the space back.
pub struct Staged {
    /// Bytes.
    pub size: u64,
    units: Arc<[u64]>,
    reservation: Reservation,
}

impl std::fmt::Debug for Staged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Staged").field("size", &self.size).finish_non_exhaustive()
    }
}

impl Staged {
    /// What a record says of the bytes, and the reservation to publish once that record is in the log.
    pub(super) fn into_blob(self) -> (BlobRecord, Reservation) {
        let place = BlobPlace::Extents(self.reservation.extents.clone());
        (BlobRecord { size: self.size, place, units: self.units }, self.reservation)
    }
}

impl Shard {
    /// Writes `body` to extents and flushes it, for a [`TransactionBody::Staged`].
    ///
    /// Runs to its end when the caller goes away: space is given back only when no write to it is under way.
    pub async fn stage(self: &Rc<Self>, body: Bytes) -> Result<Staged, EngineError> {
        let (reply, answer) = oneshot::channel();
        let shard = self.clone();
        spawn(&self.ground.platform, async move {
            let staged = shard.write_staged(body).await;
            drop(reply.send(staged));
        });
        answer.await.map_err(|_| EngineError::Stopping)?
    }

    async fn write_staged(self: Rc<Self>, body: Bytes) -> Result<Staged, EngineError> {
        let size = body.len() as u64;
        let extents = self.reserve(size).await?;
        let reservation = Reservation::new(self, extents);
        let ground = &reservation.shard.ground;
        let units = unit_checksums(&body).collect();
        let mut written: u64 = 0;
        for extent in reservation.extents.iter() {
            let mut at = extent.at;
            let end = extent.at.plus(extent.bytes);
            while at < end && written < size {
                let bytes = (end.0 - at.0).min(crate::limits::IO_BYTES_MAX as u64);
                let take = usize::try_from(bytes.min(size - written)).expect("bounded");
                let from = usize::try_from(written).expect("in memory");
                let mut buffer = ground.platform.buffer(usize::try_from(bytes).expect("bounded")).await?;
                buffer.as_mut_slice()[..take].copy_from_slice(&body[from..from + take]);
                buffer.as_mut_slice()[take..].fill(0);
                ground.drives[usize::from(extent.drive)].write(at, buffer, Durability::AfterFlush).await.1?;
                written += take as u64;
                at = at.plus(bytes);
            }
        }
        let drives: BTreeSet<u16> = reservation.extents.iter().map(|extent| extent.drive).collect();
        for drive in drives {
            if is(Mutant::StagedUnflushed) {
                continue;
            }
            ground.drives[usize::from(drive)].flush().await?;
        }
        Ok(Staged { size, units, reservation })
    }
}
