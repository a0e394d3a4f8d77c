//! The `latency` rule: enough instances for what keeps coming, and enough to clear what is there by
//! its deadline, with those that are booting counted from the moment they are ready.

use std::time::Duration;

use super::{
    observation::{Census, InstanceState, Observation},
    policy::Latency,
    state::{Change, State, change},
    terms::{Term, round_up},
};

pub(super) fn terms(observation: &Observation, state: &State, rule: &Latency) -> Vec<Term> {
    vec![steady(observation, state, rule), backlog(observation, rule)]
}

/// The fewest instances at which more than `1 - quantile` of the images never wait longer than the
/// slack: M/M/N, with the tail stretched for service times that vary less or more than exponential ones.
fn steady(observation: &Observation, state: &State, rule: &Latency) -> Term {
    let service = &observation.service;
    let (mean, p95) = (seconds(service.mean), seconds(service.p95).max(seconds(service.mean)));
    let rate = expected_rate(observation, state);
    let busy = rate * mean;
    if busy <= 0.0 {
        return Term { name: "steady", instances: 0, formula: "nothing arrives = 0".to_owned() };
    }
    // A p95 of an exponential time is 1 + 1.65 standard deviations over its mean.
    let deviation = (p95 / mean - 1.0) / 1.65;
    let variation = (deviation * deviation).max(0.05);
    let slack = (seconds(rule.target) - p95 - seconds(observation.boot.warm)).max(0.0);
    let late = 1.0 - rule.quantile;
    let servers = servers(busy, late, |spare| (-spare * slack / mean * 2.0 / (1.0 + variation)).exp());
    let instances = round_up(f64::from(servers) / service.slots.max(1.0));
    Term {
        name: "steady",
        instances,
        formula: format!(
            "{rate:.2}/s x {mean:.3} s = {busy:.2} busy; at most {:.0} % over {slack:.1} s of slack = {instances}",
            late * 100.0
        ),
    }
}

/// The fewest servers for `busy` of them busy on average, so that `P(wait) * tail(spare servers)` is
/// at most `late`. Erlang's recursion, one step a server.
fn servers(busy: f64, late: f64, tail: impl Fn(f64) -> f64) -> u32 {
    /// Far over any fleet, and still computed in microseconds.
    const SERVERS_MAX: u32 = 100_000;
    let mut blocked = 1.0;
    for count in 1..SERVERS_MAX {
        let number = f64::from(count);
        blocked = busy * blocked / (number + busy * blocked);
        if number > busy {
            let used = busy / number;
            let waits = blocked / (1.0 - used + used * blocked);
            if waits * tail(number - busy) <= late {
                return count;
            }
        }
    }
    SERVERS_MAX
}

/// The slow rate, or the fast one where the two differ by more than chance. Of a surge only the
/// share counts that will still be there when a new instance is: it is expected to last as long
/// again as it has lasted.
fn expected_rate(observation: &Observation, state: &State) -> f64 {
    let arrivals = &observation.arrivals;
    match change(arrivals) {
        Change::None => arrivals.slow,
        Change::Down => arrivals.fast,
        Change::Up => {
            let lasted =
                state.surge_since.map_or(Duration::ZERO, |since| observation.at.saturating_sub(since));
            let share = (seconds(lasted) / seconds(observation.boot.warm).max(0.001)).min(1.0);
            arrivals.slow + (arrivals.fast - arrivals.slow) * share
        }
    }
}

/// Every image that is there now, answered by its deadline: the oldest first, the newest last.
fn backlog(observation: &Observation, rule: &Latency) -> Term {
    let queue = &observation.queue;
    // An image that is being worked on is half done, on average.
    let work = queue.visible as f64 + queue.in_flight as f64 / 2.0;
    if work <= 0.0 {
        return Term { name: "backlog", instances: 0, formula: "nothing waits = 0".to_owned() };
    }
    let mut most = Term { name: "backlog", instances: 0, formula: String::new() };
    for part in 1..=PARTS {
        let share = f64::from(part) / f64::from(PARTS);
        let age = queue.oldest_age.mul_f64(1.0 - (share - 1.0 / f64::from(PARTS)));
        let term = clear(observation, work * share, rule.target.saturating_sub(age));
        if part == 1 || term.instances > most.instances {
            most = term;
        }
    }
    most
}

/// The oldest quarter of the images must be done first, the newest may take longest.
const PARTS: u32 = 4;

/// The instances that do `images` within `left`.
fn clear(observation: &Observation, images: f64, left: Duration) -> Term {
    let service = &observation.service;
    let rate = service.rate();
    let boot = seconds(observation.boot.warm);
    let census = Census::of(&observation.instances);
    // What is late already is cleared as soon as a new instance can help: a boot and two images.
    let catch_up = boot + (2.0 * seconds(service.mean)).max(CATCH_UP_MIN);
    let within = (seconds(left) - seconds(service.p95)).max(catch_up);
    let time = working_time(observation, within);
    let done = time * rate;
    let missing = images - done;
    if missing > 1e-9 {
        // One more instance does this much after its boot; less than one image is none.
        let each = ((within - boot) * rate).max(1.0);
        let more = round_up(missing / each);
        let instances = census.current().saturating_add(more);
        let formula = format!(
            "{images:.1} images in {within:.1} s: {} do {done:.1}, {more} more do {each:.1} each = {instances}",
            census.current()
        );
        return Term { name: "backlog", instances, formula };
    }
    let instances = round_up(images / (within * rate).max(1e-9)).max(1).min(census.current());
    let formula = format!("{images:.1} images in {within:.1} s at {rate:.2}/s each = {instances}");
    Term { name: "backlog", instances, formula }
}

/// Planning closer than this would start an instance for every image.
const CATCH_UP_MIN: f64 = 1.0;

/// Seconds of work that all instances there are can do within `within`, counted from when each is ready.
fn working_time(observation: &Observation, within: f64) -> f64 {
    let of = |instance: &super::Instance| match instance.state {
        InstanceState::Ready => within,
        InstanceState::Starting => {
            let waited = observation.at.saturating_sub(instance.since);
            (within - (seconds(observation.boot.warm) - seconds(waited)).max(0.0)).max(0.0)
        }
        _ => 0.0,
    };
    observation.instances.iter().map(of).sum()
}

fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}
