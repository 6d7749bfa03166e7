//! Pictures of builds: those that upload hooks left in `_cache`, or our own, each drawn once.
//!
//! A picture is drawn away from the request that asks for it: whoever asks meanwhile waits for the
//! same one, and a client that leaves does not stop it. What was drawn, and what cannot be drawn,
//! is kept by the content it shows and the version of the drawing.

use std::collections::HashMap;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};

use builder_store::builds::{self, Artifact, Build};
use builder_store::cache::{Drawing, Drawn, Form, Picture};
use serde::Serialize;
use tokio::sync::{Semaphore, watch};
use tracing::{debug, warn};
use uuid::Uuid;

use crate::app::App;
use crate::config::Limits;
use crate::error::{Error, Result, with_causes};
use crate::metrics::Queue;
use crate::removed;

/// The version of each of our drawings.
pub const VERSIONS: [(Picture, u32); 2] = [
    (Picture::Treemap, builder_viz::TREEMAP_VERSION),
    (Picture::Dependencies, builder_viz::DEPENDENCIES_VERSION),
];

/// Draws pictures, some at a time.
#[derive(Debug)]
pub struct Drawings {
    under_way: Mutex<HashMap<Key, watch::Receiver<Option<Arc<Drawn>>>>>,
    places: Semaphore,
    places_max: usize,
    /// Of the drawings that nobody waits for, one at a time.
    background: Semaphore,
    waiting_max: usize,
    waiting: Mutex<usize>,
}

/// What is drawn.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    /// Kept in the store.
    Kept(Drawing),
    /// Two builds: there are too many pairs to keep them all.
    Changes(Uuid, Uuid, Form),
}

/// A picture to be sent.
#[derive(Debug, Clone)]
pub enum Shown {
    /// Our own.
    Own(Arc<Drawn>),
    /// A page that an upload hook made, which is not to be trusted with our origin.
    OfHook(Vec<u8>),
}

/// What a picture of a build is drawn of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    drawing: Drawing,
    bytes: u64,
}

/// The artifact that a picture of this build shows, if it has one.
pub fn subject<'a>(
    picture: Picture,
    build: &Build,
    artifacts: &'a [Artifact],
) -> Option<&'a Artifact> {
    let at = |path: &str| artifacts.iter().find(|artifact| artifact.path == path);
    match picture {
        Picture::Dependencies => at("opam-switch"),
        Picture::Treemap => {
            // Where orb puts it; anywhere else it is as good.
            let main = build.main_binary.as_ref()?;
            let name = format!("{}.debug", main.path.rsplit('/').next()?);
            let elsewhere = || {
                artifacts
                    .iter()
                    .find(|artifact| artifact.file_name() == name)
            };
            at(&name).or_else(elsewhere)
        }
    }
}

impl Subject {
    fn of(picture: Picture, form: Form, build: &Build, artifacts: &[Artifact]) -> Option<Subject> {
        let artifact = subject(picture, build, artifacts)?;
        let version = VERSIONS.iter().find(|(of, _)| *of == picture)?.1;
        let main = build.main_binary.as_ref();
        let binary_bytes = match picture {
            Picture::Treemap => Some(main?.size),
            Picture::Dependencies => None,
        };
        Some(Subject {
            drawing: Drawing {
                picture,
                version,
                sha256: artifact.sha256,
                binary_bytes,
                form,
            },
            bytes: artifact.size,
        })
    }
}

impl Drawings {
    /// Nothing is drawn yet.
    pub fn new(limits: &Limits) -> Drawings {
        Drawings {
            under_way: Mutex::default(),
            places: Semaphore::new(limits.drawings_concurrent_max),
            background: Semaphore::new(1),
            places_max: limits.drawings_concurrent_max,
            waiting_max: limits.drawings_waiting_max,
            waiting: Mutex::default(),
        }
    }

    /// How many pictures are being drawn; and how many wait, with the builds whose pictures are to
    /// be drawn before somebody asks for them.
    pub fn queue(&self) -> Queue {
        let under_way = lock(&self.under_way).len();
        let taken = self
            .places_max
            .saturating_sub(self.places.available_permits());
        let builds =
            lock(&self.waiting).saturating_sub(1 - self.background.available_permits().min(1));
        Queue {
            taken,
            waiting: under_way.saturating_sub(taken) + builds,
        }
    }
}

