//! The CPU threads: each has a model of its own, takes a batch from the line, prepares, classifies,
//! and hands over what came out. A panic costs one image, never the thread.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use platform::{Error, Kind, Result, queue::ATTEMPTS_MAX};
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
    /// A fault of ours, which need not happen again: another attempt is worth it.
    Retry(Arc<Ticket>),
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
        // Decoding took a while: what nobody wants any more has no pass. What is left goes in as few as its slots allow.
        let mut slot = 0;
        let mut prepared = prepared.into_iter().map(|one| (one.ticket.unwanted(), one)).peekable();
        while let Some((unwanted, one)) = prepared.next() {
            if let Some(unwanted) = unwanted {
                answered += self.hand_over(self.skip(one.ticket, unwanted));
                slot += 1;
                continue;
            }
            let mut run = vec![one];
            while let Some((_, next)) = prepared.next_if(|(unwanted, _)| unwanted.is_none()) {
                run.push(next);
            }
            let first = slot;
            slot += run.len();
            answered += self.classify(model, first, run);
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
            Err(error) => Err(self.failed(ticket, &timing, &error.context("prepare image"))),
        }
    }

    /// One pass for all of them, in the slots from `first` on; if it fails, one for each, so that a bad image fails alone.
    fn classify(&self, model: &mut dyn Model, first: usize, mut run: Vec<Prepared>) -> usize {
        let count = run.len();
        let begun = Instant::now();
        let passed = guarded(Kind::InferenceFailed, || pass(model, first, count));
        let took = begun.elapsed();
        let mut answered = 0;
        match passed {
            Ok(answers) => {
                for (one, classes) in run.into_iter().zip(answers) {
                    answered += self.answer(one, Ok(classes), (took, count));
                }
            }
            Err(error) if count == 1 => {
                if let Some(one) = run.pop() {
                    answered += self.answer(one, Err(error), (took, 1));
                }
            }
            Err(error) => {
                tracing::debug!(%error, batch_size = count, "pass failed, trying its images one by one");
                for (slot, one) in (first..).zip(run) {
                    if let Some(unwanted) = one.ticket.unwanted() {
                        answered += self.hand_over(self.skip(one.ticket, unwanted));
                        continue;
                    }
                    let begun = Instant::now();
                    let classes = guarded(Kind::InferenceFailed, || pass(model, slot, 1))
                        .map(|mut answers| answers.pop().unwrap_or_default());
                    answered += self.answer(one, classes, (begun.elapsed(), 1));
                }
            }
        }
        answered
    }

    fn answer(&self, one: Prepared, classes: Result<Vec<Classification>>, pass: (Duration, usize)) -> usize {
        let Prepared { ticket, mut timing } = one;
        (timing.inference, timing.batch_size) = (Some(pass.0), pass.1);
        self.hand_over(match classes {
            Ok(classes) => {
                let result = answer::succeeded(&self.identity, &ticket, &timing, classes);
                Outcome::Answer(ticket, Box::new(result))
            }
            Err(error) => self.failed(ticket, &timing, &error.context("classify image")),
        })
    }

    fn failed(&self, ticket: Arc<Ticket>, timing: &Timing, error: &Error) -> Outcome {
        if error.kind() == Kind::Internal && ticket.attempt < ATTEMPTS_MAX {
            tracing::warn!(%error, task.id = ticket.task.task_id, attempt = ticket.attempt, "task released");
            return Outcome::Retry(ticket);
        }
        let result = answer::failed(&self.identity, &ticket, timing, error);
        Outcome::Answer(ticket, Box::new(result))
    }

    fn skip(&self, ticket: Arc<Ticket>, unwanted: Unwanted) -> Outcome {
        self.pace.skipped(unwanted);
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

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use bytes::Bytes;
    use platform::{
        error::from_rpc_status,
        queue::{Delivery, Lease, Task},
    };
    use proto::v1::ImageState;

    use super::*;

    /// Does what an image's name says, and counts its passes.
    #[derive(Default)]
    struct Obedient {
        slots: Vec<String>,
        passes: Vec<usize>,
        cancels: Vec<Arc<Ticket>>,
        /// The image whose decoding does; empty: the first.
        cancels_with: String,
        pace: Arc<Pace>,
    }

    impl Model for Obedient {
        fn name(&self) -> &'static str {
            "obedient"
        }
        fn version(&self) -> &'static str {
            "1"
        }
        fn batch_max(&self, wished: usize) -> usize {
            wished
        }
        fn warm_up(&mut self) -> Result<()> {
            Ok(())
        }
        fn prepare(&mut self, slot: usize, image: &Image) -> Result<()> {
            match image.custom_id.as_str() {
                "damaged" => return Err(Error::new(Kind::ImageUndecodable, "damaged")),
                "panic while decoding" => panic!("as asked"),
                "disk full" => return Err(Error::internal("no space left on device")),
                _ => {}
            }
            self.slots.truncate(slot);
            self.slots.push(image.custom_id.clone());
            if self.cancels_with.is_empty() || self.cancels_with == image.custom_id {
                for ticket in self.cancels.drain(..) {
                    ticket.cancel();
                }
            }
            Ok(())
        }
        fn classify(&mut self, slots: Range<usize>) -> Result<Vec<Vec<Classification>>> {
            self.passes.push(slots.len());
            let names = &self.slots[slots];
            if names.iter().any(|name| name == "panic in the pass") {
                panic!("as asked");
            }
            if names.iter().any(|name| name == "bad") {
                return Err(Error::new(Kind::InferenceFailed, "bad"));
            }
            let class = |name: &String| vec![Classification { class_id: 0, label: name.clone(), score: 1.0 }];
            Ok(names.iter().map(class).collect())
        }
    }

    fn ticket(name: &str) -> Arc<Ticket> {
        nth_attempt(1, name)
    }

    fn nth_attempt(attempt: u32, name: &str) -> Arc<Ticket> {
        let mut task = Task { task_id: name.to_owned(), custom_id: name.to_owned(), ..Task::default() };
        if name == "late" {
            task.deadline = Some(platform::time::now());
        }
        Arc::new(Ticket::new(Delivery { task, lease: Lease::from(name.to_owned()), attempt }))
    }

    fn work(model: &mut Obedient, tickets: Vec<Arc<Ticket>>) -> Vec<Outcome> {
        let (outcomes, mut handed_over) = mpsc::channel(16);
        let identity = Identity {
            worker_id: "worker-1".to_owned(),
            instance_id: "slot-1".to_owned(),
            model: "obedient".to_owned(),
            model_version: "1".to_owned(),
        };
        let bench = Bench {
            line: Arc::new(Line::new(8)),
            pace: Arc::clone(&model.pace),
            identity: Arc::new(identity),
            outcomes,
            batch_max: 8,
            batch_delay: Duration::ZERO,
            died: CancellationToken::new(),
        };
        let batch = tickets.into_iter().map(|ticket| Work { ticket, content: Bytes::new(), fetch: None });
        bench.work(model, batch.collect());
        std::iter::from_fn(|| handed_over.try_recv().ok()).collect()
    }

    /// What became of each name: its state, and the kind of its error or the images in its pass.
    fn told(outcomes: &[Outcome], name: &str) -> String {
        let told = outcomes.iter().filter_map(|outcome| match outcome {
            Outcome::Answer(ticket, result) if ticket.task.custom_id == name => {
                let reason = match &result.error {
                    Some(error) => from_rpc_status(error).kind().reason().to_owned(),
                    None => result.execution.as_ref().unwrap().batch_size.to_string(),
                };
                assert_eq!(result.classifications.is_empty(), result.state() != ImageState::Succeeded);
                Some(format!("{:?} {reason}", result.state()))
            }
            Outcome::Skipped(ticket, unwanted) if ticket.task.custom_id == name => {
                Some(format!("{unwanted:?}"))
            }
            Outcome::Retry(ticket) if ticket.task.custom_id == name => Some("Retry".to_owned()),
            _ => None,
        });
        told.collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn every_image_of_a_batch_has_its_own_outcome() {
        let check = |names: &[&str], wanted: &[&str], passes: &[usize]| {
            let mut model = Obedient::default();
            let outcomes = work(&mut model, names.iter().map(|name| ticket(name)).collect());
            let found = names.iter().map(|name| told(&outcomes, name)).collect::<Vec<_>>();
            assert_eq!(found, wanted, "{names:?}");
            assert_eq!(model.passes, passes, "{names:?}");
        };
        check(&["a", "b", "c"], &["Succeeded 3"; 3], &[3]);
        check(&["a", "damaged", "b"], &["Succeeded 2", "Failed IMAGE_UNDECODABLE", "Succeeded 2"], &[2]);
        check(&["a", "panic while decoding"], &["Succeeded 1", "Failed IMAGE_UNDECODABLE"], &[1]);
        check(&["a", "bad", "b"], &["Succeeded 1", "Failed INFERENCE_FAILED", "Succeeded 1"], &[3, 1, 1, 1]);
        check(&["bad"], &["Failed INFERENCE_FAILED"], &[1]);
        check(&["panic in the pass", "a"], &["Failed INFERENCE_FAILED", "Succeeded 1"], &[2, 1, 1]);
        check(&["disk full", "a"], &["Retry", "Succeeded 1"], &[1]);
        check(&["late", "a"], &["Expired EXPIRED_IN_QUEUE", "Succeeded 1"], &[1]);
        check(&["late", "damaged"], &["Expired EXPIRED_IN_QUEUE", "Failed IMAGE_UNDECODABLE"], &[]);
    }

    #[test]
    fn image_nobody_wants_is_skipped() {
        let (cancelled, lost) = (ticket("cancelled"), ticket("lost"));
        cancelled.cancel();
        lost.lose();
        let mut model = Obedient::default();
        let outcomes = work(&mut model, vec![cancelled, lost]);
        assert_eq!(told(&outcomes, "cancelled"), "Cancelled");
        assert_eq!(told(&outcomes, "lost"), "Lost");
        assert!(model.passes.is_empty());
        let skipped = model.pace.figures().skipped;
        assert_eq!((skipped.cancelled, skipped.expired), (1, 0), "a lost one is counted elsewhere");
    }

    #[test]
    fn image_whose_deadline_passed_in_the_line_is_counted_as_expired() {
        let mut model = Obedient::default();
        let outcomes = work(&mut model, vec![ticket("late"), ticket("a")]);
        assert_eq!(told(&outcomes, "late"), "Expired EXPIRED_IN_QUEUE");
        assert_eq!(model.passes, [1]);
        assert_eq!(model.pace.figures().skipped.expired, 1);
    }

    #[test]
    fn image_that_is_cancelled_while_others_are_decoded_is_not_in_their_pass() {
        let tickets = ["a", "b", "c", "d", "e"].map(ticket);
        let [_, b, _, _, e] = &tickets;
        let mut model = Obedient { cancels: vec![Arc::clone(b), Arc::clone(e)], ..Obedient::default() };
        // Looked at before decoding too, so it is the decoding of the last that does it.
        model.cancels_with = "e".to_owned();
        let outcomes = work(&mut model, tickets.to_vec());
        let found = ["a", "b", "c", "d", "e"].map(|name| told(&outcomes, name));
        assert_eq!(found, ["Succeeded 1", "Cancelled", "Succeeded 2", "Succeeded 2", "Cancelled"]);
        assert_eq!(model.passes, [1, 2]);
        assert_eq!(model.pace.figures().skipped.cancelled, 2);
    }

    #[test]
    fn batch_that_is_cancelled_while_it_is_decoded_has_no_pass() {
        let (a, b) = (ticket("a"), ticket("b"));
        let mut model = Obedient { cancels: vec![Arc::clone(&a), Arc::clone(&b)], ..Obedient::default() };
        let outcomes = work(&mut model, vec![a]);
        assert_eq!(told(&outcomes, "a"), "Cancelled");
        assert!(model.passes.is_empty());
    }

    #[test]
    fn last_attempt_answers_even_a_fault_of_ours() {
        let outcomes = work(&mut Obedient::default(), vec![nth_attempt(ATTEMPTS_MAX, "disk full")]);
        assert_eq!(told(&outcomes, "disk full"), "Failed INTERNAL");
    }
}
