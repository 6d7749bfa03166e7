//! What is counted while the server runs, for Prometheus (`/metrics`) and Influx (`--influx`).
//!
//! Labels are bounded: routes are the router's patterns, hooks and jobs are cut off at a number.
//! A job's name is from outside; the encoder escapes it.

mod events;
mod former;
pub mod influx;
mod process;
mod stock;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Duration;

use builder_exec::Timestamp;
use builder_store::record::hook_runs;
use prometheus_client::encoding::prometheus_text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::app::App;
use crate::upload::hooks::HookEnd;

/// Content type of [`text`].
pub const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

/// Hooks that are told apart; others are counted as [`OTHER`].
const HOOKS_MAX: usize = 32;
/// Stands for what is beyond a bound.
const OTHER: &str = "(other)";
/// How an upload can be answered: [`crate::error`] picks no other status for one.
const UPLOAD_STATUSES: [u16; 11] = [201, 400, 401, 403, 408, 409, 413, 429, 500, 503, 507];
/// Seconds; a page takes well under a millisecond, an upload or a comparison may take long.
const DURATION_BUCKETS: [f64; 13] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
];
/// Seconds, for uploads and hooks.
const LONG_BUCKETS: [f64; 11] = [
    0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0,
];

type Labels = Vec<(&'static str, String)>;
/// A family of metrics, and how its members are told apart.
type Counters = Family<Labels, Counter>;
type Gauges = Family<Labels, Gauge>;
type Histograms = Family<Labels, Histogram, fn() -> Histogram>;

/// Everything that is counted.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Counters,
    errors: Counter,
    request_seconds: Histograms,
    /// What [`Metrics::request`] found in the two families before, so that a request makes no
    /// label.
    routes: RwLock<HashMap<String, Route>>,
    /// Open connections.
    pub connections: Gauge,
    /// Connections that ended with what is no request.
    pub unreadable: Counter,
    /// Requests that are not answered yet.
    pub requests_in_flight: Gauge,
    /// Bytes written to and read from sockets.
    pub traffic: Traffic,
    uploads: Counters,
    upload_seconds: Histogram,
    /// Bytes of uploads that were read, those of refused ones too.
    pub upload_bytes: Counter,
    uploads_in_progress: Gauge,
    /// Uploads that wait for a place.
    pub uploads_waiting: Gauge,
    hooks: Counters,
    hook_seconds: Histogram,
    hook_names: Mutex<Vec<String>>,
    hooks_running: Gauge,
    hooks_waiting: Gauge,
    hooks_pending: Gauge,
    log_ins: Counters,
    page_cache: Counters,
    busy: Counters,
    places_taken: Gauges,
    places_waiting: Gauges,
    damaged: Counter,
    certificate_end: Family<Labels, FloatGauge>,
    /// Times that a certificate was to be read again, and could not be used.
    pub certificate_failures: Counter,
    stock: stock::Stock,
    events: events::Events,
    process: process::Process,
}

/// Bytes that went over sockets.
#[derive(Debug, Clone, Default)]
pub struct Traffic {
    /// Bytes that were sent.
    pub sent: Counter,
    /// Bytes that came in.
    pub received: Counter,
}

#[derive(Debug)]
struct Route {
    seconds: Histogram,
    by_status: Vec<(u16, Counter)>,
}

/// How a log-in went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogIn {
    /// The password was right.
    Right,
    /// It was not, or there is no such user.
    Wrong,
    /// It was not looked at: there were too many wrong ones before.
    Slowed,
}

/// What there is a bounded number of places for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A connection among those of its address.
    Connection,
    /// An upload.
    Upload,
    /// A password to be checked.
    Password,
    /// A page that is dear to make.
    Expensive,
    /// An archive, which is packed while it is sent.
    Archive,
    /// An answer that is made while it is sent.
    Stream,
    /// An artifact that is compared with its digest before any of it is sent.
    Check,
    /// Two files to be compared.
    Comparison,
    /// A picture to be drawn.
    Drawing,
}

/// How many places of a kind are taken, and how many wait for one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Queue {
    /// What is being worked on.
    pub taken: usize,
    /// What waits.
    pub waiting: usize,
}

/// Counts as one more for as long as it lives.
#[derive(Debug)]
pub struct Held(Gauge);

