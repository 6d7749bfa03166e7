//! A data directory for a test, with builds put into it in one line each.

use std::io::Write;
use std::path::{Path, PathBuf};

use builder_exec::{ExecutionResult, Timestamp};
use builder_store::builds::NewBuild;
use builder_store::users::{self, PasswordHash};
use builder_store::{ArtifactPath, JobName, Platform, Result, Sha256, Staging, Store, TextFile};
use rusqlite::Connection;
use tempfile::TempDir;
use uuid::Uuid;

pub(crate) struct Data {
    pub(crate) store: Store,
    directory: TempDir,
}

/// A build in a line: job, platform, when it started, and its files.
pub(crate) struct New<'a>(
    pub(crate) &'a str,
    pub(crate) &'a str,
    pub(crate) i64,
    pub(crate) &'a [(&'a str, &'a str)],
);

impl Data {
    pub(crate) fn new() -> Data {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let data = Data { store, directory };
        data.add_user("user");
        data
    }

    fn add_user(&self, name: &str) {
        let password = PasswordHash {
            hash: vec![1; 32],
            salt: vec![2; 16],
            scrypt_n: 16,
            scrypt_r: 1,
            scrypt_p: 1,
        };
        self.store
            .write(|tx| users::add(tx, name, &password, false))
            .unwrap();
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Another program's view of the database.
    pub(crate) fn sql(&self) -> Connection {
        Connection::open(self.path().join("builder.sqlite3")).unwrap()
    }

    /// Closes the store and opens it again.
    pub(crate) fn reopen(self) -> Data {
        self.between(|| {})
    }

    /// Closes the store, lets something happen, and opens it again.
    pub(crate) fn between(self, happen: impl FnOnce()) -> Data {
        let Data { store, directory } = self;
        drop(store);
        happen();
        let store = Store::open(directory.path()).unwrap();
        Data { store, directory }
    }

    pub(crate) fn keep(&self, number: u128, build: &New<'_>) {
        self.try_keep(number, build).unwrap();
    }

    pub(crate) fn try_keep(&self, number: u128, build: &New<'_>) -> Result<()> {
        self.try_keep_from("user", None, number, build)
    }

    /// One that somebody else uploads, who is added if need be.
    pub(crate) fn keep_of(&self, user: &str, input: &str, number: u128, build: &New<'_>) {
        let known = self.store.read(|tx| users::by_name(tx, user)).unwrap();
        if known.is_none() {
            self.add_user(user);
        }
        let input_id = Sha256::of(input.as_bytes());
        self.try_keep_from(user, Some(input_id), number, build)
            .unwrap();
    }

    /// One whose input is known, by a word.
    pub(crate) fn keep_from(&self, input: &str, number: u128, build: &New<'_>) {
        let input_id = Sha256::of(input.as_bytes());
        self.try_keep_from("user", Some(input_id), number, build)
            .unwrap();
    }

    fn try_keep_from(
        &self,
        user: &str,
        input_id: Option<Sha256>,
        number: u128,
        New(job, platform, start, files): &New<'_>,
    ) -> Result<()> {
        let mut staging = self.store.stage(0)?;
        texts(&staging);
        let mut artifacts = Vec::new();
        for (path, content) in *files {
            let staged = staging.artifact(&mut content.as_bytes())?.unwrap();
            artifacts.push((ArtifactPath::parse(path.as_bytes()).unwrap(), staged));
        }
        let start = Timestamp::from_unix(*start, 0).unwrap();
        let build = NewBuild {
            platform: &Platform::parse(platform.as_bytes()).unwrap(),
            start,
            finish: start,
            result: &ExecutionResult::Exited(0),
            input_id,
            main_binary: files.iter().position(|(path, _)| path.starts_with("bin/")),
            user_id: self.store.read(|tx| users::by_name(tx, user))?.unwrap().id,
        };
        let job = JobName::parse(job.as_bytes()).unwrap();
        staging.commit(Uuid::from_u128(number), &job, &build, &artifacts, |_, _| {
            Ok(())
        })?;
        Ok(())
    }

    /// All files that are no database, and directories that hold nothing.
    pub(crate) fn files(&self) -> Vec<String> {
        let mut all = Vec::new();
        let mut todo: Vec<PathBuf> = vec![self.path().to_owned()];
        while let Some(next) = todo.pop() {
            for entry in std::fs::read_dir(&next).unwrap() {
                let path = entry.unwrap().path();
                let name = path
                    .strip_prefix(self.path())
                    .unwrap()
                    .display()
                    .to_string();
                if path.is_dir() {
                    todo.push(path);
                } else if !name.contains(".sqlite3") {
                    all.push(name);
                }
            }
        }
        all.sort();
        all
    }
}

pub(crate) fn texts(staging: &Staging<'_>) {
    for file in [TextFile::Console, TextFile::Script] {
        let mut out = staging.text(file).unwrap();
        out.write_all(b"text").unwrap();
        out.finish().unwrap();
    }
}

/// Who acts in these tests.
pub(crate) fn operator() -> builder_store::record::audit::Actor {
    builder_store::record::audit::Actor {
        who: "operator".to_owned(),
        address: "command line".to_owned(),
        request: String::new(),
    }
}
