//! The program: one binary, which is also `builder-db` and `builder-migrations` when called by those names.

use std::process::ExitCode;

fn main() -> ExitCode {
    builder_web::cli::main(std::env::args_os())
}