impl Held {
    /// One more in `gauge`.
    pub fn new(gauge: &Gauge) -> Held {
        gauge.inc();
        Held(gauge.clone())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    /// Nothing has happened yet.
    pub fn new(now: Timestamp) -> Metrics {
        let mut root = Registry::default();
        let process = process::Process::new(&mut root, now);
        let registry = root.sub_registry_with_prefix("builder_web");
        let metrics = Metrics {
            requests: register(registry, "http_requests", "Requests by route and status"),
            errors: register(
                registry,
                "http_errors",
                "Requests that were answered with 500: what went wrong is in the log",
            ),
            request_seconds: {
                let family: Histograms = Family::new_with_constructor(durations);
                registry.register_with_unit(
                    "http_request_duration",
                    "Time until the head of an answer, by route",
                    Unit::Seconds,
                    family.clone(),
                );
                family
            },
            routes: RwLock::default(),
            connections: register(registry, "connections", "Open connections"),
            unreadable: register(
                registry,
                "http_unreadable",
                "Connections that ended with what is no HTTP, or with a head that is too long",
            ),
            requests_in_flight: register(
                registry,
                "http_requests_in_flight",
                "Requests whose answer has not begun",
            ),
            traffic: Traffic {
                sent: register(registry, "sent_bytes", "Bytes written to sockets"),
                received: register(registry, "received_bytes", "Bytes read from sockets"),
            },
            uploads: register(registry, "uploads", "Uploads by the status of the answer"),
            upload_seconds: {
                let histogram = longer();
                registry.register_with_unit(
                    "upload_duration",
                    "Time from an upload's head to its answer",
                    Unit::Seconds,
                    histogram.clone(),
                );
                histogram
            },
            upload_bytes: register(registry, "upload_bytes", "Bytes of uploads that were read"),
            uploads_in_progress: register(
                registry,
                "uploads_in_progress",
                "Uploads that are being written",
            ),
            uploads_waiting: register(registry, "uploads_waiting", "Uploads that wait for a place"),
            hooks: register(
                registry,
                "hooks",
                "Upload hooks that have ended, by file name and result",
            ),
            hook_seconds: {
                let histogram = longer();
                registry.register_with_unit(
                    "hook_duration",
                    "Time that an upload hook ran",
                    Unit::Seconds,
                    histogram.clone(),
                );
                histogram
            },
            hook_names: Mutex::default(),
            hooks_running: register(registry, "hooks_running", "Upload hooks that run"),
            hooks_pending: register(
                registry,
                "hooks_pending",
                "Builds on record whose upload hooks have not all ended",
            ),
            hooks_waiting: register(
                registry,
                "hooks_waiting",
                "Upload hooks that wait for their turn",
            ),
            log_ins: register(registry, "log_ins", "Log-ins by result"),
            page_cache: register(
                registry,
                "page_cache_requests",
                "Requests for pages by whether the page was remembered",
            ),
            busy: register(
                registry,
                "busy",
                "Requests refused with 503 because there was no place, by what for",
            ),
            places_taken: register(
                registry,
                "places_taken",
                "What is being worked on, of what only some are worked on at a time",
            ),
            places_waiting: register(registry, "places_waiting", "What waits for such a place"),
            damaged: register(
                registry,
                "damaged_files",
                "Times that a kept file was read and found damaged or missing",
            ),
            certificate_end: register(
                registry,
                "certificate_expiry_timestamp_seconds",
                "Until when the TLS certificate that is served is valid, in seconds since 1970",
            ),
            certificate_failures: register(
                registry,
                "certificate_reload_failures",
                "Times that the TLS certificate was to be read again, and could not be used",
            ),
            stock: stock::Stock::new(registry),
            events: events::Events::new(registry),
            process,
            registry: Registry::default(),
        };
        let build_info: Gauges = register(registry, "build_info", "The version of this program");
        let version = label("version", crate::VERSION);
        build_info.get_or_create_owned(&version).set(1);
        metrics.begin_at_zero();
        Metrics {
            registry: root,
            ..metrics
        }
    }

    /// Makes what alerts look at be there from the start: they see how much a number grows, and so
    /// miss the first of a series that appears with it.
    fn begin_at_zero(&self) {
        for status in UPLOAD_STATUSES {
            let labels = label("status", &status.to_string());
            let _zero = self.uploads.get_or_create_owned(&labels);
        }
        for result in ["right", "wrong", "slowed"] {
            let _zero = self.log_ins.get_or_create_owned(&label("result", result));
        }
        for place in Place::REFUSING {
            let _zero = self.busy.get_or_create_owned(&label("place", place.name()));
        }
    }

    /// Until when the certificate is valid that is served; none: nobody knows.
    pub fn certificate(&self, end: Option<Timestamp>) {
        // Without TLS there is none: a 0 would be one that has ended.
        match end {
            Some(end) => {
                let gauge = self.certificate_end.get_or_create_owned(&Vec::new());
                gauge.set(end.unix_seconds() as f64);
            }
            None => self.certificate_end.clear(),
        }
    }

    /// These hooks are there, and would be run after an upload.
    pub fn hooks_found(&self, names: &[String]) {
        for name in names {
            for end in HookEnd::ALL {
                let _zero = self.hooks.get_or_create_owned(&self.hook_labels(name, end));
            }
        }
    }

    fn hook_labels(&self, name: &str, end: HookEnd) -> Labels {
        let mut names = self
            .hook_names
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if !names.iter().any(|known| known == name) && names.len() < HOOKS_MAX {
            names.push(name.to_owned());
        }
        let name = names.iter().find(|known| *known == name);
        let mut labels = label("hook", name.map_or(OTHER, String::as_str));
        labels.push(("result", end.name().to_owned()));
        labels
    }

    /// A request of this route (the router's pattern; none: of no route) was answered.
    pub fn request(&self, route: Option<&str>, status: u16, took: Duration) {
        if status == 500 {
            self.errors.inc();
        }
        let route = match route {
            Some(pattern) if pattern.len() > 1 => pattern.trim_end_matches('/'),
            Some(pattern) => pattern,
            None => "(none)",
        };
        let count = |known: &Route| {
            let counter = known.by_status.iter().find(|(known, _)| *known == status);
            counter.map(|(_, counter)| {
                counter.inc();
                known.seconds.observe(took.as_secs_f64());
            })
        };
        let known = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        if known.get(route).and_then(count).is_some() {
            return;
        }
        drop(known);
        let mut known = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        let entry = known.entry(route.to_owned()).or_insert_with(|| Route {
            seconds: self
                .request_seconds
                .get_or_create_owned(&label("route", route)),
            by_status: Vec::new(),
        });
        if !entry.by_status.iter().any(|(known, _)| *known == status) {
            let mut labels = label("route", route);
            labels.push(("status", status.to_string()));
            let counter = self.requests.get_or_create_owned(&labels);
            entry.by_status.push((status, counter));
        }
        count(entry);
    }

    /// An upload was answered.
    pub fn upload(&self, status: u16, took: Duration) {
        let labels = label("status", &status.to_string());
        self.uploads.get_or_create(&labels).inc();
        self.upload_seconds.observe(took.as_secs_f64());
    }

    /// A hook has ended.
    pub fn hook(&self, name: &str, end: HookEnd, took: Duration) {
        let labels = self.hook_labels(name, end);
        self.hooks.get_or_create(&labels).inc();
        self.hook_seconds.observe(took.as_secs_f64());
    }

    /// Somebody tried to log in.
    pub fn log_in(&self, result: LogIn) {
        let result = match result {
            LogIn::Right => "right",
            LogIn::Wrong => "wrong",
            LogIn::Slowed => "slowed",
        };
        self.log_ins.get_or_create(&label("result", result)).inc();
    }

    /// A request was refused because there was no place.
    pub fn busy(&self, place: Place) {
        self.busy.get_or_create(&label("place", place.name())).inc();
    }

    /// A counter of pages that were remembered, or were not: to be kept by who counts.
    pub fn page_cache(&self, remembered: bool) -> Counter {
        let result = if remembered { "hit" } else { "miss" };
        self.page_cache
            .get_or_create_owned(&label("result", result))
    }
}

impl Place {
    /// Those that a request finds none of, and is refused: a picture is waited for.
    const REFUSING: [Place; 8] = [
        Place::Connection,
        Place::Upload,
        Place::Password,
        Place::Expensive,
        Place::Archive,
        Place::Stream,
        Place::Check,
        Place::Comparison,
    ];

