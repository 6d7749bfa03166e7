//! Commands that are killed in the middle of their work: whatever moment it was, `doctor` and
//! `verify-data-dir` find nothing wrong or say what mends it, the same command again does mend it,
//! and nothing is lost.
//!
//! BUILDER_WEB_KILLS says how often each test kills; all of them, often:
//!
//!     BUILDER_WEB_KILLS=200 cargo nextest run -p builder-web interrupted

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use builder_store::{Store, builds};
use serde_json::Value;

use crate::build::{Build, build, noise};
use crate::carry::{db, empty, write_all};
use crate::cli::call;
use crate::program::BUILDER_WEB;
use crate::server::files;

/// Kills of each test, if the environment does not say another number.
const KILLS: u64 = 6;

pub(crate) fn kills() -> u64 {
    std::env::var("BUILDER_WEB_KILLS").map_or(KILLS, |kills| kills.parse().unwrap())
}

/// How often it is tried to kill one in the middle of its work: on a busy machine, most kills come
/// while it still starts.
const TRIES_MAX: u64 = 300;

/// xorshift: the same numbers every time, of the same seed.
pub(crate) struct Random(u64);

impl Random {
    /// BUILDER_WEB_SEED makes it another one.
    pub(crate) fn new() -> Random {
        let seed = std::env::var("BUILDER_WEB_SEED").map_or(0, |seed| seed.parse().unwrap());
        println!("seed {seed}");
        Random(0x9E37_79B9_7F4A_7C15 ^ seed)
    }

    /// A place in something that long.
    pub(crate) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap()
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end.max(1)
    }
}

/// How often something was killed, and when to do it.
pub(crate) struct Killer {
    random: Random,
    pub(crate) killed: u64,
    tries: u64,
}

impl Killer {
    pub(crate) fn new() -> Killer {
        Killer {
            random: Random::new(),
            killed: 0,
            tries: 0,
        }
    }

    /// Runs a command and kills it somewhere in the time that it takes; what it said until then,
    /// if it was there to be killed.
    pub(crate) fn kill(&mut self, arguments: &[&str], takes: Duration) -> Option<String> {
        self.tries += 1;
        assert!(
            self.tries < TRIES_MAX + kills() * 20,
            "never there to be killed, or never in the middle"
        );
        let mut child = Command::new(BUILDER_WEB)
            .args(arguments)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let micros = u64::try_from(takes.as_micros()).unwrap();
        std::thread::sleep(Duration::from_micros(self.random.below(micros)));
        child.kill().unwrap();
        let status = child.wait().unwrap();
        let mut said = String::new();
        child.stdout.unwrap().read_to_string(&mut said).unwrap();
        if status.signal() != Some(9) {
            assert!(status.success(), "{arguments:?} failed by itself: {said}");
            return None;
        }
        self.killed += 1;
        Some(said)
    }
}

/// Runs a command of the program to its end.
#[track_caller]
pub(crate) fn whole(arguments: &[&str]) -> Duration {
    let begin = Instant::now();
    let output = call(BUILDER_WEB, arguments, "");
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    begin.elapsed()
}

fn json(arguments: &[&str]) -> (Value, i32) {
    let output = call(BUILDER_WEB, arguments, "");
    let status = output.status.code().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let json =
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("{arguments:?}: {text} {output:?}"));
    (json, status)
}

/// What the doctor finds amiss, each with a command; the machine itself is not the matter.
#[track_caller]
fn amiss(data: &str) -> BTreeMap<String, String> {
    let (json, _) = json(&["db", "doctor", "-d", data, "-c", data, "--json"]);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let all = json["findings"].as_array().unwrap().iter();
    all.filter(|finding| finding["level"] != "note" && finding["check"] != "space")
        .map(|finding| {
            let mend = text(&finding["mend"]);
            assert!(!mend.is_empty(), "{finding}");
            (text(&finding["check"]), mend)
        })
        .collect()
}

/// Only what has no row may be left by a kill: nothing that a row names is gone or changed.
#[track_caller]
fn nothing_is_lost(data: &str, allowed: &[&str]) {
    for (check, mend) in amiss(data) {
        assert!(allowed.contains(&check.as_str()), "{check}: {mend}");
    }
    let (report, status) = json(&["db", "verify-data-dir", "-d", data, "--json"]);
    let problems = report["problems"].as_array().unwrap();
    assert_eq!(status, i32::from(!problems.is_empty()), "{report}");
    let left = |fault: &Value| fault == "stray" || fault == "to-be-removed";
    assert!(
        problems.iter().all(|problem| left(&problem["fault"])),
        "{report}"
    );
}

