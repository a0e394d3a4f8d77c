//! The autoscaler's options.

use std::{ffi::OsString, net::SocketAddr, num::NonZeroUsize, thread, time::Duration};

use clap::Parser;
use platform::{
    auth::{AccessOptions, Listen, PeerOptions},
    options::{Check, Problems, Profile, parse_duration},
};

use crate::{
    decide::{Backlog, Fixed, Floor, Latency, Policy, Rule, Step},
    fleet::FleetUrl,
    policy_request::{HOLD_MAX, PolicyDefaults},
    schedule,
};

#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Where people, gateways and workers connect
    #[arg(
        long,
        env = "DUNLIN_AUTOSCALER_LISTEN",
        default_value = "127.0.0.1:8002",
        value_name = "HOST:PORT"
    )]
    pub listen: SocketAddr,
    /// What workers run on: `local:` (processes on this machine), `ec2:TEMPLATE?fleet=NAME` (a launch template's name or id),
    /// `external:` (whatever KEDA or somebody else starts, told by us how many), `simcloud:?boot=40s&stop=15s&capacity=20` (a
    /// model of EC2, for trials)
    #[arg(long, env = "DUNLIN_FLEET", default_value = "local:", value_name = "URL")]
    pub fleet: String,
    /// Program of a worker, and each of its arguments, one flag each; `--autoscaler URL --instance-id ID` is put after them
    #[arg(long, env = "DUNLIN_WORKER_COMMAND", value_name = "WORD", allow_hyphen_values = true)]
    pub worker_command: Vec<OsString>,
    /// Wait this long before each worker is started, as if a machine had to boot
    #[arg(long, env = "DUNLIN_BOOT_DELAY", default_value = "0s", value_parser = parse_duration, value_name = "DURATION")]
    pub boot_delay: Duration,

    /// Instance types that new instances may have, separated by commas, best first; none: the launch template's
    #[arg(long, env = "DUNLIN_INSTANCE_TYPES", value_delimiter = ',', value_name = "TYPE")]
    pub instance_types: Vec<String>,
    /// Subnets that new instances may be in, separated by commas; none: the launch template's
    #[arg(long, env = "DUNLIN_SUBNETS", value_delimiter = ',', value_name = "SUBNET")]
    pub subnets: Vec<String>,
    /// How many of a hundred new instances are to be spot instances
    #[arg(long, env = "DUNLIN_SPOT_SHARE", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=100), value_name = "PERCENT")]
    pub spot_share: u32,
    /// Stopped instances to keep for the next time, for a cloud; more are terminated, the oldest first [default: --max-instances]
    #[arg(long, env = "DUNLIN_STOPPED_POOL_MAX", value_name = "COUNT")]
    pub stopped_pool_max: Option<u32>,
    /// Starts and launches in an hour, for a cloud [default: 30 for each of --max-instances]
    #[arg(long, env = "DUNLIN_MAX_STARTS_PER_HOUR", value_name = "COUNT")]
    pub max_starts_per_hour: Option<u32>,

    /// A set of defaults: `cse546` is policy step with 5 images for each of at most 15 workers named app-tier-instance-1 and
    /// so on, for what the course asks for. What is set besides wins over it
    #[arg(long, env = "DUNLIN_PROFILE", default_value = "default", value_enum)]
    pub profile: Profile,
    /// How the number of workers is found [default: latency; step with --profile cse546]
    #[arg(long, env = "DUNLIN_POLICY", value_enum)]
    pub policy: Option<PolicyName>,
    /// For `step` and `backlog`: images for each worker
    #[arg(long, env = "DUNLIN_MESSAGES_PER_INSTANCE", default_value_t = 5, value_name = "COUNT")]
    pub messages_per_instance: u32,
    /// For `latency`: 95 % of the images are to be answered within this
    #[arg(long, env = "DUNLIN_LATENCY_TARGET", default_value = "10s", value_parser = parse_duration, value_name = "DURATION")]
    pub latency_target: Duration,
    /// For `fixed`: this many workers
    #[arg(long, env = "DUNLIN_INSTANCES", default_value_t = 1, value_name = "COUNT")]
    pub instances: u32,
    /// Never fewer workers than this
    #[arg(long, env = "DUNLIN_MIN_INSTANCES", default_value_t = 0, value_name = "COUNT")]
    pub min_instances: u32,
    /// Never more workers than this [default: the processors of this machine for `local:`, 15 with --profile cse546, else 20]
    #[arg(long, env = "DUNLIN_MAX_INSTANCES", value_name = "COUNT")]
    pub max_instances: Option<u32>,
    /// Scale in only to what was needed at most in this time [default: none for `step` and `fixed`,
    /// else a measured boot, at least 10s]
    #[arg(long, env = "DUNLIN_SCALE_IN_HOLD", value_parser = parse_duration, value_name = "DURATION")]
    pub scale_in_hold: Option<Duration>,
    /// For `latency` and `backlog`: the last worker stays this long after the last image
    #[arg(long, env = "DUNLIN_KEEP", default_value = "60s", value_parser = parse_duration, value_name = "DURATION")]
    pub keep: Duration,

    /// Never fewer workers than this at these times (UTC), such as `mon-fri 08:00-18:00=4`; once for each time
    #[arg(long, env = "DUNLIN_SCHEDULE", value_delimiter = ';', value_parser = schedule::parse, value_name = "[DAYS ]FROM-TO=COUNT")]
    pub schedule: Vec<Floor>,
    /// What an instance costs in US dollars, for the costs that are shown; a cloud's prices are not looked up
    #[arg(long, env = "DUNLIN_PRICE_PER_HOUR", default_value_t = 0.0, value_name = "USD")]
    pub price_per_hour: f64,

    /// Decide at least this often; a queue that fills is acted on at once
    #[arg(long, env = "DUNLIN_TICK", default_value = "2s", value_parser = parse_duration, value_name = "DURATION")]
    pub tick: Duration,
    /// How long a worker may be silent while its machine runs before it counts as lost
    #[arg(long, env = "DUNLIN_WORKER_GRACE", default_value = "10s", value_parser = parse_duration, value_name = "DURATION")]
    pub worker_grace: Duration,
    /// Where decisions are kept, as file:///FOLDER or s3://BUCKET/PREFIX; none: only in memory. Of several autoscalers with the
    /// same store one decides, and another takes over within 15 seconds when it dies
    #[arg(long, env = "DUNLIN_STORE", value_name = "URL")]
    pub store: Option<String>,
    /// The queue that gateways send to, as sqs://REGION/NAME: its own counts stand in after a restart, until all gateways have
    /// reported, and are compared with theirs; none, or `memory:`: gateways alone are believed
    #[arg(long, env = "DUNLIN_QUEUE", value_name = "URL")]
    pub queue: Option<String>,
    /// After the word to stop, how long workers may take to finish what they hold
    #[arg(long, env = "DUNLIN_GRACE", default_value = "30s", value_parser = parse_duration, value_name = "DURATION")]
    pub grace: Duration,
    #[command(flatten)]
    pub access: AccessOptions,
    #[command(flatten)]
    pub peers: PeerOptions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum PolicyName {
    /// One worker for so many waiting images (8 -> 2, 16 -> 4)
    Step,
    /// Keep the images in the system at a target for each worker
    Backlog,
    /// Answer 95 % within a time
    Latency,
    /// Always the same number
    Fixed,
}

