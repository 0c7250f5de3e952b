//! Bytes that are written to extents before the transaction that publishes them.
//!
//! Runs on the owner's core. I1. Staged bytes are durable. I2. Their space is released only when nothing refers to
//! them and no write to it is under way.

use std::rc::Rc;

use bytes::Bytes;
use futures_channel::oneshot;

use super::Shard;
use super::reserve::Reservation;
use crate::blob::BlobWriter;
use crate::error::EngineError;
use crate::format::record::BlobRecord;
use crate::mutant::Mutant;
use crate::platform::spawn;

/// Bytes in extents that nothing refers to yet. Dropping it gives the space back.
pub struct Staged {
    /// Bytes.
    pub size: u64,
    blob: BlobRecord,
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
        (self.blob, self.reservation)
    }
}

impl Shard {
    /// Writes `body` to extents and flushes it, for a [`TransactionBody::Staged`].
    ///
    /// Runs to its end when the caller goes away: space is released only when no write to it is under way.
    pub(crate) async fn stage(self: &Rc<Self>, body: Bytes) -> Result<Staged, EngineError> {
        let (reply, answer) = oneshot::channel();
        let shard = self.clone();
        spawn(&self.context.platform, async move {
            let staged = shard.write_staged(body).await;
            drop(reply.send(staged));
        });
        answer.await.map_err(|_| EngineError::Stopping)?
    }

    async fn write_staged(self: Rc<Self>, body: Bytes) -> Result<Staged, EngineError> {
        let extents = self.reserve(body.len() as u64).await?;
        let reservation = Reservation::new(self, extents);
        let blobs = reservation.shard.context.blobs.clone();
        let mut writer = BlobWriter::new(blobs, reservation.extents.clone(), body.len() as u64);
        let written = async {
            writer.write(body).await?;
            writer.finish(Mutant::StagedUnflushed).await
        };
        match written.await {
            Ok(blob) => Ok(Staged { size: blob.size, blob, reservation }),
            Err(error) => {
                writer.take_pending().ended().await;
                Err(error)
            }
        }
    }
}
