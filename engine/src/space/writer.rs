//! Fills zones of one kind from front to back with bytes that are packed without gaps: pages, and small objects that
//! are moved. Writes whole blocks, about 1 MiB at once.
//!
//! `meta::checkpoint` and `shard::maintenance` own one each. I1. A place is told only for bytes that fit before the end of
//! the zone. I2. Nothing may be read, or referred to by a checkpoint, before `write` that follows it resolved. I3. What
//! was written is durable only after a flush of the drive.

use std::rc::Rc;

use super::zones::{Purpose, ZoneTable};
use crate::drive::{Drive, Durability};
use crate::error::EngineError;
use crate::format::superblock::Superblock;
use crate::format::zone::ZoneKind;
use crate::limits::IO_BYTES_MAX;
use crate::platform::{Platform, maintenance_buffer};
use crate::space::grant::grant_zone;
use crate::units::{BLOCK_BYTES, DriveOffset, ShardId, round_up_to_block};

/// What a writer runs on.
#[derive(Clone)]
pub(crate) struct WriterContext {
    pub(crate) shard: ShardId,
    pub(crate) superblock: Superblock,
    pub(crate) drive: Rc<dyn Drive>,
    pub(crate) zones: std::sync::Arc<ZoneTable>,
    pub(crate) platform: Rc<dyn Platform>,
}

/// A zone being filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FillingZone {
    zone: u32,
    /// Where the next bytes go; a block boundary between writes.
    at: DriveOffset,
    end: DriveOffset,
}

/// The writer.
pub(crate) struct ZoneWriter {
    context: WriterContext,
    kind: ZoneKind,
    filling: Option<FillingZone>,
    /// Bytes from `filling.at` on that were not written yet.
    pending: Vec<u8>,
    /// Zones taken since the last [`ZoneWriter::take_granted`].
    granted: Vec<u32>,
    /// Bytes written to the drive.
    pub(crate) written_bytes: u64,
}

impl ZoneWriter {
    /// Takes a zone of its own at the first use.
    pub(crate) fn new(context: WriterContext, kind: ZoneKind) -> ZoneWriter {
        ZoneWriter {
            context,
            kind,
            filling: None,
            pending: Vec::new(),
            granted: Vec::new(),
            written_bytes: 0,
        }
    }

    /// The zone being filled.
    pub(crate) fn zone(&self) -> Option<u32> {
        self.filling.map(|filling| filling.zone)
    }

    /// Zones that were taken since this was last asked.
    pub(crate) fn take_granted(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.granted)
    }

    /// Makes sure that `bytes` fit behind what is pending; returns where they will stand. Writes and takes a zone when
    /// it must.
    pub(crate) async fn place(&mut self, bytes: usize, stamp: u64) -> Result<DriveOffset, EngineError> {
        let fits = |filling: &FillingZone, pending: usize| {
            filling.at.0 + pending as u64 + bytes as u64 <= filling.end.0
        };
        if !self.filling.as_ref().is_some_and(|filling| fits(filling, self.pending.len())) {
            self.write().await?;
            let context = &self.context;
            let granted = grant_zone(
                &*context.drive,
                &context.superblock,
                &context.zones,
                context.shard,
                stamp,
                self.kind,
                if self.kind == ZoneKind::Compaction { Purpose::Moves } else { Purpose::Maintenance },
            )
            .await?;
            self.granted.push(granted.zone);
            let [first, end] = context.superblock.zone_headers(granted.zone);
            let filling = FillingZone { zone: granted.zone, at: first.plus(BLOCK_BYTES), end };
            self.filling = Some(filling);
            if !fits(&filling, 0) {
                let max = filling.end.0 - filling.at.0;
                return Err(EngineError::TooLarge { limit: "bytes of a zone", max, got: bytes as u64 });
            }
        }
        if IO_BYTES_MAX <= self.pending.len() {
            self.write_whole_blocks().await?;
        }
        let filling = self.filling.as_ref().expect("found or taken above");
        Ok(filling.at.plus(self.pending.len() as u64))
    }

    /// The bytes that follow the place last told.
    pub(crate) fn pending(&mut self) -> (DriveOffset, &mut Vec<u8>) {
        let at = self.filling.map_or(DriveOffset(0), |filling| filling.at);
        (at, &mut self.pending)
    }

    /// Writes everything that is pending, the last block filled up with zeros.
    pub(crate) async fn write(&mut self) -> Result<(), EngineError> {
        let whole = usize::try_from(round_up_to_block(self.pending.len() as u64)).expect("in memory");
        self.pending.resize(whole, 0);
        self.write_whole_blocks().await
    }

    async fn write_whole_blocks(&mut self) -> Result<(), EngineError> {
        let block = usize::try_from(BLOCK_BYTES).expect("4 KiB");
        while let Some(filling) = self.filling.as_mut()
            && block <= self.pending.len()
        {
            let bytes = (self.pending.len() - self.pending.len() % block).min(IO_BYTES_MAX);
            let mut buffer = maintenance_buffer(&self.context.platform, bytes).await;
            buffer.as_mut_slice().copy_from_slice(&self.pending[..bytes]);
            let at = filling.at;
            filling.at = filling.at.plus(bytes as u64);
            self.pending.drain(..bytes);
            self.written_bytes += bytes as u64;
            self.context.drive.write(at, buffer, Durability::AfterFlush).await.1?;
        }
        Ok(())
    }
}
