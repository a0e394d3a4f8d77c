//! When images arrive: from a rate that changes over time, a burst, a recorded trace or recorded counts.

use std::{fmt, sync::Arc};

use super::{
    clock::{Micros, NEVER, micros},
    random::{Purpose, Stream},
};

/// A rate in images a second at a time in seconds.
pub type Rate = Arc<dyn Fn(f64) -> f64 + Send + Sync>;

/// A rate is taken to be the same for so long, and its middle counts.
const STEP: f64 = 1.0;

#[derive(Clone)]
pub enum Arrivals {
    /// So many at random moments of the first seconds.
    Burst { count: u32, within: f64 },
    /// As a Poisson process with a rate that changes.
    Rate { rate: Rate, duration: f64 },
    /// On and off in turn, the first time at 60 s; each length is off by up to `jitter` of itself.
    OnOff { rate: f64, on: f64, off: f64, cycles: u32, jitter: f64 },
    /// At these times, in seconds, in order.
    Trace(Arc<[f64]>),
    /// So many in each period of `width` seconds, at random moments of it.
    Counts { counts: Arc<[u32]>, width: f64 },
}

impl Arrivals {
    pub fn rate(duration: f64, rate: impl Fn(f64) -> f64 + Send + Sync + 'static) -> Self {
        Self::Rate { rate: Arc::new(rate), duration }
    }

    /// As a trace file has them: a time in seconds on each line; other lines are left out.
    pub fn trace(text: &str) -> Self {
        let mut times: Vec<f64> = text.lines().filter_map(|line| line.trim().parse().ok()).collect();
        times.sort_by(f64::total_cmp);
        Self::Trace(times.into())
    }

    /// How many are to be expected: whoever lets strangers ask should look first.
    pub fn expected(&self) -> f64 {
        match self {
            Self::Burst { count, .. } => f64::from(*count),
            Self::Rate { rate, duration } => {
                let mut sum = 0.0;
                let mut at = 0.0;
                while at < *duration {
                    let step = STEP.min(*duration - at);
                    sum += rate(at + step / 2.0) * step;
                    at += step;
                }
                sum
            }
            Self::OnOff { rate, on, cycles, .. } => rate * on * f64::from(*cycles),
            Self::Trace(times) => times.len() as f64,
            Self::Counts { counts, .. } => counts.iter().copied().map(f64::from).sum(),
        }
    }

    pub(super) fn generate(&self, scenario: &str, seed: u64) -> Generator {
        let mut stream = Stream::new(scenario, seed, Purpose::Arrivals);
        let source = match self {
            Self::Burst { count, within } => {
                Source::Counts { counts: vec![*count].into(), width: *within, next: 0 }
            }
            Self::Rate { rate, duration } => Source::rate(Arc::clone(rate), *duration),
            Self::OnOff { rate, on, off, cycles, jitter } => {
                let spans = on_off_spans(&mut stream, [*on, *off], *cycles, *jitter);
                let until = spans.last().map_or(0.0, |span| span.1);
                Source::rate(in_spans(spans, *rate), until)
            }
            Self::Trace(times) => Source::Trace { times: Arc::clone(times), next: 0 },
            Self::Counts { counts, width } => {
                Source::Counts { counts: Arc::clone(counts), width: *width, next: 0 }
            }
        };
        Generator { stream, source, ready: Vec::new() }
    }
}

fn on_off_spans(stream: &mut Stream, lengths: [f64; 2], cycles: u32, jitter: f64) -> Vec<(f64, f64)> {
    /// As in the trial: the first minute is quiet.
    const FIRST: f64 = 60.0;
    let mut varied = |length: f64| length * (1.0 + jitter * (2.0 * stream.uniform() - 1.0));
    let mut from = FIRST;
    let mut span = || {
        let (start, until) = (from, from + varied(lengths[0]));
        from = until + varied(lengths[1]);
        (start, until)
    };
    (0..cycles).map(|_| span()).collect()
}

fn in_spans(spans: Vec<(f64, f64)>, rate: f64) -> Rate {
    Arc::new(move |at| {
        let next = spans.partition_point(|span| span.1 <= at);
        if spans.get(next).is_some_and(|span| span.0 <= at) { rate } else { 0.0 }
    })
}

