//! Reads opam files, one path a line on standard input, and tells which of them are not read, and
//! which print otherwise when what was printed is read again:
//! `find . -name opam | cargo run --release -p opam-file --example repository`

#![expect(clippy::print_stdout, reason = "a program for people at a terminal")]

use std::fs;
use std::io;
use std::process::ExitCode;

use opam_file::OpamFile;

fn main() -> ExitCode {
    let (mut files, mut wrong) = (0_u32, 0_u32);
    for path in io::stdin().lines().map_while(Result::ok) {
        files += 1;
        let Err(what) = check(&path) else { continue };
        wrong += 1;
        println!("{path}: {what}");
    }
    println!("{files} files, {wrong} of them wrong");
    ExitCode::from(u8::from(wrong > 0))
}

fn check(path: &str) -> Result<(), String> {
    let source = fs::read(path).map_err(|error| error.to_string())?;
    let file = OpamFile::parse(&source).map_err(|error| error.to_string())?;
    let printed = file.print();
    let again = OpamFile::parse(&printed).map_err(|error| format!("as printed: {error}"))?;
    if again.print() != printed {
        return Err("prints otherwise the second time".to_owned());
    }
    Ok(())
}
