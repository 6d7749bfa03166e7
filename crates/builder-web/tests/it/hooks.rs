//! Upload hooks: which are run, with which arguments, and what becomes of those that go wrong.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::time::Duration;

use builder_store::Sha256;

use crate::build::{Build, build};
use crate::program::{BUILDER_WEB, Process, succeeds};
use crate::server::{
    Answer, BUILDER, PATIENCE, Server, basic, connect, exchange, head, wait_until,
};

fn hello(number: u128) -> Build {
    build("hello", number).file("bin/hello.deb", "deb")
}

fn directory(server: &Server) -> PathBuf {
    let directory = server.configdir().join("upload-hooks");
    fs::create_dir_all(&directory).unwrap();
    directory
}

/// A program in the directory of hooks. Written by another process: a file that this one has open
/// for writing, or a child that it starts meanwhile, could not be run.
pub(crate) fn hook(server: &Server, name: &str, mode: u32, script: &str) -> PathBuf {
    let directory = directory(server);
    let (draft, path) = (server.configdir().join("draft"), directory.join(name));
    fs::write(&draft, format!("#!/bin/sh\n{script}\n")).unwrap();
    succeeds(&directory, "cp", &[&draft, &path]);
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path
}

/// A script that writes down its arguments under its own name.
fn recording(server: &Server) -> String {
    let out = server.configdir().display().to_string();
    format!(
        "printf '%s\\0' \"$@\" > '{out}'/draft.$$ && mv '{out}'/draft.$$ '{out}'/\"ran-${{0##*/}}\""
    )
}

fn ran(server: &Server, name: &str) -> bool {
    server.configdir().join(format!("ran-{name}")).exists()
}

fn arguments(server: &Server, name: &str) -> Vec<String> {
    wait_until("the hook has run", || ran(server, name));
    let text = fs::read_to_string(server.configdir().join(format!("ran-{name}"))).unwrap();
    text.split_terminator('\0').map(str::to_owned).collect()
}

#[test]
fn a_hook_is_told_of_the_build_in_its_arguments() {
    for job in [
        "hello",
        "a b",
        "it's \"quoted\"",
        "$(touch x)",
        "`touch x`; touch x",
        "a=b",
        "--data-dir=x",
        "*",
        "\\",
    ] {
        let server = Server::new();
        hook(&server, "record.sh", 0o755, &recording(&server));
        let build = build(job, 1)
            .platform("p $(touch y)")
            .file("bin/x y.deb", "deb")
            .file("other", "x");
        server.keep(&build);
        let digest = Sha256::of(b"deb").to_hex();
        let data = server.datadir().display();
        let expected = [
            "--build-time=20260512041233".to_owned(),
            format!("--sha256={digest}"),
            format!("--job={job}"),
            format!("--uuid={}", build.uuid),
            "--platform=p $(touch y)".to_owned(),
            format!("--cache-dir={data}/_cache"),
            format!("--data-dir={data}"),
            "--main-binary-filepath=bin/x y.deb".to_owned(),
            format!("{data}/_artifacts/{}/{digest}", &digest[..2]),
        ];
        assert_eq!(arguments(&server, "record.sh"), expected);
        for made in ["x", "y"] {
            assert!(!PathBuf::from(made).exists(), "the shell ran {job}");
        }
    }
}

#[test]
fn a_binary_uploaded_by_hand_runs_hooks_too() {
    let server = Server::new();
    hook(&server, "record.sh", 0o755, &recording(&server));
    let headers = [("authorization", &*basic(BUILDER))];
    let answer = server.send(
        "POST",
        "/job/hand/platform/p/upload?binary_name=x.pkg",
        &headers,
        "pkg",
    );
    assert_eq!(answer.status, 201);
    let arguments = arguments(&server, "record.sh");
    assert_eq!(arguments[0], "--build-time=20260512041333");
    assert_eq!(arguments[2], "--job=hand");
    assert_eq!(arguments[7], "--main-binary-filepath=bin/x.pkg");
}

