//! Options: flag > `DUNLIN_*` environment > TOML file > default. Everything is checked before a
//! port is bound, and all mistakes are shown at once.

use std::{ffi::OsString, fmt, time::Duration};

use clap::{
    Arg, Command, CommandFactory, FromArgMatches,
    builder::Resettable,
    error::{ContextKind, ContextValue, ErrorKind},
};

mod file;

pub use file::FileOptions;

/// Exit codes (DESIGN section 6 of the facts; sysexits.h).
pub mod exit {
    pub const FAILED: u8 = 1;
    pub const USAGE: u8 = 2;
    /// EX_UNAVAILABLE: the server is not reachable.
    pub const UNAVAILABLE: u8 = 69;
    /// EX_TEMPFAIL: overload; try again.
    pub const TRY_AGAIN: u8 = 75;
    /// EX_CONFIG.
    pub const CONFIG: u8 = 78;
}

/// Sets of behaviour that one switch on every service chooses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Profile {
    #[default]
    Default,
    /// What the course's rules ask for (specs/upload.md, "The course profile").
    Cse546,
}

/// Rules that one value's type can't express: ranges between options, folders that must exist.
pub trait Check {
    fn check(&self, problems: &mut Problems);
}

/// What is wrong with the options, all of it.
#[derive(Debug, Default)]
pub struct Problems(Vec<String>);

impl Problems {
    /// `problem` goes on after the flag's name: "must be at least 1".
    pub fn add(&mut self, flag: &str, problem: impl fmt::Display) {
        self.0.push(format!("{flag}: {problem}"));
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Why options could not be read.
#[derive(Debug)]
pub struct Failure {
    pub exit_code: u8,
    pub text: String,
}

/// Reads the options of this process. On a mistake prints all mistakes and exits with 2 (usage)
/// or 78 (configuration); on `--help` prints it and exits with 0.
///
/// `section` is the TOML table whose keys are these options; keys outside any table apply too.
pub fn load<T: CommandFactory + FromArgMatches + Check>(section: &str) -> T {
    match try_load(section, std::env::args_os().collect()) {
        Ok(options) => options,
        Err(failure) => {
            eprintln!("{}", failure.text);
            std::process::exit(i32::from(failure.exit_code));
        }
    }
}

/// The same with the arguments given, for tests.
pub fn try_load<T: CommandFactory + FromArgMatches + Check>(
    section: &str,
    arguments: Vec<OsString>,
) -> Result<T, Failure> {
    let mut problems = Problems::default();
    let mut command = T::command();
    let file = file::find(&arguments, &mut problems);
    if let Some(file) = &file {
        command = file.apply(command, section, &mut problems);
    }
    let from_file = !problems.is_empty();
    let parsed = parse_all(command, &T::command(), arguments, &mut problems);
    let only_usage = !from_file && parsed.only_usage;
    let options = parsed.matches.and_then(|matches| match T::from_arg_matches(&matches) {
        Ok(options) => Some(options),
        Err(error) => {
            problems.0.push(first_sentence(&error));
            None
        }
    });
    let before = problems.0.len();
    if let Some(options) = options {
        options.check(&mut problems);
        if problems.is_empty() {
            return Ok(options);
        }
    }
    let only_usage = only_usage && problems.0.len() == before;
    Err(failure(&problems, if only_usage { exit::USAGE } else { exit::CONFIG }))
}

fn failure(problems: &Problems, exit_code: u8) -> Failure {
    let lines = problems.0.iter().map(|problem| format!("error: {problem}")).collect::<Vec<_>>();
    Failure { exit_code, text: lines.join("\n") + "\n\nFor the options, try '--help'." }
}

struct Parsed {
    /// There even when there were problems, with the wrong values taken out.
    matches: Option<clap::ArgMatches>,
    only_usage: bool,
}

/// Parses; at each mistake notes it, takes the wrong value out of its source and goes on, so that
/// all mistakes are found.
fn parse_all(
    mut command: Command,
    original: &Command,
    mut arguments: Vec<OsString>,
    problems: &mut Problems,
) -> Parsed {
    /// Each round takes out a flag, a variable or a file's value; this is far more than there are.
    const ROUNDS_MAX: usize = 200;
    let mut only_usage = true;
    for _ in 0..ROUNDS_MAX {
        // Parsing builds a command, and a built one can't be changed any more: clap finds its flags by
        // their places. So each round parses a copy.
        let error = match command.clone().try_get_matches_from_mut(&arguments) {
            Ok(matches) => return Parsed { matches: Some(matches), only_usage },
            Err(error) => error,
        };
        if matches!(
            error.kind(),
            ErrorKind::DisplayHelp
                | ErrorKind::DisplayVersion
                | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
        ) {
            error.exit();
        }
        let name = match error.get(ContextKind::InvalidArg) {
            Some(ContextValue::String(name)) => name.clone(),
            _ => String::new(),
        };
        let flag = name.split([' ', '=', '[']).next().unwrap_or_default().to_owned();
        match take_out(&mut command, original, &mut arguments, &flag) {
            Some(source) => {
                only_usage &= source == Source::Flag;
                problems.0.push(format!("{}{}", first_sentence(&error), source));
            }
            None => {
                problems.0.push(first_sentence(&error));
                break;
            }
        }
    }
    Parsed { matches: None, only_usage }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    Flag,
    Variable(String),
    File,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => Ok(()),
            Self::Variable(name) => write!(f, " (from the environment: {name})"),
            Self::File => f.write_str(" (from the configuration file)"),
        }
    }
}

