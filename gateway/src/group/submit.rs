//! From checked images to tasks in the queue: answered from the cache, joined to an equal image on its way, or sent.

use std::time::Duration;

use futures::StreamExt as _;
use platform::{Result, queue::Task};
use prost_types::Timestamp;
use proto::{internal::v1::task::Input, v1::Priority};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Accepted, Cut, Group, Open, Picture};
use crate::{
    admission::{Asked, Patience},
    cache::Sum,
    counters::Counted,
    intake::Checked,
    options::ReplyBy,
    pending::{Caller, Event, Found, Joins, Placed, Registration, Seat, Sharing},
    place::Place,
};

/// Classes that a task asks for at least when its answer may be others' too: few callers want more, and ten are a
/// few hundred bytes.
const SHARED_TOP_K_MIN: u32 = 10;
/// A task that others may join ends this much later than its first caller, so that those who come a little later and wait as
/// long are no worse off. No work for nobody: it is withdrawn when its last caller is gone.
const SHARED_LONGER: u32 = 10;
const SHARED_LONGER_MAX: Duration = Duration::from_secs(30);
/// Longer than a queue takes to accept a task; whoever waited that long to join sends a task of its own.
const JOIN_WAIT: Duration = Duration::from_secs(5);
/// Results that one request reads from the store at once.
const READS_MAX: usize = 32;

/// When a request came, and what follows from that.
#[derive(Clone, Copy)]
struct Moment {
    now: Instant,
    enqueue_time: Timestamp,
    /// A worker must have started by then.
    start_by: Instant,
    task_ends: Instant,
    priority: Priority,
}

/// An image on its way to a task.
struct Prepared {
    registration: Registration,
    custom_id: String,
    picture: Picture,
    cut: Option<Cut>,
}

impl Group {
    /// Queues images, all or none.
    pub async fn submit(&mut self, images: Vec<Accepted>, options: &Checked) -> Result<()> {
        if images.is_empty() {
            return Ok(());
        }
        let (opened, ready) = (self.open.len(), self.ready.len());
        let submitted = self.submit_all(images, options).await;
        if submitted.is_err() {
            let mine = self.open.split_off(opened);
            self.leave(&mine);
            self.ready.truncate(ready);
        }
        submitted
    }

    async fn submit_all(&mut self, images: Vec<Accepted>, options: &Checked) -> Result<()> {
        let moment = self.moment(options);
        let prepared = images.into_iter().map(|image| self.prepare(image, options, &moment)).collect();
        let mut left = self.answer_from_cache(prepared, options).await;
        while !left.is_empty() {
            left = self.place(left, options, &moment).await?;
        }
        Ok(())
    }

    fn moment(&self, options: &Checked) -> Moment {
        let now = Instant::now();
        // An endless stream has no end of its own: each of its images has the server's.
        let latest = match self.patience {
            Patience::Job => self.answer_by,
            Patience::Caller | Patience::Held => self.answer_by.min(now + self.core.options.request_timeout),
        };
        let start_by = options.max_queue_duration.map_or(latest, |longest| latest.min(now + longest));
        // Over a queue nobody tells the worker that nobody waits any more: there the end in the task is all there is.
        let longer = match self.core.options.reply_by {
            ReplyBy::Stream => ((start_by - now) / SHARED_LONGER).min(SHARED_LONGER_MAX),
            ReplyBy::Queue => Duration::ZERO,
        };
        let priority = match (options.priority, self.patience) {
            (Priority::Unspecified, Patience::Job) => Priority::Batch,
            (priority, _) => priority,
        };
        Moment { now, enqueue_time: platform::time::now(), start_by, task_ends: start_by + longer, priority }
    }

