//! Times and durations of messages, for people and for JSON.

use std::time::{Duration, SystemTime};

use platform::time::from_proto;
use prost_types::Timestamp;

/// `2026-11-24T06:30:00.120Z`, for programs; empty when absent or out of range.
pub(crate) fn rfc3339(time: Option<&Timestamp>) -> String {
    let time = time.and_then(|time| SystemTime::try_from(*time).ok());
    time.map_or_else(String::new, |time| humantime::format_rfc3339_millis(time).to_string())
}

/// `2026-11-24 06:30:00`, in UTC, for people.
pub(crate) fn clock(time: Option<&Timestamp>) -> String {
    let time = time.and_then(|time| SystemTime::try_from(*time).ok());
    let text = time.map(|time| humantime::format_rfc3339_seconds(time).to_string());
    text.map_or_else(|| "-".to_owned(), |text| text.trim_end_matches('Z').replace('T', " "))
}

/// Seconds of a field, rounded to a microsecond; `None` when absent.
pub(crate) fn seconds(duration: Option<&prost_types::Duration>) -> Option<f64> {
    from_proto(duration).map(|duration| (duration.as_secs_f64() * 1e6).round() / 1e6)
}

/// Three digits that mean something: `0.42 ms`, `41 ms`, `1.24 s`, `2m 5s`.
pub(crate) fn short(duration: Duration) -> String {
    const MINUTE: Duration = Duration::from_secs(60);
    if duration >= MINUTE {
        return humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string();
    }
    let (value, unit) = if duration >= Duration::from_secs(1) {
        (duration.as_secs_f64(), "s")
    } else {
        (duration.as_secs_f64() * 1e3, "ms")
    };
    let digits = if value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.digits$} {unit}")
}

/// [`short`] of a field; `-` when absent.
pub(crate) fn short_field(duration: Option<&prost_types::Duration>) -> String {
    from_proto(duration).map_or_else(|| "-".to_owned(), short)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_the_digits_that_matter() {
        let check = |micros: u64, want: &str| assert_eq!(short(Duration::from_micros(micros)), want);
        check(0, "0.00 ms");
        check(421, "0.42 ms");
        check(12_340, "12.3 ms");
        check(412_345, "412 ms");
        check(1_234_567, "1.23 s");
        check(125_400_000, "2m 5s");
    }

    #[test]
    fn times_are_shown_in_utc() {
        let time = Timestamp { seconds: 1_795_501_800, nanos: 120_000_000 };
        assert_eq!(rfc3339(Some(&time)), "2026-11-24T06:30:00.120Z");
        assert_eq!(clock(Some(&time)), "2026-11-24 06:30:00");
        assert_eq!((rfc3339(None), clock(None)), (String::new(), "-".to_owned()));
    }
}