#[test]
fn only_executable_files_that_end_in_sh_are_run() {
    let server = Server::new();
    let script = recording(&server);
    for (name, mode) in [
        ("a.sh.sample", 0o755),
        ("b.sh", 0o644),
        ("c.sh", 0o744),
        ("d.sh", 0o754),
        ("e", 0o755),
        ("f.py", 0o755),
        ("sh", 0o755),
    ] {
        hook(&server, name, mode, &script);
    }
    let hooks = directory(&server);
    fs::create_dir(hooks.join("g.sh")).unwrap();
    symlink("/nonexistent/h.sh", hooks.join("h.sh")).unwrap();
    symlink("i.sh", hooks.join("i.sh")).unwrap();
    let elsewhere = hook(&server, "real", 0o755, &script);
    symlink(&elsewhere, hooks.join("j.sh")).unwrap();
    // The last in their order: when it has run, the others would have, or are running.
    hook(&server, "z.sh", 0o755, &format!("sleep 0.3\n{script}"));
    server.keep(&hello(1));
    arguments(&server, "j.sh");
    arguments(&server, "z.sh");
    let mut all: Vec<String> = fs::read_dir(server.configdir())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("ran-"))
        .collect();
    all.sort();
    assert_eq!(all, ["ran-j.sh", "ran-z.sh"]);
}

#[test]
fn a_build_without_a_main_binary_runs_no_hook() {
    let server = Server::new();
    hook(&server, "record.sh", 0o755, &recording(&server));
    server.keep(&build("none", 1).file("x", "x"));
    server.keep(&build("two", 2).file("bin/x", "x").file("bin/y", "y"));
    assert_eq!(
        server.upload(&build("none", 1).file("bin/x", "x")).status,
        409
    );
    // Had one run, it would have run before this one.
    server.keep(&hello(3));
    assert!(arguments(&server, "record.sh").contains(&"--job=hello".to_owned()));
}

#[test]
fn a_hook_that_fails_changes_nothing_for_the_client_or_for_other_hooks() {
    let server = Server::new();
    hook(&server, "a.sh", 0o755, "echo broken >&2; exit 3");
    hook(&server, "b.sh", 0o755, "kill -9 $$");
    let path = hook(&server, "c.sh", 0o755, "");
    fs::write(&path, "#!/nonexistent/interpreter\n").unwrap();
    hook(&server, "d.sh", 0o755, &recording(&server));
    server.keep(&hello(1));
    arguments(&server, "d.sh");
    assert_eq!(server.get(&hello(1).url()).status, 200);
}

#[test]
fn an_upload_is_answered_without_waiting_for_its_hooks() {
    let server = Server::new();
    let gate = server.configdir().join("gate");
    succeeds(server.configdir(), "mkfifo", &[&gate]);
    hook(
        &server,
        "slow.sh",
        0o755,
        &format!("read line < '{}'\n{}", gate.display(), recording(&server)),
    );
    server.keep(&hello(1));
    assert!(!ran(&server, "slow.sh"));
    fs::write(&gate, "go\n").unwrap();
    arguments(&server, "slow.sh");
}

#[test]
fn a_hook_that_never_ends_is_killed_with_all_it_started() {
    // Time enough to begin on a busy machine.
    let server = Server::with(|config| config.limits.hook_time_max = Duration::from_secs(3));
    let pipe = server.configdir().join("pipe");
    succeeds(server.configdir(), "mkfifo", &[&pipe]);
    // The hook and what it starts hold the pipe open as long as they live.
    hook(
        &server,
        "endless.sh",
        0o755,
        &format!(
            "exec 3> '{}'\necho begun >&3\nsleep 1000 &\nsleep 1000",
            pipe.display()
        ),
    );
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        fs::File::open(pipe)
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        sender.send(text).unwrap();
    });
    server.keep(&hello(1));
    let text = receiver.recv_timeout(PATIENCE);
    assert_eq!(
        text.as_deref(),
        Ok("begun\n"),
        "all processes of the hook have ended"
    );
}

/// The numbers of the processes of this machine that have this word among their arguments.
#[cfg(target_os = "linux")]
fn running(word: &str) -> Vec<String> {
    let all = fs::read_dir("/proc").unwrap();
    all.filter_map(|entry| {
        let entry = entry.ok()?;
        let arguments = fs::read(entry.path().join("cmdline")).ok()?;
        let mut arguments = arguments.split(|byte| *byte == 0);
        let has_it = arguments.any(|one| one == word.as_bytes());
        has_it.then(|| entry.file_name().into_string().ok())?
    })
    .collect()
}

