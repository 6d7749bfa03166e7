//! The body of a request as a blocking reader.

use std::io::{self, Read};
use std::time::Instant;

use axum::body::{Body, Bytes};
use http_body_util::BodyExt;
use prometheus_client::metrics::counter::Counter;
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::patience::Patience;

/// Reads a request's body on a thread that may block.
pub struct BodyReader {
    body: Option<Body>,
    chunk: Bytes,
    patience: Patience,
    runtime: Handle,
    bytes: Counter,
}

impl BodyReader {
    /// Must be called inside of the runtime. What is read is counted in `bytes`.
    pub fn new(body: Body, patience: Patience, bytes: Counter) -> BodyReader {
        BodyReader {
            body: Some(body),
            chunk: Bytes::new(),
            patience,
            runtime: Handle::current(),
            bytes,
        }
    }

    /// What has not been read; none after its end or an error.
    pub fn into_body(self) -> Option<Body> {
        self.body
    }

    fn next_chunk(&mut self) -> io::Result<Option<Bytes>> {
        let Some(body) = &mut self.body else {
            return Ok(None);
        };
        loop {
            // What the server takes to write and hash is not the client's.
            let begin = Instant::now();
            let left = self.patience.left();
            let frame = self
                .runtime
                .block_on(async { timeout(left, body.frame()).await });
            match frame {
                Err(_) => {
                    self.body = None;
                    return Err(io::Error::new(
                        io::ErrorKind::TimedOut,
                        self.patience.lost("sent"),
                    ));
                }
                Ok(None) => {
                    self.body = None;
                    return Ok(None);
                }
                Ok(Some(Err(error))) => {
                    self.body = None;
                    return Err(io::Error::other(error));
                }
                Ok(Some(Ok(frame))) => {
                    let count = frame.data_ref().map_or(0, Bytes::len);
                    self.patience.moved(begin.elapsed(), count);
                    if let Ok(data) = frame.into_data()
                        && !data.is_empty()
                    {
                        self.bytes.inc_by(data.len() as u64);
                        return Ok(Some(data));
                    }
                }
            }
        }
    }
}

impl Read for BodyReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.chunk.is_empty() {
            match self.next_chunk()? {
                Some(chunk) => self.chunk = chunk,
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.chunk.len());
        buffer[..count].copy_from_slice(&self.chunk.split_to(count));
        Ok(count)
    }
}
