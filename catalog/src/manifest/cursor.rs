//! Takes Avro's binary values off the front of a byte string. `container` and `plan` read with it.
//! I1. No length is believed before that many bytes are there.

use super::error::{AvroError, Got};

/// Bytes of the longest encoding of a 64-bit number.
const VARINT_BYTES_MAX: usize = 10;

/// The rest of a byte string, and where in it that begins.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
    /// Offset of the end of `rest`.
    end: usize,
}

impl<'a> Cursor<'a> {
    /// Reads `bytes`, whose first one stands at `from`.
    pub(super) fn new(bytes: &'a [u8], from: usize) -> Cursor<'a> {
        Cursor { rest: bytes, end: from.saturating_add(bytes.len()) }
    }

    /// Offset of the next byte.
    pub(super) fn at(&self) -> usize {
        self.end - self.rest.len()
    }

    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    /// Refuses what comes next.
    #[cold]
    pub(super) fn refuse<T>(&self, got: Got, expected: &'static str) -> Result<T, AvroError> {
        Err(AvroError::new(self.at(), got, expected))
    }

    /// The next `count` bytes.
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], AvroError> {
        match self.rest.split_at_checked(count) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => self.refuse(Got::Bytes(self.left()), "as many bytes as the length says"),
        }
    }

    /// The next `N` bytes.
    pub(super) fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], AvroError> {
        match self.rest.split_first_chunk() {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => self.refuse(Got::Bytes(self.left()), "a value of fixed length"),
        }
    }

    pub(super) fn boolean(&mut self) -> Result<bool, AvroError> {
        match self.rest.split_first() {
            Some((byte @ (0 | 1), rest)) => {
                self.rest = rest;
                Ok(*byte == 1)
            }
            Some((byte, _)) => self.refuse(Got::Number(i64::from(*byte)), "a boolean, 0 or 1"),
            None => self.refuse(Got::Bytes(0), "a boolean"),
        }
    }

    /// A `long`: least significant seven bits first, signs interleaved.
    pub(super) fn long(&mut self) -> Result<i64, AvroError> {
        let mut value = 0_u64;
        for (index, byte) in self.rest.iter().enumerate().take(VARINT_BYTES_MAX) {
            value |= u64::from(byte & 0x7f) << (7 * index);
            if *byte < 0x80 {
                if index + 1 == VARINT_BYTES_MAX && 1 < *byte {
                    break;
                }
                self.rest = self.rest.get(index + 1..).unwrap_or_default();
                return Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
            }
        }
        self.refuse(Got::Bytes(self.left()), "a number of at most 64 bits")
    }

    /// An `int`: a `long` of 32 bits.
    pub(super) fn int(&mut self) -> Result<i32, AvroError> {
        let here = self.clone();
        let value = self.long()?;
        i32::try_from(value).or_else(|_| here.refuse(Got::Number(value), "a number of 32 bits"))
    }

    /// A number that counts bytes or things, and is not negative.
    pub(super) fn count(&mut self) -> Result<usize, AvroError> {
        let here = self.clone();
        let value = self.long()?;
        usize::try_from(value).or_else(|_| here.refuse(Got::Number(value), "a count"))
    }

    /// Bytes with their length before them.
    pub(super) fn bytes(&mut self) -> Result<&'a [u8], AvroError> {
        let here = self.clone();
        let count = self.count()?;
        match self.rest.split_at_checked(count) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => here.refuse(Got::count(count), "a length of what is there"),
        }
    }

    /// Text with its length before it.
    pub(super) fn text(&mut self) -> Result<&'a str, AvroError> {
        let here = self.clone();
        let bytes = self.bytes()?;
        str::from_utf8(bytes).or_else(|_| here.refuse(Got::Bytes(bytes.len()), "UTF-8"))
    }

    /// The head of one block of an array or map: how many items follow, and how many bytes they take where that is
    /// said. `None` ends the array.
    pub(super) fn items(&mut self) -> Result<Option<(u64, Option<usize>)>, AvroError> {
        match self.long()? {
            0 => Ok(None),
            count if 0 < count => Ok(Some((count.unsigned_abs(), None))),
            count => Ok(Some((count.unsigned_abs(), Some(self.count()?)))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Cursor;

    #[test]
    fn numbers() {
        let check = |bytes: &[u8], want: Option<(i64, usize)>| {
            let mut cursor = Cursor::new(bytes, 0);
            let got = cursor.long().ok().map(|value| (value, cursor.at()));
            assert_eq!(got, want, "{bytes:02x?}");
        };
        check(&[0], Some((0, 1)));
        check(&[1], Some((-1, 1)));
        check(&[2], Some((1, 1)));
        check(&[0x7f], Some((-64, 1)));
        check(&[0x80, 1, 9], Some((64, 2)));
        check(&[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], Some((i64::MAX, 10)));
        check(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], Some((i64::MIN, 10)));
        check(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2], None);
        check(&[0x80; 11], None);
        check(&[0x80], None);
        check(&[], None);
    }

    #[test]
    fn narrow_numbers() {
        let check = |bytes: &[u8], want: Option<i32>| {
            assert_eq!(Cursor::new(bytes, 0).int().ok(), want, "{bytes:02x?}");
        };
        check(&[0xfe, 0xff, 0xff, 0xff, 0x0f], Some(i32::MAX));
        check(&[0xff, 0xff, 0xff, 0xff, 0x0f], Some(i32::MIN));
        check(&[0x80, 0x80, 0x80, 0x80, 0x10], None);
    }

    #[test]
    fn lengths_are_checked() {
        let check = |bytes: &[u8], want: Option<&[u8]>| {
            assert_eq!(Cursor::new(bytes, 0).bytes().ok(), want, "{bytes:02x?}");
        };
        check(&[0], Some(b""));
        check(&[4, 7, 8, 9], Some(&[7, 8]));
        check(&[6, 7, 8], None);
        check(&[1], None);
        check(&[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0], None);
        assert!(Cursor::new(&[2, 0xff], 0).text().is_err());
        assert!(Cursor::new(&[2], 0).boolean().is_err());
    }
}
