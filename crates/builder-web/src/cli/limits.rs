//! The limits of the server that an operator may set.

use std::num::NonZeroU16;
use std::time::Duration;

use clap::Args;

use crate::config::Limits;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// What is bounded.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub(super) struct LimitArgs {
    /// Largest upload to accept, in MiB
    #[arg(long, default_value_t = 4096, value_name = "MIB")]
    upload_limit: u64,
    /// Memory for pages as they were last shown, in MiB; 0: make every page anew
    #[arg(long, default_value_t = 8, value_name = "MIB")]
    page_cache: u16,
    /// Largest file to compare with another one, in MiB: both are held in memory, twice as much together with what they unpack to [default: 60]
    #[arg(long, value_name = "MIB")]
    compared_file_limit: Option<NonZeroU16>,
    /// Uploads that are written at the same time; others wait [default: 8]
    #[arg(long, value_name = "COUNT")]
    uploads: Option<NonZeroU16>,
    /// Uploads of one user that are written at the same time; the others are for other users [default: three quarters of all]
    #[arg(long, value_name = "COUNT")]
    uploads_per_user: Option<NonZeroU16>,
    /// Dear pages (comparisons, pictures) that are made at the same time; one core is best left for uploads [default: one less than there are cores, at least 2]
    #[arg(long, value_name = "COUNT")]
    dear_pages: Option<NonZeroU16>,
    /// Open connections; more wait to be accepted [default: 1024]
    #[arg(long, value_name = "COUNT")]
    connections: Option<NonZeroU16>,
    /// Open connections from one address that is no trusted proxy; one more is answered 503 [default: 256]
    #[arg(long, value_name = "COUNT")]
    connections_per_address: Option<NonZeroU16>,
    /// Largest head of a request, in KiB, at least 8 [default: 64]
    #[arg(long, value_name = "KIB", value_parser = clap::value_parser!(u16).range(8..=1024))]
    head_limit: Option<u16>,
    /// Seconds in which a client has to send the head of a request [default: 30]
    #[arg(long, value_name = "SECONDS")]
    head_timeout: Option<NonZeroU16>,
    /// Seconds after which an upload that sends nothing, and a client that reads nothing, is given up [default: 120 and 60]
    #[arg(long, value_name = "SECONDS")]
    idle_timeout: Option<NonZeroU16>,
    /// KiB a second that an upload has to keep up, on average over the idle timeout; 0: any byte is enough [default: 16]
    #[arg(long, value_name = "KIB")]
    slowest_upload: Option<u16>,
    /// KiB a second that a client has to read of an answer, on average over the idle timeout; 0: any byte is enough [default: 1]
    #[arg(long, value_name = "KIB")]
    slowest_download: Option<u16>,
    /// Seconds that an upload waits for its turn before it is answered 503 [default: 300]
    #[arg(long, value_name = "SECONDS")]
    upload_wait: Option<NonZeroU16>,
    /// Seconds that a dear page or an archive waits for its turn before it is answered 503 [default: 10]
    #[arg(long, value_name = "SECONDS")]
    page_wait: Option<NonZeroU16>,
    /// Archives of all artifacts of a build that are packed at the same time; others wait [default: 8]
    #[arg(long, value_name = "COUNT")]
    archives: Option<NonZeroU16>,
    /// Comparisons of two files that are made at the same time, each with its memory; others wait [default: 1]
    #[arg(long, value_name = "COUNT")]
    file_comparisons: Option<NonZeroU16>,
    /// Pictures that are drawn at the same time; others wait [default: 2]
    #[arg(long, value_name = "COUNT")]
    drawings: Option<NonZeroU16>,
    /// Largest binary to draw, in MiB: it is held in memory, and those of all drawings at a time have as much together [default: 256]
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u16).range(1..=256))]
    drawn_file_limit: Option<u16>,
    /// Upload hooks that run at the same time; others wait [default: 4]
    #[arg(long, value_name = "COUNT")]
    hooks: Option<NonZeroU16>,
    /// Seconds after which a hook that still runs is killed [default: 3600]
    #[arg(long, value_name = "SECONDS")]
    hook_timeout: Option<NonZeroU16>,
    /// Seconds that requests and hooks have to come to their end when the server is told to stop [default: 900]
    #[arg(long, value_name = "SECONDS")]
    stop_timeout: Option<NonZeroU16>,
    /// Wrong passwords, of an address at a user, that cost nothing [default: 5]
    #[arg(long, value_name = "COUNT")]
    log_in_attempts: Option<NonZeroU16>,
    /// Seconds that the next log-in has to wait; each further wrong password doubles it [default: 1]
    #[arg(long, value_name = "SECONDS")]
    log_in_delay: Option<NonZeroU16>,
    /// Seconds that a log-in has to wait at most [default: 60]
    #[arg(long, value_name = "SECONDS")]
    log_in_delay_max: Option<NonZeroU16>,
    /// Minutes after which wrong passwords are forgotten [default: 15]
    #[arg(long, value_name = "MINUTES")]
    log_in_memory: Option<NonZeroU16>,
    /// Disk space to leave free, in MiB: uploads beyond are answered 507 [default: 64]
    #[arg(long, value_name = "MIB")]
    disk_reserve: Option<u32>,
}

