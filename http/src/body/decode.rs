//! A body's bytes as they come over the wire ⇒ the payload inside, without copying it.
//!
//! Fed by the connection, any number of bytes at a time; hands on slices of what it was fed. HTTP's own chunking is
//! already gone; what is decoded here is S3's, inside it. I1. Payload may be handed on before its signature or hash
//! is known, but then `feed` or `finish` fails if that is wrong: nothing may be kept before `finish` said yes. A chunk's
//! signature is looked at when its end was found where its head says: broken framing is no wrong signature.
//! I2. After an error every further call gives the same error. I3. How the input is cut makes no difference.

use bytes::{Buf as _, Bytes};
use sha2::{Digest as _, Sha256};

use crate::auth::{ChunkSigner, PayloadMode, SignatureMismatch, Verified};
use crate::body::error::{BodyError, LengthFault, TrailerFault};
use crate::limits::{CHUNK_BYTES_MIN, CHUNK_LINE_BYTES_MAX, SIGNED_CHUNK_BYTES_MAX, TRAILER_BYTES_MAX};

/// How the payload lies in the body.
#[derive(Clone, Debug)]
pub enum Coding {
    /// As it is; with a hash when that was signed.
    Plain {
        /// What the payload's SHA-256 must be.
        sha256: Option<[u8; 32]>,
    },
    /// In aws-chunks.
    Chunked {
        /// Checks each chunk when they are signed.
        signer: Option<ChunkSigner>,
        /// Whether trailers may follow.
        trailers: bool,
    },
}

/// How long the payload must be, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadLength {
    /// So long: anything else is `IncompleteBody`.
    Exact(u64),
    /// Not announced, and bounded: more is `EntityTooLarge`.
    AtMost(u64),
}

/// A body that was taken whole and right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Payload bytes.
    pub bytes: u64,
    /// Trailers in the order they came, names in lower case, without their signature.
    pub trailers: Vec<(String, String)>,
    /// The payload's hash, where one was signed.
    pub sha256: Option<[u8; 32]>,
}

/// The state of one body between two pieces of input.
#[derive(Debug)]
pub struct Decoder {
    state: State,
    length: PayloadLength,
    bytes: u64,
    signer: Option<ChunkSigner>,
    /// Hash of the chunk at hand, or of the whole payload.
    hash: Option<Sha256>,
    expected_sha256: Option<[u8; 32]>,
    signature: Vec<u8>,
    line: Vec<u8>,
    chunk: u64,
    chunk_bytes: u64,
    trailers_allowed: bool,
    trailer_names: Vec<String>,
    trailers: Vec<(String, String)>,
    trailer_bytes: usize,
    trailer_gap: Gap,
    trailers_signed: bool,
    failed: Option<BodyError>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Plain,
    ChunkHead,
    Data {
        left: u64,
    },
    /// Bytes of the CRLF after a chunk that came already; `last` after the empty one.
    DataEnd {
        seen: usize,
        last: bool,
    },
    Trailer,
    Ended,
}

/// Some clients end a trailer with `LF CR LF`, as AWS's grammar has it, others with `CR LF`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gap {
    None,
    /// A line ended with a bare LF: one empty line still belongs to it.
    Open,
    /// That empty line came.
    Closed,
}

impl Coding {
    /// Names the coding that a verified request announced.
    pub fn of(verified: &Verified) -> Self {
        let signer = || Some(verified.chunks.clone());
        match verified.payload {
            PayloadMode::Unsigned | PayloadMode::CatalogBody => Self::Plain { sha256: None },
            PayloadMode::Signed { sha256 } => Self::Plain { sha256: Some(sha256) },
            PayloadMode::StreamingSigned => Self::Chunked { signer: signer(), trailers: false },
            PayloadMode::StreamingSignedTrailer => Self::Chunked { signer: signer(), trailers: true },
            PayloadMode::StreamingUnsignedTrailer => Self::Chunked { signer: None, trailers: true },
        }
    }
}

