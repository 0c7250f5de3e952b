//! Reads a tar archive as it comes: blocks of 512 bytes in, members and their bytes out. Pure.
//!
//! `s3::extract` feeds it a payload. Source: POSIX.1-2024, pax, "ustar Interchange Format" and "pax Interchange Format"; GNU
//! tar manual, "Basic Tar Format". I1. Any bytes are taken without panic, cut anywhere. I2. What is held is one block, one
//! piece of the input, and at most [`TAR_EXTENDED_BYTES_MAX`] of a long name or of extended records.

use bytes::Bytes;

use crate::limits::TAR_EXTENDED_BYTES_MAX;

const BLOCK_BYTES: usize = 512;

/// How compressed archives begin, and what they are called.
const COMPRESSED: [(&[u8], TarError); 6] = [
    (b"\x1f\x8b", TarError::Gzip),
    (b"\x28\xb5\x2f\xfd", TarError::Zstd),
    (b"BZh", TarError::Bzip2),
    (b"\xfd7zXZ\0", TarError::Xz),
    (b"\x04\x22\x4d\x18", TarError::Lz4),
    (b"\xff\x06\0\0", TarError::Snappy),
];

/// What prefix a record of a member's metadata has: MinIO's clients write them.
const METADATA: &[u8] = b"minio.metadata.";

/// What makes an archive unreadable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the texts say it")]
pub enum TarError {
    Gzip,
    Zstd,
    Bzip2,
    Xz,
    Lz4,
    Snappy,
    NoArchive,
    Number,
    Extended,
    TooLong,
    Sparse,
    VersionId,
    LoneZeroBlock,
    Truncated,
}

impl TarError {
    /// In words for the client.
    pub fn text(self) -> &'static str {
        match self {
            TarError::Gzip => "The archive is compressed with gzip; send a plain tar",
            TarError::Zstd => "The archive is compressed with zstd; send a plain tar",
            TarError::Bzip2 => "The archive is compressed with bzip2; send a plain tar",
            TarError::Xz => "The archive is compressed with xz; send a plain tar",
            TarError::Lz4 => "The archive is compressed with lz4; send a plain tar",
            TarError::Snappy => "The archive is compressed with S2 or Snappy; send a plain tar",
            TarError::NoArchive => "The archive has a header whose checksum is wrong",
            TarError::Number => "The archive has a header with a size that is no number",
            TarError::Extended => "The archive has extended records that cannot be read",
            TarError::TooLong => "The archive has extended records or a name over 65536 bytes",
            TarError::Sparse => "The archive has a sparse file, which is not taken",
            TarError::VersionId => "The archive names a version of an object, which is not taken",
            TarError::LoneZeroBlock => "The archive goes on behind a zero block",
            TarError::Truncated => "The archive ends within a member",
        }
    }
}

/// A file or directory of an archive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// Its name as it stands there.
    pub name: Vec<u8>,
    /// Bytes of a file; 0 for a directory.
    pub size: u64,
    /// A directory.
    pub is_directory: bool,
    /// Headers that it is to have as an object: `minio.metadata.NAME` of its extended records.
    pub metadata: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// More input is needed, or there is none any more.
    More,
    /// A file or directory begins.
    Member(Member),
    /// Bytes of the file.
    Data(Bytes),
    /// The file or directory is whole.
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    File,
    LongName,
    Records,
    Nothing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Gathers a header.
    Header,
    /// So many bytes of something are to come, and so many of padding behind them.
    Content {
        what: What,
        left: u64,
        padding: u64,
    },
    Padding {
        left: u64,
    },
    /// Behind the end nothing counts.
    Ended,
}

/// A tar archive that is being read.
#[derive(Debug)]
pub struct Tar {
    input: Bytes,
    /// A header, or what is gathered of a long name or of records.
    gathered: Vec<u8>,
    state: State,
    /// What extended headers said of the next member.
    long_name: Option<Vec<u8>>,
    long_size: Option<u64>,
    metadata: Vec<(Vec<u8>, Vec<u8>)>,
    /// A zero block came.
    is_ending: bool,
    /// A whole block came.
    is_begun: bool,
}

impl Default for Tar {
    fn default() -> Tar {
        Tar {
            input: Bytes::new(),
            gathered: Vec::with_capacity(BLOCK_BYTES),
            state: State::Header,
            long_name: None,
            long_size: None,
            metadata: Vec::new(),
            is_ending: false,
            is_begun: false,
        }
    }
}

