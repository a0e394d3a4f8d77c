//! `dunlin simulate`: policies tried on loads beforehand, ours and other autoscalers', with a table, files and a page.

use std::{
    io::{self, IsTerminal as _, Write as _},
    num::NonZeroU64,
    path::{Path, PathBuf},
    time::Duration,
};

use autoscaler::simulate::{
    self, Comparison, Contender, Extent, OURS, Scenario,
    figures::FIGURES,
    report::{self, Record, Report},
    rivals::FAMILIES,
};
use clap::builder::PossibleValuesParser;
use platform::options::{Check, Problems, exit, parse_duration};

use crate::{
    failure::{Failure, Outcome},
    output::{ColourOptions, Output},
};

mod bar;
mod own;
mod print;

use bar::Bar;
use own::{OwnLoad, OwnPolicy};

/// Figures are means over at least so many seeds.
const FIGURE_SEEDS: u64 = 20;

/// More seeds than anyone waits for.
const SEEDS_MAX: u64 = 1000;

const EXAMPLES: &str = "\
Examples:
  dunlin simulate                                       the figures: five loads, ours and the rivals, tuned ones too
  dunlin simulate --list                                the loads and the policies there are
  dunlin simulate burst --policies latency,keda -o json
  dunlin simulate --out report                          with report/report.html, table.csv and timeline.csv
  dunlin simulate flash --policy latency --latency-target 20s --max-instances 40
  dunlin simulate --trace arrivals.txt --image-time 800ms --boot 25s

Exit codes: 0 done, 1 a figure was not met (with --check), 2 wrong usage, 78 wrong configuration.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// The loads to try; `all` for every one [default: those that figures are set for]
    #[arg(value_name = "SCENARIO", value_parser = PossibleValuesParser::new(scenario_names()), hide_possible_values = true)]
    scenarios: Vec<String>,
    /// Show the loads and the policies there are, and run nothing
    #[arg(long, conflicts_with_all = ["scenarios", "check", "out"])]
    list: bool,
    /// Who takes part [default: latency, step and every rival]
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', value_parser = PossibleValuesParser::new(policy_names()))]
    policies: Vec<String>,
    /// 95 % are to be answered within this [default: the load's own target]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    target: Option<Duration>,
    /// Runs of each policy, each with other arrivals, service times and boot times; the same ones for all policies
    #[arg(long, value_name = "N", default_value_t = FIGURE_SEEDS)]
    seeds: u64,
    /// Take the rivals as they come, without looking for their best settings on each load
    #[arg(long)]
    no_tuning: bool,
    /// Write table.csv, timeline.csv and report.html there
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Fail when a figure is not met
    #[arg(long)]
    check: bool,
    /// How to print the result
    #[arg(short, long, value_enum, default_value = "table", value_name = "FORMAT")]
    output: Format,
    #[command(flatten)]
    policy: OwnPolicy,
    #[command(flatten)]
    load: OwnLoad,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people
    Table,
    /// One JSON document
    Json,
}

fn scenario_names() -> Vec<String> {
    let known = simulate::scenarios().into_iter().map(|scenario| scenario.name);
    known.chain(["all".to_owned()]).collect()
}

fn policy_names() -> Vec<&'static str> {
    OURS.into_iter().chain(FAMILIES).collect()
}

impl Check for Options {
    fn check(&self, problems: &mut Problems) {
        if !(1..=SEEDS_MAX).contains(&self.seeds) {
            problems.add("--seeds", format_args!("must be 1 to {SEEDS_MAX}"));
        }
        if self.check && self.seeds < FIGURE_SEEDS {
            problems.add("--seeds", format_args!("--check needs at least {FIGURE_SEEDS}"));
        }
        if self.check && self.graded_names().is_empty() {
            let known: Vec<&str> = FIGURES.iter().map(|figure| figure.scenario).collect();
            problems.add(
                "--check",
                format_args!("needs `latency` and a load with a figure: {}", known.join(", ")),
            );
        }
        if self.target.is_some_and(|target| target.is_zero()) {
            problems.add("--target", "must be more than 0");
        }
        if let (Some(min), Some(max)) = (self.policy.min_instances, self.load.max_instances)
            && min > max
        {
            problems.add("--min-instances", format_args!("{min} is over --max-instances, {max}"));
        }
        self.policy.check(problems);
        self.load.check(problems);
    }
}

impl Options {
    /// The scenarios asked for that have a figure.
    fn graded_names(&self) -> Vec<&str> {
        // A figure is for the load as it is defined.
        let as_defined = self.target.is_none() && self.load.is_default();
        let latency = self.policies.is_empty() || self.policies.iter().any(|name| name == "latency");
        let names = FIGURES.iter().map(|figure| figure.scenario);
        let asked = |name: &&str| {
            self.scenarios.is_empty() || self.scenarios.iter().any(|asked| asked == name || asked == "all")
        };
        names.filter(|_| as_defined && latency).filter(asked).collect()
    }

    fn scenarios(&self) -> Result<Vec<Scenario>, Failure> {
        let known = simulate::scenarios();
        let has_figure = |name: &str| FIGURES.iter().any(|figure| figure.scenario == name);
        let asked =
            |scenario: &Scenario| self.scenarios.iter().any(|name| *name == scenario.name || name == "all");
        let mut scenarios: Vec<Scenario> = match (&self.load.trace, self.scenarios.is_empty()) {
            (Some(_), true) => Vec::new(),
            (None, true) => known.into_iter().filter(|scenario| has_figure(&scenario.name)).collect(),
            (_, false) => known.into_iter().filter(asked).collect(),
        };
        scenarios.extend(self.load.trace()?);
        for scenario in &mut scenarios {
            self.load.change(scenario);
            if let Some(target) = self.target {
                scenario.target = target.as_secs_f64();
            }
        }
        Ok(scenarios)
    }

