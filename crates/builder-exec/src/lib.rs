//! A finished build: its vocabulary and its DER form, read and written as a stream.
//!
//! builder-server sends a finished build as one DER value: the job, an id, the console output, two times, how the run
//! ended, and every file it left behind. Artifacts may be gigabytes, so [`Reader`] hands out one [`Part`] after the
//! other and never holds more than a small buffer, and [`Writer`] needs only the sizes of what it will be given.
//!
//! This crate touches nothing but the reader or writer it is given. It knows nothing of databases, files or HTTP, reads
//! no clock, and does not panic whatever the bytes.
//!
//! ```
//! use builder_exec::{
//!     ArtifactLayout, ConsoleLayout, ExecutionResult, Layout, Limits, Part, Reader, Timestamp, Uuid, Writer,
//! };
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut console = ConsoleLayout::default();
//! console.add(1_500_000, b"hello".len() as u64);
//! let artifacts = [ArtifactLayout { path: b"bin/hello", bytes: 3 }];
//! let layout = Layout {
//!     job: b"hello",
//!     script_bytes: 5,
//!     platform: b"debian-12",
//!     uuid: Uuid::from_u128(7),
//!     console,
//!     start: Timestamp::from_unix(1_778_559_153, 0).ok_or("out of range")?,
//!     finish: Timestamp::from_unix(1_778_559_154, 0).ok_or("out of range")?,
//!     result: &ExecutionResult::Exited(0),
//!     artifacts: &artifacts,
//! };
//! let announced = layout.encoded_bytes();
//! let mut writer = Writer::new(Vec::new(), layout);
//! writer.script(&mut &b"true\n"[..])?;
//! writer.console_line(1_500_000, b"hello")?;
//! writer.artifact(&mut &b"ELF"[..])?;
//! let encoded = writer.finish()?;
//! assert_eq!(encoded.len() as u64, announced);
//!
//! let mut reader = Reader::new(&encoded[..], Limits::default());
//! let mut artifacts = Vec::new();
//! loop {
//!     match reader.next_part()? {
//!         Part::JobName(name) => assert_eq!(name, b"hello"),
//!         Part::Result(result) => assert_eq!(result.to_string(), "exited 0"),
//!         Part::Artifact { path, data } => artifacts.push((path, data.read_to_vec()?)),
//!         Part::End => break,
//!         _ => {} // what is not read is skipped
//!     }
//! }
//! assert_eq!(artifacts, [(b"bin/hello".to_vec(), b"ELF".to_vec())]);
//! # Ok(())
//! # }
//! ```

mod exec;
mod timestamp;

mod reader;
mod writer;

mod limits;

mod error;

mod der;

pub use error::{Error, ErrorKind};
pub use exec::ExecutionResult;
pub use limits::Limits;
pub use reader::{Field, Part, Reader};
pub use timestamp::Timestamp;
pub use uuid::Uuid;
pub use writer::{ArtifactLayout, ConsoleLayout, Layout, Writer};
