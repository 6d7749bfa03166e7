//! Names of symbols: which OCaml module one belongs to, and what is left of it without the numbers that compilers give
//! out.
//!
//! OCaml's native compiler names a value `x` of the unit `Tls__Engine` `camlTls__Engine__x_123`, and since 5.1
//! `camlTls__Engine.x_123`; the number is a stamp that changes with every change above it in the file. (The compiler's
//! `asmcomp/cmm_helpers.ml` and `utils/compilenv.ml`; measured on binaries.)

use std::collections::HashSet;

/// The markers at both ends of what the compiler makes of a unit.
const MARKERS: [&str; 7] = [
    "code_begin",
    "code_end",
    "data_begin",
    "data_end",
    "entry",
    "frametable",
    "gc_roots",
];

/// The units of a file, by which old names can be taken apart: `__` stands between units and items as well as within
/// the name of a unit.
#[derive(Debug, Default)]
pub struct Units<'n>(HashSet<&'n str>);

/// A name taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OcamlName<'n> {
    /// The compilation unit, such as `Tls__Engine`; of glue code `startup` and `system`.
    pub unit: &'n str,
    /// What it is in the unit, without stamps; empty for the unit's own block. Numbered constants are all `constant`.
    pub item: &'n str,
}

impl<'n> Units<'n> {
    /// The units whose markers are among these names.
    pub fn of(names: impl Iterator<Item = &'n str>) -> Units<'n> {
        let unit = |name: &'n str| {
            let rest = name.strip_prefix("caml")?;
            let rest = rest.strip_prefix('_').unwrap_or(rest);
            let at = MARKERS
                .iter()
                .find_map(|marker| rest.strip_suffix(marker))?;
            at.strip_suffix("__").or_else(|| at.strip_suffix('.'))
        };
        Units(
            names
                .filter_map(unit)
                .filter(|unit| !unit.is_empty())
                .collect(),
        )
    }

    /// Takes the name of a symbol apart; none: it is not one of OCaml code.
    pub fn split(&self, name: &'n str) -> Option<OcamlName<'n>> {
        let rest = name.strip_prefix("caml")?;
        let glue = rest.strip_prefix('_').filter(|rest| {
            ["startup", "system", "hot"]
                .iter()
                .any(|glue| rest.starts_with(glue))
        });
        let rest = match glue {
            Some(rest) => rest,
            None => rest,
        };
        let is_unit = rest.starts_with(|first: char| first.is_ascii_uppercase()) || glue.is_some();
        if !is_unit {
            return None;
        }
        let (unit, item) = match rest.split_once('.') {
            Some(split) => split,
            None => self.split_old(rest),
        };
        Some(OcamlName {
            unit,
            item: without_stamps(item),
        })
    }

    /// At the end of the longest known unit, or before the first part that is not capitalised.
    fn split_old(&self, rest: &'n str) -> (&'n str, &'n str) {
        if self.0.contains(rest) {
            return (rest, "");
        }
        let breaks = || {
            rest.match_indices("__")
                .filter_map(|(at, _)| Some((rest.get(..at)?, rest.get(at + 2..)?)))
        };
        let known = breaks().filter(|(unit, _)| self.0.contains(unit)).last();
        known
            .or_else(|| {
                breaks()
                    .find(|(_, item)| !item.starts_with(|first: char| first.is_ascii_uppercase()))
            })
            .unwrap_or((rest, ""))
    }
}

/// The library that a unit belongs to: what dune puts before the first `__`.
pub fn library(unit: &str) -> &str {
    match unit.split_once("__") {
        Some(("Dune", _)) => "Dune__exe",
        Some((library, _)) => library,
        None => unit,
    }
}

fn without_stamps(item: &str) -> &str {
    if !item.is_empty() && item.bytes().all(|byte| byte.is_ascii_digit()) {
        return "constant";
    }
    let without_kind = item.strip_suffix("_code").unwrap_or(item);
    let mut rest = without_kind;
    loop {
        let shorter = rest.trim_end_matches(|char: char| char.is_ascii_digit());
        match shorter.strip_suffix('_') {
            Some(before) if shorter.len() < rest.len() && !before.is_empty() => rest = before,
            _ => break,
        }
    }
    // An anonymous function is named after its place in the source, which moves with every line above it.
    match rest.split_once("$5b").or_else(|| rest.split_once('[')) {
        Some((kind, _)) if kind.starts_with("anon_fn") || kind.starts_with("fn") => kind,
        _ => rest,
    }
}

/// The name of a C symbol without what compilers append: `.constprop.0`, `.part.1`, `.cold`, `.1234`.
pub fn c_name(name: &str) -> &str {
    match name.find('.') {
        Some(at) if at > 0 => name.get(..at).unwrap_or(name),
        _ => name,
    }
}

/// By which beginnings C symbols are known to belong together, and to what.
const C_PREFIXES: &[(&str, &[&str])] = &[
    (
        "Zarith and GMP",
        &["ml_z_", "__gmp", "gmp_", "mpn_", "mpz_"],
    ),
    (
        "Mirage_crypto_ec",
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
            "fe_",
            "x25519_",
            "k25519",
            "ge_",
            "point_double",
            "point_add",
            "p256_",
            "p384_",
            "p521_",
        ],
    ),
    ("Mirage_crypto", &["mc_", "_mc_", "poly1305_"]),
    ("Digestif", &["digestif_", "caml_digestif_"]),
    ("Solo5 bindings", &["solo5_", "hvt_", "spt_", "platform_"]),
    ("OCaml runtime", &["caml_"]),
];

