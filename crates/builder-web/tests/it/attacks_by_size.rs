//! Attacks by size: what is small when it is sent and large when it is looked at, what is nested,
//! what never ends. The real program is watched: it stays small, and goes on answering.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::build::{Build, build, noise, switch};
use crate::carry::empty;
use crate::program::{Process, succeeds};
use crate::server::{Answer, Server, basic, connect, exchange, head, wait_until};

/// What a bomb unpacks to.
const BOMB_BYTES: u64 = 128 * 1024 * 1024;
/// The most memory that the program may have had, where pages take a tenth of it.
const MEMORY_BYTES_MAX: u64 = 190 << 20;

fn zeros(bytes: u64) -> impl Read {
    std::io::repeat(0).take(bytes)
}

/// What packs less than two hundred times, and so is unpacked, to as much as may be.
fn packable() -> Vec<u8> {
    let mut content = vec![1; 59 << 20];
    for (chunk, noise) in content.chunks_mut(200).zip(noise(400_000)) {
        chunk[0] = noise;
    }
    content
}

fn gzip(content: &mut dyn Read) -> Vec<u8> {
    let level = flate2::Compression::best();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), level);
    std::io::copy(content, &mut packed).unwrap();
    packed.finish().unwrap()
}

fn tar(name: &str, size: u64, content: &mut dyn Read) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(0o644);
    let mut tar = tar::Builder::new(Vec::new());
    tar.append_data(&mut header, name, content).unwrap();
    tar.into_inner().unwrap()
}

/// A file of that many zeros, packed by a program that people have.
fn packed_by(program: &[&str]) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let file = fs::File::create(directory.path().join("zeros")).unwrap();
    file.set_len(BOMB_BYTES).unwrap();
    succeeds(
        directory.path(),
        program[0],
        &[&program[1..], &["zeros"]].concat(),
    )
}

/// An object file whose debug information unpacks to zeros without end.
fn elf_with_packed_debug_information() -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let bytes = BOMB_BYTES / 4;
    let sections = [".debug_info", ".debug_line", ".debug_str"]
        .map(|name| format!(".section {name},\"\",@progbits\n.zero {bytes}\n"));
    let code = ".globl f\n.type f,@function\nf: ret\n.size f, 1\n";
    fs::write(
        directory.path().join("x.s"),
        format!("{code}{}", sections.concat()),
    )
    .unwrap();
    let arguments = [
        "-Wa,--compress-debug-sections=zlib",
        "-c",
        "x.s",
        "-o",
        "x.o",
    ];
    succeeds(directory.path(), "cc", &arguments);
    fs::read(directory.path().join("x.o")).unwrap()
}

/// An archive in an archive in an archive.
fn nested() -> Vec<u8> {
    let mut inner = noise(1000);
    for depth in 0..64 {
        let size = inner.len() as u64;
        let name = format!("{depth}.tar.gz");
        inner = gzip(&mut &*tar(&name, size, &mut &*inner));
    }
    inner
}

fn memory_bytes_most(process: &Process) -> u64 {
    memory_bytes(process, "VmHWM:")
}

/// What the system says of the memory of a process.
fn memory_bytes(process: &Process, which: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with(which));
    let kib = line.unwrap().split_whitespace().nth(1).unwrap();
    kib.parse::<u64>().unwrap() * 1024
}

fn upload(process: &Process, build: &Build) {
    let exec = build.exec();
    let user = basic(("builder", "pw"));
    let headers = [
        ("authorization", &*user),
        ("content-length", &*exec.len().to_string()),
    ];
    let answer = exchange(process.address, "POST", "/upload", &headers, &exec);
    assert_eq!(answer.status, 201, "{}", answer.text());
}

