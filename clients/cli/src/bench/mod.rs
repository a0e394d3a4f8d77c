//! `dunlin bench`: a load on a gateway, and what came of it.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    time::Duration,
};

use bytes::Bytes;
use platform::{
    options::{Check, Problems, exit, parse_duration, show_duration},
    serve::IMAGE_BYTES_LIMIT,
};
use proto::v1::ClassifyOptions;
use tokio::time::Instant;

use crate::{
    connect::{AutoscalerAddress, AutoscalerOptions, GatewayOptions},
    failure::{Failure, INTERRUPTED, Outcome},
    output::{ColourOptions, Format, Output},
    stream::classifier,
};

mod cloud;
mod load;
mod machine;
mod measure;
mod picture;
mod report;
mod request;

use cloud::Cloud;
use load::{Extent, Load, Notes};
use report::{Report, Servers};
use request::{Caller, Rpc};

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    gateway: GatewayOptions,
    #[command(flatten)]
    autoscaler: AutoscalerAddress,
    /// Closed loop: this many requests at once, the next when one is answered
    #[arg(short, long, default_value_t = 8, value_name = "N", help_heading = "Load")]
    concurrency: usize,
    /// Open loop: this many requests a second whatever the answers do, each timed from when it was due
    #[arg(short, long, value_name = "R", conflicts_with = "concurrency", help_heading = "Load")]
    rate: Option<f64>,
    /// Stop after this many requests
    #[arg(short = 'n', long, value_name = "N", help_heading = "Load")]
    requests: Option<u64>,
    /// Stop after this time [default: 10s, or none with --requests]
    #[arg(short, long, value_name = "DURATION", value_parser = parse_duration, help_heading = "Load")]
    duration: Option<Duration>,
    /// The same load before, not measured: workers start and connections warm up
    #[arg(long, default_value = "2s", value_name = "DURATION", value_parser = parse_duration, help_heading = "Load")]
    warm_up: Duration,
    /// Connections to spread the requests over
    #[arg(long, default_value_t = 4, value_name = "N", help_heading = "Load")]
    connections: usize,
    /// With --rate: requests that may be open at once; one due over this is counted as not sent
    #[arg(long, default_value_t = 10_000, value_name = "N", help_heading = "Load")]
    in_flight_max: usize,
    /// The call to measure
    #[arg(long, value_enum, default_value = "classify", value_name = "RPC", help_heading = "Requests")]
    rpc: Rpc,
    /// Images in a request, for stream and batch
    #[arg(long, default_value_t = 8, value_name = "N", help_heading = "Requests")]
    images: u32,
    /// The picture to send [default: one that comes with dunlin, 640x427, 140 KB]
    #[arg(long, value_name = "FILE", conflicts_with = "image_bytes", help_heading = "Requests")]
    image: Option<PathBuf>,
    /// Send a made-up JPEG of this size, which costs next to nothing to decode
    #[arg(long, value_name = "BYTES", help_heading = "Requests")]
    image_bytes: Option<usize>,
    /// The model to use, as NAME or NAME@VERSION; the server's default when empty
    #[arg(
        long,
        default_value = "",
        value_name = "NAME",
        hide_default_value = true,
        help_heading = "Requests"
    )]
    model: String,
    /// How long one request may take
    #[arg(long, default_value = "30s", value_name = "DURATION", value_parser = parse_duration, help_heading = "Requests")]
    timeout: Duration,
    /// The server's process on this machine: its CPU time, and that of all it started, is reported
    #[arg(long, value_name = "PID")]
    server_pid: Option<u32>,
    /// How to print the report
    #[arg(short, long, value_enum, default_value = "table", value_name = "FORMAT")]
    output: Format,
}

impl Check for Options {
    fn check(&self, problems: &mut Problems) {
        const COUNT_MAX: usize = 100_000;
        let counts = [
            ("--concurrency", self.concurrency),
            ("--connections", self.connections),
            ("--in-flight-max", self.in_flight_max),
            ("--images", usize::try_from(self.images).unwrap_or(usize::MAX)),
        ];
        for (flag, count) in counts {
            if !(1..=COUNT_MAX).contains(&count) {
                problems.add(flag, format_args!("must be 1 to {COUNT_MAX}"));
            }
        }
        if self.rate.is_some_and(|rate| !(0.001..=1e6).contains(&rate)) {
            problems.add("--rate", "must be 0.001 to 1000000");
        }
        let smallest = picture::smallest_bytes();
        if self.image_bytes.is_some_and(|bytes| !(smallest..=IMAGE_BYTES_LIMIT).contains(&bytes)) {
            problems.add("--image-bytes", format_args!("must be {smallest} to {IMAGE_BYTES_LIMIT}"));
        }
        if self.timeout.is_zero() {
            problems.add("--timeout", "must be more than 0");
        }
        if matches!(self.output, Format::Csv | Format::Jsonl) {
            problems.add("--output", "a report is a table or json");
        }
    }
}

impl Options {
    fn load(&self) -> Load {
        match self.rate {
            Some(requests_per_second) => {
                Load::Open { requests_per_second, in_flight_max: self.in_flight_max }
            }
            None => Load::Closed { concurrency: self.concurrency },
        }
    }

    fn extent(&self) -> Extent {
        const DURATION: Duration = Duration::from_secs(10);
        /// A century: no limit, and no overflow.
        const ENDLESS: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
        let otherwise = if self.requests.is_some() { ENDLESS } else { DURATION };
        Extent {
            requests: self.requests.unwrap_or(u64::MAX),
            duration: self.duration.unwrap_or(otherwise).min(ENDLESS),
        }
    }

