//! The files for a spreadsheet: every row with all its numbers, and the course of the first seed.

use super::{Record, Report};

/// A header, and a line for each contender on each scenario.
pub fn table_csv(report: &Report) -> String {
    let mut text = String::from(
        "scenario,target_seconds,policy,settings,kind,seeds,on_frontier,images,p50_seconds,p95_seconds,\
         p95_half_width,p99_seconds,late_ratio,instance_hours,instance_hours_half_width,times_work,cost_usd,starts,\
         cold_starts,calls,throttled,interrupted,peak_instances\n",
    );
    for scenario in Record::of(report).scenarios {
        for row in &scenario.rows {
            let words = [&scenario.name, &scenario.target.to_string(), row.family, &row.settings, row.kind];
            let mut fields: Vec<String> = words.into_iter().map(field).collect();
            fields.extend([row.seeds.to_string(), row.frontier.to_string()]);
            let numbers = [
                row.images,
                row.p50,
                row.p95,
                row.p95_half,
                row.p99,
                row.late_ratio,
                row.hours,
                row.hours_half,
                row.times_work,
                row.cost_usd,
                row.starts,
                row.cold_starts,
                row.calls,
                row.throttled,
                row.interrupted,
                row.peak,
            ];
            fields.extend(numbers.map(|number| number.to_string()));
            line(&mut text, &fields);
        }
    }
    text
}

/// A header, and a line for each moment of each contender that was watched.
pub fn timeline_csv(report: &Report) -> String {
    let mut text =
        String::from("scenario,policy,settings,at_seconds,queue,want,ready,starting,p95_seconds\n");
    for comparison in &report.comparisons {
        for row in &comparison.rows {
            let words = [comparison.scenario.name.as_str(), row.contender.family, &row.contender.settings];
            let words = words.map(field);
            for sample in &row.timeline {
                let p95 = if sample.p95 > 0.0 { format!("{:.3}", sample.p95) } else { String::new() };
                let mut fields = words.to_vec();
                fields.extend([
                    format!("{:.3}", sample.at),
                    sample.queue.to_string(),
                    sample.want.to_string(),
                    sample.ready.to_string(),
                    sample.starting.to_string(),
                    p95,
                ]);
                line(&mut text, &fields);
            }
        }
    }
    text
}

fn line(text: &mut String, fields: &[String]) {
    text.push_str(&fields.join(","));
    text.push('\n');
}

/// In quotes where it must be (RFC 4180).
fn field(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_with_commas_and_quotes_are_quoted() {
        assert_eq!(field("plain"), "plain");
        assert_eq!(field("a,b"), "\"a,b\"");
        assert_eq!(field("say \"a\""), "\"say \"\"a\"\"\"");
    }
}
