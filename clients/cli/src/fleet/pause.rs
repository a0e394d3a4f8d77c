//! `dunlin fleet pause` and `resume`.

use platform::{
    Error,
    options::{Check, Problems},
};
use proto::v1::{PauseRequest, ResumeRequest};
use serde_json::json;

use super::{OrderOptions, when::When};
use crate::{
    failure::Outcome,
    orders::{PauseRecord, pause_words},
    output::{Document, Output},
};

#[derive(Debug, clap::Args)]
pub(super) struct PauseOptions {
    /// Only scale-in: nothing is stopped
    #[arg(long = "in", conflicts_with = "scale_out")]
    scale_in: bool,
    /// Only scale-out: nothing is started
    #[arg(long = "out")]
    scale_out: bool,
    /// Without either of these it holds until `dunlin fleet resume`
    #[command(flatten)]
    when: When,
    #[command(flatten)]
    order: OrderOptions,
}

#[derive(Debug, clap::Args)]
pub(super) struct ResumeOptions {
    #[command(flatten)]
    order: OrderOptions,
}

impl Check for PauseOptions {
    fn check(&self, problems: &mut Problems) {
        self.when.check(problems);
    }
}

pub(super) async fn pause(options: PauseOptions) -> Outcome {
    let PauseOptions { scale_in, scale_out, when, order } = options;
    let both = !scale_in && !scale_out;
    let message = PauseRequest {
        scale_out: scale_out || both,
        scale_in: scale_in || both,
        until: when.end(),
        reason: order.reason.clone(),
        request_id: order.request_id.clone(),
    };
    let mut client = order.client().await?;
    let answer = client.pause(order.request(message)).await.map_err(Error::from)?.into_inner();
    let pause = answer.pause_in_force.unwrap_or_default();
    let mut output = Output::new();
    match order.output {
        Document::Json => output.json(&PauseRecord::from(&pause))?,
        Document::Text => output.line(&format!("paused: {}", pause_words(&pause)))?,
    }
    Ok(0)
}

pub(super) async fn resume(options: ResumeOptions) -> Outcome {
    let ResumeOptions { order } = options;
    let message = ResumeRequest { reason: order.reason.clone(), request_id: order.request_id.clone() };
    let mut client = order.client().await?;
    client.resume(order.request(message)).await.map_err(Error::from)?;
    let mut output = Output::new();
    match order.output {
        Document::Json => output.json(&json!({ "paused": false }))?,
        Document::Text => output.line("not paused: instances are started and stopped as they are needed")?,
    }
    Ok(0)
}
