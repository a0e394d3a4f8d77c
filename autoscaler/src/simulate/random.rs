//! Random numbers that depend on a scenario, a seed and what they are for, and on nothing else: all
//! players of one run meet the same arrivals, the same images and the same boots.

use std::f64::consts::TAU;

/// xoshiro256++, seeded through splitmix64.
#[derive(Debug, Clone)]
pub(super) struct Stream {
    state: [u64; 4],
    /// The second of a pair of normal numbers.
    spare: Option<f64>,
}

/// What a stream is for. Each draws from numbers of its own.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose {
    Arrivals,
    Service,
    Boot,
    Phase,
    Victims,
    Faults,
    Counts,
}

impl Stream {
    pub(super) fn new(scenario: &str, seed: u64, purpose: Purpose) -> Self {
        // FNV-1a of the name: a stable hash that the standard library does not promise.
        let name = scenario.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        });
        let mut mixer = name ^ seed.wrapping_mul(0xd1b5_4a32_d192_ed03) ^ ((purpose as u64 + 1) << 56);
        let state = std::array::from_fn(|_| split_mix(&mut mixer));
        Self { state, spare: None }
    }

    fn next(&mut self) -> u64 {
        let [first, second, third, fourth] = self.state;
        let result = first.wrapping_add(fourth).rotate_left(23).wrapping_add(first);
        let (third, fourth) = (third ^ first, fourth ^ second);
        self.state = [first ^ fourth, second ^ third, third ^ (second << 17), fourth.rotate_left(45)];
        result
    }

    /// From 0 up to, and without, 1.
    pub(super) fn uniform(&mut self) -> f64 {
        /// A double holds 53 bits.
        const STEP: f64 = 1.0 / (1_u64 << 53) as f64;
        (self.next() >> 11) as f64 * STEP
    }

    /// With a mean of 1.
    pub(super) fn exponential(&mut self) -> f64 {
        -(1.0 - self.uniform()).ln()
    }

    /// With a mean of 0 and a deviation of 1 (Box and Muller's pair).
    pub(super) fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        let radius = (2.0 * self.exponential()).sqrt();
        let (sine, cosine) = (TAU * self.uniform()).sin_cos();
        self.spare = Some(radius * sine);
        radius * cosine
    }

    pub(super) fn chance(&mut self, share: f64) -> bool {
        share > 0.0 && self.uniform() < share
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and `count`")]
    pub(super) fn below(&mut self, count: usize) -> usize {
        ((self.uniform() * count as f64) as usize).min(count.saturating_sub(1))
    }
}

fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Log-normal with a given mean and coefficient of variation.
#[derive(Debug, Clone, Copy)]
pub(super) struct LogNormal {
    location: f64,
    scale: f64,
}

impl LogNormal {
    pub(super) fn new(mean: f64, variation: f64) -> Self {
        let square = (1.0 + variation * variation).ln();
        Self { location: mean.ln() - square / 2.0, scale: square.sqrt() }
    }

    pub(super) fn draw(&self, stream: &mut Stream) -> f64 {
        if self.scale == 0.0 {
            return self.location.exp();
        }
        (self.location + self.scale * stream.normal()).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_means_they_promise() {
        const COUNT: u32 = 200_000;
        let mut stream = Stream::new("numbers", 1, Purpose::Service);
        let lognormal = LogNormal::new(3.0, 0.25);
        let mut mean = |draw: &mut dyn FnMut(&mut Stream) -> f64| {
            (0..COUNT).map(|_| draw(&mut stream)).sum::<f64>() / f64::from(COUNT)
        };
        assert!((mean(&mut Stream::uniform) - 0.5).abs() < 0.005);
        assert!((mean(&mut Stream::exponential) - 1.0).abs() < 0.01);
        assert!(mean(&mut Stream::normal).abs() < 0.01);
        assert!((mean(&mut |stream| lognormal.draw(stream)) - 3.0).abs() < 0.01);
        assert!((mean(&mut |stream| lognormal.draw(stream).powi(2)) - 9.0 * 1.0625).abs() < 0.05);
    }

    #[test]
    fn stream_depends_on_scenario_seed_and_purpose() {
        let first = |scenario, seed, purpose| Stream::new(scenario, seed, purpose).next();
        let one = first("burst", 1, Purpose::Arrivals);
        assert_eq!(one, first("burst", 1, Purpose::Arrivals));
        assert_ne!(one, first("flash", 1, Purpose::Arrivals));
        assert_ne!(one, first("burst", 2, Purpose::Arrivals));
        assert_ne!(one, first("burst", 1, Purpose::Service));
    }
}
