//! What a key holds, with every byte compared to what its attributes say it must be: seeds, eight bytes for each part.
//!
//! `sim`, `ops` and `prove` look at objects through it; `conformance::put` and what completes uploads write them so.

use bytes::Bytes;
use nilas_engine::{Bucket, Engine, EngineError};

use crate::conformance::{content, read};
use crate::machine::{Finding, Kind};
use crate::model::Parts;

/// Why something could not be looked at.
#[derive(Debug)]
pub enum Looked {
    /// The engine answered with an error.
    Engine(EngineError),
    /// What it answered is wrong.
    Finding(Finding),
}

impl From<EngineError> for Looked {
    fn from(e: EngineError) -> Looked {
        Looked::Engine(e)
    }
}

/// What a key holds, with every byte compared to what its attributes say it must be.
pub async fn look(engine: &Engine, bucket: &Bucket, key: &Bytes) -> Result<Option<Parts>, Looked> {
    let Some(reader) = engine.open(bucket, key.clone()).await? else { return Ok(None) };
    let (sizes, size, attributes) = (reader.part_sizes(), reader.info.size, reader.info.attributes.clone());
    let seeds: Vec<u64> = attributes
        .chunks_exact(8)
        .map(|seed| u64::from_le_bytes(seed.try_into().expect("8 bytes")))
        .collect();
    let bytes = read(reader, 0..size).await?;
    let version: Parts = seeds.iter().copied().zip(sizes.iter().copied()).collect();
    let mut at = 0;
    for (seed, size) in &version {
        let want = content(*seed, *size);
        if bytes.get(at..at + want.len()) != Some(&want) {
            let text =
                format!("wrong bytes in {}/{key:?}, part of seed {seed} and {size} bytes", bucket.name);
            return Err(Looked::Finding(Finding { kind: Kind::Wrong, text }));
        }
        at += want.len();
    }
    if at != bytes.len() || seeds.len() != sizes.len() {
        let text = format!("{}/{key:?} has {} bytes, its parts {at}", bucket.name, bytes.len());
        return Err(Looked::Finding(Finding { kind: Kind::Torn, text }));
    }
    Ok(Some(version))
}
