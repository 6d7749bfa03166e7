//! The opam packages of the demo: what each is, which version the repository held on which day, and the modules it brings
//! into a program. Names are those of real packages where one helps to recognise what is meant; every sentence, version
//! date and digest is invented.

/// An opam package.
pub(crate) struct Package {
    /// Who keeps it and its name, as in the address of its repository.
    full_name: &'static str,
    pub(crate) synopsis: &'static str,
    /// From which day of the demo on the repository's newest version is which; oldest first, the first from the start.
    versions: &'static [(u8, &'static str)],
    depends: &'static str,
    /// The OCaml library's prefix, empty for packages that bring no OCaml code.
    pub(crate) unit: &'static str,
    /// Its modules below the prefix.
    modules: &'static str,
    /// What its functions are about.
    words: &'static str,
}

impl Package {
    pub(crate) fn name(&self) -> &'static str {
        self.full_name
            .split_once('/')
            .map_or(self.full_name, |(_, name)| name)
    }

    pub(crate) fn owner(&self) -> &'static str {
        self.full_name
            .split_once('/')
            .map_or("", |(owner, _)| owner)
    }

    /// The newest version on a day. Packages of the compiler follow the compiler.
    pub(crate) fn version(&self, day: u8, compiler: &'static str) -> &'static str {
        let newest = self.versions.iter().rev().find(|(since, _)| *since <= day);
        match newest.map_or("dev", |(_, version)| *version) {
            OF_COMPILER => compiler,
            SOLO5_OF_COMPILER if compiler.starts_with('4') => "0.8.3",
            SOLO5_OF_COMPILER => "1.0.1",
            version => version,
        }
    }

    pub(crate) fn first_version(&self) -> &'static str {
        self.versions.first().map_or("dev", |(_, version)| *version)
    }

    /// How many versions there were before `version`.
    pub(crate) fn versions_before(&self, version: &str) -> u64 {
        self.versions
            .iter()
            .take_while(|(_, other)| *other != version)
            .count() as u64
    }

    pub(crate) fn depends(&self) -> impl Iterator<Item = &'static str> {
        self.depends.split_whitespace()
    }

    pub(crate) fn modules(&self) -> impl Iterator<Item = &'static str> {
        self.modules.split_whitespace()
    }

    pub(crate) fn words(&self) -> Vec<&'static str> {
        self.words.split_whitespace().collect()
    }

    /// True for what `conf-…`, `base-…` and the compiler's own packages are: nothing to download.
    pub(crate) fn has_source(&self) -> bool {
        !self.name().starts_with("conf-")
            && !self.name().starts_with("base-")
            && self.name() != "ocaml"
    }
}

/// The package called `name`; the demo names none that is missing (a test looks at every dependency).
pub(crate) fn package(name: &str) -> Option<&'static Package> {
    PACKAGES.iter().find(|package| package.name() == name)
}

/// `roots` and everything they depend on, each once, dependencies before their dependents.
pub(crate) fn closure<'a>(roots: impl IntoIterator<Item = &'a str>) -> Vec<&'static Package> {
    fn visit(name: &str, found: &mut Vec<&'static Package>) {
        let Some(package) = package(name) else { return };
        if found.iter().any(|known| std::ptr::eq(*known, package)) {
            return;
        }
        for dependency in package.depends() {
            visit(dependency, found);
        }
        found.push(package);
    }
    let mut found = Vec::new();
    for root in roots {
        visit(root, &mut found);
    }
    found
}

const OF_COMPILER: &str = "of the compiler";
const SOLO5_OF_COMPILER: &str = "of the cross compiler";

/// A package that helps to build and is not linked.
const fn tool(
    full_name: &'static str,
    versions: &'static [(u8, &'static str)],
    depends: &'static str,
    synopsis: &'static str,
) -> Package {
    Package {
        full_name,
        synopsis,
        versions,
        depends,
        unit: "",
        modules: "",
        words: "",
    }
}

/// A package whose modules are linked.
const fn library(
    full_name: &'static str,
    versions: &'static [(u8, &'static str)],
    depends: &'static str,
    synopsis: &'static str,
    unit: &'static str,
    modules: &'static str,
    words: &'static str,
) -> Package {
    Package {
        full_name,
        synopsis,
        versions,
        depends,
        unit,
        modules,
        words,
    }
}

