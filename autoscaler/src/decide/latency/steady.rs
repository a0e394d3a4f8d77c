//! What keeps coming: the fewest servers at which hardly any image waits too long, by Erlang's formula.

use super::{
    super::{
        Basis,
        policy::Latency,
        terms::{Term, round_up},
    },
    Pace, STEADY,
};

/// The fewest instances at which more than `1 - quantile` of the images never wait longer than the
/// slack: M/M/N, with the tail stretched for service times that vary less or more than exponential ones.
pub(super) fn term(basis: Basis<'_>, rule: &Latency, pace: &Pace) -> Term {
    let busy = pace.expected * pace.service_mean;
    if busy <= 0.0 {
        return Term { name: STEADY, instances: 0, formula: "nothing arrives = 0".to_owned() };
    }
    // A p95 of an exponential time is 1 + 1.65 standard deviations over its mean.
    let deviation = (pace.service_p95 / pace.service_mean - 1.0) / 1.65;
    let variation = (deviation * deviation).max(0.05);
    // One that is missing is there only a boot later.
    let slack = (pace.target - pace.service_p95 - pace.boot_warm).max(0.0);
    let late = 1.0 - rule.quantile;
    let tail = |spare: f64| (-spare * slack / pace.service_mean * 2.0 / (1.0 + variation)).exp();
    let servers = servers(busy, late, tail);
    let instances = round_up(f64::from(servers) / basis.seen.service.slots.max(1.0));
    let formula = format!(
        "{:.2}/s x {:.3} s = {busy:.2} busy; at most {:.0} % over {slack:.1} s of slack = {instances}",
        pace.expected,
        pace.service_mean,
        late * 100.0
    );
    Term { name: STEADY, instances, formula }
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
