//! Pictures in `_cache`: whose they are, by their names, and what becomes of them.

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use builder_store::Sha256;
use builder_store::cache::{Cache, Drawing, Drawn, Form, Maker, Picture};
use tempfile::TempDir;

struct Home {
    directory: TempDir,
    cache: Cache,
}

impl Home {
    fn new() -> Home {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("_cache")).unwrap();
        let cache = Cache::new(directory.path());
        Home { directory, cache }
    }

    /// A file below `_cache`, as a hook would write it.
    fn put(&self, path: &str) -> PathBuf {
        let path = self.directory.path().join("_cache").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "by hand").unwrap();
        path
    }
}

fn treemap(of: Sha256, version: u32) -> Drawing {
    Drawing {
        picture: Picture::Treemap,
        version,
        sha256: of,
        binary_bytes: Some(1234),
        form: Form::Html,
    }
}

fn graph(of: Sha256) -> Drawing {
    Drawing {
        picture: Picture::Dependencies,
        version: 1,
        sha256: of,
        binary_bytes: None,
        form: Form::Html,
    }
}

#[test]
fn the_newest_file_of_a_hook_is_found_and_stray_directories_are_passed_over() {
    let home = Home::new();
    let (one, other) = (Sha256::of(b"one"), Sha256::of(b"other"));
    for stray in [
        "treemap_0",
        "treemap_01",
        "treemap_+3",
        "treemap_x",
        "treemap_99999999999999999999",
        "dependencies_4",
        "builder-web/treemap_5",
    ] {
        home.put(&format!("{stray}/{one}.html"));
    }
    let of = |sha256| home.cache.of_hooks(Picture::Treemap, sha256).unwrap();
    assert_eq!(of(one), None);
    home.put("treemap_10/.done");
    home.put("treemap_9");
    let old = home.put(&format!("treemap_2/{one}.html"));
    assert_eq!(of(one), Some(old));
    let new = home.put(&format!("treemap_10/{one}.html"));
    assert_eq!(of(one), Some(new));
    assert_eq!(of(other), None);
}

#[test]
fn what_was_drawn_is_there_again_and_so_is_what_cannot_be_drawn() {
    let home = Home::new();
    let (one, other) = (Sha256::of(b"one"), Sha256::of(b"other"));
    assert_eq!(home.cache.get(&treemap(one, 1)).unwrap(), None);
    let picture = Drawn::Picture(b"<!DOCTYPE html>".to_vec());
    home.cache.keep(&treemap(one, 1), &picture).unwrap();
    let nothing = Drawn::Nothing("it is no ELF file".to_owned());
    home.cache.keep(&graph(other), &nothing).unwrap();
    assert_eq!(home.cache.get(&treemap(one, 1)).unwrap(), Some(picture));
    assert_eq!(home.cache.get(&graph(other)).unwrap(), Some(nothing));
    // Another version, another binary to measure against, another picture: none of them is this.
    assert_eq!(home.cache.get(&treemap(one, 2)).unwrap(), None);
    let beside_another = Drawing {
        binary_bytes: Some(1235),
        ..treemap(one, 1)
    };
    assert_eq!(home.cache.get(&beside_another).unwrap(), None);
    assert_eq!(home.cache.get(&graph(one)).unwrap(), None);
    assert_eq!(home.cache.of_hooks(Picture::Treemap, one).unwrap(), None);
}

#[test]
fn each_form_of_a_picture_is_kept_on_its_own_and_why_there_is_none_for_both() {
    let home = Home::new();
    let (one, other) = (Sha256::of(b"one"), Sha256::of(b"other"));
    let json = |drawing| Drawing {
        form: Form::Json,
        ..drawing
    };
    let (page, data) = (
        Drawn::Picture(b"<!DOCTYPE html>".to_vec()),
        Drawn::Picture(b"{}".to_vec()),
    );
    home.cache.keep(&graph(one), &page).unwrap();
    assert_eq!(home.cache.get(&json(graph(one))).unwrap(), None);
    home.cache.keep(&json(graph(one)), &data).unwrap();
    assert_eq!(home.cache.get(&json(graph(one))).unwrap(), Some(data));
    assert_eq!(home.cache.get(&graph(one)).unwrap(), Some(page));
    let nothing = Drawn::Nothing("it is no ELF file".to_owned());
    home.cache.keep(&json(treemap(other, 1)), &nothing).unwrap();
    assert_eq!(home.cache.get(&treemap(other, 1)).unwrap(), Some(nothing));
    // Both forms go with the artifact.
    assert_eq!(home.cache.remove_of(&HashSet::from([one])).unwrap(), 2);
}

