//! Prints rows: line formats as they come, a table or one JSON document in the order given, and
//! at the end a line on standard error when something failed.

use std::{
    collections::BTreeMap,
    io::{self, IsTerminal as _, Write as _},
    time::Duration,
};

use comfy_table::{Cell, Color, Table};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use platform::options::exit;

use super::row::{Class, Row};
use crate::{
    failure::{Failure, Outcome, try_again},
    output::{Format, Output, Style, new_table, number},
};

const CSV_HEADER: [&str; 10] =
    ["file", "state", "rank", "class_id", "label", "score", "reason", "message", "total_ms", "model"];

pub(crate) struct Printer {
    format: Format,
    style: Style,
    output: Output,
    bar: ProgressBar,
    /// Kept for the formats that wait for the end.
    rows: Vec<Row>,
    counts: Counts,
    header_written: bool,
}

impl Printer {
    pub(crate) fn new(format: Format, style: Style, total: usize) -> Self {
        // Where lines and the bar would share a terminal, the lines are progress enough.
        let lines_on_terminal = matches!(format, Format::Jsonl | Format::Csv) && io::stdout().is_terminal();
        let target =
            if lines_on_terminal { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let total_shown = u64::try_from(total).unwrap_or(u64::MAX);
        let bar = ProgressBar::with_draw_target(Some(total_shown), target);
        if let Ok(look) = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} {eta}") {
            bar.set_style(look);
        }
        Self {
            format,
            style,
            output: Output::new(),
            bar,
            rows: Vec::new(),
            counts: Counts { total, ..Counts::default() },
            header_written: false,
        }
    }

    pub(crate) fn add(&mut self, row: Row) -> Result<(), Failure> {
        self.counts.add(&row);
        self.bar.inc(1);
        match self.format {
            Format::Table | Format::Json => self.rows.push(row),
            Format::Jsonl => self.output.json_line(&row)?,
            Format::Csv => {
                self.csv_header()?;
                for line in csv_lines(&row) {
                    self.output.csv_line(line)?;
                }
            }
        }
        Ok(())
    }

    /// Prints what is left and tells the exit code of it all.
    pub(crate) fn finish(&mut self) -> Outcome {
        self.bar.finish_and_clear();
        self.rows.sort_by_key(|row| row.index);
        match self.format {
            Format::Table => self.output.table(&table(&self.rows, self.style))?,
            Format::Json => self.output.json(&self.rows)?,
            Format::Csv => self.csv_header()?,
            Format::Jsonl => {}
        }
        if let Some(sentence) = self.counts.sentence() {
            writeln!(io::stderr(), "{sentence}")?;
        }
        Ok(self.counts.exit_code())
    }

    fn csv_header(&mut self) -> Result<(), Failure> {
        if std::mem::replace(&mut self.header_written, true) {
            return Ok(());
        }
        self.output.csv_line(CSV_HEADER)
    }
}

/// What the rows come to.
#[derive(Debug, Default)]
struct Counts {
    total: usize,
    failed: usize,
    reasons: BTreeMap<&'static str, usize>,
    retry_after: Option<Duration>,
    unavailable: bool,
    overloaded: bool,
}

impl Counts {
    fn add(&mut self, row: &Row) {
        let Some(trouble) = &row.error else { return };
        self.failed += 1;
        *self.reasons.entry(trouble.reason).or_default() += 1;
        self.retry_after = self.retry_after.max(trouble.retry_after);
        self.unavailable |= trouble.exit_code == exit::UNAVAILABLE;
        self.overloaded |= trouble.exit_code == exit::TRY_AGAIN;
    }

    /// A server that went away says more than an overload, and that more than a bad picture.
    fn exit_code(&self) -> u8 {
        match self {
            Self { unavailable: true, .. } => exit::UNAVAILABLE,
            Self { overloaded: true, .. } => exit::TRY_AGAIN,
            Self { failed: 0, .. } => 0,
            Self { .. } => exit::FAILED,
        }
    }

    fn sentence(&self) -> Option<String> {
        if self.failed == 0 {
            return None;
        }
        let reasons: Vec<String> =
            self.reasons.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
        let again = self.retry_after.map_or_else(String::new, |after| format!("; {}", try_again(after)));
        Some(format!("{} of {} failed: {}{again}", self.failed, self.total, reasons.join(", ")))
    }
}

/// With a column for errors only where there are some.
fn table(rows: &[Row], style: Style) -> Table {
    let some_failed = rows.iter().any(|row| row.error.is_some());
    let errors: &[&str] = if some_failed { &["ERROR"] } else { &[] };
    let mut table = new_table(style, &[&["FILE", "LABEL", "SCORE", "MS"], errors].concat());
    for row in rows {
        let total = row.total_ms.map_or_else(String::new, |millis| format!("{millis:.0}"));
        let mut first = [Cell::new(&row.file), Cell::new(""), number(""), number(total)];
        if let Some(trouble) = &row.error {
            let words = Cell::new(format!("{}: {}", trouble.reason, trouble.message));
            let words = if style.colour { words.fg(Color::Red) } else { words };
            table.add_row(first.into_iter().chain([words]));
            continue;
        }
        if let Some(class) = row.classifications.first() {
            [first[1], first[2]] = class_cells(class);
        } else {
            first[1] = Cell::new("(no class over --min-score)");
        }
        table.add_row(first);
        for class in row.classifications.iter().skip(1) {
            table.add_row([Cell::new("")].into_iter().chain(class_cells(class)));
        }
    }
    table
}

