//! The lines that the OCaml server sent with `--influx`, under its names and in its units, so that panels
//! made for it go on: `http_response`, `resource_usage` and `kinfo_mem`. What this system does not tell of a
//! process is left out of a line: a 0 would be believed. Knows text and `/proc`, and no collector.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

/// Ticks of a second in `/proc`, whatever the kernel's own are.
const TICKS: f64 = 100.0;
/// Bytes of a block, by which input and output are counted.
const BLOCK_BYTES: u64 = 512;
/// What Linux leaves 0 in what `getrusage` tells.
const ALWAYS_ZERO: [&str; 7] = [
    "ixrss", "idrss", "isrss", "nswap", "msgsnd", "msgrcv", "nsignals",
];

/// All of them: `tags` after the name, `at` at the end; `text` is what Prometheus would be told.
pub(super) fn lines(text: &str, tags: &str, at: i128) -> String {
    let mut lines = String::new();
    let read = |name: &str| fs::read_to_string(format!("/proc/{name}")).unwrap_or_default();
    let stat = Stat::parse(&read("self/stat"));
    let usage = resource_usage(&stat, &read("self/status"), &read("self/io"));
    let memory = kinfo_mem(&stat, &read("self/statm"), &read("uptime"));
    for (name, fields) in [
        ("http_response", http_response(text)),
        ("resource_usage", usage),
        ("kinfo_mem", memory),
    ] {
        // A line without fields is none.
        if !fields.is_empty() {
            // OK because a String takes all that is written to it.
            let _: std::fmt::Result = writeln!(lines, "{name},{tags} {} {at}", fields.join(","));
        }
    }
    lines
}

/// Answers by the first digit of their status, and all of them.
fn http_response(text: &str) -> Vec<String> {
    let mut classes: BTreeMap<char, u64> = BTreeMap::new();
    for line in text.lines() {
        let Some(labels) = line.strip_prefix("builder_web_http_requests_total{") else {
            continue;
        };
        let class = labels
            .rsplit_once("status=\"")
            .and_then(|(_, status)| status.chars().next());
        let count = line
            .rsplit_once(' ')
            .and_then(|(_, count)| count.parse::<u64>().ok());
        if let (Some(class), Some(count)) = (class, count) {
            *classes.entry(class).or_default() += count;
        }
    }
    let total: u64 = classes.values().sum();
    let mut fields = vec![format!("total={total}i")];
    fields.extend(
        classes
            .iter()
            .map(|(class, count)| format!("{class}xx={count}i")),
    );
    fields
}

/// Of `/proc/self/stat`, as far as it could be read.
#[derive(Debug, Default)]
struct Stat {
    minor_faults: Option<u64>,
    major_faults: Option<u64>,
    user_ticks: Option<u64>,
    system_ticks: Option<u64>,
    start_ticks: Option<u64>,
    virtual_bytes: Option<u64>,
    resident_pages: Option<u64>,
}

impl Stat {
    fn parse(stat: &str) -> Stat {
        // The name of the program, in parentheses, may hold anything.
        let Some((_, after)) = stat.rsplit_once(')') else {
            return Stat::default();
        };
        let all: Vec<&str> = after.split_ascii_whitespace().collect();
        // The first is the third of what proc(5) counts.
        let field = |number: usize| all.get(number - 3)?.parse().ok();
        Stat {
            minor_faults: field(10),
            major_faults: field(12),
            user_ticks: field(14),
            system_ticks: field(15),
            start_ticks: field(22),
            virtual_bytes: field(23),
            resident_pages: field(24),
        }
    }
}

