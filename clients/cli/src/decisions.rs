//! `dunlin decisions`: what the autoscaler decided and why, newest last, and then as it decides.

use platform::{
    Error,
    options::{Check, Problems},
};
use proto::v1::{
    Decision, ListDecisionsRequest, WatchDecisionsRequest, autoscaler_service_client::AutoscalerServiceClient,
};

use crate::{
    connect::{ANSWER_BYTES_MAX, AutoscalerOptions, Connection},
    failure::{Failure, Outcome},
    follow::{Next, follow},
    output::{ColourOptions, Format, Output, Style},
    record::{DecisionRecord, action_words, bound_words},
    times::{clock, rfc3339, seconds, short_field},
};

const CSV_HEADER: [&str; 12] = [
    "time",
    "sequence",
    "decision_id",
    "current",
    "need",
    "want",
    "actions",
    "bounds",
    "reason",
    "trigger",
    "predicted_p95_seconds",
    "actual_p95_seconds",
];

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    autoscaler: AutoscalerOptions,
    /// How to print them
    #[arg(short, long, value_enum, default_value = "table", value_name = "FORMAT")]
    output: Format,
    /// Go on with new ones until Ctrl-C
    #[arg(short, long)]
    watch: bool,
    /// How many past decisions to show
    #[arg(short = 'n', long, default_value_t = 20, value_name = "N")]
    limit: usize,
    /// Leave out decisions that changed nothing
    #[arg(long)]
    changed_only: bool,
}

impl Check for Options {
    fn check(&self, problems: &mut Problems) {
        const LIMIT_MAX: usize = 100_000;
        if self.limit > LIMIT_MAX {
            problems.add("--limit", format_args!("must be at most {LIMIT_MAX}"));
        }
        if self.watch && self.output == Format::Json {
            problems.add("--output", "one JSON document has an end; use jsonl with --watch");
        }
    }
}

pub(crate) fn autoscaler(channel: Connection) -> AutoscalerServiceClient<Connection> {
    AutoscalerServiceClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX)
}

pub(crate) async fn run(options: Options, colours: ColourOptions) -> Outcome {
    let channel = options.autoscaler.connect().await?;
    let past = list(channel, options.limit, options.changed_only).await?;
    let mut output = Output::new();
    let style = colours.on_stdout();
    match options.output {
        Format::Table => output.line(&style.bold(&header()))?,
        Format::Csv => output.csv_line(CSV_HEADER)?,
        Format::Json => {
            output.json(&past.iter().map(DecisionRecord::from).collect::<Vec<_>>())?;
            return Ok(0);
        }
        Format::Jsonl => {}
    }
    for decision in &past {
        print(&mut output, options.output, style, decision)?;
    }
    if !options.watch {
        return Ok(0);
    }
    let last = std::cell::Cell::new(past.last().map_or(0, |decision| decision.sequence));
    let changed_only = options.changed_only;
    let open = async |channel| {
        let request = WatchDecisionsRequest { after_sequence: last.get(), changed_only };
        Ok(autoscaler(channel).watch_decisions(request).await?.into_inner())
    };
    let take = |message: proto::v1::WatchDecisionsResponse| {
        let Some(decision) = message.decision else { return Ok(Next::More) };
        last.set(decision.sequence);
        print(&mut output, options.output, style, &decision).map(|()| Next::More)
    };
    follow(options.autoscaler.target(), open, take).await
}

/// The last `limit` decisions, oldest first.
pub(crate) async fn list(
    channel: Connection,
    limit: usize,
    changed_only: bool,
) -> Result<Vec<Decision>, Failure> {
    /// A page of decisions with all they saw stays well under the limit of a message.
    const PAGE: usize = 200;
    let mut client = autoscaler(channel);
    let mut decisions = Vec::new();
    let mut page_token = String::new();
    while decisions.len() < limit {
        let page_size = i32::try_from(PAGE.min(limit - decisions.len())).unwrap_or(i32::MAX);
        let request = ListDecisionsRequest { page_size, page_token, changed_only, ..Default::default() };
        let page = client.list_decisions(request).await.map_err(Error::from)?.into_inner();
        let empty = page.decisions.is_empty();
        decisions.extend(page.decisions);
        page_token = page.next_page_token;
        if page_token.is_empty() || empty {
            break;
        }
    }
    decisions.truncate(limit);
    decisions.reverse();
    Ok(decisions)
}

