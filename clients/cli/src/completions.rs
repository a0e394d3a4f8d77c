//! `dunlin completions`: the script a shell reads to complete our commands and flags.

use std::io::{self, Write as _};

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::{command::Cli, failure::Outcome};

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The shell to complete for
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn run(options: &Options) -> Outcome {
    // Into memory first: the generator panics when its writer fails, and `| head` makes it fail.
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut Cli::command(), "dunlin", &mut script);
    let mut out = io::stdout().lock();
    out.write_all(&script)?;
    out.flush()?;
    Ok(0)
}
