//! `dunlin job submit`: pictures or a list of them go to the gateway; the job's name comes back.

use std::{path::PathBuf, time::Duration};

use platform::{
    Error,
    options::{Check, Problems, exit, parse_duration},
};
use proto::v1::{ClassifyOptions, CreateJobRequest, ImageList, Webhook, create_job_request::Input};

use super::{client, record::JobRecord, watch};
use crate::{
    classify::files,
    connect::GatewayOptions,
    failure::Outcome,
    output::{Document, Output},
};

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The pictures, all of them at most 30 MiB; '-' is standard input
    #[arg(required_unless_present_any = ["manifest", "prefix"], conflicts_with_all = ["manifest", "prefix"], value_name = "FILES")]
    files: Vec<PathBuf>,
    /// Instead of files: a list of images as JSON lines of {"custom_id", "uri"}, s3:// or file:// as the gateway sees it
    #[arg(long, value_name = "URI", conflicts_with = "prefix")]
    manifest: Option<String>,
    /// Instead of files: everything below s3://BUCKET/PREFIX/
    #[arg(long, value_name = "URI")]
    prefix: Option<String>,
    #[command(flatten)]
    gateway: GatewayOptions,
    /// Wait for the end of the job; the exit code is 0 if every image succeeded
    #[arg(long)]
    wait: bool,
    /// A word to find it by; may be given more than once
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = parse_label)]
    labels: Vec<(String, String)>,
    /// How many classes to find for each picture, best first
    #[arg(short = 'k', long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    top_k: u32,
    /// The model to use, as NAME or NAME@VERSION; the server's default when empty
    #[arg(
        long,
        env = "DUNLIN_CLASSIFY_MODEL",
        default_value = "",
        value_name = "NAME",
        hide_default_value = true
    )]
    model: String,
    /// What is not answered within this expires; the gateway's limit when it is not given
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    timeout: Option<Duration>,
    /// Submitting again under the same id gives the same job: for scripts that try again
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    request_id: String,
    /// Write the results to s3://BUCKET/PREFIX/ too
    #[arg(long, value_name = "URI", default_value = "", hide_default_value = true)]
    output_prefix: String,
    /// Call this URL at the end
    #[arg(long, value_name = "URL", requires = "webhook_secret")]
    webhook: Option<String>,
    /// Sign the call with this secret of the gateway
    #[arg(long, value_name = "NAME", requires = "webhook")]
    webhook_secret: Option<String>,
    /// How to print the job
    #[arg(short, long, value_enum, default_value = "text", value_name = "FORMAT")]
    output: Document,
}

impl Check for Options {
    fn check(&self, problems: &mut Problems) {
        if self.timeout.is_some_and(|timeout| timeout.is_zero()) {
            problems.add("--timeout", "must be more than 0");
        }
    }
}

fn parse_label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write it like team=birds".to_owned()),
    }
}

pub(super) async fn run(options: Options) -> Outcome {
    let input = match (options.manifest, options.prefix) {
        (Some(uri), _) => Input::ManifestUri(uri),
        (None, Some(prefix)) => Input::InputPrefix(prefix),
        (None, None) => {
            let images = files::read_all(&options.files).await?;
            Input::Images(ImageList { images })
        }
    };
    let classify = ClassifyOptions {
        model: options.model,
        top_k: options.top_k,
        max_queue_duration: options.timeout.map(platform::time::to_proto),
        ..ClassifyOptions::default()
    };
    let webhook = options.webhook.zip(options.webhook_secret);
    let request = CreateJobRequest {
        input: Some(input),
        options: Some(classify),
        request_id: options.request_id,
        output_prefix: options.output_prefix,
        webhook: webhook.map(|(url, secret_name)| Webhook { url, secret_name }),
        labels: options.labels.into_iter().collect(),
    };
    let mut client = client(&options.gateway).await?;
    let job = client.create_job(request).await.map_err(Error::from)?.into_inner().job.unwrap_or_default();
    let mut output = Output::new();
    if !options.wait {
        match options.output {
            Document::Text => output.line(&job.name)?,
            Document::Json => output.json(&JobRecord::from(job))?,
        }
        return Ok(0);
    }
    let Some(job) = watch::to_the_end(&options.gateway, job.name).await? else {
        return Ok(crate::failure::INTERRUPTED);
    };
    let record = JobRecord::from(job);
    match options.output {
        Document::Text => record.lines().iter().try_for_each(|line| output.line(line))?,
        Document::Json => output.json(&record)?,
    }
    Ok(exit_code(record.state))
}

/// 0 only for a job whose images all succeeded.
pub(super) fn exit_code(state: &str) -> u8 {
    if state == "SUCCEEDED" { 0 } else { exit::FAILED }
}
