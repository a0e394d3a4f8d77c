//! Which of several autoscalers decides: the one that holds the lease, an object in the store that only one of them can
//! write at a time.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use platform::{
    Error, Kind, Result,
    error::ResultExt as _,
    store::{Store, Version},
};
use tokio::time::sleep;

use crate::clock::Clock;

/// How long a lease holds without being renewed: so long nobody decides when a leader dies. On S3 the renewals are the only
/// calls of an idle autoscaler beside its listings: 17,280 small writes a day, about 9 cents.
const TTL: Duration = Duration::from_secs(15);

const RENEW_PERIOD: Duration = Duration::from_secs(5);

/// The leader acts only while its lease holds for this much longer: clocks differ, and calls take time.
const MARGIN: Duration = Duration::from_secs(3);

const KEY: &str = "leader";

/// Holds the lease, or waits for it.
pub struct Lease {
    store: Arc<dyn Store>,
    clock: Clock,
    holder: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The lease as we wrote it last, while it is ours.
    held: Option<Held>,
}

#[derive(Debug, Clone)]
struct Held {
    epoch: u64,
    until: Duration,
    version: Version,
}

/// What the object says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    /// Empty: it was given back.
    holder: String,
    /// One more with each leader.
    epoch: u64,
    expires: Duration,
}

impl Lease {
    pub fn new(store: Arc<dyn Store>, clock: Clock) -> Self {
        let holder = format!("{}/{}", process(), platform::id::new());
        Self { store, clock, holder, state: Mutex::default() }
    }

    /// The epoch, while we lead.
    pub fn epoch(&self) -> Option<u64> {
        let now = self.clock.now();
        self.state().held.as_ref().filter(|held| now + MARGIN < held.until).map(|held| held.epoch)
    }

    /// Renews or waits for the lease, for ever; calls `changed` when it was won or lost.
    ///
    /// Dropped at any point, the lease ends by itself.
    pub async fn keep(&self, changed: impl Fn()) {
        let mut last = None;
        loop {
            if let Err(error) = self.renew().await {
                tracing::warn!(%error, "renew the leader's lease");
            }
            let epoch = self.epoch();
            if epoch != last {
                match epoch {
                    Some(epoch) => tracing::info!(epoch, "lead"),
                    None => tracing::warn!("no longer the leader"),
                }
                last = epoch;
                changed();
            }
            sleep(RENEW_PERIOD).await;
        }
    }

    /// One attempt to have the lease for another while.
    pub async fn renew(&self) -> Result<()> {
        let at = self.clock.now();
        let held = self.state().held.clone();
        if let Some(held) = held {
            match self.store.replace(KEY, self.entry(held.epoch, at + TTL), &held.version).await {
                Ok(version) => {
                    self.state().held = Some(Held { until: at + TTL, version, ..held });
                    return Ok(());
                }
                // Somebody else wrote it: it had ended.
                Err(error) if error.kind() == Kind::VersionMismatch => self.state().held = None,
                Err(error) => return Err(error.context("renew lease")),
            }
        }
        self.take(at).await
    }

    /// Gives the lease back, so that another can lead at once.
    pub async fn give_back(&self) {
        let held = self.state().held.take();
        let Some(held) = held else { return };
        let entry = Entry { holder: String::new(), epoch: held.epoch, expires: Duration::ZERO };
        if let Err(error) = self.store.replace(KEY, entry.write(), &held.version).await {
            tracing::debug!(%error, "give the leader's lease back");
        }
    }

    async fn take(&self, at: Duration) -> Result<()> {
        let (epoch, version) = match self.store.get_versioned(KEY).await {
            Ok((value, version)) => {
                let entry = Entry::read(&value)?;
                if !entry.is_free(at) {
                    return Ok(());
                }
                let epoch = entry.epoch + 1;
                let taken = self.store.replace(KEY, self.entry(epoch, at + TTL), &version).await;
                (epoch, taken)
            }
            Err(error) if error.kind() == Kind::ObjectNotFound => {
                match self.store.create(KEY, self.entry(1, at + TTL)).await {
                    // Read again for its version; whoever wrote it.
                    Ok(()) => {
                        let (value, version) = self.store.get_versioned(KEY).await.context("read lease")?;
                        let entry = Entry::read(&value)?;
                        if entry.holder != self.holder {
                            return Ok(());
                        }
                        (entry.epoch, Ok(version))
                    }
                    Err(error) => (0, Err(error)),
                }
            }
            Err(error) => return Err(error.context("read lease")),
        };
        match version {
            Ok(version) => {
                self.state().held = Some(Held { epoch, until: at + TTL, version });
                Ok(())
            }
            // Another was faster.
            Err(error) if matches!(error.kind(), Kind::VersionMismatch | Kind::AlreadyExists) => Ok(()),
            Err(error) => Err(error.context("take lease")),
        }
    }

