//! ELF files by section, note, symbol and string.

use artifact_diff::{
    Detail, ElfDiff, Group, Hints, Kind, Limits, Presence, Report, SymbolChange, compare,
};
use demo_builds::elf::{Access, Binding, Content, Elf, Machine, Section, Symbol, SymbolKind, note};

fn plain(left: &[u8], right: &[u8]) -> Report {
    compare(left, right, &Hints::default(), &Limits::default())
}

fn of_elf(report: &Report) -> &ElfDiff {
    let Detail::Elf(elf) = &report.detail else {
        panic!("{report}")
    };
    elf
}

/// Functions with their code, and a section of data.
fn program(functions: &[(&str, &[u8])], data: &[u8], build_id: u8) -> Vec<u8> {
    let mut elf = Elf::new(Machine::X86_64);
    let id = note("GNU", 3, &[build_id; 20]);
    elf.add_section(Section::new(
        ".note.gnu.build-id",
        Access::ReadOnly,
        Content::Note(id),
    ));
    let mut text = Vec::new();
    let mut places = Vec::new();
    for (name, code) in functions {
        places.push((*name, text.len() as u64, code.len() as u64));
        text.extend(*code);
    }
    let section = elf.add_section(Section::new(".text", Access::Code, Content::Bytes(text)));
    elf.add_section(Section::new(
        ".rodata",
        Access::ReadOnly,
        Content::Bytes(data.to_vec()),
    ));
    for (name, offset, bytes) in places {
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

/// Puts another number into the headers of all sections but the first and the last.
fn with_sections_at(mut file: Vec<u8>, offset: u64, bytes: u64) -> Vec<u8> {
    let number = |file: &[u8], at: usize| u64::from_le_bytes(*file[at..].first_chunk().unwrap());
    let headers = usize::try_from(number(&file, 40)).unwrap();
    let count = usize::from(u16::from_le_bytes([file[60], file[61]]));
    for section in 1..count - 1 {
        let at = headers + 64 * section + 24;
        file[at..at + 8].copy_from_slice(&offset.to_le_bytes());
        file[at + 8..at + 16].copy_from_slice(&bytes.to_le_bytes());
    }
    file
}

#[test]
fn sections_that_are_all_the_same_part_of_the_file_are_looked_at_once_or_twice() {
    let build = |byte: u8| {
        let mut elf = Elf::new(Machine::X86_64);
        for number in 0..200 {
            elf.add_section(Section::new(
                &format!(".d{number}"),
                Access::ReadOnly,
                Content::Bytes(vec![byte; 20_000]),
            ));
        }
        let file = elf.with_symbols();
        let bytes = file.len() as u64 / 2;
        with_sections_at(file, 0, bytes)
    };
    let report = plain(&build(b'a'), &build(b'b'));
    let because = "not compared, since sections overlap";
    assert!(
        report.incomplete.iter().any(|why| why.contains(because)),
        "{report}"
    );
}

#[test]
fn a_time_in_the_data_and_the_build_id_are_all_that_differs() {
    let build = |day, id| {
        program(
            &[("main", &[0x90; 32])],
            format!("built 2026-05-{day} ok\0").as_bytes(),
            id,
        )
    };
    let report = plain(&build(12, 1), &build(13, 2));
    assert_eq!(
        report.apart_from,
        [Kind::Timestamp, Kind::BuildId],
        "{report}"
    );
    let place = |kind| {
        report
            .causes
            .iter()
            .find(|cause| cause.kind == kind)
            .unwrap()
            .place
            .as_str()
    };
    assert_eq!(
        (place(Kind::Timestamp), place(Kind::BuildId)),
        (".rodata", ".note.gnu.build-id")
    );
    let elf = of_elf(&report);
    let differing: Vec<&str> = elf
        .sections
        .items
        .iter()
        .filter(|section| section.presence == Presence::Differs)
        .map(|section| section.name.as_str())
        .collect();
    assert_eq!(differing, [".note.gnu.build-id", ".rodata"]);
    assert_eq!(elf.strings.paired.items.len(), 1);
}

#[test]
fn symbols_are_grouped_by_module_and_stamps_are_no_difference() {
    let left = program(
        &[
            ("camlTls__Engine__handle_10", &[1; 40]),
            ("camlTls__Engine__send_12", &[2; 24]),
            ("camlTls__Engine__old_13", &[3; 8]),
            ("camlTls__Config__make_5", &[4; 16]),
            ("ml_z_add", &[5; 16]),
        ],
        b"same",
        1,
    );
    // OCaml 5.1 put a dot between module and value.
    let right = program(
        &[
            ("camlTls__Engine.handle_11", &[1; 48]),
            ("camlTls__Engine.send_14", &[2; 24]),
            ("camlTls__Engine.new_15", &[3; 9]),
            ("camlTls__Config.make_6", &[9; 16]),
            ("ml_z_add", &[5; 12]),
        ],
        b"same",
        1,
    );
    let report = plain(&left, &right);
    let symbols = of_elf(&report).symbols.as_ref().unwrap();
    let groups: Vec<(Group, &str, u64)> = symbols
        .groups
        .items
        .iter()
        .map(|group| (group.group, group.name.as_str(), group.changed_bytes))
        .collect();
    assert_eq!(
        groups,
        [
            (Group::OcamlModule, "Tls__Engine", 48 + 8 + 9),
            (Group::OcamlModule, "Tls__Config", 16),
            (Group::CPrefix, "zarith", 16),
        ]
    );
    let engine: Vec<(SymbolChange, &str)> = symbols.groups.items[0]
        .symbols
        .items
        .iter()
        .map(|symbol| (symbol.change, symbol.name.as_str()))
        .collect();
    assert_eq!(
        engine,
        [
            (SymbolChange::Grown, "handle"),
            (SymbolChange::Added, "new"),
            (SymbolChange::Removed, "old"),
        ]
    );
    assert_eq!(
        (symbols.same_count, symbols.changed_bytes),
        (1, 48 + 8 + 9 + 16 + 16)
    );
}

#[test]
fn code_that_only_calls_what_has_moved_is_not_changed() {
    // `caller` calls `callee` behind it; in between something grows.
    let call = |distance: i32| {
        let mut code = vec![0x55, 0xe8];
        code.extend(distance.to_le_bytes());
        code.extend([0x5d, 0xc3]);
        code
    };
    let build = |between: usize, distance: i32| {
        program(
            &[
                ("caller", &call(distance)),
                ("between", &vec![7; between]),
                ("callee", &[0xc3; 16]),
            ],
            b"same",
            1,
        )
    };
    let report = plain(&build(16, 16 + 2), &build(32, 32 + 2));
    let symbols = of_elf(&report).symbols.as_ref().unwrap();
    assert_eq!(
        (symbols.same_count, symbols.moved_count),
        (1, 1),
        "{report}"
    );
    assert_eq!(symbols.changed_bytes, 32);
    // A call of something else is a change.
    let report = plain(&build(16, 16 + 2), &build(32, 2));
    assert_eq!(
        of_elf(&report).symbols.as_ref().unwrap().moved_count,
        0,
        "{report}"
    );
}

#[test]
fn arm_code_that_only_moved_is_not_changed() {
    let build = |between: usize| {
        let mut elf = Elf::new(Machine::Aarch64);
        let mut text = Vec::new();
        let distance = u32::try_from(8 + between).unwrap() / 4;
        for word in [0x9400_0000 | distance, 0xd65f_03c0] {
            text.extend(u32::to_le_bytes(word));
        }
        text.extend(vec![7; between]);
        text.extend([3; 16]);
        let section = elf.add_section(Section::new(".text", Access::Code, Content::Bytes(text)));
        for (name, offset, bytes) in [
            ("caller", 0, 8),
            ("between", 8, between),
            ("callee", 8 + between, 16),
        ] {
            elf.add_symbol(Symbol {
                name: name.to_owned(),
                section: Some(section),
                offset: offset as u64,
                bytes: bytes as u64,
                kind: SymbolKind::Function,
                binding: Binding::Global,
            });
        }
        elf.with_symbols()
    };
    let report = plain(&build(16), &build(64));
    assert_eq!(
        of_elf(&report).symbols.as_ref().unwrap().moved_count,
        1,
        "{report}"
    );
}

#[test]
fn a_file_cut_or_changed_anywhere_is_still_compared() {
    let whole = program(
        &[("camlA__f_1", &[1; 40]), ("main", &[2; 24])],
        b"some text 2026-05-12",
        1,
    );
    let other = program(
        &[("camlA__f_2", &[1; 44]), ("main", &[3; 24])],
        b"some text 2026-05-13",
        2,
    );
    for end in 0..whole.len() {
        let report = plain(&whole[..end], &other);
        assert!(!report.same);
        let mut changed = whole.clone();
        changed[end] ^= 0xff;
        assert!(!plain(&changed, &whole).same);
    }
}

#[test]
fn real_programs_of_a_c_compiler_are_told_apart_by_file_and_function() {
    let directory = std::env::temp_dir().join(format!("artifact-diff-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let build = |body: &str, name: &str| {
        let write = |name: &str, text: String| std::fs::write(directory.join(name), text).unwrap();
        write(
            "first.c",
            format!(
                "int shared(int); int grows(int x) {{ {body} return x; }}\nint calls(int x) {{ return shared(x) + grows(x); }}\n"
            ),
        );
        write("second.c", "#include <stdio.h>\nint calls(int);\nint shared(int x) { return x * 3; }\nint main(void) { printf(\"%d\\n\", calls(4)); return 0; }\n".to_owned());
        let status = std::process::Command::new("cc")
            .args([
                "-g",
                "-O1",
                "-no-pie",
                "-fno-inline",
                "-o",
                name,
                "first.c",
                "second.c",
            ])
            .current_dir(&directory)
            .status()
            .unwrap();
        assert!(status.success());
        std::fs::read(directory.join(name)).unwrap()
    };
    let left = build("", "left");
    let right = build(
        "for (int i = 0; i < x; i++) x ^= shared(i) + shared(x + i) * 7;",
        "right",
    );
    std::fs::remove_dir_all(&directory).unwrap();
    let report = plain(&left, &right);
    let symbols = of_elf(&report).symbols.as_ref().unwrap();
    let files: Vec<&str> = symbols
        .groups
        .items
        .iter()
        .map(|group| group.name.as_str())
        .collect();
    assert_eq!(files, ["first.c"], "{report}");
    assert!(
        symbols.groups.items[0]
            .directory
            .as_ref()
            .unwrap()
            .ends_with(&format!("artifact-diff-{}", std::process::id()))
    );
    assert!(symbols.moved_count > 0, "{report}");
}
