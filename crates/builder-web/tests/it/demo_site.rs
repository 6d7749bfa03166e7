//! The demo's builds, taken in once for all tests of this program, and copied for each.

use std::fs::{self, File};
use std::path::Path;

use builder_web::Clock;

use crate::server::{BUILDER, CHEAP, Server, now, wait_until};

/// A server with the demo's builds. The first test that wants them fills a directory, which takes
/// seconds; others, in this process or another one, wait for it. Each gets a copy.
pub(crate) fn demo_site() -> Server {
    let shared = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let lock = File::create(shared.join("demo-site.lock")).unwrap();
    lock.lock().unwrap();
    // What another build of the tests left may be another demo.
    let program = fs::metadata(std::env::current_exe().unwrap()).unwrap();
    let maker = format!("{:?} {}", program.modified().unwrap(), program.len());
    let (filled, note) = (shared.join("demo-site"), shared.join("demo-site.made-by"));
    if !fs::read_to_string(&note).is_ok_and(|made_by| made_by == maker) {
        let _: std::io::Result<()> = fs::remove_file(&note);
        let _: std::io::Result<()> = fs::remove_dir_all(&filled);
        fill(&filled);
        fs::write(&note, maker).unwrap();
    }
    Server::of_copy(&filled, |config| config.expired_jobs = None)
}

fn fill(datadir: &Path) {
    fs::create_dir(datadir).unwrap();
    let server = Server::on(datadir, datadir, Clock::Stopped(now()), |config| {
        // Pictures are drawn when a test asks for them, not all of them beside it.
        config.limits.drawings_waiting_max = 0;
    });
    server.add_user(BUILDER, false, CHEAP);
    for build in demo_builds::builds(now()) {
        let answer = server.upload_bytes(BUILDER, build.exec());
        assert_eq!(answer.status, 201, "{}", answer.text());
    }
    drop(server);
    wait_until("the databases are closed", || {
        let mut entries = fs::read_dir(datadir).unwrap();
        !entries.any(|entry| {
            entry
                .unwrap()
                .file_name()
                .to_string_lossy()
                .ends_with("-wal")
        })
    });
}
