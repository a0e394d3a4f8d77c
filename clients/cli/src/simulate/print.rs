//! The tables of `dunlin simulate`.

use autoscaler::simulate::{
    self, Comparison, OURS,
    figures::FIGURES,
    report::{self, Report},
    rivals::{FAMILIES, RivalSettings},
};
use comfy_table::Cell;

use crate::{
    failure::Failure,
    output::{Output, Style, new_table, number},
};

/// Columns of words before those of numbers.
const WORDS: usize = 2;

/// The column of figures that says whether one is met.
const VERDICT: usize = 1;

/// What takes part, and what it is tried on.
pub(super) fn list(output: &mut Output, style: Style) -> Result<(), Failure> {
    let mut table = new_table(style, &["SCENARIO", "TARGET", "MAX", "FIGURE", "ABOUT"]);
    for scenario in simulate::scenarios() {
        let figure = FIGURES.iter().any(|figure| figure.scenario == scenario.name);
        table.add_row([
            Cell::new(&scenario.name),
            number(format!("{} s", scenario.target)),
            number(scenario.max_instances),
            Cell::new(if figure { "yes" } else { "" }),
            Cell::new(&scenario.about),
        ]);
    }
    output.table(&table)?;
    output.line("")?;
    let mut table = new_table(style, &["POLICY", "WHAT IT IS", "AS IT COMES"]);
    for name in OURS {
        table.add_row([name, "ours", ""]);
    }
    for family in FAMILIES {
        for rival in RivalSettings::defaults().into_iter().filter(|one| one.family() == family) {
            table.add_row([family, rival.title(), &rival.words()]);
        }
    }
    output.table(&table)
}

pub(super) fn scenario(output: &mut Output, style: Style, comparison: &Comparison) -> Result<(), Failure> {
    let scenario = &comparison.scenario;
    output.line(&format!("{}: {}", style.bold(&scenario.name), scenario.about))?;
    let mut table = new_table(style, &report::HEADER);
    for row in report::printed(comparison) {
        let cells = report::cells(row).into_iter().enumerate();
        table.add_row(cells.map(|(i, text)| if i < WORDS { Cell::new(text) } else { number(text) }));
    }
    output.table(&table)?;
    output.line("")
}

pub(super) fn figures(output: &mut Output, style: Style, report: &Report) -> Result<(), Failure> {
    if report.figures.is_empty() {
        return Ok(());
    }
    let mut table = new_table(style, &report::FIGURE_HEADER);
    for figure in &report.figures {
        let mut cells = report::figure_cells(figure);
        if !figure.passes()
            && let Some(verdict) = cells.get_mut(VERDICT)
        {
            *verdict = style.red(verdict);
        }
        table.add_row(cells);
    }
    output.table(&table)
}
