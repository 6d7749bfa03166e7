//! Every picture is one document that asks for nothing else, whatever it is drawn of.

use builder_viz::{Binary, Side, dependencies, policy, treemap, treemap_changes};
use proptest::prelude::*;

use crate::{SWITCH, binary, program};

fn changes(left: &[u8], right: &[u8]) -> Option<String> {
    let (left, right) = (Binary::read(left).ok()?, Binary::read(right).ok()?);
    let side = |name, binary| Side {
        name,
        url: Some("/job/a"),
        binary,
    };
    let (left, right) = (side("left", &left), side("right", &right));
    Some(treemap_changes(left, right, Some("/compare")))
}

/// What is true of each picture.
fn check(html: &str) {
    assert!(html.starts_with("<!DOCTYPE html>") && html.ends_with("</html>\n"));
    assert!(
        html.contains("<html lang=\"en\">"),
        "a language for readers"
    );
    assert_eq!(
        html.matches("<title").count(),
        html.matches("</title>").count()
    );
    assert_eq!(html.matches("<script").count(), 1);
    assert!(!html.contains("NaN") && !html.contains("inf\""));
    for outside in [
        "src=", "@import", "url(", "<link", "<iframe", "onclick", "style=\"",
    ] {
        assert!(!html.contains(outside), "{outside}");
    }
    assert!(policy().starts_with("default-src 'none'"));
}

#[test]
fn pictures_stand_alone_and_say_in_a_table_what_they_show() {
    let graph = dependencies(SWITCH).unwrap();
    let map = treemap(&program(), Some(2_000_000)).unwrap();
    let both = changes(&program(), &binary(&[("camlTls__Engine__handle_12", 5000)])).unwrap();
    for (html, names) in [
        (&graph, ["lwt", "tls", "x509"]),
        (&map, ["Tls", "Engine", "Lwt"]),
        (&both, ["Tls", "Engine", "Lwt"]),
    ] {
        check(html);
        let (_, table) = html.split_once("<table").unwrap();
        for name in names {
            assert!(html.contains(name) && table.contains(name), "{name}");
        }
        assert!(html.contains("<svg") && html.contains("prefers-color-scheme"));
    }
}

#[test]
fn a_name_is_never_markup() {
    let name = "camlA__<script>alert(1)</script>\"&_1";
    let map = treemap(&binary(&[(name, 100)]), None).unwrap();
    check(&map);
    assert!(
        map.contains("&lt;script&gt;alert(1)&lt;/script&gt;"),
        "{map}"
    );
    let switch = String::from_utf8_lossy(SWITCH).replace("lwt.5.7.0", "lwt.<b>&'");
    if let Ok(graph) = dependencies(switch.as_bytes()) {
        check(&graph);
        assert!(!graph.contains("<b>&'"));
    }
}

proptest! {
    #[test]
    fn a_switch_changed_anywhere_is_drawn_or_refused(at in 0..SWITCH.len(), bytes in prop::collection::vec(any::<u8>(), 0..12)) {
        let switch = [&SWITCH[..at], &bytes, &SWITCH[at..]].concat();
        if let Ok(html) = dependencies(&switch) {
            check(&html);
        }
    }

    #[test]
    fn a_binary_changed_anywhere_is_drawn_or_refused(place in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let whole = program();
        let mut file = whole.clone();
        let at = place.index(file.len());
        file[at] = byte;
        if cut {
            file.truncate(at);
        }
        for html in [treemap(&file, None).ok(), changes(&file, &whole), changes(&whole, &file)].into_iter().flatten() {
            check(&html);
        }
    }

    #[test]
    fn sizes_that_contradict_each_other_are_drawn(sizes in prop::collection::vec(any::<u32>().prop_map(|size| u64::from(size % 3000)), 1..40)) {
        let names: Vec<String> = (0..sizes.len()).map(|at| format!("camlLib{}__M{at}__f_{at}", at % 3)).collect();
        let functions: Vec<(&str, u64)> = names.iter().map(String::as_str).zip(sizes).collect();
        if let Ok(html) = treemap(&binary(&functions), Some(1)) {
            check(&html);
        }
    }
}
