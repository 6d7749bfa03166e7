//! The program: one binary, which is also `builder-db` when called by that name.

use std::process::ExitCode;

fn main() -> ExitCode {
    builder_web::cli::main(std::env::args_os())
}
