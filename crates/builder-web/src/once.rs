//! What several ask for at the same time is done once for all of them. Knows nothing of what that is,
//! and remembers nothing: who asks later has it done again.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tracing::Instrument;

/// What is under way, by its key.
pub struct Once<K, V>(Arc<Mutex<UnderWay<K, V>>>);

type UnderWay<K, V> = HashMap<K, watch::Receiver<Option<V>>>;

/// What came of something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Came<V> {
    /// That.
    pub of_it: V,
    /// Whether it was done for who asked, rather than for one who had asked before.
    pub is_own: bool,
}

impl<K, V> Default for Once<K, V> {
    fn default() -> Once<K, V> {
        Once(Arc::default())
    }
}

impl<K, V> fmt::Debug for Once<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Once")
            .field("under_way", &lock(&self.0).len())
            .finish()
    }
}

impl<K, V> Once<K, V>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// What comes of what is under way for this key; none: nothing is.
    pub async fn joined(&self, key: &K) -> Option<V> {
        let under_way = lock(&self.0).get(key).cloned()?;
        end_of(under_way).await
    }

    /// What comes of what is under way for this key, or else of `work`, which goes on without those
    /// who leave. None: it panicked.
    pub async fn done<W>(&self, key: K, work: impl FnOnce() -> W) -> Option<Came<V>>
    where
        W: Future<Output = V> + Send + 'static,
    {
        let (under_way, is_own) = {
            let mut all = lock(&self.0);
            match all.get(&key) {
                Some(under_way) => (under_way.clone(), false),
                None => {
                    let (sender, receiver) = watch::channel(None);
                    all.insert(key.clone(), receiver.clone());
                    let over = Over(self.0.clone(), key);
                    let work = work();
                    let done = async move {
                        let came = work.await;
                        // Before it is told: who asks from here on is not to get what is older.
                        drop(over);
                        let _nobody_waits: Option<V> = sender.send_replace(Some(came));
                    };
                    tokio::spawn(done.in_current_span());
                    (receiver, true)
                }
            }
        };
        let of_it = end_of(under_way).await?;
        Some(Came { of_it, is_own })
    }
}

async fn end_of<V: Clone>(mut under_way: watch::Receiver<Option<V>>) -> Option<V> {
    let came = under_way.wait_for(Option::is_some).await;
    came.ok()?.clone()
}

/// Takes what is under way off the list, also when it panics.
struct Over<K: Eq + Hash, V>(Arc<Mutex<UnderWay<K, V>>>, K);

impl<K: Eq + Hash, V> Drop for Over<K, V> {
    fn drop(&mut self) {
        lock(&self.0).remove(&self.1);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::{Notify, Semaphore};
    use tokio::task::JoinSet;

    use super::*;

    #[tokio::test]
    async fn those_who_ask_meanwhile_get_the_same_and_other_keys_wait_for_nobody() {
        let once: Arc<Once<&str, usize>> = Arc::default();
        let (begun, go_on) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
        let mut slow = JoinSet::new();
        for _ in 0..100 {
            let (once, begun, go_on) = (once.clone(), begun.clone(), go_on.clone());
            slow.spawn(async move {
                let work = || async move {
                    let number = begun.fetch_add(1, Ordering::Relaxed);
                    let _place = go_on.acquire().await;
                    number
                };
                once.done("slow", work).await.unwrap()
            });
        }
        let other = once.done("other", || async { 7 }).await.unwrap();
        assert_eq!((other.of_it, other.is_own), (7, true));
        assert_eq!(once.joined(&"other").await, None);
        go_on.add_permits(1);
        let came = slow.join_all().await;
        assert_eq!(begun.load(Ordering::Relaxed), 1);
        assert!(came.iter().all(|came| came.of_it == 0));
        assert_eq!(came.iter().filter(|came| came.is_own).count(), 1);
        // What is over is done again.
        assert_eq!(once.done("slow", || async { 8 }).await.unwrap().of_it, 8);
    }

    #[tokio::test]
    async fn it_goes_on_without_who_asked_first_and_is_over_when_it_panics() {
        let once: Arc<Once<u8, u8>> = Arc::default();
        let go_on = Arc::new(Notify::new());
        let first = tokio::spawn({
            let (once, go_on) = (once.clone(), go_on.clone());
            async move {
                let work = || async move {
                    go_on.notified().await;
                    1
                };
                once.done(0, work).await
            }
        });
        while lock(&once.0).is_empty() {
            tokio::task::yield_now().await;
        }
        first.abort();
        let second = tokio::spawn({
            let once = once.clone();
            async move { once.joined(&0).await }
        });
        tokio::task::yield_now().await;
        go_on.notify_one();
        assert_eq!(second.await.unwrap(), Some(1));
        let panics = once.done(0, || async { panic!("of a test") }).await;
        assert_eq!(panics, None);
        assert!(lock(&once.0).is_empty());
    }
}
