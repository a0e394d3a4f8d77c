//! `dunlin key`: makes, lists and ends the keys that callers of a gateway and an autoscaler bring.

use std::{path::PathBuf, time::SystemTime};

use classifier_worker::engine;
use platform::{
    auth::{KeyFile, KeyRecord, NewKey, Scope},
    options::{Check, Problems, parse_duration, show_duration},
};
use serde::Serialize;

use crate::{
    failure::{Failure, Outcome},
    output::{Document, Output, Style, new_table},
    times::clock,
};

const EXAMPLES: &str = "\
Examples:
  dunlin key create --name ci --scope classify --rate 100     100 images a second, and nothing else
  dunlin key create --name ops --scope admin --expires 30d    everything, for a month
  dunlin up --keys ~/.local/share/dunlin/keys.toml            ask callers for them
  DUNLIN_KEY=dunlin_... dunlin classify cat.jpg               bring one
  dunlin key list
  dunlin key revoke 01kb3f...                                 in force within seconds, without a restart

Scopes: classify sends images and jobs and sees what became of them; read sees the fleet, its decisions and their reasons; admin
does everything. A key that sends images does not see the fleet unless it has both.";

#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum Command {
    /// Make a key and print it: it cannot be shown again
    Create(CreateOptions),
    /// List the keys, without the keys themselves
    List(ListOptions),
    /// End a key, for good
    Revoke(RevokeOptions),
}

#[derive(Debug, Clone, clap::Args)]
struct FileOptions {
    /// The file of keys, as services read it with --keys [default: keys.toml in ~/.local/share/dunlin]
    #[arg(long, env = "DUNLIN_KEYS", value_name = "FILE")]
    keys: Option<PathBuf>,
    /// How to print it
    #[arg(short, long, value_enum, default_value = "text", value_name = "FORMAT")]
    output: Document,
}

#[derive(Debug, Clone, clap::Args)]
struct CreateOptions {
    /// Whose it is, for the record: of letters, digits and - _ . @
    #[arg(long, value_name = "NAME")]
    name: String,
    /// What it is for; several with commas
    #[arg(long, value_enum, required = true, value_name = "SCOPE", value_delimiter = ',')]
    scope: Vec<Scope>,
    /// Images a second, of which a second's worth may come at once; other calls count as one image [default: no limit]
    #[arg(long, value_name = "COUNT")]
    rate: Option<f64>,
    /// It ends by itself after this, such as 30d [default: never]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    expires: Option<std::time::Duration>,
    #[command(flatten)]
    file: FileOptions,
}

#[derive(Debug, Clone, clap::Args)]
struct ListOptions {
    #[command(flatten)]
    file: FileOptions,
}

#[derive(Debug, Clone, clap::Args)]
struct RevokeOptions {
    /// The key's id, as `dunlin key list` shows it
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    file: FileOptions,
}

impl CreateOptions {
    fn new_key(&self) -> NewKey {
        let (name, scopes) = (self.name.clone(), self.scope.clone());
        NewKey { name, scopes, rate: self.rate, expires_in: self.expires }
    }
}

impl FileOptions {
    fn file(&self) -> Result<KeyFile, Failure> {
        match &self.keys {
            Some(path) => Ok(KeyFile::new(path)),
            None => Ok(KeyFile::new(engine::data_folder(None)?.join("keys.toml"))),
        }
    }
}

impl Check for Options {
    fn check(&self, problems: &mut Problems) {
        if let Command::Create(options) = &self.command
            && let Some((flag, problem)) = options.new_key().problem()
        {
            problems.add(flag, problem);
        }
    }
}

/// A key as programs see it.
#[derive(Debug, Serialize)]
struct Record<'a> {
    id: &'a str,
    name: &'a str,
    scopes: &'a [Scope],
    images_per_second: Option<f64>,
    state: &'static str,
    created: String,
    expires: Option<String>,
    revoked: Option<String>,
    /// Only when it has just been made.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
}

impl<'a> Record<'a> {
    fn new(record: &'a KeyRecord, key: Option<&'a str>) -> Self {
        let rfc3339 = |time: SystemTime| humantime::format_rfc3339_seconds(time).to_string();
        Self {
            id: &record.id,
            name: &record.name,
            scopes: &record.scopes,
            images_per_second: record.rate,
            state: state(record),
            created: rfc3339(record.created),
            expires: record.expires.map(rfc3339),
            revoked: record.revoked.map(rfc3339),
            key,
        }
    }
}

fn state(record: &KeyRecord) -> &'static str {
    if record.revoked.is_some() {
        "revoked"
    } else if record.has_expired(SystemTime::now()) {
        "expired"
    } else {
        "active"
    }
}

fn scopes(record: &KeyRecord) -> String {
    record.scopes.iter().map(|scope| scope.name()).collect::<Vec<_>>().join(", ")
}

pub(crate) fn run(options: &Options) -> Outcome {
    match &options.command {
        Command::Create(options) => create(options),
        Command::List(options) => list(options),
        Command::Revoke(options) => revoke(options),
    }
}

fn create(options: &CreateOptions) -> Outcome {
    let file = options.file.file()?;
    let (key, record) = file.create(options.new_key())?;
    let mut output = Output::new();
    match options.file.output {
        Document::Json => output.json(&Record::new(&record, Some(key.reveal())))?,
        Document::Text => {
            output.line(key.reveal())?;
            // Beside the key, so that it alone can be piped to where it is kept.
            eprintln!(
                "{} ({}), scope {}{}; in {}. This is the only time it is shown.",
                record.name,
                record.id,
                scopes(&record),
                options.expires.map_or_else(String::new, |after| format!(", for {}", show_duration(after))),
                file.path().display()
            );
        }
    }
    Ok(0)
}

fn list(options: &ListOptions) -> Outcome {
    let file = options.file.file()?;
    let keys = file.read()?;
    let mut output = Output::new();
    match options.file.output {
        Document::Json => {
            output.json(&keys.iter().map(|key| Record::new(key, None)).collect::<Vec<_>>())?;
        }
        Document::Text if keys.is_empty() => output.line("no keys")?,
        Document::Text => {
            let header = ["ID", "NAME", "SCOPES", "IMAGES/S", "STATE", "CREATED", "EXPIRES"];
            let time = |time: SystemTime| clock(Some(&time.into()));
            let mut table = new_table(Style::default(), &header);
            for key in &keys {
                table.add_row([
                    key.id.clone(),
                    key.name.clone(),
                    scopes(key),
                    key.rate.map_or_else(|| "no limit".to_owned(), |rate| rate.to_string()),
                    state(key).to_owned(),
                    time(key.created),
                    key.expires.map_or_else(|| "never".to_owned(), time),
                ]);
            }
            output.table(&table)?;
        }
    }
    Ok(0)
}

fn revoke(options: &RevokeOptions) -> Outcome {
    let record = options.file.file()?.revoke(&options.id)?;
    let mut output = Output::new();
    match options.file.output {
        Document::Json => output.json(&Record::new(&record, None))?,
        Document::Text => output.line(&format!("{} ({}) is revoked", record.name, record.id))?,
    }
    Ok(0)
}