fn class_cells(class: &Class) -> [Cell; 2] {
    [Cell::new(&class.label), number(format!("{:.1} %", class.score * 100.0))]
}

/// A line for each class, or one line for a picture without.
fn csv_lines(row: &Row) -> Vec<[String; 10]> {
    let trouble = row.error.as_ref();
    let line = |rank: String, class_id: String, label: String, score: String| {
        [
            row.file.clone(),
            row.state.to_owned(),
            rank,
            class_id,
            label,
            score,
            trouble.map_or_else(String::new, |trouble| trouble.reason.to_owned()),
            trouble.map_or_else(String::new, |trouble| trouble.message.clone()),
            row.total_ms.map_or_else(String::new, |millis| millis.to_string()),
            row.execution.as_ref().map_or_else(String::new, |execution| execution.model.clone()),
        ]
    };
    if row.classifications.is_empty() {
        return vec![line(String::new(), String::new(), String::new(), String::new())];
    }
    let classes = row.classifications.iter().enumerate().map(|(i, class)| {
        line((i + 1).to_string(), class.class_id.to_string(), class.label.clone(), class.score.to_string())
    });
    classes.collect()
}

#[cfg(test)]
mod tests {
    use platform::{Error, Kind};

    use super::*;
    use crate::classify::row::Trouble;

    fn row(file: &str, outcome: Result<&[(&str, f32)], Kind>) -> Row {
        let trouble = |kind| Trouble::from(&Error::new(kind, "why").with_retry_after(Duration::from_secs(2)));
        let mut row = Row::failed(0, file.to_owned(), trouble(Kind::Internal));
        match outcome {
            Err(kind) => row.error = Some(trouble(kind)),
            Ok(classes) => {
                row.state = "SUCCEEDED";
                row.error = None;
                row.total_ms = Some(41.4);
                row.classifications = (1..)
                    .zip(classes)
                    .map(|(class_id, (label, score))| Class {
                        class_id,
                        label: (*label).to_owned(),
                        score: *score,
                    })
                    .collect();
            }
        }
        row
    }

    fn lines(table: &Table) -> Vec<String> {
        table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    }

    #[test]
    fn table_has_a_line_for_each_class_and_names_the_file_once() {
        let rows = [
            row("a.jpg", Ok(&[("tiger cat", 0.385), ("tabby", 0.2)])),
            row("b.jpg", Err(Kind::ImageEmpty)),
            row("c.jpg", Ok(&[])),
        ];
        let want = [
            "FILE LABEL SCORE MS ERROR",
            "a.jpg tiger cat 38.5 % 41",
            "tabby 20.0 %",
            "b.jpg IMAGE_EMPTY: why",
            "c.jpg (no class over --min-score) 41",
        ];
        assert_eq!(lines(&table(&rows, Style::default())), want);
        assert_eq!(lines(&table(&rows[..1], Style::default()))[0], "FILE LABEL SCORE MS");
    }

    #[test]
    fn csv_has_as_many_fields_as_its_header() {
        let of = |outcome| csv_lines(&row("a,b.jpg", outcome));
        assert_eq!(of(Ok(&[("cat", 0.5), ("dog", 0.25)])).len(), 2);
        assert_eq!(of(Ok(&[("cat", 0.5)]))[0][..6], ["a,b.jpg", "SUCCEEDED", "1", "1", "cat", "0.5"]);
        assert_eq!(of(Err(Kind::ImageEmpty))[0][6..8], ["IMAGE_EMPTY", "why"]);
    }

    #[test]
    fn exit_code_is_that_of_the_most_telling_failure() {
        let check = |kinds: &[Option<Kind>], want: u8| {
            let mut counts = Counts { total: kinds.len(), ..Counts::default() };
            for kind in kinds {
                counts.add(&row("a", kind.map_or(Ok(&[]), Err)));
            }
            assert_eq!(counts.exit_code(), want, "{kinds:?}");
            assert_eq!(counts.sentence().is_some(), kinds.iter().any(Option::is_some));
        };
        check(&[None, None], 0);
        check(&[None, Some(Kind::ImageEmpty)], 1);
        check(&[Some(Kind::ImageEmpty), Some(Kind::QueueFull)], 75);
        check(&[Some(Kind::QueueFull), Some(Kind::ServiceUnavailable)], 69);
    }

    #[test]
    fn last_line_counts_the_reasons_and_says_when_to_come_back() {
        let mut counts = Counts { total: 4, ..Counts::default() };
        for kind in [Kind::QueueFull, Kind::ImageEmpty, Kind::QueueFull] {
            counts.add(&row("a", Err(kind)));
        }
        assert_eq!(counts.sentence().unwrap(), "3 of 4 failed: IMAGE_EMPTY 1, QUEUE_FULL 2; try again in 2s");
    }
}
