//! OCaml: the compiler names what it makes `caml` + unit + separator + item. The separator was `__`
//! until OCaml 5.0 and is a dot since 5.1; inside the unit `__` stands between library and module
//! (dune's convention) either way. Most items end in `_` and a stamp, a number that changes with
//! every change above it in the file. Around the code and the data of a unit stand markers.
//! (asmcomp/cmm_helpers.ml, asmcomp/asmlink.ml, asmcomp/*/emit.mlp, utils/compilenv.ml of OCaml.)

use std::collections::HashSet;

/// What the compiler makes for a whole program rather than of a unit.
const GLUE: [&str; 3] = ["startup", "system", "hot"];

/// The name of a marker, or of something else that each unit has.
const OF_EACH_UNIT: [&str; 7] = [
    "code_begin",
    "code_end",
    "data_begin",
    "data_end",
    "entry",
    "frametable",
    "gc_roots",
];

/// Where the code or the data of a unit begins or ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marker<'n> {
    /// Such as `Tls__Engine`; of the compiler's own parts `startup`, `system`, `hot`.
    pub unit: &'n str,
    /// Of its code; else of its data.
    pub of_code: bool,
    /// Where it ends; else where it begins.
    pub is_end: bool,
}

/// Reads the name of a marker.
pub fn marker(name: &str) -> Option<Marker<'_>> {
    [
        ("code_begin", true, false),
        ("code_end", true, true),
        ("data_begin", false, false),
        ("data_end", false, true),
    ]
    .into_iter()
    .find_map(|(item, of_code, is_end)| {
        Some(Marker {
            unit: unit_that_has(name, item)?,
            of_code,
            is_end,
        })
    })
}

/// The unit of a symbol whose item is exactly this one.
fn unit_that_has<'n>(name: &'n str, item: &str) -> Option<&'n str> {
    let rest = name.strip_prefix("caml")?;
    let unit = rest.strip_suffix(item)?;
    let unit = unit
        .strip_suffix("__")
        .or_else(|| unit.strip_suffix('.'))
        .or_else(|| unit.strip_suffix('$'))?;
    let unit = unit.strip_prefix('_').unwrap_or(unit);
    (!unit.is_empty()).then_some(unit)
}

/// The units of a file, by which old names can be taken apart: `__` stands between units and items
/// as well as within the name of a unit.
#[derive(Debug, Default)]
pub struct Units<'n>(HashSet<&'n str>);

/// A name taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OcamlName<'n> {
    /// The compilation unit, such as `Tls__Engine`; of glue code `startup`, `system` and `hot`.
    pub unit: &'n str,
    /// What it is in the unit, as the compiler spells it; empty for the unit's own block.
    pub item: &'n str,
}

