//! An object that is read, by its own bytes: those of the engine, or what they open to.
//!
//! [`Call::open`](super::Call) makes a [`Reader`] of the engine's; who reads an encrypted object gives it the key first, which
//! `encryption` finds. I1. Sizes are those of the object, never those that it takes. I2. Of an encrypted object nothing is known by the
//! checksums of the engine, which are of what lies there.

use std::ops::Range;

use bytes::Bytes;
use nilas_engine::{EngineError, ObjectInfo, ObjectReader, ObjectStream};

use super::attributes;
use crate::download::{Download, Downloads, opened};
use crate::render::body::BodyCut;
use crate::render::error::S3Error;
use crate::sse::seal::Key;
use crate::sse::units::{Opener, plain_bytes};

/// An object opened for reading.
pub(super) struct Reader {
    inner: ObjectReader,
    /// Bytes that it takes, when it is encrypted.
    stored: Option<u64>,
    key: Option<Key>,
}

impl Reader {
    /// Takes what the engine opened.
    pub(super) fn new(mut inner: ObjectReader) -> Reader {
        let plain = attributes::plain_bytes(&inner.info.attributes);
        let stored = plain.map(|plain| std::mem::replace(&mut inner.info.size, plain));
        Reader { inner, stored, key: None }
    }

    /// What is known of the object, with its own size.
    pub(super) fn info(&self) -> &ObjectInfo {
        &self.inner.info
    }

    /// Has it read by its key.
    pub(super) fn unlock(&mut self, key: Option<Key>) {
        self.key = key;
    }

    /// Sizes of the parts of a multipart object in order; one entry for an object put in one piece.
    pub(super) fn part_sizes(&self) -> Vec<u64> {
        let sizes = self.inner.part_sizes();
        match self.stored {
            None => sizes,
            // A size that no blob has is shown when it is read.
            Some(_) => sizes.into_iter().map(|size| plain_bytes(size).unwrap_or_default()).collect(),
        }
    }

    /// CRC-64/NVME of all bytes, where the engine knows it.
    pub(super) fn crc64nvme(&self) -> Option<u64> {
        self.stored.is_none().then(|| self.inner.crc64nvme())
    }

    /// The same of one part, from 0.
    pub(super) fn part_crc64nvme(&self, nth: usize) -> Option<u64> {
        self.inner.part_crc64nvme(nth).filter(|_| self.stored.is_none())
    }

    /// Starts delivering `range`, which lies within the object.
    pub(super) fn read(self, range: Range<u64>) -> Result<Stream, S3Error> {
        let (inner, range, opener) = self.plan(range)?;
        Ok(Stream { inner: inner.read(range), opener })
    }

    /// Starts a download of `range`, which lies within the object and is not empty.
    pub(super) async fn download(
        self,
        downloads: &Downloads,
        range: Range<u64>,
    ) -> Result<Download, S3Error> {
        let (inner, range, opener) = self.plan(range)?;
        Ok(downloads.start(inner, range, opener).await?)
    }

    /// Which stored bytes are read for `range`, and how they are opened.
    fn plan(mut self, range: Range<u64>) -> Result<Planned, S3Error> {
        let Some(stored) = self.stored else { return Ok((self.inner, range, None)) };
        self.inner.info.size = stored;
        if range.is_empty() {
            return Ok((self.inner, 0..0, None));
        }
        let key = self.key.as_ref().expect("who reads an encrypted object gives its key");
        let expected = range.end - range.start;
        let planned = Opener::new(key, self.inner.part_sizes(), range);
        let (opener, range) =
            planned.ok_or(BodyCut::Length { expected, got: 0 }).map_err(S3Error::ReadCut)?;
        Ok((self.inner, range, Some(Box::new(opener))))
    }
}

/// What the engine reads, which of it, and how it is opened.
type Planned = (ObjectReader, Range<u64>, Option<Box<Opener>>);

/// The bytes of a range of an object, in order.
pub(super) struct Stream {
    inner: ObjectStream,
    opener: Option<Box<Opener>>,
}

impl Stream {
    /// The next bytes; `None` at the end of the range.
    pub(super) async fn next(&mut self) -> Option<Result<Bytes, S3Error>> {
        let piece: Result<Bytes, EngineError> = self.inner.next().await?;
        Some(opened(piece, self.opener.as_deref_mut()).map_err(|fault| S3Error::ReadCut(fault.into())))
    }
}
