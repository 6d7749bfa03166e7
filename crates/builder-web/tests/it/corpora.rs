//! The inputs that the fuzzer begins with, each given to its target: what was once found and mended
//! stays mended, and the targets stay in step with the code.

use std::path::Path;

// Public for the fuzzer's own crate.
#[expect(unreachable_pub, reason = "it is a library where the fuzzer uses it")]
#[path = "../../../../fuzz/src/lib.rs"]
mod targets;

#[test]
fn every_target_takes_the_inputs_that_the_fuzzer_begins_with() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    for (name, run) in targets::TARGETS {
        let mut inputs = 0;
        for input in std::fs::read_dir(fuzz.join("corpus").join(name)).unwrap() {
            let path = input.unwrap().path();
            println!("{}", path.display());
            run(&std::fs::read(&path).unwrap());
            inputs += 1;
        }
        assert!(inputs >= 2, "{name}");
    }
    // And none is left out by cargo fuzz or by this test.
    let count = |directory: &str| std::fs::read_dir(fuzz.join(directory)).unwrap().count();
    assert_eq!(count("fuzz_targets"), targets::TARGETS.len());
    assert_eq!(count("corpus"), targets::TARGETS.len());
    let manifest = std::fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
    assert_eq!(manifest.matches("[[bin]]").count(), targets::TARGETS.len());
}
