//! What every request has at hand. The only place that moves work to another thread.

use std::borrow::Cow;
use std::io::{self, Write};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use askama::Template;
use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use builder_exec::Timestamp;
use builder_store::{Sha256, Store, Tx};
use tracing::warn;
use uuid::Uuid;

use crate::auth::Passwords;
use crate::auth::refusals::Refusals;
use crate::clock::Clock;
use crate::config::{Config, Limits};
use crate::console::outline::Outlines;
use crate::derived::{self, Derived, Solo5};
use crate::drawings::Drawings;
use crate::error::{Error, Result, with_causes};
use crate::exec_file::ConsoleSizes;
use crate::failures;
use crate::file_diffs::FileDiffs;
use crate::input_changes::Comparisons;
use crate::intact::Intact;
use crate::metrics::{Metrics, Place, Queue};
use crate::once::Once;
use crate::origin;
use crate::page_cache::PageCache;
use crate::places::{self, Places, Taken, Who};
use crate::respond::{self, Accepts, Layout};
use crate::share::{self, Share, Shared};
use crate::stream;
use crate::upload::hooks::Hooks;

/// What every request has at hand; cheap to clone.
#[derive(Clone)]
pub struct App(
    Arc<Inner>,
    /// By what the client of this request knows the site.
    Option<Arc<str>>,
);

struct Inner {
    store: Arc<Store>,
    config: Config,
    clock: Clock,
    layout: Arc<Layout>,
    derived: Derived,
    file_diffs: FileDiffs,
    drawings: Drawings,
    comparisons: Comparisons,
    intact: Arc<Intact>,
    pages: PageCache,
    passwords: Passwords,
    refusals: Refusals,
    uploads: Places,
    dear: Places,
    archives: Places,
    streams: Places,
    hooks: Hooks,
    metrics: Metrics,
    stopping: AtomicBool,
    keeping: AtomicBool,
    no_room: AtomicU64,
    looking: failures::Looking,
    looks: Once<bool, Result<Option<Cow<'static, str>>>>,
    outlines: Outlines,
    console_sizes: ConsoleSizes,
}

/// What a page shows: as HTML by its template, or as JSON.
pub trait Page: Template {
    /// Main binaries of which nobody has read yet what they say of themselves, and the page tells it.
    fn unread(&self) -> Vec<Sha256> {
        Vec::new()
    }

    /// What one of these says of itself.
    fn tell(&mut self, _sha256: Sha256, _solo5: Option<Solo5>) {}

    /// Whether [`Page::prepare`] takes one of the places for what is dear: it reads more than
    /// [`places::DEAR_BYTES_MIN`], or takes as long as if it did.
    fn is_dear(&self, _app: &App) -> bool {
        false
    }

    /// What takes longer than reading the database, and needs nothing of it any more.
    fn prepare(&mut self, _app: &App) {}

    /// What those who share it show of it.
    fn share(&self) -> Option<Share> {
        None
    }

    /// The JSON form; none: the page has only an HTML form.
    fn json(&self) -> Option<serde_json::Value>;

    /// Its text. A page with thousands of values writes them one after the other.
    fn json_text(&self) -> Result<Option<String>> {
        Ok(self.json().map(|json| json.to_string()))
    }
}

impl App {
    /// An application on an open store.
    pub fn new(store: Store, config: Config, clock: Clock) -> App {
        let metrics = Metrics::new(clock.now());
        let inner = Inner {
            derived: Derived::new(config.limits.derived_cache_max),
            drawings: Drawings::new(&config.limits),
            comparisons: Comparisons::default(),
            intact: Arc::new(Intact::new(
                store.artifacts().damage().clone(),
                &config.limits,
            )),
            pages: PageCache::new(&config.limits, &metrics),
            file_diffs: FileDiffs::new(&config.limits),
            passwords: Passwords::new(&config.limits),
            refusals: Refusals::default(),
            uploads: Places::new(Place::Upload, config.limits.uploads()),
            dear: Places::new(Place::Expensive, config.limits.dear()),
            archives: Places::new(Place::Archive, config.limits.archives()),
            streams: Places::new(Place::Stream, config.limits.streams()),
            hooks: Hooks::new(&config),
            layout: Arc::new(crate::pages::layout(&config.site)),
            metrics,
            stopping: AtomicBool::new(false),
            keeping: AtomicBool::new(false),
            no_room: AtomicU64::new(0),
            looking: failures::Looking::default(),
            looks: Once::default(),
            outlines: Outlines::default(),
            console_sizes: ConsoleSizes::default(),
            store: Arc::new(store),
            config,
            clock,
        };
        App(Arc::new(inner), None)
    }

