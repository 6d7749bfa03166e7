//! A file, or a part of it, as a body. Reads ahead on a thread for that while the socket takes
//! what was read; the thread is given back while the socket does not. An artifact is compared on its
//! way: what is damaged is not sent.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::JoinHandle;

use crate::intact::{PIECE_BYTES, Reader};

/// Pieces of the first read: most texts and pictures are smaller.
const FIRST_PIECES: usize = 1;
/// Pieces of each further one: few hand-overs between threads, and still in a core's cache …
const PIECES: usize = 512 * 1024 / PIECE_BYTES;
/// … for this many of them, of all downloads, from before they are read until they are sent. Further
/// ones are of one piece: clients that read nothing of what they have asked for hold little.
const LARGE_CHUNKS_MAX: usize = 64;

static LARGE_CHUNKS: Semaphore = Semaphore::const_new(LARGE_CHUNKS_MAX);

/// Pieces that were read, and what they take from other downloads.
struct Pieces {
    bytes: Vec<u8>,
    _large: Option<SemaphorePermit<'static>>,
}

impl AsRef<[u8]> for Pieces {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

struct FileBody {
    left: u64,
    state: State,
}

enum State {
    /// Nothing was asked for yet.
    Start(Option<Source>),
    /// A thread reads the next chunk.
    Reading(JoinHandle<io::Result<(Source, Bytes)>>),
    Done,
}

struct Source {
    reader: Reader,
    /// Bytes that are read next and not sent: they are before those that were asked for.
    before: usize,
    left: u64,
}

/// `count` bytes of a file from `first` on, read by a reader that begins at their piece.
pub fn body(reader: Reader, first: u64, count: u64) -> Body {
    let before = usize::try_from(first % PIECE_BYTES as u64).unwrap_or_default();
    let source = Source {
        reader,
        before,
        left: count,
    };
    Body::new(
        FileBody {
            left: count,
            state: State::Start(Some(source)),
        }
        .boxed_unsync(),
    )
}

impl FileBody {
    /// Reads ahead while `chunk` is sent.
    fn send(&mut self, source: Source, chunk: Bytes) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.left = source.left;
        self.state = match source.left {
            0 => State::Done,
            _ => {
                let large = LARGE_CHUNKS.try_acquire().ok();
                State::Reading(tokio::task::spawn_blocking(move || source.next(large)))
            }
        };
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }
}

impl HttpBody for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        loop {
            match &mut self.state {
                State::Start(source) => match source.take().filter(|source| source.left > 0) {
                    None => self.state = State::Done,
                    Some(mut source) => match source.reader.ahead() {
                        Some(bytes) => {
                            let chunk = source.chunk(bytes, None);
                            return self.send(source, chunk);
                        }
                        None => {
                            let first = move || source.next(None);
                            self.state = State::Reading(tokio::task::spawn_blocking(first));
                        }
                    },
                },
                State::Reading(reading) => {
                    let read = ready!(Pin::new(reading).poll(context));
                    return match read.map_err(io::Error::other).flatten() {
                        Ok((source, chunk)) => self.send(source, chunk),
                        Err(error) => {
                            tracing::error!("an answer was broken off: {error}");
                            self.state = State::Done;
                            Poll::Ready(Some(Err(error)))
                        }
                    };
                }
                State::Done => return Poll::Ready(None),
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

impl Source {
    /// The next bytes that are sent.
    fn next(mut self, large: Option<SemaphorePermit<'static>>) -> io::Result<(Source, Bytes)> {
        let pieces_max = match large {
            Some(_) => PIECES,
            None => FIRST_PIECES,
        };
        let wanted = self.left.saturating_add(self.before as u64);
        let pieces = usize::try_from(wanted.div_ceil(PIECE_BYTES as u64)).unwrap_or(pieces_max);
        let bytes = self.reader.next(pieces.min(pieces_max))?;
        let chunk = self.chunk(bytes, large);
        if chunk.is_empty() {
            // Its size was given in the head already.
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok((self, chunk))
    }

    /// What is to be sent of the pieces that were read.
    fn chunk(&mut self, bytes: Vec<u8>, large: Option<SemaphorePermit<'static>>) -> Bytes {
        let pieces = Bytes::from_owner(Pieces {
            bytes,
            _large: large,
        });
        let begin = std::mem::take(&mut self.before).min(pieces.len());
        let count = pieces.len() - begin;
        let count = usize::try_from(self.left).map_or(count, |left| left.min(count));
        self.left -= count as u64;
        pieces.slice(begin..begin + count)
    }
}
