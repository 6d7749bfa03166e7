//! From the bytes of an upload to a build that is kept: one walk, bounded; of what grows with the
//! upload only the artifacts' paths are held in memory, and they have a limit.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::time::Duration;

use builder_exec::{ErrorKind, ExecutionResult, Part, Reader, Timestamp};
use builder_store::builds::{self, NewBuild};
use builder_store::record::audit::{Event, Outcome};
use builder_store::record::hook_runs;
use builder_store::record::pending::{self, Witness};
use builder_store::search;
use builder_store::tags::{self, Tag};
use builder_store::{
    ArtifactPath, JobName, NameError, PlainFileName, Platform, StagedArtifact, Staging, TextFile,
    Tx,
};
use tracing::{info, warn};
use uuid::Uuid;

use super::hooks::HookCall;
use super::index::{self, About, Role};
use crate::app::App;
use crate::auth::{self, Caller};
use crate::console;
use crate::derived;
use crate::error::{Error, Result, with_causes};
use crate::failures;
use crate::search::follow;
use crate::show;

/// A build that was kept.
#[derive(Debug)]
pub struct Received {
    /// Its job.
    pub job: String,
    /// Its name.
    pub uuid: Uuid,
    /// What to tell the hooks, if it has a main binary.
    pub hook: Option<HookCall>,
}

/// The script of a build that was uploaded as one binary.
const MANUAL_SCRIPT: &str = "# This artifact was manually built\n";

/// How long another process that has locked the database is waited for once more, when an upload is
/// refused.
const FORGETTING_TIME_MAX: Duration = Duration::from_secs(1);

/// Bytes of any name that are read to be refused.
const NAME_BYTES_MAX: u64 = 64 * 1024;

/// What has been read of an upload so far.
struct Arriving<'s> {
    staging: Staging<'s>,
    artifacts: Vec<(ArtifactPath, StagedArtifact)>,
    paths: HashSet<ArtifactPath>,
    paths_bytes: u64,
    readme: Option<Readme>,
}

struct Readme {
    at_top: bool,
    text: String,
}

/// Receives an `exec` file. The user's right to the job and the uuid are checked as soon as they
/// have been read, before any artifact is kept; and once more when the build is.
pub fn exec(app: &App, caller: &Caller, input: &mut dyn Read) -> Result<Received> {
    let limits = builder_exec::Limits {
        exec_bytes_max: app.limits().upload_bytes_max,
        artifact_bytes_max: app.limits().upload_bytes_max,
        // Names have limits of their own, which are told in their own words.
        job_name_bytes_max: NAME_BYTES_MAX,
        platform_bytes_max: NAME_BYTES_MAX,
        artifact_path_bytes_max: NAME_BYTES_MAX,
        ..builder_exec::Limits::default()
    };
    let mut reader = Reader::new(input, limits);
    let mut arriving = Arriving::new(app.store().stage(app.limits().disk_reserve_bytes)?);
    let mut job = None;
    let mut platform = None;
    let mut uuid = None;
    let mut times = None;
    let mut result = None;
    let mut console = Some(ReversedLines::new(arriving.staging.scratch()?));
    loop {
        // The console ends where something else begins.
        match reader.next_part().map_err(refused)? {
            Part::JobName(name) => {
                let name = JobName::parse(&name).map_err(bad_name)?;
                check_access(app, caller, &name)?;
                job = Some(name);
            }
            Part::Script(mut script) => {
                let mut out = arriving.staging.text(TextFile::Script)?;
                copy(&mut script, &mut out).map_err(|error| writing(error, &out))?;
                out.finish()?;
            }
            Part::InputFile { .. } => {}
            Part::Platform(name) => {
                let name = name.unwrap_or_else(|| Platform::ABSENT.into());
                platform = Some(Platform::parse(&name).map_err(bad_name)?);
            }
            Part::Uuid(name) => {
                if let Some(job) = &job
                    && app.store().read(|tx| builds::exists(tx, name))?
                {
                    return Err(build_exists(job, name));
                }
                uuid = Some(name);
            }
            Part::ConsoleLine { delta_ns, mut text } => {
                if let Some(console) = &mut console {
                    console.add(delta_ns, &mut text)?;
                }
            }
            Part::Times { start, finish } => {
                if let Some(console) = console.take() {
                    let mut out = arriving.staging.text(TextFile::Console)?;
                    console
                        .write_to(&mut out)
                        .map_err(|error| Error::from(out.error(error)))?;
                    out.finish()?;
                }
                times = Some((start, finish));
            }
            Part::Result(ended) => {
                if !builds::can_keep(&ended) {
                    return Err(Error::BadRequest(format!(
                        "the result {ended:?} cannot be kept: no process ends with that number"
                    )));
                }
                result = Some(ended);
            }
            Part::Artifact { path, mut data } => {
                let path = ArtifactPath::parse(&path).map_err(bad_name)?;
                let size = data.size();
                arriving.artifact(app, path, &mut data, size)?;
            }
            Part::End => break,
        }
    }
    let (Some(job), Some(platform), Some(uuid), Some((start, finish)), Some(result)) =
        (job, platform, uuid, times, result)
    else {
        // OK because the reader hands out every part or fails.
        return Err(Error::internal("an upload ended without one of its parts"));
    };
    keep(
        app,
        caller,
        arriving,
        Build {
            job,
            platform,
            uuid,
            start,
            finish,
            result,
        },
    )
}

