//! What is kept, seen through the store's own functions and by another SQLite connection.

// `cfg(test)` says nothing new of an integration test, but it tells clippy that helpers are tests.
#[cfg(test)]
mod data;

#[cfg(test)]
mod schema;

#[cfg(test)]
mod past;

#[cfg(test)]
mod record;

#[cfg(test)]
mod removal;

#[cfg(test)]
mod versions;

#[cfg(test)]
mod latest;

#[cfg(test)]
mod staging;

#[cfg(test)]
mod sql;

#[cfg(test)]
mod stock;

#[cfg(test)]
mod failures;

#[cfg(test)]
mod faults;

#[cfg(test)]
mod migrations;

#[cfg(test)]
mod migrations_killed;

#[cfg(test)]
mod migrations_made_here;

#[cfg(test)]
mod cache;

#[cfg(test)]
mod verdict;

#[cfg(test)]
mod search;

#[cfg(test)]
mod listing;

#[cfg(test)]
mod verify;