#[test]
#[cfg(target_os = "linux")]
fn what_left_the_process_group_of_a_hook_is_killed_with_it_and_nothing_else() {
    // Time enough to be seen on a busy machine.
    let server = Server::with(|config| config.limits.hook_time_max = Duration::from_secs(6));
    // Numbers that are nobody else's on this machine.
    let base = 100_000 + u64::from(std::process::id()) * 8;
    let [inherits, forgets, daemon, chain, stays] =
        [0, 1, 2, 3, 4].map(|of| (base + of).to_string());
    let mut stranger = std::process::Command::new("sleep")
        .arg(&stays)
        .env("BUILDER_WEB_HOOK", "another")
        .spawn()
        .unwrap();
    // One that ends in time leaves something running, and one that does not.
    hook(
        &server,
        "quick.sh",
        0o755,
        &format!("setsid sleep {stays} > /dev/null 2>&1 &"),
    );
    let endless = format!(
        "setsid sleep {inherits} &\n\
         setsid env -i /bin/sleep {forgets} &\n\
         (setsid sh -c 'sleep {daemon} & exit' &)\n\
         setsid sh -c 'while :; do setsid sleep {chain} & sleep 0.02; done' &\n\
         sleep 1000"
    );
    hook(&server, "endless.sh", 0o755, &endless);
    server.keep(&hello(1));
    for word in [&inherits, &forgets, &daemon, &chain] {
        wait_until("all are there", || !running(word).is_empty());
    }
    for word in [&inherits, &forgets, &daemon, &chain] {
        wait_until("all have ended", || running(word).is_empty());
    }
    assert_eq!(running(&stays).len(), 2);
    // Nor is any of it left behind as a child of ours that nobody waits for.
    let ourselves = std::process::id().to_string();
    let ours = || {
        let all = succeeds(
            server.configdir(),
            "ps",
            &["--no-headers", "-o", "stat", "--ppid", &ourselves],
        );
        let all = String::from_utf8_lossy(&all).into_owned();
        all.lines().filter(|state| state.starts_with('Z')).count()
    };
    wait_until("none is a zombie", || ours() == 0);
    for left in running(&stays) {
        succeeds(server.configdir(), "kill", &[left]);
    }
    stranger.wait().unwrap();
}

#[test]
fn hooks_run_a_few_at_a_time_and_all_are_run() {
    let server = Server::with(|config| config.limits.hooks_concurrent_max = 2);
    let script = recording(&server);
    for number in 0..8 {
        hook(&server, &format!("{number}.sh"), 0o755, &script);
    }
    server.keep(&hello(1));
    for number in 0..8 {
        arguments(&server, &format!("{number}.sh"));
    }
}

#[test]
fn no_directory_of_hooks_is_no_hooks() {
    let server = Server::new();
    fs::remove_dir_all(server.configdir()).unwrap();
    server.keep(&hello(1));
}

/// builder-web on the directories of `server`, with a build sent to it.
fn served(server: &Server) -> Process {
    let process = Process::serve_with(server.datadir(), server.configdir(), &[]);
    let exec = hello(1).exec();
    let (length, authorization) = (exec.len().to_string(), basic(BUILDER));
    let headers = [
        ("content-length", length.as_str()),
        ("authorization", authorization.as_str()),
    ];
    let answer = exchange(process.address, "POST", "/upload", &headers, &exec);
    assert_eq!(answer.status, 201, "{}", answer.text());
    process
}

#[test]
fn a_server_that_is_told_to_stop_runs_its_hooks_to_their_end() {
    let server = Server::new();
    // More than run at a time: some wait.
    let script = format!("echo begins; sleep 0.5\n{}", recording(&server));
    for number in 0..6 {
        hook(&server, &format!("{number}.sh"), 0o755, &script);
    }
    let mut process = served(&server);
    process.terminate();
    assert!(process.wait().success(), "{}", process.log());
    for number in 0..6 {
        assert!(ran(&server, &format!("{number}.sh")), "{}", process.log());
    }
}

