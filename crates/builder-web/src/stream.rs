//! Bodies that are made while they are sent: a thread writes, the socket reads, and little is in
//! between. The thread starts when the first byte is asked for, so a HEAD request starts none.

use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::mpsc;

/// Bytes in one chunk. Two of them are in a core's cache, and a chunk a thread hand-over is cheap.
const CHUNK_BYTES: usize = 256 * 1024;
/// Chunks written ahead of the socket.
const CHUNKS_AHEAD: usize = 2;

type Produce = Box<dyn FnOnce(&mut dyn Write) -> io::Result<()> + Send>;

enum State {
    Waiting(Option<Produce>),
    Running(mpsc::Receiver<io::Result<Bytes>>),
}

struct Stream {
    state: State,
    size: Option<u64>,
}

/// A body that `produce` writes, on a thread of its own. `size`: how many bytes it will be, if
/// that is known. An error of `produce` breaks the connection: the client must not take what it
/// has for the whole.
pub fn body(
    size: Option<u64>,
    produce: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static,
) -> Body {
    Body::new(
        Stream {
            state: State::Waiting(Some(Box::new(produce))),
            size,
        }
        .boxed_unsync(),
    )
}

impl HttpBody for Stream {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        loop {
            match &mut self.state {
                State::Waiting(produce) => {
                    let Some(produce) = produce.take() else {
                        return Poll::Ready(None);
                    };
                    let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD);
                    tokio::task::spawn_blocking(move || run(produce, sender));
                    self.state = State::Running(receiver);
                }
                State::Running(receiver) => {
                    return receiver
                        .poll_recv(context)
                        .map(|chunk| chunk.map(|chunk| chunk.map(Frame::data)));
                }
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.size
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

fn run(produce: Produce, sender: mpsc::Sender<io::Result<Bytes>>) {
    let mut chunks = Chunks {
        sender,
        buffer: Vec::new(),
    };
    let end = produce(&mut chunks).and_then(|()| chunks.flush());
    if let Err(error) = end {
        // A client that left is nobody to tell.
        if error.kind() != io::ErrorKind::BrokenPipe {
            tracing::error!("an answer was broken off: {error}");
        }
        let _: Result<(), _> = chunks.sender.blocking_send(Err(error));
    }
}

struct Chunks {
    sender: mpsc::Sender<io::Result<Bytes>>,
    buffer: Vec<u8>,
}

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.capacity() == 0 {
            self.buffer.reserve_exact(CHUNK_BYTES);
        }
        let room = CHUNK_BYTES - self.buffer.len();
        let taken = &bytes[..bytes.len().min(room)];
        self.buffer.extend_from_slice(taken);
        if self.buffer.len() == CHUNK_BYTES {
            self.flush()?;
        }
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::take(&mut self.buffer).into();
        self.sender
            .blocking_send(Ok(chunk))
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
