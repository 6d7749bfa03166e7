//! The limits of the server that an operator may set.

use std::num::NonZeroU16;
use std::time::Duration;

use clap::Args;

use crate::config::Limits;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// What is bounded.
#[derive(Debug, Args)]
pub(super) struct LimitArgs {
    /// Largest upload to accept, in MiB
    #[arg(long, default_value_t = 4096, value_name = "MIB")]
    upload_limit: u64,
    /// Memory for pages as they were last shown, in MiB; 0: make every page anew
    #[arg(long, default_value_t = 8, value_name = "MIB")]
    page_cache: u16,
    /// Largest file to compare with another one, in MiB: both are held in memory [default: 128]
    #[arg(long, value_name = "MIB")]
    compared_file_limit: Option<NonZeroU16>,
    /// Uploads that are written at the same time; others wait [default: 8]
    #[arg(long, value_name = "COUNT")]
    uploads: Option<NonZeroU16>,
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
    /// Disk space to leave free, in MiB: uploads beyond are answered 507 [default: 64]
    #[arg(long, value_name = "MIB")]
    disk_reserve: Option<u32>,
}

impl LimitArgs {
    /// All limits, with those that were given.
    pub(super) fn limits(&self) -> Limits {
        let mut limits = Limits {
            upload_bytes_max: self.upload_limit.saturating_mul(MIB),
            page_cache_bytes_max: usize::from(self.page_cache) * 1024 * 1024,
            ..Limits::default()
        };
        let count = |given: Option<NonZeroU16>, limit: &mut usize| {
            if let Some(given) = given {
                *limit = usize::from(given.get());
            }
        };
        count(self.uploads, &mut limits.uploads_concurrent_max);
        count(self.dear_pages, &mut limits.dear_concurrent_max);
        count(self.connections, &mut limits.connections_max);
        count(
            self.connections_per_address,
            &mut limits.connections_per_client_max,
        );
        let seconds = |given: NonZeroU16| Duration::from_secs(u64::from(given.get()));
        if let Some(head_limit) = self.head_limit {
            limits.head_bytes_max = usize::from(head_limit) * 1024;
        }
        if let Some(head_timeout) = self.head_timeout {
            limits.head_time_max = seconds(head_timeout);
        }
        if let Some(idle_timeout) = self.idle_timeout {
            limits.upload_idle_time_max = seconds(idle_timeout);
            limits.answer_stall_time_max = seconds(idle_timeout);
        }
        if let Some(slowest_upload) = self.slowest_upload {
            limits.upload_rate_min = u64::from(slowest_upload) * KIB;
        }
        if let Some(slowest_download) = self.slowest_download {
            limits.answer_rate_min = u64::from(slowest_download) * KIB;
        }
        if let Some(file_limit) = self.compared_file_limit {
            limits.file_diff_bytes_max = u64::from(file_limit.get()) * MIB;
        }
        if let Some(disk_reserve) = self.disk_reserve {
            limits.disk_reserve_bytes = u64::from(disk_reserve) * MIB;
        }
        limits
    }
}