/// `--max-instances` where nothing better is known than the course report's twenty.
const MAX_INSTANCES: u32 = 20;

/// The course's limit on instances of the app tier.
const MAX_INSTANCES_CSE546: u32 = 15;

/// Each instance started every two minutes is more than any load asks for.
const STARTS_PER_HOUR_EACH: u32 = 30;

const QUANTILE: f64 = 0.95;

impl Options {
    /// As from a command line without the program's name. Checks nothing across options.
    pub fn from_arguments<I, T>(arguments: I) -> Result<Self, clap::Error>
    where
        I: IntoIterator<Item = T>,
        T: Into<OsString>,
    {
        #[derive(Parser)]
        #[command(no_binary_name = true)]
        struct Arguments {
            #[command(flatten)]
            options: Options,
        }
        let arguments = arguments.into_iter().map(Into::<OsString>::into);
        Arguments::try_parse_from(arguments).map(|arguments| arguments.options)
    }

    /// `--max-instances` or what stands in for it.
    pub fn max_instances(&self) -> u32 {
        self.max_instances.unwrap_or_else(|| match self.fleet.as_str() {
            _ if self.profile == Profile::Cse546 => MAX_INSTANCES_CSE546.max(self.min_instances),
            "local:" => thread::available_parallelism()
                .map_or(1, NonZeroUsize::get)
                .try_into()
                .unwrap_or(MAX_INSTANCES)
                .max(self.min_instances),
            _ => MAX_INSTANCES,
        })
    }

    /// `--policy` or what stands in for it.
    pub fn policy_name(&self) -> PolicyName {
        self.policy.unwrap_or(match self.profile {
            Profile::Default => PolicyName::Latency,
            Profile::Cse546 => PolicyName::Step,
        })
    }

