//! The bytes of one download on their way from drives to a socket, and how many of them may be in memory.
//!
//! `s3::get_object` starts one for an answer of more than one piece, `render::body` hands its pieces to hyper, and the
//! core's [`Downloads`] take read-ahead back from those whose client has stopped taking.
//!
//! I1. Two pieces of a download are counted from its start until its last piece has left: the one that hyper sends and
//! the one that is read. I2. Further ones are counted one by one while they may be read ahead, which they may while less
//! than half of the core's [`DOWNLOAD_BYTES_MAX`](crate::limits::DOWNLOAD_BYTES_MAX) is used. I3. A client that takes
//! nothing keeps no more than I1 says, from the second look of [`Downloads::shed_stalled`] on.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use nilas_engine::{EngineError, ObjectReader, ObjectStream};

use crate::limits::DOWNLOAD_PIECES;
use crate::memory::{Budget, Permit};
use crate::sse::units::{Opener, Unopened};

/// Pieces that are read or kept at once, at most.
const DEPTH_MAX: usize = nilas_engine::limits::IO_DEPTH_PER_STREAM;

/// The downloads of one core.
#[derive(Clone)]
pub struct Downloads {
    budget: Budget,
    running: Rc<RefCell<Vec<Weak<RefCell<Reading>>>>>,
}

/// Why the next bytes cannot be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadFault {
    /// They could not be read.
    Engine(EngineError),
    /// They are encrypted, and not what their key sealed there.
    Unopened(Unopened),
}

/// One download.
pub struct Download {
    reading: Rc<RefCell<Reading>>,
    base: Option<Permit>,
}

struct Reading {
    stream: ObjectStream,
    /// Opens its pieces, if they are encrypted.
    opener: Option<Box<Opener>>,
    budget: Budget,
    piece_bytes: usize,
    ahead: Vec<Permit>,
    /// We wait for a drive, not for the client.
    waits: bool,
    /// Looks since hyper last asked for a piece.
    looks: u8,
}

impl Downloads {
    /// No downloads, in `budget`.
    pub fn new(budget: Budget) -> Downloads {
        Downloads { budget, running: Rc::default() }
    }

    /// Opens `range` of an object, as it is stored, which is not empty (asserted), once there is room for it; its pieces go through
    /// `opener`.
    ///
    /// [`EngineError::Busy`] when there is none within the wait of a budget.
    pub async fn start(
        &self,
        reader: ObjectReader,
        range: Range<u64>,
        opener: Option<Box<Opener>>,
    ) -> Result<Download, EngineError> {
        assert!(!range.is_empty());
        let piece_bytes = piece_bytes(self.budget.used(), self.budget.max());
        let wanted = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        let base = self.budget.take(wanted.min(2 * piece_bytes)).await?;
        let mut reading = Reading {
            stream: reader.read_by_pieces(range, piece_bytes),
            opener,
            budget: self.budget.clone(),
            piece_bytes,
            ahead: Vec::new(),
            waits: false,
            looks: 0,
        };
        while reading.widen() {}
        let reading = Rc::new(RefCell::new(reading));
        let mut running = self.running.borrow_mut();
        running.retain(|other| other.strong_count() != 0);
        running.push(Rc::downgrade(&reading));
        Ok(Download { reading, base: Some(base) })
    }

    /// Takes read-ahead back from downloads that nobody took anything of since the last call but one.
    pub fn shed_stalled(&self) {
        let mut running = self.running.borrow_mut();
        running.retain(|reading| {
            reading.upgrade().is_some_and(|reading| {
                reading.borrow_mut().look();
                true
            })
        });
    }
}

impl fmt::Debug for Downloads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} downloads in {:?}", self.running.borrow().len(), self.budget)
    }
}

impl Download {
    /// The next piece.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, ReadFault>>> {
        let mut reading = self.reading.borrow_mut();
        reading.looks = 0;
        reading.waits = true;
        let next = ready!(reading.stream.poll_next(cx));
        reading.waits = false;
        reading.narrow();
        // One more for each that was taken.
        reading.widen();
        Poll::Ready(next.map(|piece| opened(piece, reading.opener.as_deref_mut())))
    }

    /// The next piece.
    pub async fn next(&mut self) -> Option<Result<Bytes, ReadFault>> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Binds what the download holds to its last piece.
    pub fn end(mut self, last: Bytes) -> Bytes {
        match self.base.take() {
            Some(base) => base.bind(last),
            None => last,
        }
    }
}

/// A piece as its object has it.
pub(crate) fn opened(
    piece: Result<Bytes, EngineError>,
    opener: Option<&mut Opener>,
) -> Result<Bytes, ReadFault> {
    let stored = piece.map_err(ReadFault::Engine)?;
    match opener {
        None => Ok(stored),
        Some(opener) => opener.open(&stored).map_err(ReadFault::Unopened),
    }
}

impl Reading {
    /// Allows one more piece to be read ahead, if there is one and room for it.
    fn widen(&mut self) -> bool {
        let depth = 1 + self.ahead.len();
        let half = self.budget.max() / 2;
        if DEPTH_MAX <= depth
            || self.stream.pieces_left() <= depth
            || half < self.budget.used().saturating_add(self.piece_bytes)
        {
            return false;
        }
        let Some(permit) = self.budget.try_take(self.piece_bytes) else { return false };
        self.ahead.push(permit);
        self.stream.set_depth(1 + self.ahead.len());
        true
    }

    /// Gives back what no piece is left for.
    fn narrow(&mut self) {
        let useful = self.stream.pieces_left().saturating_sub(1);
        if useful < self.ahead.len() {
            self.ahead.truncate(useful);
            self.stream.set_depth(1 + useful);
        }
    }

    fn look(&mut self) {
        self.looks = self.looks.saturating_add(1);
        if 1 < self.looks && !self.waits && !self.ahead.is_empty() {
            self.stream.shed();
            self.stream.set_depth(1);
            self.ahead.clear();
        }
    }
}

/// The pieces of a download that starts when `used` of `max` bytes are taken: the fuller, the smaller.
fn piece_bytes(used: usize, max: usize) -> usize {
    let [large, middle, small] = DOWNLOAD_PIECES;
    let wanted = match used {
        _ if used < max / 2 => large,
        _ if used < max / 4 * 3 => middle,
        _ => small,
    };
    // Where a few of them would take everything, none is large.
    if max / 16 < wanted { small } else { wanted }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_shrink_as_memory_does() {
        let max = 128 << 20;
        assert_eq!(piece_bytes(0, max), 1 << 20);
        assert_eq!(piece_bytes(max / 2, max), 256 << 10);
        assert_eq!(piece_bytes(max / 4 * 3, max), 64 << 10);
        assert_eq!(piece_bytes(0, 4 << 20), 64 << 10);
    }
}