#[test]
fn hooks_that_take_too_long_at_the_end_are_left_running_and_others_not_started() {
    let server = Server::with(|config| config.limits.hooks_concurrent_max = 1);
    let gate = server.configdir().join("gate");
    succeeds(server.configdir(), "mkfifo", &[&gate]);
    let script = format!("read line < '{}'\n{}", gate.display(), recording(&server));
    let begun = format!("touch '{}/begun'\n{script}", server.configdir().display());
    hook(&server, "a.sh", 0o755, &begun);
    hook(&server, "b.sh", 0o755, &begun);
    server.keep(&hello(1));
    wait_until("a hook has begun", || {
        server.configdir().join("begun").exists()
    });
    let app = server.app.clone();
    let short = Duration::from_millis(50);
    server.runtime().block_on(app.hooks().finish(short));
    fs::write(&gate, "go\n").unwrap();
    let both = || ["a.sh", "b.sh"].map(|name| ran(&server, name));
    wait_until("the one that had begun has run", || both() != [false; 2]);
    server.runtime().block_on(app.hooks().finish(PATIENCE));
    assert_ne!(both(), [true; 2]);
}

#[test]
fn a_hook_that_does_not_name_its_interpreter_is_run_by_the_shell() {
    let server = Server::new();
    let script = recording(&server);
    let path = hook(&server, "plain.sh", 0o755, "");
    let draft = server.configdir().join("draft");
    fs::write(&draft, script).unwrap();
    succeeds(server.configdir(), "cp", &[&draft, &path]);
    server.keep(&hello(1));
    let arguments = arguments(&server, "plain.sh");
    assert_eq!(arguments.len(), 9);
    assert_eq!(arguments[2], "--job=hello");
}

#[test]
fn what_a_hook_prints_is_logged_when_it_comes_and_to_the_last_line() {
    let server = Server::new();
    let gates = ["one", "two"].map(|gate| server.configdir().join(gate));
    succeeds(server.configdir(), "mkfifo", &gates);
    let [one, two] = gates.each_ref().map(|gate| gate.display());
    hook(
        &server,
        "talks.sh",
        0o755,
        &format!(
            "echo first; read line < '{one}'; echo second >&2; printf 'no end'\n\
             (read line < '{two}'; echo; echo from behind) &"
        ),
    );
    let process = served(&server);
    let logged = |text: &str| wait_until(text, || process.log().contains(text));
    logged("talks.sh: first");
    assert!(!process.log().contains("talks.sh: second"));
    fs::write(&gates[0], "go\n").unwrap();
    logged("talks.sh: second");
    // Its end and the beginning of a line are told though something holds the stream open.
    logged("talks.sh: no end");
    logged("talks.sh has run");
    fs::write(&gates[1], "go\n").unwrap();
    logged("talks.sh: from behind");
}

#[test]
fn a_hook_that_prints_without_end_is_cut_once_in_the_log() {
    let server = Server::new();
    hook(
        &server,
        "floods.sh",
        0o755,
        "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done",
    );
    let process = served(&server);
    wait_until("the hook has run", || {
        process.log().contains("floods.sh has run")
    });
    let log = process.log();
    assert!(log.contains("floods.sh: line 100"));
    assert!(!log.contains("line 19999"));
    assert_eq!(log.matches("(there was more)").count(), 1);
}

/// How often each build had its hook run, by the lines it has left.
fn runs(server: &Server, number: u128) -> usize {
    let text = fs::read_to_string(server.configdir().join("runs")).unwrap_or_default();
    let uuid = format!("--uuid={}", hello(number).uuid);
    text.lines().filter(|line| *line == uuid).count()
}

/// How many builds have hooks that have not ended, by the record.
fn pending(server: &Server) -> String {
    let record = server.datadir().join("builder-web-record.sqlite3");
    let arguments = [record.to_str().unwrap(), "SELECT count(*) FROM hook_run"];
    let count = succeeds(server.datadir(), "sqlite3", &arguments);
    String::from_utf8(count).unwrap().trim().to_owned()
}

fn send(process: &Process, number: u128) {
    let exec = hello(number).exec();
    let (length, authorization) = (exec.len().to_string(), basic(BUILDER));
    let headers = [
        ("content-length", length.as_str()),
        ("authorization", authorization.as_str()),
    ];
    let answer = exchange(process.address, "POST", "/upload", &headers, &exec);
    assert_eq!(answer.status, 201, "{}", answer.text());
}

