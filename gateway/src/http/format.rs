//! How an answer is written for clients that want one line of text (specs/upload.md, "Answer").

use platform::{Error, Result};

use crate::place::stem;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// `Paul`
    Label,
    /// `test_00:Paul`
    Pair,
    /// `(test_00.jpg,Paul)`
    Tuple,
    /// `test_00,Paul`
    Csv,
    Json,
}

impl Format {
    /// What the query asks for, or the `Accept` header, or what goes with the form's field: clients
    /// that call it `inputFile` read a pair, all others the label alone.
    pub(super) fn choose(asked: Option<&str>, wants_json: bool, field: &str) -> Result<Self> {
        match asked {
            Some("label") => Ok(Self::Label),
            Some("pair") => Ok(Self::Pair),
            Some("tuple") => Ok(Self::Tuple),
            Some("csv") => Ok(Self::Csv),
            Some("json") => Ok(Self::Json),
            Some(other) => Err(Error::invalid(
                "format",
                format!("{other:?} is unknown; known: label, pair, tuple, csv, json"),
            )),
            None if wants_json => Ok(Self::Json),
            None if field == "inputFile" => Ok(Self::Pair),
            None => Ok(Self::Label),
        }
    }

    /// The line, without an end of line. `None` for JSON, which is not a line.
    pub(super) fn line(self, file_name: &str, label: &str) -> Option<String> {
        let label = one_line(label);
        Some(match self {
            Self::Label => label,
            Self::Pair => format!("{}:{}", stem(file_name).replace(':', "_"), label.replace(':', " ")),
            Self::Tuple => format!("({file_name},{label})"),
            Self::Csv => format!("{},{label}", stem(file_name)),
            Self::Json => return None,
        })
    }
}

fn one_line(label: &str) -> String {
    label.replace(['\r', '\n'], " ").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_what_the_old_clients_read() {
        let check = |format: Format, file_name: &str, label: &str, want: &str| {
            assert_eq!(format.line(file_name, label).as_deref(), Some(want));
        };
        check(Format::Label, "test_00.jpg", "Paul", "Paul");
        check(Format::Label, "test_00.jpg", " Paul\n", "Paul");
        check(Format::Pair, "test_00.jpg", "Paul", "test_00:Paul");
        check(Format::Pair, "a:b.tar.gz", "x:y", "a_b:x y");
        check(Format::Pair, ".DS_Store", "Paul", ".DS_Store:Paul");
        check(Format::Tuple, "test_00.jpg", "Paul", "(test_00.jpg,Paul)");
        check(Format::Csv, "test_00.jpg", "Paul", "test_00,Paul");
        assert_eq!(Format::Json.line("a", "b"), None);
    }

    #[test]
    fn format_follows_query_then_header_then_field() {
        let check = |asked: Option<&str>, json: bool, field: &str, want: Format| {
            assert_eq!(Format::choose(asked, json, field).unwrap(), want);
        };
        check(None, false, "myfile", Format::Label);
        check(None, false, "file", Format::Label);
        check(None, false, "inputFile", Format::Pair);
        check(None, true, "inputFile", Format::Json);
        check(Some("tuple"), true, "inputFile", Format::Tuple);
        assert!(Format::choose(Some("xml"), false, "").is_err());
    }
}