impl Decoder {
    /// Starts a body. `trailer_names`, in lower case, are those that must come, and the only ones that may.
    pub fn new(coding: Coding, length: PayloadLength, trailer_names: Vec<String>) -> Self {
        let (state, signer, expected_sha256, trailers_allowed) = match coding {
            Coding::Plain { sha256 } => (State::Plain, None, sha256, false),
            Coding::Chunked { signer, trailers } => (State::ChunkHead, signer, None, trailers),
        };
        let hash = (signer.is_some() || expected_sha256.is_some()).then(Sha256::new);
        Self {
            state,
            length,
            bytes: 0,
            signer,
            hash,
            expected_sha256,
            signature: Vec::new(),
            line: Vec::new(),
            chunk: 0,
            chunk_bytes: 0,
            trailers_allowed,
            trailer_names,
            trailers: Vec::new(),
            trailer_bytes: 0,
            trailer_gap: Gap::None,
            trailers_signed: false,
            failed: None,
        }
    }

    /// Takes the next bytes of the body and appends the payload in them to `out`.
    pub fn feed(&mut self, mut input: Bytes, out: &mut Vec<Bytes>) -> Result<(), BodyError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        while !input.is_empty() {
            if let Err(error) = self.step(&mut input, out) {
                self.failed = Some(error.clone());
                return Err(error);
            }
        }
        Ok(())
    }

    /// Ends the body: says whether it was whole, long enough and truly signed.
    pub fn finish(mut self) -> Result<Finished, BodyError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        match self.state {
            State::Plain => self.check_length()?,
            State::Ended => {}
            // A client that ended its only trailer with LF CR LF may have nothing more to say.
            State::Trailer if self.trailer_gap == Gap::Closed && self.line.is_empty() => {
                self.end_trailers()?
            }
            State::ChunkHead | State::Data { .. } | State::DataEnd { .. } | State::Trailer => {
                return Err(BodyError::IncompleteBody(LengthFault::Cut));
            }
        }
        let mut sha256 = None;
        if let (Some(expected), Some(hash)) = (self.expected_sha256, self.hash.take()) {
            let computed: [u8; 32] = hash.finalize().into();
            if computed != expected {
                return Err(BodyError::XAmzContentSHA256Mismatch {
                    client: hex::encode(expected),
                    computed: hex::encode(computed),
                });
            }
            sha256 = Some(computed);
        }
        Ok(Finished { bytes: self.bytes, trailers: self.trailers, sha256 })
    }

    fn step(&mut self, input: &mut Bytes, out: &mut Vec<Bytes>) -> Result<(), BodyError> {
        match self.state {
            State::Plain => {
                let piece = input.split_to(input.len());
                self.check_room(u64::try_from(piece.len()).unwrap_or(u64::MAX))?;
                self.hand_on(piece, out);
            }
            State::ChunkHead => {
                let fault = BodyError::IncompleteBody(LengthFault::ChunkHead);
                if self.take_line(input, CHUNK_LINE_BYTES_MAX, fault)? {
                    let line = std::mem::take(&mut self.line);
                    self.start_chunk(&line)?;
                    self.reuse(line);
                }
            }
            State::Data { left } => {
                let take = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
                let left = left - u64::try_from(take).unwrap_or(left);
                self.hand_on(input.split_to(take), out);
                self.state =
                    if left == 0 { State::DataEnd { seen: 0, last: false } } else { State::Data { left } };
            }
            State::DataEnd { seen, last } => {
                let expected = if seen == 0 { b'\r' } else { b'\n' };
                if input.get_u8() != expected {
                    return Err(BodyError::IncompleteBody(LengthFault::ChunkEnd));
                }
                if seen == 0 {
                    self.state = State::DataEnd { seen: 1, last };
                    return Ok(());
                }
                self.end_chunk()?;
                self.state = if last { State::Ended } else { State::ChunkHead };
            }
            State::Trailer => {
                let fault = BodyError::MalformedTrailerError(TrailerFault::TooLong);
                let room = TRAILER_BYTES_MAX.saturating_sub(self.trailer_bytes);
                if self.take_line(input, room, fault)? {
                    let line = std::mem::take(&mut self.line);
                    self.trailer_bytes += line.len();
                    self.take_trailer(&line)?;
                    self.reuse(line);
                }
            }
            State::Ended => return Err(self.too_long()),
        }
        Ok(())
    }

    /// Gathers a line, LF included; true when it is whole.
    fn take_line(
        &mut self,
        input: &mut Bytes,
        bytes_max: usize,
        fault: BodyError,
    ) -> Result<bool, BodyError> {
        let room = bytes_max.saturating_sub(self.line.len()).min(input.len());
        let found = input.iter().take(room).position(|&b| b == b'\n');
        let take = found.map_or(room, |at| at + 1);
        self.line.extend(input.split_to(take));
        if found.is_none() && self.line.len() >= bytes_max {
            return Err(fault);
        }
        Ok(found.is_some())
    }

    fn reuse(&mut self, mut line: Vec<u8>) {
        line.clear();
        self.line = line;
    }

    fn start_chunk(&mut self, line: &[u8]) -> Result<(), BodyError> {
        let signed = self.signer.is_some();
        let (bytes, signature) =
            parse_chunk_head(line, signed).ok_or(BodyError::IncompleteBody(LengthFault::ChunkHead))?;
        if bytes > 0 {
            if self.chunk > 0 && self.chunk_bytes < CHUNK_BYTES_MIN {
                return Err(BodyError::InvalidChunkSizeError { chunk: self.chunk, bytes: self.chunk_bytes });
            }
            if signed && bytes > SIGNED_CHUNK_BYTES_MAX {
                return Err(BodyError::InvalidChunkSizeError { chunk: self.chunk + 1, bytes });
            }
            self.check_room(bytes)?;
        }
        self.signature.clear();
        self.signature.extend_from_slice(signature);
        self.chunk += 1;
        self.chunk_bytes = bytes;
        if bytes > 0 {
            self.state = State::Data { left: bytes };
            return Ok(());
        }
        self.check_length()?;
        if self.trailers_allowed {
            self.end_chunk()?;
            self.state = State::Trailer;
        } else {
            self.state = State::DataEnd { seen: 0, last: true };
        }
        Ok(())
    }

    fn end_chunk(&mut self) -> Result<(), BodyError> {
        if let (Some(signer), Some(hash)) = (&mut self.signer, &mut self.hash) {
            let sha256: [u8; 32] = hash.finalize_reset().into();
            signer.check_chunk(&sha256, &self.signature).map_err(mismatch)?;
        }
        Ok(())
    }

    fn take_trailer(&mut self, line: &[u8]) -> Result<(), BodyError> {
        let fail = |fault| Err(BodyError::MalformedTrailerError(fault));
        let Some(text) = line.strip_suffix(b"\n") else { return fail(TrailerFault::Line) };
        let (text, bare) = text.strip_suffix(b"\r").map_or((text, true), |text| (text, false));
        if text.is_empty() {
            if bare {
                return fail(TrailerFault::Line);
            }
            if self.trailer_gap == Gap::Open {
                self.trailer_gap = Gap::Closed;
                return Ok(());
            }
            self.end_trailers()?;
            self.state = State::Ended;
            return Ok(());
        }
        self.trailer_gap = if bare { Gap::Open } else { Gap::None };
        let Some((name, value)) = parse_trailer(text) else { return fail(TrailerFault::Line) };
        if self.trailers_signed {
            return fail(TrailerFault::Signature);
        }
        if name == "x-amz-trailer-signature" && self.signer.is_some() {
            self.trailers_signed = true;
            return self.check_trailers(value.as_bytes());
        }
        if !self.trailer_names.contains(&name) || self.trailers.iter().any(|(had, _)| *had == name) {
            return fail(TrailerFault::Undeclared);
        }
        self.trailers.push((name, value));
        Ok(())
    }

    fn check_trailers(&mut self, signature: &[u8]) -> Result<(), BodyError> {
        let mut lines = String::new();
        for (name, value) in &self.trailers {
            lines.push_str(name);
            lines.push(':');
            lines.push_str(value);
            lines.push('\n');
        }
        match &mut self.signer {
            Some(signer) => signer.check_trailer(lines.as_bytes(), signature).map_err(mismatch),
            None => Ok(()),
        }
    }

    fn end_trailers(&self) -> Result<(), BodyError> {
        if self.signer.is_some() && !self.trailers_signed {
            return Err(BodyError::MalformedTrailerError(TrailerFault::Signature));
        }
        if self.trailer_names.iter().any(|name| !self.trailers.iter().any(|(had, _)| had == name)) {
            return Err(BodyError::MalformedTrailerError(TrailerFault::Missing));
        }
        Ok(())
    }

    fn hand_on(&mut self, piece: Bytes, out: &mut Vec<Bytes>) {
        self.bytes += u64::try_from(piece.len()).unwrap_or(0);
        if let Some(hash) = &mut self.hash {
            hash.update(&piece);
        }
        out.push(piece);
    }

    fn check_room(&self, more: u64) -> Result<(), BodyError> {
        let (PayloadLength::Exact(max) | PayloadLength::AtMost(max)) = self.length;
        if self.bytes.checked_add(more).is_some_and(|bytes| bytes <= max) {
            return Ok(());
        }
        Err(self.too_long())
    }

    fn check_length(&self) -> Result<(), BodyError> {
        match self.length {
            PayloadLength::Exact(expected) if expected != self.bytes => {
                Err(BodyError::IncompleteBody(LengthFault::Short { got: self.bytes, expected }))
            }
            PayloadLength::Exact(_) | PayloadLength::AtMost(_) => Ok(()),
        }
    }

    fn too_long(&self) -> BodyError {
        match self.length {
            PayloadLength::Exact(expected) => BodyError::IncompleteBody(LengthFault::Long { expected }),
            PayloadLength::AtMost(max) => BodyError::EntityTooLarge { proposed: max.saturating_add(1), max },
        }
    }
}