/// Receives one binary that was built by hand: a build of now, with just that artifact.
pub fn binary(
    app: &App,
    caller: &Caller,
    job: JobName,
    platform: Platform,
    name: PlainFileName,
    input: &mut dyn Read,
    size: Option<u64>,
) -> Result<Received> {
    check_access(app, caller, &job)?;
    let mut arriving = Arriving::new(app.store().stage(app.limits().disk_reserve_bytes)?);
    for (file, text) in [(TextFile::Script, MANUAL_SCRIPT), (TextFile::Console, "")] {
        let mut out = arriving.staging.text(file)?;
        out.write_all(text.as_bytes())
            .map_err(|error| Error::from(out.error(error)))?;
        out.finish()?;
    }
    let limit = app.limits().upload_bytes_max;
    let mut input = input.take(limit.saturating_add(1));
    let path = ArtifactPath::in_bin(&name);
    let staged = arriving.stage(&path, &mut input)?;
    if staged.size > limit {
        return Err(Error::TooLarge(format!(
            "the upload has more than {limit} bytes, at most that are accepted"
        )));
    }
    if size.is_some_and(|size| size != staged.size) {
        return Err(Error::BadRequest(format!(
            "the upload ended after {} bytes, {} were announced",
            staged.size,
            size.unwrap_or_default()
        )));
    }
    if staged.size == 0 {
        return Err(Error::BadRequest(
            "the upload is empty: send the binary as the request's body".to_owned(),
        ));
    }
    let now = app.now();
    let build = Build {
        job,
        platform,
        uuid: Uuid::new_v4(),
        start: now,
        finish: now,
        result: ExecutionResult::Exited(0),
    };
    keep(app, caller, arriving, build)
}

struct Build {
    job: JobName,
    platform: Platform,
    uuid: Uuid,
    start: Timestamp,
    finish: Timestamp,
    result: ExecutionResult,
}

fn check_access(app: &App, caller: &Caller, job: &JobName) -> Result<()> {
    let may = |tx: &mut Tx<'_>| auth::may_upload(tx, caller, job.as_str(), &app.now());
    app.store()
        .read(may)?
        .inspect_err(|_| refusing(caller, job))
}

/// Notes in the log that who acts may not add builds to a job.
fn refusing(caller: &Caller, job: &JobName) {
    info!(job.name = %job, user.name = %caller.actor.who, "refused an upload of {job} by {}", caller.actor.who);
}

