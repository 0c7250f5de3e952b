//! Multipart uploads: open ones in a tree by id, parts in a tree by (upload, number). The parts of a completed upload
//! stay there: its object refers to them.

use bytes::Bytes;

use super::apply::displace;
use super::tree::CellRef;
use super::{BucketIndex, Effects, cell_of, place_of};
use crate::format::cell::{BlobLocation, Cell};
use crate::format::{Malformed, Reader};
use crate::limits::{ATTRIBUTES_BYTES_MAX, KEY_BYTES_MAX};
use crate::mutant::{Mutant, seeded};
use crate::object::{PartInfo, UploadId, UploadInfo};
use crate::units::Sequence;

impl BucketIndex {
    /// An open upload.
    pub(crate) fn upload(&self, id: UploadId) -> Option<UploadInfo> {
        let found = self.uploads.get(&upload_key(id.0))?;
        Some(upload_info(&found, id))
    }

    /// Whether an upload is open.
    pub(crate) fn has_upload(&self, id: UploadId) -> bool {
        self.uploads.get(&upload_key(id.0)).is_some()
    }

    /// A part of an open upload.
    pub(crate) fn part(&self, id: UploadId, number: u16) -> Option<PartInfo> {
        let found = self.parts.get(&part_key(id.0, number))?;
        let cell = cell_of(found.payload);
        Some(part_info(number, &found, &cell))
    }

    /// Parts of an open upload with a number greater than `after`, in order.
    pub(crate) fn parts(&self, id: UploadId, after: u16, max: usize) -> Option<Vec<PartInfo>> {
        if !self.has_upload(id) {
            return None;
        }
        let mut parts = Vec::new();
        if after < u16::MAX && max > 0 {
            self.scan_parts(id.0, after + 1, |number, found, cell| {
                parts.push(part_info(number, found, cell));
                parts.len() < max
            });
        }
        Some(parts)
    }

    pub(super) fn scan_parts(
        &self,
        upload: u128,
        from: u16,
        mut visit: impl FnMut(u16, &CellRef<'_>, &Cell<'_>) -> bool,
    ) {
        let id = upload_key(upload);
        self.parts.scan(&part_key(upload, from), |found| {
            if !found.key.starts_with(&id) {
                return false;
            }
            let cell = cell_of(found.payload);
            visit(part_number(&found.key.to_vec()), &found, &cell)
        });
    }

    /// The first open uploads, at most `max`, in no order that means anything.
    pub(crate) fn first_uploads(&self, max: usize) -> Vec<u128> {
        let mut found = Vec::new();
        self.uploads.scan(b"", |cell| {
            if found.len() < max {
                found.push(upload_of(&cell.key.to_vec()));
            }
            found.len() < max
        });
        found
    }

    /// Open uploads in order of (key, id) after `after`.
    pub(crate) fn list_uploads(
        &self,
        prefix: &[u8],
        after: Option<&(Bytes, UploadId)>,
        max: usize,
    ) -> Vec<UploadInfo> {
        let mut found: Vec<UploadInfo> = Vec::new();
        self.uploads.scan(b"", |cell| {
            let id = UploadId(upload_of(&cell.key.to_vec()));
            let info = upload_info(&cell, id);
            if info.key.starts_with(prefix) && after.is_none_or(|(key, id)| (key, id) < (&info.key, &info.id))
            {
                found.push(info);
            }
            true
        });
        found.sort_by(|a, b| (&a.key, a.id).cmp(&(&b.key, b.id)));
        found.truncate(max);
        found
    }

