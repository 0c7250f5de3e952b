//! The body of one request as an operation takes it: payload bytes out of the connection, decoded, hashed, checked.
//!
//! An operation opens the payload once it knows what it wants of it, takes bytes with [`Payload::next`], and may make
//! nothing visible before [`Payload::finish`] has said that length, signature and every digest are right.
//!
//! I1. `next` never gives more bytes in total than the announced length.
//! I2. Until `open`, nothing was asked of the client: `100 Continue` goes out with the first read.
//! I3. Bytes are handed on before they are all hashed; no more is read while too many wait for it.

use std::collections::VecDeque;

use bytes::Bytes;
use http::HeaderMap;
use http::header::EXPECT;
use http_body::Body;
use http_body_util::BodyExt as _;
use nilas_engine::rt;

use crate::auth::Verified;
use crate::body::{Algorithm, BodyOptions, BodyReader, Md5Lanes, PayloadLength, Received};
use crate::limits::{BLOB_BYTES_MAX, DRAIN_TIME_MAX, DRAIN_WAIT_MAX};
use crate::memory::{BoundedBuffer, Budget};
use crate::render::error::S3Error;

/// A request's body.
pub struct Payload<'a, B: Body> {
    body: B,
    verified: &'a Verified,
    lanes: &'a Md5Lanes,
    documents: &'a Budget,
    expects_continue: bool,
    touched: bool,
    reader: Option<BodyReader>,
    ready: VecDeque<Bytes>,
    scratch: Vec<Bytes>,
    fault: fn(B::Error) -> S3Error,
}

impl<'a, B: Body<Data = Bytes> + Unpin> Payload<'a, B> {
    /// Wraps the body of a request with these headers.
    pub fn new(
        headers: &HeaderMap,
        verified: &'a Verified,
        lanes: &'a Md5Lanes,
        documents: &'a Budget,
        body: B,
    ) -> Payload<'a, B>
    where
        B::Error: Into<S3Error>,
    {
        Payload {
            body,
            verified,
            lanes,
            documents,
            expects_continue: headers.contains_key(EXPECT),
            touched: false,
            reader: None,
            ready: VecDeque::new(),
            scratch: Vec::new(),
            fault: B::Error::into,
        }
    }

    /// Opens the body of an object or part, and says how many bytes it has. MD5 is made, and a checksum: the one the
    /// headers speak of, else `otherwise`. Refuses a missing length and more than [`BLOB_BYTES_MAX`].
    pub fn open_blob(&mut self, headers: &HeaderMap, otherwise: Algorithm) -> Result<u64, S3Error> {
        let checksum_otherwise = Some(otherwise);
        let options =
            BodyOptions { bytes_max: BLOB_BYTES_MAX, length_required: true, md5: true, checksum_otherwise };
        let mut reader = BodyReader::open(headers, self.verified, options)?;
        reader.share(self.lanes);
        let length = match reader.length() {
            PayloadLength::Exact(bytes) => bytes,
            PayloadLength::AtMost(_) => return Err(crate::body::BodyError::MissingContentLength.into()),
        };
        self.reader = Some(reader);
        Ok(length)
    }

    /// Opens the file of a form: at most `wanted_max` bytes are taken, of `max` that it can have. MD5 is made, and a checksum: the
    /// one the headers speak of, else `otherwise`.
    pub fn open_form(
        &mut self,
        headers: &HeaderMap,
        otherwise: Algorithm,
        wanted_max: u64,
        max: u64,
    ) -> Result<(), S3Error> {
        let options = BodyOptions {
            bytes_max: wanted_max,
            length_required: false,
            md5: true,
            checksum_otherwise: Some(otherwise),
        };
        let mut reader = BodyReader::open(headers, self.verified, options)?;
        reader.share_for(self.lanes, max.min(wanted_max));
        self.reader = Some(reader);
        Ok(())
    }

    /// The next bytes of an opened body, `None` after the last.
    pub async fn next(&mut self) -> Option<Result<Bytes, S3Error>> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Some(Ok(bytes));
            }
            while let Some(reader) = self.reader.as_mut().filter(|reader| reader.is_behind()) {
                reader.turn();
                rt::yield_now().await;
            }
            self.touched = true;
            let bytes = match self.body.frame().await? {
                Ok(frame) => match frame.into_data() {
                    Ok(bytes) => bytes,
                    Err(_) => continue,
                },
                Err(fault) => return Some(Err((self.fault)(fault))),
            };
            let Some(reader) = &mut self.reader else { return Some(Err(S3Error::BodyBroken)) };
            if let Err(e) = reader.feed(bytes, &mut self.scratch) {
                return Some(Err(e.into()));
            }
            self.ready.extend(self.scratch.drain(..).filter(|piece| !piece.is_empty()));
        }
    }

    /// Holds the whole body against everything the client said of it. To be called after the last byte.
    pub async fn finish(&mut self) -> Result<Received, S3Error> {
        while let Some(reader) = self.reader.as_mut().filter(|reader| reader.is_pending()) {
            reader.turn();
            rt::yield_now().await;
        }
        match self.reader.take() {
            Some(reader) => Ok(reader.finish()?),
            None => Err(S3Error::BodyBroken),
        }
    }

    /// Reads a whole XML body and checks it; beyond `bytes_max` it is `MalformedXML`.
    pub async fn read_xml(&mut self, headers: &HeaderMap, bytes_max: usize) -> Result<Bytes, S3Error> {
        self.read_document(headers, bytes_max, S3Error::MalformedXml).await
    }

    /// Reads a whole document and checks it; beyond `bytes_max` the error is `over`.
    pub async fn read_document(
        &mut self,
        headers: &HeaderMap,
        bytes_max: usize,
        over: S3Error,
    ) -> Result<Bytes, S3Error> {
        let too_large = |e: S3Error| if e.is_too_large() { over.clone() } else { e };
        let options = BodyOptions {
            bytes_max: u64::try_from(bytes_max).unwrap_or(u64::MAX),
            length_required: false,
            md5: false,
            checksum_otherwise: None,
        };
        let opened = BodyReader::open(headers, self.verified, options);
        self.reader = Some(opened.map_err(|e| too_large(e.into()))?);
        let mut all = BoundedBuffer::new(self.documents, bytes_max);
        while let Some(bytes) = self.next().await {
            all.push(&bytes.map_err(too_large)?).await?;
        }
        self.finish().await?;
        Ok(all.finish())
    }

    /// Throws away what is left of the body when the outcome is known, so that a small one does not cost the connection: up
    /// to `bytes_max`, and only what comes without delay. A client may well wait for the answer before it sends
    /// anything; one that said so with `Expect` is not waited for at all.
    pub async fn drain(&mut self, bytes_max: u64) {
        // What waits to be hashed is of no use any more.
        self.reader = None;
        let too_long = self.body.size_hint().upper().is_some_and(|bytes| bytes_max < bytes);
        if self.body.is_end_stream() || too_long || self.expects_continue && !self.touched {
            return;
        }
        let waste = async {
            let mut left = bytes_max;
            while let Some(Some(Ok(frame))) = rt::timeout(DRAIN_WAIT_MAX, self.body.frame()).await {
                let bytes =
                    frame.data_ref().map_or(0, |bytes| u64::try_from(bytes.len()).unwrap_or(u64::MAX));
                match left.checked_sub(bytes) {
                    Some(rest) => left = rest,
                    None => return,
                }
            }
        };
        let _: Option<()> = rt::timeout(DRAIN_TIME_MAX, waste).await;
    }
}
