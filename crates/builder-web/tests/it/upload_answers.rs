//! What an upload can be answered, as the book has it.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Body;
use builder_web::config::Limits;

use crate::build::build;
use crate::documents::chapter;
use crate::server::{ALICE, BUILDER, Server};

/// The table of answers: status, and whether it says to try again after `Retry-After`.
fn documented_answers() -> BTreeMap<u16, bool> {
    let chapter = chapter("upload.md");
    let table = chapter.split("## Answers").nth(1).unwrap();
    let rows = table.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| ")?.split(" | ");
        let status = cells.next()?.parse().ok()?;
        Some((status, cells.nth(1)?.contains("`Retry-After`")))
    });
    rows.collect()
}

#[test]
fn every_answer_to_an_upload_is_documented() {
    let small = |change: fn(&mut Limits)| Server::with(|config| change(&mut config.limits));
    let exec = || build("hello", 1).exec();
    let mut answers = Vec::new();

    // So long that the last wrong password comes too soon on any machine.
    let server = small(|limits| limits.log_in_delay = Duration::from_secs(60));
    answers.push(server.upload_bytes(BUILDER, exec()));
    answers.push(server.upload_bytes(BUILDER, exec()));
    answers.push(server.upload_bytes(BUILDER, "no build"));
    answers.push(server.upload_bytes(ALICE, build("other", 2).exec()));
    for _ in 0..6 {
        answers.push(server.upload_bytes((ALICE.0, "wrong"), exec()));
    }
    let server = small(|limits| limits.upload_bytes_max = 10);
    answers.push(server.upload_bytes(BUILDER, exec()));
    let server = small(|limits| limits.disk_reserve_bytes = u64::MAX);
    answers.push(server.upload_bytes(BUILDER, exec()));
    let server = small(|limits| limits.upload_idle_time_max = Duration::from_millis(100));
    let silence = futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>();
    answers.push(server.upload_bytes(BUILDER, Body::from_stream(silence)));
    let server = small(|limits| {
        limits.uploads_concurrent_max = 1;
        limits.uploads_waiting_max = 0;
    });
    let place = server.app.uploads().take(server.app.metrics(), None);
    let place = server.runtime().block_on(place).unwrap();
    answers.push(server.upload_bytes(BUILDER, exec()));
    drop(place);
    let server = Server::new();
    let staging = server.datadir().join("_staging");
    std::fs::rename(&staging, server.datadir().join("gone")).unwrap();
    std::fs::write(&staging, "").unwrap();
    answers.push(server.upload_bytes(BUILDER, exec()));

    let answered: BTreeMap<u16, bool> = answers
        .iter()
        .map(|answer| (answer.status, answer.header("retry-after").is_some()))
        .collect();
    assert_eq!(answered, documented_answers());
}
