//! The READMEs of the jobs, and what the plain script leaves behind.

use crate::jobs::Kind;
use crate::seed::Seed;
use crate::sources::Sources;

/// The README a package installs. Lantern's shows what a README can.
pub(crate) fn readme(sources: &Sources) -> String {
    let job = sources.job;
    if job.name == "lantern" {
        return LANTERN
            .replace("COMPILER", sources.commit.compiler)
            .replace("TLS", sources.version("tls"));
    }
    let usage = match job.kind {
        Kind::Unikernel { devices: [], .. } => format!("solo5-hvt {}.hvt", job.name),
        Kind::Unikernel { .. } => format!(
            "solo5-hvt --net:service=tap100 {} --ipv4=10.0.0.2/24",
            job.name
        ),
        Kind::SystemPackage | Kind::Script => format!("{} --help", job.name),
    };
    format!(
        "# {}\n\n{}.\n\n{}\n\n## How to run it\n\n```sh\n{usage}\n```\n\n## What is new\n\n* {}\n",
        job.name, job.synopsis, job.description, sources.commit.subject
    )
}

const LANTERN: &str = r#"# Lantern

A unikernel that shows a web site out of a git repository. It is *one file*, has **no disk**, and forgets everything
when it stops. ~~It needs a cron job.~~ It asks for changes itself.

> Whoever can build it can check it: the same sources give the same bytes.

## What it needs

| device    | kind | what for                    | optional |
|:----------|:----:|:----------------------------|---------:|
| `service` | net  | the web, and git over https |       no |

| option     | default         | meaning                             |
|:-----------|:----------------|:------------------------------------|
| `--remote` | none, must give | where the pages are, `url#branch`   |
| `--ipv4`   | `10.0.0.2/24`   | address and prefix                  |
| `--hook`   | `/hook`         | fetch again when this is asked for  |
| `--tls`    | `true`          | https on 443, and redirect from 80  |

## Start it

```sh
ip tuntap add tap100 mode tap
ip addr add 10.0.0.1/24 dev tap100
ip link set dev tap100 up

solo5-hvt --mem=64 --net:service=tap100 -- bin/lantern.hvt \
  --remote=https://code.example.org/harbour/pages.git#main
```

Pages are looked up like this, which is all there is to it:

```ocaml
let page store path =
  match Store.get store path with
  | Ok data -> `Page (data, Mime.of_path path)
  | Error `Not_found -> `Redirect (Path.add_slash path)
```

## Plans

- [x] answer HEAD
- [x] keep checksums, answer 304
- [ ] compress once, not at each request
- [ ] more than one branch
  - [x] read them
  - [ ] show them

## How it is built

1. `mirage configure -t hvt`
2. `make lock depext-lockfile pull`
3. `make build`

This build was made with OCaml COMPILER and tls TLS. The [source](https://code.example.org/harbour/lantern) is there,
questions go [here](https://code.example.org/harbour/lantern/issues).[^1]

[^1]: Or to <https://harbour.example/chat>.
"#;

/// The report of the plain script: its main binary is a text.
pub(crate) fn link_report(day: u8) -> (String, String) {
    let mut seed = Seed::of(&["links", &day.to_string()]);
    let mut csv = String::from("url,status,milliseconds\n");
    for number in 1..=412_u32 {
        let site = ["www", "docs", "blog", "status"][usize::try_from(number % 4).unwrap_or(0)];
        let status = if number % 137 == 0 { 301 } else { 200 };
        csv += &format!(
            "https://{site}.harbour.example/page-{number},{status},{}\n",
            20 + seed.below(900)
        );
    }
    let slowest = 850 + seed.below(60);
    (
        format!("links  412\nfine   409\nmoved    3\ndead     0\n\nslowest {slowest} ms\n"),
        csv,
    )
}