/// Everything has arrived: files to their places, rows into the database, together.
fn keep(app: &App, caller: &Caller, arriving: Arriving<'_>, build: Build) -> Result<Received> {
    let Arriving {
        staging,
        artifacts,
        readme,
        ..
    } = arriving;
    let about = about(app, &staging, &artifacts)?;
    let main_binary = index::main_binary(&artifacts);
    let main = main_binary.and_then(|index| artifacts.get(index));
    let solo5 = match main {
        Some((_, main)) => {
            let mut file = staging.open(main.sha256)?;
            let solo5 = derived::read_solo5(&mut file, main.sha256);
            // What cannot be read now is read when somebody asks for it.
            solo5.ok().map(|solo5| (main.sha256, solo5))
        }
        None => None,
    };
    let input_id = index::input_id(&artifacts);
    let row = NewBuild {
        platform: &build.platform,
        start: build.start,
        finish: build.finish,
        result: &build.result,
        input_id,
        main_binary,
        user_id: caller.user.id,
    };
    // Before the build: one that is there has its hooks run, whatever comes between.
    let asks = caller.runs_hooks && main.is_some() && app.hooks().any();
    if asks {
        let asked = app
            .store()
            .write(|tx| hook_runs::ask(tx, build.uuid, &app.now()));
        asked.map_err(|error| not_kept(&build.job, error))?;
    }
    // Rights were looked at when the job was read, which may be days ago. Here nobody takes them away
    // before the build is there, since that is written too.
    let mut refused = None;
    let kept = staging.commit(build.uuid, &build.job, &row, &artifacts, |tx, kept| {
        let may = auth::may_upload(tx, caller, build.job.as_str(), &app.now())?;
        if let Err(error) = may {
            refused = Some(error);
            return Err(builder_store::Error::NotAdmitted);
        }
        let readme = readme.as_ref().map(|readme| readme.text.as_str());
        for (tag, value) in [
            (Tag::Section, about.section.as_deref()),
            (Tag::Synopsis, about.synopsis.as_deref()),
            (Tag::Description, about.description.as_deref()),
            (Tag::Readme, readme),
        ] {
            if let Some(value) = value {
                tags::set(tx, kept.job_id, tag, value)?;
            }
        }
        let subject = format!("{}/{}", build.job, build.uuid);
        let platform = build.platform.as_str();
        // On the command line the account acts, in the name of a user.
        let detail = match caller.user.name == caller.actor.who || caller.token.is_some() {
            true => platform.to_owned(),
            false => format!("{platform}, in the name of {}", caller.user.name),
        };
        let event = Event {
            action: caller.action,
            subject: &subject,
            outcome: Outcome::Done,
            detail: &detail,
        };
        let witness = Witness::Build(build.uuid);
        pending::add(tx, &caller.actor, &event, witness, &app.now())
    });
    match kept {
        Ok(_) => {
            let switch = artifacts
                .iter()
                .find(|(path, _)| path.as_str() == search::SWITCH_PATH);
            if let Some((_, switch)) = switch
                && !about.packages.is_empty()
            {
                let packages = follow::names(&about.packages);
                let told = app
                    .store()
                    .write(|tx| search::set_packages(tx, switch.sha256, packages));
                if let Err(error) = told {
                    // It is told in the background.
                    warn!("the search index is late: {}", with_causes(&error));
                }
            }
            if let Some((sha256, solo5)) = solo5 {
                app.derived().keep_later(sha256, solo5);
                app.derived().keep(app.store());
            }
            if main.is_none() {
                keep_failure(app, build.uuid);
            }
        }
        Err(error) => {
            // Who came first, since it was asked, has hooks under way that were asked for, too.
            if asks && !matches!(error, builder_store::Error::BuildExists { .. }) {
                // Where this fails the next start sees that there is no such build. Others were waited
                // for already.
                let forget = |tx: &mut Tx<'_>| hook_runs::ended(tx, build.uuid);
                let _forgotten = app.store().write_within(FORGETTING_TIME_MAX, forget);
            }
            if let Some(refused) = refused {
                refusing(caller, &build.job);
                return Err(refused);
            }
            // The row of a user who was removed is not there to be named.
            if error.is_missing_row() {
                check_access(app, caller, &build.job)?;
            }
            return Err(not_kept(&build.job, error));
        }
    }
    let (job, uuid) = (&build.job, build.uuid);
    info!(
        build.uuid = %uuid, job.name = %job, platform = %build.platform, user.name = %caller.actor.who,
        artifacts = artifacts.len(), "stored build {uuid} of {job}: {}",
        // A message may have any number of lines.
        show::visible(&build.result.to_string())
    );
    let hook = main.map(|(path, main)| HookCall {
        start: build.start,
        sha256: main.sha256,
        job: build.job.as_str().to_owned(),
        uuid,
        platform: build.platform.as_str().to_owned(),
        main_binary: path.as_str().to_owned(),
    });
    Ok(Received {
        job: build.job.as_str().to_owned(),
        uuid,
        hook,
    })
}