    fn entry(&self, epoch: u64, expires: Duration) -> Bytes {
        Entry { holder: self.holder.clone(), epoch, expires }.write()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Replaced whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn write(&self) -> Bytes {
        format!("{} {} {}\n", self.epoch, self.expires.as_millis(), self.holder).into()
    }

    fn read(value: &[u8]) -> Result<Self> {
        let text = String::from_utf8_lossy(value);
        let mut words = text.trim_end_matches('\n').splitn(3, ' ');
        let mut number = || words.next().and_then(|word| word.parse::<u64>().ok());
        let (Some(epoch), Some(millis)) = (number(), number()) else {
            let sentence = format!("the store's object {KEY:?} is not a lease; remove it");
            return Err(Error::new(Kind::Internal, "").with_source(sentence));
        };
        let holder = words.next().unwrap_or_default().to_owned();
        Ok(Self { holder, epoch, expires: Duration::from_millis(millis) })
    }

    fn is_free(&self, at: Duration) -> bool {
        self.holder.is_empty() || self.expires <= at || is_dead(&self.holder)
    }
}

/// Names this process so that another on the same machine can see that it is gone: boot, process namespace, id.
fn process() -> String {
    format!("{}/{}", machine(), std::process::id())
}

fn machine() -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let namespace = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    let letters = |text: &str| text.chars().filter(char::is_ascii_alphanumeric).collect::<String>();
    format!("{}-{}", letters(&boot), letters(&namespace.to_string_lossy()))
}

/// Whether the holder is a process of this machine that does not run any more. Not knowing means no: its lease ends.
fn is_dead(holder: &str) -> bool {
    let mut parts = holder.split('/');
    let (Some(on), Some(id)) = (parts.next(), parts.next()) else { return false };
    let known = on.len() > 1 && on == machine() && std::path::Path::new("/proc/self").exists();
    known && id.parse::<u32>().is_ok_and(|id| !std::path::Path::new(&format!("/proc/{id}")).exists())
}

#[cfg(test)]
mod tests {
    use platform::store::FileStore;
    use tokio::time::advance;

    use super::*;

    fn leases(folder: &tempfile::TempDir) -> [Lease; 2] {
        let clock = Clock::start();
        [(); 2].map(|()| Lease::new(Arc::new(FileStore::open(folder.path()).unwrap()), clock))
    }

    #[tokio::test(start_paused = true)]
    async fn one_leads_until_it_stops_renewing_and_the_epoch_grows() {
        let folder = tempfile::tempdir().unwrap();
        let [first, second] = leases(&folder);
        first.renew().await.unwrap();
        second.renew().await.unwrap();
        assert_eq!((first.epoch(), second.epoch()), (Some(1), None));
        advance(TTL - MARGIN).await;
        // It may not act any more, and nobody else may yet.
        second.renew().await.unwrap();
        assert_eq!((first.epoch(), second.epoch()), (None, None));
        advance(MARGIN).await;
        second.renew().await.unwrap();
        first.renew().await.unwrap();
        assert_eq!((first.epoch(), second.epoch()), (None, Some(2)));
    }

    #[tokio::test(start_paused = true)]
    async fn lease_that_is_given_back_or_whose_holder_is_dead_is_free_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let [first, second] = leases(&folder);
        first.renew().await.unwrap();
        first.give_back().await;
        second.renew().await.unwrap();
        assert_eq!((first.epoch(), second.epoch()), (None, Some(2)));
        // No process has the highest id there could be.
        let dead = Entry {
            holder: format!("{}/{}/x", machine(), u32::MAX),
            epoch: 7,
            expires: Duration::from_secs(u64::from(u32::MAX) * 4),
        };
        let store = FileStore::open(folder.path()).unwrap();
        store.put(KEY, dead.write()).await.unwrap();
        first.renew().await.unwrap();
        assert_eq!(first.epoch(), Some(8));
    }

    #[tokio::test(start_paused = true)]
    async fn of_many_at_once_one_leads() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::start();
        let leases: Vec<_> =
            (0..8).map(|_| Lease::new(Arc::new(FileStore::open(folder.path()).unwrap()), clock)).collect();
        futures::future::join_all(leases.iter().map(Lease::renew)).await;
        assert_eq!(leases.iter().filter(|lease| lease.epoch().is_some()).count(), 1);
    }

    #[test]
    fn entry_survives_being_written() {
        let entry = Entry { holder: "a/1/b".to_owned(), epoch: 3, expires: Duration::from_millis(5) };
        assert_eq!(Entry::read(&entry.write()).unwrap(), entry);
        assert!(Entry::read(b"hello").is_err());
    }
}
