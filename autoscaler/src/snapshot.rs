//! What the leader knows, written down for the next one: what operators said, and what the load taught.

use std::time::Duration;

use platform::{Kind, Result, error::ResultExt as _, store::Store};
use serde::{Deserialize, Serialize};

use crate::{
    controller::Words,
    decide::{Service, State},
    history::History,
    roster::boots::Boots,
};

const KEY: &str = "snapshot";

/// Of what is written here. One that cannot be read is as good as none: the fleet is held, and learnt anew.
const FORMAT: u32 = 1;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    format: u32,
    /// Since the Unix epoch.
    pub written: Duration,
    pub words: Words,
    pub state: State,
    /// How long an image took last.
    pub service: Service,
    /// What arrived in the last day.
    #[serde(default)]
    pub history: History,
    /// How long starts took.
    #[serde(default)]
    pub boots: Boots,
}

/// What was found where a snapshot should be.
#[derive(Debug)]
pub enum Found {
    Snapshot(Box<Snapshot>),
    None,
    /// With what is wrong with it.
    Damaged(String),
}

impl Snapshot {
    pub fn new(written: Duration, words: Words, state: State, service: Service) -> Self {
        Self {
            format: FORMAT,
            written,
            words,
            state,
            service,
            history: History::default(),
            boots: Boots::default(),
        }
    }

    pub async fn write(&self, store: &dyn Store) -> Result<()> {
        let text = serde_json::to_vec(self).map_err(platform::Error::internal)?;
        store.put(KEY, text.into()).await.context("write snapshot")
    }

    /// An error is one of the store; whatever is in it is none.
    pub async fn read(store: &dyn Store) -> Result<Found> {
        let text = match store.get(KEY).await {
            Ok(text) => text,
            Err(error) if error.kind() == Kind::ObjectNotFound => return Ok(Found::None),
            Err(error) => return Err(error.context("read snapshot")),
        };
        Ok(match serde_json::from_slice::<Self>(&text) {
            Ok(snapshot) if snapshot.format == FORMAT => Found::Snapshot(Box::new(snapshot)),
            Ok(snapshot) => Found::Damaged(format!("it has format {}", snapshot.format)),
            Err(error) => Found::Damaged(error.to_string()),
        })
    }
}

#[cfg(test)]
mod tests {
    use platform::store::FileStore;

    use super::*;
    use crate::Options;

    #[tokio::test]
    async fn snapshot_is_read_as_it_was_written_and_a_damaged_one_is_no_failure() {
        let folder = tempfile::tempdir().unwrap();
        let store = FileStore::open(folder.path()).unwrap();
        assert!(matches!(Snapshot::read(&store).await.unwrap(), Found::None));
        let words = Words::new(Options::from_arguments(["--max-instances=5"]).unwrap().policy());
        let service = Service { mean: Duration::from_millis(7), p95: Duration::from_millis(9), slots: 1.5 };
        let snapshot = Snapshot::new(Duration::from_millis(1500), words, State::default(), service);
        snapshot.write(&store).await.unwrap();
        let Found::Snapshot(read) = Snapshot::read(&store).await.unwrap() else { panic!("not there") };
        assert_eq!(*read, snapshot);
        for damage in ["", "{}", "\u{0}", r#"{"format":2}"#] {
            std::fs::write(folder.path().join(KEY), damage).unwrap();
            assert!(matches!(Snapshot::read(&store).await.unwrap(), Found::Damaged(_)), "{damage:?}");
        }
    }
}
