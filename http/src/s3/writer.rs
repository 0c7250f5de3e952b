//! An object or part that is written, by its own bytes: they go to the engine as they are, or sealed.
//!
//! `put_object`, `upload_part`, `copy_object` and `append_object` write through it. I1. What the engine is given of an encrypted object is whole
//! frames. I2. Which frame is the last is said when the object is published, so a body may turn out shorter than announced.

use std::sync::Arc;

use bytes::Bytes;
use nilas_engine::{
    Bucket, ETag, Engine, EngineError, NewObject, ObjectInfo, PartInfo, PutWriter, UploadId, WriteError, rt,
};

use crate::sse::seal::Key;
use crate::sse::units::{Sealer, stored_bytes};

/// Writes one body.
pub(super) struct Writer {
    inner: PutWriter,
    sealing: Option<Box<Sealing>>,
}

/// What is known of a body that is sealed.
struct Sealing {
    sealer: Sealer,
    /// Plain bytes still to come.
    missing: u64,
    is_shorter: bool,
}

impl Writer {
    /// A body of `size` bytes, sealed with `key` if there is one.
    pub(super) async fn begin(
        engine: &Engine,
        bucket: &Arc<Bucket>,
        size: u64,
        key: Option<&Key>,
    ) -> Result<Writer, EngineError> {
        let Some(key) = key else {
            return Ok(Writer { inner: engine.writer(bucket, size).await?, sealing: None });
        };
        let inner = engine.writer(bucket, stored_bytes(size)).await?;
        let sealer = Sealer::new(key, rt::random_u128);
        Ok(Writer { inner, sealing: Some(Box::new(Sealing { sealer, missing: size, is_shorter: false })) })
    }

    /// Bytes still to come.
    pub(super) fn missing(&self) -> u64 {
        self.sealing.as_ref().map_or_else(|| self.inner.missing(), |sealing| sealing.missing)
    }

    /// Takes the next bytes of the body, no more than are missing (asserted).
    pub(super) async fn write(&mut self, mut bytes: Bytes) -> Result<(), EngineError> {
        let Some(sealing) = &mut self.sealing else { return self.inner.write(bytes).await };
        let came = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        assert!(came <= sealing.missing, "more bytes than announced");
        while !bytes.is_empty() {
            let frame = sealing.sealer.fill(&mut bytes, sealing.missing);
            if let Some(frame) = frame {
                self.inner.write(frame).await?;
            }
        }
        sealing.missing -= came;
        Ok(())
    }

    /// Says that the body is at its end: it is shorter than announced.
    pub(super) fn shorten(&mut self) {
        match &mut self.sealing {
            None => self.inner.shorten(),
            Some(sealing) => (sealing.missing, sealing.is_shorter) = (0, true),
        }
    }

    /// CRC-64/NVME of what came, of a body that is sealed.
    pub(super) fn plain_crc64nvme(&self) -> Option<u64> {
        self.sealing.as_ref().map(|sealing| sealing.sealer.crc64nvme())
    }

    /// As [`PutWriter::publish_object`]; the size is that of the object.
    pub(super) async fn publish_object(
        self,
        key: Bytes,
        object: NewObject,
    ) -> Result<ObjectInfo, WriteError> {
        let info = self.finish().await?.publish_object(key, object).await?;
        let plain = super::attributes::plain_bytes(&info.attributes);
        Ok(ObjectInfo { size: plain.unwrap_or(info.size), ..info })
    }

    /// As [`PutWriter::publish_part`].
    pub(super) async fn publish_part(
        self,
        upload: UploadId,
        number: u16,
        etag: ETag,
        attributes: Bytes,
    ) -> Result<PartInfo, WriteError> {
        self.finish().await?.publish_part(upload, number, etag, attributes).await
    }

    async fn finish(mut self) -> Result<PutWriter, EngineError> {
        if let Some(mut sealing) = self.sealing.take() {
            assert!(sealing.missing == 0, "{} bytes are missing", sealing.missing);
            if let Some(frame) = sealing.sealer.finish() {
                self.inner.write(frame).await?;
            }
            if sealing.is_shorter {
                self.inner.shorten();
            }
        }
        Ok(self.inner)
    }
}
