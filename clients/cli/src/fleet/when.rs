//! Until when something holds: for so long from now, or until a time.

use std::time::{Duration, SystemTime};

use platform::options::{Problems, parse_duration};
use prost_types::Timestamp;

#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct When {
    /// How long it holds, such as 30m
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration, conflicts_with = "until")]
    pub(super) lasts: Option<Duration>,
    /// Until when it holds, in UTC: 2026-11-24T18:00:00Z, or "2026-11-24 18:00:00"
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(super) until: Option<SystemTime>,
}

impl When {
    pub(super) fn is_given(&self) -> bool {
        self.lasts.is_some() || self.until.is_some()
    }

    pub(super) fn check(&self, problems: &mut Problems) {
        if self.lasts.is_some_and(|lasts| lasts.is_zero()) {
            problems.add("--for", "must be longer than 0s");
        }
    }

    /// The end, if one is given.
    pub(super) fn end(&self) -> Option<Timestamp> {
        self.lasts.map(platform::time::in_future).or_else(|| self.until.map(Timestamp::from))
    }
}

fn parse_time(text: &str) -> Result<SystemTime, String> {
    humantime::parse_rfc3339_weak(text)
        .map_err(|error| format!("{error}; write it like 2026-11-24T18:00:00Z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_utc() {
        let check = |text: &str| {
            let end = When { lasts: None, until: Some(parse_time(text).unwrap()) }.end().unwrap();
            assert_eq!((end.seconds, end.nanos), (1_795_501_800, 0), "{text}");
        };
        check("2026-11-24T06:30:00Z");
        check("2026-11-24 06:30:00");
        for bad in ["", "tomorrow", "06:30", "2026-13-01T00:00:00Z"] {
            assert!(parse_time(bad).unwrap_err().contains("write it like"), "{bad}");
        }
    }
}