fn print(output: &mut Output, format: Format, style: Style, decision: &Decision) -> Result<(), Failure> {
    match format {
        Format::Table => output.line(&line(decision, style)),
        Format::Json | Format::Jsonl => output.json_line(&DecisionRecord::from(decision)),
        Format::Csv => output.csv_line(csv_fields(decision)),
    }
}

fn header() -> String {
    format!(
        "{:<19}  {:>7}  {:<9}  {:<20}  {:>8}  {:>8}  REASON",
        "TIME (UTC)", "NUMBER", "FLEET", "ACTIONS", "P95 PLAN", "P95 REAL"
    )
}

/// Columns of fixed width, because with `--watch` the next line is not known.
fn line(decision: &Decision, style: Style) -> String {
    let fleet = format!("{} → {}", decision.current, decision.want);
    let text = format!(
        "{:<19}  {:>7}  {fleet:<9}  {:<20}  {:>8}  {:>8}  {}{}",
        clock(decision.time.as_ref()),
        decision.sequence,
        action_words(decision),
        short_field(decision.predicted_p95.as_ref()),
        short_field(decision.actual_p95.as_ref()),
        decision.reason,
        asked(decision)
    );
    if decision.actions.is_empty() { style.dim(&text) } else { text }
}

/// What a person asked for, or what of it is over. The other triggers are in the reason already.
fn asked(decision: &Decision) -> String {
    const OF_PEOPLE: [&str; 3] = ["command: ", "over: ", "options: "];
    let is_of_people = |part: &&str| OF_PEOPLE.iter().any(|start| part.starts_with(start));
    let parts: Vec<_> = decision.trigger.split("; ").filter(is_of_people).collect();
    if parts.is_empty() { String::new() } else { format!(" [{}]", parts.join("; ")) }
}

fn csv_fields(decision: &Decision) -> [String; 12] {
    let p95 =
        |of: Option<&prost_types::Duration>| seconds(of).map_or_else(String::new, |p95| p95.to_string());
    [
        rfc3339(decision.time.as_ref()),
        decision.sequence.to_string(),
        decision.decision_id.clone(),
        decision.current.to_string(),
        decision.need.to_string(),
        decision.want.to_string(),
        action_words(decision),
        bound_words(decision),
        decision.reason.clone(),
        decision.trigger.clone(),
        p95(decision.predicted_p95.as_ref()),
        p95(decision.actual_p95.as_ref()),
    ]
}

#[cfg(test)]
mod tests {
    use proto::v1::{Action, ActionKind};

    use super::*;

    #[test]
    fn line_is_under_the_header_and_ends_with_the_reason() {
        let launch = Action { kind: ActionKind::Launch.into(), ..Action::default() };
        let decision = Decision {
            sequence: 7,
            current: 0,
            want: 2,
            reason: "6 waiting / 5 an instance = 2".to_owned(),
            trigger: "load: images wait; command: pause, by ann".to_owned(),
            predicted_p95: Some(prost_types::Duration { seconds: 4, nanos: 0 }),
            actions: vec![launch.clone(), launch],
            time: Some(prost_types::Timestamp { seconds: 1_795_501_800, nanos: 0 }),
            ..Decision::default()
        };
        let line = line(&decision, Style::default());
        let column = |text: &str, part: &str| text.find(part).map(|at| text[..at].chars().count());
        assert_eq!(column(&line, "0 → 2"), column(&header(), "FLEET"));
        assert_eq!(column(&line, "launch 2"), column(&header(), "ACTIONS"));
        assert_eq!(column(&line, "6 waiting"), column(&header(), "REASON"));
        assert_eq!(column(&line, "4.00 s").map(|at| at + 6), column(&header(), "P95 PLAN").map(|at| at + 8));
        assert!(line.ends_with("= 2 [command: pause, by ann]"), "{line}");
        assert!(line.starts_with("2026-11-24 06:30:00        7  "), "{line}");
    }
}