    fn name(self) -> &'static str {
        match self {
            Place::Connection => "connection",
            Place::Upload => "upload",
            Place::Password => "password",
            Place::Expensive => "expensive",
            Place::Archive => "archive",
            Place::Stream => "stream",
            Place::Check => "check",
            Place::Comparison => "comparison",
            Place::Drawing => "drawing",
        }
    }
}

/// Everything as Prometheus reads it, with what is looked up only now.
pub async fn text(app: &App) -> String {
    stock::refresh(app).await;
    events::refresh(app).await;
    let metrics = app.metrics();
    // Put there or taken away while the server runs.
    if let Ok(names) = app.blocking(|app| app.hooks().names()).await {
        metrics.hooks_found(&names);
    }
    metrics.process.refresh();
    let (running, waiting) = app.hooks().counts();
    metrics.hooks_running.set(signed(running as u64));
    metrics.hooks_waiting.set(signed(waiting as u64));
    // An error is in the log; the last value stays.
    if let Ok(pending) = app.read(hook_runs::count).await {
        metrics.hooks_pending.set(signed(pending));
    }
    for (place, queue) in app.queues() {
        if place == Place::Upload {
            metrics.uploads_in_progress.set(signed(queue.taken as u64));
        }
        let labels = label("place", place.name());
        let set = |gauges: &Gauges, count: usize| {
            gauges
                .get_or_create_owned(&labels)
                .set(signed(count as u64));
        };
        set(&metrics.places_taken, queue.taken);
        set(&metrics.places_waiting, queue.waiting);
    }
    let damaged = app.store().artifacts().damage().count();
    metrics.damaged.inner().store(damaged, Ordering::Relaxed);
    let mut text = String::new();
    // OK because a String takes all that is written to it.
    let _: std::fmt::Result = prometheus_text::encode(&mut text, &metrics.registry);
    text
}

fn label(name: &'static str, value: &str) -> Labels {
    vec![(name, value.to_owned())]
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn durations() -> Histogram {
    Histogram::new(DURATION_BUCKETS)
}

fn longer() -> Histogram {
    Histogram::new(LONG_BUCKETS)
}

fn register<M: prometheus_client::registry::Metric + Clone + Default>(
    registry: &mut Registry,
    name: &str,
    help: &str,
) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

/// A gauge of seconds or bytes that is not whole.
type FloatGauge = Gauge<f64, AtomicU64>;
type FloatGauges = Family<Labels, FloatGauge>;
