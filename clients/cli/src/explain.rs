//! `dunlin explain`: one decision in plain words, and what would have changed it.

use platform::Error;
use proto::v1::{
    CounterFactual, Decision, ExplainDecisionRequest, ExplainDecisionResponse, GetDecisionRequest,
};
use serde::Serialize;

use crate::{
    connect::AutoscalerOptions,
    decisions::{autoscaler, list},
    failure::{Failure, Outcome},
    output::{ColourOptions, Document, Output, new_table, number},
    record::DecisionRecord,
    times::clock,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    autoscaler: AutoscalerOptions,
    /// The decision to explain, as `dunlin decisions -o json` has it [default: the latest]
    #[arg(value_name = "ID")]
    decision_id: Option<String>,
    /// How to print it
    #[arg(short, long, value_enum, default_value = "text", value_name = "FORMAT")]
    output: Document,
}

pub(crate) async fn run(options: Options, colours: ColourOptions) -> Outcome {
    let channel = options.autoscaler.connect().await?;
    let decision_id = match options.decision_id {
        Some(decision_id) => decision_id,
        // By its name from here on: the next one may come any moment.
        None => match list(channel.clone(), 1, false).await?.pop() {
            Some(latest) => latest.decision_id,
            None => {
                return Err(Failure::new(platform::options::exit::FAILED, "nothing has been decided yet"));
            }
        },
    };
    let mut client = autoscaler(channel);
    let request = ExplainDecisionRequest { decision_id: decision_id.clone() };
    let told = client.explain_decision(request).await.map_err(Error::from)?.into_inner();
    let request = GetDecisionRequest { decision_id };
    let decision = client.get_decision(request).await.map_err(Error::from)?.into_inner().decision;
    let decision = decision.unwrap_or_default();
    let mut output = Output::new();
    match options.output {
        Document::Json => output.json(&Explanation::new(&decision, &told))?,
        Document::Text => print(&mut output, colours, &decision, &told)?,
    }
    Ok(0)
}

fn print(
    output: &mut Output,
    colours: ColourOptions,
    decision: &Decision,
    told: &ExplainDecisionResponse,
) -> Result<(), Failure> {
    let style = colours.on_stdout();
    output.line(&style.bold(&headline(decision)))?;
    output.line("")?;
    output.line(told.text.trim_end())?;
    if !told.counter_factuals.is_empty() {
        output.line("")?;
        output.line(&style.bold("what would have changed it, each by itself"))?;
        let mut table = new_table(style, &["INPUT", "WAS", "AT", "WANTS"]);
        for one in &told.counter_factuals {
            table.add_row([
                comfy_table::Cell::new(&one.input),
                number(figure(one.from)),
                number(figure(one.to)),
                number(one.want),
            ]);
        }
        output.table(&table)?;
    }
    if told.recomputed_want != decision.want {
        let sentence = format!(
            "warning: the record gives {}, not the {} that was decided",
            told.recomputed_want, decision.want
        );
        output.line(&style.red(&sentence))?;
    }
    Ok(())
}

/// "decision 7, 2026-11-24 06:30:00 UTC: 2 → 4 instances (01KA...)".
fn headline(decision: &Decision) -> String {
    format!(
        "decision {}, {} UTC: {} → {} instances ({})",
        decision.sequence,
        clock(decision.time.as_ref()),
        decision.current,
        decision.want,
        decision.decision_id
    )
}

/// Three digits that mean something, and whole numbers as they are.
fn figure(value: f64) -> String {
    let digits = if value.fract() == 0.0 || value.abs() >= 1000.0 {
        0
    } else if value.abs() >= 10.0 {
        1
    } else {
        3
    };
    format!("{value:.digits$}")
}

#[derive(Debug, Serialize)]
struct Explanation {
    text: String,
    recomputed_want: u32,
    counter_factuals: Vec<CounterFactualRecord>,
    decision: DecisionRecord,
}

#[derive(Debug, Serialize)]
struct CounterFactualRecord {
    input: String,
    from: f64,
    to: f64,
    want: u32,
}

impl Explanation {
    fn new(decision: &Decision, told: &ExplainDecisionResponse) -> Self {
        Self {
            text: told.text.clone(),
            recomputed_want: told.recomputed_want,
            counter_factuals: told.counter_factuals.iter().map(CounterFactualRecord::from).collect(),
            decision: DecisionRecord::from(decision),
        }
    }
}

impl From<&CounterFactual> for CounterFactualRecord {
    fn from(one: &CounterFactual) -> Self {
        Self { input: one.input.clone(), from: one.from, to: one.to, want: one.want }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headline_says_which_decision_it_is() {
        let decision = Decision {
            decision_id: "01KA".to_owned(),
            sequence: 7,
            current: 2,
            want: 4,
            time: Some(prost_types::Timestamp { seconds: 1_795_501_800, nanos: 0 }),
            ..Decision::default()
        };
        assert_eq!(headline(&decision), "decision 7, 2026-11-24 06:30:00 UTC: 2 → 4 instances (01KA)");
    }

    #[test]
    fn figures_have_the_digits_that_matter() {
        let check = |value: f64, want: &str| assert_eq!(figure(value), want);
        check(16.0, "16");
        check(0.125, "0.125");
        check(12.34, "12.3");
        check(1234.5, "1234");
    }

    #[test]
    fn json_has_the_decision_and_what_would_have_changed_it() {
        let told = ExplainDecisionResponse {
            text: "because".to_owned(),
            counter_factuals: vec![CounterFactual {
                input: "visible".to_owned(),
                from: 8.0,
                to: 11.0,
                want: 3,
            }],
            recomputed_want: 2,
        };
        let json = serde_json::to_value(Explanation::new(&Decision::default(), &told)).unwrap();
        assert_eq!(json["counter_factuals"][0]["to"], 11.0);
        assert_eq!(json["decision"]["want"], 0);
    }
}