#[test]
fn a_decompression_bomb_in_any_format_neither_fills_the_memory_nor_stops_the_server() {
    let bombs = [
        ("gzip", "x.gz", gzip(&mut zeros(BOMB_BYTES))),
        (
            "tar in gzip",
            "x.tar.gz",
            gzip(&mut &*tar(
                "zeros",
                BOMB_BYTES / 4,
                &mut zeros(BOMB_BYTES / 4),
            )),
        ),
        (
            "zstd",
            "x.zst",
            zstd::encode_all(zeros(BOMB_BYTES), 1).unwrap(),
        ),
        ("xz", "x.xz", packed_by(&["xz", "-0", "-c"])),
        ("packable by gzip", "y.gz", gzip(&mut &*packable())),
        (
            "packable by zstd",
            "y.zst",
            zstd::encode_all(&*packable(), 1).unwrap(),
        ),
        ("archives in archives", "x.tgz", nested()),
        (
            "debug information in ELF",
            "bin/x.o",
            elf_with_packed_debug_information(),
        ),
    ];
    let (_holder, data, _) = empty();
    let process = Process::serve(
        data.as_ref(),
        &["--log-level", "warn,builder_web::cli=info"],
    );
    for (number, (kind, path, bomb)) in (0..).zip(&bombs) {
        let begin = Instant::now();
        let mut other = bomb.clone();
        // Another end, so that there is something to compare.
        let last = other.len() - 1;
        other[last] ^= 1;
        let pair = [(1, bomb), (2, &other)].map(|(side, content)| {
            let file = build("bomb", 10 * number + side)
                .later(i64::try_from(side).unwrap())
                .file("bin/main", "main")
                .file(path, content);
            upload(&process, &file);
            file
        });
        let target = format!(
            "/compare/{}/{}/f?left={path}&right={path}",
            pair[0].uuid, pair[1].uuid
        );
        wait_until(kind, || {
            let accept = [("accept", "application/json")];
            let answer = exchange(process.address, "GET", &target, &accept, b"");
            assert!(
                [200, 202, 503].contains(&answer.status),
                "{kind}: {}",
                answer.text()
            );
            // While it is compared, others are served.
            assert_eq!(exchange(process.address, "GET", "/", &[], b"").status, 200);
            let is_made = answer.status == 200 && !answer.text().contains("under way");
            if !is_made {
                std::thread::sleep(Duration::from_millis(100));
            }
            is_made
        });
        for side in &pair {
            for page in ["", "/viztreemap"] {
                let target = format!("{}{page}", side.url());
                let answer = exchange(process.address, "GET", &target, &[], b"");
                assert!(
                    [200, 404].contains(&answer.status),
                    "{kind}: {target} {}",
                    answer.status
                );
            }
        }
        let most = memory_bytes_most(&process);
        println!(
            "{kind}: {} bytes packed, {:?}, memory {} MiB at most",
            bomb.len(),
            begin.elapsed(),
            most >> 20
        );
        assert!(most < MEMORY_BYTES_MAX, "{kind}: {most} bytes of memory");
    }
    assert!(!process.log().contains("panicked"), "{}", process.log());
}

#[test]
fn an_upload_of_nothing_but_nesting_is_refused_at_once() {
    let server = Server::new();
    for tag in [0xa0, 0x30, 0x0c] {
        // Each level announces what is left.
        let levels = 200_000;
        let mut body = Vec::new();
        for level in 0..levels {
            let left = u32::try_from((levels - level - 1) * 6).unwrap();
            body.extend([tag, 0x84]);
            body.extend(left.to_be_bytes());
        }
        let begin = Instant::now();
        let answer = server.upload_bytes(crate::server::BUILDER, body);
        assert_eq!(answer.status, 400, "{}", answer.text());
        assert!(
            answer.text().starts_with("this is no build: "),
            "{}",
            answer.text()
        );
        assert!(begin.elapsed() < Duration::from_secs(20));
    }
}

#[test]
fn a_switch_of_sixty_thousand_packages_is_taken_in_and_compared_in_time() {
    let server = Server::new();
    let packages: String = (0..60_000)
        .map(|number| format!(" \"p{number}.1\""))
        .collect();
    let large = |number: u128, last: &str| {
        let text = switch("x", "", "s").replacen(
            "installed: [",
            &format!("installed: [{packages} \"{last}\""),
            1,
        );
        assert!((500_000..8_000_000).contains(&text.len()), "{}", text.len());
        build("large", number)
            .file("bin/x", number.to_string())
            .file("opam-switch", text)
    };
    let begin = Instant::now();
    let pair = [large(1, "a.1"), large(2, "a.2")];
    for build in &pair {
        server.keep(build);
        assert_eq!(server.get(&build.url()).status, 200);
    }
    let target = format!("/compare/{}/{}", pair[0].uuid, pair[1].uuid);
    assert_eq!(server.get(&target).status, 200);
    assert!(
        begin.elapsed() < Duration::from_secs(120),
        "{:?}",
        begin.elapsed()
    );
}