#[track_caller]
fn all_is_well(data: &str) {
    assert_eq!(amiss(data), BTreeMap::new());
    let (report, status) = json(&["db", "verify-data-dir", "-d", data, "--json"]);
    assert_eq!(
        (status, &report["problems"]),
        (0, &serde_json::json!([])),
        "{report}"
    );
}

/// Builds that share some of their artifacts.
fn some(numbers: std::ops::Range<u128>) -> Vec<Build> {
    let one = |number: u128| {
        build(
            ["one", "two"][usize::from(number.is_multiple_of(2))],
            number,
        )
        .later(i64::try_from(number).unwrap())
        .input(["a", "b"][usize::from(number.is_multiple_of(3))])
        .file("bin/x", format!("binary {}", number / 2).repeat(20_000))
        .file("shared", noise(50_000))
        .file("own", number.to_string())
    };
    numbers.map(one).collect()
}

/// The builds that are there.
fn kept(data: &str) -> BTreeSet<String> {
    let store = Store::open_beside(Path::new(data)).unwrap();
    let all = store.read(|tx| builds::names(tx, None)).unwrap();
    all.into_iter()
        .map(|(job, uuid)| format!("{job}/{uuid}"))
        .collect()
}

/// What builds consist of: every file but those that are ours to keep order.
fn content(data: &str) -> BTreeMap<String, String> {
    let mut all = files(Path::new(data));
    all.retain(|path, _| !path.ends_with('/'));
    all.retain(|path, _| !path.starts_with("_cache/") && !path.starts_with("_quarantine/"));
    all
}

#[test]
fn a_killed_import_has_kept_what_it_said_and_the_next_does_the_rest() {
    let mut killer = Killer::new();
    let (_whole, expected, at) = empty();
    write_all(Path::new(&at), &some(1..13));
    let takes = whole(&["db", "import", "-d", &expected, &at]);
    let expected = (kept(&expected), content(&expected));
    let mut begun = 0;
    while killer.killed < kills() || begun == 0 {
        let (_holder, data, _) = empty();
        let import = ["db", "import", "-d", &data, &at];
        let mut said = BTreeSet::new();
        // One, two or three kills before it may finish.
        for _ in 0..1 + killer.random.below(3) {
            let Some(text) = killer.kill(&import, takes) else {
                break;
            };
            let lines = text.lines().filter_map(|line| line.strip_prefix("stored "));
            said.extend(lines.filter_map(|line| Some(line.split_once(": ")?.0.to_owned())));
            let kept = kept(&data);
            begun += u64::from(!kept.is_empty() && kept.len() < expected.0.len());
            assert!(said.is_subset(&kept), "{said:?} {kept:?}");
            nothing_is_lost(&data, &["staging", "orphans"]);
        }
        whole(&import);
        all_is_well(&data);
        assert_eq!((kept(&data), content(&data)), expected);
    }
    println!("{} kills, {begun} of them between builds", killer.killed);
}

#[test]
fn a_killed_backup_is_the_one_before_or_the_new_one() {
    let mut killer = Killer::new();
    let sources = [some(1..9), some(5..13)].map(|builds| {
        let (holder, data, at) = empty();
        write_all(Path::new(&at), &builds);
        whole(&["db", "import", "-d", &data, &at]);
        (holder, data)
    });
    let expected = [0, 1].map(|source| {
        let data = &sources[source].1;
        (kept(data), content(data))
    });
    let holder = tempfile::tempdir().unwrap();
    let dest = holder.path().join("backup").to_str().unwrap().to_owned();
    let backup = |source: usize| ["db", "backup", "-d", &sources[source].1, &dest, "--copy"];
    let mut before = None;
    let mut takes = Duration::from_millis(300);
    let mut left = 0;
    let mut source = 0;
    while killer.killed < kills() || left == 0 {
        source = 1 - source;
        for _ in 0..1 + killer.random.below(3) {
            if killer.kill(&backup(source), takes).is_none() {
                break;
            }
            // The very first has nothing before it.
            if Path::new(&dest).join("builder.sqlite3").exists() {
                let rows = kept(&dest);
                let is_before = before.is_some_and(|before: usize| rows == expected[before].0);
                assert!(is_before || rows == expected[source].0, "{rows:?}");
                nothing_is_lost(&dest, &["backup", "orphans", "staging"]);
                left += u64::from(amiss(&dest).contains_key("backup"));
            }
        }
        takes = whole(&backup(source));
        all_is_well(&dest);
        assert_eq!((kept(&dest), content(&dest)), expected[source]);
        before = Some(source);
    }
    println!("{} kills, {left} of them in the middle", killer.killed);
}