    fn prepare(&self, image: Accepted, options: &Checked, moment: &Moment) -> Prepared {
        let Accepted { index, custom_id, content: picture } = image;
        let is_kept = self.core.places.keep_results;
        let sum = self.core.cache.as_ref().and_then(|_| Sum::of(&picture));
        let sum = sum.map(|sum| if is_kept { sum.under_name(&custom_id, options) } else { sum });
        // A result that is kept is what was asked for.
        let task_top_k = if is_kept { options.top_k } else { options.top_k.max(SHARED_TOP_K_MIN) };
        let cut = sum.map(|sum| Cut {
            top_k: usize::try_from(options.top_k).unwrap_or(usize::MAX),
            min_score: options.min_score,
            sum,
            task_top_k,
        });
        let sharing = sum.map(|sum| Sharing {
            // As the caller named it: which version that is now only its worker knows.
            key: sum.with_model(&options.model),
            top_k: options.top_k,
            task_top_k,
            start_by: moment.start_by,
            task_ends: moment.task_ends,
            joins: if options.no_cache { Joins::No } else { Joins::Yes },
        });
        let registration =
            Registration { task_id: platform::id::new(), index, priority: moment.priority, sharing };
        Prepared { registration, custom_id, picture, cut }
    }

    /// Gives back those that have to be classified.
    async fn answer_from_cache(&mut self, prepared: Vec<Prepared>, options: &Checked) -> Vec<Prepared> {
        let Some(cache) = self.core.cache.as_ref().filter(|_| !options.no_cache) else { return prepared };
        let Some(model) = self.core.models.resolve(&options.model) else { return prepared };
        let found = prepared.into_iter().map(async |one| {
            let result = match &one.cut {
                Some(cut) => cache.find(&cut.sum.with_model(&model), options.top_k).await,
                None => None,
            };
            (one, result)
        });
        let mut found = futures::stream::iter(found).buffered(READS_MAX);
        let (mut left, mut hits, mut misses) = (Vec::new(), 0, 0);
        while let Some((one, result)) = found.next().await {
            let Some(mut result) = result else {
                misses += usize::from(one.cut.is_some());
                left.push(one);
                continue;
            };
            hits += 1;
            if let Some(cut) = &one.cut {
                cut.apply(&mut result);
            }
            (result.index, result.custom_id) = (one.registration.index, one.custom_id);
            self.ready.push_back(Event::Finished(Box::new(result)));
        }
        drop(found);
        self.core.counters.add(Counted::CacheHit, hits);
        self.core.counters.add(Counted::CacheMiss, misses);
        left
    }

    /// Joins equal images or sends tasks. Gives back those whose equal another caller was just sending, to look again.
    async fn place(
        &mut self,
        prepared: Vec<Prepared>,
        options: &Checked,
        moment: &Moment,
    ) -> Result<Vec<Prepared>> {
        let core = std::sync::Arc::clone(&self.core);
        let registrations = prepared.iter().map(|one| one.registration.clone()).collect::<Vec<_>>();
        let found = core.pending.join(&registrations, self.caller());
        let (mut new, mut again) = (Vec::new(), Vec::new());
        for (one, found) in prepared.into_iter().zip(found) {
            match found {
                Found::Joined(seat) => self.joined(one, seat, moment),
                Found::BeingSent(sent) => again.push((one, sent)),
                Found::Nothing => new.push(one),
            }
        }
        if !new.is_empty() {
            again.append(&mut self.send_new(new, options, moment).await?);
        }
        Ok(wait_for_others(again).await)
    }