    fn contenders(&self, scenario: &Scenario) -> Vec<Contender> {
        let own = self.policy.contender(scenario);
        let named = self.policies.iter().map(String::as_str);
        let names: Vec<&str> = match (&own, self.policies.is_empty()) {
            (_, false) => named.collect(),
            // Beside `latency`, the report's rule in our hands: what the drain protocol alone makes better.
            (_, true) => ["latency", "step"].into_iter().chain(FAMILIES).collect(),
        };
        let named = names.into_iter().filter_map(|name| Contender::named(name, scenario.target)).flatten();
        own.into_iter().chain(named).collect()
    }
}

pub(crate) fn run(options: &Options, colours: ColourOptions) -> Outcome {
    let style = colours.on_stdout();
    let mut output = Output::new();
    if options.list {
        print::list(&mut output, style)?;
        return Ok(0);
    }
    let scenarios = options.scenarios()?;
    if let Some(folder) = &options.out {
        // Before the work: a folder that cannot be made would waste minutes.
        std::fs::create_dir_all(folder).map_err(|error| cannot_write(folder, &error))?;
    }
    if cfg!(debug_assertions) && io::stderr().is_terminal() {
        writeln!(
            io::stderr(),
            "built without optimisation: `cargo run --release -- simulate` is ten times as fast"
        )?;
    }
    let bar = Bar::new();
    let extent = Extent {
        seeds: NonZeroU64::new(options.seeds).unwrap_or(NonZeroU64::MIN),
        tuned: !options.no_tuning,
    };
    let mut comparisons: Vec<Comparison> = Vec::new();
    for scenario in &scenarios {
        bar.name(&scenario.name);
        let comparison = simulate::compare(scenario, &options.contenders(scenario), extent, &bar);
        if options.output == Format::Table {
            bar.aside(|| print::scenario(&mut output, style, &comparison))?;
        }
        comparisons.push(comparison);
    }
    bar.end();
    let report = Report::new(comparisons, options.seeds, &options.graded_names());
    match options.output {
        Format::Table => print::figures(&mut output, style, &report)?,
        Format::Json => output.json(&Record::of(&report))?,
    }
    if let Some(folder) = &options.out {
        write_files(folder, &report)?;
    }
    let missed = report.figures.iter().any(|figure| !figure.passes());
    Ok(if options.check && missed { exit::FAILED } else { 0 })
}

fn write_files(folder: &Path, report: &Report) -> Result<(), Failure> {
    let page = report::page(report)?;
    let files = [
        ("table.csv", report::table_csv(report)),
        ("timeline.csv", report::timeline_csv(report)),
        ("report.html", page),
    ];
    for (name, text) in files {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(|error| cannot_write(&path, &error))?;
    }
    writeln!(io::stderr(), "wrote {}", folder.join("report.html").display())?;
    Ok(())
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::new(exit::FAILED, format!("write {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::command::{Cli, Command};

    fn options(arguments: &str) -> Options {
        let arguments = format!("dunlin simulate {arguments}");
        match Cli::try_parse_from(arguments.split_whitespace()).unwrap().command {
            Command::Simulate(options) => *options,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn figures_are_what_runs_when_nothing_is_said() {
        let names = |arguments: &str| -> Vec<String> {
            options(arguments).scenarios().unwrap().into_iter().map(|scenario| scenario.name).collect()
        };
        assert_eq!(names("").len(), FIGURES.len());
        assert_eq!(names("burst"), ["burst"]);
        assert_eq!(names("all").len(), simulate::scenarios().len());
    }

    #[test]
    fn figures_are_for_loads_as_they_are_defined() {
        assert_eq!(options("").graded_names().len(), FIGURES.len());
        assert_eq!(options("burst").graded_names(), ["burst"]);
        for other in ["burst --target 20s", "burst --boot 20s", "burst --policies keda", "ramp"] {
            assert_eq!(options(other).graded_names(), <[&str; 0]>::default(), "{other}");
        }
    }

    #[test]
    fn target_and_own_machines_change_every_load() {
        let scenario = &options("burst --target 20s --max-instances 7 --boot 5s").scenarios().unwrap()[0];
        assert_eq!((scenario.target, scenario.max_instances, scenario.boot.warm), (20.0, 7, 5.0));
    }

    #[test]
    fn own_policy_comes_first_and_the_others_after_it() {
        let options = options("burst --policy latency --latency-target 20s --policies latency,keda");
        let scenario = &options.scenarios().unwrap()[0];
        let names: Vec<String> = options.contenders(scenario).iter().map(Contender::name).collect();
        assert_eq!(names[0], "your latency (T = 20 s)");
        assert_eq!(names[1], "latency (T = 60 s)");
        assert!(names[2].starts_with("KEDA"), "{names:?}");
    }

    #[test]
    fn impossible_options_are_problems() {
        for bad in [
            "--seeds 0",
            "burst --check --seeds 3",
            "ramp --check",
            "--target 0s",
            "--max-instances 0",
            "--policy latency --latency-target 0s",
            "--policy latency --min-instances 9 --max-instances 3",
            "--latency-target 5s",
            "--image-time 0s",
        ] {
            let mut problems = Problems::default();
            options(bad).check(&mut problems);
            assert!(!problems.is_empty(), "{bad}");
        }
    }
}
