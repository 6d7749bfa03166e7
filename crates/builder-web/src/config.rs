//! What an operator may change, with its default and why.

use std::path::PathBuf;
use std::time::Duration;

use crate::client::TrustedProxy;
use crate::patience::Patience;
use crate::places::Rules;
use crate::site::Site;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;

/// As the OCaml server.
const EXPIRED_JOBS: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How this server is set up.
#[derive(Debug, Clone)]
pub struct Config {
    /// Holds the database and the artifacts.
    pub datadir: PathBuf,
    /// Holds `upload-hooks/`.
    pub configdir: PathBuf,
    /// The front page leaves out builds that finished longer ago than this; none: it shows all.
    pub expired_jobs: Option<Duration>,
    /// What the operator says of the site.
    pub site: Site,
    /// Peers that are believed when they say for whom they ask.
    pub trusted_proxies: Vec<TrustedProxy>,
    /// Everything that is bounded.
    pub limits: Limits,
}

impl Config {
    /// These directories, and everything else as it is when nothing is said.
    pub fn new(datadir: PathBuf, configdir: PathBuf) -> Config {
        Config {
            datadir,
            configdir,
            expired_jobs: Some(EXPIRED_JOBS),
            site: Site::default(),
            trusted_proxies: Vec::new(),
            limits: Limits::default(),
        }
    }
}