    /// Registers and sends. Gives back those whose equal has just come in from another caller.
    async fn send_new(
        &mut self,
        prepared: Vec<Prepared>,
        options: &Checked,
        moment: &Moment,
    ) -> Result<Vec<(Prepared, CancellationToken)>> {
        let core = std::sync::Arc::clone(&self.core);
        let images = prepared.len();
        let asked =
            Asked { images, priority: moment.priority, start_by: moment.start_by, patience: self.patience };
        core.admit(asked).await?;
        let registrations = prepared.iter().map(|one| one.registration.clone()).collect::<Vec<_>>();
        let registered = core.pending.register(&registrations, self.caller());
        let (placed, queueing) = registered.map_err(|error| core.come_back(error, images))?;
        // From here on dropping the group takes them out again.
        let (mut sending, mut again) = (Vec::with_capacity(images), Vec::new());
        for (one, placed) in prepared.into_iter().zip(placed) {
            match placed {
                Placed::New(seat) => {
                    let task = self.task(&one, options, moment);
                    let Prepared { registration, custom_id, picture, cut } = one;
                    sending.push((task, picture));
                    self.open.push(open(registration.index, custom_id, cut, seat, moment));
                }
                Placed::Joined(seat) => self.joined(one, seat, moment),
                Placed::BeingSent(sent) => again.push((one, sent)),
            }
        }
        if !sending.is_empty() {
            self.send(sending).await.map_err(|error| core.come_back(error, images))?;
        }
        queueing.sent();
        Ok(again)
    }

    fn task(&self, one: &Prepared, options: &Checked, moment: &Moment) -> Task {
        // Asked for more than its caller wants when others may want that.
        let (ends, top_k, min_score) = match &one.cut {
            Some(cut) if !self.core.places.keep_results => (moment.task_ends, cut.task_top_k, 0.0),
            _ => (moment.start_by, options.top_k, options.min_score),
        };
        Task {
            task_id: one.registration.task_id.clone(),
            custom_id: one.custom_id.clone(),
            reply_to: self.core.reply_to.clone(),
            model: options.model.clone(),
            enqueue_time: Some(moment.enqueue_time),
            deadline: Some(platform::time::in_future(ends - moment.now)),
            priority: moment.priority.into(),
            top_k,
            min_score,
            fallback_key: self.fallback_key(one.registration.index),
            ..Task::default()
        }
    }

    fn fallback_key(&self, index: u32) -> String {
        self.keep_under.as_ref().map(|folder| format!("{folder}/{index}")).unwrap_or_default()
    }

    fn joined(&mut self, one: Prepared, seat: Seat, moment: &Moment) {
        self.core.counters.add(Counted::Coalesced, 1);
        let Prepared { registration, custom_id, cut, .. } = one;
        self.open.push(Open { joined: true, ..open(registration.index, custom_id, cut, seat, moment) });
    }

    fn caller(&self) -> Caller<'_> {
        Caller { events: &self.events, tell_start: self.tell_start }
    }

    async fn send(&self, sending: Vec<(Task, Picture)>) -> Result<()> {
        let places = &self.core.places;
        let (mut tasks, pictures): (Vec<_>, Vec<_>) = sending.into_iter().unzip();
        let placing = tasks.iter_mut().zip(pictures).map(async |(task, picture)| match picture {
            Picture::Content(content) => places.place(task, content).await,
            Picture::Object(uri) => {
                task.input = Some(Input::Uri(uri));
                places.name_result(task);
                Ok(())
            }
            Picture::Stored { key, part } => {
                places.point(task, Place { key, part });
                Ok(())
            }
        });
        futures::future::try_join_all(placing).await?;
        self.core.queue.send(tasks).await
    }
}

fn open(index: u32, custom_id: String, cut: Option<Cut>, seat: Seat, moment: &Moment) -> Open {
    Open {
        seat,
        index,
        custom_id,
        enqueue_time: moment.enqueue_time,
        start_by: moment.start_by,
        since: moment.now,
        cut,
        joined: false,
    }
}

/// Until the others have sent what these may join, or have failed to.
async fn wait_for_others(again: Vec<(Prepared, CancellationToken)>) -> Vec<Prepared> {
    let until = Instant::now() + JOIN_WAIT;
    let mut left = Vec::with_capacity(again.len());
    for (mut one, sent) in again {
        if tokio::time::timeout_at(until, sent.cancelled()).await.is_err()
            && let Some(sharing) = &mut one.registration.sharing
        {
            sharing.joins = Joins::No;
        }
        left.push(one);
    }
    left
}
