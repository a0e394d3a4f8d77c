//! Calls as gateways with one store know them: who runs each, and what it answered. A gateway that dies leaves a claim that
//! ends, and another takes the call over with the results that workers have left.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures::StreamExt as _;
use platform::{Error, Kind, Result, error::ResultExt as _, store::Store};
use prost::Message as _;
use proto::{
    internal::v1::RequestRecord,
    v1::{ClassifyStreamResponse, ImageResult, ImageState, classify_stream_response::Event as Answer},
};

use super::{Carried, KEPT_FOR, call::Call};

/// How long a claim holds; three renewals may fail. Gateways' clocks are taken to agree to a few seconds.
const CLAIM: Duration = Duration::from_secs(15);
const RENEWAL: Duration = Duration::from_secs(4);
/// How often is looked whether another gateway has the answer.
const LOOK_FIRST: Duration = Duration::from_millis(100);
const LOOK_LAST: Duration = Duration::from_secs(1);
/// Results of a call that are read at once.
const READS_MAX: usize = 32;
/// More than a request may have images, whatever the limit.
const IMAGES_MAX: usize = 100_000;

pub(super) struct Claims {
    pub(super) store: Arc<dyn Store>,
    /// Of this process: one that starts again is another.
    gateway_id: String,
}

/// The right to run a call; the default is that of a gateway without a store.
#[derive(Debug, Default)]
pub(super) struct Claim {
    /// `None`: the store could not be reached.
    of: Option<Box<Of>>,
}

#[derive(Debug)]
struct Of {
    key: String,
    record: RequestRecord,
}

pub(super) enum Acquired {
    Mine(Claim, Carried),
    Done(Vec<Answer>),
    /// The id belongs to another request.
    Reused,
}

/// What is known of a call that another has begun.
enum Known {
    Done(Vec<Answer>),
    Reused,
    Running,
    /// Its gateway is gone, or failed for a reason that may pass.
    Ended,
}

pub(super) fn record_key(hex: &str) -> String {
    format!("requests/{hex}/call")
}

pub(super) fn folder(hex: &str) -> String {
    format!("requests/{hex}/")
}

/// In the order of the hours after which the calls may be removed.
pub(super) const DUE: &str = "requests/due/";

fn due_key(forget_time: SystemTime, hex: &str) -> String {
    format!("{DUE}{:010}/{hex}", hour(forget_time) + 1)
}

pub(super) fn hour(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs() / 3600
}

pub(super) fn has_passed(time: Option<&prost_types::Timestamp>) -> bool {
    time.and_then(|time| SystemTime::try_from(*time).ok()).is_none_or(|time| time <= SystemTime::now())
}