#[test]
fn hooks_that_a_killed_server_has_not_run_to_their_end_are_run_by_the_next() {
    let server = Server::new();
    let config = server.configdir().display().to_string();
    // Ends at once when it may, and otherwise not before its server is gone.
    let script = format!(
        "if [ ! -e '{config}/may' ]; then
           : > '{config}/begun'\"$4\"
           while [ -e '{config}' ] && [ ! -e '{config}/gone' ]; do sleep 0.1; done
           exit 1
         fi
         echo \"$4\" >> '{config}/runs'"
    );
    hook(&server, "slow.sh", 0o755, &script);
    let serve = || Process::serve_with(server.datadir(), server.configdir(), &[]);
    let mut process = serve();
    // Four run at a time: they have begun when the server is killed, the others have not.
    for number in 1..8 {
        send(&process, number);
    }
    wait_until("four hooks have begun", || {
        let entries = fs::read_dir(server.configdir()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name());
        let begun = names.filter(|name| name.to_string_lossy().starts_with("begun"));
        begun.count() == 4
    });
    process.kill();
    assert_eq!(pending(&server), "7");
    fs::write(server.configdir().join("gone"), "").unwrap();
    fs::write(server.configdir().join("may"), "").unwrap();
    let mut process = serve();
    for number in 1..8 {
        wait_until("it is run by the next", || runs(&server, number) == 1);
    }
    wait_until("all have ended", || pending(&server) == "0");
    send(&process, 8);
    wait_until("a new one is run", || runs(&server, 8) == 1);
    wait_until("it has ended, too", || pending(&server) == "0");
    process.terminate();
    assert!(process.wait().success());
    // What has ended is not run again, unless somebody says so.
    let mut process = serve();
    send(&process, 9);
    wait_until("a new one is run", || runs(&server, 9) == 1);
    let run_hooks = |uuid: &str| {
        let arguments = [
            "db",
            "run-hooks",
            "-d",
            server.datadir().to_str().unwrap(),
            "-c",
            &config,
            uuid,
        ];
        crate::program::run(server.datadir(), BUILDER_WEB, &arguments)
    };
    let output = run_hooks(&hello(2).uuid.to_string());
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.starts_with("slow.sh succeeded\n"), "{said}");
    assert_eq!(
        [1, 2, 3, 8].map(|number| runs(&server, number)),
        [1, 2, 1, 1]
    );
    let output = run_hooks(&hello(99).uuid.to_string());
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    process.kill();
}

/// Runs SQL on the record, as somebody else may.
fn record(server: &Server, sql: &str) {
    let record = server.datadir().join("builder-web-record.sqlite3");
    succeeds(
        server.datadir(),
        "sqlite3",
        &[record.to_str().unwrap(), sql],
    );
}

#[test]
fn an_upload_that_comes_second_leaves_no_hooks_to_run_again() {
    let server = Server::new();
    hook(&server, "quick.sh", 0o755, "exit 0");
    let address = server.listen();
    let exec = hello(1).exec();
    let (length, authorization) = (exec.len().to_string(), basic(BUILDER));
    let headers = [
        ("connection", "close"),
        ("content-length", &*length),
        ("authorization", &*authorization),
    ];
    // Its name is read before there is such a build, its end after the hooks of that have ended.
    let mut second = connect(address);
    let early = exec.len() - 5;
    second
        .write_all(head("POST", "/upload", &headers).as_bytes())
        .unwrap();
    second.write_all(&exec[..early]).unwrap();
    wait_until("it is staged", || {
        let staging = server.datadir().join("_staging");
        let mut all = fs::read_dir(staging).unwrap();
        all.any(|one| one.unwrap().path().join("console.txt").exists())
    });
    server.keep(&hello(1));
    wait_until("its hooks have ended", || pending(&server) == "0");
    second.write_all(&exec[early..]).unwrap();
    let mut answer = Vec::new();
    second.read_to_end(&mut answer).unwrap();
    assert_eq!(Answer::parse(&answer, false).status, 409);
    assert_eq!(pending(&server), "0");
}

