//! Blobs: the bytes of objects and parts on drives, written and read, under a checksum for each unit of 64 KiB.
//!
//! `handle` writes and reads for clients, `shard` for transactions and for cleaning, the scrub and `inspect` verify. The
//! pure cutting is in `layout`; `write`, `read` and `verify` do the rest over [`Drive`]. I1. Nobody outside knows where in
//! an extent a byte is, cuts units, or compares their checksums: what is to lie on several drives is changed here. I2. No
//! byte is handed out that was not verified. I3. What was finished is durable before anything refers to it. Which space a
//! blob gets and who may read it is decided by the shard that owns it, not here.

mod layout;
mod write;
mod flush;
mod read;
mod verify;

use std::rc::Rc;

use crate::drive::Drive;
use crate::platform::Platform;
use flush::FlushGroup;

pub(crate) use layout::{Blob, Piece, RangePiece, Reach, pieces_of_range};
pub(crate) use verify::BadUnit;
pub(crate) use write::{BlobWriter, inline_blob};

/// One core's way to the bytes of blobs on all drives of a store.
pub(crate) struct Blobs {
    /// In the order of the store.
    drives: Vec<Rc<dyn Drive>>,
    /// One for each drive.
    flushes: Vec<FlushGroup>,
    platform: Rc<dyn Platform>,
}

impl Blobs {
    pub(crate) fn new(drives: Vec<Rc<dyn Drive>>, platform: Rc<dyn Platform>) -> Rc<Blobs> {
        let flushes = drives.iter().map(|drive| FlushGroup::new(drive.clone())).collect();
        Rc::new(Blobs { drives, flushes, platform })
    }
}
