//! `BrokerService`: the embedded queue for worker processes. Deliveries are pushed as far as a
//! worker has granted credit; when its stream ends, what it held is visible again at once.

use std::{collections::HashSet, num::NonZeroU32, sync::Arc, time::Duration};

use platform::{
    Error, Result,
    queue::{Delivery, Lease, Queue, Receive},
};
use proto::internal::v1::{
    Credit, CreditSet, DeliverySessionRequest, DeliverySessionResponse, GetCountsRequest, GetCountsResponse,
    LeaseAction, LeaseCommand, LeaseCommandDone, SendRequest, SendResponse,
    broker_service_server::BrokerService, delivery_session_request as request,
    delivery_session_response as response,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Request, Response, Status, Streaming};

/// Messages on their way to one worker; a worker that does not read gets nothing more.
const OUT_MAX: usize = 16;
/// Far more than a worker looks ahead.
const CREDIT_MAX: u32 = 1024;
/// A task may be leased for at most this long before it has to be extended.
const LEASE_MAX: Duration = Duration::from_secs(12 * 3600);

pub struct Broker {
    queue: Arc<dyn Queue>,
    sessions: TaskTracker,
    stop: CancellationToken,
}

impl Broker {
    /// Sessions run under `sessions` and end at `stop`.
    pub fn new(queue: Arc<dyn Queue>, sessions: TaskTracker, stop: CancellationToken) -> Self {
        Self { queue, sessions, stop }
    }
}

#[tonic::async_trait]
impl BrokerService for Broker {
    type DeliverySessionStream = ReceiverStream<Result<DeliverySessionResponse, Status>>;

    async fn delivery_session(
        &self,
        request: Request<Streaming<DeliverySessionRequest>>,
    ) -> Result<Response<Self::DeliverySessionStream>, Status> {
        let (out, answers) = mpsc::channel(OUT_MAX);
        let session = Session {
            queue: Arc::clone(&self.queue),
            out,
            credit: 0,
            lease: Duration::from_secs(30),
            held: HashSet::new(),
        };
        let stop = self.stop.clone();
        self.sessions.spawn(session.run(request.into_inner(), stop));
        Ok(Response::new(ReceiverStream::new(answers)))
    }

    async fn send(&self, request: Request<SendRequest>) -> Result<Response<SendResponse>, Status> {
        self.queue.send(request.into_inner().tasks).await?;
        Ok(Response::new(SendResponse {}))
    }

    async fn get_counts(&self, _: Request<GetCountsRequest>) -> Result<Response<GetCountsResponse>, Status> {
        let counts = self.queue.counts().await?;
        Ok(Response::new(GetCountsResponse {
            visible: counts.visible,
            leased: counts.leased,
            oldest_age: Some(platform::time::to_proto(counts.oldest_age)),
        }))
    }
}

/// One worker's stream.
struct Session {
    queue: Arc<dyn Queue>,
    out: mpsc::Sender<Result<DeliverySessionResponse, Status>>,
    credit: u32,
    lease: Duration,
    held: HashSet<Lease>,
}

impl Session {
    async fn run(mut self, requests: Streaming<DeliverySessionRequest>, stop: CancellationToken) {
        let ended = tokio::select! {
            ended = self.exchange(requests) => ended,
            () = stop.cancelled() => Ok(()),
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "delivery session");
            let _ = self.out.try_send(Err(error.into()));
        }
        let held = self.held.drain().collect::<Vec<_>>();
        if let Err(error) = self.queue.release(&held).await {
            tracing::warn!(%error, held = held.len(), "release what a worker held; its leases will end");
        }
    }

    async fn exchange(&mut self, mut requests: Streaming<DeliverySessionRequest>) -> Result<()> {
        loop {
            let receive = NonZeroU32::new(self.credit).map(|max| Receive {
                max,
                wait: Duration::from_secs(60),
                lease: self.lease,
            });
            let queue = Arc::clone(&self.queue);
            tokio::select! {
                // Settlements first: they free credit and room.
                biased;
                message = requests.message() => match message? {
                    Some(message) => self.take(message).await?,
                    None => return Ok(()),
                },
                deliveries = async { match receive {
                    Some(receive) => queue.receive(receive).await,
                    None => std::future::pending().await,
                }} => self.push(deliveries?).await?,
            }
        }
    }

    async fn take(&mut self, message: DeliverySessionRequest) -> Result<()> {
        match message.event {
            Some(request::Event::Credit(Credit { sequence, deliveries, lease })) => {
                self.credit = deliveries.min(CREDIT_MAX);
                if let Some(lease) =
                    platform::time::from_proto(lease.as_ref()).filter(|lease| !lease.is_zero())
                {
                    self.lease = lease.min(LEASE_MAX);
                }
                self.answer(response::Event::CreditSet(CreditSet { sequence })).await
            }
            Some(request::Event::Command(command)) => {
                let command_id = command.command_id;
                let lost = self.settle(command).await?;
                let lost = lost.into_iter().map(|lease| lease.as_str().to_owned()).collect();
                self.answer(response::Event::Done(LeaseCommandDone { command_id, lost })).await
            }
            None => Err(Error::invalid("event", "must be set")),
        }
    }

    async fn settle(&mut self, command: LeaseCommand) -> Result<Vec<Lease>> {
        let action = command.action();
        let leases = command.leases.into_iter().map(Lease::from).collect::<Vec<_>>();
        match action {
            LeaseAction::Extend => {
                let by = platform::time::from_proto(command.by.as_ref())
                    .ok_or_else(|| Error::invalid("command.by", "must be set to extend"))?;
                let lost = self.queue.extend(&leases, by.min(LEASE_MAX)).await?;
                for lease in &lost {
                    self.held.remove(lease);
                }
                return Ok(lost);
            }
            LeaseAction::Ack => self.queue.ack(&leases).await?,
            LeaseAction::Release => self.queue.release(&leases).await?,
            LeaseAction::Unspecified => return Err(Error::invalid("command.action", "must be set")),
        }
        for lease in &leases {
            self.held.remove(lease);
        }
        Ok(Vec::new())
    }

    async fn push(&mut self, deliveries: Vec<Delivery>) -> Result<()> {
        // Noted before the first is sent: if sending breaks off, all of them go back.
        self.held.extend(deliveries.iter().map(|delivery| delivery.lease.clone()));
        self.credit -= u32::try_from(deliveries.len()).unwrap_or(self.credit).min(self.credit);
        for Delivery { task, lease, attempt } in deliveries {
            let delivery =
                proto::internal::v1::Delivery { task: Some(task), lease: lease.as_str().to_owned(), attempt };
            self.answer(response::Event::Delivery(delivery)).await?;
        }
        Ok(())
    }

    async fn answer(&self, event: response::Event) -> Result<()> {
        let sent = self.out.send(Ok(DeliverySessionResponse { event: Some(event) })).await;
        sent.map_err(|_| Error::new(platform::Kind::ServiceUnavailable, "the worker is gone"))
    }
}
