//! A request's body: S3's own framing taken off, lengths, signatures and checksums held against what was announced.
//!
//! The connection opens an [`BodyReader`] from a verified head, feeds it what arrives, writes the pieces it gets back,
//! and keeps what it wrote only after [`BodyReader::finish`]. No I/O here. Payload is never copied.
#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

mod reader;
mod decode;
mod declared;
mod checksum;
mod hash;
mod lanes;
mod combine;
mod form;
mod error;
pub mod tar;

pub use checksum::{Algorithm, Checksum};
pub use combine::{combine_crc, composite, render_composite};
pub use declared::Declared;
pub use decode::{Coding, Decoder, Finished, PayloadLength};
pub use error::{BodyError, ChecksumFault, Digest, LengthFault, TrailerFault};
pub use form::{FormDecoder, FormFault, FormFields, fuzz_form};
pub use hash::{Digests, HashPlan, Hashers, checksum_of};
pub use lanes::Md5Lanes;
pub use reader::{BodyOptions, BodyReader, Received, fuzz_chunked};