/// A bound on everything that is read from outside or kept in memory.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of an upload. Unikernels and packages have tens of MiB; whole build trees some GiB.
    pub upload_bytes_max: u64,
    /// Uploads that are written at the same time; others wait. Each holds a thread and a buffer.
    pub uploads_concurrent_max: usize,
    /// Uploads of one user that are written at the same time; none: three quarters of all, so that
    /// another user need not wait for this one.
    pub uploads_per_user_max: Option<usize>,
    /// An upload is refused when less than this would be left on the disk, in bytes, so that
    /// the database can still be written.
    pub disk_reserve_bytes: u64,
    /// Bytes of a refused upload of a user that are read, so that the client gets to read the answer.
    pub refused_drain_bytes_max: u64,
    /// The same of somebody whose password was looked at and was wrong: some have mistyped it, and
    /// read the answer when all is sent. An address has a few such attempts.
    pub wrong_password_drain_bytes_max: u64,
    /// The same of anybody else.
    pub stranger_drain_bytes_max: u64,
    /// How long a connection with more to come is kept open, for those to read their answer.
    pub refused_linger_time: Duration,
    /// How long that may take.
    pub refused_drain_time_max: Duration,
    /// An upload that sends nothing for this long is given up.
    pub upload_idle_time_max: Duration,
    /// Bytes a second that an upload has to keep up, on average over that time: it has a place that
    /// others wait for. None: any byte is enough.
    pub upload_rate_min: u64,
    /// Bytes of the paths of all artifacts of an upload: they are held in memory. Real builds have
    /// some KiB.
    pub artifact_paths_bytes_max: u64,
    /// Bytes of a README that are kept for the job's page.
    pub readme_bytes_max: u64,
    /// Bytes of an opam switch that are read for the job's section and synopsis. Real ones have
    /// 130 to 400 KiB.
    pub opam_switch_bytes_max: u64,
    /// Bytes of an artifact that is compared with another one; both are held in memory, twice as much together with
    /// what they unpack to. Unikernels with debug information have up to 60 MiB.
    pub file_diff_bytes_max: u64,
    /// Comparisons of artifacts that are made at the same time; others wait.
    pub file_diffs_concurrent_max: usize,
    /// Comparisons of artifacts under way or waiting; more are not begun. Of one client a quarter.
    pub file_diffs_waiting_max: usize,
    /// Requests that wait for a comparison of artifacts; more are told that it is under way. Of one
    /// client a quarter.
    pub file_diff_waiters_max: usize,
    /// How long a page waits for the comparison of its artifacts before it says that it is under way.
    pub file_diff_patience: Duration,
    /// Uploads that are written or wait for their turn. Each that waits is a connection.
    pub uploads_waiting_max: usize,
    /// How long an upload waits for its turn before it is answered 503.
    pub upload_wait_time_max: Duration,
    /// Pages that are dear to make (comparisons, pictures, those that read much) at the same time: each
    /// takes a core, and where there are more than two, one is left for uploads.
    pub dear_concurrent_max: usize,
    /// Requests for dear pages of one client that are made or wait.
    pub dear_per_client_max: usize,
    /// Requests for dear pages of all clients that are made or wait.
    pub dear_waiting_max: usize,
    /// Archives that are packed at the same time; each takes up to a core while its client reads.
    pub archives_concurrent_max: usize,
    /// Archives of one client.
    pub archives_per_client_max: usize,
    /// How long a request waits for such a place before it is answered 503.
    pub place_wait_time_max: Duration,
    /// Bytes of a binary with symbols that is drawn; it is held in memory, and those of all drawings
    /// at a time have as many together. Those of unikernels have up to 60 MiB.
    pub drawn_binary_bytes_max: u64,
    /// Pictures that are drawn at the same time; others wait. Each takes a core.
    pub drawings_concurrent_max: usize,
    /// Builds whose pictures wait to be drawn before somebody asks for them; those of more builds
    /// are drawn when they are asked for.
    pub drawings_waiting_max: usize,
    /// Bytes of a picture that an upload hook made; of a larger one our own is shown instead.
    pub hook_picture_bytes_max: u64,
    /// Hooks that run at the same time; others wait.
    pub hooks_concurrent_max: usize,
    /// A hook that runs longer is killed. Some rebuild a package repository.
    pub hook_time_max: Duration,
    /// Bytes of a hook's output that go to the log.
    pub hook_output_bytes_max: u64,
    /// How long a password that was right once is not hashed again.
    pub password_cache_time: Duration,
    /// Verified passwords that are remembered.
    pub password_cache_max: usize,
    /// Passwords that wait to be hashed; others are answered 503.
    pub passwords_waiting_max: usize,
    /// Wrong passwords of one address, or for one user from one address, that cost nothing but the
    /// hashing: people mistype.
    pub log_in_failures_free: u32,
    /// How long the first one after these has to wait; each further one doubles it.
    pub log_in_delay: Duration,
    /// The longest that a log-in has to wait.
    pub log_in_delay_max: Duration,
    /// Wrong passwords are forgotten after this long.
    pub log_in_memory_time: Duration,
    /// Addresses and users whose wrong passwords are remembered.
    pub log_in_table_max: usize,
    /// Open connections from one address, and half of those from one site of IPv6; one more is answered
    /// 503. A proxy that is trusted may have all there are.
    pub connections_per_client_max: usize,
    /// Passwords hashed at the same time: each takes 16 MiB and a core. As many again of users at
    /// addresses where they have logged in before.
    pub password_hashes_concurrent_max: usize,
    /// Bytes of a user name or password.
    pub credential_bytes_max: usize,
    /// Open connections; more wait to be accepted.
    pub connections_max: usize,
    /// A client that reads nothing of its answer for this long is cut off.
    pub answer_stall_time_max: Duration,
    /// Bytes a second that it has to read, on average over that time. None: any byte is enough.
    pub answer_rate_min: u64,
    /// Answers that are made while they are sent (`exec`, `all.tar.gz`, packed texts); more wait.
    /// Each holds a thread while its client reads.
    pub streams_concurrent_max: usize,
    /// Large artifacts that are compared with their digest at the same time before a part of them is
    /// sent or a page tells what they say, the first time that they are asked for: each takes a core.
    pub checks_concurrent_max: usize,
    /// Such answers to one address; none: a quarter of all. A browser asks for six things at a time.
    pub streams_per_client_max: Option<usize>,
    /// A client has this long to send a request's head.
    pub head_time_max: Duration,
    /// Bytes of a request's head.
    pub head_bytes_max: usize,
    /// Builds on one page of failed builds.
    pub failed_builds_max: u32,
    /// Memory for pages as they were last shown, in bytes.
    pub page_cache_bytes_max: usize,
    /// After this long a remembered page is made anew: it may name what has expired since, or lack a
    /// pin, which is not in the database that pages are checked against.
    pub page_cache_time_max: Duration,
    /// Facts about artifacts (a unikernel's manifest) that are remembered.
    pub derived_cache_max: usize,
    /// Connections that are still busy this long after the signal to stop are cut, and hooks that
    /// still run are not waited for.
    pub shutdown_time_max: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            upload_bytes_max: 4 * GIB,
            uploads_concurrent_max: 8,
            uploads_per_user_max: None,
            disk_reserve_bytes: 64 * MIB,
            refused_drain_bytes_max: GIB,
            wrong_password_drain_bytes_max: 64 * MIB,
            stranger_drain_bytes_max: MIB,
            refused_linger_time: Duration::from_secs(2),
            refused_drain_time_max: Duration::from_secs(60),
            upload_idle_time_max: Duration::from_secs(120),
            upload_rate_min: 16 * KIB,
            artifact_paths_bytes_max: 8 * MIB,
            readme_bytes_max: MIB,
            opam_switch_bytes_max: 8 * MIB,
            file_diff_bytes_max: 60 * MIB,
            file_diffs_concurrent_max: 1,
            file_diffs_waiting_max: 32,
            file_diff_waiters_max: 128,
            file_diff_patience: Duration::from_secs(5),
            uploads_waiting_max: 64,
            upload_wait_time_max: Duration::from_secs(5 * 60),
            dear_concurrent_max: cores_but_one(),
            dear_per_client_max: 8,
            dear_waiting_max: 64,
            archives_concurrent_max: 8,
            archives_per_client_max: 4,
            place_wait_time_max: Duration::from_secs(10),
            drawn_binary_bytes_max: builder_viz::BINARY_BYTES_MAX,
            drawings_concurrent_max: 2,
            drawings_waiting_max: 256,
            hook_picture_bytes_max: 32 * MIB,
            hooks_concurrent_max: 4,
            hook_time_max: Duration::from_secs(60 * 60),
            hook_output_bytes_max: 64 * KIB,
            password_cache_time: Duration::from_secs(5 * 60),
            password_cache_max: 256,
            passwords_waiting_max: 64,
            log_in_failures_free: 5,
            log_in_delay: Duration::from_secs(1),
            log_in_delay_max: Duration::from_secs(60),
            log_in_memory_time: Duration::from_secs(15 * 60),
            log_in_table_max: 10_000,
            connections_per_client_max: 256,
            password_hashes_concurrent_max: 1,
            credential_bytes_max: 1024,
            connections_max: 1024,
            answer_stall_time_max: Duration::from_secs(60),
            answer_rate_min: KIB,
            streams_concurrent_max: 64,
            checks_concurrent_max: 2,
            streams_per_client_max: None,
            head_time_max: Duration::from_secs(30),
            head_bytes_max: 64 * 1024,
            failed_builds_max: 500,
            page_cache_bytes_max: 8 * 1024 * 1024,
            page_cache_time_max: Duration::from_secs(10),
            derived_cache_max: 10_000,
            shutdown_time_max: Duration::from_secs(15 * 60),
        }
    }
}

