//! How long pictures take, in ms, medians of 20 runs:
//! `cargo run --release -p builder-viz --example drawing_speed -- --treemap FILE… --dependencies FILE…`

#![expect(clippy::print_stdout, reason = "a program for people at a terminal")]

use std::env;
use std::fs;
use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, Instant};

const RUNS: usize = 20;

fn main() -> ExitCode {
    let mut is_treemap = true;
    for argument in env::args().skip(1) {
        match argument.as_str() {
            "--treemap" => is_treemap = true,
            "--dependencies" => is_treemap = false,
            file => {
                let bytes = match fs::read(file) {
                    Ok(bytes) => bytes,
                    Err(error) => {
                        println!("cannot read {file}: {error}");
                        return ExitCode::FAILURE;
                    }
                };
                let (what, time, drawn) = match is_treemap {
                    true => (
                        "treemap",
                        measure(|| builder_viz::treemap(&bytes, None)),
                        builder_viz::treemap(&bytes, None),
                    ),
                    false => (
                        "dependencies",
                        measure(|| builder_viz::dependencies(&bytes)),
                        builder_viz::dependencies(&bytes),
                    ),
                };
                println!(
                    "{what} of {file}: {} KB in, {} KB out, {:.2} ms",
                    bytes.len() / 1000,
                    drawn.map_or(0, |html| html.len()) / 1000,
                    time.as_secs_f64() * 1e3
                );
            }
        }
    }
    ExitCode::SUCCESS
}

fn measure<T>(draw: impl Fn() -> T) -> Duration {
    let mut times: Vec<Duration> = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            black_box(draw());
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    times.get(RUNS / 2).copied().unwrap_or_default()
}