impl App {
    /// A picture of a build; none: it has nothing that could be shown so.
    pub async fn picture(&self, picture: Picture, form: Form, uuid: Uuid) -> Result<Option<Shown>> {
        let found = self
            .blocking(move |app| {
                let found = app.store().read(|tx| {
                    let Some(build) = builds::by_uuid(tx, uuid)? else {
                        return removed::missing(tx, uuid).map(Err);
                    };
                    let artifacts = builds::artifacts(tx, build.id)?;
                    Ok(Ok((build, artifacts)))
                })?;
                let (build, artifacts) = found?;
                let Some(subject) = Subject::of(picture, form, &build, &artifacts) else {
                    return Ok::<_, Error>(None);
                };
                let kept = kept(app, &subject)?;
                Ok(Some((subject, kept)))
            })
            .await??;
        match found {
            None => Ok(None),
            Some((_, Some(shown))) => Ok(Some(shown)),
            Some((subject, None)) => Ok(Some(Shown::Own(self.draw(subject).await?))),
        }
    }

    /// The treemaps of two builds side by side.
    pub async fn treemap_changes(
        &self,
        (left, right): (Uuid, Uuid),
        form: Form,
        draw: impl FnOnce(&App) -> Result<Drawn> + Send + 'static,
    ) -> Result<Arc<Drawn>> {
        self.once(Key::Changes(left, right, form), draw).await
    }

    /// Draws both pictures of a build before somebody asks for them, when there is little else to
    /// draw. What does not come to it is drawn when it is asked for.
    pub fn draw_soon(&self, uuid: Uuid) {
        let drawings = self.drawings();
        {
            let mut waiting = lock(&drawings.waiting);
            if *waiting >= drawings.waiting_max {
                debug!("too many pictures wait to be drawn: those of {uuid} wait to be asked for");
                return;
            }
            *waiting += 1;
        }
        let app = self.clone();
        tokio::spawn(async move {
            if let Ok(_place) = app.drawings().background.acquire().await {
                for picture in Picture::ALL {
                    if let Err(error) = app.picture(picture, Form::Html, uuid).await {
                        debug!("cannot draw {} of {uuid}: {error:?}", picture.name());
                    }
                }
            }
            *lock(&app.drawings().waiting) -= 1;
        });
    }

    async fn draw(&self, subject: Subject) -> Result<Arc<Drawn>> {
        self.once(Key::Kept(subject.drawing), move |app| {
            // Drawn while this one waited for its turn?
            if let Some(drawn) = app.store().cache().get(&subject.drawing)? {
                return Ok(drawn);
            }
            let drawn = drawn(app, &subject)?;
            if let Err(error) = app.store().cache().keep(&subject.drawing, &drawn) {
                warn!("a picture cannot be kept: {}", with_causes(&error));
            }
            Ok(drawn)
        })
        .await
    }

    /// Runs `draw` on a thread, unless it is under way for this key already; gives what it gave.
    async fn once(
        &self,
        key: Key,
        draw: impl FnOnce(&App) -> Result<Drawn> + Send + 'static,
    ) -> Result<Arc<Drawn>> {
        let mut drawn = {
            let mut under_way = lock(&self.drawings().under_way);
            match under_way.get(&key) {
                Some(drawn) => drawn.clone(),
                None => {
                    let (sender, receiver) = watch::channel(None);
                    under_way.insert(key.clone(), receiver.clone());
                    let app = self.clone();
                    tokio::spawn(async move {
                        let drawn = match app.drawings().places.acquire().await {
                            Ok(_place) => app.behind_pages(draw).await.and_then(|drawn| drawn),
                            Err(error) => Err(Error::internal(error)),
                        };
                        lock(&app.drawings().under_way).remove(&key);
                        match drawn {
                            Ok(drawn) => {
                                // Nobody may be waiting any more.
                                let _: Option<_> = sender.send_replace(Some(Arc::new(drawn)));
                            }
                            // Logged where it happened; whoever waits is told that it failed.
                            Err(error) => debug!("a picture was not drawn: {error:?}"),
                        }
                    });
                    receiver
                }
            }
        };
        let drawn = drawn
            .wait_for(Option::is_some)
            .await
            .map_err(|_| Error::Internal)?;
        drawn.clone().ok_or(Error::Internal)
    }
}

