//! `--influx`: every ten seconds all metrics go to a collector as Influx line protocol over TCP, and
//! beside them what the OCaml server sent while it ran on Dream (`former.rs`). Nothing waits for the collector and nothing is kept
//! for it: while it is away, its values are lost.

use std::fmt::Write as _;
use std::io;
use std::str::FromStr;
use std::time::Duration;

use builder_exec::Timestamp;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::{info, warn};

use super::former;
use crate::app::App;

/// Where Telegraf listens, and what the OCaml server took.
const PORT: u16 = 8094;
/// How often metrics are sent: as the OCaml server did.
pub const PERIOD: Duration = Duration::from_secs(10);
/// To connect, and to write.
const TIME_MAX: Duration = Duration::from_secs(5);
/// The tag and its value that the OCaml server put on every line.
const SENDER: &str = "vm=builder-web";

/// Where metrics are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collector {
    host: String,
    port: u16,
}

/// Why a text names no collector.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is no HOST or HOST:PORT")]
pub struct CollectorError(String);

impl FromStr for Collector {
    type Err = CollectorError;

    /// `HOST[:PORT]`; an IPv6 address is in brackets where a port follows.
    fn from_str(text: &str) -> Result<Collector, CollectorError> {
        let wrong = || CollectorError(text.to_owned());
        let (host, port) = if text.parse::<std::net::Ipv6Addr>().is_ok() {
            (text, None)
        } else if let Some(rest) = text.strip_prefix('[') {
            let (host, rest) = rest.split_once(']').ok_or_else(wrong)?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| wrong())?;
            match rest {
                "" => (host, None),
                rest => (host, Some(rest.strip_prefix(':').ok_or_else(wrong)?)),
            }
        } else {
            match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            }
        };
        let plain = |char: char| char.is_ascii_alphanumeric() || ".-_:".contains(char);
        if host.is_empty() || !host.chars().all(plain) {
            return Err(wrong());
        }
        Ok(Collector {
            host: host.to_owned(),
            port: match port {
                Some(port) => port.parse().map_err(|_| wrong())?,
                None => PORT,
            },
        })
    }
}

impl std::fmt::Display for Collector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Sends once a period for as long as the server runs.
pub async fn send(app: App, to: Collector, period: Duration) {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut connection: Option<TcpStream> = None;
    // Said once each time it changes.
    let mut reached: Option<bool> = None;
    loop {
        ticks.tick().await;
        let text = super::text(&app).await;
        let at = nanoseconds(app.now());
        let lines = lines(&text, at) + &former::lines(&text, SENDER, at);
        let sent = timeout(TIME_MAX, write(&mut connection, &to, &lines)).await;
        let error = match sent {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("nothing was taken for {} s", TIME_MAX.as_secs())),
        };
        if reached != Some(error.is_none()) {
            match &error {
                None => info!("metrics are sent to {to}"),
                Some(error) => warn!(
                    "metrics cannot be sent to {to}: {error}; tried again every {} s",
                    period.as_secs()
                ),
            }
            reached = Some(error.is_none());
        }
        if error.is_some() {
            connection = None;
        }
    }
}

async fn write(connection: &mut Option<TcpStream>, to: &Collector, lines: &str) -> io::Result<()> {
    let stream = match connection {
        Some(stream) => stream,
        None => connection.insert(TcpStream::connect((to.host.as_str(), to.port)).await?),
    };
    stream.write_all(lines.as_bytes()).await
}

/// A time, as line protocol has it.
fn nanoseconds(at: Timestamp) -> i128 {
    i128::from(at.unix_seconds()) * 1_000_000_000 + i128::from(at.picoseconds_of_second() / 1000)
}

/// Prometheus' text as line protocol: a measurement a sample, its labels as tags, its value as the
/// field `value`.
fn lines(text: &str, at: i128) -> String {
    let mut lines = String::new();
    for sample in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((series, value)) = sample.rsplit_once(' ') else {
            continue;
        };
        // Line protocol has no infinities.
        if !value.parse::<f64>().is_ok_and(f64::is_finite) {
            continue;
        }
        let (name, labels) = match series.split_once('{') {
            Some((name, labels)) => (name, labels.strip_suffix('}').unwrap_or(labels)),
            None => (series, ""),
        };
        lines.push_str(name);
        lines.push(',');
        lines.push_str(SENDER);
        tags(labels, &mut lines);
        // OK because a String takes all that is written to it.
        let _: std::fmt::Result = writeln!(lines, " value={value} {at}");
    }
    lines
}

/// `a="x",b="y"` as `,a=x,b=y`. An empty value is none in line protocol.
fn tags(labels: &str, lines: &mut String) {
    let mut rest = labels;
    while let Some((name, quoted)) = rest.split_once("=\"") {
        let mut value = String::new();
        let mut end = quoted.len();
        let mut chars = quoted.char_indices();
        while let Some((at, char)) = chars.next() {
            match char {
                '"' => {
                    end = at + 1;
                    break;
                }
                '\\' => match chars.next() {
                    // A line break ends a line whatever stands before it.
                    Some((_, 'n')) | None => value.push_str("\\ "),
                    Some((_, '\\')) => value.push_str("\\\\"),
                    Some((_, char)) => value.push(char),
                },
                ',' | '=' | ' ' => value.extend(['\\', char]),
                char if char.is_control() => value.push_str("\\ "),
                char => value.push(char),
            }
        }
        // A backslash at the end would take away what ends the tag.
        let value = value.trim_end_matches('\\');
        if !value.is_empty() {
            lines.push(',');
            lines.push_str(name.trim_start_matches(','));
            lines.push('=');
            lines.push_str(value);
        }
        rest = quoted.get(end..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_is_a_host_with_a_port_or_telegrafs() {
        let of = |text: &str| text.parse::<Collector>().map(|to| to.to_string());
        assert_eq!(of("10.0.0.1").as_deref(), Ok("10.0.0.1:8094"));
        assert_eq!(of("10.0.0.1:99").as_deref(), Ok("10.0.0.1:99"));
        assert_eq!(of("stats.example:99").as_deref(), Ok("stats.example:99"));
        assert_eq!(of("::1").as_deref(), Ok("::1:8094"));
        assert_eq!(of("[::1]:99").as_deref(), Ok("::1:99"));
        for wrong in ["", ":99", "a:b", "a:99999", "[x]:1", "a b", "http://x"] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn samples_become_lines_with_tags_whatever_is_in_a_label() {
        let text = "# HELP x_total y\n# TYPE x_total counter\nx_total 1\n\
                    y_bucket{le=\"+Inf\",route=\"/job/{job}\"} 2.5\n\
                    z{job=\"a b,c=d\\\"e\\\\f\\ng\",platform=\"\"} 3\nw NaN\n";
        assert_eq!(
            lines(text, nanoseconds(Timestamp::from_unix(1, 5).unwrap())),
            "x_total,vm=builder-web value=1 1000000005\n\
             y_bucket,vm=builder-web,le=+Inf,route=/job/{job} value=2.5 1000000005\n\
             z,vm=builder-web,job=a\\ b\\,c\\=d\"e\\\\f\\ g value=3 1000000005\n"
        );
    }
}
