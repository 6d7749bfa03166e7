//! Pictures, as browsers get them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod data;
mod documents;
mod versions;

use demo_builds::elf::{Access, Binding, Content, Elf, Machine, Section, Symbol, SymbolKind};

/// A switch: its root needs `lwt` and `tls`, which needs `x509`.
const SWITCH: &[u8] = br#"opam-version: "2.0"
roots: ["app.1"]
installed: ["app.1" "lwt.5.7.0" "tls.2.0.0" "x509.1.0.4"]
package "app" { opam-version: "2.0" depends: ["lwt" "tls" {>= "1"}] }
package "lwt" { opam-version: "2.0" }
package "tls" { opam-version: "2.0" depends: ["x509" "lwt"] }
package "x509" { opam-version: "2.0" }
"#;

/// A binary with a function of each of these names and sizes.
fn binary(functions: &[(&str, u64)]) -> Vec<u8> {
    let mut elf = Elf::new(Machine::X86_64);
    let bytes: u64 = functions.iter().map(|(_, bytes)| bytes).sum();
    let text = vec![0x90; usize::try_from(bytes).unwrap()];
    let section = elf.add_section(Section::new(".text", Access::Code, Content::Bytes(text)));
    let mut offset = 0;
    for (name, bytes) in functions {
        elf.add_symbol(Symbol {
            name: (*name).to_owned(),
            section: Some(section),
            offset,
            bytes: *bytes,
            kind: SymbolKind::Function,
            binding: Binding::Global,
        });
        offset += bytes;
    }
    elf.with_symbols()
}

fn program() -> Vec<u8> {
    binary(&[
        ("camlTls__Engine__handle_12", 4000),
        ("camlTls__State__empty_3", 800),
        ("camlLwt__bind_7", 1200),
        ("solo5_yield", 96),
    ])
}
