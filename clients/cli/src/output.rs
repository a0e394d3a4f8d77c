//! What commands print: the formats they share, colours on terminals only, and tables.

use std::io::{self, BufWriter, IsTerminal as _, Stdout, Write};

use comfy_table::{Attribute, Cell, CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;

use crate::failure::Failure;

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people
    Table,
    /// One JSON document
    Json,
    /// One JSON object a line, as results come
    Jsonl,
    /// Comma-separated values with a header, as results come
    Csv,
}

/// How one thing is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Document {
    /// For people
    Text,
    /// One JSON document
    Json,
}

/// Whether to use colours.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub(crate) struct ColourOptions {
    /// Print without colours. Colours are used on terminals only
    #[arg(long = "no-color", global = true, env = "NO_COLOR", value_parser = not_empty, hide_env_values = true)]
    no_colour: bool,
}

impl ColourOptions {
    /// For what goes to standard output.
    pub(crate) fn on_stdout(self) -> Style {
        Style { colour: !self.no_colour && io::stdout().is_terminal() }
    }
}

/// https://no-color.org: set and not empty means no colours, whatever the value.
#[allow(clippy::unnecessary_wraps, reason = "the form clap takes")]
fn not_empty(text: &str) -> Result<bool, std::convert::Infallible> {
    Ok(!text.is_empty())
}

/// Marks text for a terminal, or leaves it alone.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Style {
    pub(crate) colour: bool,
}

impl Style {
    pub(crate) fn bold(self, text: &str) -> String {
        self.wrap(text, "1")
    }

    pub(crate) fn dim(self, text: &str) -> String {
        self.wrap(text, "2")
    }

    pub(crate) fn red(self, text: &str) -> String {
        self.wrap(text, "31")
    }

    fn wrap(self, text: &str, code: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Standard output, buffered. A reader that went away is a `Failure` without words.
pub(crate) struct Output {
    out: BufWriter<Stdout>,
}

impl Output {
    pub(crate) fn new() -> Self {
        Self { out: BufWriter::new(io::stdout()) }
    }

    /// One line, seen at once.
    pub(crate) fn line(&mut self, line: &str) -> Result<(), Failure> {
        writeln!(self.out, "{line}")?;
        Ok(self.out.flush()?)
    }

    /// One JSON object on one line, seen at once.
    pub(crate) fn json_line<T: Serialize>(&mut self, value: &T) -> Result<(), Failure> {
        serde_json::to_writer(&mut self.out, value)?;
        self.line("")
    }

    /// One JSON document for people and programs.
    pub(crate) fn json<T: Serialize>(&mut self, value: &T) -> Result<(), Failure> {
        serde_json::to_writer_pretty(&mut self.out, value)?;
        self.line("")
    }

    /// One line of comma-separated values, seen at once.
    pub(crate) fn csv_line<I, S>(&mut self, fields: I) -> Result<(), Failure>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<[u8]>,
    {
        let mut writer = csv::Writer::from_writer(&mut self.out);
        writer.write_record(fields)?;
        writer.flush()?;
        drop(writer);
        Ok(self.out.flush()?)
    }

    pub(crate) fn table(&mut self, table: &Table) -> Result<(), Failure> {
        for line in table.lines() {
            writeln!(self.out, "{}", line.trim_end())?;
        }
        Ok(self.out.flush()?)
    }
}

/// A table without lines: columns two spaces apart, a header, cut to the terminal's width.
pub(crate) fn new_table(style: Style, header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    if io::stdout().is_terminal() {
        table.set_content_arrangement(ContentArrangement::Dynamic);
    } else {
        table.set_content_arrangement(ContentArrangement::Disabled);
    }
    let cells = header.iter().map(|title| {
        let cell = Cell::new(title);
        if style.colour { cell.add_attribute(Attribute::Bold) } else { cell }
    });
    table.set_header(cells);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

/// A cell whose numbers stand under each other.
pub(crate) fn number(text: impl ToString) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_marked_only_where_colours_are_wanted() {
        assert_eq!(Style { colour: false }.red("no"), "no");
        assert_eq!(Style { colour: true }.red("no"), "\x1b[31mno\x1b[0m");
    }

    #[test]
    fn any_value_of_no_color_but_the_empty_one_counts() {
        let check = |text: &str, want: bool| assert_eq!(not_empty(text), Ok(want), "{text:?}");
        check("1", true);
        check("0", true);
        check("", false);
    }
}