/// The first number after a name at the beginning of a line.
fn named(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

fn whole(name: &str, value: Option<u64>) -> Option<String> {
    value.map(|value| format!("{name}={value}i"))
}

fn seconds(name: &str, ticks: Option<u64>) -> Option<String> {
    ticks.map(|ticks| format!("{name}={}", ticks as f64 / TICKS))
}

/// What `getrusage` tells: times in seconds, memory in KiB, blocks of 512 bytes. Switches between threads
/// are not there: `/proc` tells those of one thread.
fn resource_usage(stat: &Stat, status: &str, io: &str) -> Vec<String> {
    let blocks = |name| named(io, name).map(|bytes| bytes / BLOCK_BYTES);
    let mut fields: Vec<String> = [
        seconds("utime", stat.user_ticks),
        seconds("stime", stat.system_ticks),
        whole("maxrss", named(status, "VmHWM:")),
        whole("minflt", stat.minor_faults),
        // So it is called there.
        whole("maxflt", stat.major_faults),
        whole("inblock", blocks("read_bytes:")),
        whole("outblock", blocks("write_bytes:")),
    ]
    .into_iter()
    .flatten()
    .collect();
    if !fields.is_empty() {
        fields.extend(ALWAYS_ZERO.map(|name| format!("{name}=0i")));
    }
    fields
}

/// Memory: `vsize` in bytes, the others in pages; `runtime` in microseconds, `uptime` in seconds.
fn kinfo_mem(stat: &Stat, statm: &str, uptime: &str) -> Vec<String> {
    let pages = |index| statm.split_ascii_whitespace().nth(index)?.parse().ok();
    let ticks = stat.user_ticks.zip(stat.system_ticks);
    let since_boot = uptime.split_ascii_whitespace().next();
    let since_boot = since_boot.and_then(|uptime| uptime.parse::<f64>().ok());
    let mut fields: Vec<String> = [
        whole("vsize", stat.virtual_bytes),
        whole("rss", stat.resident_pages),
        whole("tsize", pages(3)),
        whole("dsize", pages(5)),
        whole("ssize", pages(5)),
        whole(
            "runtime",
            ticks.map(|(user, system)| (user + system) * 10_000),
        ),
        since_boot
            .zip(stat.start_ticks)
            .map(|(now, start)| format!("uptime={:.2}", now - start as f64 / TICKS)),
    ]
    .into_iter()
    .flatten()
    .collect();
    if !fields.is_empty() {
        // Which Linux does not count.
        fields.push("cow_faults=0i".to_owned());
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "41 (a) b) (c) S 1 41 41 0 -1 4194560 1000 2 7 3 250 50 5 6 20 0 9 0 600 \
                        1048576 77 18446744073709551615 1 1\n";

    #[test]
    fn a_process_is_told_in_the_units_of_the_ocaml_server() {
        let stat = Stat::parse(STAT);
        let status = "Name:\tx\nVmHWM:\t   2048 kB\nVmRSS:\t 1 kB\n";
        let io = "rchar: 9\nread_bytes: 5120\nwrite_bytes: 1024\n";
        assert_eq!(
            resource_usage(&stat, status, io).join(","),
            "utime=2.5,stime=0.5,maxrss=2048i,minflt=1000i,maxflt=7i,inblock=10i,outblock=2i,\
             ixrss=0i,idrss=0i,isrss=0i,nswap=0i,msgsnd=0i,msgrcv=0i,nsignals=0i"
        );
        assert_eq!(
            kinfo_mem(&stat, "256 77 30 400 0 60 0\n", "16.50 1.00\n").join(","),
            "vsize=1048576i,rss=77i,tsize=400i,dsize=60i,ssize=60i,runtime=3000000i,uptime=10.50,\
             cow_faults=0i"
        );
    }

    #[test]
    fn where_nothing_is_told_there_is_no_line() {
        let stat = Stat::parse("nonsense");
        assert!(resource_usage(&stat, "", "").is_empty());
        assert!(kinfo_mem(&stat, "", "").is_empty());
        assert!(kinfo_mem(&Stat::parse("1 (x) S 1"), "x", "x").is_empty());
    }

    #[test]
    fn answers_are_counted_by_the_first_digit() {
        let text = "builder_web_http_requests_total{route=\"/\",status=\"200\"} 3\n\
                    builder_web_http_requests_total{route=\"/\",status=\"404\"} 2\n\
                    builder_web_http_requests_total{route=\"/x status=\\\"\",status=\"201\"} 4\n\
                    builder_web_http_errors_total 9\n";
        assert_eq!(http_response(text).join(","), "total=9i,2xx=7i,4xx=2i");
        assert_eq!(http_response("").join(","), "total=0i");
    }
}
