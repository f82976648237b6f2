//! Response bodies that copy nothing they need not: memory, files in frames, spools that still grow, and their parts.
//!
//! A body that cannot be completed fails; hyper then cuts the connection, so that no client takes a broken body for a
//! whole one.

use std::collections::VecDeque;
use std::fs::File;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use http_body::{Frame, SizeHint};
use tokio::task::JoinHandle;

use crate::frames::{Buffer, Frames};
use crate::spool::{SpoolError, SpoolReader};

/// Why a body breaks off. Logged where it happens; the client sees a cut connection.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// Where the bytes of a representation are.
#[derive(Debug, Clone)]
pub enum Origin {
    /// In memory.
    Memory(Bytes),
    /// In a file.
    File(Arc<File>),
    /// In a file that still grows.
    Growing(SpoolReader),
}

impl Origin {
    /// A body of one range.
    #[must_use]
    pub fn range(&self, range: Range<u64>) -> ServedBody {
        ServedBody::Piece(self.piece(range))
    }

    /// A body of everything, whose length is not known yet.
    #[must_use]
    pub fn open_ended(reader: SpoolReader) -> ServedBody {
        ServedBody::Piece(Piece::Growing(Growing::new(reader, 0, None)))
    }

    /// A body of several pieces: text, then a range, and so on, then a closing text.
    #[must_use]
    pub fn parts(&self, parts: Vec<(Bytes, Range<u64>)>, closing: Bytes) -> ServedBody {
        let mut pieces = VecDeque::with_capacity(parts.len() * 2 + 1);
        for (text, range) in parts {
            pieces.push_back(Piece::Memory(text));
            pieces.push_back(self.piece(range));
        }
        pieces.push_back(Piece::Memory(closing));
        ServedBody::Parts(pieces)
    }

    fn piece(&self, range: Range<u64>) -> Piece {
        match self {
            Self::Memory(bytes) => Piece::Memory(slice(bytes, &range)),
            Self::File(file) => Piece::File(FilePiece { frames: Frames::new(Arc::clone(file), range), loading: None }),
            Self::Growing(reader) => Piece::Growing(Growing::new(reader.clone(), range.start, Some(range.end))),
        }
    }
}

fn slice(bytes: &Bytes, range: &Range<u64>) -> Bytes {
    let clamp = |offset: u64| usize::try_from(offset).map_or(bytes.len(), |offset| offset.min(bytes.len()));
    bytes.slice(clamp(range.start)..clamp(range.end))
}

/// The body type of every response.
pub enum ServedBody {
    /// One piece.
    Piece(Piece),
    /// Several pieces in a row.
    Parts(VecDeque<Piece>),
    /// A stream from elsewhere, passed through.
    Stream(BoxStream<'static, Result<Bytes, BodyError>>),
    /// Not sent, for only the head was asked for: its length is what the header says, or unknown.
    Withheld,
    /// What the router's other handlers made.
    Other(axum::body::Body),
}

impl ServedBody {
    /// One range of something, cut out of a stream that covers `covered` of it. `None` if that is not all of the range.
    #[must_use]
    pub fn cut<E>(range: Range<u64>, covered: &Range<u64>, bytes: BoxStream<'static, Result<Bytes, E>>) -> Option<Self>
    where
        E: Into<BodyError> + 'static,
    {
        if covered.start > range.start || covered.end < range.end {
            return None;
        }
        let uncut = (bytes, range.start - covered.start, range.end - range.start);
        let pieces = stream::unfold(uncut, |(mut bytes, mut before, mut left)| async move {
            // What comes after the range is not waited for.
            while left > 0 {
                let piece = match bytes.next().await? {
                    Ok(piece) => piece,
                    Err(error) => return Some((Err(error.into()), (bytes, 0, 0))),
                };
                let length = piece.len() as u64;
                let skipped = before.min(length);
                let taken = left.min(length - skipped);
                (before, left) = (before - skipped, left - taken);
                if taken > 0 {
                    return Some((Ok(slice(&piece, &(skipped..skipped + taken))), (bytes, before, left)));
                }
            }
            None
        });
        Some(Self::Stream(pieces.boxed()))
    }

    /// A body in memory.
    #[must_use]
    pub fn memory(bytes: Bytes) -> Self {
        Self::Piece(Piece::Memory(bytes))
    }

    /// No body.
    #[must_use]
    pub fn empty() -> Self {
        Self::memory(Bytes::new())
    }
}

impl http_body::Body for ServedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let next = match self.get_mut() {
            Self::Piece(piece) => ready!(piece.poll_next(cx)),
            Self::Parts(pieces) => loop {
                let Some(piece) = pieces.front_mut() else {
                    break None;
                };
                match ready!(piece.poll_next(cx)) {
                    None => drop(pieces.pop_front()),
                    some => break some,
                }
            },
            Self::Stream(stream) => ready!(stream.as_mut().poll_next(cx)),
            Self::Withheld => None,
            Self::Other(body) => {
                return Pin::new(body).poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(Into::into)));
            }
        };
        Poll::Ready(next.map(|result| result.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Piece(Piece::Memory(bytes)) => bytes.is_empty(),
            Self::Other(body) => body.is_end_stream(),
            _ => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Piece(Piece::Memory(bytes)) => SizeHint::with_exact(bytes.len() as u64),
            Self::Other(body) => body.size_hint(),
            _ => SizeHint::default(),
        }
    }
}