/// An error of keeping a build, as it is told.
fn not_kept(job: &JobName, error: builder_store::Error) -> Error {
    match error {
        builder_store::Error::BuildExists { uuid } => build_exists(job, uuid),
        other => other.into(),
    }
}

/// Why it failed, now that it is kept: nothing of that is a reason to refuse it.
fn keep_failure(app: &App, uuid: Uuid) {
    match app.store().read(|tx| builds::by_uuid(tx, uuid)) {
        Ok(Some(build)) => failures::keep(app.store(), &build),
        Ok(None) => {}
        Err(error) => warn!("cannot look at build {uuid}: {}", with_causes(&error)),
    }
}

fn about(
    app: &App,
    staging: &Staging<'_>,
    artifacts: &[(ArtifactPath, StagedArtifact)],
) -> Result<About> {
    let at = |is_switch: fn(&ArtifactPath) -> bool| {
        let mut all = artifacts.iter();
        all.find(|(path, _)| is_switch(path))
    };
    let Some((path, switch)) = at(|path| path.as_str() == search::SWITCH_PATH)
        .or_else(|| at(|path| path.file_name() == search::SWITCH_PATH))
    else {
        return Ok(About::default());
    };
    let limit = app.limits().opam_switch_bytes_max;
    if switch.size > limit {
        warn!(
            "{path} has {} bytes, more than {limit}: the job's section is not read from it",
            switch.size
        );
        return Ok(About::default());
    }
    let mut bytes = Vec::new();
    staging
        .open(switch.sha256)?
        .read_to_end(&mut bytes)
        .map_err(Error::internal)?;
    Ok(index::about(&bytes))
}

