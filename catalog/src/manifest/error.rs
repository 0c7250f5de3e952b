//! What is wrong with an Avro file: where, what stood there, what was expected. Facts; rendered once.

use std::fmt;

use crate::limits::QUOTED_BYTES_MAX;

/// A manifest or manifest list that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AvroError {
    /// Offset in the file.
    pub(crate) at: usize,
    /// Offset in the unpacked block, when `at` is that of a compressed one.
    pub(crate) unpacked_at: Option<usize>,
    /// The Iceberg field whose value it is.
    pub(crate) field: Option<i32>,
    pub(crate) got: Got,
    pub(crate) expected: &'static str,
}

/// What stood there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Got {
    /// Nothing: the field or the header entry is absent.
    Nothing,
    /// This many bytes up to the end.
    Bytes(usize),
    Number(i64),
    /// At most [`QUOTED_BYTES_MAX`] bytes of it.
    Text(Box<str>),
}

impl Got {
    /// Quotes `text`, cut at its bound.
    pub(super) fn text(text: &str) -> Got {
        let cut = (0..=text.len().min(QUOTED_BYTES_MAX)).rev().find(|end| text.is_char_boundary(*end));
        Got::Text(text.get(..cut.unwrap_or(0)).unwrap_or_default().into())
    }

    /// A length or count, which need not fit.
    pub(super) fn count(count: usize) -> Got {
        Got::Number(i64::try_from(count).unwrap_or(i64::MAX))
    }
}

impl AvroError {
    pub(super) fn new(at: usize, got: Got, expected: &'static str) -> AvroError {
        AvroError { at, unpacked_at: None, field: None, got, expected }
    }

    /// What a reader's own function answers that wants no more entries: nothing is wrong.
    pub(crate) fn enough() -> AvroError {
        AvroError::new(0, Got::Nothing, "no more entries")
    }

    /// Names the field, unless a field within it is named already.
    #[cold]
    pub(super) fn in_field(mut self, id: i32) -> AvroError {
        self.field = self.field.or(Some(id));
        self
    }

    /// Says that the offset is one within the compressed block at `block`.
    #[cold]
    pub(super) fn in_block(mut self, block: usize) -> AvroError {
        self.unpacked_at = Some(self.at);
        self.at = block;
        self
    }
}

impl fmt::Display for AvroError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {}", self.at)?;
        if let Some(at) = self.unpacked_at {
            write!(f, ", byte {at} of the unpacked block")?;
        }
        if let Some(id) = self.field {
            write!(f, ", field {id}")?;
        }
        write!(f, ": expected {}, got ", self.expected)?;
        match &self.got {
            Got::Nothing => f.write_str("nothing"),
            Got::Bytes(count) => write!(f, "{count} bytes"),
            Got::Number(number) => write!(f, "{number}"),
            Got::Text(text) => write!(f, "{text:?}"),
        }
    }
}

impl std::error::Error for AvroError {}