#[test]
fn a_killed_migration_is_told_and_the_next_run_brings_it_where_it_should_be() {
    let mut killer = Killer::new();
    let (_holder, data, at) = empty();
    write_all(Path::new(&at), &some(1..13));
    whole(&["db", "import", "-d", &data, &at]);
    let expected = (kept(&data), content(&data));
    let down = ["migrations", "down", "--to", "14", "-d", &data];
    let up = [
        "migrations",
        "up",
        "--platform",
        "builder=debian-12",
        "-d",
        &data,
    ];
    let (down_takes, up_takes) = (whole(&down), whole(&up));
    all_is_well(&data);
    let mut told = 0;
    while killer.killed < kills() || told == 0 {
        for (command, takes) in [(&down[..], down_takes), (&up[..], up_takes)] {
            for _ in 0..1 + killer.random.below(3) {
                if killer.kill(command, takes).is_none() {
                    break;
                }
                let amiss = amiss(&data);
                told += u64::from(amiss.contains_key("migration"));
                for (check, mend) in &amiss {
                    assert!(mend.starts_with("builder-migrations up"), "{check}: {mend}");
                }
                let (version, _) = json(&["migrations", "status", "--json", "-d", &data]);
                if version["version"] == 18 && version["interrupted"].is_null() {
                    nothing_is_lost(&data, &[]);
                }
            }
            whole(command);
        }
        all_is_well(&data);
        assert_eq!((kept(&data), content(&data)), expected);
    }
    println!("{} kills, {told} of them while files moved", killer.killed);
}

fn vacuum(data: &str) -> [&str; 6] {
    ["db", "vacuum", "except-latest", "2", "-d", data]
}

#[test]
fn a_killed_vacuum_is_told_and_mended_by_the_next_one_or_a_repair() {
    let mut killer = Killer::new();
    let (holder, full, at) = empty();
    write_all(Path::new(&at), &some(1..25));
    whole(&["db", "import", "-d", &full, &at]);
    let before = kept(&full);
    let copy = |name: &str| {
        let path = holder.path().join(name).to_str().unwrap().to_owned();
        crate::program::succeeds(holder.path(), "cp", &["-a", &full, &path]);
        path
    };
    let expected = copy("expected");
    let takes = whole(&vacuum(&expected));
    let expected = (kept(&expected), content(&expected));
    let mut left = 0;
    while killer.killed < kills() || left == 0 {
        let data = copy("vacuumed");
        for _ in 0..1 + killer.random.below(3) {
            if killer.kill(&vacuum(&data), takes).is_none() {
                break;
            }
            let kept = kept(&data);
            assert!(kept == before || kept == expected.0, "{kept:?}");
            nothing_is_lost(&data, &["removal", "orphans"]);
            left += u64::from(!amiss(&data).is_empty());
        }
        if killer.random.below(2) == 0 {
            let repair = ["db", "verify-data-dir", "--repair", "-d", &data];
            whole(&repair);
            all_is_well(&data);
            assert!(!Path::new(&data).join("_quarantine").exists());
        }
        whole(&vacuum(&data));
        all_is_well(&data);
        assert_eq!((self::kept(&data), content(&data)), expected);
        fs::remove_dir_all(&data).unwrap();
    }
    println!("{} kills, {left} of them in the middle", killer.killed);
}

#[test]
fn what_a_kill_left_is_mended_by_a_repair_too() {
    let (_holder, data, at) = empty();
    write_all(Path::new(&at), &some(1..5));
    db(0, &["import", "-d", &data, &at]);
    let expected = content(&data);
    // As an upload leaves it that is killed before its rows are written.
    let staging = Path::new(&data).join("_staging/77.0");
    fs::create_dir(&staging).unwrap();
    fs::write(staging.join("lock"), "").unwrap();
    let sha256 = builder_store::Sha256::of(b"moved");
    let home = "one/f63a5b8a-9ab3-40a3-8cfc-0000000000ff";
    fs::write(
        staging.join("intent"),
        format!("build {home}\nartifact {sha256}\n"),
    )
    .unwrap();
    let hex = sha256.to_hex();
    let bucket = Path::new(&data).join("_artifacts").join(&hex[..2]);
    fs::create_dir_all(&bucket).unwrap();
    fs::write(bucket.join(&hex), "moved").unwrap();
    fs::create_dir(Path::new(&data).join(home)).unwrap();
    fs::write(Path::new(&data).join(home).join("console.txt"), "").unwrap();
    nothing_is_lost(&data, &["staging", "orphans"]);
    assert_eq!(amiss(&data).len(), 2);
    db(0, &["verify-data-dir", "-d", &data, "--repair"]);
    all_is_well(&data);
    assert_eq!(content(&data), expected);
}