impl<'s> Arriving<'s> {
    fn new(staging: Staging<'s>) -> Arriving<'s> {
        Arriving {
            staging,
            artifacts: Vec::new(),
            paths: HashSet::new(),
            paths_bytes: 0,
            readme: None,
        }
    }

    fn artifact(
        &mut self,
        app: &App,
        path: ArtifactPath,
        data: &mut dyn Read,
        size: u64,
    ) -> Result<()> {
        self.paths_bytes += path.as_str().len() as u64;
        let limit = app.limits().artifact_paths_bytes_max;
        if self.paths_bytes > limit {
            return Err(Error::TooLarge(format!(
                "the paths of the artifacts have more than {limit} bytes in all"
            )));
        }
        if !self.paths.insert(path.clone()) {
            return Err(Error::BadRequest(format!(
                "artifact {path} is there more than once"
            )));
        }
        match index::role(&path) {
            Role::BuildHashes => Ok(()),
            Role::Readme => self.readme(app, &path, data, size),
            Role::Artifact => {
                self.stage(&path, data)?;
                Ok(())
            }
        }
    }

    /// The one at the top counts, or else the first.
    fn readme(
        &mut self,
        app: &App,
        path: &ArtifactPath,
        data: &mut dyn Read,
        size: u64,
    ) -> Result<()> {
        let at_top = !path.as_str().contains('/');
        if self
            .readme
            .as_ref()
            .is_some_and(|known| known.at_top || !at_top)
        {
            return Ok(());
        }
        let limit = app.limits().readme_bytes_max;
        if size > limit {
            warn!("{path} has {size} bytes, more than {limit}: it is not kept");
            return Ok(());
        }
        let mut bytes = Vec::new();
        data.read_to_end(&mut bytes).map_err(reading)?;
        self.readme = Some(Readme {
            at_top,
            // NUL ends a text for some of those who read the database.
            text: String::from_utf8_lossy(&bytes).replace('\0', "\u{fffd}"),
        });
        Ok(())
    }

    fn stage(&mut self, path: &ArtifactPath, data: &mut dyn Read) -> Result<StagedArtifact> {
        let staged = self.staging.artifact(data)?.map_err(reading)?;
        self.artifacts.push((path.clone(), staged));
        Ok(staged)
    }
}

/// Console lines arrive newest first and are kept oldest first. They go to a file, each followed
/// by its length, and are read back from its end.
struct ReversedLines<W: Write> {
    file: io::BufWriter<W>,
    bytes: u64,
}

/// The length that follows each line.
const LENGTH_BYTES: u64 = u64::BITS as u64 / 8;

impl<W: Write + Into<File>> ReversedLines<W> {
    fn new(file: W) -> ReversedLines<W> {
        ReversedLines {
            file: io::BufWriter::with_capacity(64 * 1024, file),
            bytes: 0,
        }
    }

    fn add(&mut self, delta_ns: i64, text: &mut dyn Read) -> Result<()> {
        let spooling = |error: io::Error| match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::NoSpace,
            _ => Error::internal(error),
        };
        let head = console::line_head(delta_ns);
        self.file.write_all(head.as_bytes()).map_err(spooling)?;
        let copied = copy(text, &mut self.file).map_err(|error| match error {
            CopyError::Read(error) => reading(error),
            CopyError::Write(error) => spooling(error),
        })?;
        self.file.write_all(b"\n").map_err(spooling)?;
        let length = head.len() as u64 + copied + 1;
        self.file
            .write_all(&length.to_le_bytes())
            .map_err(spooling)?;
        self.bytes += length + LENGTH_BYTES;
        Ok(())
    }

    fn write_to(self, out: &mut dyn Write) -> io::Result<()> {
        let written = self.file.into_inner();
        let mut file = written.map_err(io::IntoInnerError::into_error)?.into();
        let mut window = Window::default();
        let mut end = self.bytes;
        while end > 0 {
            let mut length = 0_u64.to_le_bytes();
            window.copy(
                &mut file,
                end - LENGTH_BYTES,
                LENGTH_BYTES,
                &mut &mut length[..],
            )?;
            end -= LENGTH_BYTES;
            let length = u64::from_le_bytes(length);
            window.copy(&mut file, end - length, length, out)?;
            end -= length;
        }
        Ok(())
    }
}

/// A part of a file in memory; moved towards the file's start as it is read from the end.
#[derive(Default)]
struct Window {
    start: u64,
    bytes: Vec<u8>,
}

const WINDOW_BYTES: u64 = 256 * 1024;

