//! Runs contenders on a scenario, each with every seed, on all cores. With the same seed all of them meet the same
//! arrivals, service times and boot times, so that differences between them are theirs.

use std::{
    num::NonZeroUsize,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use super::{Contender, Outcome, RunOptions, Sample, Scenario, Summary, run, summary};

/// What a contender came to on a scenario.
#[derive(Debug, Clone)]
pub struct Row {
    pub contender: Contender,
    pub seeds: u64,
    pub summary: Summary,
    /// Of the first seed, where asked for.
    pub timeline: Vec<Sample>,
}

/// Hears how it goes; from any thread.
pub trait Progress: Sync {
    /// So many more runs will come.
    fn planned(&self, runs: u64);
    /// One of them is done.
    fn done(&self);
}

/// One contender with so many seeds.
#[derive(Debug, Clone)]
pub struct Entry {
    pub contender: Contender,
    pub seeds: u64,
    pub timeline: bool,
}

/// The entries' rows, in their order.
pub fn study(scenario: &Scenario, entries: Vec<Entry>, progress: &dyn Progress) -> Vec<Row> {
    let jobs: Vec<Job> = entries.iter().enumerate().flat_map(|(entry, one)| jobs(entry, one)).collect();
    progress.planned(jobs.len() as u64);
    let next = AtomicUsize::new(0);
    let outcomes: Mutex<Vec<Option<Outcome>>> = Mutex::new(jobs.iter().map(|_| None).collect());
    let work = || {
        while let Some((i, job)) = take(&next, &jobs) {
            let outcome = one(scenario, &entries[job.entry].contender, job);
            // A thread that panicked ends the scope anyway.
            outcomes.lock().unwrap_or_else(PoisonError::into_inner)[i] = Some(outcome);
            progress.done();
        }
    };
    thread::scope(|scope| {
        for _ in 0..threads().min(jobs.len()) {
            scope.spawn(work);
        }
    });
    let mut outcomes = outcomes.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().flatten();
    let mut rows = Vec::with_capacity(entries.len());
    for entry in entries {
        let seeds = usize::try_from(entry.seeds).unwrap_or(usize::MAX);
        let mut own: Vec<Outcome> = outcomes.by_ref().take(seeds).collect();
        let timeline = own.first_mut().and_then(|first| first.timeline.take()).unwrap_or_default();
        let summary = summary(&own);
        rows.push(Row { contender: entry.contender, seeds: entry.seeds, summary, timeline });
    }
    rows
}

struct Job {
    entry: usize,
    seed: u64,
    timeline: bool,
}

fn jobs(entry: usize, one: &Entry) -> impl Iterator<Item = Job> + use<> {
    let timeline = one.timeline;
    (0..one.seeds).map(move |seed| Job { entry, seed, timeline: timeline && seed == 0 })
}

fn take<'a>(next: &AtomicUsize, jobs: &'a [Job]) -> Option<(usize, &'a Job)> {
    let i = next.fetch_add(1, Ordering::Relaxed);
    jobs.get(i).map(|job| (i, job))
}

fn one(scenario: &Scenario, contender: &Contender, job: &Job) -> Outcome {
    let own = contender.scenario(scenario);
    run(&own, contender.player(&own, job.seed), job.seed, RunOptions { timeline: job.timeline })
}

fn threads() -> usize {
    thread::available_parallelism().map_or(1, NonZeroUsize::get)
}
