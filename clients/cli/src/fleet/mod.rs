//! `dunlin fleet`: what an operator says to the autoscaler: pause, go on, other limits, another policy, drain this one.

use platform::{
    Error,
    options::{Check, Problems},
};
use proto::v1::{
    DrainInstanceRequest, ListInstancesRequest, autoscaler_service_client::AutoscalerServiceClient,
};
use tonic::{Request, metadata::MetadataValue};

use crate::{
    connect::{AutoscalerOptions, Connection},
    decisions::autoscaler,
    failure::{Failure, Outcome},
    instances::{self, InstanceRecord},
    output::{ColourOptions, Document, Format, Output},
};

mod change;
mod pause;
mod policy;
mod set;
mod when;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show every instance
    List(ListOptions),
    /// Start nothing and stop nothing for a while, or only one of the two
    Pause(pause::PauseOptions),
    /// End a pause
    Resume(pause::ResumeOptions),
    /// Change the policy; or, with --for or --until, set other limits for a while
    Set(Box<set::Options>),
    /// Have one instance finish what it holds and go; it is replaced if it is needed
    Drain(DrainOptions),
}

#[derive(Debug, clap::Args)]
struct ListOptions {
    #[command(flatten)]
    autoscaler: AutoscalerOptions,
    /// How to print them
    #[arg(short, long, value_enum, default_value = "table", value_name = "FORMAT")]
    output: Format,
}

#[derive(Debug, clap::Args)]
struct DrainOptions {
    /// The instance, as `dunlin fleet list` has it
    #[arg(value_name = "INSTANCE")]
    instance_id: String,
    #[command(flatten)]
    order: OrderOptions,
}

/// What all orders have: to whom, by whom and why.
#[derive(Debug, Clone, clap::Args)]
struct OrderOptions {
    #[command(flatten)]
    autoscaler: AutoscalerOptions,
    /// Why, for the record of the decision
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
    /// Who says so, for the record
    #[arg(long, env = "USER", value_name = "NAME", default_value = "", hide_default_value = true, value_parser = parse_actor)]
    actor: String,
    /// The same order again under the same id does nothing and has the first one's answer: for scripts that try again
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    request_id: String,
    /// How to print what is in force now
    #[arg(short, long, value_enum, default_value = "text", value_name = "FORMAT")]
    output: Document,
}

impl OrderOptions {
    async fn client(&self) -> Result<AutoscalerServiceClient<Connection>, Failure> {
        Ok(autoscaler(self.autoscaler.connect().await?))
    }

    /// With who says so beside it.
    fn request<T>(&self, message: T) -> Request<T> {
        const ACTOR: &str = "x-actor";
        let mut request = Request::new(message);
        if let Ok(actor) = MetadataValue::try_from(&self.actor)
            && !self.actor.is_empty()
        {
            request.metadata_mut().insert(ACTOR, actor);
        }
        request
    }
}

/// It goes along as metadata, which is ASCII.
fn parse_actor(text: &str) -> Result<String, String> {
    if text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
        return Ok(text.to_owned());
    }
    Err("must be printable ASCII".to_owned())
}

impl Check for Options {
    fn check(&self, problems: &mut Problems) {
        match &self.command {
            Command::List(_) | Command::Resume(_) | Command::Drain(_) => {}
            Command::Pause(options) => options.check(problems),
            Command::Set(options) => options.check(problems),
        }
    }
}

pub(crate) async fn run(options: Options, colours: ColourOptions) -> Outcome {
    match options.command {
        Command::List(options) => list(options, colours).await,
        Command::Pause(options) => pause::pause(options).await,
        Command::Resume(options) => pause::resume(options).await,
        Command::Set(options) => set::run(*options).await,
        Command::Drain(options) => drain(options).await,
    }
}

async fn list(options: ListOptions, colours: ColourOptions) -> Outcome {
    let channel = options.autoscaler.connect().await?;
    let answer = autoscaler(channel).list_instances(ListInstancesRequest {}).await.map_err(Error::from)?;
    let found = answer.into_inner().instances;
    let mut output = Output::new();
    let records = || found.iter().map(InstanceRecord::from);
    match options.output {
        Format::Table if found.is_empty() => output.line("no instances")?,
        Format::Table => output.table(&instances::table(&found, colours.on_stdout()))?,
        Format::Json => output.json(&records().collect::<Vec<_>>())?,
        Format::Jsonl => records().try_for_each(|record| output.json_line(&record))?,
        Format::Csv => {
            output.csv_line(instances::CSV_HEADER)?;
            found.iter().try_for_each(|instance| output.csv_line(instances::csv_fields(instance)))?;
        }
    }
    Ok(0)
}

async fn drain(options: DrainOptions) -> Outcome {
    let DrainOptions { instance_id, order } = options;
    let message = DrainInstanceRequest {
        instance_id,
        reason: order.reason.clone(),
        request_id: order.request_id.clone(),
    };
    let mut client = order.client().await?;
    let answer = client.drain_instance(order.request(message)).await.map_err(Error::from)?;
    let instance = answer.into_inner().instance.unwrap_or_default();
    let mut output = Output::new();
    match order.output {
        Document::Json => output.json(&InstanceRecord::from(&instance))?,
        Document::Text => output.line(&format!(
            "{} finishes what it holds ({} of {} slots busy), and goes",
            instance.instance_id, instance.busy_slots, instance.slots
        ))?,
    }
    Ok(0)
}
