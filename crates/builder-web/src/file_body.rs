//! A file, or a part of it, as a body. Reads ahead on a thread for that while the socket takes
//! what was read; the thread is given back while the socket does not. An artifact is checked on its
//! way: the last bytes of a damaged one are not sent.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::task::JoinHandle;

use crate::intact::Checking;

/// Bytes of the first read: most texts and pictures are smaller.
const FIRST_BYTES: u64 = 64 * 1024;
/// Bytes of each further one: few hand-overs between threads, and still in a core's cache.
const CHUNK_BYTES: u64 = 512 * 1024;

struct FileBody {
    left: u64,
    state: State,
}

enum State {
    /// Nothing was asked for yet.
    Start(Option<(Source, u64)>),
    /// A thread reads the next chunk.
    Reading(JoinHandle<io::Result<(Source, Bytes)>>),
    Done,
}

struct Source {
    file: File,
    left: u64,
    checking: Option<Box<Checking>>,
}

/// `count` bytes of `file` from `first` on. `checking` is for all of a file.
pub fn body(file: File, first: u64, count: u64, checking: Option<Checking>) -> Body {
    let source = Source {
        file,
        left: count,
        checking: checking.map(Box::new),
    };
    Body::new(
        FileBody {
            left: count,
            state: State::Start(Some((source, first))),
        }
        .boxed_unsync(),
    )
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
                State::Start(source) => {
                    let next = source.take().filter(|_| self.left > 0);
                    self.state = match next {
                        None => State::Done,
                        Some((mut source, first)) => {
                            let count = self.left.min(FIRST_BYTES);
                            State::Reading(tokio::task::spawn_blocking(move || {
                                if first > 0 {
                                    source.file.seek(SeekFrom::Start(first))?;
                                }
                                read(source, count)
                            }))
                        }
                    };
                }
                State::Reading(reading) => {
                    let read_ = ready!(Pin::new(reading).poll(context));
                    let (source, chunk) = match read_.map_err(io::Error::other).flatten() {
                        Ok(read) => read,
                        Err(error) => {
                            tracing::error!("an answer was broken off: {error}");
                            self.state = State::Done;
                            return Poll::Ready(Some(Err(error)));
                        }
                    };
                    self.left -= chunk.len() as u64;
                    let count = self.left.min(CHUNK_BYTES);
                    self.state = match count {
                        0 => State::Done,
                        // Read ahead while this chunk is sent.
                        _ => {
                            State::Reading(tokio::task::spawn_blocking(move || read(source, count)))
                        }
                    };
                    return Poll::Ready(Some(Ok(Frame::data(chunk))));
                }
                State::Done => return Poll::Ready(None),
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

fn read(mut source: Source, count: u64) -> io::Result<(Source, Bytes)> {
    let mut chunk = Vec::with_capacity(usize::try_from(count).map_err(io::Error::other)?);
    (&mut source.file).take(count).read_to_end(&mut chunk)?;
    if (chunk.len() as u64) < count {
        // Its size was given in the head already.
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the file became shorter while it was sent",
        ));
    }
    source.left -= count;
    if let Some(checking) = &mut source.checking {
        checking.update(&chunk);
    }
    if source.left == 0
        && let Some(checking) = source.checking.take()
    {
        checking.finish()?;
    }
    Ok((source, chunk.into()))
}
