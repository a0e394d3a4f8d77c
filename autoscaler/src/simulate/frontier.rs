//! Cost against p95: everyone on one scenario, our `latency` with several targets, and every rival tuned after the fact
//! on the very load it is measured with. What no one beats in both is the frontier.

use std::num::NonZeroU64;

use super::{
    Contender, Scenario,
    clock::NEVER,
    contender::Kind,
    figures::FIGURES,
    rivals::RivalSettings,
    study::{Entry, Progress, Row, study},
};

/// Our targets in seconds, for the line in the plot.
const TARGETS: [f64; 7] = [10.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0];

/// With so few seeds settings are tried; the best are then run with all.
const TRIAL_SEEDS: u64 = 2;

/// How many of the best tuned rivals are run with all seeds: few seeds may mislead by a place or two.
const FINALISTS: usize = 4;

/// Simulated images that one contender may take, in all its seeds. A scenario of ten million an hour would take half
/// an hour otherwise; its numbers hardly differ between seeds.
const IMAGES_EACH_MAX: u64 = 40_000_000;
const IMAGES_EACH_SWEEP_MAX: u64 = 10_000_000;
const IMAGES_EACH_TRIAL_MAX: u64 = 2_000_000;

#[derive(Debug, Clone, Copy)]
pub struct Extent {
    pub seeds: NonZeroU64,
    /// Whether the rivals are tuned too.
    pub tuned: bool,
}

/// Everyone on one scenario.
#[derive(Debug, Clone)]
pub struct Comparison {
    pub scenario: Scenario,
    /// The contenders asked for, and then those that were tried for the frontier.
    pub rows: Vec<Row>,
    /// How many of the rows were asked for.
    pub asked: usize,
}

/// Runs the contenders, and where wanted everyone's settings beside them.
pub fn compare(
    scenario: &Scenario,
    contenders: &[Contender],
    extent: Extent,
    progress: &dyn Progress,
) -> Comparison {
    let images = images(scenario).max(1);
    let seeds = extent.seeds.get();
    let rival_seeds = (IMAGES_EACH_MAX / images).clamp(1, seeds);
    let asked = contenders.iter().map(|contender| Entry {
        contender: contender.clone(),
        seeds: if contender.is_ours() { seeds } else { rival_seeds },
        timeline: true,
    });
    let mut rows = study(scenario, asked.collect(), progress);
    let asked = rows.len();
    if extent.tuned {
        let sweep_seeds = (IMAGES_EACH_SWEEP_MAX / images).clamp(1, seeds);
        let trial_seeds = TRIAL_SEEDS.min(rival_seeds);
        let small = images <= IMAGES_EACH_TRIAL_MAX;
        let rivals = RivalSettings::grid().into_iter().filter(|settings| small || settings.is_hasty());
        let ours = entries(without(&rows, TARGETS.map(Contender::latency)), sweep_seeds, false);
        let trials = entries(without(&rows, rivals.map(Contender::rival)), trial_seeds, false);
        let mut tried = study(scenario, ours.into_iter().chain(trials).collect(), progress);
        let finalists = finalists(&mut tried, &limits(scenario));
        rows.extend(study(scenario, entries(finalists, rival_seeds, true), progress));
        rows.extend(tried);
    }
    Comparison { scenario: scenario.clone(), rows, asked }
}

impl Comparison {
    /// Of ours the first row of this name.
    pub fn ours(&self, family: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.contender.is_ours() && row.contender.family == family)
    }

    /// The cheapest rival that answers 95 % within `limit` seconds, whatever its settings; of those run with all seeds.
    pub fn best_rival(&self, limit: f64) -> Option<&Row> {
        let most = self.rows.iter().filter(|row| !row.contender.is_ours()).map(|row| row.seeds).max()?;
        let within =
            |row: &&Row| !row.contender.is_ours() && row.seeds == most && row.summary.p95.mean <= limit;
        self.rows.iter().filter(within).min_by(|one, other| by_cost(one, other))
    }

    /// The best rivals within each limit that counts here.
    pub fn best_rivals(&self) -> Vec<&Row> {
        let mut best: Vec<&Row> = Vec::new();
        for row in limits(&self.scenario).into_iter().filter_map(|limit| self.best_rival(limit)) {
            if best.iter().all(|known| known.contender != row.contender) {
                best.push(row);
            }
        }
        best
    }

    /// For each row whether no other is both cheaper and faster.
    pub fn frontier(&self) -> Vec<bool> {
        let points: Vec<(f64, f64)> =
            self.rows.iter().map(|row| (row.summary.instance_hours.mean, row.summary.p95.mean)).collect();
        frontier(&points)
    }
}

/// How many arrive with the first seed.
fn images(scenario: &Scenario) -> u64 {
    let mut arrivals = scenario.arrivals.generate(&scenario.name, 0);
    std::iter::from_fn(|| Some(arrivals.next()).filter(|at| *at != NEVER)).fold(0, |count, _| count + 1)
}

fn entries(contenders: Vec<Contender>, seeds: u64, timeline: bool) -> Vec<Entry> {
    contenders.into_iter().map(|contender| Entry { contender, seeds, timeline }).collect()
}

/// Those that were not run already.
fn without(rows: &[Row], contenders: impl IntoIterator<Item = Contender>) -> Vec<Contender> {
    contenders.into_iter().filter(|one| rows.iter().all(|row| row.contender != *one)).collect()
}

/// What p95 has to stay within: the target, and the figure where one is set.
fn limits(scenario: &Scenario) -> Vec<f64> {
    let figure = FIGURES.iter().find(|figure| figure.scenario == scenario.name);
    [Some(scenario.target), figure.map(|figure| figure.p95_max)].into_iter().flatten().collect()
}

/// Takes the best tuned rivals within each limit out of those tried.
fn finalists(tried: &mut Vec<Row>, limits: &[f64]) -> Vec<Contender> {
    tried.sort_by(by_cost);
    let mut finalists = Vec::new();
    for limit in limits {
        let mut left = FINALISTS;
        tried.retain(|row| {
            let is_one = left > 0 && row.contender.kind == Kind::Tuned && row.summary.p95.mean <= *limit;
            if is_one {
                left -= 1;
                finalists.push(row.contender.clone());
            }
            !is_one
        });
    }
    finalists
}

fn by_cost(one: &Row, other: &Row) -> std::cmp::Ordering {
    one.summary.instance_hours.mean.total_cmp(&other.summary.instance_hours.mean)
}

fn frontier(points: &[(f64, f64)]) -> Vec<bool> {
    let beats = |one: &(f64, f64), other: &(f64, f64)| {
        one.0 <= other.0 && one.1 <= other.1 && (one.0 < other.0 || one.1 < other.1)
    };
    points.iter().map(|point| !points.iter().any(|other| beats(other, point))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frontier_is_what_nobody_beats_in_both() {
        let check = |points: &[(f64, f64)], want: &[bool]| assert_eq!(frontier(points), want, "{points:?}");
        check(&[], &[]);
        check(&[(1.0, 50.0), (2.0, 20.0), (2.5, 30.0), (3.0, 20.0)], &[true, true, false, false]);
        check(&[(1.0, 1.0), (1.0, 1.0)], &[true, true]);
    }
}
