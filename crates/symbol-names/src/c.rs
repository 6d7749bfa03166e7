//! C: libraries by the beginnings of their symbols, packages by where their sources lay.

/// By which beginnings the symbols of C libraries are known, under the name of the opam package
/// that brings the library. The prefixes are those of the libraries' own sources.
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
            "fe_",
            "ge_",
            "x25519_",
            "k25519",
            "point_add",
            "point_double",
            "p256_",
            "p384_",
            "p521_",
        ],
    ),
    ("mirage-crypto", &["mc_", "_mc_", "poly1305_"]),
    ("digestif", &["digestif_", "caml_digestif_"]),
    ("solo5", &["solo5_", "hvt_", "spt_", "platform_"]),
    ("ocaml-solo5", &["caml_solo5_"]),
    ("lwt", &["lwt_unix_"]),
];

/// The opam package of a C symbol, where its name tells. The path of its source file, where there
/// is one, tells more surely.
pub fn library_of_symbol(name: &str) -> Option<&'static str> {
    BY_PREFIX
        .iter()
        .find(|(_, prefixes)| prefixes.iter().any(|prefix| name.starts_with(prefix)))
        .map(|(library, _)| *library)
}

/// The name of a C symbol without what compilers append: `.constprop.0`, `.part.1`, `.cold`, `.1234`.
pub fn without_suffixes(name: &str) -> &str {
    match name.find('.') {
        Some(at) if at > 0 => name.get(..at).unwrap_or(name),
        _ => name,
    }
}

/// The opam package of a source file, by the directories that builds of opam packages are made in.
pub fn package_of_path(path: &str) -> Option<&str> {
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
pub fn is_runtime_path(path: &str) -> bool {
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

    #[test]
    fn compilers_suffixes_are_no_part_of_a_c_name() {
        assert_eq!(without_suffixes("mark_slice.constprop.0"), "mark_slice");
        assert_eq!(without_suffixes("buffer.1234"), "buffer");
        assert_eq!(without_suffixes(".LC0"), ".LC0");
    }

    #[test]
    fn a_library_is_known_by_the_longest_beginning_that_is_its_own() {
        for (name, library) in [
            ("ml_z_add", Some("zarith")),
            ("__gmpn_mul", Some("gmp")),
            ("mc_p256_mul", Some("mirage-crypto-ec")),
            ("mc_aes_enc", Some("mirage-crypto")),
            ("caml_digestif_sha1", Some("digestif")),
            ("caml_alloc", None),
            ("checkseum_crc32", None),
        ] {
            assert_eq!(library_of_symbol(name), library, "{name}");
        }
    }

    #[test]
    fn the_place_where_a_file_was_compiled_tells_its_package() {
        let home = "/home/opam/.opam-switch";
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
