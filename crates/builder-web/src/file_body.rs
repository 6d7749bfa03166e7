//! A file, or a part of it, as a body. Reads ahead on a thread for that while the socket takes
//! what was read; the thread is given back while the socket does not.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::task::JoinHandle;

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
    Start(Option<(File, u64)>),
    /// A thread reads the next chunk.
    Reading(JoinHandle<io::Result<(File, Bytes)>>),
    Done,
}

/// `count` bytes of `file` from `first` on.
pub fn body(file: File, first: u64, count: u64) -> Body {
    Body::new(
        FileBody {
            left: count,
            state: State::Start(Some((file, first))),
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
                State::Start(file) => {
                    let next = file.take().filter(|_| self.left > 0);
                    self.state = match next {
                        None => State::Done,
                        Some((mut file, first)) => {
                            let count = self.left.min(FIRST_BYTES);
                            State::Reading(tokio::task::spawn_blocking(move || {
                                if first > 0 {
                                    file.seek(SeekFrom::Start(first))?;
                                }
                                read(file, count)
                            }))
                        }
                    };
                }
                State::Reading(reading) => {
                    let read_ = ready!(Pin::new(reading).poll(context));
                    let (file, chunk) = match read_.map_err(io::Error::other).flatten() {
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
                        _ => State::Reading(tokio::task::spawn_blocking(move || read(file, count))),
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

fn read(mut file: File, count: u64) -> io::Result<(File, Bytes)> {
    let mut chunk = Vec::with_capacity(usize::try_from(count).map_err(io::Error::other)?);
    (&mut file).take(count).read_to_end(&mut chunk)?;
    if (chunk.len() as u64) < count {
        // Its size was given in the head already.
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the file became shorter while it was sent",
        ));
    }
    Ok((file, chunk.into()))
}