impl Window {
    fn copy(
        &mut self,
        file: &mut File,
        mut at: u64,
        mut count: u64,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        while count > 0 {
            let inside = at
                .checked_sub(self.start)
                .and_then(|skip| usize::try_from(skip).ok())
                .and_then(|skip| self.bytes.get(skip..))
                .filter(|rest| !rest.is_empty());
            match inside {
                Some(rest) => {
                    let taken = rest.len().min(usize::try_from(count).unwrap_or(usize::MAX));
                    out.write_all(&rest[..taken])?;
                    at += taken as u64;
                    count -= taken as u64;
                }
                None => {
                    // Ends with what is wanted, or holds its first part.
                    let end = at + count.min(WINDOW_BYTES);
                    self.start = end.saturating_sub(WINDOW_BYTES);
                    self.bytes.clear();
                    file.seek(SeekFrom::Start(self.start))?;
                    file.take(end - self.start).read_to_end(&mut self.bytes)?;
                    if self.bytes.len() as u64 != end - self.start {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
            }
        }
        Ok(())
    }
}

enum CopyError {
    Read(io::Error),
    Write(io::Error),
}

fn copy(from: &mut dyn Read, to: &mut dyn Write) -> std::result::Result<u64, CopyError> {
    let mut buffer = [0; 16 * 1024];
    let mut copied = 0;
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(copied),
            Ok(count) => {
                to.write_all(&buffer[..count]).map_err(CopyError::Write)?;
                copied += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(CopyError::Read(error)),
        }
    }
}

fn writing(error: CopyError, out: &builder_store::TextFileWriter<'_>) -> Error {
    match error {
        CopyError::Read(error) => reading(error),
        CopyError::Write(error) => out.error(error).into(),
    }
}

/// An error of the body: of what the client sent, or of its connection.
fn reading(error: io::Error) -> Error {
    match builder_exec::Error::from_io(error) {
        Ok(error) => refused(error),
        Err(error) => broken(&error),
    }
}

fn refused(error: builder_exec::Error) -> Error {
    match &error.kind {
        ErrorKind::TooLarge { .. } => Error::TooLarge(error.to_string()),
        ErrorKind::Truncated { .. } | ErrorKind::Malformed { .. } => {
            Error::BadRequest(format!("this is no build: {error}"))
        }
        ErrorKind::Io(cause) => broken(cause),
    }
}

fn broken(error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::TimedOut => Error::Timeout(error.to_string()),
        _ => Error::BadRequest(format!("the upload broke off: {}", with_causes(error))),
    }
}

fn bad_name(error: NameError) -> Error {
    Error::BadRequest(error.to_string())
}

fn build_exists(job: &JobName, uuid: Uuid) -> Error {
    Error::Conflict(format!("Build with same uuid exists: {job}({uuid})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_any_length_come_back_in_the_other_order() {
        let lines: Vec<String> = [0, 1, 7, 300_000, 2, 600_000, 0, 5]
            .iter()
            .enumerate()
            .map(|(number, length)| format!("{number}{}", "x".repeat(*length)))
            .collect();
        let mut reversed = ReversedLines::new(tempfile::tempfile().unwrap());
        for (number, line) in lines.iter().enumerate().rev() {
            reversed
                .add(
                    i64::try_from(number).unwrap() * 1_000_000_000,
                    &mut line.as_bytes(),
                )
                .unwrap();
        }
        let mut text = Vec::new();
        reversed.write_to(&mut text).unwrap();
        let expected: String = lines
            .iter()
            .enumerate()
            .map(|(number, line)| format!("{number}.000s:{line}\n"))
            .collect();
        assert!(String::from_utf8(text).unwrap() == expected);
    }

    #[test]
    fn many_lines_come_back_in_the_other_order() {
        let mut reversed = ReversedLines::new(tempfile::tempfile().unwrap());
        for number in (0..100_000).rev() {
            reversed.add(number * 1_000_000, &mut &b"line"[..]).unwrap();
        }
        let mut text = Vec::new();
        reversed.write_to(&mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert_eq!(text.lines().count(), 100_000);
        assert!(text.starts_with("0.000s:line\n0.001s:line\n"));
        assert!(text.ends_with("99.999s:line\n"));
    }
}
