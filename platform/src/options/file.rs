//! The TOML file: its values become the defaults of the flags they name, so that a flag and the
//! environment win over it.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs,
    path::PathBuf,
};

use clap::{Arg, ArgAction, Command};
use toml::de::{DeTable, DeValue};

use super::Problems;

/// Tables of the file, one for each program or command; each reads its own and leaves the others.
const SECTIONS: [&str; 8] =
    ["gateway", "worker", "autoscaler", "up", "classify", "status", "decisions", "bench"];

/// Where the file is. Read before everything else, so it can't itself be in the file.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct FileOptions {
    /// TOML file with the values of flags: `listen = "127.0.0.1:8000"`, in a table for each program
    #[arg(long, env = "DUNLIN_CONFIG", value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
}

pub(super) struct File {
    path: PathBuf,
    text: String,
}

/// Reads the file that `--config` or `DUNLIN_CONFIG` names, if one does.
pub(super) fn find(arguments: &[OsString], problems: &mut Problems) -> Option<File> {
    let path = flag_value(arguments).or_else(|| env::var_os("DUNLIN_CONFIG"))?;
    let path = PathBuf::from(path);
    match fs::read_to_string(&path) {
        Ok(text) => Some(File { path, text }),
        Err(error) => {
            problems.add("--config", format_args!("can't read {}: {error}", path.display()));
            None
        }
    }
}

fn flag_value(arguments: &[OsString]) -> Option<OsString> {
    arguments.iter().enumerate().find_map(|(i, argument)| {
        let text = argument.to_str()?;
        match text.strip_prefix("--config")? {
            "" => arguments.get(i + 1).cloned(),
            rest => rest.strip_prefix('=').map(OsString::from),
        }
    })
}

impl File {
    /// Makes the file's values the defaults of `command`'s flags.
    pub(super) fn apply(&self, mut command: Command, section: &str, problems: &mut Problems) -> Command {
        let table = match DeTable::parse(&self.text) {
            Ok(table) => table,
            Err(error) => {
                // Its text has the line and a caret.
                problems.0.push(format!("{}: {error}", self.path.display()));
                return command;
            }
        };
        for (key, value) in table.get_ref() {
            let name: &str = key.get_ref();
            let at = self.place(key.span().start);
            match value.get_ref() {
                DeValue::Table(entries) if name == section => {
                    self.apply_table(&mut command, entries, problems);
                }
                DeValue::Table(entries) if command.find_subcommand(name).is_some() => {
                    if let Some(sub) = command.find_subcommand_mut(name) {
                        self.apply_table(sub, entries, problems);
                    }
                }
                DeValue::Table(_) if SECTIONS.contains(&name) => {}
                DeValue::Table(_) => {
                    problems.0.push(format!("{at}: unknown table [{name}]; known: {}", SECTIONS.join(", ")));
                }
                value => set(&mut command, name, value, &at, problems),
            }
        }
        command
    }

    fn apply_table(&self, command: &mut Command, entries: &DeTable<'_>, problems: &mut Problems) {
        for (key, value) in entries {
            let at = self.place(key.span().start);
            set(command, key.get_ref(), value.get_ref(), &at, problems);
        }
    }

    /// `dunlin.toml:7`.
    fn place(&self, offset: usize) -> String {
        let before = self.text.get(..offset).unwrap_or_default();
        format!("{}:{}", self.path.display(), before.matches('\n').count() + 1)
    }
}

fn set(command: &mut Command, key: &str, value: &DeValue<'_>, at: &str, problems: &mut Problems) {
    let long = key.replace('_', "-");
    let known =
        command.get_arguments().find(|argument| argument.get_long() == Some(&long) && long != "config");
    let Some(argument) = known else {
        let names = command.get_arguments().filter_map(Arg::get_long).filter(|name| *name != "config");
        let names = names.collect::<Vec<_>>().join(", ");
        problems.0.push(format!("{at}: unknown key {key:?}, expected one of: {names}"));
        return;
    };
    let many = matches!(argument.get_action(), ArgAction::Append);
    let (id, values) = (argument.get_id().clone(), scalars(value, many));
    let Some(values) = values else {
        problems.0.push(format!("{at}: {key} is not a text, number or true/false"));
        return;
    };
    let values: Vec<&'static OsStr> =
        // Options are read once in a process, and clap keeps defaults for its lifetime.
        values.into_iter().map(|value| &*Box::leak(OsString::from(value).into_boxed_os_str())).collect();
    *command =
        std::mem::take(command).mut_arg(id, |argument| argument.default_values(values).required(false));
}

/// The value as flags spell it; an array only where a flag may be repeated.
fn scalars(value: &DeValue<'_>, many: bool) -> Option<Vec<String>> {
    let scalar = |value: &DeValue<'_>| match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Float(number) => Some(number.to_string()),
        DeValue::Boolean(yes) => Some(yes.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    };
    match value {
        DeValue::Array(values) if many => values.iter().map(|value| scalar(value.get_ref())).collect(),
        value => scalar(value).map(|one| vec![one]),
    }
}
