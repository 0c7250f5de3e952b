//! An Avro object container file: a head with the schema and the codec, then blocks of records. `mod.rs` reads with it.
//! I1. Memory is bounded by one unpacked block, time by all of them (`AVRO_BLOCK_BYTES_MAX`, `AVRO_FILE_BYTES_MAX`).

use super::codec::Codec;
use super::cursor::Cursor;
use super::error::{AvroError, Got};
use super::schema::Schema;
use crate::limits::{AVRO_FILE_BYTES_MAX, AVRO_SCHEMA_BYTES_MAX};

const MAGIC: &[u8; 4] = b"Obj\x01";

pub(super) struct Container<'a> {
    cursor: Cursor<'a>,
    sync: &'a [u8; 16],
    codec: Codec,
    /// Unpacked bytes that the blocks to come may have.
    budget: usize,
}

/// One block, unpacked.
pub(super) struct Block<'a> {
    pub(super) records: usize,
    pub(super) cursor: Cursor<'a>,
    /// Offset of the block in the file, when `cursor` counts from the block's own start.
    packed_at: Option<usize>,
}

impl Block<'_> {
    /// Places an error that was met in this block in the file.
    pub(super) fn locate(&self, error: AvroError) -> AvroError {
        match self.packed_at {
            Some(at) => error.in_block(at),
            None => error,
        }
    }
}

impl<'a> Container<'a> {
    /// Reads the head of a file: what its records look like, and where its blocks begin.
    pub(super) fn open(bytes: &'a [u8]) -> Result<(Container<'a>, Schema), AvroError> {
        let mut cursor = Cursor::new(bytes, 0);
        let here = cursor.clone();
        if !cursor.array().is_ok_and(|magic| magic == MAGIC) {
            return here.refuse(Got::Bytes(bytes.len()), "an Avro object container file");
        }
        let mut schema = None;
        let mut codec = Codec::Null;
        while let Some((count, _)) = cursor.items()? {
            // An entry takes two bytes at least, so a count that lies ends with the file.
            for _ in 0..count {
                let name = cursor.bytes()?;
                let at = cursor.at();
                let value = cursor.bytes()?;
                match name {
                    b"avro.schema" => schema = Some((value, at)),
                    b"avro.codec" => codec = Codec::parse(value, at)?,
                    _ => {}
                }
            }
        }
        let Some((json, at)) = schema else {
            return cursor.refuse(Got::Nothing, "avro.schema in the head");
        };
        if AVRO_SCHEMA_BYTES_MAX < json.len() {
            let got = Got::count(json.len());
            return Err(AvroError::new(at, got, "a schema of at most AVRO_SCHEMA_BYTES_MAX bytes"));
        }
        let sync = cursor.array()?;
        Ok((Container { cursor, sync, codec, budget: AVRO_FILE_BYTES_MAX }, Schema::parse(json, at)?))
    }

    /// The next block, in `unpacked` where it is packed; `None` at the end of the file.
    pub(super) fn next<'b>(&mut self, unpacked: &'b mut Vec<u8>) -> Result<Option<Block<'b>>, AvroError>
    where
        'a: 'b,
    {
        if self.cursor.left() == 0 {
            return Ok(None);
        }
        let records = self.cursor.count()?;
        let size = self.cursor.count()?;
        let at = self.cursor.at();
        let packed = self.cursor.take(size)?;
        let here = self.cursor.clone();
        if self.cursor.array()? != self.sync {
            return here.refuse(Got::Nothing, "the file's sync marker behind the block");
        }
        let plain = self.codec.unpack(packed, at, unpacked)?;
        match self.budget.checked_sub(plain.len()) {
            Some(left) => self.budget = left,
            None => {
                let got = Got::count(plain.len());
                return Err(AvroError::new(at, got, "at most AVRO_FILE_BYTES_MAX bytes unpacked in all"));
            }
        }
        let is_packed = self.codec != Codec::Null;
        let cursor = Cursor::new(plain, if is_packed { 0 } else { at });
        Ok(Some(Block { records, cursor, packed_at: is_packed.then_some(at) }))
    }
}
