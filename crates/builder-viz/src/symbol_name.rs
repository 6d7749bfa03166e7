//! What the names of symbols say: which OCaml module they are of, which C library.
//!
//! OCaml's compiler names what it makes `caml` + unit + separator + item. The separator was `__`
//! until OCaml 5.0 and is a dot since 5.1; inside the unit `__` stands between library and module
//! (dune's convention) either way. Around the code and the data of a unit it puts the markers
//! `code_begin`, `code_end`, `data_begin`, `data_end` (asmcomp/asmlink.ml, asmcomp/*/emit.mlp).

use std::collections::HashSet;

/// Where the code or the data of a unit begins or ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Marker<'n> {
    /// Such as `Tls__Engine`; of the compiler's own parts `startup`, `system`, `hot`.
    pub(crate) unit: &'n [u8],
    pub(crate) of_code: bool,
    pub(crate) is_end: bool,
}

/// Reads the name of a marker.
pub(crate) fn marker(name: &[u8]) -> Option<Marker<'_>> {
    let rest = name.strip_prefix(b"caml")?;
    let kinds: [(&[u8], bool, bool); 4] = [
        (b"code_begin", true, false),
        (b"code_end", true, true),
        (b"data_begin", false, false),
        (b"data_end", false, true),
    ];
    let (unit, of_code, is_end) = kinds.into_iter().find_map(|(suffix, of_code, is_end)| {
        let unit = rest.strip_suffix(suffix)?;
        Some((unit, of_code, is_end))
    })?;
    let unit = unit
        .strip_suffix(b"__")
        .or_else(|| unit.strip_suffix(b"."))
        .or_else(|| unit.strip_suffix(b"$"))?;
    let unit = unit.strip_prefix(b"_").unwrap_or(unit);
    (!unit.is_empty()).then_some(Marker {
        unit,
        of_code,
        is_end,
    })
}

/// The unit and the item of a symbol that OCaml's compiler made of a unit. `units` are those that
/// have markers: where there is no dot, they tell the last module from the item.
pub(crate) fn ocaml<'n>(name: &'n [u8], units: &HashSet<&[u8]>) -> Option<(&'n [u8], &'n [u8])> {
    let rest = name.strip_prefix(b"caml")?;
    if !rest.first()?.is_ascii_uppercase() {
        return None;
    }
    if let Some(dot) = rest.iter().position(|byte| *byte == b'.') {
        let (unit, item) = rest.split_at(dot);
        return Some((unit, item.get(1..).unwrap_or_default()));
    }
    let mut split = rest.len();
    // From the end: the longest that is a unit. Names have a few parts; a hostile one is cut off
    // where symbols are read.
    loop {
        let unit = rest.get(..split)?;
        if units.contains(unit) {
            let item = rest.get(split..).unwrap_or_default();
            return Some((unit, item.strip_prefix(b"__").unwrap_or(item)));
        }
        match before_last_separator(unit) {
            Some(at) => split = at,
            None => break,
        }
    }
    // Without markers: the last part is an item unless it looks like a module.
    match before_last_separator(rest) {
        Some(at) => {
            let item = rest.get(at.saturating_add(2)..).unwrap_or_default();
            let is_module = item.first().is_some_and(u8::is_ascii_uppercase) && !has_stamp(item);
            match is_module {
                true => Some((rest, b"")),
                false => Some((rest.get(..at)?, item)),
            }
        }
        None => Some((rest, b"")),
    }
}

/// Where the last `__` of a name is that stands between two parts of it.
fn before_last_separator(name: &[u8]) -> Option<usize> {
    let mut windows = name.windows(2).enumerate().rev();
    windows
        .find(|(at, pair)| *pair == b"__" && *at > 0)
        .map(|(at, _)| at)
}

/// Whether it ends as the compiler numbers items: `_` and digits.
fn has_stamp(item: &[u8]) -> bool {
    stamp(item).is_some()
}

/// What comes before the number that the compiler gave an item.
fn stamp(item: &[u8]) -> Option<&[u8]> {
    let digits = item.iter().rev().take_while(|byte| byte.is_ascii_digit());
    let digits = digits.count();
    let before = item.get(..item.len().checked_sub(digits)?)?;
    match digits {
        0 => None,
        _ => before.strip_suffix(b"_").filter(|name| !name.is_empty()),
    }
}

