//! The CPU threads: each has a model of its own, takes a batch from the line, prepares, classifies,
//! and hands over what came out. A panic costs one image, never the thread.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use platform::{Error, Kind, Result};
use proto::v1::{Classification, ImageResult};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    answer::{self, Identity, Timing},
    held::{Ticket, Unwanted},
    line::{Line, Work},
    pace::{Pace, batch_limit},
};
use crate::model::{Image, Model};

/// Classes for a task that does not say how many (`ClassifyOptions.top_k`).
const TOP_K_DEFAULT: usize = 5;

/// What became of one image on a thread.
#[derive(Debug)]
pub(crate) enum Outcome {
    Answer(Arc<Ticket>, Box<ImageResult>),
    /// Nobody waits for it, or it is another worker's by now.
    Skipped(Arc<Ticket>, Unwanted),
}

/// What a thread needs beside its model.
#[derive(Clone)]
pub(crate) struct Bench {
    pub(crate) line: Arc<Line>,
    pub(crate) pace: Arc<Pace>,
    pub(crate) identity: Arc<Identity>,
    pub(crate) outcomes: mpsc::Sender<Outcome>,
    pub(crate) batch_max: usize,
    pub(crate) batch_delay: Duration,
    /// Set if a thread ends by a panic, which none should.
    pub(crate) died: CancellationToken,
}

/// Starts a thread that works until the line is closed.
pub(crate) fn start(
    number: usize,
    mut model: Box<dyn Model>,
    bench: Bench,
) -> Result<thread::JoinHandle<()>> {
    let body = move || {
        let guard = bench.died.clone().drop_guard();
        while let Some(batch) = bench.take() {
            bench.work(&mut *model, batch);
        }
        guard.disarm();
    };
    thread::Builder::new()
        .name(format!("classify-{number}"))
        .spawn(body)
        .map_err(|error| Error::internal(error).context("start a thread"))
}

/// One image that is in its slot.
struct Prepared {
    ticket: Arc<Ticket>,
    timing: Timing,
}

impl Bench {
    fn take(&self) -> Option<Vec<Work>> {
        self.line.take(batch_limit(self.pace.service_mean(), self.batch_max), self.batch_delay)
    }

    fn work(&self, model: &mut dyn Model, batch: Vec<Work>) {
        let begun = Instant::now();
        self.pace.begin_batch();
        let mut answered = 0;
        let mut prepared = Vec::with_capacity(batch.len());
        for work in batch {
            match self.prepare(model, prepared.len(), work) {
                Ok(one) => prepared.push(one),
                Err(outcome) => answered += self.hand_over(outcome),
            }
        }
        // Decoding took a while: a batch of which nobody wants anything any more has no pass.
        if !prepared.iter().all(|one| one.ticket.unwanted().is_some()) {
            answered += self.classify(model, &mut prepared);
        }
        for one in prepared {
            let unwanted = one.ticket.unwanted().unwrap_or(Unwanted::Cancelled);
            answered += self.hand_over(self.skip(one.ticket, unwanted));
        }
        self.pace.end_batch(answered, begun.elapsed());
    }

    fn prepare(&self, model: &mut dyn Model, slot: usize, work: Work) -> Result<Prepared, Outcome> {
        let Work { ticket, content, fetch } = work;
        if let Some(unwanted) = ticket.unwanted() {
            return Err(self.skip(ticket, unwanted));
        }
        let mut timing = Timing::start(fetch);
        let image = Image {
            content,
            custom_id: ticket.task.custom_id.clone(),
            top_k: match ticket.task.top_k {
                0 => TOP_K_DEFAULT,
                top_k => usize::try_from(top_k).unwrap_or(usize::MAX),
            },
            min_score: ticket.task.min_score,
        };
        let begun = Instant::now();
        let done = guarded(Kind::ImageUndecodable, || model.prepare(slot, &image));
        timing.decode = Some(begun.elapsed());
        match done {
            Ok(()) => Ok(Prepared { ticket, timing }),
            Err(error) => {
                let result =
                    answer::failed(&self.identity, &ticket, &timing, &error.context("prepare image"));
                Err(Outcome::Answer(ticket, Box::new(result)))
            }
        }
    }

    /// One pass for all of them; if it fails, one for each, so that a bad image fails alone.
    /// Leaves in `prepared` what nobody wanted before its turn came.
    fn classify(&self, model: &mut dyn Model, prepared: &mut Vec<Prepared>) -> usize {
        let count = prepared.len();
        let begun = Instant::now();
        let passed = guarded(Kind::InferenceFailed, || pass(model, 0, count));
        let took = begun.elapsed();
        let mut answered = 0;
        match passed {
            Ok(answers) => {
                for (one, classes) in prepared.drain(..).zip(answers) {
                    answered += self.answer(one, Ok(classes), (took, count));
                }
            }
            Err(error) if count == 1 => {
                if let Some(one) = prepared.pop() {
                    answered += self.answer(one, Err(error), (took, 1));
                }
            }
            Err(error) => {
                tracing::debug!(%error, batch_size = count, "pass failed, trying its images one by one");
                let mut unwanted = Vec::new();
                for (slot, one) in prepared.drain(..).enumerate() {
                    if one.ticket.unwanted().is_some() {
                        unwanted.push(one);
                        continue;
                    }
                    let begun = Instant::now();
                    let classes = guarded(Kind::InferenceFailed, || pass(model, slot, 1))
                        .map(|mut answers| answers.pop().unwrap_or_default());
                    answered += self.answer(one, classes, (begun.elapsed(), 1));
                }
                *prepared = unwanted;
            }
        }
        answered
    }

    fn answer(&self, one: Prepared, classes: Result<Vec<Classification>>, pass: (Duration, usize)) -> usize {
        let Prepared { ticket, mut timing } = one;
        (timing.inference, timing.batch_size) = (Some(pass.0), pass.1);
        let result = match classes {
            Ok(classes) => answer::succeeded(&self.identity, &ticket, &timing, classes),
            Err(error) => answer::failed(&self.identity, &ticket, &timing, &error.context("classify image")),
        };
        self.hand_over(Outcome::Answer(ticket, Box::new(result)))
    }

    fn skip(&self, ticket: Arc<Ticket>, unwanted: Unwanted) -> Outcome {
        if unwanted == Unwanted::Expired {
            let result = answer::expired(&self.identity, &ticket);
            return Outcome::Answer(ticket, Box::new(result));
        }
        Outcome::Skipped(ticket, unwanted)
    }

    /// How many images this answered: 1, or 0 for a skipped one.
    fn hand_over(&self, outcome: Outcome) -> usize {
        let answered = usize::from(matches!(outcome, Outcome::Answer(..)));
        // There is room for all that can be held; an error means that the worker has ended.
        let _ = self.outcomes.blocking_send(outcome);
        answered
    }
}

fn pass(model: &mut dyn Model, first: usize, count: usize) -> Result<Vec<Vec<Classification>>> {
    let answers = model.classify(first..first + count)?;
    if answers.len() == count {
        return Ok(answers);
    }
    let sentence = format!("the model gave {} answers to {count} images", answers.len());
    Err(Error::new(Kind::InferenceFailed, "the model did not answer").with_source(sentence))
}

/// Runs code that works on a caller's bytes. A panic in it becomes an error of this kind.
fn guarded<T>(kind: Kind, run: impl FnOnce() -> Result<T>) -> Result<T> {
    // What a panic can leave half written is the slots of one model, and each is written anew
    // before it is used again.
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        tracing::error!(panic = panic_text(&*panic), "a panic while working on an image");
        Err(Error::new(kind, "a fault while working on this image"))
    })
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("?")
}
