//! What every front door of the gateway shares: the checks, the queue, who waits, and the capacity.

use std::{sync::Arc, time::Duration};

use futures::StreamExt as _;
use platform::{
    Error, Kind, Result,
    error::from_rpc_status,
    queue::{ATTEMPTS_MAX, Counts, Delivery, Lease, Queue, Receive},
    retry::Backoff,
};
use proto::{
    internal::v1::GatewaySessionResponse,
    v1::{ClassifyOptions, Image, ImageResult, ImageState, image::Source},
};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    admission::Patience,
    cache::{Cache, Sum},
    counters::Counters,
    group::{Accepted, Group, Picture, Terms, failed},
    intake::{self, Checked},
    models::Models,
    objects::Objects,
    options::Options,
    pending::{Event, Pending},
    place::Places,
    repeat::{Carried, Repeats},
};

pub struct Core {
    pub options: Options,
    pub queue: Arc<dyn Queue>,
    /// Whether this gateway has the queue in its own memory and serves it to workers.
    pub is_broker: bool,
    pub places: Places,
    /// Results of images seen before; `None`: each image is classified, also when an equal one is on its way.
    pub cache: Option<Cache>,
    /// Callers' own objects; `None`: no URI is read.
    pub objects: Option<Objects>,
    pub pending: Arc<Pending>,
    /// Calls that may be repeated.
    pub repeats: Arc<Repeats>,
    pub counters: Counters,
    pub models: Models,
    /// How workers reach us, as a URL.
    pub reply_to: String,
    /// Take nothing new; finish what is held.
    pub stop: CancellationToken,
    /// What the autoscaler last said; `None` while none is connected.
    pub capacity: watch::Sender<Option<GatewaySessionResponse>>,
}

/// A request of many images, checked as far as it can fail as a whole.
#[derive(Clone)]
pub struct Request {
    pub images: Vec<Image>,
    pub options: Option<ClassifyOptions>,
    pub tell_start: bool,
    pub deadline: Option<Instant>,
    pub carried: Carried,
}

/// A request of one image.
#[derive(Clone)]
pub struct One {
    pub image: Image,
    pub options: Option<ClassifyOptions>,
    pub deadline: Option<Instant>,
    pub patience: Patience,
}

impl Core {
    /// The caller's deadline, or the server's.
    pub fn answer_by(&self, deadline: Option<Instant>) -> Instant {
        let latest = Instant::now() + self.options.request_timeout;
        deadline.map_or(latest, |deadline| deadline.min(latest))
    }

    /// One image to its answer, which may say why it failed. Fails only if the request itself is wrong or there is no room.
    pub async fn answer_one(self: &Arc<Self>, one: One, carried: Carried) -> Result<ImageResult> {
        let One { mut image, options, deadline, patience } = one;
        let options = intake::check_options(options, &self.models)?;
        intake::check_custom_id(&image.custom_id, "image")?;
        let content = self.check_image(&mut image, "image").await?;
        let custom_id = if image.custom_id.is_empty() { "0".to_owned() } else { image.custom_id };
        if let Some(known) = carried.known.into_values().next() {
            return Ok(ImageResult { index: 0, custom_id, ..known });
        }
        let answer_by = self.answer_by(deadline);
        let terms = Terms { images_max: 1, tell_start: false, answer_by, patience };
        let mut group = Group::new(Arc::clone(self), terms);
        group.keep_under(carried.keep_under);
        group.submit(vec![Accepted { index: 0, custom_id, content }], &options).await?;
        loop {
            match group.next().await {
                Some(Event::Finished(result)) => return Ok(*result),
                Some(Event::Started { .. }) => {}
                None => return Err(Error::internal("the image left without an answer")),
            }
        }
    }

