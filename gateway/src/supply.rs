//! How long work takes with the workers there are and those on their way: pure arithmetic on what the autoscaler said.

use std::time::Duration;

use proto::internal::v1::GatewaySessionResponse;

/// Workers there are and on their way. A rate that was never measured is taken as without limit: then what is predicted
/// is the least that it can be, and nobody is refused for what is not known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Supply {
    /// Images a second of those that are ready.
    pub per_second: f64,
    /// In the order in which they are ready.
    pub coming: [Coming; 2],
}

/// Workers that are not ready yet.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Coming {
    pub ready_in: Duration,
    /// Images a second of them together.
    pub per_second: f64,
}

/// How long something takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    pub shortest: Duration,
    /// Whether all rates behind it were measured, so that it is expected to take about so long.
    pub is_measured: bool,
}

impl Wait {
    const NONE: Self = Self { shortest: Duration::ZERO, is_measured: true };

    /// For people; `None` where it is not known.
    pub fn shown(self) -> Option<Duration> {
        self.is_measured.then_some(self.shortest)
    }
}

/// Farther ahead nothing is predicted.
const HORIZON: Duration = Duration::from_secs(24 * 3600);

impl Supply {
    /// As the autoscaler said it.
    pub fn of(said: &GatewaySessionResponse) -> Self {
        let rate = |measured: f64| if measured > 0.0 { measured } else { f64::INFINITY };
        let each = rate(said.worker_images_per_second);
        let per_second = if said.ready > 0 { rate(said.images_per_second) } else { 0.0 };
        let left = |time: Option<&prost_types::Timestamp>| time.map_or(Duration::ZERO, platform::time::until);
        let next = left(said.next_ready_time.as_ref());
        let boot = platform::time::from_proto(said.boot.as_ref());
        let nobody = Coming { ready_in: HORIZON, per_second: 0.0 };
        let coming = match (said.starting, said.ready, boot) {
            // Nobody yet: the first is started for this image, and how many with it is not ours to know.
            (0, 0, boot) => {
                [Coming { ready_in: boot.unwrap_or_default(), per_second: f64::INFINITY }, nobody]
            }
            (0, ..) => [nobody; 2],
            // The next is told; of the others, when the last of them is.
            (starting, ..) => {
                let others = f64::from(starting - 1);
                let all = left(said.all_ready_time.as_ref()).max(next);
                let per_second = if others > 0.0 { others * each } else { 0.0 };
                [Coming { ready_in: next, per_second: each }, Coming { ready_in: all, per_second }]
            }
        };
        Self { per_second, coming }
    }

    /// When so many images are done from now, none coming in between.
    pub fn done_in(&self, images: f64) -> Wait {
        let (mut left, mut now, mut rate) = (images.max(0.0), 0.0, self.per_second);
        // Until each comes, those before it work; after the last, all do.
        let ends = self.coming.iter().map(|coming| (coming.ready_in.as_secs_f64(), coming.per_second));
        for (end, more) in ends.chain([(f64::INFINITY, 0.0)]) {
            let lasts = (end - now).max(0.0);
            if rate.is_infinite() {
                return wait(now, left <= 0.0);
            }
            if rate > 0.0 && left <= rate * lasts {
                return wait(now + left / rate, true);
            }
            left -= rate * lasts;
            now += lasts;
            rate += more;
        }
        // Nobody is there and nobody comes.
        wait(HORIZON.as_secs_f64(), true)
    }
}

fn wait(seconds: f64, is_measured: bool) -> Wait {
    let shortest = Duration::try_from_secs_f64(seconds).unwrap_or(HORIZON).min(HORIZON);
    if shortest.is_zero() && is_measured { Wait::NONE } else { Wait { shortest, is_measured } }
}

#[cfg(test)]
mod tests {
    use rand::RngExt as _;

    use super::*;

    fn supply(per_second: f64, coming: [(f64, f64); 2]) -> Supply {
        let coming = coming
            .map(|(ready_in, per_second)| Coming { ready_in: Duration::from_secs_f64(ready_in), per_second });
        Supply { per_second, coming }
    }

    #[test]
    fn work_takes_as_long_as_those_there_and_those_coming_need() {
        let never = (86400.0, 0.0);
        let check = |supply: Supply, images: f64, want: f64| {
            let found = supply.done_in(images);
            assert!((found.shortest.as_secs_f64() - want).abs() < 1e-6, "{supply:?} {images}: {found:?}");
            assert!(found.is_measured);
        };
        check(supply(10.0, [never; 2]), 0.0, 0.0);
        check(supply(10.0, [never; 2]), 50.0, 5.0);
        // Nobody there: not before the first comes.
        check(supply(0.0, [(40.0, 10.0), never]), 0.0, 40.0);
        check(supply(0.0, [(40.0, 10.0), never]), 20.0, 42.0);
        check(supply(0.0, [(40.0, 10.0), (50.0, 30.0)]), 180.0, 52.0);
        // Done before help comes; and with its help.
        check(supply(10.0, [(4.0, 10.0), never]), 30.0, 3.0);
        check(supply(10.0, [(4.0, 10.0), never]), 60.0, 5.0);
        check(supply(0.0, [never; 2]), 1.0, 86400.0);
        check(supply(1e-9, [never; 2]), 1.0, 86400.0);
    }

