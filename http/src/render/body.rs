//! The body of an answer, as hyper takes it: nothing, bytes in memory, or an object read piece by piece.
//!
//! An object's body knows how many bytes it will give, so that hyper sends `Content-Length`. When a read fails
//! after the head has gone out, the body ends in an error and hyper cuts the connection: a client can never take
//! a part of an object for the whole.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use nilas_engine::EngineError;

use crate::download::{Download, ReadFault};
use crate::sse::units::Unopened;

/// The body of an answer.
#[derive(Default)]
pub enum ResponseBody {
    /// No bytes.
    #[default]
    Empty,
    /// Bytes in memory.
    Full(Bytes),
    /// A range of an object.
    Object {
        /// A piece that was read before the head went out.
        first: Option<Bytes>,
        /// Where its pieces come from; nothing once the last was given.
        download: Option<Download>,
        /// Bytes still to come.
        remaining: u64,
    },
}

/// Why a body ended before its announced length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BodyCut {
    /// The engine could not read on.
    Engine(EngineError),
    /// Encrypted bytes are not what their key sealed there.
    Unopened(Unopened),
    /// The engine's stream gave another number of bytes than the object has.
    Length {
        /// Bytes that were still expected.
        expected: u64,
        /// Bytes of the piece that came, 0 at the end of the stream.
        got: u64,
    },
}

impl fmt::Display for BodyCut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BodyCut::Engine(e) => write!(f, "{e}"),
            BodyCut::Unopened(unopened) => write!(f, "{unopened}"),
            BodyCut::Length { expected, got } => {
                write!(f, "object stream: got {got} bytes, expected {expected}")
            }
        }
    }
}

impl std::error::Error for BodyCut {}

impl From<ReadFault> for BodyCut {
    fn from(fault: ReadFault) -> Self {
        match fault {
            ReadFault::Engine(error) => BodyCut::Engine(error),
            ReadFault::Unopened(unopened) => BodyCut::Unopened(unopened),
        }
    }
}

impl From<Bytes> for ResponseBody {
    fn from(bytes: Bytes) -> Self {
        if bytes.is_empty() { ResponseBody::Empty } else { ResponseBody::Full(bytes) }
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ResponseBody::Empty => write!(f, "Empty"),
            ResponseBody::Full(bytes) => write!(f, "Full({} bytes)", bytes.len()),
            ResponseBody::Object { remaining, .. } => write!(f, "Object({remaining} bytes)"),
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyCut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyCut>>> {
        match &mut *self {
            ResponseBody::Empty => Poll::Ready(None),
            ResponseBody::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = ResponseBody::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            ResponseBody::Object { first, download, remaining } => {
                let next = match first.take() {
                    Some(piece) => Some(Ok(piece)),
                    None => match download {
                        Some(download) => std::task::ready!(download.poll_next(cx)),
                        None => None,
                    },
                };
                let piece = match next {
                    Some(Ok(piece)) => piece,
                    Some(Err(fault)) => return self.cut(fault.into()),
                    None => {
                        let expected = *remaining;
                        return self.cut(BodyCut::Length { expected, got: 0 });
                    }
                };
                let got = u64::try_from(piece.len()).unwrap_or(u64::MAX);
                let Some(left) = remaining.checked_sub(got) else {
                    let expected = *remaining;
                    return self.cut(BodyCut::Length { expected, got });
                };
                *remaining = left;
                if left == 0 {
                    let piece = match download.take() {
                        Some(download) => download.end(piece),
                        None => piece,
                    };
                    *self = ResponseBody::Empty;
                    return Poll::Ready(Some(Ok(Frame::data(piece))));
                }
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, ResponseBody::Empty)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match self {
            ResponseBody::Empty => 0,
            ResponseBody::Full(bytes) => u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            ResponseBody::Object { remaining, .. } => *remaining,
        })
    }
}

impl ResponseBody {
    fn cut(&mut self, why: BodyCut) -> Poll<Option<Result<Frame<Bytes>, BodyCut>>> {
        *self = ResponseBody::Empty;
        Poll::Ready(Some(Err(why)))
    }
}
