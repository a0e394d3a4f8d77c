//! The keys in force: from the file, read again when it changes.

use std::{
    collections::HashMap,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use tokio::task::JoinHandle;

use super::{
    Secret,
    bucket::Bucket,
    caller::{Caller, Quota},
    file::{KeyFile, KeyRecord},
    key::{self, Hash},
    scope::Scopes,
};
use crate::{Error, Kind, Result, changes::Changes};

/// A key that was revoked is refused after this and the time it takes to read the file.
pub const RELOAD_PERIOD: Duration = Duration::from_secs(1);

/// Checked by every call at once: a reader takes no lock.
pub struct Keys {
    table: Arc<ArcSwap<Table>>,
    /// Of this process, for calls to itself.
    own: Option<(Hash, Caller)>,
    reload: JoinHandle<()>,
}

/// By the first bytes of the hash.
#[derive(Default)]
struct Table(HashMap<u64, Vec<Entry>>);

struct Entry {
    hash: Hash,
    expires: Option<SystemTime>,
    revoked: bool,
    caller: Caller,
    bucket: Arc<Bucket>,
}

impl Keys {
    /// Reads the file, and again whenever it changes for as long as this lives. A file that breaks later leaves the keys
    /// as they were.
    pub async fn open(path: &Path) -> Result<Arc<Self>> {
        Self::open_with(path, None).await
    }

    /// The same with one more key of this process, which calls itself with it.
    pub async fn open_with(path: &Path, own: Option<&Secret>) -> Result<Arc<Self>> {
        let file = KeyFile::new(path);
        let mut changes = Changes::new([path]);
        let records = file.read().map_err(|error| {
            let hint = "make a key with: dunlin key create --keys FILE --name NAME --scope classify";
            Error::new(Kind::Config, format!("--keys: {error}; {hint}"))
        })?;
        if records.is_empty() {
            tracing::warn!(file = %path.display(), "there are no keys: every call is refused");
        }
        let table = Arc::new(ArcSwap::from_pointee(Table::new(records, &Table::default())));
        let shared = Arc::clone(&table);
        let reload = tokio::spawn(async move {
            loop {
                changes.next(RELOAD_PERIOD).await;
                let again = file.clone();
                let read = tokio::task::spawn_blocking(move || again.read()).await.map_err(Error::internal);
                match read.flatten() {
                    Ok(records) => {
                        tracing::info!(keys = records.len(), "the keys changed");
                        shared.store(Arc::new(Table::new(records, &shared.load())));
                    }
                    Err(error) => tracing::error!(%error, "the keys stay as they were"),
                }
            }
        });
        let own = own.map(|secret| (Hash::of(secret.reveal().as_bytes()), Caller::anonymous()));
        Ok(Arc::new(Self { table, own, reload }))
    }

    /// A new key for `open_with`.
    pub fn new_secret() -> Secret {
        key::new()
    }

    /// Whose key this is, if it is in force. All others are refused alike: why is nobody's business who has not the key.
    pub(super) fn find(&self, sent: &[u8]) -> Result<Caller> {
        let refused = || Error::new(Kind::ApiKeyInvalid, "the key is not known, has expired or was revoked");
        let hash = Hash::of_sent(sent).ok_or_else(refused)?;
        if let Some((own, caller)) = &self.own
            && *own == hash
        {
            return Ok(caller.clone());
        }
        let table = self.table.load();
        let shelf = table.0.get(&hash.shelf()).map(Vec::as_slice).unwrap_or_default();
        let entry = shelf.iter().find(|entry| entry.hash == hash).ok_or_else(refused)?;
        let expired = entry.expires.is_some_and(|expires| expires <= SystemTime::now());
        if expired || entry.revoked {
            return Err(refused());
        }
        Ok(entry.caller.clone())
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.reload.abort();
    }
}

impl Table {
    /// How much of its rate a key has used stays known.
    fn new(records: Vec<KeyRecord>, before: &Self) -> Self {
        let mut table = Self(HashMap::with_capacity(records.len()));
        for record in records {
            // Checked when the file was read.
            let Some(hash) = record.hash() else { continue };
            let known =
                before.0.get(&hash.shelf()).and_then(|shelf| shelf.iter().find(|one| one.hash == hash));
            let bucket = known.map_or_else(Arc::default, |entry| Arc::clone(&entry.bucket));
            let scopes: Scopes = record.scopes.iter().copied().collect();
            let rate = record.rate();
            let quota = Quota { name: record.name, rate, bucket: Arc::clone(&bucket) };
            let caller = Caller::with_key(record.id.into(), scopes, Arc::new(quota));
            let (expires, revoked) = (record.expires, record.revoked.is_some());
            table.0.entry(hash.shelf()).or_default().push(Entry { hash, expires, revoked, caller, bucket });
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{NewKey, Scope};

    fn new(rate: Option<f64>) -> NewKey {
        NewKey { name: "ci".to_owned(), scopes: vec![Scope::Classify], rate, expires_in: None }
    }

    async fn until(what: impl Fn() -> bool) {
        // The time of a file is the machine's, so this is too.
        for _ in 0..100 {
            if what() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("it never happened");
    }

    #[tokio::test]
    async fn file_that_changes_is_read_again_and_one_that_breaks_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = KeyFile::new(folder.path().join("keys.toml"));
        let (first, record) = file.create(new(Some(0.01))).unwrap();
        let keys = Keys::open(file.path()).await.unwrap();
        let find = |secret: &Secret| keys.find(secret.reveal().as_bytes());
        let caller = find(&first).unwrap();
        assert_eq!(caller.key_id.as_deref(), Some(record.id.as_str()));
        assert_eq!(caller.name(), Some("ci"));
        caller.charge(1).unwrap();

        let (second, _) = file.create(new(None)).unwrap();
        until(|| find(&second).is_ok()).await;
        // What it has used is not forgotten.
        assert_eq!(find(&first).unwrap().charge(1).unwrap_err().kind(), Kind::QuotaExceeded);

        std::fs::write(file.path(), "[[key]]\nbroken").unwrap();
        tokio::time::sleep(2 * RELOAD_PERIOD).await;
        assert!(find(&second).is_ok());

        std::fs::remove_file(file.path()).unwrap();
        let (third, record) = file.create(new(None)).unwrap();
        until(|| find(&third).is_ok()).await;
        assert_eq!(find(&second).unwrap_err().kind(), Kind::ApiKeyInvalid);
        file.revoke(&record.id).unwrap();
        until(|| find(&third).is_err()).await;
    }

    #[tokio::test]
    async fn expired_and_unknown_keys_are_refused_alike() {
        let folder = tempfile::tempdir().unwrap();
        let file = KeyFile::new(folder.path().join("keys.toml"));
        let (text, _) =
            file.create(NewKey { expires_in: Some(Duration::from_millis(1)), ..new(None) }).unwrap();
        let keys = Keys::open(file.path()).await.unwrap();
        for sent in [text.reveal(), "dunlin_x", "", &"x".repeat(10_000)] {
            let error = keys.find(sent.as_bytes()).unwrap_err();
            assert_eq!(error.kind(), Kind::ApiKeyInvalid);
            assert_eq!(error.message(), "the key is not known, has expired or was revoked");
        }
    }

    #[tokio::test]
    async fn file_that_is_not_there_is_wrong_configuration_that_says_what_to_do() {
        let error = Keys::open(Path::new("/nowhere/keys.toml")).await.err().unwrap();
        assert_eq!(error.kind(), Kind::Config);
        assert!(error.to_string().contains("dunlin key create"), "{error}");
    }
}
