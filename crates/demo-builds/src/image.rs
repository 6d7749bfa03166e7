//! Programs: what a linker makes of packages.
//!
//! Code is invented, function by function, from the names of package, version, module and function. So the same sources
//! give the same program, and a new version of one package changes the functions of that package only.

use solo5_elf::note::{abi_note, manifest_note};
use solo5_elf::{Abi, Device, DeviceType, Manifest, Target};

use crate::c_code::{File, RUNTIME, SANDBOX, STUBS, SYSTEM};
use crate::catalogue::Package;
use crate::dwarf::{SourceFile, dwarf};
use crate::elf::{
    Access, Binding, Content, Elf, Machine, Section, SectionId, Symbol, SymbolKind, note,
};
use crate::seed::Seed;

/// What is linked.
pub(crate) struct Program<'a> {
    pub(crate) job: &'a str,
    /// The program's own modules, by their whole unit name.
    pub(crate) units: Vec<&'a str>,
    /// What its functions are about.
    pub(crate) words: Vec<&'a str>,
    /// The number of its source commit; each commit touches some functions and adds a few.
    pub(crate) commit: u8,
    pub(crate) compiler: &'static str,
    /// Libraries with their versions, dependencies first.
    pub(crate) libraries: Vec<(&'static Package, &'static str)>,
    pub(crate) runs_on: RunsOn,
    /// The version of Solo5's bindings.
    pub(crate) solo5: &'static str,
    /// A line that ends up in the program's data, for those that tell when they were built.
    pub(crate) built_at: Option<String>,
}

/// What a program runs on.
#[derive(Clone, Copy)]
pub(crate) enum RunsOn {
    Solo5 {
        target: Target,
        devices: &'static [(&'static str, DeviceType)],
    },
    Linux,
    FreeBsd,
}

/// Modules of the standard library that programs of this kind use.
const STDLIB: &str = "Stdlib CamlinternalFormat CamlinternalFormatBasics CamlinternalLazy CamlinternalOO Stdlib__Array \
    Stdlib__Bigarray Stdlib__Buffer Stdlib__Bytes Stdlib__Char Stdlib__Digest Stdlib__Ephemeron Stdlib__Filename \
    Stdlib__Float Stdlib__Format Stdlib__Fun Stdlib__Gc Stdlib__Hashtbl Stdlib__Int32 Stdlib__Int64 Stdlib__Lazy \
    Stdlib__Lexing Stdlib__List Stdlib__Map Stdlib__Obj Stdlib__Option Stdlib__Parsing Stdlib__Printexc Stdlib__Printf \
    Stdlib__Queue Stdlib__Random Stdlib__Result Stdlib__Scanf Stdlib__Seq Stdlib__Set Stdlib__Stack Stdlib__String \
    Stdlib__Sys Stdlib__Uchar Stdlib__Weak";
const STDLIB_WORDS: [&str; 10] = [
    "iter", "fold", "map", "filter", "sort", "blit", "concat", "rev", "length", "append",
];
const VERBS: [&str; 30] = [
    "make", "parse", "decode", "encode", "check", "handle", "send", "receive", "read", "write",
    "find", "add", "remove", "update", "pp", "compare", "equal", "fold", "iter", "map", "get",
    "set", "create", "connect", "start", "stop", "validate", "split", "merge", "next",
];
const ENDS: [&str; 6] = ["opt", "exn", "inner", "aux", "raw", "list"];

/// Links a program. [`Elf::with_symbols`] is its debug binary, [`Elf::stripped`] what is run.
pub(crate) fn link(program: &Program<'_>) -> Elf {
    let mut linker = Linker::new(program);
    if let RunsOn::Solo5 { .. } = program.runs_on {
        linker.c_files(SANDBOX, |file| file.package == "solo5");
    }
    linker.startup();
    let words = STDLIB_WORDS.as_slice();
    for name in STDLIB.split_whitespace() {
        let growth = 0;
        linker.unit(&Unit {
            package: "stdlib",
            version: program.compiler,
            name,
            words,
            functions: 12,
            growth,
        });
    }
    for (package, version) in &program.libraries {
        linker.library(package, version);
    }
    for name in &program.units {
        linker.own_unit(name);
    }
    linker.c_files(RUNTIME, |_| true);
    if let RunsOn::Solo5 { .. } = program.runs_on {
        linker.c_files(SANDBOX, |file| file.package != "solo5");
    } else {
        linker.c_files(SYSTEM, |_| true);
    }
    linker.c_files(STUBS, |file| {
        program
            .libraries
            .iter()
            .any(|(package, _)| package.name() == file.package)
    });
    linker.finish()
}