impl LimitArgs {
    /// All limits, with those that were given.
    pub(super) fn limits(&self) -> Limits {
        let mut limits = Limits {
            upload_bytes_max: self.upload_limit.saturating_mul(MIB),
            uploads_per_user_max: self.uploads_per_user.map(|given| usize::from(given.get())),
            page_cache_bytes_max: usize::from(self.page_cache) * 1024 * 1024,
            ..Limits::default()
        };
        for (given, limit) in [
            (self.uploads, &mut limits.uploads_concurrent_max),
            (self.dear_pages, &mut limits.dear_concurrent_max),
            (self.archives, &mut limits.archives_concurrent_max),
            (self.file_comparisons, &mut limits.file_diffs_concurrent_max),
            (self.drawings, &mut limits.drawings_concurrent_max),
            (self.hooks, &mut limits.hooks_concurrent_max),
            (self.connections, &mut limits.connections_max),
            (
                self.connections_per_address,
                &mut limits.connections_per_client_max,
            ),
        ] {
            if let Some(given) = given {
                *limit = usize::from(given.get());
            }
        }
        for (given, limit) in [
            (self.head_timeout, &mut limits.head_time_max),
            (self.idle_timeout, &mut limits.upload_idle_time_max),
            (self.idle_timeout, &mut limits.answer_stall_time_max),
            (self.upload_wait, &mut limits.upload_wait_time_max),
            (self.page_wait, &mut limits.place_wait_time_max),
            (self.hook_timeout, &mut limits.hook_time_max),
            (self.stop_timeout, &mut limits.shutdown_time_max),
            (self.log_in_delay, &mut limits.log_in_delay),
            (self.log_in_delay_max, &mut limits.log_in_delay_max),
        ] {
            if let Some(given) = given {
                *limit = Duration::from_secs(u64::from(given.get()));
            }
        }
        if let Some(minutes) = self.log_in_memory {
            limits.log_in_memory_time = Duration::from_secs(u64::from(minutes.get()) * 60);
        }
        if let Some(attempts) = self.log_in_attempts {
            limits.log_in_failures_free = u32::from(attempts.get());
        }
        if let Some(head_limit) = self.head_limit {
            limits.head_bytes_max = usize::from(head_limit) * 1024;
        }
        let whole = |given: NonZeroU16| u64::from(given.get());
        for (given, unit, limit) in [
            (
                self.slowest_upload.map(u64::from),
                KIB,
                &mut limits.upload_rate_min,
            ),
            (
                self.slowest_download.map(u64::from),
                KIB,
                &mut limits.answer_rate_min,
            ),
            (
                self.compared_file_limit.map(whole),
                MIB,
                &mut limits.file_diff_bytes_max,
            ),
            (
                self.drawn_file_limit.map(u64::from),
                MIB,
                &mut limits.drawn_binary_bytes_max,
            ),
            (
                self.disk_reserve.map(u64::from),
                MIB,
                &mut limits.disk_reserve_bytes,
            ),
        ] {
            if let Some(given) = given {
                *limit = given * unit;
            }
        }
        limits
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        limits: LimitArgs,
    }

    fn limits(arguments: &[&str]) -> String {
        let arguments = [&["program"], arguments].concat();
        format!("{:?}", Program::parse_from(arguments).limits.limits())
    }

    #[test]
    fn each_option_changes_a_limit_and_its_default_is_what_the_help_says() {
        let default = format!("{:?}", Limits::default());
        assert_eq!(limits(&[]), default);
        let command = Program::command();
        let options: Vec<_> = command
            .get_arguments()
            .filter(|option| option.get_id() != "help")
            .collect();
        let mut told = 0;
        for option in &options {
            let name = format!("--{}", option.get_long().unwrap());
            assert_ne!(limits(&[&name, "17"]), default, "{name}");
            let help = option.get_help().unwrap().to_string();
            let in_help = help
                .split_once("[default: ")
                .map(|(_, rest)| rest.trim_end_matches(']'));
            let value = option.get_default_values().first();
            let value = in_help.or_else(|| value?.to_str());
            let value = value.unwrap_or_else(|| panic!("{name} does not say its default"));
            if value.parse::<u64>().is_ok() {
                assert_eq!(limits(&[&name, value]), default, "{name}");
                told += 1;
            }
        }
        // All but one that depends on the machine, one that depends on another, and one that is two.
        assert_eq!(told + 3, options.len());
    }
}