fn mismatch(mismatch: SignatureMismatch) -> BodyError {
    BodyError::SignatureDoesNotMatch { string_to_sign: mismatch.string_to_sign }
}

/// Parses `size[;chunk-signature=hex]CRLF`. The extension is there exactly when chunks are signed.
fn parse_chunk_head(line: &[u8], signed: bool) -> Option<(u64, &[u8])> {
    let text = line.strip_suffix(b"\r\n")?;
    let (size, signature): (&[u8], &[u8]) = match text.iter().position(|&b| b == b';') {
        Some(at) if signed => {
            let (size, extension) = text.split_at_checked(at)?;
            (size, extension.strip_prefix(b";chunk-signature=")?)
        }
        None if !signed => (text, b""),
        Some(_) | None => return None,
    };
    if size.is_empty() || size.len() > 16 {
        return None;
    }
    let bytes = size.iter().try_fold(0u64, |sum, &b| {
        let digit = char::from(b).to_digit(16)?;
        Some(sum << 4 | u64::from(digit))
    })?;
    Some((bytes, signature))
}

fn parse_trailer(text: &[u8]) -> Option<(String, String)> {
    let text = std::str::from_utf8(text).ok()?;
    let (name, value) = text.split_once(':')?;
    let token = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if name.is_empty() || !name.bytes().all(token) || value.bytes().any(|b| b.is_ascii_control()) {
        return None;
    }
    Some((name.to_ascii_lowercase(), value.trim().to_owned()))
}

#[cfg(test)]
mod tests;