/// An OCaml module to be compiled.
struct Unit<'a> {
    package: &'a str,
    version: &'a str,
    name: &'a str,
    words: &'a [&'a str],
    functions: u64,
    /// How many functions were added since its first version.
    growth: u64,
}

struct Linker<'a> {
    program: &'a Program<'a>,
    /// Between a module and what is in it: it was `__` until OCaml 5.1 made it a dot.
    separator: &'static str,
    text: Vec<u8>,
    rodata: Vec<u8>,
    data: Vec<u8>,
    /// What the functions so far were compiled from.
    files: Vec<SourceFile>,
    /// Symbols of the three, and of `.bss`.
    symbols: Vec<(Place, Symbol)>,
}

#[derive(Clone, Copy)]
enum Place {
    Nowhere,
    Text,
    Rodata,
    Data,
    Bss,
}

impl<'a> Linker<'a> {
    fn new(program: &'a Program<'a>) -> Linker<'a> {
        let separator = if program.compiler.starts_with('4') {
            "__"
        } else {
            "."
        };
        Linker {
            program,
            separator,
            text: vec![],
            rodata: vec![],
            data: vec![],
            files: vec![],
            symbols: vec![],
        }
    }

    fn library(&mut self, package: &'static Package, version: &'static str) {
        let words = package.words();
        let age = package.versions_before(version);
        let mut modules: Vec<String> = vec![package.unit.to_owned()];
        modules.extend(
            package
                .modules()
                .map(|module| format!("{}__{module}", package.unit)),
        );
        if package.unit.is_empty() {
            modules.clear();
        }
        for name in &modules {
            let mut seed = Seed::of(&["unit", package.name(), name]);
            let functions = 4 + seed.below(12) + seed.below(6);
            let growth = if seed.one_in(2) {
                age * (1 + seed.below(3))
            } else {
                0
            };
            let package = package.name();
            self.unit(&Unit {
                package,
                version,
                name,
                words: &words,
                functions,
                growth,
            });
        }
    }

    /// A module of the program itself. Its functions are as old as the last commit that touched them.
    fn own_unit(&mut self, name: &str) {
        let program = self.program;
        let growth = u64::from(program.commit - 1) * 5;
        let version = program.commit.to_string();
        let package = program.job;
        self.unit(&Unit {
            package,
            version: &version,
            name,
            words: &program.words,
            functions: 28,
            growth,
        });
    }

    fn unit(&mut self, unit: &Unit<'_>) {
        let separator = self.separator;
        let own = unit.package == self.program.job;
        let stable = Seed::of(&["functions", unit.package, unit.name]);
        let mut shift = Seed::of(&["stamps", unit.package, unit.version, unit.name]);
        let moved_from = shift.below(unit.functions * 3);
        let moved_by = shift.below(9);
        let mut stamp = 80 + stable.part(9_999).below(400);
        let module = unit
            .name
            .rsplit("__")
            .next()
            .unwrap_or(unit.name)
            .to_lowercase();
        let directory = match unit.package {
            "stdlib" => String::new(),
            _ if own => String::new(),
            package => format!("duniverse/{package}/"),
        };
        self.source_file(format!("{directory}{module}.ml"), None);
        // How long the code before it is makes no difference to what is in it.
        align(&mut self.text, 16);
        self.marker(Place::Text, unit, "code_begin");
        let first = self.text.len();
        for index in 0..unit.functions + unit.growth {
            let mut seed = stable.part(index);
            stamp += 1 + seed.below(30) + if index == moved_from { moved_by } else { 0 };
            let name = match seed.below(8) {
                0 | 1 => "fun".to_owned(),
                2 => (*seed.pick(unit.words)).to_owned(),
                3 if !unit.words.is_empty() => {
                    format!(
                        "{}_{}_{}",
                        seed.pick(&VERBS),
                        seed.pick(unit.words),
                        seed.pick(&ENDS)
                    )
                }
                _ => format!("{}_{}", seed.pick(&VERBS), seed.pick(unit.words)),
            };
            let version = if own {
                self.last_touched(unit.name, index).to_string()
            } else {
                unit.version.to_owned()
            };
            let mut bytes = 20 + seed.below(110);
            bytes += if seed.one_in(6) { seed.below(560) } else { 0 };
            bytes += if seed.one_in(45) { seed.below(2400) } else { 0 };
            let mut code = Seed::of(&[
                "code",
                unit.package,
                &version,
                unit.name,
                self.program.compiler,
            ])
            .part(index);
            bytes += if code.one_in(4) { code.below(90) } else { 0 };
            self.function(
                &format!("caml{}{separator}{name}_{stamp}", unit.name),
                bytes,
                &mut code,
                Binding::Global,
            );
        }
        let mut code = Seed::of(&[
            "entry",
            unit.package,
            unit.version,
            unit.name,
            self.program.compiler,
        ]);
        let bytes = 60 + 9 * unit.functions + code.below(40);
        self.function(
            &format!("caml{}{separator}entry", unit.name),
            bytes,
            &mut code,
            Binding::Global,
        );
        let code_bytes = self.text.len() - first;
        self.marker(Place::Text, unit, "code_end");
        self.unit_data(unit, code_bytes as u64);
    }

    /// The module's block, its constants and the table of its stack frames.
    fn unit_data(&mut self, unit: &Unit<'_>, code_bytes: u64) {
        let separator = self.separator;
        let mut seed = Seed::of(&[
            "data",
            unit.package,
            unit.version,
            unit.name,
            self.program.compiler,
        ]);
        align(&mut self.data, 16);
        self.marker(Place::Data, unit, "data_begin");
        self.words(&mut seed, 1);
        self.symbol(
            Place::Data,
            &format!("caml{}", unit.name),
            0,
            SymbolKind::Unknown,
            Binding::Global,
        );
        self.words(&mut seed, unit.functions + unit.growth);
        for number in 1..=(code_bytes / 700).min(24) {
            self.symbol(
                Place::Data,
                &format!("caml{}{separator}{number}", unit.name),
                0,
                SymbolKind::Unknown,
                Binding::Global,
            );
            let words = 2 + seed.below(14);
            self.words(&mut seed, words);
        }
        if unit.name == "Dune__exe__Main" || unit.name.eq_ignore_ascii_case(self.program.job) {
            let line = self
                .program
                .built_at
                .as_deref()
                .unwrap_or("reproducible build, see the source date");
            self.data
                .extend(format!("{line:<56}\0\0\0\0\0\0\0\x07").into_bytes());
        }
        self.marker(Place::Data, unit, "data_end");
        self.words(&mut seed, 1);
        self.marker(Place::Data, unit, "gc_roots");
        self.words(&mut seed, 2);
        let bytes = 8 * (code_bytes / 56 + 1);
        let name = format!("caml{}{separator}frametable", unit.name);
        self.symbol(
            Place::Data,
            &name,
            bytes,
            SymbolKind::Object,
            Binding::Global,
        );
        self.words(&mut seed, bytes / 8);
    }

    /// The last commit that touched a function, every third one of those it could have been.
    fn last_touched(&self, unit: &str, index: u64) -> u8 {
        let touched = |commit: &u8| {
            Seed::of(&["touched", self.program.job, unit, &commit.to_string()])
                .part(index)
                .one_in(3)
        };
        (2..=self.program.commit).rev().find(touched).unwrap_or(1)
    }

    /// The glue the compiler generates for the whole program, and the runtime's part in assembly.
    fn startup(&mut self) {
        let generated: Vec<String> = (2..9)
            .map(|n| format!("caml_apply{n}"))
            .chain((2..9).map(|n| format!("caml_curry{n}")))
            .chain((2..6).map(|n| format!("caml_tuplify{n}")))
            .chain(["caml_program".to_owned()])
            .collect();
        let assembly = "caml_call_gc caml_alloc1 caml_alloc2 caml_alloc3 caml_allocN caml_c_call caml_start_program \
            caml_raise_exn caml_raise_exception caml_callback_asm caml_ml_array_bound_error";
        let assembly: Vec<String> = assembly.split_whitespace().map(str::to_owned).collect();
        for (group, file, names) in [
            ("_startup", "startup.s", generated),
            ("_system_", "amd64.S", assembly),
        ] {
            // The runtime's assembly kept its underscores when the compiler went for dots.
            let separator = match group {
                "_startup" => self.separator,
                _ => "_",
            };
            self.source_file(file.to_owned(), None);
            self.symbol_at_end(&format!("caml{group}{separator}code_begin"));
            for name in names {
                let mut code = Seed::of(&["startup", self.program.compiler, &name]);
                let bytes = 20 + code.below(120);
                self.function(&name, bytes, &mut code, Binding::Global);
            }
            self.symbol_at_end(&format!("caml{group}{separator}code_end"));
        }
    }

    fn symbol_at_end(&mut self, name: &str) {
        self.symbol(Place::Text, name, 0, SymbolKind::Unknown, Binding::Global);
    }

    fn c_files(&mut self, files: &'static [File], wanted: impl Fn(&File) -> bool) {
        for file in files.iter().filter(|file| wanted(file)) {
            let version = match file.package {
                "ocaml-runtime" | "ocaml-solo5" => self.program.compiler,
                "solo5" => self.program.solo5,
                library => {
                    let mut libraries = self.program.libraries.iter();
                    libraries
                        .find(|(package, _)| package.name() == library)
                        .map_or("", |(_, version)| version)
                }
            };
            self.symbol(
                Place::Nowhere,
                file.name,
                0,
                SymbolKind::File,
                Binding::Local,
            );
            self.source_file(file.name.to_owned(), Some(self.directory(file)));
            for (index, name) in file.functions().enumerate() {
                let mut seed = Seed::of(&["c function", file.package, name]);
                let mut bytes = 40 + seed.below(360);
                bytes += if seed.one_in(4) { seed.below(1600) } else { 0 };
                let mut code =
                    Seed::of(&["c code", file.package, version, file.name]).part(index as u64);
                self.function(name, bytes, &mut code, c_binding(name));
            }
            for (name, bytes) in file.tables {
                align(&mut self.rodata, 32);
                self.symbol(
                    Place::Rodata,
                    name,
                    *bytes,
                    SymbolKind::Object,
                    Binding::Local,
                );
                let mut seed = Seed::of(&["table", file.package, name]);
                for _ in 0..bytes / 8 {
                    self.rodata.extend(seed.next().to_le_bytes());
                }
            }
            // Its messages, which no symbol names.
            let mut seed = Seed::of(&["messages", file.package, version, file.name]);
            for _ in 0..2 + seed.below(6) {
                let text = format!(
                    "{}: {} {}\0",
                    file.name,
                    seed.pick(&VERBS),
                    seed.pick(&STDLIB_WORDS)
                );
                self.rodata.extend(text.into_bytes());
            }
        }
    }

    /// Where a C file was compiled.
    fn directory(&self, file: &File) -> String {
        let build = "/tmp/myswitch/.opam-switch/build";
        match file.package {
            "ocaml-runtime" => format!("{build}/ocaml-{}/runtime", self.program.compiler),
            "ocaml-solo5" => format!("{build}/ocaml-solo5/nolibc"),
            "solo5" => format!("{build}/solo5.{}/bindings", self.program.solo5),
            library => match self.program.runs_on {
                RunsOn::Solo5 { .. } => {
                    format!("{build}/{}/duniverse/{library}/src", self.program.job)
                }
                RunsOn::Linux | RunsOn::FreeBsd => format!("{build}/{library}/src"),
            },
        }
    }

    /// The functions that follow are of this file.
    fn source_file(&mut self, name: String, directory: Option<String>) {
        self.files.push(SourceFile {
            name,
            directory,
            functions: Vec::new(),
        });
    }

    fn function(&mut self, name: &str, bytes: u64, code: &mut Seed, binding: Binding) {
        while !self.text.len().is_multiple_of(16) {
            self.text.push(0x90);
        }
        self.symbol(Place::Text, name, bytes, SymbolKind::Function, binding);
        if let Some(file) = self.files.last_mut() {
            file.functions.push((self.text.len() as u64, bytes));
        }
        machine_code(&mut self.text, usize::try_from(bytes).unwrap_or(0), code);
    }

    fn marker(&mut self, place: Place, unit: &Unit<'_>, what: &str) {
        let name = format!("caml{}{}{what}", unit.name, self.separator);
        self.symbol(place, &name, 0, SymbolKind::Unknown, Binding::Global);
    }

    /// A symbol where its section ends at the moment.
    fn symbol(&mut self, place: Place, name: &str, bytes: u64, kind: SymbolKind, binding: Binding) {
        let offset = match place {
            Place::Nowhere | Place::Bss => 0,
            Place::Text => self.text.len(),
            Place::Rodata => self.rodata.len(),
            Place::Data => self.data.len(),
        };
        let (name, offset) = (name.to_owned(), offset as u64);
        self.symbols.push((
            place,
            Symbol {
                name,
                section: None,
                offset,
                bytes,
                kind,
                binding,
            },
        ));
    }

    /// So many words of OCaml data: headers, small integers, addresses, bits of text.
    fn words(&mut self, seed: &mut Seed, count: u64) {
        for _ in 0..count {
            let word = match seed.below(8) {
                0 | 1 => {
                    (1 + seed.below(9)) << 10
                        | [0, 0, 0, 247, 252][usize::try_from(seed.below(5)).unwrap_or(0)]
                }
                2 | 3 => seed.below(120) << 1 | 1,
                4 => {
                    let mut text = [0; 8];
                    for (byte, from) in text.iter_mut().zip(seed.pick(&VERBS).bytes()) {
                        *byte = from;
                    }
                    u64::from_le_bytes(text)
                }
                _ => 0x10_0000 + (seed.below(0xc_0000) & !7),
            };
            self.data.extend(word.to_le_bytes());
        }
    }

    fn finish(mut self) -> Elf {
        let mut elf = Elf::new(Machine::X86_64);
        match self.program.runs_on {
            RunsOn::Linux => {}
            RunsOn::FreeBsd => elf.os_abi = 9,
            RunsOn::Solo5 { target, devices } => solo5_sections(&mut elf, target, devices),
        }
        let mut bss_bytes = 0;
        for (name, bytes) in [
            ("caml_local_roots", 8),
            ("caml_young_ptr", 8),
            ("Caml_state", 8),
            ("caml_heap_chunks", 4096),
            ("_gm_", 976),
        ] {
            self.symbol(Place::Bss, name, bytes, SymbolKind::Object, Binding::Global);
            if let Some((_, symbol)) = self.symbols.last_mut() {
                symbol.offset = bss_bytes;
            }
            bss_bytes += bytes.next_multiple_of(32);
        }
        let text = elf.add_section(Section::new(
            ".text",
            Access::Code,
            Content::Bytes(self.text),
        ));
        let rodata = elf.add_section(Section::new(
            ".rodata",
            Access::ReadOnly,
            Content::Bytes(self.rodata),
        ));
        let data = elf.add_section(Section::new(
            ".data",
            Access::Writable,
            Content::Bytes(self.data),
        ));
        let bss = elf.add_section(Section::new(
            ".bss",
            Access::Writable,
            Content::Zeroed(bss_bytes + 65_536),
        ));
        let debug = dwarf(&self.files, elf.address(text).unwrap_or(0));
        for (name, content) in [
            (".debug_info", debug.info),
            (".debug_abbrev", debug.abbrev),
            (".debug_line", debug.line),
        ] {
            let content = Content::Bytes(content);
            let section = Section::new(name, Access::NotLoaded, content);
            elf.add_section(Section {
                align: 1,
                ..section
            });
        }
        let section = |place| -> Option<SectionId> {
            match place {
                Place::Nowhere => None,
                Place::Text => Some(text),
                Place::Rodata => Some(rodata),
                Place::Data => Some(data),
                Place::Bss => Some(bss),
            }
        };
        for (place, symbol) in self.symbols {
            elf.add_symbol(Symbol {
                section: section(place),
                ..symbol
            });
        }
        elf
    }
}

