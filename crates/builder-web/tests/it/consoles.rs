//! What a build printed, as people read it: numbers, times, colours, what is looked for in it.

use crate::build::{Build, failed};
use crate::server::Server;

fn console(build: &Build) -> String {
    format!("{}/console.html", build.url())
}

#[test]
fn a_console_has_numbers_times_and_colours_and_its_text_is_one_click_away() {
    let mut build = failed(
        "hello",
        1,
        &[
            "+ make",
            "\x1b[31;1mbad\x1b[0m",
            "x.c:1:1: error: no",
            "end",
        ],
    );
    build.console[3].0 = 120_000_000_000;
    let server = Server::of(std::slice::from_ref(&build));
    let page = server.page(&console(&build));
    for part in [
        "id=\"L1\"",
        "href=\"#L2\"",
        "<span class=\"in-red bold\">bad</span>",
        "class=\"line error told waited\" id=\"L3\"",
        "class=\"line slow\" id=\"L4\"",
        "2:00.000",
        "+1:57.000",
        "First error, line 3",
        "Compile error",
        "#L3\"",
        &format!("{}/console\">Raw text", build.url()),
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    // Clients know the text, whatever they accept.
    let text = server.get_with(
        &format!("{}/console", build.url()),
        &[("accept", "text/html,*/*;q=0.8")],
    );
    assert_eq!(
        text.header("content-type"),
        Some("text/plain; charset=utf-8")
    );
    let json = server.json(&console(&build));
    assert_eq!(json["line_count"], 4);
    assert_eq!(json["first_error"], 3);
    assert_eq!(json["lines"][3]["wait"], 117.0);
    assert_eq!(json["failure"]["class"], "compile-error");
}

#[test]
fn words_are_found_in_all_of_a_console_and_shown_where_they_are() {
    let lines: Vec<String> = (1..=2500).map(|number| format!("line {number}.")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let build = failed("hello", 1, &lines);
    let server = Server::of(std::slice::from_ref(&build));
    let first = server.page(&console(&build));
    assert!(first.contains("id=\"L1000\"") && !first.contains("id=\"L1001\""));
    assert!(first.contains("?from=1001\" rel=\"next\""));
    let last = server.page(&format!("{}?from=2001", console(&build)));
    assert!(last.contains("id=\"L2500\"") && !last.contains("rel=\"next\""));
    let found = server.page(&format!("{}?find=LINE+2345.", console(&build)));
    assert!(found.contains("1 line with"));
    assert!(found.contains("id=\"L2345\""), "the page of the line");
    assert!(found.contains("<mark>line 2345.</mark>"));
    let none = server.page(&format!("{}?find=%3Cnothing%3E", console(&build)));
    assert!(none.contains("0 lines with") && !none.contains("<nothing>"));
    for odd in ["0", "-1", "x", "9223372036854775807"] {
        let page = server.page(&format!("{}?from={odd}", console(&build)));
        assert!(page.contains("class=\"console\""), "{odd}");
    }
    let empty = failed("hello", 2, &[]);
    server.keep(&empty);
    assert!(
        server
            .page(&console(&empty))
            .contains("Nothing was printed.")
    );
}

#[test]
fn a_colour_lasts_from_one_page_of_a_console_to_the_next() {
    let lines: Vec<String> = (1..=1020)
        .map(|number| match number {
            990 => "\x1b[31mfrom here on".to_owned(),
            1010 => "to here\x1b[0m".to_owned(),
            _ => format!("line {number}."),
        })
        .collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let build = failed("hello", 1, &lines);
    let server = Server::of(std::slice::from_ref(&build));
    for from in [900, 1001, 1005] {
        let page = server.page(&format!("{}?from={from}", console(&build)));
        let red = page.contains("<span class=\"in-red\">line 1005.</span>");
        assert!(
            red && page.contains("<span class=\"in-red\">to here</span>"),
            "{from}: {page}"
        );
        assert!(
            !page.contains("<span class=\"in-red\">line 1011."),
            "{from}"
        );
    }
}

#[test]
fn a_hostile_console_is_text_and_nothing_else() {
    let lines = [
        "<script>alert(1)</script><img src=x onerror=alert(1)>",
        "\x1b[31m<b>\x1b[0m&amp;\"'",
        "\x1b]8;;javascript:alert(1)\x1b\\click\x1b]8;;\x1b\\",
        "\u{202e}txt.exe",
        "</code></div></main><h1>forged</h1>",
        "10%\r20%\rdone",
        "a\nb\nc",
    ];
    let mut build = failed("hello", 1, &lines);
    build
        .console
        .push((9_000_000_000, b"\xff\xfe\x00\x9b31m".to_vec()));
    build.console.push((9_500_000_000, vec![b'y'; 1_000_000]));
    let server = Server::of(std::slice::from_ref(&build));
    for page in [
        server.page(&console(&build)),
        server.page(&format!("{}?find=%3Cscript%3E", console(&build))),
        server.page("/failed-builds"),
        server.page("/job/hello"),
    ] {
        for evil in [
            "<script>alert",
            "<img src=x",
            "<b>",
            "<h1>forged",
            "javascript:",
            "\u{202e}",
            "\x1b",
        ] {
            assert!(!page.contains(evil), "{evil:?}");
        }
        assert!(page.len() < 1_000_000, "{}", page.len());
    }
    let page = server.page(&console(&build));
    assert!(page.contains("&#60;script&#62;"));
    assert!(page.contains("&#60;U+202E&#62;txt.exe"));
    assert!(page.contains("done <i class=\"note\">written over 2 times</i>"));
    assert!(page.contains("973 KiB more in the raw text"));
}