/// One contiguous run of bytes.
pub enum Piece {
    /// In memory.
    Memory(Bytes),
    /// From a file.
    File(FilePiece),
    /// From a spool.
    Growing(Growing),
}

impl Piece {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        match self {
            Self::Memory(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Memory(bytes) => Poll::Ready(Some(Ok(std::mem::take(bytes)))),
            Self::File(file) => file.poll_next(cx),
            Self::Growing(growing) => growing.poll_next(cx),
        }
    }
}

/// A range of a file.
pub struct FilePiece {
    frames: Frames,
    loading: Option<JoinHandle<std::io::Result<(Buffer, usize)>>>,
}

impl FilePiece {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        if let Some(loading) = &mut self.loading {
            let loaded = ready!(Pin::new(loading).poll(cx));
            self.loading = None;
            let frame = loaded.map_err(std::io::Error::other).flatten();
            let frame = frame.and_then(|(buffer, length)| self.frames.loaded(buffer, length));
            return Poll::Ready(Some(frame.map_err(Into::into)));
        }
        if self.frames.remaining() == 0 {
            return Poll::Ready(None);
        }
        match self.frames.next_cached() {
            Ok(Some(frame)) => Poll::Ready(Some(Ok(frame))),
            Ok(None) => {
                self.loading = Some(self.frames.load());
                self.poll_next(cx)
            }
            Err(error) => Poll::Ready(Some(Err(error.into()))),
        }
    }
}

/// A range of a spool, or all of it.
pub struct Growing {
    at: u64,
    /// `None`: until the spool ends, wherever that is.
    end: Option<u64>,
    ready: Option<FilePiece>,
    waiting: Option<BoxFuture<'static, (SpoolReader, Result<u64, SpoolError>)>>,
    reader: Option<SpoolReader>,
}

impl Growing {
    fn new(reader: SpoolReader, at: u64, end: Option<u64>) -> Self {
        Self { at, end, ready: None, waiting: None, reader: Some(reader) }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        loop {
            if let Some(piece) = &mut self.ready {
                match ready!(piece.poll_next(cx)) {
                    Some(Ok(bytes)) => {
                        self.at += bytes.len() as u64;
                        return Poll::Ready(Some(Ok(bytes)));
                    }
                    Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                    None => self.ready = None,
                }
            }
            if self.end.is_some_and(|end| self.at >= end) {
                return Poll::Ready(None);
            }
            let waiting = match (&mut self.waiting, self.reader.take()) {
                (Some(waiting), _) => waiting,
                (waiting @ None, Some(mut reader)) => {
                    let at = self.at;
                    waiting.insert(Box::pin(async move {
                        let readable = reader.readable_past(at).await;
                        (reader, readable)
                    }))
                }
                (None, None) => return Poll::Ready(None),
            };
            let (reader, readable) = ready!(waiting.as_mut().poll(cx));
            self.waiting = None;
            let readable = match readable {
                Ok(readable) if readable > self.at => readable,
                Ok(_) if self.end.is_none() => return Poll::Ready(None),
                Ok(readable) => {
                    let why = format!("the transfer ended after {readable} bytes, before what was promised");
                    return Poll::Ready(Some(Err(why.into())));
                }
                Err(error) => return Poll::Ready(Some(Err(error.into()))),
            };
            let upto = self.end.map_or(readable, |end| end.min(readable));
            let frames = Frames::new(Arc::clone(reader.file()), self.at..upto);
            self.ready = Some(FilePiece { frames, loading: None });
            self.reader = Some(reader);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is cut out of ten bytes that come in pieces of so many.
    async fn cut(range: Range<u64>, covered: Range<u64>, piece: usize) -> Option<Vec<u8>> {
        let all: Vec<u8> = (u8::try_from(covered.start).expect("small")..).take(10).collect();
        let pieces: Vec<Result<Bytes, BodyError>> =
            all.chunks(piece).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        let ServedBody::Stream(stream) = ServedBody::cut(range, &covered, stream::iter(pieces).boxed())? else {
            return None;
        };
        let pieces: Vec<Bytes> = stream.map(|piece| piece.expect("bytes")).collect().await;
        Some(pieces.concat())
    }

    #[tokio::test]
    async fn a_range_is_cut_out_of_what_covers_it() {
        for piece in 1..=10 {
            assert_eq!(cut(3..7, 0..10, piece).await.expect("covered"), [3, 4, 5, 6], "{piece}");
            assert_eq!(cut(20..23, 20..30, piece).await.expect("covered"), [20, 21, 22], "{piece}");
            assert_eq!(cut(27..30, 20..30, piece).await.expect("covered"), [27, 28, 29], "{piece}");
        }
        assert_eq!(cut(19..23, 20..30, 3).await, None);
        assert_eq!(cut(25..31, 20..30, 3).await, None);
    }

    #[tokio::test]
    async fn what_comes_after_a_range_is_not_waited_for() {
        let bytes = stream::iter([Ok::<_, BodyError>(Bytes::from_static(b"abc"))]);
        let endless = bytes.chain(stream::pending()).boxed();
        let Some(ServedBody::Stream(stream)) = ServedBody::cut(1..3, &(0..10), endless) else { panic!("covered") };
        assert_eq!(stream.map(|piece| piece.expect("bytes")).collect::<Vec<_>>().await.concat(), b"bc");
    }
}
