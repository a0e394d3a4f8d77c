//! What waits, and what will have come by then, each by its deadline: with those that are booting
//! counted from the moment they are ready, and new ones from when the cloud lets them start.

use super::{
    super::{
        Basis,
        terms::{Term, round_up},
    },
    CLEAR, Pace,
};

/// Images are due at several times: the oldest part of the queue first, what is still to come last.
const PARTS: u32 = 4;

pub(super) fn term(basis: Basis<'_>, pace: &Pace) -> Term {
    let queue = &basis.seen.queue;
    let work = queue.work();
    if work <= 0.0 {
        return Term { name: "deadline", instances: 0, formula: "nothing waits = 0".to_owned() };
    }
    let current = basis.fleet.current();
    let mut worst: Option<(Due, u32)> = None;
    if queue.visible > 0 {
        for due in dues(basis, pace, work) {
            let more = missing(basis, pace, due);
            if worst.is_none_or(|(_, most)| more > most) {
                worst = Some((due, more));
            }
        }
    }
    match worst {
        Some((due, more)) if more > 0 => {
            let Due { images, within } = due;
            let (done, instances) = (done(basis, pace, within), current.saturating_add(more));
            let formula = format!(
                "{images:.1} images in {within:.1} s: {current} do {done:.1}, {more} more the rest = {instances}"
            );
            Term { name: "deadline", instances, formula }
        }
        _ => {
            let formula = format!("{current} there are enough for {work:.1} images = 0");
            Term { name: "deadline", instances: 0, formula }
        }
    }
}

/// So many images are to be answered within so many seconds from now.
#[derive(Debug, Clone, Copy)]
struct Due {
    images: f64,
    within: f64,
}

fn dues(basis: Basis<'_>, pace: &Pace, work: f64) -> impl Iterator<Item = Due> {
    let oldest = basis.seen.queue.oldest_age.as_secs_f64();
    // What is late already is cleared as soon as a new instance can help, and within the minute that it is paid for.
    let paid = basis.seen.supply.paid_min.as_secs_f64();
    let soonest = pace.boot_warm + (2.0 * pace.service_mean).max(paid - pace.boot_warm);
    let fresh = pace.target - pace.service_p95 + pace.service_mean;
    let waiting = (1..=PARTS).map(move |part| {
        let share = f64::from(part) / f64::from(PARTS);
        Due { images: work * share, within: soonest.max(fresh - oldest * (1.0 - share)) }
    });
    let coming = [0.5, 1.0].map(|boots| {
        let from_now = boots * pace.boot_warm;
        Due { images: work + pace.arriving(from_now), within: soonest.max(from_now + fresh) }
    });
    waiting.chain(coming)
}

/// Images that the instances there are can do within so many seconds.
fn done(basis: Basis<'_>, pace: &Pace, within: f64) -> f64 {
    let arriving = basis.fleet.arrivals.iter();
    let starting: f64 =
        arriving.map(|due| f64::from(due.count) * (within - due.ready_in.as_secs_f64()).max(0.0)).sum();
    (f64::from(basis.fleet.ready) * within + starting) * pace.rate
}

/// How many more are needed for what is due: stopped ones first, then new ones, each from when its
/// start will be taken.
fn missing(basis: Basis<'_>, pace: &Pace, due: Due) -> u32 {
    let Basis { seen, fleet, policy, .. } = basis;
    let mut left = due.images - done(basis, pace, due.within);
    let supply = &seen.supply;
    let mut more = 0;
    while left > 1e-9 && more < policy.max_instances {
        more += 1;
        let boot = if more <= fleet.stopped { pace.boot_warm } else { pace.boot_cold };
        let held_back = f64::from(more) - supply.start_tokens.max(0.0);
        let wait = if held_back > 0.0 { held_back / supply.start_tokens_per_second.max(1e-3) } else { 0.0 };
        let images = ((due.within - boot - wait) * pace.rate).max(0.0);
        // Few are whole ones; less than one image is none, and yet one that waits needs an instance.
        left -= if images >= 20.0 {
            images
        } else if more <= fleet.stopped {
            images.floor().max(1.0)
        } else {
            images.floor()
        };
    }
    more
}

/// So many of those there are do the work in time. They are needed until it is done, and not held beyond.
pub(super) fn clear(basis: Basis<'_>, pace: &Pace) -> Term {
    let queue = &basis.seen.queue;
    let images = queue.visible.saturating_add(queue.in_flight) as f64;
    if images <= 0.0 {
        return Term { name: CLEAR, instances: 0, formula: "nothing is there = 0".to_owned() };
    }
    let within = (pace.target - pace.service_p95 - queue.oldest_age.as_secs_f64()).max(pace.service_mean);
    let instances = round_up(images / (within * pace.rate)).max(1).min(basis.fleet.current());
    let formula = format!("{images:.0} images in {within:.1} s at {:.2}/s each = {instances}", pace.rate);
    Term { name: CLEAR, instances, formula }
}
