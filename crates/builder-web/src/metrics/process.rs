//! This process, under the names that all of Prometheus' clients have for it. Memory and file
//! descriptors are Linux' `/proc`; where there is none they stay absent.

use std::fs;

use builder_exec::Timestamp;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};
use std::sync::atomic::{AtomicU64, Ordering};

use super::{FloatGauge, register, signed};

#[derive(Debug)]
pub(super) struct Process {
    cpu_seconds: Counter<f64, AtomicU64>,
    memory: Option<Gauge>,
    open_files: Option<Gauge>,
    open_files_max: Option<Gauge>,
}

impl Process {
    pub(super) fn new(registry: &mut Registry, now: Timestamp) -> Process {
        let start: FloatGauge = register(
            registry,
            "process_start_time_seconds",
            "When this process started, in seconds since 1970",
        );
        start.set(now.unix_seconds() as f64);
        let cpu_seconds = register(
            registry,
            "process_cpu_seconds",
            "Processor time of this process",
        );
        // What cannot be read is absent: a 0 would be believed.
        let mut readable = |value: Option<u64>, name, help| {
            value.map(|_| -> Gauge { register(registry, name, help) })
        };
        Process {
            cpu_seconds,
            memory: readable(
                resident_bytes(),
                "process_resident_memory_bytes",
                "Memory of this process",
            ),
            open_files: readable(open_files(), "process_open_fds", "Open file descriptors"),
            open_files_max: readable(
                getrlimit(Resource::Nofile).current,
                "process_max_fds",
                "File descriptors that may be open",
            ),
        }
    }

    pub(super) fn refresh(&self) {
        let used = clock_gettime(ClockId::ProcessCPUTime);
        let seconds = used.tv_sec as f64 + used.tv_nsec as f64 / 1e9;
        self.cpu_seconds
            .inner()
            .store(seconds.to_bits(), Ordering::Relaxed);
        for (gauge, value) in [
            (&self.memory, resident_bytes()),
            (&self.open_files, open_files()),
            (&self.open_files_max, getrlimit(Resource::Nofile).current),
        ] {
            if let (Some(gauge), Some(value)) = (gauge, value) {
                gauge.set(signed(value));
            }
        }
    }
}

fn open_files() -> Option<u64> {
    let open = fs::read_dir("/proc/self/fd").ok()?;
    // One is the directory that is being read.
    Some((open.count() as u64).saturating_sub(1))
}

fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kib: u64 = line.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}