    fn picture(&self) -> Result<Bytes, Failure> {
        match (&self.image, self.image_bytes) {
            (Some(path), _) => picture::from_file(path),
            (None, Some(bytes)) => Ok(picture::of_size(bytes)),
            (None, None) => Ok(picture::bundled()),
        }
    }

    /// One a connection.
    async fn callers(&self, picture: &Bytes) -> Result<Vec<Caller>, Failure> {
        // The cache would answer all but the first.
        let options =
            ClassifyOptions { model: self.model.clone(), top_k: 1, no_cache: true, ..Default::default() };
        let mut callers = Vec::new();
        for _ in 0..self.connections {
            let channel = self.gateway.connect().await?;
            callers.push(Caller {
                classifier: classifier(channel),
                rpc: self.rpc,
                picture: picture.clone(),
                images: self.images,
                options: options.clone(),
                timeout: self.timeout,
            });
        }
        Ok(callers)
    }

    fn words(&self, picture: &Bytes) -> String {
        let load = match self.load() {
            Load::Closed { concurrency } => format!("{concurrency} at once"),
            Load::Open { requests_per_second, .. } => format!("{requests_per_second} requests a second"),
        };
        let call = match self.rpc {
            Rpc::Classify => "Classify".to_owned(),
            Rpc::Stream => format!("ClassifyStream of {}", self.images),
            Rpc::Batch => format!("BatchClassify of {}", self.images),
        };
        format!(
            "{call}, {load} over {} connections, images of {} bytes, to {}",
            self.connections,
            picture.len(),
            self.gateway.server
        )
    }
}

pub(crate) async fn run(options: Options, colours: ColourOptions) -> Outcome {
    let picture = options.picture()?;
    let callers = options.callers(&picture).await?;
    let (load, words) = (options.load(), options.words(&picture));
    let interrupted = tokio::signal::ctrl_c();
    tokio::pin!(interrupted);
    if !options.warm_up.is_zero() {
        writeln!(io::stderr(), "warming up for {} …", show_duration(options.warm_up))?;
        let extent = Extent { requests: u64::MAX, duration: options.warm_up };
        let warm = Notes::new();
        tokio::select! {
            () = load::run(load, extent, &callers, &warm) => {}
            _ = &mut interrupted => return Ok(INTERRUPTED),
        }
        unreachable(&warm)?;
    }
    writeln!(io::stderr(), "measuring …")?;
    let notes = Notes::new();
    let autoscaler =
        AutoscalerOptions { at: options.autoscaler.clone(), access: options.gateway.access.clone() };
    let calls_before = cloud::calls(&autoscaler).await;
    let cpu_before = options.server_pid.and_then(machine::cpu_time);
    let started = Instant::now();
    let whole = tokio::select! {
        () = load::run(load, options.extent(), &callers, &notes) => true,
        _ = &mut interrupted => false,
    };
    let cpu_after = options.server_pid.and_then(machine::cpu_time);
    let cpu = cpu_before.zip(cpu_after).map(|(before, after)| after.saturating_sub(before));
    let measured = notes.read();
    let took = measured.last_answer.map_or(Duration::ZERO, |last| last.duration_since(started));
    let cloud = match calls_before {
        Some(before) if !before.is_empty() => {
            tokio::time::sleep(cloud::REPORTS).await;
            let after = cloud::calls(&autoscaler).await.unwrap_or_default();
            Cloud::new(&before, &after, measured.ok(), picture.len())
        }
        _ => None,
    };
    let report = Report::new(words, &measured, took, Servers { cpu, cloud });
    let mut output = Output::new();
    match options.output {
        Format::Json => output.json(&report)?,
        Format::Table | Format::Jsonl | Format::Csv => output.line(&report.words(colours.on_stdout()))?,
    }
    Ok(match (whole, report.ok()) {
        (false, _) => INTERRUPTED,
        (true, 0) => exit::FAILED,
        (true, _) => 0,
    })
}

/// A server that went away during the warm-up is not worth measuring.
fn unreachable(warm: &Notes) -> Result<(), Failure> {
    let measured = warm.read();
    if measured.ok() == 0 && !measured.failed.is_empty() {
        let reasons: Vec<String> =
            measured.failed.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
        let sentence = format!("nothing was answered while warming up: {}", reasons.join(", "));
        return Err(Failure::new(exit::FAILED, sentence));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::command::{Cli, Command};

    fn options(arguments: &str) -> Options {
        let arguments = format!("dunlin bench {arguments}");
        match Cli::try_parse_from(arguments.split_whitespace()).unwrap().command {
            Command::Bench(options) => options,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn run_ends_after_ten_seconds_unless_told_otherwise() {
        let check = |arguments: &str, requests: u64, seconds_max: u64| {
            let extent = options(arguments).extent();
            assert_eq!(extent.requests, requests, "{arguments}");
            assert!(extent.duration <= Duration::from_secs(seconds_max), "{arguments}");
        };
        check("", u64::MAX, 10);
        check("--duration 3s", u64::MAX, 3);
        check("--requests 100", 100, u64::MAX);
        check("--requests 100 --duration 3s", 100, 3);
        assert!(options("--requests 5").extent().duration > Duration::from_secs(1_000_000));
    }

    #[test]
    fn rate_makes_the_loop_an_open_one() {
        assert_eq!(options("-c 3").load(), Load::Closed { concurrency: 3 });
        let open = Load::Open { requests_per_second: 2.5, in_flight_max: 10_000 };
        assert_eq!(options("--rate 2.5").load(), open);
    }

    #[test]
    fn impossible_numbers_are_refused() {
        for bad in ["--rate 0", "--rate nan", "--image-bytes 10", "--connections 0", "--images 0", "-o csv"] {
            let mut problems = Problems::default();
            options(bad).check(&mut problems);
            assert!(!problems.is_empty(), "{bad}");
        }
    }
}
