//! What the builds' scripts are and what they print.

use crate::host::Platform;
use crate::jobs::Kind;
use crate::seed::Seed;
use crate::sources::Sources;
use crate::story::{Failure, Outcome, Plan, Uploader};

/// Lines with the nanoseconds since the start, oldest first, and how long it all took.
pub(crate) struct Console {
    pub(crate) lines: Vec<(i64, Vec<u8>)>,
    pub(crate) duration_ns: i64,
}

/// The script of a job on a platform.
pub(crate) fn script(plan: &Plan, epoch: i64) -> String {
    let name = plan.job.name;
    match plan.job.kind {
        Kind::Script => NIGHTLY_LINKS.to_owned(),
        Kind::Unikernel { .. } | Kind::SystemPackage => {
            let install = match plan.platform.is_debian() {
                true => {
                    "export DEBIAN_FRONTEND=noninteractive\nsudo apt-get update\nsudo apt-get install -y orb"
                }
                false => "export ASSUME_ALWAYS_YES=yes\npkg update\npkg install orb",
            };
            let lines = [
                "#!/bin/sh",
                "",
                "# Builds one opam package and leaves what it installs in the current directory.",
                "",
                "set -ex",
                "",
                &format!("PACKAGE={name}"),
                "",
                install,
                "",
                "opam init --bare --no-setup --disable-sandboxing",
                "orb build \\",
                "  --repos=default:https://opam.example.org,harbour:git+https://code.example.org/harbour/opam-overlays.git \\",
                &format!("  --switch-name=/tmp/myswitch --date={epoch} --out=. \"$PACKAGE\""),
                "",
            ];
            lines.join("\n")
        }
    }
}

const NIGHTLY_LINKS: &str = r##"#!/bin/sh

# Looks at every link of our pages. No opam here: what is in bin/ is the result.

set -eu

SITES="www docs blog status"
mkdir -p bin report

for site in $SITES; do
  echo "== $site"
  curl -fsSL --max-time 20 "https://$site.harbour.example/sitemap.txt" > "report/$site.txt"
done

