//! Why a body was refused: facts, with S3's code, text and extra XML fields for each.
//!
//! Made by the decoder and the checksums; turned into an answer by `render`. A body that ends in any of these must
//! leave nothing stored.

use std::borrow::Cow;
use std::fmt;

use crate::body::checksum::Algorithm;
use crate::body::form::FormFault;

/// A body that is not what its request said.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants are S3's codes, the fields its XML elements")]
pub enum BodyError {
    IncompleteBody(LengthFault),
    MissingContentLength,
    EntityTooLarge { proposed: u64, max: u64 },
    InvalidChunkSizeError { chunk: u64, bytes: u64 },
    SignatureDoesNotMatch { string_to_sign: String },
    MalformedTrailerError(TrailerFault),
    XAmzContentSHA256Mismatch { client: String, computed: String },
    InvalidDigest { value: String },
    BadDigest { digest: Digest, client: String, computed: String },
    InvalidRequest(ChecksumFault),
    Form(FormFault),
}

/// Where body and length part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LengthFault {
    /// It ended early.
    Short {
        /// Payload bytes that came.
        got: u64,
        /// Payload bytes that were announced.
        expected: u64,
    },
    /// It goes on after its end.
    Long {
        /// Payload bytes that were announced.
        expected: u64,
    },
    /// It ended inside a chunk or its trailers.
    Cut,
    /// A chunk's head is no hexadecimal size with the extension its mode has, ended by CRLF.
    ChunkHead,
    /// A chunk's bytes are not followed by CRLF.
    ChunkEnd,
}

/// What is wrong with the trailers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrailerFault {
    /// A line is not `name:value`.
    Line,
    /// More bytes than allowed.
    TooLong,
    /// A name that `x-amz-trailer` does not hold, or came before.
    Undeclared,
    /// A name that `x-amz-trailer` holds did not come.
    Missing,
    /// Signed trailers without their signature, or not at the end.
    Signature,
}

/// The digest that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Digest {
    ContentMd5,
    Checksum(Algorithm),
}

/// What is wrong with the headers about checksums.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChecksumFault {
    /// More than one checksum was announced.
    Multiple,
    /// A header's value is not base64 of the right length.
    Value {
        /// The header.
        name: &'static str,
    },
    /// The same in a trailer.
    TrailerValue {
        /// The trailer.
        name: &'static str,
    },
    /// An `x-amz-checksum-*` header of an algorithm we do not have.
    UnknownHeader,
    /// `x-amz-checksum-algorithm` names none of ours.
    UnknownAlgorithm,
    /// `x-amz-sdk-checksum-algorithm` names none of ours, or another than the checksum that came.
    SdkAlgorithm,
    /// `x-amz-sdk-checksum-algorithm` without any checksum.
    SdkAlgorithmAlone,
    /// `x-amz-trailer` names no checksum, or the body cannot have trailers.
    TrailerName,
}

