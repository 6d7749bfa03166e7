//! Builds as they go over the wire: what is read, what is refused and why, what is written.

mod build;
mod der;

mod limits;
mod malformed;
mod reading;
mod timestamps;
mod writing;