sort -u report/*.txt | check-links --jobs 8 --csv report/links.csv
summarise report/links.csv > bin/link-report.txt
"##;

/// What a build prints.
pub(crate) fn console(plan: &Plan, sources: &Sources, epoch: i64) -> Console {
    let mut teller = Teller::new(plan);
    match plan.job.kind {
        Kind::Script => teller.look_at_links(plan),
        Kind::Unikernel { .. } | Kind::SystemPackage => teller.build(plan, sources, epoch),
    }
    teller.pause(300, 900);
    Console {
        duration_ns: teller.clock_ns,
        lines: teller.lines,
    }
}

struct Teller {
    lines: Vec<(i64, Vec<u8>)>,
    clock_ns: i64,
    seed: Seed,
    colours: bool,
    /// How long this host takes, in percent.
    slowness: u64,
}

/// The script ended; nothing more is printed.
struct Ended;

impl Teller {
    fn new(plan: &Plan) -> Teller {
        let words = [
            plan.job.name,
            plan.platform.name(),
            &plan.day.to_string(),
            &plan.minute_of_day.to_string(),
        ];
        let mut seed = Seed::of(&words);
        let slowness = match (plan.uploader, plan.platform) {
            (Uploader::Rebuilder, _) => 135,
            (Uploader::Builder, Platform::FreeBsd14) => 118,
            // The worker got a faster disk on day 61.
            (Uploader::Builder, _) if plan.day < 61 => 100,
            (Uploader::Builder, _) => 82,
        } + seed.below(9);
        let colours = plan.platform.is_debian() && plan.uploader == Uploader::Builder;
        Teller {
            lines: Vec::new(),
            clock_ns: 0,
            seed,
            colours,
            slowness,
        }
    }

    fn pause(&mut self, least_ms: u64, most_ms: u64) {
        let ms = (least_ms + self.seed.below(most_ms.saturating_sub(least_ms) + 1)) * self.slowness
            / 100;
        let ns = ms * 1_000_000 + self.seed.below(1_000_000);
        self.clock_ns += i64::try_from(ns).unwrap_or(0);
    }

    fn say(&mut self, text: impl AsRef<str>) {
        self.pause(1, 30);
        self.lines
            .push((self.clock_ns, text.as_ref().as_bytes().to_vec()));
    }

    fn say_all(&mut self, text: &str) {
        for line in text.lines() {
            self.say(line);
        }
    }

    fn after(&mut self, least_ms: u64, most_ms: u64, text: impl AsRef<str>) {
        self.pause(least_ms, most_ms);
        self.say(text);
    }

    fn coloured(&self, colour: u8, text: &str) -> String {
        match self.colours {
            true => format!("\x1b[{colour}m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }

    fn heading(&mut self, text: &str) {
        let line = format!("{text:─<78}");
        self.say("");
        let line = self.coloured(36, &format!("<><> {line}"));
        self.say(line);
    }

    fn build(&mut self, plan: &Plan, sources: &Sources, epoch: i64) {
        // The result of a step that ended the script is not needed: what it printed is.
        let _ = self.build_steps(plan, sources, epoch);
    }

    fn build_steps(&mut self, plan: &Plan, sources: &Sources, epoch: i64) -> Result<(), Ended> {
        self.prepare_host(plan)?;
        self.init_opam(plan, epoch);
        self.fetch(plan, sources)?;
        self.install(plan, sources)?;
        match plan.job.kind {
            Kind::Unikernel { target, .. } => self.unikernel(plan, sources, target.as_str())?,
            Kind::SystemPackage | Kind::Script => self.system_package(plan, sources)?,
        }
        let switch = sources.installed.len() + 1;
        let done = self.coloured(32, "done");
        self.after(
            400,
            900,
            format!("orb: recorded {switch} packages in opam-switch"),
        );
        self.say("orb: recorded the environment in build-environment");
        self.say("orb: recorded the host's packages in system-packages");
        self.say(format!("orb: {done}, see {}.build-hashes", plan.job.name));
        Ok(())
    }

    fn prepare_host(&mut self, plan: &Plan) -> Result<(), Ended> {
        self.say(format!("+ PACKAGE={}", plan.job.name));
        if plan.platform.is_debian() {
            let suite = if plan.platform == Platform::Debian12 {
                "bookworm"
            } else {
                "trixie"
            };
            self.say("+ export DEBIAN_FRONTEND=noninteractive");
            self.say("+ sudo apt-get update");
            for (number, part) in ["", "-updates", "-security"].iter().enumerate() {
                self.after(
                    90,
                    400,
                    format!(
                        "Hit:{} http://deb.example.org/debian {suite}{part} InRelease",
                        number + 1
                    ),
                );
            }
            self.after(800, 1600, "Reading package lists...");
            self.say("+ sudo apt-get install -y orb");
            self.after(400, 700, "Building dependency tree...");
            self.say("Reading state information...");
            self.say("orb is already the newest version (1.0.1).");
            self.say("0 upgraded, 0 newly installed, 0 to remove and 0 not upgraded.");
        } else {
            self.say("+ export ASSUME_ALWAYS_YES=yes");
            self.say("+ pkg update");
            self.after(700, 1500, "Updating FreeBSD repository catalogue...");
            self.after(300, 900, "FreeBSD repository is up to date.");
            self.say("All repositories are up to date.");
            self.say("+ pkg install orb");
            self.after(300, 700, "Checking integrity... done (0 conflicting)");
            self.say("The most recent versions of packages are already installed");
        }
        if plan.outcome == Outcome::Fails(Failure::MissingPackage) {
            return self.missing_package(plan);
        }
        Ok(())
    }

    fn missing_package(&mut self, plan: &Plan) -> Result<(), Ended> {
        let error = self.coloured(31, "[ERROR]");
        self.say("+ opam init --bare --no-setup --disable-sandboxing");
        self.after(
            2000,
            4000,
            "No configuration file found, using built-in defaults.",
        );
        self.say(format!(
            "+ orb build --switch-name=/tmp/myswitch --out=. {}",
            plan.job.name
        ));
        self.after(1500, 2500, "orb: switch /tmp/myswitch created");
        self.say("The following system packages will first need to be installed:");
        if plan.platform.is_debian() {
            self.say("    debhelper");
            self.after(
                100,
                200,
                "+ /usr/bin/sudo \"apt-get\" \"install\" \"-qq\" \"-yy\" \"debhelper\"",
            );
            self.after(900, 1400, "E: Unable to locate package debhelper");
        } else {
            self.say("    libev");
            self.after(100, 200, "+ /usr/sbin/pkg \"install\" \"-y\" \"libev\"");
            self.say("Updating FreeBSD repository catalogue...");
            self.after(900, 1400, "pkg: No packages available to install matching 'libev' have been found in the repositories");
        }
        self.say(format!("{error} System package install failed with exit code 1, the packages are unavailable on this host."));
        self.say("orb: opam could not install the dependencies of the package");
        Err(Ended)
    }

    fn init_opam(&mut self, plan: &Plan, epoch: i64) {
        self.say("+ opam init --bare --no-setup --disable-sandboxing");
        self.after(
            2000,
            4000,
            "No configuration file found, using built-in defaults.",
        );
        self.heading("Fetching repository information ");
        self.after(3000, 9000, "[default] Initialised");
        self.say(format!(
            "+ orb build --switch-name=/tmp/myswitch --date={epoch} --out=. {}",
            plan.job.name
        ));
        self.after(1500, 2500, "orb: switch /tmp/myswitch created");
        self.say(format!("orb: SOURCE_DATE_EPOCH is {epoch}"));
        self.after(4000, 9000, "orb: the solver found a solution");
    }

    fn fetch(&mut self, plan: &Plan, sources: &Sources) -> Result<(), Ended> {
        self.heading("Fetching sources ");
        let down = self.coloured(34, "⬇");
        for (index, (package, version)) in sources.installed.iter().enumerate() {
            let away = plan.outcome == Outcome::Fails(Failure::Network) && index > 27;
            if away && package.has_source() {
                let (name, error) = (package.name(), self.coloured(31, "[ERROR]"));
                self.after(
                    30_000,
                    34_000,
                    format!("[{name}.{version}] retrying: connection timed out"),
                );
                self.after(
                    30_000,
                    34_000,
                    "curl: (6) Could not resolve host: code.example.org",
                );
                self.say(format!(
                    "{error} Failed to get sources of {name}.{version}: curl error code 6"
                ));
                self.say("");
                self.say("#=== ERROR while fetching sources =============================================#");
                self.say(format!("OpamSolution.Fetch_fail(\"https://code.example.org/: Temporary failure in name resolution ({name})\")"));
                self.say("orb: opam install failed with code 40");
                return Err(Ended);
            }
            if package.has_source() {
                let from = if self.seed.one_in(5) {
                    "cached"
                } else {
                    "https://opam.example.org/cache"
                };
                self.after(
                    20,
                    420,
                    format!("{down} retrieved {}.{version}  ({from})", package.name()),
                );
            }
        }
        Ok(())
    }

    fn install(&mut self, plan: &Plan, sources: &Sources) -> Result<(), Ended> {
        self.heading("Processing actions ");
        let installed = self.coloured(32, "∗ installed");
        let count = sources.installed.len();
        for (index, (package, version)) in sources.installed.iter().enumerate() {
            let name = package.name();
            if plan.outcome == Outcome::Fails(Failure::DiskFull) && name == "ocaml-solo5" {
                return self.disk_full(version);
            }
            if plan.outcome == Outcome::WorkerLost && index * 3 > count * 2 {
                self.say(format!(
                    "Processing {index:>3}/{count}: [{name}: dune build]"
                ));
                return Err(Ended);
            }
            match name {
                "ocaml-base-compiler" => {
                    self.after(4000, 6000, "[ocaml-base-compiler: ./configure --prefix=/tmp/myswitch --disable-debug-runtime]");
                    self.after(90_000, 110_000, "[ocaml-base-compiler: make -j4]");
                }
                "ocaml-solo5" => {
                    self.say("[ocaml-solo5: ./configure.sh --prefix=/tmp/myswitch]");
                    self.after(80_000, 96_000, "[ocaml-solo5: make -j4]");
                }
                "dune" => self.pause(21_000, 26_000),
                "llvm-lite" => self.pause(140_000, 180_000),
                "solo5" | "ppxlib" | "menhir" | "zarith" => self.pause(8_000, 14_000),
                _ if package.has_source() => self.pause(900, 4200),
                _ => self.pause(20, 80),
            }
            if self.seed.one_in(9) && package.has_source() {
                self.say(format!(
                    "Processing {:>3}/{count}: [{name}: dune build -p {name} -j 4]",
                    index + 1
                ));
            }
            self.say(format!("{installed} {name}.{version}"));
        }
        Ok(())
    }

    fn disk_full(&mut self, version: &str) -> Result<(), Ended> {
        let error = self.coloured(31, "[ERROR]");
        self.say("[ocaml-solo5: ./configure.sh --prefix=/tmp/myswitch]");
        self.after(4000, 6000, "[ocaml-solo5: make -j4]");
        self.pause(60_000, 70_000);
        self.say(format!(
            "{error} The compilation of ocaml-solo5.{version} failed at \"make -j4\"."
        ));
        self.say("");
        self.say(format!(
            "#=== ERROR while compiling ocaml-solo5.{version} ====================================#"
        ));
        self.say("# path                 /tmp/myswitch/.opam-switch/build/ocaml-solo5");
        self.say("# command              make -j4");
        self.say("# exit-code            2");
        self.say("### output ###");
        self.say("# /usr/bin/ld: final link failed: No space left on device");
        self.say("# collect2: error: ld returned 1 exit status");
        self.say("# make[2]: *** [Makefile:1187: ocamlopt.opt] Error 1");
        self.say("# make: *** [Makefile:61: ocaml] Error 2");
        self.say("cp: error writing './build-environment': No space left on device");
        self.say("orb: opam install failed with code 31");
        Err(Ended)
    }

    fn unikernel(&mut self, plan: &Plan, sources: &Sources, target: &str) -> Result<(), Ended> {
        let name = plan.job.name;
        self.heading("Configuring the unikernel ");
        self.say(format!(
            "+ sh -exc mirage configure -t {target} --no-extra-repo"
        ));
        self.after(
            2500,
            5000,
            format!("Successfully configured the {target} target for {name}."),
        );
        self.say("+ make lock depext-lockfile pull");
        self.after(
            6000,
            14_000,
            "==> Using 1 locally scanned package as the target.",
        );
        self.say(format!(
            "==> Found {} opam dependencies for the target package.",
            sources.duniverse.len() + 9
        ));
        self.say("==> Querying opam database for their metadata and Dune compatibility.");
        self.after(2000, 4000, "==> Calculating exact pins for each of them.");
        self.say(format!(
            "==> Wrote lockfile with {} entries to mirage/{name}-{target}.opam.locked.",
            sources.duniverse.len()
        ));
        for (package, version) in &sources.duniverse {
            self.after(
                40,
                500,
                format!("==> Pulled {} {version} into duniverse/", package.name()),
            );
        }
        self.say(format!(
            "==> Success: pulled {}/{0} repositories",
            sources.duniverse.len()
        ));
        self.heading("Building the unikernel ");
        self.say("+ make build");
        self.say("dune build --profile release --root . dist");
        for (index, (package, _)) in sources.duniverse.iter().enumerate() {
            self.pause(900, 2600);
            if plan.outcome == Outcome::Fails(Failure::CompileError)
                && index + 4 > sources.duniverse.len()
            {
                return self.compile_error(plan, sources);
            }
            if self.seed.one_in(3) {
                self.say(format!(
                    "    ocamlopt duniverse/{0}/{0}.{{a,cmxa}}",
                    package.name()
                ));
            }
            if package.name() == "memtrace-mirage" {
                let warning = self.coloured(35, "Warning 32 [unused-value-declaration]");
                self.say("File \"duniverse/memtrace-mirage/src/backtrace_codec.ml\", line 41, characters 6-16:");
                self.say("41 |   let bucket_max = 1 lsl 12 in");
                self.say("           ^^^^^^^^^^");
                self.say(format!("{warning}: unused value bucket_max."));
            }
        }
        self.after(
            7000,
            12_000,
            format!(
                "    ocamlopt main.exe (link, {} modules)",
                sources.duniverse.len() * 5 + 38
            ),
        );
        self.say(format!(
            "    objcopy --strip-all dist/{name}.{target}.debug dist/{name}.{target}"
        ));
        self.say(format!(
            "+ cp dist/{name}.{target} /tmp/myswitch/bin/{name}.{target}"
        ));
        let installed = self.coloured(32, "∗ installed");
        self.say(format!("{installed} {name}.{}", sources.commit.version));
        self.say("Done.");
        Ok(())
    }

    fn compile_error(&mut self, plan: &Plan, sources: &Sources) -> Result<(), Ended> {
        let name = plan.job.name;
        let here = self.coloured(1, "File \"blocklist.ml\", line 88, characters 31-35:");
        let marks = self.coloured(31, "^^^^");
        let error = self.coloured(31, "Error");
        self.say(here);
        self.say("88 |   | Some (zone, soa) -> Dns_trie.insert zone Soa soa trie");
        self.say(format!("                                    {marks}"));
        self.say(format!(
            "{error}: The value zone has type Dns.Zone.t but an expression was expected of type"
        ));
        self.say("         [ `raw ] Domain_name.t");
        self.say(format!("make: *** [Makefile:22: dist] {error} 1"));
        let tag = self.coloured(31, "[ERROR]");
        self.say(format!(
            "{tag} The compilation of {name}.dev failed at \"sh -exc make build\"."
        ));
        self.say("");
        self.say(format!(
            "#=== ERROR while compiling {name}.dev =========================================#"
        ));
        self.say(format!(
            "# path                 /tmp/myswitch/.opam-switch/build/{name}.dev"
        ));
        self.say(format!("# commit               {}", sources.commit_hash()));
        self.say("# exit-code            2");
        self.heading("Error report ");
        self.say("┌─ The following actions failed");
        self.say(format!("│ λ build {name} dev"));
        self.say("└─");
        self.say("orb: opam install failed with code 31");
        Err(Ended)
    }

    fn system_package(&mut self, plan: &Plan, sources: &Sources) -> Result<(), Ended> {
        let name = plan.job.name;
        self.heading("Building the package ");
        self.say(format!("+ dune build -p {name} -j 4"));
        for unit in plan.job.units.split_whitespace() {
            let (least, most) = if name == "anvil" {
                (42_000, 58_000)
            } else {
                (1500, 4000)
            };
            self.after(
                least,
                most,
                format!(
                    "    ocamlopt .{name}.objs/native/{}.{{cmx,o}}",
                    unit.to_lowercase()
                ),
            );
            if plan.outcome == Outcome::OutOfMemory && unit == "Anvil__Vc" {
                self.after(
                    95_000,
                    130_000,
                    "sh: line 1: 48211 Killed                  ocamlfind ocamlopt -c src/vc.ml",
                );
                self.say("[ 8211.402113] Out of memory: Killed process 48211 (ocamlopt.opt) total-vm:9412880kB, anon-rss:7721004kB");
                return Err(Ended);
            }
        }
        if plan.outcome == Outcome::TimesOut {
            self.say("+ dune test -p anvil -j 4");
            for round in 1..=40 {
                self.after(60_000, 66_000, format!("  proving the examples, round {round}: 112 of 120 goals, 8 time out, trying harder"));
            }
            return Err(Ended);
        }
        self.after(4000, 9000, "    ocamlopt bin/main.exe (link)");
        if plan.platform.is_debian() {
            self.say("+ sh -exc packaging/debian/create_package.sh");
            self.say(format!(
                "dpkg-deb: building package '{name}' in '{name}.deb'."
            ));
        } else {
            self.say("+ sh -exc packaging/FreeBSD/create_package.sh");
            self.after(
                500,
                900,
                format!("pkg create -M +MANIFEST -r rootdir -o . : {name}.pkg"),
            );
        }
        let installed = self.coloured(32, "∗ installed");
        self.say(format!("{installed} {name}.{}", sources.commit.version));
        self.say("Done.");
        Ok(())
    }

    fn look_at_links(&mut self, plan: &Plan) {
        for site in ["www", "docs", "blog", "status"] {
            self.after(200, 900, format!("== {site}"));
        }
        for number in 1..=26 {
            let tag = if number % 9 == 0 { "moved" } else { "fine" };
            self.after(
                300,
                1400,
                format!("{tag:>6}  https://docs.harbour.example/guide/chapter-{number}"),
            );
        }
        match plan.outcome {
            Outcome::Succeeds => self.after(900, 1500, "412 links: 409 fine, 3 moved, 0 dead"),
            _ => self.say_all(
                "curl: (28) Operation timed out after 20001 milliseconds with 0 bytes received\n\
                 check-links: https://blog.harbour.example/2019/first-post: dead\n\
                 check-links: 1 of 412 links is dead",
            ),
        }
    }
}
