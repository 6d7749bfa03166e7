//! A socket whose peer has to read: one that takes nothing for too long is given up, so that it
//! does not hold what its answer holds. What goes over it is counted.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::metrics::Traffic;

/// A socket that fails with [`io::ErrorKind::TimedOut`] when nothing could be written for a time.
#[derive(Debug)]
pub struct Stalling<S> {
    socket: S,
    time_max: Duration,
    traffic: Traffic,
    /// Runs while the peer takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Stalling<S> {
    /// Gives the peer `time_max` to take some of what is written.
    pub fn new(socket: S, time_max: Duration, traffic: Traffic) -> Stalling<S> {
        Stalling {
            socket,
            time_max,
            traffic,
            stalled: None,
        }
    }

    fn count(&self, written: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(count)) = written {
            self.traffic.sent.inc_by(*count as u64);
        }
    }

    fn watch<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let time_max = self.time_max;
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(sleep(time_max)));
        match stalled.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("the client read nothing for {} s", time_max.as_secs()),
            ))),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stalling<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.socket).poll_read(context, buffer);
        let count = buffer.filled().len() - before;
        self.traffic.received.inc_by(count as u64);
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stalling<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(context, bytes);
        self.count(&written);
        self.watch(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(context, slices);
        self.count(&written);
        self.watch(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.socket).poll_flush(context);
        self.watch(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.socket).poll_shutdown(context);
        self.watch(context, shut)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    fn run<T>(test: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap()
            .block_on(test)
    }

    #[test]
    fn a_peer_that_reads_nothing_is_given_up() {
        run(async {
            let (ours, _theirs) = duplex(1024);
            let mut ours = Stalling::new(ours, Duration::from_millis(20), Traffic::default());
            let error = ours.write_all(&[0; 4096]).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        });
    }

    #[test]
    fn a_peer_that_reads_slowly_gets_everything() {
        run(async {
            let (ours, mut theirs) = duplex(64);
            let mut ours = Stalling::new(ours, Duration::from_millis(200), Traffic::default());
            let reading = async {
                let mut all: Vec<u8> = Vec::new();
                let mut some = [0; 64];
                loop {
                    match theirs.read(&mut some).await.unwrap() {
                        0 => break all.len(),
                        count => all.extend(&some[..count]),
                    }
                    sleep(Duration::from_millis(10)).await;
                }
            };
            let writing = async {
                ours.write_all(&[0; 2048]).await.unwrap();
                ours.shutdown().await.unwrap();
            };
            let (read, ()) = tokio::join!(reading, writing);
            assert_eq!(read, 2048);
        });
    }
}