impl Claims {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, gateway_id: platform::id::new() }
    }

    /// Waits while another gateway runs it. A store that cannot be reached fails no call: it runs here, and what
    /// it answered is known to this gateway alone.
    pub(super) async fn acquire(&self, call: &Call) -> Acquired {
        match self.try_acquire(call).await {
            Ok(acquired) => acquired,
            Err(error) => {
                tracing::warn!(%error, "claim a call; going on without");
                Acquired::Mine(Claim::default(), Carried::default())
            }
        }
    }

    async fn try_acquire(&self, call: &Call) -> Result<Acquired> {
        let hex = call.id.hex();
        let key = record_key(&hex);
        let forget_time = SystemTime::now() + KEPT_FOR;
        let record = RequestRecord {
            fingerprint: Bytes::copy_from_slice(&call.fingerprint.0),
            gateway_id: self.gateway_id.clone(),
            claim_end: Some(claim_end()),
            forget_time: Some(forget_time.into()),
            ..RequestRecord::default()
        };
        let keep_under = Some(format!("requests/{hex}"));
        let due = due_key(forget_time, &hex);
        let mut pause = LOOK_FIRST;
        loop {
            let record = RequestRecord { claim_end: Some(claim_end()), ..record.clone() };
            let content = Bytes::from(record.encode_to_vec());
            // What can be removed some day is noted first, so that nothing stays for ever.
            let (noted, created) =
                tokio::join!(self.store.put(&due, Bytes::new()), self.store.create(&key, content.clone()));
            noted.context("note a call")?;
            match created {
                Ok(()) => {
                    let claim = Claim { of: Some(Box::new(Of { key, record })) };
                    return Ok(Acquired::Mine(claim, Carried { keep_under, known: HashMap::new() }));
                }
                Err(error) if error.kind() == Kind::AlreadyExists => {}
                Err(error) => return Err(error.context("claim a call")),
            }
            let (found, version) = match self.store.get_versioned(&key).await {
                Ok(found) => found,
                // Just removed.
                Err(error) if error.kind() == Kind::ObjectNotFound => continue,
                Err(error) => return Err(error.context("read a call")),
            };
            match known(&found, call) {
                Known::Done(answers) => return Ok(Acquired::Done(answers)),
                Known::Reused => return Ok(Acquired::Reused),
                Known::Ended => match self.store.replace(&key, content, &version).await {
                    Ok(_) => {
                        tracing::info!(call = hex, "taken over");
                        let known = self.left_by_workers(&hex).await?;
                        let claim = Claim { of: Some(Box::new(Of { key, record })) };
                        return Ok(Acquired::Mine(claim, Carried { keep_under, known }));
                    }
                    Err(error) if error.kind() == Kind::VersionMismatch => continue,
                    Err(error) => return Err(error.context("take over a call")),
                },
                Known::Running => {}
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LOOK_LAST);
        }
    }

    /// Holds the claim. Runs until it is lost, which means that another gateway answers.
    pub(super) async fn renew(&self, claim: &Claim) {
        loop {
            tokio::time::sleep(RENEWAL).await;
            let Some(of) = &claim.of else { continue };
            let renewed = RequestRecord { claim_end: Some(claim_end()), ..of.record.clone() };
            match self.write(of, &renewed).await {
                Ok(()) => {}
                // Its callers here are better served by the work that goes on than by an error.
                Err(error) => tracing::warn!(%error, "renew the claim of a call"),
            }
        }
    }

    /// Writes down what was answered.
    pub(super) async fn finish(&self, claim: &Claim, answers: &[Arc<Answer>]) {
        let Some(of) = &claim.of else { return };
        let event =
            |answer: &Arc<Answer>| ClassifyStreamResponse { sequence: 0, event: Some((**answer).clone()) };
        let answers = answers.iter().map(event).collect();
        let done = RequestRecord { done: true, answers, claim_end: None, ..of.record.clone() };
        if let Err(error) = self.write(of, &done).await {
            tracing::warn!(%error, "write down the answer of a call");
        }
    }

    /// It was not answered for good: the next one may try.
    pub(super) async fn release(&self, claim: &Claim) {
        let Some(of) = &claim.of else { return };
        let released = RequestRecord { claim_end: None, ..of.record.clone() };
        if let Err(error) = self.write(of, &released).await {
            tracing::warn!(%error, "release the claim of a call");
        }
    }

    /// Only while the claim is ours.
    async fn write(&self, of: &Of, record: &RequestRecord) -> Result<()> {
        let (found, version) = self.store.get_versioned(&of.key).await?;
        let owner = RequestRecord::decode(found).map(|record| record.gateway_id).unwrap_or_default();
        if owner != self.gateway_id {
            return Err(Error::new(Kind::VersionMismatch, "another gateway has taken it over"));
        }
        self.store.replace(&of.key, record.encode_to_vec().into(), &version).await.map(drop)
    }

    /// By image.
    async fn left_by_workers(&self, hex: &str) -> Result<HashMap<u32, ImageResult>> {
        let folder = folder(hex);
        let keys = self.store.list(&folder, "", IMAGES_MAX).await.context("list results of a call")?;
        let read = keys.into_iter().filter_map(|key| {
            let index = key.strip_prefix(&folder)?.parse::<u32>().ok()?;
            let store = Arc::clone(&self.store);
            Some(async move { (index, store.get(&key).await) })
        });
        let read = read.collect::<Vec<_>>();
        let mut found = futures::stream::iter(read).buffer_unordered(READS_MAX);
        let mut known = HashMap::new();
        while let Some((index, content)) = found.next().await {
            // One that cannot be read is classified again.
            if let Ok(content) = content
                && let Ok(result) = ImageResult::decode(content)
                && result.state() == ImageState::Succeeded
            {
                known.insert(index, result);
            }
        }
        Ok(known)
    }
}

fn claim_end() -> prost_types::Timestamp {
    (SystemTime::now() + CLAIM).into()
}

fn known(found: &Bytes, call: &Call) -> Known {
    // What cannot be read is nobody's.
    let Ok(record) = RequestRecord::decode(found.clone()) else { return Known::Ended };
    let is_over = if record.done {
        has_passed(record.forget_time.as_ref())
    } else {
        has_passed(record.claim_end.as_ref())
    };
    if is_over {
        return Known::Ended;
    }
    if record.fingerprint != call.fingerprint.0.as_slice() {
        return Known::Reused;
    }
    if record.done {
        return Known::Done(record.answers.into_iter().filter_map(|answer| answer.event).collect());
    }
    Known::Running
}
