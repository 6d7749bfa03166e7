//! Two builds and their files, compared: what differs, and which changed package explains it.

use demo_builds::elf::{Access, Binding, Content, Elf, Machine, Section, Symbol, SymbolKind};

use crate::build::{Build, build};
use crate::program::BUILDER_WEB;
use crate::server::{ALICE, Server};

/// A unikernel with a function of each module, and when it was built in its data.
fn binary(tls: u8, built: &str) -> Vec<u8> {
    let mut elf = Elf::new(Machine::X86_64);
    let text = [vec![tls; 64], vec![7; 32], vec![1; 16]].concat();
    let text = elf.add_section(Section::new(".text", Access::Code, Content::Bytes(text)));
    let data = format!("built {built} \0").into_bytes();
    let data = elf.add_section(Section::new(
        ".data",
        Access::Writable,
        Content::Bytes(data),
    ));
    for (name, section, offset, bytes) in [
        ("camlTls__Engine__handle_12", text, 0, 64),
        ("camlLwt__bind_7", text, 64, 32),
        ("camlDune__exe__Main__start_3", text, 96, 16),
        ("camlDune__exe__Main__data_begin", data, 0, 0),
    ] {
        elf.add_symbol(Symbol {
            name: name.to_owned(),
            section: Some(section),
            offset,
            bytes,
            kind: SymbolKind::Function,
            binding: Binding::Global,
        });
    }
    elf.with_symbols()
}

fn of(number: u128, tls: u8, built: &str) -> Build {
    let switch = format!(
        r#"opam-version: "2.0" roots: ["web.dev"] installed: ["web.dev" "lwt.5" "tls.{tls}.0"]
           package "web" {{ opam-version: "2.0" }}"#
    );
    build("web", number)
        .file("bin/web.hvt", binary(tls, built))
        .file("opam-switch", switch)
        .file("build-environment", "OS=debian\nPREFIX=/tmp/myswitch")
        .file("system-packages", "libc6=2.36\n")
        .file("notes.txt", format!("a\nnumber {number}\nc\n"))
}

fn server() -> (Server, [Build; 3]) {
    let builds = [
        of(1, 1, "2026-05-12 04:12:33"),
        of(2, 1, "2026-05-13 09:00:01"),
        of(3, 2, "2026-05-12 04:12:33"),
    ];
    (Server::of(&builds), builds)
}

fn url(left: &Build, right: &Build) -> String {
    format!("/compare/{}/{}", left.uuid, right.uuid)
}

#[test]
fn a_build_that_is_not_reproducible_says_so_first_and_why() {
    let (server, [first, second, _]) = server();
    let page = server.page(&url(&first, &second));
    let verdict = page.find("Same input, different output: this build is not reproducible.");
    let cause = page.find("The main binaries: identical apart from timestamps.");
    assert!(verdict.unwrap() < cause.unwrap(), "{page}");
    assert!(
        page.contains("<code>2026-05-12 04:12:33</code>")
            && page.contains("<code>2026-05-13 09:00:01</code>")
    );
    // Made once, and kept: the next server has it from the store, and says the same.
    let again = server
        .again(builder_web::Clock::System, |_| {})
        .page(&url(&first, &second));
    assert!(again.contains("The main binaries: identical apart from timestamps."));
}

#[test]
fn two_builds_are_trusted_no_more_than_the_page_of_each_says() {
    let server = Server::new();
    let of = |number, output: &str| {
        let hello = build("hello", number).later(i64::try_from(number).unwrap() * 60);
        hello.file("bin/hello.hvt", output).input("i")
    };
    let says = |left: &Build, right: &Build, class: &str, sentence: &str, states: [&str; 2]| {
        let page = server.page(&url(left, right));
        let verdict = format!("<div class=\"verdict {class}\">\n<p><strong>{sentence}</strong>");
        assert!(page.contains(&verdict), "{verdict} in {page}");
        let row = page.split("<th scope=\"row\">State</th>").nth(1).unwrap();
        let row = row.split("</tr>").next().unwrap();
        let places = states.map(|state| row.find(&format!(">{state}</span>")));
        assert!(
            places[0].is_some() && places[1].is_some(),
            "{states:?} in {row}"
        );
        assert_eq!(server.json(&url(left, right))["verdict"], sentence);
    };
    let [first, second, third, fourth] =
        [of(1, "one"), of(2, "one"), of(3, "one"), of(4, "another")];
    server.keep(&first);
    let sentence = "One build, compared with itself: that shows nothing.";
    let once = ["only built once"; 2];
    says(&first, &first, "built-once", sentence, once);

    server.keep(&second);
    let sentence = "Same input, same output: one reproduces the other, by the same uploader.";
    let itself = ["reproduced by 1, same uploader"; 2];
    says(&first, &second, "reproduced itself", sentence, itself);

    server.allow(ALICE.0, "hello");
    assert_eq!(server.upload_bytes(ALICE, third.exec()).status, 201);
    let sentence = "Same input, same output: one reproduces the other.";
    says(
        &first,
        &third,
        "reproduced",
        sentence,
        ["reproduced by 2"; 2],
    );

    server.keep(&fourth);
    let sentence =
        "Same input, same output, but this input also gave another output: not reproducible.";
    let bad = ["not reproducible"; 2];
    says(&first, &third, "not-reproducible", sentence, bad);
}

