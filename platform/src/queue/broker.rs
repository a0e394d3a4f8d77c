//! The embedded gateway's queue, seen from a worker process: one stream on which the gateway
//! pushes as many deliveries as the worker has granted credit for.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use proto::internal::v1::{
    Credit, DeliverySessionRequest, DeliverySessionResponse, GetCountsRequest, LeaseAction, LeaseCommand,
    SendRequest, broker_service_client::BrokerServiceClient, delivery_session_request as request,
    delivery_session_response as response,
};
use tokio::{
    sync::{Notify, mpsc, oneshot},
    time::Instant,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::{Counts, Delivery, Lease, Queue, Receive, Task};
use crate::{
    Error, Kind, Result,
    auth::{Link as Connection, Links},
    retry::Backoff,
    serve::MESSAGE_BYTES_MAX,
};

/// What the worker may have on the way to the gateway: credits and settlements, all small.
const COMMANDS_MAX: usize = 1024;

/// How long a call waits for a connection or an answer before it says that the queue is away.
const ANSWER_WAIT: Duration = Duration::from_secs(10);

pub struct BrokerQueue {
    client: BrokerServiceClient<Connection>,
    link: Arc<Link>,
    connection: tokio::task::JoinHandle<()>,
}

/// What callers and the connection share.
struct Link {
    state: Mutex<State>,
    /// Something arrived: a delivery, a confirmation, a connection or its end.
    changed: Notify,
}

#[derive(Default)]
struct State {
    /// `None` while there is no connection.
    commands: Option<mpsc::Sender<DeliverySessionRequest>>,
    /// Pushed by the gateway and not yet returned by `receive`.
    arrived: VecDeque<Delivery>,
    /// Deliveries the gateway may still push.
    credit: u32,
    lease: Duration,
    sequence: u64,
    confirmed: u64,
    next_command: u64,
    settling: HashMap<u64, oneshot::Sender<Vec<Lease>>>,
}

impl BrokerQueue {
    /// Connects when first needed, and again whenever the connection breaks.
    pub fn new(address: &str) -> Result<Self> {
        Self::with_links(address, &Links::default())
    }

    /// The same with what our services show each other.
    pub fn with_links(address: &str, links: &Links) -> Result<Self> {
        let endpoint = links
            .endpoint(&links.broker_url(address))
            .ok_or_else(|| Error::new(Kind::Config, format!("--queue: {address:?} is not host:port")))?
            .tcp_nodelay(true)
            .connect_timeout(ANSWER_WAIT)
            .initial_stream_window_size(4 * 1024 * 1024)
            .initial_connection_window_size(8 * 1024 * 1024)
            .http2_keep_alive_interval(Duration::from_secs(10))
            .keep_alive_while_idle(true);
        let client =
            BrokerServiceClient::new(links.connect(&endpoint)).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let link = Arc::new(Link { state: Mutex::default(), changed: Notify::new() });
        let connection = tokio::spawn(keep_connected(client.clone(), Arc::clone(&link)));
        Ok(Self { client, link, connection })
    }

    async fn settle(&self, action: LeaseAction, leases: &[Lease], by: Duration) -> Result<Vec<Lease>> {
        if leases.is_empty() {
            return Ok(Vec::new());
        }
        let until = Instant::now() + ANSWER_WAIT;
        let commands = self.link.connected(until).await?;
        let (done, answer) = oneshot::channel();
        let command_id = {
            let mut state = self.link.lock();
            state.next_command += 1;
            let command_id = state.next_command;
            state.settling.insert(command_id, done);
            command_id
        };
        let command = LeaseCommand {
            command_id,
            action: action.into(),
            leases: leases.iter().map(|lease| lease.as_str().to_owned()).collect(),
            by: Some(crate::time::to_proto(by)),
        };
        let sent =
            commands.send(DeliverySessionRequest { event: Some(request::Event::Command(command)) }).await;
        let answered = match sent {
            Ok(()) => tokio::time::timeout_at(until, answer).await.ok().and_then(Result::ok),
            Err(_) => None,
        };
        answered.ok_or_else(|| {
            self.link.lock().settling.remove(&command_id);
            away("the connection to the gateway broke")
        })
    }

    /// Grants the gateway `credit` deliveries from now on, and waits until it has confirmed.
    async fn grant_and_confirm(&self, credit: u32) -> Result<()> {
        let until = Instant::now() + ANSWER_WAIT;
        let Some(sequence) = self.grant(credit, None).await else { return Ok(()) };
        loop {
            let changed = self.link.changed.notified();
            {
                let state = self.link.lock();
                // Without a connection the gateway has taken everything back by itself.
                if state.confirmed >= sequence || state.commands.is_none() {
                    return Ok(());
                }
            }
            if tokio::time::timeout_at(until, changed).await.is_err() {
                return Err(away("the gateway did not confirm"));
            }
        }
    }

    /// `None` when there is no connection to grant it on.
    async fn grant(&self, credit: u32, lease: Option<Duration>) -> Option<u64> {
        let (commands, message) = {
            let mut state = self.link.lock();
            let commands = state.commands.clone()?;
            state.sequence += 1;
            state.credit = credit;
            state.lease = lease.unwrap_or(state.lease);
            let message = Credit {
                sequence: state.sequence,
                deliveries: credit,
                lease: Some(crate::time::to_proto(state.lease)),
            };
            (commands, message)
        };
        let sequence = message.sequence;
        commands.send(DeliverySessionRequest { event: Some(request::Event::Credit(message)) }).await.ok()?;
        Some(sequence)
    }
}

impl Drop for BrokerQueue {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

fn away(why: &str) -> Error {
    Error::new(Kind::QueueUnavailable, why).with_retry_after(Duration::from_secs(1))
}

impl Link {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic inside cannot leave the state half changed: no code of a caller runs there.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn connected(&self, until: Instant) -> Result<mpsc::Sender<DeliverySessionRequest>> {
        loop {
            let changed = self.changed.notified();
            if let Some(commands) = self.lock().commands.clone() {
                return Ok(commands);
            }
            if tokio::time::timeout_at(until, changed).await.is_err() {
                return Err(away("no connection to the gateway"));
            }
        }
    }

    fn arrived(&self, message: DeliverySessionResponse) {
        let mut state = self.lock();
        match message.event {
            Some(response::Event::Delivery(delivery)) => {
                state.credit = state.credit.saturating_sub(1);
                if let Some(task) = delivery.task {
                    let (lease, attempt) = (Lease(delivery.lease), delivery.attempt);
                    state.arrived.push_back(Delivery { task, lease, attempt });
                }
            }
            Some(response::Event::CreditSet(set)) => state.confirmed = set.sequence,
            Some(response::Event::Done(done)) => {
                if let Some(waiting) = state.settling.remove(&done.command_id) {
                    // Whoever asked may be gone.
                    let _ = waiting.send(done.lost.into_iter().map(Lease).collect());
                }
            }
            None => {}
        }
        drop(state);
        self.changed.notify_waiters();
    }

    fn disconnected(&self) {
        let mut state = self.lock();
        // The gateway makes everything that was leased over the stream visible again, so what
        // arrived and was not taken is not ours any more.
        let next = State { next_command: state.next_command, lease: state.lease, ..State::default() };
        *state = next;
        drop(state);
        self.changed.notify_waiters();
    }
}

/// Keeps one stream open for as long as the queue is used.
async fn keep_connected(mut client: BrokerServiceClient<Connection>, link: Arc<Link>) {
    let mut backoff = Backoff::for_connections();
    let mut refused = false;
    loop {
        let (commands, receiver) = mpsc::channel(COMMANDS_MAX);
        match client.delivery_session(ReceiverStream::new(receiver)).await {
            Ok(answers) => {
                backoff.reset();
                link.lock().commands = Some(commands);
                link.changed.notify_waiters();
                let ended = read(answers.into_inner(), &link).await;
                link.disconnected();
                tracing::debug!(?ended, "the gateway ended the delivery session");
            }
            // Tried on, quietly: the secret may be put right there as well as here.
            Err(error) if error.code() == tonic::Code::Unauthenticated => {
                if !std::mem::replace(&mut refused, true) {
                    tracing::error!(error = error.message(), "the gateway's queue refuses this worker");
                }
            }
            Err(error) => tracing::debug!(%error, "connect to the gateway's queue"),
        }
        tokio::time::sleep(backoff.pause()).await;
    }
}

async fn read(mut answers: Streaming<DeliverySessionResponse>, link: &Link) -> Result<()> {
    while let Some(message) = answers.message().await? {
        link.arrived(message);
    }
    Ok(())
}

#[async_trait]
impl Queue for BrokerQueue {
    async fn send(&self, tasks: Vec<Task>) -> Result<()> {
        self.client.clone().send(SendRequest { tasks }).await?;
        Ok(())
    }

    async fn receive(&self, receive: Receive) -> Result<Vec<Delivery>> {
        let until = Instant::now() + receive.wait;
        let max = receive.max.get() as usize;
        let mut granted = false;
        loop {
            let changed = self.link.changed.notified();
            let connected = {
                let mut state = self.link.lock();
                if !state.arrived.is_empty() {
                    let count = state.arrived.len().min(max);
                    return Ok(state.arrived.drain(..count).collect());
                }
                granted = granted && state.credit > 0;
                state.commands.is_some()
            };
            if connected && !granted {
                granted = self.grant(receive.max.get(), Some(receive.lease)).await.is_some();
                continue;
            }
            if tokio::time::timeout_at(until, changed).await.is_err() {
                break;
            }
        }
        // Nothing came: take the credit back, so that nothing is pushed to a worker that is not
        // asking, and return what was on its way.
        self.grant_and_confirm(0).await?;
        let mut state = self.link.lock();
        let count = state.arrived.len().min(max);
        Ok(state.arrived.drain(..count).collect())
    }

    async fn extend(&self, leases: &[Lease], by: Duration) -> Result<Vec<Lease>> {
        self.settle(LeaseAction::Extend, leases, by).await
    }

    async fn ack(&self, leases: &[Lease]) -> Result<()> {
        self.settle(LeaseAction::Ack, leases, Duration::ZERO).await.map(drop)
    }

    async fn release(&self, leases: &[Lease]) -> Result<()> {
        self.settle(LeaseAction::Release, leases, Duration::ZERO).await.map(drop)
    }

    async fn stop_receiving(&self) -> Result<()> {
        self.grant_and_confirm(0).await?;
        let arrived = std::mem::take(&mut self.link.lock().arrived);
        let leases = arrived.into_iter().map(|delivery| delivery.lease).collect::<Vec<_>>();
        self.release(&leases).await
    }

    async fn counts(&self) -> Result<Counts> {
        let counts = self.client.clone().get_counts(GetCountsRequest {}).await?.into_inner();
        Ok(Counts {
            visible: counts.visible,
            leased: counts.leased,
            oldest_age: crate::time::from_proto(counts.oldest_age.as_ref()).unwrap_or_default(),
        })
    }

    fn dead_letters(&self) -> Option<Arc<dyn Queue>> {
        // The gateway has them.
        None
    }
}