impl Limits {
    /// Places for uploads: shares are those of users, who are known here by name.
    pub fn uploads(&self) -> Rules {
        let places = self.uploads_concurrent_max;
        let all_max = places + self.uploads_waiting_max;
        let client_places = self.uploads_per_user_max.unwrap_or(three_quarters(places));
        Rules {
            places,
            client_places,
            all_max,
            client_max: client_places + three_quarters(self.uploads_waiting_max),
            wait_max: self.upload_wait_time_max,
        }
    }

    /// How long an upload is waited for.
    pub fn upload_patience(&self) -> Patience {
        Patience::new(self.upload_idle_time_max, self.upload_rate_min)
    }

    /// How long a client that reads an answer is waited for.
    pub fn answer_patience(&self) -> Patience {
        Patience::new(self.answer_stall_time_max, self.answer_rate_min)
    }

    /// Places for pages that are dear to make.
    pub fn dear(&self) -> Rules {
        Rules {
            places: self.dear_concurrent_max,
            client_places: self.dear_concurrent_max,
            all_max: self.dear_waiting_max,
            client_max: self.dear_per_client_max,
            wait_max: self.place_wait_time_max,
        }
    }

    /// Places for archives.
    pub fn archives(&self) -> Rules {
        Rules {
            places: self.archives_concurrent_max,
            client_places: self.archives_per_client_max,
            all_max: self.dear_waiting_max,
            client_max: self.archives_per_client_max,
            wait_max: self.place_wait_time_max,
        }
    }

    /// Places for comparisons of artifacts that are begun.
    pub fn file_diffs(&self) -> Rules {
        self.at_once(self.file_diffs_waiting_max)
    }

    /// Places for requests that wait for one.
    pub fn file_diff_waiters(&self) -> Rules {
        self.at_once(self.file_diff_waiters_max)
    }

    /// As many places as may be waited for: who finds none is refused at once.
    fn at_once(&self, places: usize) -> Rules {
        let quarter = (places / 4).max(1);
        Rules {
            places,
            client_places: quarter,
            all_max: places,
            client_max: quarter,
            wait_max: self.place_wait_time_max,
        }
    }

    /// Places for artifacts that are compared with their digest before they are sent.
    pub fn checks(&self) -> Rules {
        Rules {
            places: self.checks_concurrent_max,
            client_places: (self.checks_concurrent_max / 2).max(1),
            all_max: self.dear_waiting_max,
            client_max: self.dear_per_client_max,
            wait_max: self.place_wait_time_max,
        }
    }

    /// Places for passwords that are hashed: so many for users at addresses where they are known, and as
    /// many for all others.
    pub fn passwords(&self) -> Rules {
        let all_max = self.password_hashes_concurrent_max + self.passwords_waiting_max;
        Rules {
            places: self.password_hashes_concurrent_max,
            client_places: self.password_hashes_concurrent_max,
            all_max,
            // An address has some free attempts: more need not wait at once.
            client_max: (all_max / 2).max(1),
            wait_max: self.place_wait_time_max,
        }
    }

    /// Places for answers that are made while they are sent.
    pub fn streams(&self) -> Rules {
        let places = self.streams_concurrent_max;
        let quarter = (places / 4).max(1);
        let client_places = self.streams_per_client_max.unwrap_or(quarter);
        Rules {
            places,
            client_places,
            all_max: places * 4,
            client_max: client_places * 4,
            wait_max: self.place_wait_time_max,
        }
    }
}

fn three_quarters(of: usize) -> usize {
    (of * 3 / 4).max(1)
}

fn cores_but_one() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    // A comparison may wait for one of its artifacts: another one gets its turn meanwhile.
    cores.saturating_sub(1).max(2)
}
