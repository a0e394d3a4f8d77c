//! `dunlin job`: pictures to be classified later: submit, watch, fetch, cancel.

use platform::{
    Error,
    options::{Check, Problems},
};
use proto::v1::{
    CancelJobRequest, GetJobRequest, Job, ListJobResultsRequest, ListJobsRequest,
    job_service_client::JobServiceClient,
};

use crate::{
    classify::{printer::Printer, row::Row},
    connect::{ANSWER_BYTES_MAX, Connection, GatewayOptions},
    failure::{Failure, Outcome},
    output::{ColourOptions, Document, Format, Output},
};

mod record;
mod submit;
mod watch;

use record::JobRecord;

const EXAMPLES: &str = "\
Examples:
  dunlin job submit ~/Pictures/*.jpg                  prints the job's name and goes
  dunlin job submit --wait -o json ~/Pictures/*.jpg   waits for its end
  dunlin job submit --manifest s3://box/list.jsonl    images that lie in S3
  dunlin job watch jobs/01K...                        results as they come, over restarts too
  dunlin job list --filter 'state=RUNNING AND labels.team=birds'
  dunlin job results -o csv jobs/01K...               all results so far";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Submit pictures, and go or wait
    Submit(Box<submit::Options>),
    /// Show jobs, newest first
    List(ListOptions),
    /// Show one job
    Get(OneOptions),
    /// Show results as they come until the job ends; goes on by itself after a broken connection
    Watch(watch::Options),
    /// Withdraw what has not begun; what runs finishes
    Cancel(OneOptions),
    /// Show the results there are
    Results(ResultsOptions),
}

#[derive(Debug, clap::Args)]
struct OneOptions {
    /// The job, as `submit` printed it
    #[arg(value_name = "JOB", value_parser = parse_name)]
    name: String,
    #[command(flatten)]
    gateway: GatewayOptions,
    /// How to print it
    #[arg(short, long, value_enum, default_value = "text", value_name = "FORMAT")]
    output: Document,
}

#[derive(Debug, clap::Args)]
struct ListOptions {
    #[command(flatten)]
    gateway: GatewayOptions,
    /// Only these: `state=STATE` and `labels.NAME=VALUE`, joined by AND
    #[arg(long, default_value = "", value_name = "FILTER", hide_default_value = true)]
    filter: String,
    /// How many to show
    #[arg(short = 'n', long, default_value_t = 50, value_name = "N")]
    limit: usize,
    /// How to print them
    #[arg(short, long, value_enum, default_value = "table", value_name = "FORMAT")]
    output: Format,
}

#[derive(Debug, clap::Args)]
struct ResultsOptions {
    /// The job, as `submit` printed it
    #[arg(value_name = "JOB", value_parser = parse_name)]
    name: String,
    #[command(flatten)]
    gateway: GatewayOptions,
    /// How to print them
    #[arg(short, long, value_enum, default_value = "jsonl", value_name = "FORMAT")]
    output: Format,
}

impl Check for Options {
    fn check(&self, problems: &mut Problems) {
        if let Command::Submit(options) = &self.command {
            options.check(problems);
        }
    }
}

pub(crate) async fn run(options: Options, colours: ColourOptions) -> Outcome {
    match options.command {
        Command::Submit(options) => submit::run(*options).await,
        Command::List(options) => list(options, colours).await,
        Command::Get(options) => {
            let mut client = client(&options.gateway).await?;
            let answer = client.get_job(GetJobRequest { name: options.name }).await.map_err(Error::from)?;
            show(answer.into_inner().job, options.output)
        }
        Command::Watch(options) => watch::run(options).await,
        Command::Cancel(options) => {
            let mut client = client(&options.gateway).await?;
            let answer = client.cancel_job(CancelJobRequest { name: options.name }).await;
            show(answer.map_err(Error::from)?.into_inner().job, options.output)
        }
        Command::Results(options) => results(options, colours).await,
    }
}

type Client = JobServiceClient<Connection>;

fn job_client(channel: Connection) -> Client {
    JobServiceClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX)
}

async fn client(gateway: &GatewayOptions) -> Result<Client, Failure> {
    Ok(job_client(gateway.connect().await?))
}

/// `jobs/ID`, or the id alone.
fn parse_name(text: &str) -> Result<String, String> {
    let id = text.strip_prefix("jobs/").unwrap_or(text);
    if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err("write it like jobs/01K9ZQ3JX5RPV7T2M8C4D6F0GH".to_owned());
    }
    Ok(format!("jobs/{id}"))
}

fn show(job: Option<Job>, format: Document) -> Outcome {
    let record = JobRecord::from(job.unwrap_or_default());
    let mut output = Output::new();
    match format {
        Document::Json => output.json(&record)?,
        Document::Text => record.lines().iter().try_for_each(|line| output.line(line))?,
    }
    Ok(0)
}

async fn list(options: ListOptions, colours: ColourOptions) -> Outcome {
    const PAGE: usize = 100;
    let mut client = client(&options.gateway).await?;
    let (mut jobs, mut page_token) = (Vec::new(), String::new());
    while jobs.len() < options.limit {
        let page_size = i32::try_from(PAGE.min(options.limit - jobs.len())).unwrap_or(i32::MAX);
        let request = ListJobsRequest { page_size, page_token, filter: options.filter.clone() };
        let page = client.list_jobs(request).await.map_err(Error::from)?.into_inner();
        jobs.extend(page.jobs.into_iter().map(JobRecord::from));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let mut output = Output::new();
    match options.output {
        Format::Table => output.table(&record::table(&jobs, colours.on_stdout()))?,
        Format::Json => output.json(&jobs)?,
        Format::Jsonl => jobs.iter().try_for_each(|job| output.json_line(job))?,
        Format::Csv => {
            output.csv_line(record::CSV_HEADER)?;
            jobs.iter().try_for_each(|job| output.csv_line(job.csv_fields()))?;
        }
    }
    Ok(0)
}

async fn results(options: ResultsOptions, colours: ColourOptions) -> Outcome {
    const PAGE: i32 = 1000;
    let mut client = client(&options.gateway).await?;
    let asked = GetJobRequest { name: options.name.clone() };
    let job = client.get_job(asked).await.map_err(Error::from)?.into_inner().job.unwrap_or_default();
    let total = job.counts.unwrap_or_default().total;
    let mut printer = Printer::new(options.output, colours.on_stdout(), total as usize);
    let mut page_token = String::new();
    loop {
        let request = ListJobResultsRequest { parent: options.name.clone(), page_size: PAGE, page_token };
        let page = client.list_job_results(request).await.map_err(Error::from)?.into_inner();
        let is_empty = page.results.is_empty();
        for result in page.results {
            printer.add(Row::from_stored(result))?;
        }
        page_token = page.next_page_token;
        // While the job runs there is always a next page, for what comes later.
        if is_empty || page_token.is_empty() {
            return printer.finish();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn job_is_named_with_or_without_its_kind() {
        assert_eq!(parse_name("jobs/01K"), Ok("jobs/01K".to_owned()));
        assert_eq!(parse_name("01K"), Ok("jobs/01K".to_owned()));
        for wrong in ["", "jobs/", "jobs/../x", "a b"] {
            assert!(parse_name(wrong).is_err(), "{wrong}");
        }
    }
}
