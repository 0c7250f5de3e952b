//! Holding stored bytes against their checksums, for reads and for the scrub: which units are not what they were.
//!
//! `handle::scrub` runs it beside requests, `inspect` on a store that nobody serves. I1. Every unit is looked at by
//! itself: one that is damaged or unreadable hides no other. I2. Nothing is held while a drive is waited for; who runs
//! beside writers asks whether a blob is still there before believing that it is damaged, because its space may have been
//! used again. I3. A place that lies outside of its drive is damage, never a read.

use std::future::Future;

use super::Blobs;
use super::layout::{Blob, Piece, Reach, pieces};
use crate::error::DriveError;
use crate::format::cell::Units;
use crate::format::checksum::unit_checksums;
use crate::units::{DriveOffset, UNIT_BYTES};

/// Bytes of an extent that are read at once, and what may lie between two pieces of one read.
const PIECE_BYTES: u64 = 4 * UNIT_BYTES;
const GAP_BYTES: u64 = UNIT_BYTES;

/// A unit that was read.
pub(super) struct Checked {
    pub(super) piece: Piece,
    /// The checksum of what is there.
    pub(super) got: u64,
    /// What it should be; `None` for a unit that the blob does not have.
    pub(super) expected: Option<u64>,
}

/// The units of a piece whose bytes are `bytes`, of a blob that has `units`.
pub(super) fn checked(piece: Piece, bytes: &[u8], units: &Units) -> impl Iterator<Item = Checked> {
    piece.units().zip(unit_checksums(bytes)).map(|(piece, got)| Checked {
        piece,
        got,
        expected: expected(piece, units),
    })
}

/// Whether `bytes`, of a whole blob, are what `units` says.
pub(super) fn is_whole(bytes: &[u8], units: &Units) -> bool {
    unit_checksums(bytes).eq(units.as_slice().iter().copied())
}

fn expected(unit: Piece, units: &Units) -> Option<u64> {
    units.as_slice().get(usize::try_from(unit.first_unit).ok()?).copied()
}

/// A unit that is not what was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadUnit {
    /// Which of the blobs.
    pub(crate) blob: usize,
    /// The unit's first byte within the blob, and its bytes.
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
    pub(crate) drive: u16,
    pub(crate) at: DriveOffset,
    pub(crate) got: u64,
    pub(crate) expected: u64,
    /// Why it could not even be read.
    pub(crate) unreadable: Option<DriveError>,
}

impl BadUnit {
    fn new(
        blob: usize,
        unit: Piece,
        got: u64,
        expected: Option<u64>,
        unreadable: Option<DriveError>,
    ) -> BadUnit {
        BadUnit {
            blob,
            offset: unit.first_unit * UNIT_BYTES,
            bytes: unit.bytes,
            drive: unit.drive,
            at: unit.at,
            got,
            expected: expected.unwrap_or_default(),
            unreadable,
        }
    }
}

impl Blobs {
    /// Reads all units of `blobs` and returns those that are damaged. `pace` is given the bytes of every read behind it, and
    /// ends everything when it gives false.
    pub(crate) async fn verify<F: Future<Output = bool>>(
        &self,
        blobs: &[&Blob],
        mut pace: impl FnMut(u64) -> F,
    ) -> Vec<BadUnit> {
        let mut bad = Vec::new();
        let numbered = blobs.iter().enumerate();
        let mut pieces: Vec<(usize, Piece)> = numbered
            .flat_map(|(nth, blob)| pieces(blob, PIECE_BYTES).map(move |piece| (nth, piece)))
            .collect();
        pieces.sort_by_key(|(_, piece)| (piece.drive, piece.at));
        let mut rest = pieces.as_slice();
        while let Some((_, first)) = rest.first() {
            let mut reach = Reach::of(*first, GAP_BYTES);
            let more = rest.iter().skip(1).take_while(|(_, next)| {
                let joins = reach.joins(*next);
                if joins {
                    reach.extend(*next);
                }
                joins
            });
            let (run, later) = rest.split_at(1 + more.count());
            rest = later;
            let read_bytes = match self.check(blobs, reach, run, &mut bad).await {
                Ok(bytes) => bytes,
                Err(_) => {
                    // Something in there cannot be read: unit by unit, so that the rest is seen.
                    for (blob, unit) in
                        run.iter().flat_map(|(blob, piece)| piece.units().map(|unit| (*blob, unit)))
                    {
                        let alone = self.check(blobs, Reach::of(unit, 0), &[(blob, unit)], &mut bad).await;
                        if let Err(error) = alone {
                            let expected = expected(unit, &blobs[blob].units);
                            bad.push(BadUnit::new(blob, unit, 0, expected, error));
                        }
                    }
                    run.iter().map(|(_, piece)| piece.bytes).sum()
                }
            };
            if !pace(read_bytes).await {
                break;
            }
        }
        bad
    }

    /// Reads pieces together and notes damaged units; returns the bytes that were read. `Err(None)`: they lie outside of
    /// their drive.
    async fn check(
        &self,
        blobs: &[&Blob],
        reach: Reach,
        pieces: &[(usize, Piece)],
        bad: &mut Vec<BadUnit>,
    ) -> Result<u64, Option<DriveError>> {
        let stretch = self.read_stretch(reach).await?;
        for (blob, piece) in pieces {
            let units = checked(*piece, stretch.bytes_of(*piece), &blobs[*blob].units);
            let damaged = units.filter(|unit| unit.expected != Some(unit.got));
            bad.extend(damaged.map(|unit| BadUnit::new(*blob, unit.piece, unit.got, unit.expected, None)));
        }
        Ok(reach.bytes().unwrap_or_default())
    }
}
