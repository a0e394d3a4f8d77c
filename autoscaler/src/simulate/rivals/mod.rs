//! The rivals: how others decide the same question, with their real formulas, each with its default settings and with
//! a grid of settings that a person who tunes it would try.

mod buildkite;
mod cortex;
mod course;
mod ec2;
mod keda;
mod knative;

use std::collections::VecDeque;

pub use buildkite::Buildkite;
pub use cortex::Cortex;
pub use course::Course;
pub use ec2::Ec2;
pub use keda::Keda;
pub use knative::Knative;

use super::{Rival, Seen};

/// What polls SQS, CloudWatch or a metrics server sees counts of a moment ago: SQS says its counts are approximate, and
/// in our measurements they were up to 3 s old with one producer.
const POLLED_COUNTS_LAG: f64 = 3.0;

/// A rival with its settings. Each run gets a new one of it.
#[derive(Debug, Clone, PartialEq)]
pub enum RivalSettings {
    Course(Course),
    Keda(Keda),
    Ec2(Ec2),
    Knative(Knative),
    Buildkite(Buildkite),
    Cortex(Cortex),
}

/// The names of the families, as on the command line.
pub const FAMILIES: [&str; 6] = ["course", "keda", "ec2", "knative", "buildkite", "cortex"];

impl RivalSettings {
    /// Every rival as it comes, in the order of `FAMILIES`. EC2's comes twice: target tracking cannot start from zero, so
    /// a fleet that may go to zero needs one more alarm.
    pub fn defaults() -> Vec<Self> {
        vec![
            Self::Course(Course::default()),
            Self::Keda(Keda::default()),
            Self::Ec2(Ec2::default()),
            Self::Ec2(Ec2 { min_instances: 0, ..Ec2::default() }),
            Self::Knative(Knative::default()),
            Self::Buildkite(Buildkite::default()),
            Self::Cortex(Cortex::default()),
        ]
    }

    /// The settings that a person who tunes it would try; the defaults are not among them.
    pub fn grid() -> Vec<Self> {
        let defaults = Self::defaults();
        let all = course::grid()
            .map(Self::Course)
            .chain(keda::grid().map(Self::Keda))
            .chain(ec2::grid().map(Self::Ec2))
            .chain(knative::grid().map(Self::Knative))
            .chain(buildkite::grid().map(Self::Buildkite))
            .chain(cortex::grid().map(Self::Cortex));
        all.filter(|settings| !defaults.contains(settings)).collect()
    }

    pub fn family(&self) -> &'static str {
        match self {
            Self::Course(_) => "course",
            Self::Keda(_) => "keda",
            Self::Ec2(_) => "ec2",
            Self::Knative(_) => "knative",
            Self::Buildkite(_) => "buildkite",
            Self::Cortex(_) => "cortex",
        }
    }

    /// What a person calls it.
    pub fn title(&self) -> &'static str {
        match self {
            Self::Course(_) => "course's step",
            Self::Keda(_) => "KEDA + HPA",
            Self::Ec2(settings) if settings.min_instances == 0 => "EC2 tracking from 0",
            Self::Ec2(_) => "EC2 target tracking",
            Self::Knative(_) => "Knative KPA",
            Self::Buildkite(_) => "buildkite scaler",
            Self::Cortex(_) => "Cortex async",
        }
    }

    /// The settings that are tuned, in its own words where it has some.
    pub fn words(&self) -> String {
        match self {
            Self::Course(settings) => settings.words(),
            Self::Keda(settings) => settings.words(),
            Self::Ec2(settings) => settings.words(),
            Self::Knative(settings) => settings.words(),
            Self::Buildkite(settings) => settings.words(),
            Self::Cortex(settings) => settings.words(),
        }
    }

    /// What the rival cannot go below, whatever the scenario allows.
    pub fn min_instances(&self) -> u32 {
        match self {
            Self::Ec2(settings) => settings.min_instances,
            Self::Course(_) | Self::Keda(_) | Self::Knative(_) | Self::Buildkite(_) | Self::Cortex(_) => 0,
        }
    }

    /// Whether nothing in the settings slows it down on purpose: the only ones worth trying where a run takes long.
    pub fn is_hasty(&self) -> bool {
        /// Seconds of waiting before fewer are wanted.
        const SHORT: f64 = 60.0;
        match self {
            Self::Course(settings) => settings.count_in_flight && settings.messages_per_instance <= 2.0,
            Self::Keda(settings) => settings.queue_length <= 2.0 && settings.down_window <= SHORT,
            Self::Ec2(settings) => settings.period < SHORT && settings.target <= 5.0,
            Self::Knative(settings) => settings.target <= 1.0 && settings.stable_window <= SHORT,
            Self::Buildkite(settings) => settings.idle_stop <= 120.0,
            Self::Cortex(settings) => settings.target <= 1.0,
        }
    }

    /// A new one. The seed gives the phases of its timers.
    pub fn rival(&self, seed: u64) -> Box<dyn Rival> {
        match self {
            Self::Course(settings) => Box::new(settings.clone()),
            Self::Keda(settings) => Box::new(settings.rival(seed)),
            Self::Ec2(settings) => Box::new(settings.rival()),
            Self::Knative(settings) => Box::new(settings.rival()),
            Self::Buildkite(settings) => Box::new(settings.clone()),
            Self::Cortex(settings) => Box::new(settings.rival()),
        }
    }
}

