//! The session with the autoscaler: says how this worker is doing, and drains when asked to.
//!
//! Without an autoscaler the worker works on.

use std::{sync::Arc, time::Duration};

use platform::{Error, Kind, Result, auth::Link, retry::Backoff, time};
use prost_types::Timestamp;
use proto::internal::v1::{
    Drained, IdleOffer, SpotNotice, WorkerHeartbeat, WorkerHello, WorkerSessionRequest,
    WorkerSessionResponse, control_service_client::ControlServiceClient, worker_session_request as request,
    worker_session_response as response,
};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tokio_stream::wrappers::ReceiverStream;

use crate::{
    idle::Idle,
    pipeline::{Status, intake::Mode},
};

/// At least this often, so that the autoscaler knows that we are alive.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// At most this often, however fast things change.
const HEARTBEAT_LEAST: Duration = Duration::from_millis(100);

/// Messages handed to the connection and not yet written: a heartbeat, a `Drained`, and some air.
const OUT_MAX: usize = 8;

const ANSWER_WAIT: Duration = Duration::from_secs(10);

/// What the rest of the worker has to do with the session.
pub(crate) struct Links {
    /// To the autoscaler.
    pub(crate) links: platform::auth::Links,
    pub(crate) status: Arc<Status>,
    /// Set once the machine is known to be taken away, to the time when.
    pub(crate) notice: watch::Receiver<Option<Timestamp>>,
    /// Whether the autoscaler is there.
    pub(crate) connected: watch::Sender<bool>,
    /// Without work for so long, it offers to go.
    pub(crate) offer_after: Duration,
}

/// Keeps the session until it is dropped.
pub(crate) async fn run(url: String, links: Links) -> Result<()> {
    let Links { links, status, notice, connected, offer_after } = links;
    let endpoint = links
        .endpoint(&url)
        .ok_or_else(|| Error::new(Kind::Config, format!("--autoscaler: {url:?} is not a URL")))?
        .tcp_nodelay(true)
        .connect_timeout(ANSWER_WAIT)
        .http2_keep_alive_interval(ANSWER_WAIT)
        .keep_alive_while_idle(true);
    let client = ControlServiceClient::new(links.connect(&endpoint));
    let mut backoff = Backoff::for_connections();
    let mut failing = false;
    loop {
        let mut session = Session {
            status: Arc::clone(&status),
            drain: Drain::No,
            notice: notice.clone(),
            connected: connected.clone(),
            idle: Idle::new(offer_after, Instant::now()),
        };
        let begun = Instant::now();
        let Err(error) = session.hold(client.clone()).await;
        connected.send_replace(false);
        // A drain is only as good as the session it came on: if the autoscaler is gone, somebody has
        // to do the work; if it comes back, it asks again.
        if session.drain != Drain::No && notice.borrow().is_none() {
            tracing::info!("working again: the autoscaler is gone");
            status.set_mode(Mode::Working);
        }
        if begun.elapsed() > ANSWER_WAIT {
            backoff.reset();
            failing = false;
        }
        if !std::mem::replace(&mut failing, true) {
            tracing::warn!(%error, autoscaler = url, "working without the autoscaler");
        }
        tokio::time::sleep(backoff.pause()).await;
    }
}

enum Never {}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Drain {
    No,
    /// Finishing what is held, because of this decision.
    Asked(String),
    /// The autoscaler was told that nothing is held.
    Done,
}

struct Session {
    status: Arc<Status>,
    drain: Drain,
    notice: watch::Receiver<Option<Timestamp>>,
    connected: watch::Sender<bool>,
    idle: Idle,
}

