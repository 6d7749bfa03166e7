//! The web front end of a reproducible-build system: takes in finished builds, keeps them, and
//! shows and serves them. See ARCHITECTURE.md for the way through these modules.

pub mod cli;

pub mod config;
pub mod serve;

pub mod api;
pub mod app;
pub mod routes;

pub mod pages;
pub mod upload;

pub mod auth;
pub mod cause;
pub mod client;
pub mod clock;
pub mod comparison;
pub mod connections;
pub mod console;
pub mod cursor;
pub mod derived;
pub mod drawings;
pub mod error;
pub mod exec_file;
pub mod failure;
pub mod failures;
pub mod file_body;
pub mod file_diffs;
pub mod headers;
pub mod history;
pub mod input_changes;
pub mod inputs;
pub mod intact;
pub mod job_filter;
pub mod markdown;
pub mod metrics;
pub mod names;
pub mod once;
pub mod opam_report;
pub mod origin;
pub mod pack;
pub mod page_cache;
pub mod patience;
pub mod places;
pub mod query;
pub mod rebuild;
pub mod removed;
pub mod respond;
pub mod search;
pub mod service;
pub mod share;
pub mod show;
pub mod site;
pub mod stalling;
pub mod stream;
pub mod times;
pub mod tls;
pub mod unseen;
pub mod urls;
pub mod view;

pub use clock::Clock;

/// What this program says it is: a version with the commit, where a package is made of one.
pub const VERSION: &str = match option_env!("BUILDER_WEB_VERSION") {
    Some(version) => version,
    None => env!("CARGO_PKG_VERSION"),
};