/// An item as its author wrote it: without the compiler's number, operators as they are.
pub(crate) fn item(item: &[u8]) -> Vec<u8> {
    let item = stamp(item).unwrap_or(item);
    let mut out = Vec::with_capacity(item.len());
    let mut rest = item;
    while let Some((byte, after)) = rest.split_first() {
        let escaped = (*byte == b'$')
            .then(|| after.split_first_chunk::<2>())
            .flatten()
            .and_then(|(digits, after)| Some((hexadecimal(digits)?, after)));
        (rest, _) = match escaped {
            Some((byte, after)) => (after, out.push(byte)),
            None => (after, out.push(*byte)),
        };
    }
    out
}

fn hexadecimal(digits: &[u8; 2]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let [high, low] = *digits;
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

/// The library and the module of a unit: `Tls__Engine` is `Engine` of `Tls`. A unit of its own has
/// no module.
pub(crate) fn library_and_module(unit: &[u8]) -> (&[u8], &[u8]) {
    // What the compiler's own library is made of besides `Stdlib`.
    const STDLIB: [&[u8]; 7] = [
        b"CamlinternalFormat",
        b"CamlinternalFormatBasics",
        b"CamlinternalLazy",
        b"CamlinternalOO",
        b"CamlinternalMod",
        b"CamlinternalAtomic",
        b"Std_exit",
    ];
    if STDLIB.contains(&unit) {
        return (b"Stdlib", unit);
    }
    let separator = if unit.starts_with(b"Dune__exe__") {
        // The modules of an executable are of the program itself.
        Some("Dune__exe".len())
    } else {
        unit.windows(2).position(|pair| pair == b"__")
    };
    match separator.and_then(|at| unit.split_at_checked(at)) {
        Some((library, module)) if !library.is_empty() => {
            (library, module.strip_prefix(b"__").unwrap_or(module))
        }
        _ => (unit, b""),
    }
}

/// The C library of a symbol, where its name tells. The prefixes are those of the libraries' own
/// sources.
pub(crate) fn c_library(name: &[u8]) -> Option<&'static str> {
    const BY_PREFIX: &[(&str, &[&str])] = &[
        ("gmp", &["__gmp", "gmp_", "mpn_", "mpz_", "mpq_", "mpf_"]),
        ("zarith", &["ml_z_"]),
        (
            "mirage-crypto-ec",
            &[
                "mc_p224_",
                "mc_np224_",
                "mc_p256_",
                "mc_np256_",
                "mc_p384_",
                "mc_np384_",
                "mc_p521_",
                "mc_np521_",
                "mc_25519_",
                "mc_x25519_",
                "fiat_p",
                "fiat_np",
                "x25519_",
                "k25519",
            ],
        ),
        ("mirage-crypto", &["mc_", "_mc_"]),
        ("digestif", &["digestif_", "caml_digestif_"]),
        ("solo5", &["solo5_"]),
        ("ocaml-solo5", &["caml_solo5_"]),
        ("lwt", &["lwt_unix_"]),
    ];
    let of = |prefix: &&str| name.starts_with(prefix.as_bytes());
    BY_PREFIX
        .iter()
        .find(|(_, prefixes)| prefixes.iter().any(of))
        .map(|(library, _)| *library)
}

/// Whether a symbol only says where a section begins or ends, and has nothing of its own.
pub(crate) fn is_of_the_linker(name: &[u8]) -> bool {
    let names: &[&[u8]] = &[
        b"_end",
        b"end",
        b"_edata",
        b"edata",
        b"_etext",
        b"etext",
        b"__etext",
        b"_stext",
        b"_srodata",
        b"_erodata",
        b"_sdata",
        b"_ebss",
        b"__bss_start",
        b"__data_start",
        b"data_start",
        b"__executable_start",
        b"__ehdr_start",
        b"_GLOBAL_OFFSET_TABLE_",
        b"_DYNAMIC",
        b"__GNU_EH_FRAME_HDR",
    ];
    names.contains(&name) || name.is_empty() || name.starts_with(b"$")
}

