//! What classifies images: one trait, one file per kind. A URL picks the kind.
//!
//! A model is used by one thread. It gets images one by one into its slots, then classifies what
//! is in them in one pass, so that its buffers are its own and stay.

use std::{ops::Range, path::PathBuf, str::FromStr, time::Duration};

use bytes::Bytes;
use platform::{Error, Kind, Result};
use proto::v1::Classification;

use crate::{Options, bundled, engine};

mod command;
mod folder;
mod onnx;
mod ranking;
mod stub;

pub use folder::ModelFolder;
pub(crate) use folder::hex;
pub use onnx::{ModelReport, OnnxModel, check_model};

/// One image and what is asked about it.
#[derive(Debug, Clone)]
pub struct Image {
    /// As the caller sent it.
    pub content: Bytes,
    /// The caller's name for it. Data: never a path, never an argument.
    pub custom_id: String,
    /// Classes to return, best first.
    pub top_k: usize,
    /// Classes below it are left out.
    pub min_score: f32,
}

/// Classifies images on one thread.
pub trait Model: Send {
    fn name(&self) -> &str;

    fn version(&self) -> &str;

    /// The most images one pass may have, given the most that are wished for: at least 1.
    fn batch_max(&self, wished: usize) -> usize;

    /// One pass with nothing in it, so that the first caller does not pay for what is done once.
    fn warm_up(&mut self) -> Result<()>;

    /// Puts an image into a slot (below `batch_max`), replacing what was there: decodes it, if the
    /// model works on pixels. An error is the image's own and leaves the slot unusable.
    fn prepare(&mut self, slot: usize, image: &Image) -> Result<()>;

    /// Classifies what is in these slots, in their order. An error is the pass's as a whole: the
    /// caller may try the slots again one by one, which are still as they were.
    fn classify(&mut self, slots: Range<usize>) -> Result<Vec<Vec<Classification>>>;
}

/// Which model, as `--model` says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelUrl {
    /// The one that comes with Dunlin.
    Bundled,
    /// A model folder.
    Onnx(PathBuf),
    /// A program and its arguments.
    Command(Vec<String>),
    /// A fixed delay.
    Stub(Duration),
}

impl ModelUrl {
    /// Whether ONNX Runtime has to be there.
    pub fn needs_engine(&self) -> bool {
        matches!(self, Self::Bundled | Self::Onnx(_))
    }
}

impl FromStr for ModelUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const KNOWN: &str = "known: bundled, onnx:FOLDER, command:PROGRAM ARGUMENTS..., stub:DURATION";
        if text == "bundled" {
            return Ok(Self::Bundled);
        }
        let (kind, rest) = text.split_once(':').ok_or_else(|| format!("not a model; {KNOWN}"))?;
        match kind {
            "onnx" if rest.is_empty() => Err("onnx: needs a folder, as in onnx:/models/mine".to_owned()),
            "onnx" => Ok(Self::Onnx(PathBuf::from(rest))),
            "command" => {
                let words = rest.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
                if words.is_empty() {
                    return Err("command: needs a program, as in command:python3 classify.py".to_owned());
                }
                Ok(Self::Command(words))
            }
            "stub" => stub_delay(rest).map(Self::Stub),
            other => Err(format!("unknown kind of model {other:?}; {KNOWN}")),
        }
    }
}

/// `0`, `10` (milliseconds) or a duration with its unit.
fn stub_delay(text: &str) -> Result<Duration, String> {
    match text.parse::<u64>() {
        Ok(millis) => Ok(Duration::from_millis(millis)),
        Err(_) => platform::options::parse_duration(text),
    }
}

/// Loads one model for each thread, warmed up. Blocks: for a thread that may.
pub(crate) fn open(options: &Options) -> Result<Vec<Box<dyn Model>>> {
    let folder = match &options.model {
        ModelUrl::Bundled => Some(bundled::unpack(&engine::data_folder(options.data.as_deref())?)?),
        ModelUrl::Onnx(folder) => Some(folder.clone()),
        ModelUrl::Command(_) | ModelUrl::Stub(_) => None,
    };
    let folder = match folder {
        None => None,
        Some(path) => {
            engine::load(&engine::find(options.onnxruntime.as_deref(), options.data.as_deref())?)?;
            Some(ModelFolder::open(&path)?)
        }
    };
    (0..options.threads.get())
        .map(|_| {
            let mut model: Box<dyn Model> = match (&options.model, &folder) {
                (ModelUrl::Stub(delay), _) => Box::new(stub::StubModel::new(*delay)),
                (ModelUrl::Command(words), _) => {
                    Box::new(command::CommandModel::new(words, options.command_timeout)?)
                }
                (_, Some(folder)) => Box::new(OnnxModel::load(folder, options.max_batch_size.get())?),
                (_, None) => return Err(Error::new(Kind::Internal, "").with_source("no model folder")),
            };
            model.warm_up()?;
            Ok(model)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn url_picks_the_kind() {
        let check =
            |text: &str, want: ModelUrl| assert_eq!(text.parse::<ModelUrl>().unwrap(), want, "{text}");
        check("bundled", ModelUrl::Bundled);
        check("onnx:/models/mine", ModelUrl::Onnx(PathBuf::from("/models/mine")));
        check("command:python3 a.py", ModelUrl::Command(vec!["python3".to_owned(), "a.py".to_owned()]));
        check("stub:0", ModelUrl::Stub(Duration::ZERO));
        check("stub:10", ModelUrl::Stub(Duration::from_millis(10)));
        check("stub:1s", ModelUrl::Stub(Duration::from_secs(1)));
    }

    #[test]
    fn unknown_kind_is_told_the_known_ones() {
        for text in ["tensorflow:x", "nothing", "", "onnx:", "command: ", "stub:soon", "stub:"] {
            let problem = text.parse::<ModelUrl>().unwrap_err();
            assert!(!problem.is_empty(), "{text}");
        }
        assert!("torch:x".parse::<ModelUrl>().unwrap_err().contains("known: bundled, onnx:FOLDER"));
    }
}