/// Takes the value of `--flag` out of where it came from.
fn take_out(
    command: &mut Command,
    original: &Command,
    arguments: &mut Vec<OsString>,
    flag: &str,
) -> Option<Source> {
    let long = flag.strip_prefix("--")?;
    let at = arguments.iter().position(|argument| {
        argument.to_str().is_some_and(|text| text == flag || text.starts_with(&format!("{flag}=")))
    });
    if let Some(at) = at {
        let takes_next = arguments.get(at).is_some_and(|argument| argument == flag)
            && arguments.get(at + 1).is_some_and(|next| !next.to_string_lossy().starts_with('-'));
        arguments.drain(at..=at + usize::from(takes_next));
        return Some(Source::Flag);
    }
    let argument = find_argument(command, long)?;
    let variable = argument.get_env().filter(|name| std::env::var_os(name).is_some());
    if let Some(name) = variable.map(|name| name.to_string_lossy().into_owned()) {
        change_argument(command, long, &|argument| argument.env(Resettable::Reset));
        return Some(Source::Variable(name));
    }
    let pristine = find_argument(original, long)?;
    if argument.get_default_values() == pristine.get_default_values() {
        return None;
    }
    let default = pristine.get_default_values().to_vec();
    change_argument(command, long, &|argument| argument.default_values(default.clone()));
    Some(Source::File)
}

/// The argument with this long name, in the command or below it.
fn find_argument(command: &Command, long: &str) -> Option<Arg> {
    let here = command.get_arguments().find(|argument| argument.get_long() == Some(long));
    here.cloned().or_else(|| command.get_subcommands().find_map(|sub| find_argument(sub, long)))
}

/// Changes every argument with this long name, in the command and below it.
fn change_argument(command: &mut Command, long: &str, change: &dyn Fn(Arg) -> Arg) {
    let ids = command.get_arguments().filter(|argument| argument.get_long() == Some(long));
    for id in ids.map(|argument| argument.get_id().clone()).collect::<Vec<_>>() {
        *command = std::mem::take(command).mut_arg(id, change);
    }
    for sub in command.get_subcommands_mut() {
        change_argument(sub, long, change);
    }
}

fn first_sentence(error: &clap::Error) -> String {
    let text = error.to_string();
    let paragraph = text.split("\n\n").next().unwrap_or_default();
    let line = paragraph.strip_prefix("error: ").unwrap_or(paragraph).trim();
    let tip = text.lines().find_map(|line| line.trim().strip_prefix("tip: "));
    match tip {
        Some(tip) => format!("{line} ({tip})"),
        None => line.to_owned(),
    }
}

/// For `value_parser`: `30s`, `250ms`, `1h 5m`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}; write it like 30s, 250ms or 1h"))
}

/// How a duration is shown to people, in the form options take it.
pub fn show_duration(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}