impl BodyError {
    /// Names S3's error code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::IncompleteBody(_) => "IncompleteBody",
            Self::MissingContentLength => "MissingContentLength",
            Self::EntityTooLarge { .. } => "EntityTooLarge",
            Self::InvalidChunkSizeError { .. } => "InvalidChunkSizeError",
            Self::SignatureDoesNotMatch { .. } => "SignatureDoesNotMatch",
            Self::MalformedTrailerError(_) => "MalformedTrailerError",
            Self::XAmzContentSHA256Mismatch { .. } => "XAmzContentSHA256Mismatch",
            Self::InvalidDigest { .. } => "InvalidDigest",
            Self::BadDigest { .. } => "BadDigest",
            Self::InvalidRequest(_) => "InvalidRequest",
            Self::Form(FormFault::Malformed) => "MalformedPOSTRequest",
            Self::Form(FormFault::TooLong) => "MaxPostPreDataLengthExceededError",
            Self::Form(FormFault::NoFile) => "InvalidArgument",
        }
    }

    /// Renders S3's text for it.
    pub fn message(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::IncompleteBody(_) => "The request body terminated unexpectedly",
            Self::MissingContentLength => "You must provide the Content-Length HTTP header.",
            Self::EntityTooLarge { .. } => "Your proposed upload exceeds the maximum allowed size",
            Self::InvalidChunkSizeError { bytes, .. } if *bytes < crate::limits::CHUNK_BYTES_MIN => {
                "Only the last chunk is allowed to have a size less than 8192 bytes"
            }
            Self::InvalidChunkSizeError { .. } => "A signed chunk is larger than this server takes",
            Self::SignatureDoesNotMatch { .. } => {
                "The request signature we calculated does not match the signature you provided. Check your key and signing method."
            }
            Self::MalformedTrailerError(_) => {
                "The request contained trailing data that was not well-formed or did not conform to our published schema."
            }
            Self::XAmzContentSHA256Mismatch { .. } => {
                "The provided 'x-amz-content-sha256' header does not match what was computed."
            }
            Self::InvalidDigest { .. } => "The Content-MD5 you specified was invalid.",
            Self::BadDigest { digest: Digest::ContentMd5, .. } => {
                "The Content-MD5 you specified did not match what we received."
            }
            Self::BadDigest { digest: Digest::Checksum(algorithm), .. } => {
                return Cow::Owned(format!(
                    "The {} you specified did not match the calculated checksum.",
                    algorithm.name()
                ));
            }
            Self::InvalidRequest(fault) => return fault.message(),
            Self::Form(FormFault::Malformed) => {
                "The body of your POST request is not well-formed multipart/form-data."
            }
            Self::Form(FormFault::TooLong) => {
                "Your POST request fields preceding the upload file were too large."
            }
            Self::Form(FormFault::NoFile) => "POST requires exactly one file upload per request.",
        })
    }

    /// Lists the XML elements that S3 adds to code and text.
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::EntityTooLarge { proposed, max } => {
                vec![("ProposedSize", proposed.to_string()), ("MaxSizeAllowed", max.to_string())]
            }
            Self::InvalidChunkSizeError { chunk, bytes } => {
                vec![("Chunk", chunk.to_string()), ("BadChunkSize", bytes.to_string())]
            }
            Self::SignatureDoesNotMatch { string_to_sign } => vec![("StringToSign", string_to_sign.clone())],
            Self::XAmzContentSHA256Mismatch { client, computed } => vec![
                ("ClientComputedContentSHA256", client.clone()),
                ("S3ComputedContentSHA256", computed.clone()),
            ],
            Self::InvalidDigest { value } => vec![("Content-MD5", value.clone())],
            Self::BadDigest { digest: Digest::ContentMd5, client, computed } => {
                vec![("ExpectedDigest", client.clone()), ("CalculatedDigest", computed.clone())]
            }
            Self::Form(FormFault::NoFile) => {
                vec![("ArgumentName", "file".to_owned()), ("ArgumentValue", "0".to_owned())]
            }
            Self::IncompleteBody(_)
            | Self::MissingContentLength
            | Self::Form(_)
            | Self::MalformedTrailerError(_)
            | Self::BadDigest { digest: Digest::Checksum(_), .. }
            | Self::InvalidRequest(_) => Vec::new(),
        }
    }
}

impl ChecksumFault {
    fn message(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Multiple => {
                "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed."
            }
            Self::Value { name } => {
                return Cow::Owned(format!("Value for {name} header is invalid."));
            }
            Self::TrailerValue { name } => {
                return Cow::Owned(format!("Value for {name} trailing header is invalid."));
            }
            Self::UnknownHeader => "The algorithm type you specified in x-amz-checksum- header is invalid.",
            Self::UnknownAlgorithm => {
                "Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256, SHA512, MD5, XXHASH64, XXHASH3, XXHASH128]"
            }
            Self::SdkAlgorithm => "Value for x-amz-sdk-checksum-algorithm header is invalid.",
            Self::SdkAlgorithmAlone => {
                "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found."
            }
            Self::TrailerName => "The value specified in the x-amz-trailer header is not supported",
        })
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code(), self.message())
    }
}

impl std::error::Error for BodyError {}