#[test]
fn one_build_that_makes_no_sense_keeps_no_other_from_its_hooks() {
    let server = Server::new();
    let script = format!("echo \"$4\" >> '{}/runs'", server.configdir().display());
    hook(&server, "record.sh", 0o755, &script);
    for number in 1..4 {
        server.keep(&hello(number));
    }
    wait_until("its hooks have ended", || pending(&server) == "0");
    let uuid = |number| hello(number).uuid;
    // Asked for in this order; what others write into the database is not bounded.
    let asked = format!(
        "INSERT INTO hook_run VALUES ('no uuid', 1, 1, 0), ('{}', 1, 2, 0), ('{}', 1, 3, 0)",
        uuid(2),
        uuid(3)
    );
    record(&server, &asked);
    let database = server.datadir().join("builder.sqlite3");
    let damage = format!("UPDATE build SET start_ps = -1 WHERE uuid = '{}'", uuid(2));
    succeeds(
        server.datadir(),
        "sqlite3",
        &[database.to_str().unwrap(), &damage],
    );
    let process = Process::serve_with(server.datadir(), server.configdir(), &[]);
    wait_until("it is run", || runs(&server, 3) == 2);
    let says = format!("the hooks of build {}, which were interrupted", uuid(2));
    wait_until("the log tells of the other", || {
        process.log().contains(&says)
    });
    // It is tried again later, which what is no uuid is not.
    wait_until("the others have ended", || pending(&server) == "1");
    assert_eq!(runs(&server, 2), 1);
}

#[test]
fn who_runs_hooks_by_hand_sees_what_they_print() {
    let server = Server::new();
    hook(&server, "talks.sh", 0o755, "echo to out; echo to err >&2");
    server.keep(&hello(1));
    wait_until("its hooks have ended", || pending(&server) == "0");
    let (data, config) = (server.datadir(), server.configdir());
    let at = ["-d", data.to_str().unwrap(), "-c", config.to_str().unwrap()];
    let run = |arguments: &[&str]| {
        let arguments = [&["db"], arguments, &at].concat();
        let output = crate::program::run(data, BUILDER_WEB, &arguments);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let file = config.join("2.exec");
    fs::write(&file, hello(2).exec()).unwrap();
    let import = [
        "import",
        "--hooks",
        "--user",
        BUILDER.0,
        file.to_str().unwrap(),
    ];
    for arguments in [&["run-hooks", &hello(1).uuid.to_string()][..], &import] {
        let said = run(arguments);
        for part in ["talks.sh: to out", "talks.sh: to err"] {
            assert!(said.contains(part), "{arguments:?}: {said}");
        }
    }
    let without = ["import", "--user", BUILDER.0, file.to_str().unwrap()];
    assert_eq!(run(&without), "");
    // Not as root on what is somebody else's. Who is not root cannot be asked.
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(data, Some(54321), None).unwrap();
        for arguments in [&["run-hooks", &hello(1).uuid.to_string()][..], &import] {
            let arguments = [&["db"], arguments, &at].concat();
            let output = crate::program::run(data, BUILDER_WEB, &arguments);
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{said}");
            let command = format!("runuser -u 'uid 54321' -- builder-db {}", arguments[1]);
            assert!(said.contains(&command), "{said}");
        }
    }
}

#[test]
fn a_hook_that_ends_its_server_each_time_is_given_up() {
    let server = Server::new();
    hook(&server, "quick.sh", 0o755, "exit 0");
    let uuid = hello(1).uuid;
    server.keep(&hello(1));
    wait_until("its hooks have ended", || pending(&server) == "0");
    // As it would be found after three starts that ended in the middle; and of a build that was
    // never kept.
    let asked = format!(
        "INSERT INTO hook_run VALUES ('{uuid}', 1, 1, 3), ('{}', 1, 1, 0)",
        hello(2).uuid
    );
    record(&server, &asked);
    let process = Process::serve_with(server.datadir(), server.configdir(), &[]);
    wait_until("it is given up", || pending(&server) == "0");
    let says = format!("run them with: builder-db run-hooks {uuid}");
    wait_until("the log says so", || process.log().contains(&says));
    assert!(!process.log().contains("quick.sh has run"));
}

#[test]
fn what_is_imported_without_hooks_has_none_to_run_later() {
    let server = Server::new();
    hook(&server, "record.sh", 0o755, &recording(&server));
    let file = server.configdir().join("1.exec");
    fs::write(&file, hello(1).exec()).unwrap();
    let arguments = [
        "db",
        "import",
        "--user",
        BUILDER.0,
        "-d",
        server.datadir().to_str().unwrap(),
        "-c",
        server.configdir().to_str().unwrap(),
        file.to_str().unwrap(),
    ];
    succeeds(server.datadir(), BUILDER_WEB, &arguments);
    assert_eq!(pending(&server), "0");
    assert!(!ran(&server, "record.sh"));
}
