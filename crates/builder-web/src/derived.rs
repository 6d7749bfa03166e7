//! What is computed from an artifact: once for each content, remembered in memory and in the
//! store.

use std::collections::{HashMap, HashSet};
use std::io::{self, Read, Seek};
use std::sync::{Mutex, MutexGuard, PoisonError};

use builder_store::derived::{self, Kind};
use builder_store::latest;
use builder_store::{Sha256, Store, Tx};
use serde::{Deserialize, Serialize};
use solo5_elf::Unikernel;
use tracing::{debug, info, warn};
use utoipa::ToSchema;

use crate::app::App;
use crate::error::{Error, Result, with_causes};
use crate::intact;
use crate::markdown::{self, Html};
use crate::places::Who;

/// What a main binary says of itself, if it is a unikernel.
pub const SOLO5: Kind = Kind {
    name: "solo5",
    version: 1,
};

/// Memory for texts as HTML: of hundreds of common READMEs, or the largest two.
const MARKDOWN_MEMORY_MAX: usize = 8 * 1024 * 1024;
/// A longer text takes some ten milliseconds and much memory to be made HTML: it is dear.
const MARKDOWN_DEAR_BYTES_MIN: usize = 64 * 1024;

/// Remembers what was computed.
#[derive(Debug)]
pub struct Derived {
    max: usize,
    solo5: Mutex<HashMap<Sha256, Option<Solo5>>>,
    markdown: Mutex<Markdown>,
    /// Computed by a page, which only reads; to be kept when the page is shown.
    to_keep: Mutex<Vec<(Sha256, Option<Solo5>)>>,
}

/// Texts that were made HTML.
#[derive(Debug, Default)]
struct Markdown {
    known: HashMap<Sha256, Html>,
    bytes: usize,
}

/// The manifest and ABI of a unikernel, in the form that clients read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Solo5 {
    /// Which devices it needs.
    pub solo5_manifest: Manifest,
    /// What it runs on.
    pub solo5_abi: Abi,
}

/// Which devices a unikernel needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Solo5Manifest)]
pub struct Manifest {
    /// `solo5.manifest`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Of the manifest's form.
    pub version: u32,
    /// In the order of the manifest.
    pub devices: Vec<Device>,
}

/// A device a unikernel needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Solo5Device)]
pub struct Device {
    /// What it is called when the unikernel is started.
    pub name: String,
    /// `NET_BASIC` or `BLOCK_BASIC`.
    #[serde(rename = "type")]
    pub kind: String,
}

/// What a unikernel runs on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Solo5Abi)]
pub struct Abi {
    /// `solo5.abi`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Such as `hvt`.
    pub target: String,
    /// Of the interface between unikernel and tender; clients expect a signed number.
    pub version: i32,
}

impl Derived {
    /// Remembers nothing yet.
    pub fn new(max: usize) -> Derived {
        Derived {
            max,
            solo5: Mutex::default(),
            markdown: Mutex::default(),
            to_keep: Mutex::default(),
        }
    }

    /// What this artifact says of itself as a unikernel, from memory or the store; none: nobody has
    /// read it yet, see [`solo5`].
    pub fn known_solo5(
        &self,
        tx: &mut Tx<'_>,
        sha256: Sha256,
    ) -> builder_store::Result<Option<Option<Solo5>>> {
        if let Some(known) = self.remembered(sha256) {
            return Ok(Some(known));
        }
        let kept =
            derived::get(tx, SOLO5, sha256)?.and_then(|value| serde_json::from_slice(&value).ok());
        if let Some(solo5) = &kept {
            self.remember(sha256, Option::clone(solo5));
        }
        Ok(kept)
    }

    /// Markdown from an upload as HTML. Remembered in memory only: a common README takes less than a
    /// millisecond.
    pub fn markdown(&self, text: &str) -> Html {
        self.html(Sha256::of(text.as_bytes()), text, markdown::to_html)
    }

    /// Whether it is dear to make this text HTML: long, and not remembered.
    pub fn is_dear_markdown(&self, text: &str) -> bool {
        text.len() > MARKDOWN_DEAR_BYTES_MIN
            && !lock(&self.markdown)
                .known
                .contains_key(&Sha256::of(text.as_bytes()))
    }

    /// What the operator wrote as HTML, likewise.
    pub fn introduction(&self, text: &str) -> Html {
        // The same text may be a README, too, and reads otherwise there.
        let key = Sha256::of(format!("introduction {text}").as_bytes());
        self.html(key, text, markdown::introduction)
    }

    fn html(&self, sha256: Sha256, text: &str, make: impl FnOnce(&str) -> Html) -> Html {
        if let Some(html) = lock(&self.markdown).known.get(&sha256) {
            return html.clone();
        }
        let html = make(text);
        let bytes = html.bytes() + size_of::<(Sha256, Html)>();
        if bytes > MARKDOWN_MEMORY_MAX / 2 {
            return html;
        }
        let mut markdown = lock(&self.markdown);
        if markdown.bytes + bytes > MARKDOWN_MEMORY_MAX {
            *markdown = Markdown::default();
        }
        // Another may have made the same meanwhile.
        if markdown.known.insert(sha256, html.clone()).is_none() {
            markdown.bytes += bytes;
        }
        html
    }