impl<'n> Units<'n> {
    /// The units that are told by these names of symbols.
    pub fn of(names: impl Iterator<Item = &'n str>) -> Units<'n> {
        let unit = |name| {
            OF_EACH_UNIT
                .iter()
                .find_map(|item| unit_that_has(name, item))
        };
        Units(names.filter_map(unit).collect())
    }

    /// Takes the name of a symbol apart; none: it is not one of OCaml code.
    pub fn split(&self, name: &'n str) -> Option<OcamlName<'n>> {
        let rest = name.strip_prefix("caml")?;
        if let Some(glue) = rest.strip_prefix('_') {
            // The runtime has names that begin alike, such as `caml_startup_exn`.
            let unit = GLUE
                .iter()
                .find(|glue_unit| glue.starts_with(**glue_unit))?;
            let (unit, rest) = glue.split_at_checked(unit.len())?;
            let item = rest.strip_prefix("__").or_else(|| rest.strip_prefix('.'))?;
            return Some(OcamlName { unit, item });
        }
        if !rest.starts_with(|first: char| first.is_uppercase()) {
            return None;
        }
        let (unit, item) = match rest.split_once('.') {
            Some(split) => split,
            None => self.split_old(rest),
        };
        Some(OcamlName { unit, item })
    }

    /// At the end of the longest known unit; else before the first part that cannot be a module.
    fn split_old(&self, rest: &'n str) -> (&'n str, &'n str) {
        if self.0.contains(rest) {
            return (rest, "");
        }
        let breaks = || {
            rest.match_indices("__")
                .filter_map(|(at, _)| Some((rest.get(..at)?, rest.get(at + 2..)?)))
        };
        let known = breaks().filter(|(unit, _)| self.0.contains(unit)).last();
        let cannot_be_module = |(_, item): &(&str, &str)| {
            !item.starts_with(|first: char| first.is_uppercase())
                || (!item.contains("__") && stamp(item).is_some())
        };
        known
            .or_else(|| breaks().find(cannot_be_module))
            .unwrap_or((rest, ""))
    }
}

/// The library and the module of a unit: `Tls__Engine` is `Engine` of `Tls`. A unit of its own has
/// no module.
pub fn library_and_module(unit: &str) -> (&str, &str) {
    // What the compiler's own library is made of besides `Stdlib`.
    const STDLIB: [&str; 7] = [
        "CamlinternalFormat",
        "CamlinternalFormatBasics",
        "CamlinternalLazy",
        "CamlinternalOO",
        "CamlinternalMod",
        "CamlinternalAtomic",
        "Std_exit",
    ];
    // The modules of an executable are of the program itself.
    const EXECUTABLE: &str = "Dune__exe";
    if STDLIB.contains(&unit) {
        return ("Stdlib", unit);
    }
    if let Some(module) = unit.strip_prefix(EXECUTABLE) {
        return (EXECUTABLE, module.strip_prefix("__").unwrap_or(module));
    }
    match unit.split_once("__") {
        Some((library, module)) if !library.is_empty() => (library, module),
        _ => (unit, ""),
    }
}

/// What comes before the stamp of an item, if it has one.
fn stamp(item: &str) -> Option<&str> {
    let before = item.trim_end_matches(|char: char| char.is_ascii_digit());
    if before.len() == item.len() {
        return None;
    }
    before.strip_suffix('_').filter(|name| !name.is_empty())
}

/// An item without stamps, so that the same item of two builds has the same name. Numbered constants
/// are all `constant`.
pub fn without_stamps(item: &str) -> &str {
    if !item.is_empty() && item.bytes().all(|byte| byte.is_ascii_digit()) {
        return "constant";
    }
    let mut rest = item.strip_suffix("_code").unwrap_or(item);
    while let Some(before) = stamp(rest) {
        rest = before;
    }
    // An anonymous function is named after its place in the source, which moves with every line
    // above it.
    match rest.split_once("$5b").or_else(|| rest.split_once('[')) {
        Some((kind, _)) if kind.starts_with("anon_fn") || kind.starts_with("fn") => kind,
        _ => rest,
    }
}

/// An item as its author wrote it: without its stamp, operators as they are.
pub fn readable(item: &str) -> String {
    let item = stamp(item).unwrap_or(item);
    let mut out = String::with_capacity(item.len());
    let mut rest = item;
    while let Some((before, escape)) = rest.split_once('$') {
        out.push_str(before);
        let byte = escape
            .get(..2)
            .and_then(|digits| u8::from_str_radix(digits, 16).ok())
            .filter(u8::is_ascii);
        rest = match byte.zip(escape.get(2..)) {
            Some((byte, after)) => {
                out.push(char::from(byte));
                after
            }
            None => {
                out.push('$');
                escape
            }
        };
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_of_all_compilers_are_taken_apart() {
        let units = Units::of(
            [
                "camlTls__Engine__code_begin",
                "camlStdlib__List.data_end",
                "camlFoo__frametable",
                "camlTcpip__Tcp__entry",
            ]
            .into_iter(),
        );
        for (name, unit, item) in [
            (
                "camlTls__Engine__handle_tls_2341",
                "Tls__Engine",
                "handle_tls_2341",
            ),
            (
                "camlTls__Engine.handle_tls_2341",
                "Tls__Engine",
                "handle_tls_2341",
            ),
            ("camlTls__Engine", "Tls__Engine", ""),
            ("camlStdlib__List.map_236", "Stdlib__List", "map_236"),
            ("camlFoo__Bar__x_1", "Foo", "Bar__x_1"),
            (
                "camlTcpip__Tcp__Flow__Make_12",
                "Tcpip__Tcp",
                "Flow__Make_12",
            ),
            // Without markers.
            ("camlNew__Unit__value_1", "New__Unit", "value_1"),
            ("camlNew__Make_1234", "New", "Make_1234"),
            ("camlNew__foo__bar_1", "New", "foo__bar_1"),
            ("camlNew__Unit", "New__Unit", ""),
            ("camlLwt__", "Lwt", ""),
            ("caml_startup__code_begin", "startup", "code_begin"),
            ("caml_system.code_end", "system", "code_end"),
        ] {
            assert_eq!(units.split(name), Some(OcamlName { unit, item }), "{name}");
        }
        for name in [
            "caml_alloc",
            "caml_curry2",
            "caml_startup_exn",
            "main",
            "caml",
            "",
            "camlidl_x",
        ] {
            assert_eq!(units.split(name), None, "{name}");
        }
    }

    #[test]
    fn an_item_has_one_name_in_all_builds_and_one_that_is_read() {
        for (item, same, read) in [
            ("handle_tls_2341", "handle_tls", "handle_tls"),
            ("fun_17", "fun", "fun"),
            ("12", "constant", "12"),
            ("value_1_2_code", "value", "value_1_2_code"),
            ("$2b$2b$2b_159", "$2b$2b$2b", "+++"),
            ("a$zz", "a$zz", "a$zz"),
            ("$", "$", "$"),
            (
                "anon_fn$5bx$2eml$3a3$2c4$2d$2d5$5d_7",
                "anon_fn",
                "anon_fn[x.ml:3,4--5]",
            ),
        ] {
            assert_eq!(without_stamps(item), same, "{item}");
            assert_eq!(readable(item), read, "{item}");
        }
    }

    #[test]
    fn a_unit_tells_its_library() {
        for (unit, library, module) in [
            ("Mirage_crypto__Hash", "Mirage_crypto", "Hash"),
            ("Dune__exe__Main", "Dune__exe", "Main"),
            ("Dune__exe", "Dune__exe", ""),
            ("Lwt", "Lwt", ""),
            ("CamlinternalFormat", "Stdlib", "CamlinternalFormat"),
        ] {
            assert_eq!(library_and_module(unit), (library, module), "{unit}");
        }
    }

    #[test]
    fn markers_are_read_with_underscores_and_with_a_dot() {
        let read = |name| marker(name).map(|marker| (marker.unit, marker.of_code, marker.is_end));
        assert_eq!(
            read("camlStdlib__List__code_begin"),
            Some(("Stdlib__List", true, false))
        );
        assert_eq!(
            read("camlStdlib__List.data_end"),
            Some(("Stdlib__List", false, true))
        );
        assert_eq!(read("caml_startup.code_end"), Some(("startup", true, true)));
        assert_eq!(
            read("caml_system__code_begin"),
            Some(("system", true, false))
        );
        for name in [
            "camlcode_begin",
            "caml__code_begin",
            "camlX__code_beginning",
            "Xcode_end",
        ] {
            assert_eq!(read(name), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_name_is_read(name in "(caml)?[_A-Za-z0-9.$ü]{0,40}") {
            let units = Units::of([name.as_str()].into_iter());
            let item = units.split(&name).map_or(name.as_str(), |name| name.item);
            let _: (String, &str) = (readable(item), without_stamps(item));
            let _: (&str, &str) = library_and_module(&name);
            prop_assert!(crate::without_suffixes(&name).len() <= name.len());
        }
    }
}