/// What a C symbol whose file is not known is put under: a known library or its own first part.
pub fn c_group(name: &str) -> &str {
    let known = C_PREFIXES
        .iter()
        .find(|(_, prefixes)| prefixes.iter().any(|prefix| name.starts_with(prefix)));
    match known {
        // Stubs of libraries are called like the runtime's own functions; those of one library begin alike.
        Some((group, _)) => group,
        None => match name.trim_start_matches('_').split_once('_') {
            Some((prefix, _)) if prefix.len() > 2 => prefix,
            _ => "other",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_all_compilers_are_taken_apart() {
        let units = Units::of(
            [
                "camlTls__Engine__code_begin",
                "camlStdlib__List.data_end",
                "camlFoo__frametable",
            ]
            .into_iter(),
        );
        for (name, unit, item) in [
            (
                "camlTls__Engine__handle_tls_2341",
                "Tls__Engine",
                "handle_tls",
            ),
            (
                "camlTls__Engine.handle_tls_2341",
                "Tls__Engine",
                "handle_tls",
            ),
            ("camlTls__Engine__fun_17", "Tls__Engine", "fun"),
            ("camlTls__Engine__12", "Tls__Engine", "constant"),
            ("camlTls__Engine", "Tls__Engine", ""),
            ("camlStdlib__List.map_236", "Stdlib__List", "map"),
            ("camlFoo__Bar__x_1", "Foo", "Bar__x"),
            ("camlNew__Unit__value_1_2_code", "New__Unit", "value"),
            ("camlFoo__$2b$2b$2b_159", "Foo", "$2b$2b$2b"),
            ("caml_startup__code_begin", "startup", "code_begin"),
            ("caml_system__code_end", "system", "code_end"),
            (
                "camlX__anon_fn$5bx$2eml$3a3$2c4$2d$2d5$5d_7",
                "X",
                "anon_fn",
            ),
        ] {
            assert_eq!(units.split(name), Some(OcamlName { unit, item }), "{name}");
        }
        for name in ["caml_alloc", "caml_curry2", "main", "caml", "", "camlidl_x"] {
            assert_eq!(units.split(name), None, "{name}");
        }
    }

    #[test]
    fn compilers_suffixes_are_no_part_of_a_c_name() {
        assert_eq!(c_name("mark_slice.constprop.0"), "mark_slice");
        assert_eq!(c_name("buffer.1234"), "buffer");
        assert_eq!(c_name(".LC0"), ".LC0");
        assert_eq!(c_group("ml_z_add"), "Zarith and GMP");
        assert_eq!(c_group("checkseum_crc32_digest"), "checkseum");
        assert_eq!(library("Mirage_crypto__Hash"), "Mirage_crypto");
        assert_eq!(library("Dune__exe__Main"), "Dune__exe");
    }
}