    /// What launched instances are called, before their number.
    pub fn name_prefix(&self) -> &'static str {
        match self.profile {
            Profile::Default => "dunlin-worker-",
            Profile::Cse546 => "app-tier-instance-",
        }
    }

    pub fn stopped_pool_max(&self) -> u32 {
        self.stopped_pool_max.unwrap_or_else(|| self.max_instances())
    }

    pub fn starts_per_hour_max(&self) -> u32 {
        self.max_starts_per_hour.unwrap_or_else(|| self.max_instances().saturating_mul(STARTS_PER_HOUR_EACH))
    }

    /// The queue that has counts of its own. One in a gateway's memory is counted by the gateway.
    pub fn counted_queue(&self) -> Option<&str> {
        self.queue.as_deref().filter(|queue| *queue != "memory:")
    }

    pub fn policy(&self) -> Policy {
        let rule = match self.policy_name() {
            PolicyName::Step => {
                Rule::Step(Step { messages_per_instance: self.messages_per_instance, count_in_flight: false })
            }
            PolicyName::Backlog => {
                Rule::Backlog(Backlog { target_per_instance: f64::from(self.messages_per_instance) })
            }
            PolicyName::Latency => {
                Rule::Latency(Latency { target: self.latency_target, quantile: QUANTILE, hold_max: HOLD_MAX })
            }
            PolicyName::Fixed => Rule::Fixed(Fixed { instances: self.instances }),
        };
        Policy {
            stale_after: self.policy_defaults().stale_after(&rule),
            rule,
            min_instances: self.min_instances,
            max_instances: self.max_instances(),
            hold: self.scale_in_hold,
            keep: self.keep,
            floors: self.schedule.clone(),
            version: 1,
        }
    }

    /// What stands in for what a policy that is set later leaves out.
    pub(crate) fn policy_defaults(&self) -> PolicyDefaults {
        PolicyDefaults { keep: self.keep, tick: self.tick }
    }
}

impl Check for Options {
    fn check(&self, problems: &mut Problems) {
        match FleetUrl::parse(&self.fleet) {
            Err(problem) => problems.add("--fleet", problem),
            Ok(FleetUrl::Local) if self.worker_command.is_empty() => {
                problems.add("--worker-command", "must name the worker's program for a fleet of local:");
            }
            Ok(FleetUrl::Local) => {}
            Ok(FleetUrl::Ec2 { .. }) if cfg!(not(feature = "ec2")) => problems
                .add("--fleet", "this build has no EC2 driver; build autoscaler with its default features"),
            Ok(FleetUrl::External | FleetUrl::Ec2 { .. } | FleetUrl::Sim { .. })
                if !self.worker_command.is_empty() =>
            {
                problems.add(
                    "--worker-command",
                    "is only for local:; instances start their worker by themselves",
                );
            }
            Ok(FleetUrl::External | FleetUrl::Ec2 { .. } | FleetUrl::Sim { .. }) => {}
        }
        for (field, sentence) in self.policy().problems() {
            problems.add(flag(field), sentence.replace("max_instances", "--max-instances"));
        }
        if self.max_instances == Some(0) {
            problems.add("--max-instances", "must be at least 1");
        }
        if !(self.price_per_hour.is_finite() && self.price_per_hour >= 0.0) {
            problems.add("--price-per-hour", "must be 0 or more");
        }
        for (flag, duration) in [("--tick", self.tick), ("--worker-grace", self.worker_grace)] {
            if duration.is_zero() {
                problems.add(flag, "must be longer than 0s");
            }
        }
        if let Some(store) = &self.store
            && !store.starts_with("file:///")
            && !(cfg!(feature = "aws") && store.starts_with("s3://"))
        {
            let s3 = if cfg!(feature = "aws") { ", s3://BUCKET/PREFIX" } else { "" };
            problems.add("--store", format_args!("{store:?} is unknown; known: file:///FOLDER{s3}"));
        }
        if let Some(queue) = self.counted_queue()
            && !(cfg!(feature = "aws") && ["sqs", "https", "http"].contains(&scheme(queue)))
        {
            let known = if cfg!(feature = "aws") { "memory:, sqs://REGION/NAME" } else { "memory:" };
            problems.add("--queue", format_args!("{queue:?} is unknown; known: {known}"));
        }
        self.access.check_listen("--listen", self.listen, problems);
        let internal = Listen {
            flag: "--listen",
            address: self.listen,
            allow_anonymous: self.access.allow_anonymous || self.access.tls.tls_client_ca.is_some(),
        };
        self.peers.check_listen(internal, problems);
    }
}

fn scheme(url: &str) -> &str {
    url.split_once("://").map_or("", |(scheme, _)| scheme)
}

/// The option that sets a field of the policy.
fn flag(field: &str) -> &'static str {
    match field {
        "min_instances" => "--min-instances",
        "step.messages_per_instance" | "backlog.target_per_instance" => "--messages-per-instance",
        "latency.target" => "--latency-target",
        "fixed.instances" => "--instances",
        "floors.instances" | "floors.from" | "floors.length" | "floors.days" => "--schedule",
        _ => "--policy",
    }
}

#[cfg(test)]
mod tests;