    /// Scheme and host by which this site is known: what the operator says, or else what the client
    /// used. Known where a page is made.
    pub fn origin(&self) -> &str {
        let told = self.0.config.site.public_url.as_deref();
        told.or(self.1.as_deref()).unwrap_or("http://localhost")
    }

    /// What is kept.
    pub fn store(&self) -> &Arc<Store> {
        &self.0.store
    }

    /// How this server is set up.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// What is bounded.
    pub fn limits(&self) -> &Limits {
        &self.0.config.limits
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// What every page shows around its own content.
    pub fn layout(&self) -> &Arc<Layout> {
        &self.0.layout
    }

    /// Facts about artifacts.
    pub fn derived(&self) -> &Derived {
        &self.0.derived
    }

    /// Comparisons of artifacts.
    pub fn file_diffs(&self) -> &FileDiffs {
        &self.0.file_diffs
    }

    /// Pictures of builds.
    pub fn drawings(&self) -> &Drawings {
        &self.0.drawings
    }

    /// How many inputs differ between builds.
    pub fn comparisons(&self) -> &Comparisons {
        &self.0.comparisons
    }

    /// Pages as they were last shown.
    pub fn pages(&self) -> &PageCache {
        &self.0.pages
    }

    /// Passwords that were right a moment ago.
    pub fn passwords(&self) -> &Passwords {
        &self.0.passwords
    }

    /// What was refused, and is not on record yet.
    pub fn refusals(&self) -> &Refusals {
        &self.0.refusals
    }

    /// What is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// From here on the server is not ready for more requests, and says so.
    pub fn stop_begins(&self) {
        self.0.stopping.store(true, Ordering::Relaxed);
    }

    /// Whether the server was told to stop.
    pub fn stops(&self) -> bool {
        self.0.stopping.load(Ordering::Relaxed)
    }

    /// The last upload was refused, since there was no room on the disk for so many bytes; or there
    /// was room for it: 0.
    pub fn note_room(&self, missing_bytes: u64) {
        self.0.no_room.store(missing_bytes, Ordering::Relaxed);
    }

    /// For how many bytes of an upload there was no room; 0: there was room for the last one.
    pub fn no_room(&self) -> u64 {
        self.0.no_room.load(Ordering::Relaxed)
    }

    /// Looks whether the server is ready, by whether it is for uploads, too: what stands in the way.
    pub fn looks(&self) -> &Once<bool, Result<Option<Cow<'static, str>>>> {
        &self.0.looks
    }

    /// Which artifacts were found intact.
    pub fn intact(&self) -> &Arc<Intact> {
        &self.0.intact
    }

    /// Places for uploads that are written.
    pub fn uploads(&self) -> &Places {
        &self.0.uploads
    }

    /// Places for pages that are dear to make.
    pub fn dear(&self) -> &Places {
        &self.0.dear
    }

    /// Places for archives, which are packed while they are sent.
    pub fn archives(&self) -> &Places {
        &self.0.archives
    }

    /// What is being worked on and what waits, of what only some are worked on at a time.
    pub fn queues(&self) -> [(Place, Queue); 8] {
        let app = &self.0;
        [
            (Place::Upload, app.uploads.queue()),
            (Place::Password, app.passwords.queue()),
            (Place::Expensive, app.dear.queue()),
            (Place::Archive, app.archives.queue()),
            (Place::Stream, app.streams.queue()),
            (Place::Check, app.intact.queue()),
            (Place::Comparison, app.file_diffs.queue()),
            (Place::Drawing, app.drawings.queue()),
        ]
    }

