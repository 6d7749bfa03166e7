//! What is computed from an artifact: once for each content, remembered in memory and in the
//! store.

use std::collections::HashMap;
use std::fs::File;
use std::sync::{Mutex, MutexGuard, PoisonError};

use builder_store::derived::{self, Kind};
use builder_store::{Sha256, Store, Tx};
use serde::{Deserialize, Serialize};
use solo5_elf::Unikernel;
use tracing::{debug, warn};
use utoipa::ToSchema;

use crate::error::with_causes;
use crate::markdown::{self, Html};

/// What a main binary says of itself, if it is a unikernel.
pub const SOLO5: Kind = Kind {
    name: "solo5",
    version: 1,
};

/// READMEs that are remembered as HTML: some MiB.
const MARKDOWN_MAX: usize = 256;
/// READMEs larger than this are made anew each time.
const MARKDOWN_BYTES_MAX: usize = 32 * 1024;

/// Remembers what was computed.
#[derive(Debug)]
pub struct Derived {
    max: usize,
    solo5: Mutex<HashMap<Sha256, Option<Solo5>>>,
    markdown: Mutex<HashMap<Sha256, Html>>,
    /// Computed by a page, which only reads; to be kept when the page is shown.
    to_keep: Mutex<Vec<(Sha256, Option<Solo5>)>>,
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

    /// What this artifact says of itself as a unikernel, from memory, the store or the file.
    pub fn solo5(
        &self,
        store: &Store,
        tx: &mut Tx<'_>,
        sha256: Sha256,
    ) -> builder_store::Result<Option<Solo5>> {
        if let Some(known) = self.remembered(sha256) {
            return Ok(known);
        }
        let kept =
            derived::get(tx, SOLO5, sha256)?.and_then(|value| serde_json::from_slice(&value).ok());
        let solo5 = match kept {
            Some(solo5) => solo5,
            None => match store.artifacts().compared(sha256) {
                Ok(mut file) => {
                    let solo5 = read_solo5(&mut file, sha256);
                    self.keep_later(sha256, solo5.clone());
                    solo5
                }
                Err(error) => {
                    // The page can do without; the download says that it is missing or damaged.
                    warn!("{}", with_causes(&error));
                    return Ok(None);
                }
            },
        };
        self.remember(sha256, solo5.clone());
        Ok(solo5)
    }

    /// Markdown from an upload as HTML. In memory only: making it takes less than a millisecond.
    pub fn markdown(&self, text: &str) -> Html {
        self.html(Sha256::of(text.as_bytes()), text, markdown::to_html)
    }

    /// What the operator wrote as HTML, likewise.
    pub fn introduction(&self, text: &str) -> Html {
        // The same text may be a README, too, and reads otherwise there.
        let key = Sha256::of(format!("introduction {text}").as_bytes());
        self.html(key, text, markdown::introduction)
    }

    fn html(&self, sha256: Sha256, text: &str, make: impl FnOnce(&str) -> Html) -> Html {
        if let Some(html) = lock(&self.markdown).get(&sha256) {
            return html.clone();
        }
        let html = make(text);
        if text.len() > MARKDOWN_BYTES_MAX {
            return html;
        }
        let mut known = lock(&self.markdown);
        if known.len() >= MARKDOWN_MAX {
            known.clear();
        }
        known.insert(sha256, html.clone());
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

/// Reads the notes of a unikernel; whatever else the file is, it has none.
pub fn read_solo5(file: &mut File, sha256: Sha256) -> Option<Solo5> {
    match solo5_elf::read(file) {
        Ok(unikernel) => Some(Solo5::from(unikernel)),
        Err(error) => {
            debug!("{sha256} is no unikernel: {error}");
            None
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
