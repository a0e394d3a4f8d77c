//! `dunlin job watch`: what happens to a job, as it happens. A broken connection is opened again where it broke.

use std::cell::{Cell, RefCell};

use proto::v1::{
    ImageProgress, ImageResult, Job, WatchJobRequest, WatchJobResponse, watch_job_response::Event,
};
use serde::Serialize;

use super::{job_client, parse_name, record::JobRecord, submit::exit_code};
use crate::{
    classify::row::Row,
    connect::GatewayOptions,
    failure::{Failure, Outcome},
    follow::{Next, follow},
    output::Output,
};

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The job, as `submit` printed it
    #[arg(value_name = "JOB", value_parser = parse_name)]
    name: String,
    #[command(flatten)]
    gateway: GatewayOptions,
    /// Begin after this number, the `sequence` of a line
    #[arg(long, default_value_t = 0, value_name = "NUMBER")]
    after: u64,
    /// Show when a worker takes a picture up, too
    #[arg(long)]
    progress: bool,
    /// How to print it
    #[arg(short, long, value_enum, default_value = "text", value_name = "FORMAT")]
    output: Lines,
}

/// How one event is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Lines {
    /// For people
    Text,
    /// One JSON object a line
    Jsonl,
}

/// An event for programs.
#[derive(Serialize)]
struct EventRecord {
    sequence: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    job: Option<JobRecord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Row>,
    #[serde(skip_serializing_if = "Option::is_none")]
    running: Option<RunningRecord>,
}

#[derive(Serialize)]
struct RunningRecord {
    index: u32,
    file: String,
    worker_id: String,
}

impl From<ImageProgress> for RunningRecord {
    fn from(progress: ImageProgress) -> Self {
        Self { index: progress.index, file: progress.custom_id, worker_id: progress.worker_id }
    }
}

pub(super) async fn run(options: Options) -> Outcome {
    let Options { name, gateway, after, progress, output: format } = options;
    let request = WatchJobRequest { name, after_sequence: after, include_progress: progress };
    let mut output = Output::new();
    let exit = Cell::new(0);
    let shown = watch(&gateway, request, |event| {
        if let Some(Event::Job(job)) = &event.event
            && job.end_time.is_some()
        {
            exit.set(exit_code(JobRecord::from(job.clone()).state));
        }
        print(&mut output, format, event)
    });
    match shown.await? {
        0 => Ok(exit.get()),
        interrupted => Ok(interrupted),
    }
}

fn print(output: &mut Output, format: Lines, event: WatchJobResponse) -> Result<(), Failure> {
    let WatchJobResponse { sequence, event: Some(event) } = event else { return Ok(()) };
    if format == Lines::Jsonl {
        let mut record = EventRecord { sequence, job: None, result: None, running: None };
        match event {
            Event::Job(job) => record.job = Some(job.into()),
            Event::Result(result) => record.result = Some(Row::from_stored(result)),
            Event::Progress(progress) => record.running = Some(progress.into()),
            Event::Heartbeat(_) => return Ok(()),
        }
        return output.json_line(&record);
    }
    match event {
        Event::Job(job) => output.line(&JobRecord::from(job).summary()),
        Event::Result(result) => output.line(&words(result)),
        Event::Progress(progress) => {
            output.line(&format!("{:<12}{}  on {}", "RUNNING", progress.custom_id, progress.worker_id))
        }
        Event::Heartbeat(_) => Ok(()),
    }
}

fn words(result: ImageResult) -> String {
    let row = Row::from_stored(result);
    let what = match (&row.error, row.classifications.first()) {
        (Some(trouble), _) => format!("{}: {}", trouble.reason, trouble.message),
        (None, Some(class)) => format!("{} ({:.1} %)", class.label, class.score * 100.0),
        (None, None) => "no class".to_owned(),
    };
    format!("{:<12}{}  {what}", row.state, row.file)
}

/// The job as it ended; `None` after Ctrl-C.
pub(super) async fn to_the_end(gateway: &GatewayOptions, name: String) -> Result<Option<Job>, Failure> {
    let last = RefCell::new(None);
    let request = WatchJobRequest { name, ..WatchJobRequest::default() };
    watch(gateway, request, |event| {
        if let Some(Event::Job(job)) = event.event {
            last.replace(Some(job));
        }
        Ok(())
    })
    .await?;
    Ok(last.into_inner().filter(|job| job.end_time.is_some()))
}

/// Hands over every event once, whatever happens to the connection, until the job ends.
async fn watch(
    gateway: &GatewayOptions,
    request: WatchJobRequest,
    mut take: impl FnMut(WatchJobResponse) -> Result<(), Failure>,
) -> Outcome {
    let last = Cell::new(request.after_sequence);
    let open = async |channel| {
        let request = WatchJobRequest { after_sequence: last.get(), ..request.clone() };
        Ok(job_client(channel).watch_job(request).await?.into_inner())
    };
    let take = |event: WatchJobResponse| {
        last.set(event.sequence);
        let is_end = matches!(&event.event, Some(Event::Job(job)) if job.end_time.is_some());
        take(event)?;
        Ok(if is_end { Next::Enough } else { Next::More })
    };
    follow(gateway.target(), open, take).await
}
