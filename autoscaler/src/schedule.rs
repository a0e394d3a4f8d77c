//! Floors of a policy as they are written on a command line: `mon-fri 08:00-18:00=4`.

use std::time::Duration;

use crate::decide::{Days, Floor};

const NAMES: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

const MINUTES_OF_DAY: u64 = 24 * 60;

/// `[DAYS ]FROM-TO=COUNT`; days such as `mon-fri`, `sat,sun` or none for every day, times in UTC. A time that ends before
/// it begins ends on the next day.
pub fn parse(text: &str) -> Result<Floor, String> {
    let wrong = || format!("{text:?} is not such as \"mon-fri 08:00-18:00=4\"");
    let (when, count) = text.trim().split_once('=').ok_or_else(wrong)?;
    let instances = count.trim().parse().map_err(|_| format!("{count:?} is not a number of workers"))?;
    let (names, times) = when.trim().rsplit_once(' ').unwrap_or(("", when.trim()));
    let (from, to) = times.split_once('-').ok_or_else(wrong)?;
    let (from, to) = (minutes(from)?, minutes(to)?);
    if from == MINUTES_OF_DAY {
        return Err("a time begins before 24:00".to_owned());
    }
    let length = if to > from { to - from } else { to + MINUTES_OF_DAY - from };
    let duration = |minutes: u64| Duration::from_secs(minutes * 60);
    Ok(Floor { days: days(names)?, from: duration(from), length: duration(length), instances })
}

fn days(names: &str) -> Result<Days, String> {
    if names.trim().is_empty() {
        return Ok(Days::ALL);
    }
    let mut days = Days(0);
    for part in names.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (mut day, last) = (day(first)?, day(last)?);
        // Over Sunday, where it has to: `sat-mon`.
        loop {
            days.0 |= 1 << day;
            if day == last {
                break;
            }
            day = (day + 1) % NAMES.len();
        }
    }
    Ok(days)
}

fn day(name: &str) -> Result<usize, String> {
    let name = name.trim().to_ascii_lowercase();
    let known = NAMES.iter().position(|known| *known == name);
    known.ok_or_else(|| format!("{name:?} is not a day; known: {}", NAMES.join(", ")))
}

fn minutes(time: &str) -> Result<u64, String> {
    let wrong = || format!("{time:?} is not a time such as 08:00");
    let (hours, minutes) = time.trim().split_once(':').ok_or_else(wrong)?;
    let number = |text: &str, max: u64| {
        let number = text.parse::<u64>().ok().filter(|number| *number <= max && text.len() == 2);
        number.ok_or_else(wrong)
    };
    let minutes = number(hours, 24)? * 60 + number(minutes, 59)?;
    if minutes > MINUTES_OF_DAY { Err(wrong()) } else { Ok(minutes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, days: u8, hours: (u64, u64), instances: u32) {
        let duration = |hours: u64| Duration::from_secs(hours * 3600);
        let floor = Floor { days: Days(days), from: duration(hours.0), length: duration(hours.1), instances };
        assert_eq!(parse(text), Ok(floor), "{text}");
    }

    #[test]
    fn days_and_times_are_read() {
        check("mon-fri 08:00-18:00=4", 0b001_1111, (8, 10), 4);
        check("08:00-18:00=4", 0b111_1111, (8, 10), 4);
        check("Sat,SUN 22:00-06:00=1", 0b110_0000, (22, 8), 1);
        check("sat-mon 00:00-24:00=2", 0b110_0001, (0, 24), 2);
        check(" wed 00:00-00:00=3 ", 0b000_0100, (0, 24), 3);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, part) in [
            ("mon 8:00-18:00=4", "\"8:00\" is not a time"),
            ("mon 08:00-24:01=4", "\"24:01\" is not a time"),
            ("mon 24:00-01:00=4", "before 24:00"),
            ("monday 08:00-18:00=4", "\"monday\" is not a day"),
            ("08:00-18:00", "is not such as"),
            ("08:00-18:00=many", "\"many\" is not a number"),
            ("", "is not such as"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