    /// Remembers what was read from an artifact until [`Derived::keep`].
    pub fn keep_later(&self, sha256: Sha256, solo5: Option<Solo5>) {
        self.remember(sha256, solo5.clone());
        lock(&self.to_keep).push((sha256, solo5));
    }

    /// Whether pages have computed something that is not kept yet.
    pub fn has_more_to_keep(&self) -> bool {
        !lock(&self.to_keep).is_empty()
    }

    /// Keeps what pages have computed. It is computed again one day if that fails.
    pub fn keep(&self, store: &Store) {
        let to_keep = std::mem::take(&mut *lock(&self.to_keep));
        let kept = store.write(|tx| {
            to_keep
                .iter()
                .try_for_each(|(sha256, solo5)| self.keep_solo5(tx, *sha256, solo5))
        });
        if let Err(error) = kept {
            warn!("cannot keep what was derived: {}", with_causes(&error));
        }
    }

    fn keep_solo5(
        &self,
        tx: &mut Tx<'_>,
        sha256: Sha256,
        solo5: &Option<Solo5>,
    ) -> builder_store::Result<()> {
        match serde_json::to_vec(solo5) {
            Ok(value) => derived::set(tx, SOLO5, sha256, &value)?,
            // It is read again when asked for.
            Err(error) => warn!("cannot keep the manifest of {sha256}: {error}"),
        }
        Ok(())
    }

    fn remembered(&self, sha256: Sha256) -> Option<Option<Solo5>> {
        lock(&self.solo5).get(&sha256).cloned()
    }

    fn remember(&self, sha256: Sha256, solo5: Option<Solo5>) {
        let mut known = lock(&self.solo5);
        if known.len() >= self.max {
            known.clear();
        }
        known.insert(sha256, solo5);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What this artifact says of itself as a unikernel. Read from the file where nobody has read it yet:
/// compared as a whole before, in a place for that, once for all who ask, and not again soon where it
/// is damaged. To be asked outside of a transaction.
pub async fn solo5(app: &App, sha256: Sha256, who: Option<Who>) -> Result<Option<Solo5>> {
    if let Some(known) = app.derived().remembered(sha256) {
        return Ok(known);
    }
    let opened = app.blocking(move |app| app.store().artifacts().open(sha256));
    let (file, _) = opened.await??;
    let mut file = intact::open_anywhere(app, file, sha256, who).await?;
    let read = app.blocking(move |app| {
        if let Some(known) = app.derived().remembered(sha256) {
            return Ok(known);
        }
        let solo5 = read_solo5(&mut file, sha256).map_err(Error::damaged)?;
        app.derived().keep_later(sha256, solo5.clone());
        Ok(solo5)
    });
    read.await?
}

/// Reads in the background what the newest main binaries say of themselves, those of which it is not
/// known: all of them, where another server kept the builds. One at a time, so that pages have places
/// meanwhile.
pub async fn catch_up(app: &App) {
    let derived_of = app.clone();
    let unread = app.read(move |tx| {
        let mut unread = HashSet::new();
        for latest in latest::by_job(tx)?.into_values().flatten() {
            if let Some(main) = latest.successful.and_then(|build| build.main_binary)
                && derived_of.derived().known_solo5(tx, main.sha256)?.is_none()
            {
                unread.insert(main.sha256);
            }
        }
        Ok(unread)
    });
    // An error is in the log; pages ask for what they need.
    let Ok(unread) = unread.await else { return };
    let mut count = 0;
    for sha256 in &unread {
        if app.stops() {
            return;
        }
        // A damaged one is in the log.
        count += usize::from(solo5(app, *sha256, None).await.is_ok());
        app.keep_soon();
    }
    if !unread.is_empty() {
        info!(
            "read {count} of {} main binaries for what they need to run",
            unread.len()
        );
    }
}

/// Reads the notes of a unikernel; whatever else the file is, it has none.
pub fn read_solo5(file: &mut (impl Read + Seek), sha256: Sha256) -> io::Result<Option<Solo5>> {
    match solo5_elf::read(file) {
        Ok(unikernel) => Ok(Some(Solo5::from(unikernel))),
        // Nothing is known of it then, and nothing is to be kept.
        Err(solo5_elf::Error::Io(error)) => Err(error),
        Err(error) => {
            debug!("{sha256} is no unikernel: {error}");
            Ok(None)
        }
    }
}

impl From<Unikernel> for Solo5 {
    fn from(unikernel: Unikernel) -> Solo5 {
        Solo5 {
            solo5_manifest: Manifest {
                kind: "solo5.manifest".to_owned(),
                version: unikernel.manifest.version,
                devices: unikernel
                    .manifest
                    .devices
                    .into_iter()
                    .map(|device| Device {
                        name: device.name,
                        kind: device.kind.as_str().to_owned(),
                    })
                    .collect(),
            },
            solo5_abi: Abi {
                kind: "solo5.abi".to_owned(),
                target: unikernel.abi.target.as_str().to_owned(),
                version: unikernel.abi.version.cast_signed(),
            },
        }
    }
}