#[test]
fn a_client_that_reads_nothing_of_a_large_answer_is_cut_off() {
    let hello = build("hello", 1).file("bin/x", noise(40_000_000));
    let server = Server::with(|config| {
        config.limits.answer_stall_time_max = Duration::from_millis(300);
    });
    server.keep(&hello);
    let address = server.listen();
    let open = || server.app.metrics().connections.get();
    let mut all: Vec<_> = ["f/bin/x", "all.tar.gz", "exec"]
        .iter()
        .map(|below| {
            let mut stream = connect(address);
            let target = format!("{}/{below}", hello.url());
            stream
                .write_all(head("GET", &target, &[]).as_bytes())
                .unwrap();
            stream
        })
        .collect();
    // It begins to come, and is not taken.
    for stream in &mut all {
        stream.read_exact(&mut [0; 100]).unwrap();
    }
    wait_until("all are cut off", || open() == 0);
    assert_eq!(exchange(address, "GET", "/healthz", &[], b"").status, 200);
}

#[test]
fn a_client_that_reads_a_large_answer_too_slowly_is_cut_off() {
    const BYTES: usize = 40_000_000;
    let hello = build("hello", 1).file("bin/x", noise(BYTES));
    let server = Server::with(|config| {
        config.limits.answer_stall_time_max = Duration::from_secs(1);
        config.limits.answer_rate_min = 64 * 1024 * 1024;
    });
    server.keep(&hello);
    let address = server.listen();
    let open = || server.app.metrics().connections.get();
    let mut stream = connect(address);
    let target = format!("{}/f/bin/x", hello.url());
    let request = head("GET", &target, &[]);
    stream.write_all(request.as_bytes()).unwrap();
    // Fast enough that something is taken each moment, and too slow.
    let mut some = vec![0; 64 * 1024];
    let mut read = stream.read(&mut some).unwrap();
    while open() > 0 {
        read += stream.read(&mut some).unwrap();
        assert!(read < BYTES, "all of it came");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Sends a byte of `rest` now and then until there is an answer.
fn trickle(mut stream: std::net::TcpStream, rest: &[u8]) -> Answer {
    stream
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    let mut answer = Vec::new();
    for byte in rest {
        let _given_up = stream.write_all(&[*byte]);
        let mut some = [0; 4096];
        match stream.read(&mut some) {
            Ok(0) => break,
            Ok(count) => answer.extend(&some[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
    }
    Answer::parse(&answer, false)
}

#[test]
fn uploaders_that_trickle_give_their_places_to_those_who_wait() {
    let (_holder, data, _) = empty();
    let options = ["--uploads=2", "--uploads-per-user=2", "--idle-timeout=2"];
    let process = Process::serve(Path::new(&data), &options);
    let user = basic(("builder", "pw"));
    let begin = |build: &Build| {
        let (first, rest) = build.exec_before_last_file();
        let length = (first.len() + rest.len()).to_string();
        let headers = [
            ("authorization", user.as_str()),
            ("content-length", length.as_str()),
            ("connection", "close"),
        ];
        let mut stream = connect(process.address);
        let mut request = head("POST", "/upload", &headers).into_bytes();
        request.extend(first);
        stream.write_all(&request).unwrap();
        (stream, rest)
    };
    let slow = [1, 2].map(|number| build("slow", number).file("bin/x", noise(1_000_000)));
    let tricklers = slow.each_ref().map(begin);
    let metrics = || {
        let answer = exchange(process.metrics_address(), "GET", "/metrics", &[], b"");
        answer.text()
    };
    wait_until("both have the places", || {
        metrics().contains("builder_web_uploads_in_progress 2")
    });
    let good = build("good", 3).file("bin/x", "x");
    let answers = std::thread::scope(|scope| {
        let tricklers = tricklers.map(|(stream, rest)| scope.spawn(move || trickle(stream, &rest)));
        let exec = good.exec();
        let length = exec.len().to_string();
        let headers = [
            ("authorization", user.as_str()),
            ("content-length", length.as_str()),
        ];
        let answer = exchange(process.address, "POST", "/upload", &headers, &exec);
        assert_eq!(answer.status, 201, "{}", answer.text());
        tricklers.map(|trickler| trickler.join().unwrap())
    });
    for answer in answers {
        assert_eq!(answer.status, 408, "{}", answer.text());
        let said = answer.text();
        assert!(said.contains("less than 16 KiB a second"), "{said}");
    }
    for build in &slow {
        let answer = exchange(process.address, "GET", &build.url(), &[], b"");
        assert_eq!(answer.status, 404);
    }
}

#[test]
fn a_stranger_who_uploads_without_end_is_read_for_a_moment() {
    const ANNOUNCED: &str = "1000000000";
    let server = Server::with(|config| {
        config.limits.log_in_failures_free = 0;
        config.limits.refused_linger_time = Duration::from_millis(300);
    });
    let address = server.listen();
    let received = || server.app.metrics().traffic.received.get();
    let wrong = basic(("builder", "wrong"));
    // The first is looked at, the second comes too soon after it.
    assert_eq!(
        exchange(
            address,
            "POST",
            "/upload",
            &[("authorization", &wrong)],
            b""
        )
        .status,
        401
    );
    for (authorization, status) in [("", 401), ("Basic nonsense", 401), (&wrong, 429)] {
        let before = received();
        let mut stream = connect(address);
        let headers = [
            ("authorization", authorization),
            ("content-length", ANNOUNCED),
        ];
        let head = head("POST", "/upload", &headers);
        stream.write_all(head.as_bytes()).unwrap();
        // One that reads while it sends.
        let mut reading = stream.try_clone().unwrap();
        let answer = std::thread::spawn(move || {
            let mut begin = [0; 12];
            reading.read_exact(&mut begin).unwrap();
            String::from_utf8_lossy(&begin[9..]).into_owned()
        });
        let chunk = vec![0; 64 * 1024];
        let mut sent = 0;
        let mut result = Ok(());
        while result.is_ok() && sent < 100_000_000 {
            result = stream.write_all(&chunk);
            sent += chunk.len();
        }
        assert!(result.is_err(), "{authorization:?}: all is taken");
        assert_eq!(answer.join().unwrap(), status.to_string());
        let taken = received() - before;
        // And what the socket has taken over already.
        assert!(taken < 2_000_000, "{authorization:?}: {taken} bytes");
    }
}

#[test]
fn clients_that_read_nothing_of_their_downloads_hold_little_memory() {
    const CLIENTS: usize = 250;
    let (_holder, data, _) = empty();
    let process = Process::serve(data.as_ref(), &[]);
    let content = noise(8_000_000);
    let hello = build("hello", 1).file("bin/x", &content);
    upload(&process, &hello);
    let target = format!("{}/f/bin/x", hello.url());
    // It is known to be whole from here on.
    let whole = || exchange(process.address, "GET", &target, &[], b"").body;
    assert!(whole() == content);
    let before = memory_bytes(&process, "VmRSS:");
    let stalled: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let mut stream = connect(process.address);
            let head = head("GET", &target, &[]);
            stream.write_all(head.as_bytes()).unwrap();
            stream.read_exact(&mut [0; 100]).unwrap();
            stream
        })
        .collect();
    // As much as is read ahead is read ahead by now.
    std::thread::sleep(Duration::from_secs(1));
    let held = memory_bytes(&process, "VmRSS:").saturating_sub(before);
    println!("{CLIENTS} clients hold {} MiB", held >> 20);
    // With half a MiB that is read and another one that is sent it would be 250.
    assert!(held < 110 << 20, "{held} bytes");
    // Others are served meanwhile, and get all.
    assert!(whole() == content);
    drop(stalled);
    assert!(whole() == content);
}