    /// Queues many images. Fails as a whole only if the request itself is wrong or there is no
    /// room; an image that is wrong is answered inside the group.
    pub async fn submit_many(self: &Arc<Self>, request: Request) -> Result<(Group, Vec<String>)> {
        let options = intake::check_options(request.options, &self.models)?;
        let names = check_names(&request.images, self.options.images_per_request_max)?;
        let terms = Terms {
            images_max: names.len(),
            tell_start: request.tell_start,
            answer_by: self.answer_by(request.deadline),
            patience: Patience::Caller,
        };
        let Carried { keep_under, mut known } = request.carried;
        let mut group = Group::new(Arc::clone(self), terms);
        group.keep_under(keep_under);
        let mut accepted = Vec::with_capacity(names.len());
        let checks = (0_u32..).zip(request.images).map(|(index, mut image)| async move {
            (index, self.check_image(&mut image, &format!("images[{index}]")).await)
        });
        // In order, and those that ask S3 several at a time.
        let mut checked = futures::stream::iter(checks).buffered(CHECKS_MAX);
        while let Some((index, content)) = checked.next().await {
            let Some(custom_id) = names.get(index as usize) else { break };
            if let Some(known) = known.remove(&index) {
                group.give(ImageResult { index, custom_id: custom_id.clone(), ..known });
                continue;
            }
            match content {
                Ok(content) => accepted.push(Accepted { index, custom_id: custom_id.clone(), content }),
                Err(error) => group.fail(index, custom_id.clone(), &error),
            }
        }
        group.submit(accepted, &options).await?;
        Ok((group, names))
    }