    #[test]
    fn what_was_never_measured_gives_the_least_wait_and_says_so() {
        let unlimited = f64::INFINITY;
        let check = |supply: Supply, images: f64, seconds: u64, is_measured: bool| {
            let want = Wait { shortest: Duration::from_secs(seconds), is_measured };
            assert_eq!(supply.done_in(images), want, "{supply:?} {images}");
        };
        check(supply(unlimited, [(1.0, 1.0); 2]), 1000.0, 0, false);
        check(supply(unlimited, [(1.0, 1.0); 2]), 0.0, 0, true);
        check(supply(0.0, [(40.0, unlimited), (50.0, 1.0)]), 1000.0, 40, false);
        check(supply(0.0, [(40.0, unlimited), (50.0, 1.0)]), 0.0, 40, true);
        check(supply(10.0, [(40.0, unlimited), (50.0, 1.0)]), 100.0, 10, true);
    }

    #[test]
    fn what_the_autoscaler_says_is_read_as_it_means_it() {
        let minute = platform::time::to_proto(Duration::from_secs(60));
        let check = |said: GatewaySessionResponse, images: f64, want: (u64, bool)| {
            let found = Supply::of(&said).done_in(images);
            // The wall clock goes on meanwhile.
            let seconds = (found.shortest.as_secs_f64() + 0.4).floor();
            assert_eq!((Duration::from_secs_f64(seconds).as_secs(), found.is_measured), want, "{said:?}");
        };
        let nothing = GatewaySessionResponse::default();
        check(nothing, 5.0, (0, false));
        check(GatewaySessionResponse { boot: Some(minute), ..nothing }, 5.0, (60, false));
        let ready = GatewaySessionResponse { ready: 2, ..nothing };
        check(ready, 5.0, (0, false));
        check(GatewaySessionResponse { images_per_second: 1.0, ..ready }, 5.0, (5, true));
        let soon = platform::time::in_future(Duration::from_secs(30));
        let starting = GatewaySessionResponse { starting: 3, next_ready_time: Some(soon), ..nothing };
        check(starting, 5.0, (30, false));
        let measured = GatewaySessionResponse { worker_images_per_second: 1.0, ..starting };
        check(measured, 6.0, (32, true));
        let later = Some(platform::time::in_future(Duration::from_secs(33)));
        check(GatewaySessionResponse { all_ready_time: later, ..measured }, 6.0, (34, true));
        let both = GatewaySessionResponse { ready: 1, images_per_second: 0.5, ..measured };
        check(both, 14.0, (28, true));
        check(both, 18.0, (31, true));
        let overdue = Some(prost_types::Timestamp { seconds: 1, nanos: 0 });
        check(GatewaySessionResponse { starting: 1, next_ready_time: overdue, ..measured }, 6.0, (6, true));
    }

    #[test]
    fn more_work_is_never_done_sooner_and_more_workers_never_do_it_later() {
        let mut random = rand::rng();
        for _ in 0..20_000 {
            let mut rate = || if random.random_bool(0.2) { 0.0 } else { random.random_range(0.0..50.0) };
            let mut given = supply(rate(), [(0.0, rate()), (0.0, rate())]);
            let first = random.random_range(0.0..60.0);
            let second = first + random.random_range(0.0..60.0);
            let in_order = [first, second].map(Duration::from_secs_f64);
            given.coming[0].ready_in = in_order[0];
            given.coming[1].ready_in = in_order[1];
            let images = random.random_range(0.0..2000.0);
            let wait = given.done_in(images).shortest;
            let slack = Duration::from_micros(1);
            let more_work = given.done_in(images + random.random_range(0.0..100.0)).shortest;
            assert!(more_work + slack >= wait, "{given:?} {images}");
            let mut better = given;
            match random.random_range(0..4) {
                0 => better.per_second += 5.0,
                1 => better.coming[0].per_second += 5.0,
                2 => better.coming[1].per_second += 5.0,
                _ => better.coming[0].ready_in /= 2,
            }
            assert!(better.done_in(images).shortest <= wait + slack, "{given:?} {better:?} {images}");
        }
    }
}