impl Tar {
    /// Takes the next piece, when all before it is used up ([`Event::More`]).
    pub fn push(&mut self, piece: Bytes) {
        assert!(self.input.is_empty(), "a piece before the last was used up");
        self.input = piece;
    }

    /// What comes next of what was pushed.
    pub fn step(&mut self) -> Result<Event, TarError> {
        loop {
            match self.state {
                State::Ended => {
                    self.input.clear();
                    return Ok(Event::More);
                }
                State::Padding { left } => {
                    let left = left - self.take(left).len() as u64;
                    self.state = if left == 0 { State::Header } else { State::Padding { left } };
                    if 0 < left {
                        return Ok(Event::More);
                    }
                }
                State::Header => {
                    let wanted = (BLOCK_BYTES - self.gathered.len()) as u64;
                    let piece = self.take(wanted);
                    self.gathered.extend_from_slice(&piece);
                    if self.gathered.len() < BLOCK_BYTES {
                        return Ok(Event::More);
                    }
                    let block = std::mem::take(&mut self.gathered);
                    if let Some(member) = self.header(&block)? {
                        return Ok(Event::Member(member));
                    }
                }
                State::Content { what, left: 0, padding } => {
                    self.state = State::Padding { left: padding };
                    let gathered = std::mem::take(&mut self.gathered);
                    match what {
                        What::File => return Ok(Event::End),
                        What::Nothing => {}
                        What::LongName => {
                            let end = gathered.iter().position(|byte| *byte == 0).unwrap_or(gathered.len());
                            self.long_name = gathered.get(..end).map(<[u8]>::to_vec);
                        }
                        What::Records => self.records(&gathered)?,
                    }
                }
                State::Content { what, left, padding } => {
                    let piece = self.take(left);
                    if piece.is_empty() {
                        return Ok(Event::More);
                    }
                    self.state = State::Content { what, left: left - piece.len() as u64, padding };
                    match what {
                        What::File => return Ok(Event::Data(piece)),
                        What::Nothing => {}
                        What::LongName | What::Records => self.gathered.extend_from_slice(&piece),
                    }
                }
            }
        }
    }

    /// Says that no more input comes: all that began must be whole. The zero blocks at the end may be missing.
    pub fn finish(&self) -> Result<(), TarError> {
        match self.state {
            State::Ended => Ok(()),
            State::Header if self.gathered.is_empty() && self.is_begun && self.long_name.is_none() => Ok(()),
            State::Header if !self.is_begun => {
                Err(compression(&self.gathered).unwrap_or(TarError::Truncated))
            }
            _ => Err(TarError::Truncated),
        }
    }

    fn take(&mut self, most: u64) -> Bytes {
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(self.input.len());
        self.input.split_to(most)
    }

    /// Reads a header and chooses what follows; a member, if it is that of one.
    fn header(&mut self, block: &[u8]) -> Result<Option<Member>, TarError> {
        let is_first = !std::mem::replace(&mut self.is_begun, true);
        if block.iter().all(|byte| *byte == 0) {
            if std::mem::replace(&mut self.is_ending, true) {
                self.state = State::Ended;
            }
            return Ok(None);
        }
        if self.is_ending {
            return Err(TarError::LoneZeroBlock);
        }
        if !has_sum(block) {
            let compressed = compression(block).filter(|_| is_first);
            return Err(compressed.unwrap_or(TarError::NoArchive));
        }
        let sized = number(part(block, 124, 12)).ok_or(TarError::Number)?;
        let kind = part(block, 156, 1).first().copied().unwrap_or(0);
        let what = match kind {
            b'L' => What::LongName,
            b'x' => What::Records,
            // Of links and devices there are no bytes, whatever their size says.
            b'1'..=b'4' | b'6' => What::Nothing,
            b'S' => return Err(TarError::Sparse),
            b'0' | b'5' | b'7' | 0 => What::File,
            // Records for all members, names of links, volume labels: what is not known is passed over.
            _ => What::Nothing,
        };
        let is_member = what == What::File || matches!(kind, b'1'..=b'4' | b'6');
        if !is_member {
            let extended = matches!(what, What::LongName | What::Records);
            if extended && TAR_EXTENDED_BYTES_MAX < sized {
                return Err(TarError::TooLong);
            }
            self.expect(what, sized);
            return Ok(None);
        }
        let name = self.long_name.take().unwrap_or_else(|| short_name(block));
        let size = self.long_size.take().unwrap_or(sized);
        let metadata = std::mem::take(&mut self.metadata);
        if what == What::Nothing {
            self.expect(what, 0);
            return Ok(None);
        }
        let is_directory = kind == b'5' || (kind == 0 && name.ends_with(b"/"));
        let size = if is_directory { 0 } else { size };
        self.expect(What::File, size);
        Ok(Some(Member { name, size, is_directory, metadata }))
    }