#[test]
fn the_changed_package_that_owns_the_changed_modules_explains_them() {
    let (server, [first, _, third]) = server();
    let page = server.page(&url(&first, &third));
    assert!(page.contains("Different input, different output."));
    assert!(
        page.contains("<code>1.0 → 2.0</code>") && page.contains("Tls__Engine"),
        "{page}"
    );
    let json = server.json(&format!("{}/f?left=bin/web.hvt", url(&first, &third)));
    let cause = &json["cause"];
    assert_eq!(cause["explained"][0]["name"], "tls", "{json}");
    assert_eq!(cause["explained"][0]["bytes"], 64);
    assert_eq!(cause["explained"][0]["per_mille"], 1000);
    assert_eq!(cause["unexplained_bytes"], 0);
    assert_eq!(json["diff"]["detail"]["type"], "elf");
}

#[test]
fn what_differs_outside_of_all_code_and_data_is_explained_by_nothing() {
    let with_note = |number: u128, note: &[u8]| {
        let mut elf = Elf::new(Machine::X86_64);
        let text = Content::Bytes(vec![7; 32]);
        let text = elf.add_section(Section::new(".text", Access::Code, text));
        let note = Content::Note(demo_builds::elf::note("Web", 1, note));
        elf.add_section(Section::new(".note.web", Access::ReadOnly, note));
        elf.add_symbol(Symbol {
            name: "camlLwt__bind_7".to_owned(),
            section: Some(text),
            offset: 0,
            bytes: 32,
            kind: SymbolKind::Function,
            binding: Binding::Global,
        });
        of(number, 1, "").file("bin/other.hvt", elf.with_symbols())
    };
    let (left, right) = (with_note(1, b"one"), with_note(2, b"two"));
    let server = Server::of(&[left.clone(), right.clone()]);
    let json = server.json(&format!("{}/f?left=bin/other.hvt", url(&left, &right)));
    assert_eq!(
        json["diff"]["detail"]["symbols"]["changed_bytes"], 0,
        "{json}"
    );
    assert_eq!(json["cause"], serde_json::Value::Null, "{json}");
}

#[test]
fn binaries_with_symbols_are_compared_wherever_they_are() {
    let of = |number, tls| {
        of(number, tls, "stripped").file("lib/debug/web.hvt.debug", binary(tls, "debug"))
    };
    let (left, right) = (of(1, 1), of(2, 2));
    let server = Server::of(&[left.clone(), right.clone()]);
    let json = server.json(&url(&left, &right));
    let debug = json["debug_binaries_url"].as_str().unwrap();
    assert!(debug.contains("web.hvt.debug"), "{debug}");
    assert!(json["treemap_url"].is_string());
    let page = server.page(&url(&left, &right));
    assert!(
        page.contains("with symbols, <code>lib/debug/web.hvt.debug</code>"),
        "{page}"
    );
}

#[test]
fn the_json_of_programs_keeps_its_members_and_says_where_to_ask_for_more() {
    let (server, [first, second, _]) = server();
    let json = server.json(&url(&first, &second));
    let members: Vec<&str> = json
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        members,
        [
            "left",
            "right",
            "env_diff",
            "package_diff",
            "opam_diff",
            "verdict",
            "same_input",
            "same_output",
            "main_binary_url",
            "artifacts",
            "debug_binaries_url",
            "treemap_url"
        ]
    );
    assert_eq!(
        (&json["same_input"], &json["same_output"]),
        (&true.into(), &false.into())
    );
    let presence: Vec<(&str, &str)> = json["artifacts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            (
                row["path"].as_str().unwrap(),
                row["presence"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        presence,
        [
            ("bin/web.hvt", "differs"),
            ("build-environment", "same"),
            ("notes.txt", "differs"),
            ("opam-switch", "same"),
            ("system-packages", "same")
        ]
    );
    let binary = server.json(json["main_binary_url"].as_str().unwrap());
    assert_eq!(binary["verdict"], "Identical apart from timestamps.");
}