/// All packages of the demo's repository.
#[rustfmt::skip]
pub(crate) static PACKAGES: &[Package] = &[
    tool("ocaml/base-bigarray", &[(0, "base")], "", "Large arrays, part of the compiler"),
    tool("ocaml/base-threads", &[(0, "base")], "", "Threads, part of the compiler"),
    tool("ocaml/base-unix", &[(0, "base")], "", "System calls, part of the compiler"),
    tool("ocaml/ocaml", &[(0, OF_COMPILER)], "ocaml-config ocaml-base-compiler", "Stands for whichever compiler is installed"),
    tool("ocaml/ocaml-base-compiler", &[(0, OF_COMPILER)], "ocaml-options-vanilla", "The compiler as it was released"),
    tool("ocaml/ocaml-config", &[(0, "2")], "ocaml-base-compiler", "Writes down what the compiler was configured with"),
    tool("ocaml/ocaml-options-vanilla", &[(0, "1")], "", "Makes sure that the compiler has no special options"),
    tool("ocaml/ocaml-src", &[(0, OF_COMPILER)], "", "Sources of the compiler, for cross compilers to start from"),
    tool("mirage/ocaml-solo5", &[(0, SOLO5_OF_COMPILER)], "ocaml ocaml-src solo5 conf-which", "Cross compiler that targets the Solo5 sandbox"),
    tool("solo5/solo5", &[(0, "0.9.0"), (78, "0.9.1")], "conf-libseccomp conf-pkg-config", "Sandboxed execution environment: bindings, tenders and tools"),
    tool("ocaml/conf-libseccomp", &[(0, "1")], "conf-pkg-config", "Checks that the host has libseccomp"),
    tool("ocaml/conf-pkg-config", &[(0, "3"), (46, "4")], "", "Checks that the host has pkg-config"),
    tool("ocaml/conf-which", &[(0, "1")], "", "Checks that the host has which"),
    tool("ocaml/conf-gmp", &[(0, "4"), (46, "5")], "", "Checks that the host has GMP and its headers"),
    tool("ocaml/conf-libev", &[(0, "4-12")], "", "Checks that the host has libev and its headers"),
    tool("ocaml/dune", &[(0, "3.16.0"), (38, "3.17.2"), (73, "3.19.1")], "ocaml base-unix base-threads", "Builds projects described by short files"),
    tool("ocaml/dune-configurator", &[(0, "3.16.0"), (38, "3.17.2"), (73, "3.19.1")], "ocaml dune base-unix csexp", "Finds out about the host while a library is configured"),
    tool("ocaml/csexp", &[(0, "1.5.2")], "dune ocaml", "Reads and writes canonical s-expressions"),
    tool("ocaml/ocamlfind", &[(0, "1.9.6"), (38, "1.9.8")], "ocaml", "Finds installed libraries for compilers and scripts"),
    tool("ocaml/ocamlbuild", &[(0, "0.15.0")], "ocaml", "Builds small projects from rules and tags"),
    tool("dbuenzli/topkg", &[(0, "1.0.7"), (73, "1.0.8")], "ocaml ocamlfind ocamlbuild", "Packages and releases a library the same way every time"),
    tool("mirage/mirage", &[(0, "4.9.0"), (38, "4.10.1")], "ocaml dune astring bos cmdliner emile fmt fpath ipaddr logs opam-monorepo rresult uri", "Configures and assembles unikernels"),
    tool("tarides/opam-monorepo", &[(0, "0.4.1"), (73, "0.4.3")], "ocaml dune", "Locks and fetches the sources of all dependencies side by side"),
    tool("dinosaure/emile", &[(0, "1.1")], "dune ocaml angstrom ipaddr", "Reads mail addresses as the standards have them"),
    tool("dbuenzli/rresult", &[(0, "0.7.0")], "ocaml ocamlfind ocamlbuild topkg", "Names for working with results"),
    tool("ppx/ppx_sexp_conv", &[(0, "v0.16.0"), (46, "v0.17.0")], "ppxlib sexplib0", "Derives conversions to s-expressions"),
    tool("ocaml/seq", &[(0, "base")], "ocaml", "Iterators, part of the compiler since 4.07"),
    tool("ocaml/ocaml-compiler-libs", &[(0, "v0.12.4"), (38, "v0.17.0")], "dune ocaml", "The compiler's own libraries under one roof"),
    tool("ocaml/stdlib-shims", &[(0, "0.3.0")], "dune ocaml", "Backports of young parts of the standard library"),
    tool("ppx/ppx_derivers", &[(0, "1.2.1")], "dune ocaml", "Lets derivers of different families meet"),
    tool("ppx/ppxlib", &[(0, "0.32.1"), (46, "0.35.0")], "dune ocaml ocaml-compiler-libs ppx_derivers sexplib0 stdlib-shims", "Base of the tools that rewrite syntax"),
    tool("fpottier/menhir", &[(0, "20231231"), (73, "20240715")], "dune ocaml menhirSdk", "Turns grammars into parsers"),

    library("dbuenzli/astring", &[(0, "0.8.5")], "ocaml ocamlfind ocamlbuild topkg",
        "Strings and substrings with a comfortable set of functions", "Astring", "Base Char Escape String Substring", "sub span cut field token suffix prefix ascii escape"),
    library("dbuenzli/fmt", &[(0, "0.9.0"), (46, "0.10.0")], "ocaml ocamlfind ocamlbuild topkg",
        "Combinators that print values to formatters", "Fmt", "", "box field list record style span size text dump"),
    library("dbuenzli/fpath", &[(0, "0.7.3")], "ocaml ocamlfind ocamlbuild topkg astring",
        "File paths with volumes and extensions, without touching the disk", "Fpath", "", "segment volume extension base parent path root"),
    library("dbuenzli/bos", &[(0, "0.2.1")], "ocaml ocamlfind ocamlbuild topkg astring fmt fpath logs rresult base-unix",
        "Everyday system tasks: files, commands, environment", "Bos", "Cmd Os_arg Os_cmd Os_dir Os_env Os_file", "file dir command tmp env output status"),
    library("dbuenzli/logs", &[(0, "0.7.0"), (46, "0.8.0")], "ocaml ocamlfind ocamlbuild topkg",
        "Log messages by source and level, reported where the program wishes", "Logs", "Fmt Lwt Cli", "source level tag reporter message error warning"),
    library("dbuenzli/cmdliner", &[(0, "1.3.0"), (46, "2.0.0")], "ocaml",
        "Command lines declared as values, with manual pages for free", "Cmdliner", "Arg Base Cline Cmd Completion Docgen Eval Info Manpage Msg Term Trie", "option argument converter docs alias section value vflag"),
    library("dbuenzli/ptime", &[(0, "1.1.0"), (46, "1.2.0")], "ocaml ocamlfind ocamlbuild topkg",
        "Points in time as days and picoseconds", "Ptime", "Clock", "span date time offset rfc3339 weekday frac"),
    library("dbuenzli/mtime", &[(0, "2.0.0"), (46, "2.1.0")], "ocaml ocamlfind ocamlbuild topkg",
        "A clock that never steps back", "Mtime", "Clock", "span counter elapsed period"),
    library("dbuenzli/uutf", &[(0, "1.0.3")], "ocaml ocamlfind ocamlbuild topkg",
        "Decodes and encodes Unicode without waiting for all of it", "Uutf", "", "malformed newline decoder encoder scalar buffer utf_8 utf_16"),
    library("dbuenzli/jsonm", &[(0, "1.0.2")], "ocaml ocamlfind ocamlbuild topkg uutf",
        "JSON as a stream of lexemes", "Jsonm", "", "lexeme name string object array escape line"),
    library("janestreet/base64", &[(0, "3.5.1")], "dune ocaml",
        "Base64 in its usual and its web alphabet", "Base64", "Rfc2045", "alphabet padding quantum block buffer line"),
    library("janestreet/sexplib0", &[(0, "v0.16.0"), (46, "v0.17.0")], "dune ocaml",
        "The type of s-expressions and little more", "Sexplib0", "Sexp Sexp_conv Sexp_grammar Sexp_conv_error", "atom list conv field record variant grammar"),
    library("janestreet/bigstringaf", &[(0, "0.10.0")], "dune dune-configurator ocaml",
        "Fast blits between strings and large arrays", "Bigstringaf", "", "blit memcmp memchr int16 int32 int64 substring"),
    library("inhabited/angstrom", &[(0, "0.16.0"), (73, "0.16.1")], "dune ocaml bigstringaf",
        "Parsers that wait for input and copy none of it", "Angstrom", "Buffering Exported_state Input Parser", "parser state choice commit consume peek skip lift"),
    library("inhabited/faraday", &[(0, "0.8.2")], "dune ocaml bigstringaf",
        "Serialises into buffers that are flushed when it suits", "Faraday", "", "iovec buffer flush schedule shift bigstring deque"),
    library("mirage/stringext", &[(0, "1.6.0")], "dune ocaml base-bytes",
        "A few more functions on strings", "Stringext", "", "split cut trim suffix chop"),
    tool("ocaml/base-bytes", &[(0, "base")], "ocaml ocamlfind", "Byte strings, part of the compiler"),
    library("mirage/uri", &[(0, "4.4.0")], "dune ocaml stringext angstrom",
        "Parses, resolves and prints addresses of resources", "Uri", "Services Services_full", "path query scheme fragment userinfo authority encode host"),
    library("mirage/ipaddr", &[(0, "5.6.0"), (62, "5.6.1")], "dune ocaml macaddr domain-name stdlib-shims",
        "Internet addresses and prefixes of both families", "Ipaddr", "Sexp", "prefix address octets mask network v4 v6 scope"),
    library("mirage/macaddr", &[(0, "5.6.0"), (62, "5.6.1")], "dune ocaml",
        "Ethernet addresses", "Macaddr", "", "octets broadcast unicast local"),
    library("hannesm/domain-name", &[(0, "0.4.0"), (40, "0.5.0")], "dune ocaml",
        "Domain names that cannot be too long", "Domain_name", "", "label host service subdomain canonical"),
    library("ocsigen/lwt", &[(0, "5.7.0"), (80, "5.9.0")], "dune dune-configurator ocaml ocplib-endian",
        "Promises and what can be done with them", "Lwt", "Condition Mutex Mvar Pool Result Seq Sequence Stream Switch Unix_none", "promise callback waiter cancel resolve join pick bind catch"),
    library("ocamlpro/ocplib-endian", &[(0, "1.2")], "dune ocaml base-bytes",
        "Reads and writes integers of either byte order", "EndianString", "Common Bigstring Bytes", "int8 int16 int32 int64 float swap"),
    library("mirage/cstruct", &[(0, "6.2.0")], "dune ocaml fmt",
        "Views into large arrays as if they were C structures", "Cstruct", "Cap", "buffer uint8 uint16 uint32 uint64 shift blit hexdump sub"),
    library("mirage/mirage-runtime", &[(0, "4.9.0"), (38, "4.10.1")], "dune ocaml ipaddr logs lwt cmdliner",
        "What every unikernel needs while it runs", "Mirage_runtime", "Arg Hook Key Log", "argument hook delay level network exit start"),
    library("mirage/mirage-solo5", &[(0, "0.10.0"), (38, "0.11.1")], "dune ocaml cstruct lwt duration metrics",
        "The event loop on Solo5", "Mirage_solo5", "Main Os_memory Os_time Lifecycle Metrics", "yield timer memory event sleep quick_stat domain"),
    library("mirage/mirage-net-solo5", &[(0, "0.8.1")], "dune ocaml cstruct lwt mirage-net mirage-solo5 logs macaddr",
        "Network devices of Solo5", "Netif", "", "listen frame device stats mtu"),
    library("mirage/mirage-net", &[(0, "4.0.0")], "dune ocaml cstruct lwt macaddr fmt",
        "What a network device can do", "Mirage_net", "Net_stats", "rx tx stats error"),
    library("mirage/mirage-block", &[(0, "3.0.2")], "dune ocaml cstruct lwt fmt",
        "What a block device can do", "Mirage_block", "Combinators", "sector error info read write compare fold"),
    library("mirage/mirage-block-solo5", &[(0, "0.8.2")], "dune ocaml cstruct lwt mirage-block mirage-solo5 logs",
        "Block devices of Solo5", "Block", "", "sector buffer device capacity"),
    library("mirage/mirage-mtime", &[(0, "5.2.0")], "dune ocaml duration mtime", "The unikernel's steady clock", "Mirage_mtime", "", "period elapsed"),
    library("mirage/mirage-ptime", &[(0, "5.2.0")], "dune ocaml ptime", "The unikernel's wall clock", "Mirage_ptime", "", "now offset period"),
    library("mirage/mirage-sleep", &[(0, "4.0.0")], "dune ocaml lwt duration mirage-solo5", "Lets a thread of the unikernel sleep", "Mirage_sleep", "", "ns"),
    library("mirage/mirage-kv", &[(0, "6.1.1")], "dune ocaml fmt lwt ptime optint", "What a store of keys and values can do", "Mirage_kv", "Key", "segment parent basename error value"),
    library("hannesm/duration", &[(0, "0.2.1")], "dune ocaml", "Spans of time in nanoseconds", "Duration", "", "day hour minute sec ms us"),
    library("mirage/metrics", &[(0, "0.4.1")], "dune ocaml fmt", "Collects measurements that a program takes of itself", "Metrics", "Src Tag Graph Cache", "source data field status tag report"),
    library("mirage/metrics-lwt", &[(0, "0.4.1")], "dune ocaml lwt logs metrics", "Measures promises", "Metrics_lwt", "", "periodic run cancel"),
    library("robur/metrics-influx", &[(0, "0.3.0")], "dune ocaml duration fmt lwt metrics mirage-sleep", "Sends measurements as lines a time series database reads", "Metrics_influx", "Line_protocol", "report line escape value timestamp"),
    library("robur/mirage-monitoring", &[(0, "0.0.6"), (52, "0.0.7")], "dune ocaml logs metrics metrics-lwt metrics-influx mirage-solo5 memtrace-mirage tcpip mirage-runtime", "Watches a running unikernel from outside", "Mirage_monitoring", "Handle Adjust", "level source reporter command listener reply"),
    library("robur/memtrace-mirage", &[(0, "0.2.1.2.4")], "dune ocaml cstruct ptime tcpip", "Traces where a unikernel allocates", "Memtrace", "Backtrace_codec Buf Geometric_sampler Trace Tracer", "sample event location callstack encode alloc"),
    library("mirage/mirage-logs", &[(0, "2.1.0"), (46, "3.0.0")], "dune ocaml logs lwt mirage-ptime ptime", "Log messages with a date, and the last of them when things go wrong", "Mirage_logs", "", "ring reporter buffer threshold"),
    library("mirage/ethernet", &[(0, "3.2.0")], "dune ocaml cstruct lwt logs macaddr mirage-net", "Frames on the wire", "Ethernet", "Packet Unmarshal", "frame ethertype write mac input"),
    library("mirage/arp", &[(0, "4.0.0"), (62, "4.1.0")], "dune ocaml cstruct ethernet ipaddr logs lwt macaddr mirage-sleep duration", "Finds out who has which address", "Arp", "Handler Packet Mirage", "alias entry static query tick reply request"),
    library("mirage/tcpip", &[(0, "8.2.0"), (62, "9.0.0")], "dune ocaml arp cstruct duration ethernet fmt ipaddr logs lru lwt macaddr metrics mirage-mtime mirage-net mirage-runtime mirage-sleep randomconv",
        "Internet protocols in OCaml, from fragments to streams", "Tcpip", "Ack Checksum Flow Fragments Icmpv4 Ipv4 Ipv4_common Ndpv6 Options Segment Sequence State Static_ipv4 Tcptimer Udp User_buffer Window Wire", "segment window ack retransmit timer state option header checksum route neighbour fragment syn fin"),
    library("mirage/randomconv", &[(0, "0.2.0")], "dune ocaml", "Turns random bytes into random numbers", "Randomconv", "", "int int32 float bits"),
    library("pqwy/lru", &[(0, "0.3.1")], "dune ocaml psq", "A map that forgets what was not used for long", "Lru", "", "promote trim weight capacity"),
    library("pqwy/psq", &[(0, "0.2.1")], "dune ocaml seq", "Priority search queues", "Psq", "", "tourn winner play loser balance"),
    library("mirage/optint", &[(0, "0.3.0")], "dune ocaml", "Integers as wide as the machine allows", "Optint", "Int63_native", "shift unsigned encode sub"),
    library("mirage/eqaf", &[(0, "0.10")], "dune ocaml", "Compares secrets without telling how much was equal", "Eqaf", "Bigstring Cstruct", "compare select divmod ascii find hex"),
    library("mirage/digestif", &[(0, "1.2.0"), (80, "1.3.0")], "dune ocaml eqaf", "Many hash functions under one roof", "Digestif", "Bi Blake2b Conv Hash Native Sha1 Sha256 Sha512", "hmac digest feed block init finalize"),
    library("robur/ohex", &[(0, "0.2.0")], "dune ocaml", "Hexadecimal there and back", "Ohex", "", "digit skip decode encode"),
    library("robur/kdf", &[(0, "1.0.0")], "dune ocaml digestif mirage-crypto", "Stretches passwords and derives keys", "Kdf", "Hkdf Pbkdf Scrypt", "expand extract block salsa mix"),
    library("mirage/mirage-crypto", &[(0, "1.1.0"), (24, "1.2.0")], "dune dune-configurator ocaml eqaf",
        "Ciphers, with the fast paths in C", "Mirage_crypto", "Aead Ccm Chacha20 Cipher_block Cipher_stream Native Poly1305 Uncommon", "block key counter nonce tag xor cipher gcm ghash"),
    library("mirage/mirage-crypto-rng", &[(0, "1.1.0"), (24, "1.2.0")], "dune ocaml duration logs mirage-crypto digestif mtime",
        "Random numbers that are fed from many sources", "Mirage_crypto_rng", "Entropy Fortuna Hmac_drbg Rng", "pool seed reseed accumulate generator entropy source"),
    library("mirage/mirage-crypto-pk", &[(0, "1.1.0"), (24, "1.2.0")], "dune ocaml mirage-crypto mirage-crypto-rng zarith digestif eqaf",
        "Keys of two halves", "Mirage_crypto_pk", "Dh Dsa Rsa Z_extra", "priv pub sign verify modulus prime exponent padding"),
    library("mirage/mirage-crypto-ec", &[(0, "1.1.0"), (24, "1.2.0")], "dune dune-configurator ocaml eqaf mirage-crypto-rng digestif",
        "Elliptic curves with arithmetic that is proved right", "Mirage_crypto_ec", "", "point scalar field mult order inverse ecdsa x25519 ed25519"),
    library("ocaml/zarith", &[(0, "1.13"), (57, "1.14")], "ocaml ocamlfind conf-gmp", "Integers without an upper bound", "Z", "Q Big_int_Z", "div rem gcd powm bits shift sqrt"),
    library("mirleft/asn1-combinators", &[(0, "0.3.2")], "dune ocaml ptime", "Describes ASN.1 once, to read and to write it", "Asn", "Ber_der_reader Core Oid Prim Writer", "tag sequence choice implicit explicit integer octet header"),
    library("mirleft/x509", &[(0, "1.0.5"), (24, "1.0.6")], "dune ocaml asn1-combinators base64 domain-name fmt gmap ipaddr kdf logs mirage-crypto mirage-crypto-ec mirage-crypto-pk ohex ptime",
        "Certificates, requests and who to believe", "X509", "Algorithm Authenticator Certificate Crl Distinguished_name Extension General_name Ocsp P12 Pem Private_key Public_key Signing_request Validation", "chain signature issuer subject revoked trust extension fingerprint anchor"),
    library("hannesm/gmap", &[(0, "0.3.0")], "dune ocaml", "Maps whose keys know the type of their values", "Gmap", "", "binding key union merge"),
    library("mirleft/tls", &[(0, "1.0.4"), (24, "2.0.0"), (91, "2.0.1")], "dune ocaml asn1-combinators digestif domain-name fmt ipaddr kdf logs mirage-crypto mirage-crypto-ec mirage-crypto-pk mirage-crypto-rng ohex x509",
        "Transport security in OCaml, without surprises", "Tls", "Ciphersuite Config Core Crypto Engine Handshake_client Handshake_client13 Handshake_common Handshake_crypto13 Handshake_server Handshake_server13 Packet Reader State Tracing Utils Writer", "packet record handshake alert hello extension finished secret certificate session ticket version share"),
    library("mirleft/tls-mirage", &[(0, "1.0.4"), (24, "2.0.0"), (91, "2.0.1")], "dune ocaml cstruct fmt lwt mirage-kv tls tcpip", "Secured flows for unikernels", "Tls_mirage", "", "flow renegotiate handshake reader writer shutdown"),
    library("mirleft/tls-lwt", &[(0, "1.0.4"), (24, "2.0.0"), (91, "2.0.1")], "dune ocaml lwt tls x509 mirage-crypto-rng", "Secured sockets for programs on a system", "Tls_lwt", "Unix_io X509_lwt", "channel socket accept connect writer"),
    library("mirage/ca-certs-nss", &[(0, "3.101"), (62, "3.107")], "dune ocaml digestif mirage-ptime x509", "The certificates a browser trusts", "Ca_certs_nss", "Trust_anchor", "anchor authenticator decode"),
    library("robur/dns", &[(0, "9.0.1"), (30, "9.1.0"), (40, "10.0.0")], "dune ocaml base64 domain-name duration gmap ipaddr logs lru metrics ohex ptime",
        "The names of the internet: records, packets, caches", "Dns", "Cache Class Name Opcode Packet Rcode Rr_map Trie Tsig Zone", "record question answer label ttl zone soa glue rrset edns compress"),
    library("robur/dns-server", &[(0, "9.0.1"), (30, "9.1.0"), (40, "10.0.0")], "dune ocaml dns digestif lwt randomconv duration", "Answers for zones it was given", "Dns_server", "Authentication Primary Secondary", "zone notify axfr ixfr update policy nsupdate"),
    library("robur/dns-resolver", &[(0, "9.0.1"), (30, "9.1.0"), (40, "10.0.0")], "dune ocaml dns dns-server dnssec tls randomconv lru", "Asks its way from the root downwards", "Dns_resolver", "Cache Entry Mirage Root Utils", "query zone referral pending timeout resolve validate"),
    library("robur/dnssec", &[(0, "9.0.1"), (30, "9.1.0"), (40, "10.0.0")], "dune ocaml dns mirage-crypto-ec mirage-crypto-pk asn1-combinators", "Checks signatures on names", "Dnssec", "", "rrsig dnskey nsec nsec3 digest validate wildcard"),
    library("robur/dns-client", &[(0, "9.0.1"), (30, "9.1.0"), (40, "10.0.0")], "dune ocaml dns happy-eyeballs ca-certs-nss tls-mirage randomconv", "Asks a resolver", "Dns_client", "Mirage Pure", "nameserver query transport followup context"),
    library("robur/happy-eyeballs", &[(0, "1.2.2"), (46, "2.0.1")], "dune ocaml domain-name duration ipaddr fmt", "Connects over whichever address answers first", "Happy_eyeballs", "", "attempt delay resolved action expired"),
    library("robur/happy-eyeballs-mirage", &[(0, "1.2.2"), (46, "2.0.1")], "dune ocaml happy-eyeballs tcpip lwt dns-client mirage-sleep", "The same for unikernels", "Happy_eyeballs_mirage", "", "connect timer waiter event"),
    library("robur/h1", &[(0, "0.2.0"), (46, "1.1.0")], "dune ocaml angstrom bigstringaf faraday base64", "One web request after the other", "H1", "Body Headers Message Method Parse Reqd Request Respd Response Serialize Server_connection Status Websocket", "request response header body chunk keepalive upgrade method version"),
    library("robur/paf", &[(0, "0.7.0"), (46, "0.8.0")], "dune ocaml h1 lwt tls-mirage tcpip faraday", "Serves the web over any flow", "Paf", "Mirage Alpn Protocols", "service accept shutdown handler flow"),
    library("dinosaure/decompress", &[(0, "1.5.3"), (57, "1.6.0")], "dune ocaml optint checkseum", "Inflates and deflates", "De", "Gz Lz Lzo Zl", "inflate deflate huffman tree window dist literal queue"),
    library("dinosaure/checkseum", &[(0, "0.5.2")], "dune dune-configurator ocaml optint", "Checksums of three kinds", "Checkseum", "Adler32 Crc24 Crc32", "digest blit fold table"),
    library("dinosaure/carton", &[(0, "0.7.2")], "dune ocaml decompress digestif lwt optint ke bigstringaf", "Packs of objects and the deltas between them", "Carton", "Dec Enc Idx Thin Zh", "object delta offset weight window pack hunk base"),
    library("dinosaure/ke", &[(0, "0.6")], "dune ocaml", "Queues of fixed size", "Ke", "Fke Rke Weighted", "push pop peek shift blit"),
    library("mirage/git", &[(0, "3.16.1"), (57, "3.18.0")], "dune ocaml angstrom carton decompress digestif domain-name fmt fpath logs lwt optint uri psq", "Repositories without a disk", "Git", "Blob Commit Fetch Hash Loose Mem Negotiator Packed_refs Pull Push Reference Sync Tag Tree User", "object reference commit tree blob capability want have negotiate"),
    library("robur/git-kv", &[(0, "0.1.0"), (57, "0.2.0")], "dune ocaml git mirage-kv ptime lwt base64", "A store of keys and values kept in a repository", "Git_kv", "", "branch change remote pull key author"),
    library("dinosaure/multipart_form", &[(0, "0.6.0")], "dune ocaml angstrom base64 ke uutf", "What browsers send from forms", "Multipart_form", "Content_disposition Content_type Field Header Quoted_printable", "part boundary header encoding disposition"),
    library("hannesm/syslog-message", &[(0, "1.2.0")], "dune ocaml ptime", "Log messages as other machines read them", "Syslog_message", "", "facility severity header decode"),
    library("hannesm/logs-syslog", &[(0, "0.4.0")], "dune ocaml logs syslog-message ptime lwt tcpip ipaddr", "Sends log messages to another machine", "Logs_syslog", "Mirage Framing", "udp tcp frame facility queue"),
    library("hannesm/ntp-client", &[(0, "0.1.0"), (62, "0.2.0")], "dune ocaml cstruct tcpip lwt logs ptime duration randomconv", "Asks what time it is", "Ntp_client", "Packet Filter Select", "stratum offset dispersion poll peer jitter delay root"),
    library("ocaml-community/yojson", &[(0, "2.1.2"), (50, "2.2.2")], "dune ocaml seq", "JSON as ordinary values", "Yojson", "Basic Common Raw Safe Util", "assoc member string number lexer escape write"),
    library("ocaml/re", &[(0, "1.11.0"), (50, "1.12.0")], "dune ocaml seq", "Regular expressions that do not go astray", "Re", "Automata Category Color_map Core Cset Emacs Glob Group Pcre Perl Posix Str View", "state mark charset group split replace match color"),
    library("dinosaure/hxd", &[(0, "0.3.2")], "dune ocaml", "Shows bytes to people", "Hxd", "Fmt String", "line column caml color"),
    library("backtracking/ocamlgraph", &[(0, "2.1.0")], "dune ocaml stdlib-shims", "Graphs and what is computed on them", "Graph", "Blocks Builder Components Dominator Dot_parser Flow Fixpoint Imperative Kruskal Oper Path Persistent Topological Traverse WeakTopological", "vertex edge succ pred path component flow label"),
    library("fpottier/menhirSdk", &[(0, "20231231"), (73, "20240715")], "dune ocaml", "Reads the automata a parser generator made", "MenhirSdk", "Cmly_format Cmly_read", "production item state action"),
    library("fpottier/menhirLib", &[(0, "20231231"), (73, "20240715")], "dune ocaml", "What generated parsers need while they run", "MenhirLib", "Convert Engine General IncrementalEngine LinearizedArray PackedIntArray Printers TableInterpreter", "action reduce shift goto semantic stack error"),
    library("ocaml-community/csv", &[(0, "2.4")], "dune ocaml base-bytes", "Tables as text", "Csv", "Memory Row", "row field quote separator column transpose"),
    library("ocaml/timedesc", &[(0, "3.1.0")], "dune ocaml ptime seq tzlocal", "Dates in all zones of the world", "Timedesc", "Date Span Time Time_zone Timestamp Utils Zoneless", "offset zone local date iso week leap ordinal"),
    library("ocaml/tzlocal", &[(0, "3.1.0")], "dune ocaml", "Which zone is here", "Timedesc_tzlocal", "", "candidate zone"),
    library("ocaml/notty", &[(0, "0.2.3")], "dune ocaml uutf", "Draws on terminals", "Notty", "Unescape Uucp_compat Unix_term", "image attr cell render cursor escape"),
    library("ocaml/llvm-lite", &[(0, "17.0.6"), (73, "18.1.8")], "dune dune-configurator ocaml", "Bindings to a compiler's back end", "Llvm_lite", "Analysis Bitwriter Builder Context Module_ir Pass Target Types", "value block instruction builder type constant global pass operand"),
    library("backtracking/dolmen", &[(0, "0.9"), (50, "0.10")], "dune ocaml fmt hmap menhirLib ppx_sexp_conv", "Reads problems for provers in all their dialects", "Dolmen", "Ae Dimacs Expr Lexer Maps Parser Smtlib2 Std Term Tptp Type Zf", "term symbol sort binder clause statement scope infer"),
    library("dbuenzli/hmap", &[(0, "0.8.1")], "ocaml ocamlfind ocamlbuild topkg", "Maps with values of any type", "Hmap", "", "key binding filter"),
];

#[cfg(test)]
mod tests {
    use super::{PACKAGES, package};

    #[test]
    fn every_dependency_is_in_the_repository_once() {
        for of in PACKAGES {
            for name in of.depends() {
                assert!(package(name).is_some(), "{} depends on {name}", of.name());
            }
            let same = PACKAGES.iter().filter(|other| other.name() == of.name());
            assert_eq!(same.count(), 1, "{}", of.name());
        }
    }
}