    /// One more image of an endless stream.
    pub async fn submit_next(&self, group: &mut Group, index: u32, mut image: Image, options: &Checked) {
        let field = format!("image[{index}]");
        let custom_id =
            if image.custom_id.is_empty() { index.to_string() } else { std::mem::take(&mut image.custom_id) };
        let checked = intake::check_custom_id(&custom_id, &field).and_then(|()| {
            if group.holds(&custom_id) {
                return Err(Error::invalid(
                    format!("{field}.custom_id"),
                    format!("{custom_id:?} is on its way already"),
                ));
            }
            Ok(())
        });
        let checked = match checked {
            Ok(()) => self.check_image(&mut image, &field).await,
            Err(error) => Err(error),
        };
        let submitted = match checked {
            Ok(content) => {
                group.submit(vec![Accepted { index, custom_id: custom_id.clone(), content }], options).await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = submitted {
            group.fail(index, custom_id, &error);
        }
    }

    /// The image's bytes, or where they are. `field` is its path in the request.
    async fn check_image(&self, image: &mut Image, field: &str) -> Result<Picture> {
        let bytes_max = self.options.image_bytes_max;
        match (image.source.take(), &self.objects) {
            (Some(Source::Uri(uri)), Some(objects)) => {
                objects.check(&uri, bytes_max).await.map(Picture::Object).map_err(|error| {
                    let description = error.message().to_owned();
                    error.with_violation(format!("{field}.uri"), description)
                })
            }
            (source, _) => intake::check_source(source, field, bytes_max).map(Picture::Content),
        }
    }

    /// Keeps the result of an image for equal ones, under the model that gave it.
    pub fn remember(&self, sum: Sum, top_k: u32, result: &ImageResult) {
        if let (Some(cache), Some(execution)) = (&self.cache, &result.execution) {
            let model = format!("{}@{}", execution.model, execution.model_version);
            cache.put(&sum.with_model(&model), top_k, result);
        }
    }

    /// This gateway's own images, exactly: of the queue if it is ours alone, else of those that wait here.
    pub async fn counts(&self) -> Counts {
        if self.is_broker {
            // The embedded queue answers always.
            return self.queue.counts().await.unwrap_or_default();
        }
        let totals = self.pending.totals();
        Counts {
            visible: totals.waiting - totals.started,
            leased: totals.started,
            oldest_age: totals.oldest_age,
        }
    }

    /// Waits a moment for workers to ack what they have answered, so that they are not cut off
    /// in between.
    pub async fn settled(&self) {
        const LONGEST: Duration = Duration::from_secs(1);
        const STEP: Duration = Duration::from_millis(5);
        if !self.is_broker {
            return;
        }
        let until = Instant::now() + LONGEST;
        while self.counts().await.leased > 0 && Instant::now() < until {
            tokio::time::sleep(STEP).await;
        }
    }

    /// Answers the callers of tasks that every attempt has failed. Runs until dropped.
    pub async fn answer_dead_letters(&self) -> Result<()> {
        const MAX: std::num::NonZeroU32 = std::num::NonZeroU32::MIN.saturating_add(63);
        // Short: one that waits for another gateway is back soon.
        const LEASE: Duration = Duration::from_secs(5);
        let dead =
            self.queue.dead_letters().ok_or_else(|| Error::internal("the queue has no dead letters"))?;
        let mut backoff = Backoff::for_connections();
        loop {
            let receive = Receive { max: MAX, wait: Duration::from_secs(20), lease: LEASE };
            let done = match dead.receive(receive).await {
                Ok(deliveries) => {
                    let mine =
                        deliveries.into_iter().filter_map(|delivery| self.answer_dead_letter(delivery));
                    dead.ack(&mine.collect::<Vec<_>>()).await
                }
                Err(error) => Err(error),
            };
            match done {
                Ok(()) => backoff.reset(),
                Err(error) => {
                    tracing::warn!(%error, "receive dead letters");
                    tokio::time::sleep(backoff.pause()).await;
                }
            }
        }
    }

    /// Gives the lease to ack; `None` for one that another gateway has to answer.
    fn answer_dead_letter(&self, delivery: Delivery) -> Option<Lease> {
        /// Deliveries of a dead letter, five seconds each, after which its gateway is taken to be gone.
        const DELIVERIES_MAX: u32 = 60;
        let Delivery { task, lease, attempt } = delivery;
        if task.reply_to != self.reply_to && attempt < DELIVERIES_MAX {
            return None;
        }
        tracing::warn!(task.id = task.task_id, attempts = ATTEMPTS_MAX, "dead-lettered");
        let error = Error::new(
            Kind::MaxAttempts,
            format!("{ATTEMPTS_MAX} workers took it up and none finished; the image may crash them"),
        )
        .with_metadata("attempts", ATTEMPTS_MAX);
        self.pending.finish(&task.task_id, failed(0, task.custom_id, &error));
        Some(lease)
    }
}

/// Images of one request that are looked up in S3 at once.
const CHECKS_MAX: usize = 32;

/// The result, or its error.
pub fn succeeded(result: ImageResult) -> Result<ImageResult> {
    if result.state() == ImageState::Succeeded {
        return Ok(result);
    }
    let fault = || Error::internal("a failed result without an error");
    Err(result.error.as_ref().map_or_else(fault, from_rpc_status))
}

/// The callers' names of all images: theirs, or the index. Each once.
fn check_names(images: &[Image], images_max: usize) -> Result<Vec<String>> {
    if images.is_empty() {
        return Err(Error::invalid("images", "there must be at least one"));
    }
    if images.len() > images_max {
        return Err(Error::invalid("images", format!("{} images, the limit is {images_max}", images.len()))
            .with_metadata("limit", images_max)
            .with_metadata("found", images.len()));
    }
    let mut seen = std::collections::HashMap::with_capacity(images.len());
    let mut names = Vec::with_capacity(images.len());
    for (index, image) in images.iter().enumerate() {
        let field = format!("images[{index}]");
        intake::check_custom_id(&image.custom_id, &field)?;
        let name = if image.custom_id.is_empty() { index.to_string() } else { image.custom_id.clone() };
        if let Some(first) = seen.insert(name.clone(), index) {
            return Err(Error::invalid(
                format!("{field}.custom_id"),
                format!("{name:?} is also the name of images[{first}]"),
            ));
        }
        names.push(name);
    }
    Ok(names)
}