/// Ready and on the way.
fn current(seen: &Seen) -> u32 {
    seen.ready + seen.starting
}

/// Waiting and in work.
#[allow(clippy::cast_precision_loss, reason = "a queue is far shorter than 2^52")]
fn in_system(seen: &Seen) -> f64 {
    (seen.visible + seen.in_flight) as f64
}

#[allow(clippy::cast_precision_loss, reason = "a queue is far shorter than 2^52")]
fn visible(seen: &Seen) -> f64 {
    seen.visible as f64
}

/// A number of instances. What is below 0, or no number, is none.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` saturates, which is what is wanted"
)]
fn whole(instances: f64) -> u32 {
    instances as u32
}

/// From 0 to 1: where in its period a timer starts, for rivals with more than one. (SplitMix64's finisher.)
#[allow(clippy::cast_precision_loss, reason = "53 bits fit")]
fn phase(seed: u64, timer: u64) -> f64 {
    const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut bits = seed.wrapping_add(STEP.wrapping_mul(timer + 1));
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^= bits >> 31;
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

/// The values of the last so many seconds.
#[derive(Debug, Default)]
struct Window {
    values: VecDeque<(f64, f64)>,
}

impl Window {
    /// Adds the newest and lets go of what is older than `seconds`.
    fn push(&mut self, at: f64, value: f64, seconds: f64) {
        self.values.push_back((at, value));
        while self.values.front().is_some_and(|(then, _)| *then < at - seconds) {
            self.values.pop_front();
        }
    }

    fn since(&self, from: f64) -> impl Iterator<Item = f64> {
        self.values.iter().rev().take_while(move |(then, _)| *then >= from).map(|(_, value)| *value)
    }

    fn mean_since(&self, from: f64) -> f64 {
        let (mut sum, mut count) = (0.0, 0.0);
        for value in self.since(from) {
            sum += value;
            count += 1.0;
        }
        if count > 0.0 { sum / count } else { 0.0 }
    }

    fn largest(&self) -> f64 {
        self.since(f64::NEG_INFINITY).fold(0.0, f64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grid_has_settings_of_every_family_and_none_twice() {
        let grid = RivalSettings::grid();
        for family in FAMILIES {
            assert!(grid.iter().filter(|settings| settings.family() == family).count() >= 8, "{family}");
        }
        for (i, one) in grid.iter().enumerate() {
            let same =
                |other: &&RivalSettings| (other.family(), other.words()) == (one.family(), one.words());
            assert_eq!(grid.iter().skip(i + 1).find(same), None, "{}", one.words());
            assert!(!RivalSettings::defaults().contains(one), "{}", one.words());
        }
    }

    #[test]
    fn every_rival_answers_within_the_bounds_from_zero_to_a_flood() {
        for settings in RivalSettings::defaults().into_iter().chain(RivalSettings::grid()) {
            let mut rival = settings.rival(1);
            let tick = rival.manner().tick;
            let mut ready = settings.min_instances();
            let mut at = 0.0;
            for visible in
                [0, 0, 1, 5, 100, 100_000, 100_000, 7, 0, 0, 0].into_iter().flat_map(|one| [one; 40])
            {
                let seen =
                    Seen { at, visible, ready, max: 20, min: settings.min_instances(), ..Seen::default() };
                if let Some(want) = rival.want(&seen) {
                    assert!((settings.min_instances()..=20).contains(&want), "{settings:?} {seen:?}: {want}");
                    ready = want;
                }
                at += tick;
            }
        }
    }

    #[test]
    fn window_forgets_what_is_too_old() {
        let mut window = Window::default();
        for at in 0..10 {
            window.push(f64::from(at), f64::from(at), 3.0);
        }
        assert_eq!(window.since(f64::NEG_INFINITY).collect::<Vec<_>>(), [9.0, 8.0, 7.0, 6.0]);
        assert_eq!(window.mean_since(8.0), 8.5);
        assert_eq!(window.largest(), 9.0);
        assert_eq!(Window::default().mean_since(0.0), 0.0);
    }
}
