//! A socket whose peer has to read: one that takes nothing for too long, or too little, is given up,
//! so that it does not hold what its answer holds. What goes over it is counted.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::metrics::Traffic;
use crate::patience::Patience;

/// A socket that fails with [`io::ErrorKind::TimedOut`] when its peer was waited for too long.
#[derive(Debug)]
pub struct Stalling<S> {
    socket: S,
    patience: Patience,
    traffic: Traffic,
    /// Tells others whether the peer takes nothing.
    told: Option<Arc<AtomicBool>>,
    /// Since when the peer takes nothing, and what ends then.
    stalled: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl<S> Stalling<S> {
    /// Waits for the peer to take what is written.
    pub fn new(socket: S, patience: Patience, traffic: Traffic) -> Stalling<S> {
        Stalling {
            socket,
            patience,
            traffic,
            told: None,
            stalled: None,
        }
    }

    /// Sets this for as long as the peer takes nothing.
    pub fn telling(mut self, told: Option<Arc<AtomicBool>>) -> Stalling<S> {
        self.told = told;
        self
    }

    fn wrote(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let count = match written {
            Poll::Ready(Ok(count)) => count,
            _ => 0,
        };
        self.traffic.sent.inc_by(count as u64);
        self.watch(context, written, count)
    }

    fn watch<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
        count: usize,
    ) -> Poll<io::Result<T>> {
        if let Some(told) = &self.told {
            told.store(written.is_pending(), Ordering::Relaxed);
        }
        if written.is_ready() {
            let waited = self.stalled.take().map(|(since, _)| since.elapsed());
            self.patience.moved(waited.unwrap_or_default(), count);
            return written;
        }
        let left = self.patience.left();
        let (_, end) = self
            .stalled
            .get_or_insert_with(|| (Instant::now(), Box::pin(sleep(left))));
        match end.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::Error::new(
                io::ErrorKind::TimedOut,
                self.patience.lost("read"),
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
        self.wrote(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(context, slices);
        self.wrote(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.socket).poll_flush(context);
        self.watch(context, flushed, 0)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.socket).poll_shutdown(context);
        self.watch(context, shut, 0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    fn patience(milliseconds: u64, rate_min: u64) -> Patience {
        Patience::new(Duration::from_millis(milliseconds), rate_min)
    }

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
            let mut ours = Stalling::new(ours, patience(20, 0), Traffic::default());
            let error = ours.write_all(&[0; 4096]).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        });
    }

    /// Sends 2 KiB to a peer that reads up to 64 bytes each 50 ms; how many it got.
    fn sent_to_a_slow_peer(patience: Patience) -> io::Result<usize> {
        run(async {
            let (ours, mut theirs) = duplex(64);
            let mut ours = Stalling::new(ours, patience, Traffic::default());
            let reading = async {
                let mut all: Vec<u8> = Vec::new();
                let mut some = [0; 64];
                loop {
                    match theirs.read(&mut some).await.unwrap() {
                        0 => break all.len(),
                        count => all.extend(&some[..count]),
                    }
                    sleep(Duration::from_millis(50)).await;
                }
            };
            let writing = async {
                let written = ours.write_all(&[0; 2048]).await;
                let _shut = ours.shutdown().await;
                drop(ours);
                written
            };
            let (read, written) = tokio::join!(reading, writing);
            written.map(|()| read)
        })
    }

    #[test]
    fn a_peer_that_reads_slowly_gets_everything() {
        // It takes longer than there is patience, and each read much less.
        assert_eq!(sent_to_a_slow_peer(patience(1000, 0)).unwrap(), 2048);
        assert_eq!(sent_to_a_slow_peer(patience(1000, 100)).unwrap(), 2048);
    }

    #[test]
    fn a_peer_that_reads_slower_than_it_has_to_is_given_up() {
        let error = sent_to_a_slow_peer(patience(100, 1_000_000)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(error.to_string().contains("KiB a second"), "{error}");
    }
}