    /// Waits for a place for an answer that is made while it is sent, in the share of who asks.
    pub async fn stream_place(&self, who: Option<Who>) -> Result<Taken> {
        self.0.streams.take(self.metrics(), who).await
    }

    /// A body that `produce` writes while it is sent, on a thread of its own; `size` if it is known.
    /// Waits for a place in the share of who asks.
    pub async fn stream(
        &self,
        who: Option<Who>,
        size: Option<u64>,
        produce: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static,
    ) -> Result<Body> {
        let place = self.stream_place(who).await?;
        Ok(stream::body(size, move |out| {
            let _place = place;
            produce(out)
        }))
    }

    /// What is run after an upload.
    pub fn hooks(&self) -> &Hooks {
        &self.0.hooks
    }

    /// Where things are in consoles that were looked at.
    pub fn outlines(&self) -> &Outlines {
        &self.0.outlines
    }

    /// How much space consoles take in `exec` files.
    pub fn console_sizes(&self) -> &ConsoleSizes {
        &self.0.console_sizes
    }

    /// Looks in the background at failed builds that were not looked at yet.
    pub fn look_at_failures(&self) {
        let app = self.clone();
        tokio::task::spawn_blocking(move || app.0.looking.catch_up(app.store(), || app.stops()));
    }

    /// Runs `work`, which blocks, on a thread for that. A client that leaves does not stop it.
    pub async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&App) -> T + Send + 'static,
    ) -> Result<T> {
        let app = App(self.0.clone(), origin::current().or_else(|| self.1.clone()));
        let span = tracing::Span::current();
        tokio::task::spawn_blocking(move || span.in_scope(|| work(&app)))
            .await
            .map_err(Error::internal)
    }

    /// Runs `work`, which blocks and takes long, on a thread of its own that stands behind those of
    /// pages where there is too little of the processor for all. A client that leaves does not stop
    /// it.
    pub async fn behind_pages<T: Send + 'static>(
        &self,
        work: impl FnOnce(&App) -> T + Send + 'static,
    ) -> Result<T> {
        let app = App(self.0.clone(), origin::current().or_else(|| self.1.clone()));
        let span = tracing::Span::current();
        let runtime = tokio::runtime::Handle::current();
        let (sender, done) = tokio::sync::oneshot::channel();
        std::thread::Builder::new()
            .name("behind pages".to_owned())
            .spawn(move || {
                stand_behind();
                let _runtime = runtime.enter();
                // Who waited may be gone.
                let _unsent = sender.send(span.in_scope(|| work(&app)));
            })
            .map_err(Error::internal)?;
        done.await.map_err(Error::internal)
    }

    /// Reads one moment of the database.
    pub async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&mut Tx<'_>) -> builder_store::Result<T> + Send + 'static,
    ) -> Result<T> {
        Ok(self.blocking(|app| app.store().read(read)).await??)
    }

    /// Gives a page the form the client asked for. On a thread that may take its time.
    pub fn show<P: Page>(&self, accepts: Accepts, mut page: P) -> Result<Response> {
        page.prepare(self);
        shown(self, &page, accepts)
    }

    /// Loads a page from one moment of the database and gives it the form the client asked for.
    pub async fn page<P: Page + Send + 'static>(
        &self,
        accepts: Accepts,
        load: impl FnOnce(&App, &mut Tx<'_>) -> Result<P> + Send + 'static,
    ) -> Result<Response> {
        let loaded = self.blocking(move |app| match Loaded::of(app, load)? {
            Loaded::Ready(page) => Ok(Ok(app.show(accepts, page)?)),
            Loaded::Waits(page) => Ok(Err(page)),
        });
        let response = match loaded.await {
            Ok(Ok(Ok(response))) => Ok(response),
            Ok(Ok(Err(page))) => self.show_dear(page, accepts).await,
            Ok(Err(error)) | Err(error) => Err(error),
        };
        self.keep_soon();
        response
    }

    async fn show_dear<P: Page + Send + 'static>(
        &self,
        page: P,
        accepts: Accepts,
    ) -> Result<Response> {
        let prepared = self.with_place(page).await?;
        self.show_prepared(prepared, accepts).await
    }

    /// Reads what a page waits for, and prepares it in a place if it is dear.
    async fn with_place<P: Page + Send + 'static>(&self, mut page: P) -> Result<Prepared<P>> {
        let who = places::who_asks();
        for sha256 in page.unread() {
            match derived::solo5(self, sha256, who.clone()).await {
                Ok(solo5) => page.tell(sha256, solo5),
                // Without it the page would say of a unikernel that it is none.
                Err(error @ Error::NoPlace(_)) => return Err(error),
                // The page can do without; the download says that it is missing or damaged.
                Err(_) => {}
            }
        }
        let is_dear = self.blocking(move |app| (page.is_dear(app), page)).await?;
        let (is_dear, mut page) = is_dear;
        let place = match is_dear {
            true => Some(self.dear().take(self.metrics(), who).await?),
            false => None,
        };
        self.blocking(move |app| {
            page.prepare(app);
            Prepared {
                page,
                _place: place,
            }
        })
        .await
    }

    /// Loads from one moment of the database what a page tells, in another form than its own.
    pub async fn loaded<P: 'static, T: Send + 'static>(
        &self,
        load: impl FnOnce(&App, &mut Tx<'_>) -> Result<P> + Send + 'static,
        told: impl FnOnce(&P) -> T + Send + 'static,
    ) -> Result<T> {
        let told = self
            .blocking(move |app| {
                let page = app.store().read(|tx| Ok(load(app, tx)))??;
                Ok(told(&page))
            })
            .await?;
        self.keep_soon();
        told
    }

    /// Counts in the background what changed in the input of a build that was just kept, so that the
    /// first who looks at its job need not ask again.
    pub fn compare_soon(&self, uuid: Uuid) {
        let app = self.clone();
        tokio::task::spawn_blocking(move || {
            let asked = app
                .store()
                .read(|tx| app.comparisons().ask_for_upload(tx, uuid));
            if let Err(error) = asked {
                warn!(
                    "cannot compare the input of build {uuid}: {}",
                    with_causes(&error)
                );
            }
            app.keep_soon();
        });
    }

    /// Computes and keeps in the background what pages have asked for or found out. On one thread at
    /// a time, since all that is kept waits for the writer's lock, and behind pages.
    pub fn keep_soon(&self) {
        if !self.has_more_to_keep() || self.0.keeping.swap(true, Ordering::AcqRel) {
            return;
        }
        let app = self.clone();
        // Not of the runtime, whose end would wait for it: that it is cut off at any point is no harm.
        let thread = std::thread::Builder::new().name("keeps".to_owned());
        let spawned = thread.spawn(move || {
            stand_behind();
            loop {
                let working = Working(&app.0.keeping);
                let bytes_max = app.limits().opam_switch_bytes_max;
                app.comparisons().compute(app.store(), bytes_max);
                app.derived().keep(app.store());
                app.file_diffs().keep(app.store());
                drop(working);
                // What came in meanwhile found this thread at work.
                if !app.has_more_to_keep() || app.0.keeping.swap(true, Ordering::AcqRel) {
                    break;
                }
            }
        });
        if let Err(error) = spawned {
            // The next page that asks for something tries again.
            self.0.keeping.store(false, Ordering::Release);
            tracing::warn!("no thread for what pages have asked for: {error}");
        }
    }

    fn has_more_to_keep(&self) -> bool {
        self.comparisons().has_pending()
            || self.derived().has_more_to_keep()
            || self.file_diffs().has_more_to_keep()
    }

    /// Loads a page from one moment of the database, to be completed before it is shown.
    pub async fn prepared<P: Page + Send + 'static>(
        &self,
        load: impl FnOnce(&App, &mut Tx<'_>) -> Result<P> + Send + 'static,
    ) -> Result<Prepared<P>> {
        let loaded = self.blocking(move |app| {
            let mut loaded = Loaded::of(app, load)?;
            if let Loaded::Ready(page) = &mut loaded {
                page.prepare(app);
            }
            Ok::<_, Error>(loaded)
        });
        match loaded.await?? {
            Loaded::Ready(page) => Ok(Prepared { page, _place: None }),
            Loaded::Waits(page) => {
                let prepared = self.with_place(page).await;
                self.keep_soon();
                prepared
            }
        }
    }

    /// Gives a page that is complete the form the client asked for.
    pub async fn show_prepared<P: Page + Send + 'static>(
        &self,
        page: Prepared<P>,
        accepts: Accepts,
    ) -> Result<Response> {
        self.blocking(move |app| shown(app, &page.page, accepts))
            .await?
    }
}

