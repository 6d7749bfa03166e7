//! Any bytes as the body of an upload, through the whole way in to the database and the artifacts:
//! nothing panics, what is refused leaves nothing, what is kept is whole. Set TMPDIR to memory:
//! every file is synced.
use std::cell::RefCell;
use std::path::Path;

use builder_store::builds;
use builder_web::upload::receive;

use super::site::Site;

/// After so many uploads a new data directory is begun.
const UPLOADS_MAX: u32 = 2_000;

thread_local! {
    static SITE: RefCell<Option<(Site, u32)>> = const { RefCell::new(None) };
}

fn is_empty(directory: &Path) -> bool {
    std::fs::read_dir(directory).unwrap().next().is_none()
}

/// One input.
pub fn run(data: &[u8]) {
    SITE.with_borrow_mut(|site_now| {
        let (site, uploads) = site_now.get_or_insert_with(|| (Site::empty(), 0));
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
        *uploads += 1;
        if *uploads >= UPLOADS_MAX {
            *site_now = None;
        }
    });
}