    /// Removes the parts of an object: their extents go out of use together, as readers have them.
    pub(super) fn remove_parts(&mut self, upload: u128, effects: &mut impl Effects) {
        let (from, mut extents) = (part_key(upload, 0), Vec::new());
        loop {
            let at = self.parts.seek(&from);
            let Some(found) = self.parts.at(at).filter(|cell| cell.key.starts_with(&from[..16])) else {
                break;
            };
            let cell = cell_of(found.payload);
            self.part_bytes -= cell.size;
            match place_of(&cell).0 {
                BlobLocation::Log { drive, at } => effects.displaced(drive, at, cell.size),
                BlobLocation::Extents(held) => extents.extend(held.iter()),
                BlobLocation::Nowhere | BlobLocation::Parts { .. } => {}
            }
            self.parts.remove(at);
        }
        if !extents.is_empty() {
            effects.freed(extents);
        }
    }

    pub(super) fn remove_upload(&mut self, upload: u128) -> bool {
        self.uploads.unset(&upload_key(upload))
    }

    /// Removes the parts of an upload that are not named, in ascending order; returns the bytes of those that stay.
    pub(super) fn keep_parts(
        &mut self,
        upload: u128,
        named: &[(u16, Sequence)],
        effects: &mut impl Effects,
    ) -> u64 {
        let (mut from, mut size) = (part_key(upload, 0).to_vec(), 0);
        let mut named = named.iter().map(|(number, _)| *number).peekable();
        loop {
            let at = self.parts.seek(&from);
            let Some(found) = self.parts.at(at).filter(|cell| cell.key.starts_with(&from[..16])) else {
                return size;
            };
            let (key, payload) = (found.key.to_vec(), found.payload);
            let number = part_number(&key);
            while named.peek().is_some_and(|wanted| *wanted < number) {
                named.next();
            }
            if named.peek() == Some(&number) {
                size += cell_of(payload).size;
                from = part_key(upload, number.saturating_add(1)).to_vec();
                if number == u16::MAX {
                    return size;
                }
            } else {
                self.part_bytes -= cell_of(payload).size;
                if !seeded(Mutant::UnchosenKept) {
                    displace(payload, effects);
                }
                self.parts.remove(at);
            }
        }
    }
}

fn part_info(number: u16, found: &CellRef<'_>, cell: &Cell<'_>) -> PartInfo {
    PartInfo {
        number,
        sequence: cell.sequence,
        size: cell.size,
        modified_ms: cell.modified_ms,
        etag: cell.etag,
        attributes: found.share(cell.attributes),
        units: found.share(cell.unit_bytes()),
    }
}

/// Reads an open upload. It was made by `apply`, or looked at by `load`: a failure is a bug.
fn upload_info(found: &CellRef<'_>, id: UploadId) -> UploadInfo {
    decode_upload(&found.share(found.payload), id).expect("checked when it came in")
}

pub(super) fn decode_upload(payload: &Bytes, id: UploadId) -> Result<UploadInfo, Malformed> {
    let mut r = Reader::new(payload.clone());
    let created_ms = r.u64("upload created")?;
    let key = r.string(KEY_BYTES_MAX, "upload key")?;
    let attributes = r.string(ATTRIBUTES_BYTES_MAX, "upload attributes")?;
    Ok(UploadInfo { id, key, created_ms, attributes })
}

#[expect(clippy::big_endian_bytes, reason = "byte order is number order")]
pub(super) fn upload_key(upload: u128) -> [u8; 16] {
    upload.to_be_bytes()
}

#[expect(clippy::big_endian_bytes, reason = "byte order is number order")]
pub(crate) fn upload_of(key: &[u8]) -> u128 {
    key.first_chunk::<16>().map_or(0, |id| u128::from_be_bytes(*id))
}

#[expect(clippy::big_endian_bytes, reason = "byte order is number order")]
pub(super) fn part_key(upload: u128, number: u16) -> [u8; 18] {
    let mut key = [0; 18];
    key[..16].copy_from_slice(&upload.to_be_bytes());
    key[16..].copy_from_slice(&number.to_be_bytes());
    key
}

#[expect(clippy::big_endian_bytes, reason = "byte order is number order")]
pub(crate) fn part_number(key: &[u8]) -> u16 {
    key.get(16..18)
        .and_then(|number| number.first_chunk::<2>())
        .map_or(0, |number| u16::from_be_bytes(*number))
}