/// What makes a program a unikernel: it names no interpreter that exists, and says which devices it wants.
fn solo5_sections(elf: &mut Elf, target: Target, devices: &[(&str, DeviceType)]) {
    let devices = devices
        .iter()
        .map(|(name, kind)| Device {
            name: (*name).to_owned(),
            kind: *kind,
        })
        .collect();
    let manifest = Manifest {
        version: 1,
        devices,
    };
    let interpreter = Content::Bytes(b"/nonexistent/solo5/\0".to_vec());
    elf.add_section(Section::new(".interp", Access::ReadOnly, interpreter));
    elf.add_section(Section::new(
        ".note.solo5.abi",
        Access::ReadOnly,
        Content::Note(abi_note(&Abi { target, version: 2 })),
    ));
    elf.add_section(Section::new(
        ".note.solo5.not_openbsd",
        Access::ReadOnly,
        Content::Note(note("OpenBSD", 1, &[0; 4])),
    ));
    elf.add_section(Section::new(
        ".note.solo5.manifest",
        Access::ReadOnly,
        Content::Note(manifest_note(&manifest)),
    ));
}

/// The functions of C that other files call have a prefix; the others are static.
fn c_binding(name: &str) -> Binding {
    const PREFIXES: [&str; 12] = [
        "caml_",
        "solo5_",
        "mc_",
        "__gmp",
        "ml_z_",
        "digestif_",
        "bigstringaf_",
        "_start",
        "mirage_",
        "checkseum_",
        "dl",
        "stub_",
    ];
    match PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
        true => Binding::Global,
        false if name.len() < 8 => Binding::Weak,
        false => Binding::Local,
    }
}