/// What is there already: a hook's, which is a page for people, else ours.
fn kept(app: &App, subject: &Subject) -> Result<Option<Shown>> {
    let cache = app.store().cache();
    let drawing = &subject.drawing;
    let of_hooks = match drawing.form {
        Form::Html => cache.of_hooks(drawing.picture, drawing.sha256)?,
        Form::Json => None,
    };
    if let Some(path) = of_hooks {
        let bytes_max = app.limits().hook_picture_bytes_max;
        let mut bytes = Vec::new();
        let read = std::fs::File::open(&path)
            .and_then(|file| file.take(bytes_max + 1).read_to_end(&mut bytes));
        match read {
            Ok(_) if bytes.len() as u64 <= bytes_max => return Ok(Some(Shown::OfHook(bytes))),
            Ok(_) => warn!(
                "{} has more than {bytes_max} bytes: our own picture is shown",
                path.display()
            ),
            Err(error) => warn!(
                "cannot read {}: {error}; our own picture is shown",
                path.display()
            ),
        }
    }
    let drawn = cache.get(drawing)?;
    Ok(drawn.map(|drawn| Shown::Own(Arc::new(drawn))))
}

fn drawn(app: &App, subject: &Subject) -> Result<Drawn> {
    let drawing = &subject.drawing;
    let bytes_max = bytes_max(app, drawing.picture);
    if subject.bytes > bytes_max {
        return Ok(Drawn::Nothing(too_large(subject.bytes, bytes_max)));
    }
    let bytes = app.store().artifacts().bytes(drawing.sha256, bytes_max)?;
    let drawn = match (drawing.picture, drawing.form) {
        (Picture::Treemap, Form::Html) => {
            builder_viz::treemap(&bytes, drawing.binary_bytes).map(String::into_bytes)
        }
        (Picture::Treemap, Form::Json) => {
            match builder_viz::treemap_data(&bytes, drawing.binary_bytes) {
                Ok(data) => Ok(json(&data)?),
                Err(error) => Err(error),
            }
        }
        (Picture::Dependencies, Form::Html) => {
            builder_viz::dependencies(&bytes).map(String::into_bytes)
        }
        (Picture::Dependencies, Form::Json) => match builder_viz::dependencies_data(&bytes) {
            Ok(data) => Ok(json(&data)?),
            Err(error) => Err(error),
        },
    };
    Ok(match drawn {
        Ok(picture) => Drawn::Picture(picture),
        Err(error) => Drawn::Nothing(error.to_string()),
    })
}

/// What a picture tells, as programs get it.
pub fn json(data: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(data).map_err(Error::internal)
}

fn bytes_max(app: &App, picture: Picture) -> u64 {
    match picture {
        Picture::Treemap => app.limits().drawn_binary_bytes_max,
        Picture::Dependencies => app.limits().opam_switch_bytes_max,
    }
}

fn too_large(bytes: u64, bytes_max: u64) -> String {
    builder_viz::Error::TooLarge { bytes, bytes_max }.to_string()
}

/// The bytes of the debug binary of a build; or why there are none, in a sentence.
pub fn debug_binary(
    app: &App,
    build: &Build,
    artifacts: &[Artifact],
) -> Result<std::result::Result<Vec<u8>, String>> {
    let Some(artifact) = subject(Picture::Treemap, build, artifacts) else {
        return Ok(Err("it has no debug binary".to_owned()));
    };
    let bytes_max = bytes_max(app, Picture::Treemap);
    if artifact.size > bytes_max {
        return Ok(Err(too_large(artifact.size, bytes_max)));
    }
    let artifacts = app.store().artifacts();
    Ok(Ok(artifacts.bytes(artifact.sha256, bytes_max)?))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
