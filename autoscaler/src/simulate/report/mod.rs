//! What a comparison came to, for a terminal, for a spreadsheet and as a page.

mod csv;
mod html;
mod record;
mod table;
#[cfg(test)]
mod tests;

pub use csv::{table_csv, timeline_csv};
pub use html::page;
pub use record::{FigureRecord, Record, RowRecord, ScenarioRecord};
pub use table::{FIGURE_HEADER, HEADER, cells, figure_cells, printed};

use super::{
    Comparison,
    figures::{Graded, grade},
};

/// All that was compared.
#[derive(Debug, Clone)]
pub struct Report {
    pub comparisons: Vec<Comparison>,
    /// Of the scenarios that have one.
    pub figures: Vec<Graded>,
    pub seeds: u64,
}

impl Report {
    /// Only the scenarios named are held against their figures: a figure is for a load as it is defined.
    pub fn new(comparisons: Vec<Comparison>, seeds: u64, graded: &[&str]) -> Self {
        let is_graded = |one: &&Comparison| graded.contains(&one.scenario.name.as_str());
        let figures = comparisons.iter().filter(is_graded).filter_map(grade).collect();
        Self { comparisons, figures, seeds }
    }
}