/// Instructions a compiler likes, each with the number of bytes that follow it.
const INSTRUCTIONS: [(&[u8], usize); 24] = [
    (&[0x48, 0x8b, 0x43, 0x08], 0),
    (&[0x48, 0x8b, 0x03], 0),
    (&[0x48, 0x8b, 0x5b, 0x10], 0),
    (&[0x48, 0x89, 0x44, 0x24, 0x08], 0),
    (&[0x48, 0x89, 0x04, 0x24], 0),
    (&[0x48, 0x8b, 0x44, 0x24], 1),
    (&[0x48, 0x89, 0xc7], 0),
    (&[0x48, 0x89, 0xf3], 0),
    (&[0x4d, 0x3b, 0x3e], 0),
    (&[0x49, 0x83, 0xef, 0x18], 0),
    (&[0x0f, 0x82], 4),
    (&[0xe8], 4),
    (&[0xe8], 4),
    (&[0x48, 0x8d, 0x05], 4),
    (&[0x48, 0x8d, 0x1d], 4),
    (&[0x48, 0x39, 0xc3], 0),
    (&[0x74], 1),
    (&[0x75], 1),
    (&[0x48, 0xc7, 0xc0], 4),
    (&[0x48, 0xd1, 0xf8], 0),
    (&[0x48, 0x83, 0xc8, 0x01], 0),
    (&[0xf6, 0xc3, 0x01], 0),
    (&[0x0f, 0xb6, 0x40, 0xf8], 0),
    (&[0x48, 0x83, 0xf8], 1),
];

/// A function of exactly so many bytes: it makes room on the stack, does something, gives the room back and returns.
fn machine_code(out: &mut Vec<u8>, bytes: usize, seed: &mut Seed) {
    const LAST: [u8; 5] = [0x48, 0x83, 0xc4, 0x18, 0xc3];
    let end = out.len() + bytes;
    let body_end = end.saturating_sub(LAST.len());
    out.extend([0x48, 0x83, 0xec, 0x18]);
    while out.len() + 14 <= body_end {
        let mut bits = seed.next();
        // Two instructions a number: this is the innermost loop of the whole demo.
        for _ in 0..2 {
            let (instruction, operand_bytes) =
                INSTRUCTIONS[usize::try_from(bits & 0xff).unwrap_or(0) % 24];
            out.extend(instruction);
            let operand = (bits >> 8) & 0x000f_ffff;
            out.extend(&operand.to_le_bytes()[..operand_bytes]);
            bits >>= 32;
        }
    }
    out.resize(body_end, 0x90);
    out.extend(LAST);
    out.truncate(end);
}

fn align(bytes: &mut Vec<u8>, to: usize) {
    bytes.resize(bytes.len().next_multiple_of(to), 0);
}
