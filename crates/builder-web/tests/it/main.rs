//! The server as people, clients and attackers meet it: through the router in memory, and over a
//! real socket where that makes a difference.

// `cfg(test)` says nothing new of an integration test, but it tells clippy that helpers are tests.
#[cfg(test)]
mod server;

#[cfg(test)]
mod build;

#[cfg(test)]
mod whole;

#[cfg(test)]
mod demo_site;

#[cfg(test)]
mod program;

#[cfg(test)]
mod page_contents;

#[cfg(test)]
mod pages;

#[cfg(test)]
mod job_page;

#[cfg(test)]
mod json;

#[cfg(test)]
mod documents;

#[cfg(test)]
mod downloads;

#[cfg(test)]
mod site;

#[cfg(test)]
mod upload;

#[cfg(test)]
mod upload_answers;

#[cfg(test)]
mod upload_kept;

#[cfg(test)]
mod auth;

#[cfg(test)]
mod limits;

#[cfg(test)]
mod browser;

#[cfg(test)]
mod links;

#[cfg(test)]
mod follow;

#[cfg(test)]
mod consoles;

#[cfg(test)]
mod failed_builds;

#[cfg(test)]
mod hooks;

#[cfg(test)]
mod clients;

#[cfg(test)]
mod attacks;

#[cfg(test)]
mod attacks_by_links;

#[cfg(test)]
mod attacks_on_every_url;
mod attacks_on_the_wire;

#[cfg(test)]
#[cfg(target_os = "linux")]
mod attacks_by_size;

#[cfg(test)]
mod watch;

#[cfg(test)]
mod service;

#[cfg(test)]
mod proxy;

#[cfg(test)]
mod tokens;

#[cfg(test)]
mod worth_nothing;

#[cfg(test)]
mod unseen;

#[cfg(test)]
mod on_record;

#[cfg(test)]
mod overload;

#[cfg(test)]
mod guessing;

#[cfg(test)]
mod reference_data;

#[cfg(test)]
mod layers;

#[cfg(test)]
mod cli;
mod compare;

#[cfg(test)]
mod backup;

#[cfg(test)]
mod carry;

#[cfg(test)]
mod interrupted;

#[cfg(test)]
mod interrupted_vacuum;

#[cfg(test)]
mod manual;

#[cfg(test)]
mod doctor;

#[cfg(test)]
mod verify;

#[cfg(test)]
mod builder_db;

#[cfg(test)]
mod local_files;

#[cfg(test)]
mod pictures;

#[cfg(test)]
mod corpora;

#[cfg(test)]
mod crashes;

// Faults come through `LD_PRELOAD` and /proc.
#[cfg(test)]
#[cfg(target_os = "linux")]
mod faults;

#[cfg(test)]
mod damaged;

#[cfg(test)]
mod together;

#[cfg(test)]
#[cfg(target_os = "linux")]
mod malformed;

#[cfg(test)]
mod removed;

#[cfg(test)]
mod restore;

#[cfg(test)]
mod demo;

#[cfg(test)]
mod search;

#[cfg(test)]
mod api;

#[cfg(test)]
mod openapi;

#[cfg(test)]
mod build_page;

#[cfg(test)]
mod status;

#[cfg(test)]
mod page_json;

#[cfg(test)]
mod share;

#[cfg(test)]
mod shown;
