//! Any bytes as the body of an upload, through the whole way in to the database and the artifacts:
//! nothing panics, what is refused leaves nothing, what is kept is whole. Set TMPDIR to memory:
//! every file is synced.
#![no_main]

use std::cell::RefCell;
use std::path::Path;

use builder_store::users::PasswordHash;
use builder_store::{Store, builds, users};
use builder_web::Clock;
use builder_web::app::App;
use builder_web::auth::Caller;
use builder_web::config::Config;
use builder_web::upload::receive;
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

/// After so many uploads a new data directory is begun.
const UPLOADS_MAX: u32 = 2_000;

struct Site {
    app: App,
    user: Caller,
    directory: TempDir,
    uploads: u32,
}

thread_local! {
    static SITE: RefCell<Option<Site>> = const { RefCell::new(None) };
}

fn site() -> Site {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let password = PasswordHash {
        hash: vec![1; 32],
        salt: vec![2; 16],
        scrypt_n: 16,
        scrypt_r: 1,
        scrypt_p: 1,
    };
    let user = store
        .write(|tx| {
            users::add(tx, "fuzz", &password, false)?;
            users::by_name(tx, "fuzz")
        })
        .unwrap()
        .unwrap();
    let mut config = Config::new(directory.path().into(), directory.path().into());
    config.limits.disk_reserve_bytes = 0;
    Site {
        app: App::new(store, config, Clock::System),
        user: Caller::local(user),
        directory,
        uploads: 0,
    }
}

fn is_empty(directory: &Path) -> bool {
    std::fs::read_dir(directory).unwrap().next().is_none()
}

fuzz_target!(|data: &[u8]| {
    SITE.with_borrow_mut(|site_now| {
        let site = site_now.get_or_insert_with(site);
        let mut body = data;
        let received = receive::exec(&site.app, &site.user, &mut body);
        assert!(is_empty(&site.directory.path().join("_staging")));
        if let Ok(received) = received {
            let uuid = received.uuid;
            let (build, artifacts) = site
                .app
                .store()
                .read(|tx| {
                    let build = builds::by_uuid(tx, uuid)?.unwrap();
                    let artifacts = builds::artifacts(tx, build.id)?;
                    Ok((build, artifacts))
                })
                .unwrap();
            for artifact in artifacts {
                let path = site.app.store().artifacts().path(artifact.sha256);
                let bytes = std::fs::read(path).unwrap();
                assert_eq!(bytes.len() as u64, artifact.size);
                assert_eq!(builder_store::Sha256::of(&bytes), artifact.sha256);
            }
            for text in [&build.console, &build.script] {
                let _there = site.app.store().open_text(text).unwrap();
            }
        }
        site.uploads += 1;
        if site.uploads >= UPLOADS_MAX {
            *site_now = None;
        }
    });
});
