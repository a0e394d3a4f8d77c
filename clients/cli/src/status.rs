//! `dunlin status`: the fleet, the queue and the latest decision, once or as they change.

use std::io::{self, IsTerminal as _};

use platform::Error;
use proto::v1::{
    GetStatusRequest, GetStatusResponse, Instance, ListInstancesRequest, SkippedImages, WatchStatusRequest,
};
use serde::Serialize;

use crate::{
    connect::AutoscalerOptions,
    decisions::autoscaler,
    failure::{Failure, Outcome},
    follow::{Next, follow},
    instances::{self, InstanceRecord},
    orders::{OverrideRecord, PauseRecord, override_words, pause_words},
    output::{ColourOptions, Format, Output, Style},
    record::{DecisionRecord, ObservationRecord, action_words, policy_words},
    times::{clock, rfc3339, seconds, short, short_field},
};

const CSV_HEADER: [&str; 9] = [
    "time",
    "waiting",
    "in_flight",
    "oldest_age_seconds",
    "ready",
    "starting",
    "draining",
    "want",
    "arrivals_per_second",
];

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    autoscaler: AutoscalerOptions,
    /// How to print it
    #[arg(short, long, value_enum, default_value = "table", value_name = "FORMAT")]
    output: Format,
    /// Show every change until Ctrl-C; with json one document a line
    #[arg(short, long)]
    watch: bool,
}

pub(crate) async fn run(options: Options, colours: ColourOptions) -> Outcome {
    let mut printer = Printer {
        output: Output::new(),
        style: colours.on_stdout(),
        format: options.output,
        again: options.watch,
    };
    if printer.format == Format::Csv {
        printer.output.csv_line(CSV_HEADER)?;
    }
    if options.watch {
        let open =
            async |channel| Ok(autoscaler(channel).watch_status(WatchStatusRequest {}).await?.into_inner());
        let take = |message: proto::v1::WatchStatusResponse| match message.status {
            Some(status) => printer.print(&status, None).map(|()| Next::More),
            None => Ok(Next::More),
        };
        return follow(options.autoscaler.target(), open, take).await;
    }
    let channel = options.autoscaler.connect().await?;
    let mut client = autoscaler(channel);
    let status = client.get_status(GetStatusRequest {}).await.map_err(Error::from)?.into_inner();
    let instances = client.list_instances(ListInstancesRequest {}).await.map_err(Error::from)?.into_inner();
    printer.print(&status, Some(&instances.instances))?;
    Ok(0)
}

struct Printer {
    output: Output,
    style: Style,
    format: Format,
    /// Whether more will follow.
    again: bool,
}

impl Printer {
    fn print(&mut self, status: &GetStatusResponse, instances: Option<&[Instance]>) -> Result<(), Failure> {
        match self.format {
            Format::Json if !self.again => self.output.json(&StatusRecord::new(status, instances)),
            Format::Json | Format::Jsonl => self.output.json_line(&StatusRecord::new(status, instances)),
            Format::Csv => self.output.csv_line(csv_fields(status)),
            Format::Table => self.print_words(status, instances),
        }
    }

    fn print_words(
        &mut self,
        status: &GetStatusResponse,
        instances: Option<&[Instance]>,
    ) -> Result<(), Failure> {
        // To the top left, and clear what was below: the same place on the screen each time.
        let before = if self.again && io::stdout().is_terminal() { "\x1b[H\x1b[2J" } else { "" };
        let mut text = before.to_owned();
        for (title, words) in lines(status) {
            text.push_str(&self.style.bold(&format!("{title:<10}")));
            text.push_str(&words);
            text.push('\n');
        }
        // What is in force has lines of its own above.
        for warning in status.warnings.iter().filter(|warning| !warning.starts_with("in force: ")) {
            text.push_str(&self.style.red(&format!("{:<10}{warning}\n", "warning")));
        }
        self.output.line(text.trim_end_matches('\n'))?;
        if let Some(found) = instances.filter(|instances| !instances.is_empty()) {
            self.output.line("")?;
            self.output.table(&instances::table(found, self.style))?;
        } else if self.again && before.is_empty() {
            self.output.line("")?;
        }
        Ok(())
    }
}

/// The status in words, a line a subject.
fn lines(status: &GetStatusResponse) -> Vec<(&'static str, String)> {
    let seen = status.observation.clone().unwrap_or_default();
    let (queue, fleet) = (seen.queue.unwrap_or_default(), seen.fleet.unwrap_or_default());
    let follower = if status.leader { "" } else { "; not the leader" };
    let next_ready = match &status.next_ready_time {
        Some(time) => format!(", the next ready in {}", short(platform::time::until(time))),
        None => String::new(),
    };
    let oldest = match &queue.oldest_age {
        Some(age) if queue.visible > 0 => format!(" (the oldest for {})", short_field(Some(age))),
        _ => String::new(),
    };
    let p95 = |of: Option<&prost_types::Duration>, word: &str| {
        of.map_or_else(String::new, |p95| format!("p95 {} {word}; ", short_field(Some(p95))))
    };
    let expected = p95(status.predicted_p95.as_ref(), "expected");
    let came = p95(status.actual_p95.as_ref(), "in the last minute");
    let mut lines = vec![
        ("policy", format!("{}{follower}", status.policy.as_ref().map_or_else(String::new, policy_words))),
        (
            "fleet",
            format!(
                "{} wanted: {} ready, {} starting{next_ready}, {} draining, {} stopped",
                status.want, fleet.ready, fleet.starting, fleet.draining, fleet.stopped
            ),
        ),
        (
            "queue",
            format!(
                "{} waiting{oldest}, {} in flight, {} delayed",
                queue.visible, queue.in_flight, queue.delayed
            ),
        ),
        (
            "arrivals",
            format!(
                "{:.1} a second in the last 10 s, {:.1} in the last minute",
                seen.arrivals_per_second_fast, seen.arrivals_per_second_slow
            ),
        ),
        (
            "an image",
            format!(
                "takes a worker {} on average, p95 {}",
                short_field(seen.service_mean.as_ref()),
                short_field(seen.service_p95.as_ref())
            ),
        ),
        ("answers", format!("{came}{expected}{:.1} % of the last minute's late", seen.late_ratio * 100.0)),
    ];
    let skipped = status.skipped.unwrap_or_default();
    if skipped != SkippedImages::default() {
        let words = format!("{} whose callers had gone, {} too late", skipped.cancelled, skipped.expired);
        lines.push(("skipped", words));
    }
    if let Some(pause) = &status.pause_in_force {
        lines.push(("PAUSED", pause_words(pause)));
    } else if status.paused {
        lines.push(("PAUSED", "by an operator".to_owned()));
    }
    if let Some(asked) = &status.override_in_force {
        lines.push(("OVERRIDE", override_words(asked)));
    }
    if status.cost_per_hour_usd > 0.0 {
        lines.push(("cost", format!("{:.2} USD an hour", status.cost_per_hour_usd)));
    }
    if let Some(change) = &status.last_change {
        let actions = action_words(change);
        lines.push(("changed", format!("{} UTC: {actions}: {}", clock(change.time.as_ref()), change.reason)));
    }
    lines
}