    fn expect(&mut self, what: What, left: u64) {
        let block = BLOCK_BYTES as u64;
        self.state = State::Content { what, left, padding: (block - left % block) % block };
    }

    /// Reads extended records: `LENGTH KEY=VALUE\n`, one behind the other.
    fn records(&mut self, mut rest: &[u8]) -> Result<(), TarError> {
        while !rest.is_empty() {
            let blank = rest.iter().position(|byte| *byte == b' ').ok_or(TarError::Extended)?;
            let length = decimal(rest.get(..blank).unwrap_or_default()).ok_or(TarError::Extended)?;
            let length = usize::try_from(length).map_err(|_| TarError::Extended)?;
            let record = rest.get(blank + 1..length).ok_or(TarError::Extended)?;
            let record = record.strip_suffix(b"\n").ok_or(TarError::Extended)?;
            let equals = record.iter().position(|byte| *byte == b'=').ok_or(TarError::Extended)?;
            let (key, value) = record.split_at(equals);
            let value = value.get(1..).unwrap_or_default();
            match key {
                b"path" => self.long_name = Some(value.to_vec()),
                b"size" => self.long_size = Some(decimal(value).ok_or(TarError::Number)?),
                b"minio.versionId" => return Err(TarError::VersionId),
                key if key.starts_with(b"GNU.sparse.") => return Err(TarError::Sparse),
                key => {
                    if let Some(name) = key.strip_prefix(METADATA) {
                        self.metadata.push((name.to_vec(), value.to_vec()));
                    }
                }
            }
            rest = rest.get(length..).unwrap_or_default();
        }
        Ok(())
    }
}

/// Bytes of a header; nothing behind its end.
fn part(block: &[u8], at: usize, len: usize) -> &[u8] {
    block.get(at..at + len).unwrap_or_default()
}

/// A text that ends at its first NUL or fills its field.
fn text(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    field.get(..end).unwrap_or_default()
}

fn short_name(block: &[u8]) -> Vec<u8> {
    let name = text(part(block, 0, 100));
    let prefix = text(part(block, 345, 155));
    // In GNU's older form other things stand where the prefix is.
    match part(block, 257, 6) == b"ustar\0" && !prefix.is_empty() {
        true => [prefix, b"/", name].concat(),
        false => name.to_vec(),
    }
}

/// Whether a header's checksum is right: the sum of its bytes, signed or not, its own field taken as blanks.
fn has_sum(block: &[u8]) -> bool {
    let Some(said) = number(part(block, 148, 8)) else { return false };
    let (mut plain, mut signed) = (0_u64, 0_i64);
    for (at, byte) in block.iter().enumerate() {
        let byte = if (148..156).contains(&at) { b' ' } else { *byte };
        plain += u64::from(byte);
        signed += i64::from(byte.cast_signed());
    }
    said == plain || i64::try_from(said) == Ok(signed)
}

/// A number of a header: octal digits between blanks and NULs, or, with its first bit set, binary.
fn number(field: &[u8]) -> Option<u64> {
    if let [first, rest @ ..] = field
        && *first & 0x80 != 0
    {
        // The first byte has seven bits; a negative number has them set.
        return rest.iter().try_fold(u64::from(*first & 0x7f), |number, byte| {
            number.checked_mul(256).map(|number| number | u64::from(*byte))
        });
    }
    let digits = field.split(|byte| matches!(byte, b' ' | 0)).find(|digits| !digits.is_empty());
    digits.unwrap_or_default().iter().try_fold(0_u64, |number, digit| match digit {
        b'0'..=b'7' => number.checked_mul(8).map(|number| number | u64::from(digit - b'0')),
        _ => None,
    })
}

fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, digit| match digit {
        b'0'..=b'9' => number.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

/// How bytes that are no header are compressed, if they look so.
fn compression(bytes: &[u8]) -> Option<TarError> {
    COMPRESSED.iter().find(|(start, _)| bytes.starts_with(start)).map(|(_, error)| *error)
}

/// Fuzz entry: whatever the bytes are and wherever they are cut (the first byte says into pieces of which size), what comes out is
/// the same.
pub fn fuzz_tar(bytes: &[u8]) {
    let Some((cut, bytes)) = bytes.split_first() else { return };
    let whole = read_all(bytes, bytes.len().max(1));
    assert_eq!(read_all(bytes, usize::from(*cut) + 1), whole);
}

/// Members with their bytes, and how it ended.
type Read = (Vec<(Member, Vec<u8>)>, Result<(), TarError>);

fn read_all(bytes: &[u8], piece: usize) -> Read {
    let mut tar = Tar::default();
    let mut pieces = bytes.chunks(piece);
    let mut members: Vec<(Member, Vec<u8>)> = Vec::new();
    loop {
        match tar.step() {
            Err(why) => return (members, Err(why)),
            Ok(Event::Member(member)) => members.push((member, Vec::new())),
            Ok(Event::Data(data)) => {
                assert!(!data.is_empty());
                members.last_mut().expect("data is that of a member").1.extend_from_slice(&data);
            }
            Ok(Event::End) => {
                let (member, data) = members.last().expect("a member ends that began");
                assert_eq!(member.size, data.len() as u64);
            }
            Ok(Event::More) => match pieces.next() {
                Some(piece) => tar.push(Bytes::copy_from_slice(piece)),
                None => return (members, tar.finish()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A member as tar programs write it, with its bytes and padding.
    fn member(name: &str, kind: u8, data: &[u8]) -> Vec<u8> {
        let mut block = vec![0; BLOCK_BYTES];
        block[..name.len()].copy_from_slice(name.as_bytes());
        block[100..108].copy_from_slice(b"0000644\0");
        block[124..136].copy_from_slice(format!("{:011o}\0", data.len()).as_bytes());
        block[156] = kind;
        block[257..265].copy_from_slice(b"ustar\x0000");
        sum(&mut block);
        block.extend_from_slice(data);
        block.resize(block.len().next_multiple_of(BLOCK_BYTES), 0);
        block
    }

    fn sum(block: &mut [u8]) {
        block[148..156].fill(b' ');
        let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }

    fn record(key: &str, value: &str) -> String {
        let rest = format!(" {key}={value}\n");
        let mut length = rest.len() + 1;
        while length != rest.len() + length.to_string().len() {
            length = rest.len() + length.to_string().len();
        }
        format!("{length}{rest}")
    }

    fn check(parts: &[Vec<u8>], want: &[(&str, &[u8])], end: Result<(), TarError>) {
        let bytes = parts.concat();
        for piece in [1, 7, 512, 513, bytes.len().max(1)] {
            let (members, ended) = read_all(&bytes, piece);
            let got: Vec<(String, Vec<u8>)> = members
                .into_iter()
                .map(|(member, data)| (String::from_utf8_lossy(&member.name).into_owned(), data))
                .collect();
            let want: Vec<(String, Vec<u8>)> =
                want.iter().map(|(name, data)| ((*name).to_owned(), data.to_vec())).collect();
            assert_eq!((got, ended), (want, end), "in pieces of {piece}");
        }
    }

    #[test]
    fn members_come_as_they_stand() {
        let zeros = vec![0; 2 * BLOCK_BYTES];
        let big = vec![7; 1_300];
        check(std::slice::from_ref(&zeros), &[], Ok(()));
        let all = [member("a", b'0', b"one"), member("d/", b'5', b""), member("d/b", 0, &big), zeros.clone()];
        check(&all, &[("a", b"one"), ("d/", b""), ("d/b", &big)], Ok(()));
        // Without its end, as streams that were closed early; with a member behind it, which nobody reads.
        check(&all[..3], &[("a", b"one"), ("d/", b""), ("d/b", &big)], Ok(()));
        check(&[zeros.clone(), all[0].clone()], &[], Ok(()));
        check(&[vec![0; BLOCK_BYTES], all[0].clone()], &[], Err(TarError::LoneZeroBlock));
        // Links and devices are none; what is not known is passed over with its bytes.
        check(
            &[member("l", b'2', b""), member("g", b'g', b"bytes"), member("a", b'0', b"x")],
            &[("a", b"x")],
            Ok(()),
        );
    }

    #[test]
    fn long_names_and_sizes() {
        let long = "n".repeat(300);
        let gnu = member("././@LongLink", b'L', format!("{long}\0").as_bytes());
        check(&[gnu, member("short", b'0', b"x")], &[(&long, b"x")], Ok(()));
        let records = [record("mtime", "1.5"), record("path", &long), record("size", "3")].concat();
        let mut sized = member("short", b'0', b"xyz");
        sized[124..136].fill(0);
        sum(&mut sized[..BLOCK_BYTES]);
        let pax = member("pax", b'x', records.as_bytes());
        check(&[pax.clone(), sized, member("next", b'0', b"")], &[(&long, b"xyz"), ("next", b"")], Ok(()));
        let mut prefixed = member("name", b'0', b"x");
        prefixed[345..348].copy_from_slice(b"dir");
        sum(&mut prefixed[..BLOCK_BYTES]);
        check(&[prefixed], &[("dir/name", b"x")], Ok(()));
        let mut binary = member("binary", b'0', b"x");
        binary[124..136].copy_from_slice(b"\x80\0\0\0\0\0\0\0\0\0\0\x01");
        sum(&mut binary[..BLOCK_BYTES]);
        check(&[binary], &[("binary", b"x")], Ok(()));
        let (members, _) = read_all(
            &[
                member("pax", b'x', record("minio.metadata.Content-Type", "a/b").as_bytes()),
                member("a", b'0', b""),
            ]
            .concat(),
            64,
        );
        assert_eq!(members[0].0.metadata, [(b"Content-Type".to_vec(), b"a/b".to_vec())]);
    }

    #[test]
    fn what_is_broken_is_said() {
        let whole = member("a", b'0', b"bytes");
        check(&[], &[], Err(TarError::Truncated));
        check(&[whole[..100].to_vec()], &[], Err(TarError::Truncated));
        check(&[whole[..514].to_vec()], &[("a", b"by")], Err(TarError::Truncated));
        check(&[whole[..600].to_vec()], &[("a", b"bytes")], Err(TarError::Truncated));
        let mut bad = whole.clone();
        bad[0] = b'b';
        check(&[whole.clone(), bad.clone()], &[("a", b"bytes")], Err(TarError::NoArchive));
        check(&[bad], &[], Err(TarError::NoArchive));
        let mut number = whole.clone();
        number[124..136].copy_from_slice(b"89         \0");
        sum(&mut number[..BLOCK_BYTES]);
        check(&[number], &[], Err(TarError::Number));
        for (start, error) in COMPRESSED {
            check(&[start.to_vec()], &[], Err(error));
            check(&[[start, &[1; 2 * BLOCK_BYTES]].concat()], &[], Err(error));
        }
        check(&[member("s", b'S', b"")], &[], Err(TarError::Sparse));
        let records = |text: &str| [member("pax", b'x', text.as_bytes()), whole.clone()];
        check(&records(&record("GNU.sparse.major", "1")), &[], Err(TarError::Sparse));
        check(&records(&record("minio.versionId", "1")), &[], Err(TarError::VersionId));
        for text in ["x", "9 a", "5 a=b", "99 path=x\n", "6 ab\n\n", " a=b\n", "18446744073709551616 a=b\n"] {
            check(&records(text), &[], Err(TarError::Extended));
        }
        let long = usize::try_from(TAR_EXTENDED_BYTES_MAX).expect("small") + 1;
        check(&[member("././@LongLink", b'L', &vec![b'n'; long])], &[], Err(TarError::TooLong));
    }

    #[test]
    fn altered_bytes_never_panic() {
        let bytes = [
            member("pax", b'x', record("path", "long").as_bytes()),
            member("a", b'0', b"bytes"),
            member("././@LongLink", b'L', b"name\0"),
            member("b", b'5', b""),
            vec![0; 2 * BLOCK_BYTES],
        ]
        .concat();
        for at in (0..bytes.len()).step_by(3) {
            let mut bad = bytes.clone();
            bad[at] ^= 0x81;
            fuzz_tar(&[&[17][..], bad.as_slice()].concat());
            fuzz_tar(&[&[200][..], &bytes[..at]].concat());
        }
    }
}