impl fmt::Debug for Arrivals {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Burst { count, within } => write!(formatter, "Burst({count} in {within} s)"),
            Self::Rate { duration, .. } => write!(formatter, "Rate({duration} s)"),
            Self::OnOff { rate, on, off, cycles, jitter } => {
                write!(formatter, "OnOff({rate}/s, {on} s on, {off} s off, {cycles} times, +-{jitter})")
            }
            Self::Trace(times) => write!(formatter, "Trace({})", times.len()),
            Self::Counts { counts, width } => write!(formatter, "Counts({} x {width} s)", counts.len()),
        }
    }
}

/// The arrivals of one run, one after the other.
pub(super) struct Generator {
    stream: Stream,
    source: Source,
    /// Drawn already, the next one last.
    ready: Vec<Micros>,
}

enum Source {
    Rate { rate: Rate, duration: f64, at: f64, step_ends: f64, now: f64 },
    Trace { times: Arc<[f64]>, next: usize },
    Counts { counts: Arc<[u32]>, width: f64, next: usize },
}

impl Source {
    fn rate(rate: Rate, duration: f64) -> Self {
        Self::Rate { rate, duration, at: 0.0, step_ends: 0.0, now: 0.0 }
    }
}

impl Generator {
    /// [`NEVER`] after the last one.
    pub(super) fn next(&mut self) -> Micros {
        match &mut self.source {
            Source::Rate { rate, duration, at, step_ends, now } => loop {
                // Without memory: what is left of a step may as well be drawn anew in the next one.
                let gap = if *now > 0.0 { self.stream.exponential() / *now } else { f64::INFINITY };
                if *at + gap < *step_ends {
                    *at += gap;
                    return micros(*at);
                }
                if *step_ends >= *duration {
                    return NEVER;
                }
                *at = *step_ends;
                *step_ends = (*step_ends + STEP).min(*duration);
                *now = rate((*at + *step_ends) / 2.0);
            },
            Source::Trace { times, next } => {
                *next += 1;
                times.get(*next - 1).map_or(NEVER, |at| micros(*at))
            }
            Source::Counts { counts, width, next } => loop {
                if let Some(at) = self.ready.pop() {
                    return at;
                }
                let Some(count) = counts.get(*next) else { return NEVER };
                let from = *next as f64 * *width;
                *next += 1;
                self.ready.extend((0..*count).map(|_| micros(from + self.stream.uniform() * *width)));
                self.ready.sort_unstable_by(|one, other| other.cmp(one));
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(arrivals: &Arrivals, seed: u64) -> Vec<Micros> {
        let mut generator = arrivals.generate("test", seed);
        std::iter::from_fn(|| Some(generator.next()).filter(|at| *at != NEVER)).collect()
    }

    #[test]
    fn arrivals_are_in_order_and_as_many_as_the_rate_says() {
        let times = all(&Arrivals::rate(10_000.0, |at| if at < 5000.0 { 1.0 } else { 5.0 }), 7);
        assert!(times.is_sorted());
        let early = times.iter().filter(|at| **at < micros(5000.0)).count();
        assert!((4800..5200).contains(&early), "{early}");
        assert!((24_500..25_500).contains(&(times.len() - early)), "{}", times.len());
    }

    #[test]
    fn recorded_counts_come_back_exactly() {
        let times = all(&Arrivals::Counts { counts: vec![3, 0, 40].into(), width: 10.0 }, 1);
        assert!(times.is_sorted());
        assert_eq!(times.iter().filter(|at| **at < micros(10.0)).count(), 3);
        assert_eq!(times.iter().filter(|at| **at >= micros(20.0)).count(), 40);
        assert_eq!(times.len(), 43);
    }

    #[test]
    fn nothing_arrives_while_it_is_off() {
        let arrivals = Arrivals::OnOff { rate: 5.0, on: 120.0, off: 480.0, cycles: 3, jitter: 0.0 };
        let times = all(&arrivals, 1);
        assert!(times.iter().all(|at| (60.0..180.0).contains(&((*at as f64 / 1e6) % 600.0))));
        assert!((1500..2100).contains(&times.len()), "{}", times.len());
    }

    #[test]
    fn lines_that_are_no_times_are_left_out() {
        assert_eq!(all(&Arrivals::trace("# seconds\n2.5\n1\n\n"), 1), [micros(1.0), micros(2.5)]);
    }
}
