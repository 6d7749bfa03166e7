//! A build that is kept, as the `exec` file a builder would send: for `GET …/exec` and for the
//! commands that write it to a file. Not the bytes that came in (build hashes are not kept, console
//! times are to the millisecond), but the same build. Knows nothing of HTTP.

use std::fs::File;
use std::io::{self, Write};

use builder_exec::{ArtifactLayout, ConsoleLayout, Layout, Writer};
use builder_store::Store;
use builder_store::builds::{self, Artifact, Build};
use builder_store::tags::{self, Tag};
use uuid::Uuid;

use crate::console;

/// A build that is kept, with all that its `exec` form needs.
#[derive(Debug)]
pub struct ExecFile {
    build: Build,
    readme: Option<String>,
    artifacts: Vec<Artifact>,
    script: File,
    script_bytes: u64,
    console: File,
    console_layout: ConsoleLayout,
}

impl ExecFile {
    /// Opens what there is of a build; none if there is no build of this name.
    pub fn load(store: &Store, uuid: Uuid) -> builder_store::Result<Option<ExecFile>> {
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
        // Lengths come before what they are the length of: read once to count, once to send.
        let mut console_layout = ConsoleLayout::default();
        console::for_each_line_reversed(&console, |delta, bytes, _| {
            console_layout.add(delta, bytes);
            Ok(())
        })
        .map_err(|source| builder_store::Error::File {
            action: "read",
            path: store.directory().join(&build.console),
            source,
        })?;
        Ok(Some(ExecFile {
            build,
            readme,
            artifacts,
            script,
            script_bytes,
            console,
            console_layout,
        }))
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

    fn layout_of<'a>(&'a self, artifacts: &'a [ArtifactLayout<'a>]) -> Layout<'a> {
        Layout {
            job: self.build.job.as_bytes(),
            script_bytes: self.script_bytes,
            platform: self.build.platform.as_bytes(),
            uuid: self.build.uuid,
            console: self.console_layout.clone(),
            start: self.build.start,
            finish: self.build.finish,
            result: &self.build.result,
            artifacts,
        }
    }

    /// The build's job.
    pub fn job(&self) -> &str {
        &self.build.job
    }

    /// The size of the `exec` form, in bytes.
    pub fn encoded_bytes(&self) -> u64 {
        self.layout_of(&self.artifacts()).encoded_bytes()
    }

    /// Writes the `exec` form. An artifact that is not as its row says is an error.
    pub fn write_to(self, store: &Store, out: &mut dyn Write) -> io::Result<()> {
        let artifacts = self.artifacts();
        let mut writer = Writer::new(out, self.layout_of(&artifacts));
        writer.script(&mut &self.script)?;
        console::for_each_line_reversed(&self.console, |delta, bytes, text| {
            writer.console_line_from(delta, bytes, text)
        })?;
        if let Some(readme) = &self.readme {
            writer.artifact(&mut readme.as_bytes())?;
        }
        for artifact in &self.artifacts {
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