/// The opam package of a source file, by the directories that builds of opam packages are made in.
pub(crate) fn package_of_path(path: &str) -> Option<&str> {
    let mut segments = path.split('/').filter(|segment| !segment.is_empty());
    let mut package = None;
    while let Some(segment) = segments.next() {
        match segment {
            // A monorepo of its own, whatever it lies in.
            "duniverse" => return segments.next().or(package),
            ".opam-switch" => {
                if matches!(segments.next(), Some("build" | "sources")) {
                    package = segments.next().map(|segment| {
                        // `NAME.VERSION`, or only the name.
                        segment.split_once('.').map_or(segment, |(name, _)| name)
                    });
                }
            }
            _ => {}
        }
    }
    package
}

/// Whether a source file is of OCaml's runtime.
pub(crate) fn is_runtime_path(path: &str) -> bool {
    let mut before = "";
    for segment in path.split('/') {
        if matches!(segment, "runtime" | "asmrun" | "byterun") && before.starts_with("ocaml") {
            return true;
        }
        before = segment;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, units: &[&str]) -> Option<String> {
        let units = units.iter().map(|unit| unit.as_bytes()).collect();
        let (unit, found) = ocaml(name.as_bytes(), &units)?;
        let (library, module) = library_and_module(unit);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Some(format!(
            "{} / {} / {}",
            text(library),
            text(module),
            text(&item(found))
        ))
    }

    #[test]
    fn a_symbol_of_ocaml_tells_its_library_module_and_item_in_both_ages() {
        for (name, expected) in [
            ("camlStdlib__List__map_236", "Stdlib / List / map"),
            ("camlStdlib__List.map_236", "Stdlib / List / map"),
            ("camlTls__Engine", "Tls / Engine / "),
            ("camlFoo.$2b$2b$2b_159", "Foo /  / +++"),
            ("camlFoo__3", "Foo /  / 3"),
            ("camlFoo__Make_1234", "Foo /  / Make"),
            ("camlLwt__", "Lwt /  / "),
            ("camlDune__exe__Main.entry", "Dune__exe / Main / entry"),
            (
                "camlCamlinternalFormat.fun_12",
                "Stdlib / CamlinternalFormat / fun",
            ),
        ] {
            assert_eq!(of(name, &[]).as_deref(), Some(expected), "{name}");
        }
        assert_eq!(
            of("camlTcpip__Tcp__Flow__Make_12", &["Tcpip__Tcp"]).as_deref(),
            Some("Tcpip / Tcp / Flow__Make")
        );
        for name in ["caml_alloc", "camlfoo", "caml", "main"] {
            assert_eq!(of(name, &[]), None, "{name}");
        }
    }

    #[test]
    fn markers_are_read_with_underscores_and_with_a_dot() {
        let unit = |name: &'static str| {
            let marker = marker(name.as_bytes())?;
            Some((
                std::str::from_utf8(marker.unit).unwrap(),
                marker.of_code,
                marker.is_end,
            ))
        };
        assert_eq!(
            unit("camlStdlib__List__code_begin"),
            Some(("Stdlib__List", true, false))
        );
        assert_eq!(
            unit("camlStdlib__List.data_end"),
            Some(("Stdlib__List", false, true))
        );
        assert_eq!(unit("caml_startup.code_end"), Some(("startup", true, true)));
        assert_eq!(
            unit("caml_system__code_begin"),
            Some(("system", true, false))
        );
        for name in [
            "camlcode_begin",
            "caml__code_begin",
            "camlX__code_beginning",
            "Xcode_end",
        ] {
            assert_eq!(unit(name), None, "{name}");
        }
    }

    #[test]
    fn the_place_where_a_file_was_compiled_tells_its_package() {
        let home = "/tmp/myswitch/.opam-switch";
        for (path, package) in [
            (
                format!("{home}/build/unipi.1/duniverse/gmp/src"),
                Some("gmp"),
            ),
            (
                format!("{home}/build/digestif.1.2.0/src-c"),
                Some("digestif"),
            ),
            (format!("{home}/sources/solo5/bindings"), Some("solo5")),
            ("/usr/src/debug/gmp".to_owned(), None),
            (format!("{home}/build"), None),
        ] {
            assert_eq!(package_of_path(&path), package, "{path}");
        }
        assert!(is_runtime_path("/x/ocaml-5.2.1/runtime/memory.c"));
        assert!(!is_runtime_path("/x/mirage/runtime/memory.c"));
    }
}