impl Session {
    /// One connection, until it breaks.
    async fn hold(&mut self, mut client: ControlServiceClient<Link>) -> Result<Never> {
        let (out, messages) = mpsc::channel(OUT_MAX);
        send(&out, request::Event::Hello(self.hello())).await?;
        let opening = client.worker_session(ReceiverStream::new(messages));
        let mut answers = tokio::time::timeout(ANSWER_WAIT, opening)
            .await
            .map_err(|_| Error::new(Kind::ServiceUnavailable, "the autoscaler does not answer"))??
            .into_inner();
        tracing::info!("connected to the autoscaler");
        self.connected.send_replace(true);
        // Said in each session: the autoscaler may be a new one.
        let mut notice = self.notice.clone();
        notice.mark_changed();
        let mut beat = Instant::now();
        let mut changed = true;
        loop {
            let least = beat + HEARTBEAT_LEAST;
            let next_beat = if changed { least } else { beat + HEARTBEAT };
            tokio::select! {
                answer = answers.message() => match answer? {
                    Some(answer) => self.hear(answer),
                    None => return Err(Error::new(Kind::ServiceUnavailable, "the autoscaler ended the session")),
                },
                () = self.drained() => {
                    if let Drain::Asked(decision_id) = std::mem::replace(&mut self.drain, Drain::Done) {
                        tracing::info!(decision_id, "drained");
                        // The figures that go with it: nothing is held.
                        send(&out, request::Event::Heartbeat(self.heartbeat())).await?;
                        send(&out, request::Event::Drained(Drained { decision_id })).await?;
                    }
                }
                // Its sender ends with the worker.
                Ok(()) = notice.changed() => {
                    let action_time = *notice.borrow_and_update();
                    if action_time.is_some() {
                        send(&out, request::Event::SpotNotice(SpotNotice { action_time })).await?;
                    }
                }
                () = self.status.pace.changed(), if !changed => changed = true,
                () = tokio::time::sleep_until(next_beat) => {
                    let heartbeat = self.heartbeat();
                    let offer = self.offer(&heartbeat);
                    send(&out, request::Event::Heartbeat(heartbeat)).await?;
                    if let Some(offer) = offer {
                        send(&out, request::Event::IdleOffer(offer)).await?;
                    }
                    beat = Instant::now();
                    changed = false;
                }
            }
        }
    }

    fn hear(&mut self, answer: WorkerSessionResponse) {
        match answer.event {
            Some(response::Event::Drain(drain)) => {
                tracing::info!(decision_id = drain.decision_id, "draining");
                self.drain = Drain::Asked(drain.decision_id);
                self.status.set_mode(Mode::Paused);
            }
            Some(response::Event::Undrain(undrain)) => {
                tracing::info!(decision_id = undrain.decision_id, "working again");
                self.drain = Drain::No;
                self.status.set_mode(Mode::Working);
            }
            None => {}
        }
    }

    /// Waits until what the drain asks for is done; for ever when none is asked for.
    async fn drained(&self) {
        match self.drain {
            Drain::Asked(_) => self.status.idle().await,
            Drain::No | Drain::Done => std::future::pending().await,
        }
    }

    /// An offer to go, if it is time for one. One that drains was told to go already.
    fn offer(&mut self, heartbeat: &WorkerHeartbeat) -> Option<IdleOffer> {
        let held = self.status.load().total;
        let idle = self.idle.look(Instant::now(), held, heartbeat.completed_total)?;
        (self.drain == Drain::No).then(|| IdleOffer { idle: Some(time::to_proto(idle)) })
    }

    fn hello(&self) -> WorkerHello {
        let identity = self.status.identity.as_ref().clone();
        WorkerHello {
            worker_id: identity.worker_id,
            instance_id: identity.instance_id,
            model: identity.model,
            model_version: identity.model_version,
        }
    }

    fn heartbeat(&self) -> WorkerHeartbeat {
        let figures = self.status.pace.figures();
        // Whoever holds something is busy, also when the threads rest: its answer is on its way.
        let busy = figures.busy_threads.max(usize::from(self.status.load().total > 0));
        WorkerHeartbeat {
            slots: u32::try_from(self.status.threads).unwrap_or(u32::MAX),
            busy_slots: u32::try_from(busy.min(self.status.threads)).unwrap_or(u32::MAX),
            completed_total: figures.completed_total,
            service_mean: figures.service_mean.map(time::to_proto),
            service_p95: figures.service_p95.map(time::to_proto),
            cloud_calls: platform::cloud_calls(),
            skipped: Some(figures.skipped),
        }
    }
}

async fn send(out: &mpsc::Sender<WorkerSessionRequest>, event: request::Event) -> Result<()> {
    let sent = out.send(WorkerSessionRequest { event: Some(event) }).await;
    sent.map_err(|_| Error::new(Kind::ServiceUnavailable, "the connection to the autoscaler broke"))
}