/// A page as the database tells it.
enum Loaded<P> {
    /// It can be prepared at once.
    Ready(P),
    /// It waits for something, without the database.
    Waits(P),
}

impl<P: Page> Loaded<P> {
    fn of(app: &App, load: impl FnOnce(&App, &mut Tx<'_>) -> Result<P>) -> Result<Loaded<P>> {
        let page = app.store().read(|tx| Ok(load(app, tx)))??;
        Ok(match !page.unread().is_empty() || page.is_dear(app) {
            true => Loaded::Waits(page),
            false => Loaded::Ready(page),
        })
    }
}

/// A page that is prepared. What is dear to prepare holds its place until it is shown.
#[derive(Debug)]
pub struct Prepared<P> {
    page: P,
    _place: Option<Taken>,
}

impl<P> Deref for Prepared<P> {
    type Target = P;

    fn deref(&self) -> &P {
        &self.page
    }
}

impl<P> DerefMut for Prepared<P> {
    fn deref_mut(&mut self) -> &mut P {
        &mut self.page
    }
}

/// That somebody is at work, until it is dropped.
struct Working<'a>(&'a AtomicBool);

impl Drop for Working<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// Does two things at the same time, the second on a thread of its own. For what takes much longer
/// than to start one: a tenth of a millisecond at most.
pub fn at_once<A, B: Send>(first: impl FnOnce() -> A, second: impl FnOnce() -> B + Send) -> (A, B) {
    std::thread::scope(|scope| {
        let second = scope.spawn(second);
        let first = first();
        match second.join() {
            Ok(second) => (first, second),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

fn shown(app: &App, page: &impl Page, accepts: Accepts) -> Result<Response> {
    // Not made for those who do not ask for it: it takes as long as the page.
    let json = match accepts.json {
        true => page.json_text()?,
        false => None,
    };
    let (content_type, body) = match json {
        Some(json) => (respond::JSON, json),
        None => {
            let html = match page.share() {
                Some(share) => page.render_with_values(&Shared {
                    origin: app.origin().to_owned(),
                    page: share,
                    site: share::of_site(&app.config().site),
                    picture: app.layout().picture.clone(),
                }),
                None => page.render(),
            };
            (respond::HTML, html.map_err(Error::internal)?)
        }
    };
    let headers = [(header::CONTENT_TYPE, HeaderValue::from_static(content_type))];
    Ok((StatusCode::OK, headers, body).into_response())
}

/// Makes this thread nicer than those that make pages: with eight uploads on two cores it would
/// otherwise be they that a reader waits for. It still gets a third of a core that one page is made
/// on, so that nobody starves it.
fn stand_behind() {
    // On Linux a thread has a niceness of its own; elsewhere it is the process's.
    #[cfg(target_os = "linux")]
    {
        const NICER: i32 = 5;
        let nice = rustix::process::getpriority_process(None).unwrap_or_default();
        let _same_as_before: rustix::io::Result<()> =
            rustix::process::setpriority_process(None, nice + NICER);
    }
}