#[test]
fn a_link_in_the_place_of_a_drawing_is_not_read() {
    let home = Home::new();
    let drawing = graph(Sha256::of(b"one"));
    let drawn = Drawn::Picture(b"<!DOCTYPE html>".to_vec());
    home.cache.keep(&drawing, &drawn).unwrap();
    let path = home.cache.entries().unwrap().remove(0).path;
    let elsewhere = home.directory.path().join("elsewhere");
    fs::rename(&path, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
    let error = home.cache.get(&drawing).unwrap_err();
    let why = std::error::Error::source(&error).unwrap().to_string();
    assert!(why.contains("is a link, which is not followed"), "{why}");
    // Drawn again, it is a file in its place.
    home.cache.keep(&drawing, &drawn).unwrap();
    assert_eq!(home.cache.get(&drawing).unwrap(), Some(drawn));
    assert!(elsewhere.exists());
}

#[test]
fn every_file_is_told_by_its_name_and_goes_with_its_artifact() {
    let home = Home::new();
    let (one, other) = (Sha256::of(b"one"), Sha256::of(b"other"));
    let hooks = home.put(&format!("treemap_3/{one}.html"));
    home.put("treemap_3/.done");
    home.put("builder-web/treemap-1/77.1.tmp");
    home.put("builder-web/notes.txt");
    for drawing in [treemap(one, 1), graph(one), graph(other)] {
        let drawn = Drawn::Picture(Vec::new());
        home.cache.keep(&drawing, &drawn).unwrap();
    }
    let mut makers: Vec<_> = home
        .cache
        .entries()
        .unwrap()
        .into_iter()
        .map(|entry| format!("{:?} {}", entry.maker, entry.sha256 == Some(one)))
        .collect();
    makers.sort();
    assert_eq!(
        makers,
        [
            "Hook(Treemap, 3) true",
            "Own(Dependencies, 1) false",
            "Own(Dependencies, 1) true",
            "Own(Treemap, 1) true",
            "Unfinished false",
            "Unknown false",
        ]
    );
    assert_eq!(home.cache.remove_of(&HashSet::from([one])).unwrap(), 3);
    assert!(!hooks.exists());
    assert!(home.cache.get(&graph(other)).unwrap().is_some());
    assert_eq!(home.cache.remove_of(&HashSet::from([one])).unwrap(), 0);
}

#[test]
fn old_drawings_and_what_was_never_finished_are_swept_and_nothing_of_hooks() {
    let home = Home::new();
    let one = Sha256::of(b"one");
    let hooks = home.put(&format!("treemap_1/{one}.html"));
    for drawing in [treemap(one, 1), treemap(one, 2)] {
        let drawn = Drawn::Picture(Vec::new());
        home.cache.keep(&drawing, &drawn).unwrap();
    }
    let unfinished = home.put("builder-web/treemap-2/77.1.tmp");
    let current = [(Picture::Treemap, 2), (Picture::Dependencies, 1)];
    let now = fs::metadata(&unfinished).unwrap().modified().unwrap();
    home.cache.sweep(&current, now).unwrap();
    assert_eq!(home.cache.get(&treemap(one, 1)).unwrap(), None);
    assert!(unfinished.exists(), "somebody may be writing it");
    let later = now + Duration::from_secs(2 * 60 * 60);
    home.cache.sweep(&current, later).unwrap();
    assert!(!unfinished.exists() && hooks.exists());
    let entries = home.cache.entries().unwrap();
    assert!(
        entries
            .iter()
            .any(|entry| entry.maker == Maker::Own(Picture::Treemap, 2))
    );
}
