//! A build that is kept, as the `exec` file a builder would send: for `GET …/exec` and for the
//! commands that write it to a file. Not the bytes that came in (build hashes are not kept, console
//! times are to the millisecond), but the same build. Knows nothing of HTTP.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use builder_exec::{ArtifactLayout, ConsoleLayout, Layout, Writer};
use builder_store::Store;
use builder_store::builds::{self, Artifact, Build};
use builder_store::tags::{self, Tag};
use uuid::Uuid;

use crate::console;

/// A build that is kept, with all that its `exec` form needs but for its size: that is known when the
/// console was read, which may take long.
#[derive(Debug)]
pub struct Opened {
    build: Build,
    readme: Option<String>,
    artifacts: Vec<Artifact>,
    script: File,
    script_bytes: u64,
    console: File,
}

/// The same with its size.
#[derive(Debug)]
pub struct ExecFile {
    opened: Opened,
    console_layout: ConsoleLayout,
}

/// Consoles whose size in the `exec` form is remembered: some hundred bytes each.
const CONSOLES_MAX: usize = 1000;

/// Remembers how much space consoles take in the `exec` form, by where they are.
#[derive(Debug, Default)]
pub struct ConsoleSizes(Mutex<HashMap<String, (Written, ConsoleLayout)>>);

/// What a file has been: who writes to it changes that.
type Written = (u64, SystemTime);

impl ConsoleSizes {
    fn known(&self, path: &str, written: Written) -> Option<ConsoleLayout> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, layout) = known.get(path)?;
        (*at == written).then(|| layout.clone())
    }

    fn remember(&self, path: &str, written: Written, layout: &ConsoleLayout) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= CONSOLES_MAX {
            known.clear();
        }
        known.insert(path.to_owned(), (written, layout.clone()));
    }
}

impl Opened {
    /// Opens what there is of a build; none if there is no build of this name.
    pub fn load(store: &Store, uuid: Uuid) -> builder_store::Result<Option<Opened>> {
        let loaded = store.read(|tx| {
            let Some(build) = builds::by_uuid(tx, uuid)? else {
                return Ok(None);
            };
            let readme = tags::value(tx, build.job_id, Tag::Readme)?;
            let artifacts = builds::artifacts(tx, build.id)?;
            Ok(Some((build, readme, artifacts)))
        })?;
        let Some((build, readme, artifacts)) = loaded else {
            return Ok(None);
        };
        let (script, script_bytes) = store.open_text(&build.script)?;
        let (console, _) = store.open_text(&build.console)?;
        Ok(Some(Opened {
            build,
            readme,
            artifacts,
            script,
            script_bytes,
            console,
        }))
    }

    /// The build's job.
    pub fn job(&self) -> &str {
        &self.build.job
    }

    /// Reads the console, unless `known` knows how much space it takes.
    pub fn counted(self, store: &Store, known: &ConsoleSizes) -> builder_store::Result<ExecFile> {
        let console_layout = self.console_layout(known);
        let console_layout = console_layout.map_err(|source| builder_store::Error::File {
            action: "read",
            path: store.directory().join(&self.build.console),
            source,
        })?;
        Ok(ExecFile {
            opened: self,
            console_layout,
        })
    }

    fn console_layout(&self, known: &ConsoleSizes) -> io::Result<ConsoleLayout> {
        let metadata = self.console.metadata()?;
        let written = (metadata.len(), metadata.modified()?);
        if let Some(layout) = known.known(&self.build.console, written) {
            return Ok(layout);
        }
        // Lengths come before what they are the length of: read once to count, once to send.
        let mut layout = ConsoleLayout::default();
        console::for_each_line_reversed(&self.console, |delta, bytes, _| {
            layout.add(delta, bytes);
            Ok(())
        })?;
        known.remember(&self.build.console, written, &layout);
        Ok(layout)
    }

    fn artifacts(&self) -> Vec<ArtifactLayout<'_>> {
        let readme = self.readme.iter().map(|readme| ArtifactLayout {
            path: b"README.md",
            bytes: readme.len() as u64,
        });
        let artifacts = self.artifacts.iter().map(|artifact| ArtifactLayout {
            path: artifact.path.as_bytes(),
            bytes: artifact.size,
        });
        readme.chain(artifacts).collect()
    }
}

impl ExecFile {
    /// Opens what there is of a build, and reads its console; none if there is no build of this name.
    pub fn load(store: &Store, uuid: Uuid) -> builder_store::Result<Option<ExecFile>> {
        let opened = Opened::load(store, uuid)?;
        let counted = opened.map(|opened| opened.counted(store, &ConsoleSizes::default()));
        counted.transpose()
    }

    fn layout_of<'a>(&'a self, artifacts: &'a [ArtifactLayout<'a>]) -> Layout<'a> {
        let Opened {
            build,
            script_bytes,
            ..
        } = &self.opened;
        Layout {
            job: build.job.as_bytes(),
            script_bytes: *script_bytes,
            platform: build.platform.as_bytes(),
            uuid: build.uuid,
            console: self.console_layout.clone(),
            start: build.start,
            finish: build.finish,
            result: &build.result,
            artifacts,
        }
    }

    /// The size of the `exec` form, in bytes.
    pub fn encoded_bytes(&self) -> u64 {
        self.layout_of(&self.opened.artifacts()).encoded_bytes()
    }

    /// Writes the `exec` form. An artifact that is not as its row says is an error.
    pub fn write_to(self, store: &Store, out: &mut dyn Write) -> io::Result<()> {
        let artifacts = self.opened.artifacts();
        let mut writer = Writer::new(out, self.layout_of(&artifacts));
        writer.script(&mut &self.opened.script)?;
        console::for_each_line_reversed(&self.opened.console, |delta, bytes, text| {
            writer.console_line_from(delta, bytes, text)
        })?;
        if let Some(readme) = &self.opened.readme {
            writer.artifact(&mut readme.as_bytes())?;
        }
        for artifact in &self.opened.artifacts {
            let (mut file, size) = store
                .artifacts()
                .reader(artifact.sha256)
                .map_err(io::Error::other)?;
            check_size(artifact, size)?;
            writer.artifact(&mut file)?;
        }
        writer.finish()?.flush()
    }
}

/// Cut off, an artifact would pass for the whole.
pub fn check_size(artifact: &Artifact, size: u64) -> io::Result<()> {
    if size == artifact.size {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidData,
        format!(
            "artifact {} has {size} bytes on disk, {} when it was kept",
            artifact.sha256, artifact.size
        ),
    ))
}