#[test]
fn any_two_files_are_compared() {
    let (server, [first, second, _]) = server();
    let page = server.page(&format!("{}/f?left=notes.txt", url(&first, &second)));
    assert!(
        page.contains("<del>-number 1</del>") && page.contains("<ins>+number 2</ins>"),
        "{page}"
    );
    let other = format!(
        "{}/f?left=notes.txt&right=opam-switch",
        url(&first, &second)
    );
    assert!(server.page(&other).contains("opam-version"), "{other}");
    let same = format!("{}/f?left=opam-switch", url(&first, &second));
    assert!(server.page(&same).contains("The same, byte for byte."));
    assert_eq!(
        server
            .get(&format!("{}/f?left=none", url(&first, &second)))
            .status,
        404
    );
    assert_eq!(
        server.get(&format!("{}/f", url(&first, &second))).status,
        400
    );
}

#[test]
fn a_switch_that_does_not_parse_shows_its_line_and_the_rest_is_compared() {
    let broken = build("web", 8)
        .file("bin/web.hvt", binary(1, "2026-05-12"))
        .file("opam-switch", "opam-version: \"2.0\"\nroots: [\n")
        .file("build-environment", "OS=freebsd")
        .file("system-packages", "libc6=2.37\n");
    let pinned = build("web", 9)
        .file("bin/web.hvt", binary(2, "2026-05-12"))
        .file("opam-switch", "opam-version: \"2.0\" compiler: [\"ocaml-base-compiler.5\"] pinned: \"a.1\" roots: [\"b.1\"]")
        .file("build-environment", "OS=debian")
        .file("system-packages", "libc6=2.36\n");
    let lacking = build("web", 10).file("bin/web.hvt", binary(3, "2026-05-12"));
    let server = Server::of(&[broken.clone(), pinned.clone(), lacking.clone()]);
    let page = server.page(&url(&broken, &pinned));
    assert!(
        page.contains("opam-switch of the left build cannot be read: line 3"),
        "{page}"
    );
    assert!(page.contains("freebsd") && page.contains("2.37"), "{page}");
    server.page(&url(&pinned, &pinned));
    let page = server.page(&url(&pinned, &lacking));
    assert!(
        page.contains("the right build has no opam-switch"),
        "{page}"
    );
}

#[test]
fn files_on_the_disk_are_compared_as_diff_would() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &[u8]| {
        let path = directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    };
    let left = write("left", &binary(1, "2026-05-12 04:12:33"));
    let right = write("right", &binary(2, "2026-05-12 04:12:33"));
    let compared = |arguments: &[&str]| {
        let output = crate::cli::call(BUILDER_WEB, arguments, "");
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
        )
    };
    let (status, said) = compared(&["file", "compare", &left, &right]);
    assert_eq!(status, Some(1));
    assert!(
        said.contains("OCaml module Tls__Engine: 64 bytes (100.0 %), 1 changed"),
        "{said}"
    );
    let (status, said) = compared(&["file", "compare", &left, &left]);
    assert_eq!(
        (status, said.lines().next()),
        (Some(0), Some("The same, byte for byte."))
    );
    let (status, said) = compared(&["file", "compare", "--json", &left, &right]);
    let json: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((status, &json["same"]), (Some(1), &false.into()));
    crate::cli::refuses(
        &["file", "compare", &left, "/nonexistent"],
        "",
        &["/nonexistent: No such file"],
    );
}

#[test]
fn a_unikernel_on_the_disk_tells_its_manifest() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hello.hvt");
    std::fs::write(
        &path,
        crate::build::unikernel("hvt", &[("net", "service"), ("block", "data")]),
    )
    .unwrap();
    let path = path.display().to_string();
    let said = |arguments: &[&str]| {
        let output = crate::cli::call(BUILDER_WEB, arguments, "");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(
        said(&["elf", "manifest", &path]),
        "runs on:  hvt, ABI version 2\nmanifest: version 1\ndevices:\n  NET_BASIC    \"service\"\n  BLOCK_BASIC  \"data\"\n"
    );
    let json: serde_json::Value =
        serde_json::from_str(&said(&["elf", "manifest", "--json", &path])).unwrap();
    assert_eq!(json["solo5_abi"]["target"], "hvt");
    let output = crate::cli::call(BUILDER_WEB, &["elf", "manifest", "/bin/sh"], "");
    assert_eq!(output.status.code(), Some(1));
}