fn csv_fields(status: &GetStatusResponse) -> [String; 9] {
    let seen = status.observation.as_ref().map(ObservationRecord::from).unwrap_or_default();
    [
        seen.time,
        seen.waiting.to_string(),
        seen.in_flight.to_string(),
        seen.oldest_age_seconds.map_or_else(String::new, |age| age.to_string()),
        seen.ready.to_string(),
        seen.starting.to_string(),
        seen.draining.to_string(),
        status.want.to_string(),
        seen.arrivals_per_second_fast.to_string(),
    ]
}

#[derive(Debug, Serialize)]
struct StatusRecord {
    policy: Option<String>,
    want: u32,
    policy_version: u64,
    paused: bool,
    pause_in_force: Option<PauseRecord>,
    override_in_force: Option<OverrideRecord>,
    leader: bool,
    observation: Option<ObservationRecord>,
    predicted_p95_seconds: Option<f64>,
    actual_p95_seconds: Option<f64>,
    next_ready_time: String,
    cost_per_hour_usd: f64,
    skipped_cancelled: u64,
    skipped_expired: u64,
    last_change: Option<DecisionRecord>,
    warnings: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instances: Option<Vec<InstanceRecord>>,
}

impl StatusRecord {
    fn new(status: &GetStatusResponse, instances: Option<&[Instance]>) -> Self {
        Self {
            policy: status.policy.as_ref().map(policy_words),
            want: status.want,
            policy_version: status.policy.as_ref().map_or(0, |policy| policy.version),
            paused: status.paused,
            pause_in_force: status.pause_in_force.as_ref().map(PauseRecord::from),
            override_in_force: status.override_in_force.as_ref().map(OverrideRecord::from),
            leader: status.leader,
            observation: status.observation.as_ref().map(ObservationRecord::from),
            predicted_p95_seconds: seconds(status.predicted_p95.as_ref()),
            actual_p95_seconds: seconds(status.actual_p95.as_ref()),
            next_ready_time: rfc3339(status.next_ready_time.as_ref()),
            cost_per_hour_usd: status.cost_per_hour_usd,
            skipped_cancelled: status.skipped.map_or(0, |skipped| skipped.cancelled),
            skipped_expired: status.skipped.map_or(0, |skipped| skipped.expired),
            last_change: status.last_change.as_ref().map(DecisionRecord::from),
            warnings: status.warnings.clone(),
            instances: instances.map(|instances| instances.iter().map(InstanceRecord::from).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proto::v1::{FleetObservation, Observation, QueueObservation};

    use super::*;

    fn status() -> GetStatusResponse {
        let queue = QueueObservation { visible: 6, in_flight: 2, ..QueueObservation::default() };
        let fleet = FleetObservation { ready: 1, starting: 1, ..FleetObservation::default() };
        let observation = Observation { queue: Some(queue), fleet: Some(fleet), ..Observation::default() };
        GetStatusResponse {
            observation: Some(observation),
            want: 2,
            leader: true,
            skipped: Some(SkippedImages { cancelled: 7, expired: 1 }),
            ..GetStatusResponse::default()
        }
    }

    #[test]
    fn words_tell_the_fleet_and_the_queue() {
        let lines = lines(&status());
        let words = |title| lines.iter().find(|line| line.0 == title).map(|line| line.1.clone()).unwrap();
        assert_eq!(words("fleet"), "2 wanted: 1 ready, 1 starting, 0 draining, 0 stopped");
        assert_eq!(words("queue"), "6 waiting, 2 in flight, 0 delayed");
        assert_eq!(words("skipped"), "7 whose callers had gone, 1 too late");
    }

    #[test]
    fn json_has_instances_only_when_they_were_asked_for() {
        let json = serde_json::to_value(StatusRecord::new(&status(), None)).unwrap();
        assert_eq!(json["observation"]["waiting"], 6);
        assert_eq!((&json["skipped_cancelled"], &json["skipped_expired"]), (&7.into(), &1.into()));
        assert!(json.get("instances").is_none());
        let instances = [Instance { state: 2, ..Instance::default() }];
        let json = serde_json::to_value(StatusRecord::new(&status(), Some(&instances))).unwrap();
        assert_eq!(json["instances"][0]["state"], "READY");
    }
}
