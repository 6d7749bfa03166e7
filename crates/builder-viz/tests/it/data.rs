//! What pictures tell, as programs get it.

use builder_viz::{Binary, dependencies_data, treemap, treemap_changes_data, treemap_data};
use demo_builds::elf::{Access, Content, Elf, Machine, Section};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{SWITCH, binary, program};

#[test]
fn a_treemap_tells_sizes_by_kind_library_and_module() {
    let told = serde_json::to_value(treemap_data(&program(), Some(9000)).unwrap()).unwrap();
    assert_eq!(told["bytes"], 6096);
    assert_eq!(told["binary_bytes"], 9000);
    let kinds = told["kinds"].as_array().unwrap();
    let sizes: Vec<(&str, u64)> = kinds
        .iter()
        .map(|kind| {
            (
                kind["kind"].as_str().unwrap(),
                kind["bytes"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(sizes, [("ocaml", 6000), ("c", 96)]);
    let tls = &kinds[0]["groups"][0];
    assert_eq!((&tls["name"], &tls["bytes"]), (&json!("Tls"), &json!(4800)));
    assert_eq!(
        tls["parts"][0],
        json!({ "name": "Engine", "bytes": 4000, "code_bytes": 4000, "data_bytes": 0,
            "largest_functions": [{ "name": "handle", "bytes": 4000 }] })
    );
}

#[test]
fn a_change_tells_both_sizes_and_what_became_of_each_part_the_largest_change_first() {
    let right = binary(&[
        ("camlTls__Engine__handle_12", 5000),
        ("camlTls__State__empty_3", 800),
        ("camlLwt__bind_7", 200),
        ("camlX509__Ca__f_1", 30),
    ]);
    let [left, right] = [&program(), &right].map(|file| Binary::read(file).unwrap());
    let told = treemap_changes_data(&left, &right);
    let told = serde_json::to_value(told).unwrap();
    let part = |kind: &str, group: &str, name: &str, became: &str, left: u64, right: u64| json!({ "kind": kind, "group": group, "name": name, "became": became, "left_bytes": left, "right_bytes": right });
    let parts: Vec<&Value> = told["parts"].as_array().unwrap().iter().collect();
    assert_eq!(told["left_bytes"], 6096);
    assert_eq!(told["right_bytes"], 6030);
    assert_eq!(parts.len(), 5);
    for expected in [
        part("ocaml", "Tls", "Engine", "larger", 4000, 5000),
        part("ocaml", "Lwt", "Lwt", "smaller", 1200, 200),
        part("ocaml", "X509", "Ca", "new", 0, 30),
        part("ocaml", "Tls", "State", "same", 800, 800),
    ] {
        assert!(parts.contains(&&expected), "{expected} in {told}");
    }
    assert_eq!(parts[2]["became"], "gone");
}

/// A binary with a function of one byte of each of these names.
fn small_functions(names: impl Iterator<Item = String>) -> Vec<u8> {
    let names: Vec<String> = names.collect();
    let functions: Vec<(&str, u64)> = names.iter().map(|name| (name.as_str(), 1)).collect();
    binary(&functions)
}

#[test]
fn what_is_kept_of_a_binary_is_bounded_and_what_is_beyond_is_counted() {
    const MANY: u64 = 60_000;
    let told = |file: &[u8]| treemap_data(file, None).unwrap();
    let modules = told(&small_functions(
        (0..MANY).map(|number| format!("camlM{number}.f_1")),
    ));
    let largest = &modules.kinds[0].groups[0];
    assert_eq!(
        (largest.name.as_str(), largest.bytes),
        ("not told apart", MANY - 50_000)
    );
    assert_eq!(modules.parts_left_out, 50_001 - 10_000);
    assert_eq!((modules.bytes, modules.symbols_left_out), (MANY, 0));
    let long = "x".repeat(180);
    let modules = told(&small_functions(
        (0..MANY / 3).map(|number| format!("camlM{number}{long}.f")),
    ));
    let largest = &modules.kinds[0].groups[0];
    assert_eq!(largest.name, "not told apart");
    assert!(largest.bytes > 5000, "{}", largest.bytes);
    assert_eq!(modules.bytes, MANY / 3);
    let functions = told(&small_functions(
        (0..MANY / 2).map(|number| format!("camlM{number}.f{long}")),
    ));
    assert!(functions.symbols_left_out > 5000);
    assert_eq!(functions.bytes, MANY / 2);
    let html = treemap(
        &small_functions((0..MANY).map(|number| format!("camlM{number}.f{long}"))),
        None,
    );
    assert!(html.unwrap().contains("symbols were not looked at"));
}

#[test]
fn a_file_of_more_sections_than_any_program_has_is_refused_and_says_so() {
    let with_sections = |count: usize| {
        let mut elf = Elf::new(Machine::X86_64);
        for _ in 0..count {
            let content = Content::Bytes(vec![1]);
            elf.add_section(Section::new(".rodata.x", Access::ReadOnly, content));
        }
        Binary::read(&elf.with_symbols())
    };
    assert!(with_sections(9_900).is_ok());
    let said = with_sections(10_000).unwrap_err().to_string();
    assert!(
        said.contains("more than the 10000 that are looked at"),
        "{said}"
    );
}

#[test]
fn a_graph_tells_who_needs_whom_and_through_whom_alone() {
    let told = serde_json::to_value(dependencies_data(SWITCH).unwrap()).unwrap();
    let package = |name: &str, version: &str, numbers: [u64; 3], through: Value| json!({ "name": name, "version": version, "distance": numbers[0], "needed_by": numbers[1], "brings_in": numbers[2], "only_through": through });
    let edge = |package: &str, needs: &str| json!({ "package": package, "needs": needs });
    assert_eq!(
        told,
        json!({
            "packages": [
                package("app", "1", [0, 0, 3], Value::Null),
                package("lwt", "5.7.0", [1, 2, 0], Value::Null),
                package("tls", "2.0.0", [1, 1, 2], Value::Null),
                package("x509", "1.0.4", [2, 1, 0], json!("tls")),
            ],
            "dependencies": [edge("app", "lwt"), edge("app", "tls"), edge("tls", "lwt"), edge("tls", "x509")],
            "packages_left_out": 0,
            "dependencies_left_out": 0,
        })
    );
}

proptest! {
    #[test]
    fn whatever_is_drawn_is_told_and_adds_up(sizes in prop::collection::vec(1..3000_u64, 1..40)) {
        let names: Vec<String> = (0..sizes.len()).map(|at| format!("camlLib{}__M{at}__f_{at}", at % 3)).collect();
        let functions: Vec<(&str, u64)> = names.iter().map(String::as_str).zip(sizes).collect();
        let file = binary(&functions);
        let told = treemap_data(&file, None).unwrap();
        let picture = treemap(&file, None).unwrap();
        let groups = told.kinds.iter().flat_map(|kind| &kind.groups);
        let mut sum = 0;
        for group in groups {
            prop_assert!(picture.contains(&group.name));
            let parts: u64 = group.parts.iter().map(|part| part.bytes).sum();
            prop_assert_eq!(parts, group.bytes);
            sum += parts;
        }
        prop_assert_eq!(sum, told.bytes);
    }
}
