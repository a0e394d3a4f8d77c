//! A model folder run by ONNX Runtime, on the one thread that calls it.

use std::{
    ops::Range,
    path::Path,
    time::{Duration, Instant},
};

use bytes::Bytes;
use ort::{
    session::{Session, builder::GraphOptimizationLevel},
    value::{Outlet, TensorElementType, TensorRef, ValueType},
};
use platform::{Error, Kind, Result, error::ResultExt as _};
use proto::v1::Classification;

use super::{
    Image, Model,
    folder::{ModelFolder, misfit},
    ranking::{self, Activation, Asked},
};
use crate::{
    decode::{Layout, Preparer, Target},
    engine,
};

pub struct OnnxModel {
    name: String,
    version: String,
    labels: Vec<String>,
    activation: Activation,
    output_name: String,
    target: Target,
    /// Whether the graph takes more than one image at a time.
    takes_batches: bool,
    session: Session,
    preparer: Preparer,
    /// The inputs of all slots, one after the other.
    inputs: Vec<f32>,
    asked: Vec<Asked>,
}

impl OnnxModel {
    /// Needs `engine::load` first. `slots` is the most images in one pass.
    pub fn load(folder: &ModelFolder, slots: usize) -> Result<Self> {
        let session = open_session(&folder.graph)
            .map_err(|error| misfit(folder.path(), &[format!("model.onnx can't be loaded: {error}")]))?;
        let misfits = misfits(folder, &session);
        if !misfits.is_empty() {
            return Err(misfit(folder.path(), &misfits));
        }
        let batch =
            session.inputs().first().and_then(|input| shape(input).map(|(_, shape)| shape.first().copied()));
        let takes_batches = batch.flatten().is_none_or(|batch| batch < 0);
        let slots = if takes_batches { slots } else { 1 };
        Ok(Self {
            name: folder.name.clone(),
            version: folder.version.clone(),
            labels: folder.labels.clone(),
            activation: folder.activation,
            output_name: folder.output_name.clone(),
            target: folder.target.clone(),
            takes_batches,
            session,
            preparer: Preparer::new(folder.target.clone()),
            inputs: vec![0.0; slots * folder.target.len()],
            asked: vec![Asked { top_k: 1, min_score: 0.0 }; slots],
        })
    }

    fn places(&self, slots: &Range<usize>) -> Range<usize> {
        slots.start * self.target.len()..slots.end * self.target.len()
    }
}

impl Model for OnnxModel {
    fn name(&self) -> &str {
        &self.name
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn batch_max(&self, wished: usize) -> usize {
        if self.takes_batches { wished.min(self.asked.len()).max(1) } else { 1 }
    }

    fn warm_up(&mut self) -> Result<()> {
        self.classify(0..1).map(drop).context("warm up the model")
    }

    fn prepare(&mut self, slot: usize, image: &Image) -> Result<()> {
        let places = self.places(&(slot..slot + 1));
        let (Some(into), Some(asked)) = (self.inputs.get_mut(places), self.asked.get_mut(slot)) else {
            return Err(Error::internal("no such slot"));
        };
        *asked = Asked { top_k: image.top_k, min_score: image.min_score };
        self.preparer.prepare(&image.content, into)
    }

    fn classify(&mut self, slots: Range<usize>) -> Result<Vec<Vec<Classification>>> {
        let failed =
            |error: ort::Error| Error::new(Kind::InferenceFailed, "the model failed").with_source(error);
        let missing = || Error::internal("no such slot");
        let (height, width) = (i64::from(self.target.height), i64::from(self.target.width));
        let count = i64::try_from(slots.len()).map_err(Error::internal)?;
        let shape = match self.target.layout {
            Layout::Nchw => [count, 3, height, width],
            Layout::Nhwc => [count, height, width, 3],
        };
        let input = self.inputs.get(self.places(&slots)).ok_or_else(missing)?;
        let asked = self.asked.get(slots).ok_or_else(missing)?;
        let input = TensorRef::from_array_view((shape, input)).map_err(failed)?;
        let outputs = self.session.run(ort::inputs![input]).map_err(failed)?;
        let output = outputs.get(self.output_name.as_str()).ok_or_else(|| Error::internal("no output"))?;
        let (_, numbers) = output.try_extract_tensor::<f32>().map_err(failed)?;
        if numbers.len() != self.labels.len() * asked.len() {
            let sentence = format!("{} numbers for {} images", numbers.len(), asked.len());
            return Err(Error::new(Kind::InferenceFailed, "the model failed").with_source(sentence));
        }
        let answers = numbers.chunks_exact(self.labels.len()).zip(asked);
        Ok(answers.map(|(one, asked)| ranking::best(one, self.activation, &self.labels, *asked)).collect())
    }
}

/// One thread, which is the caller's: two on one image double the CPU time for it, and idle ones
/// that spin take the time of other workers.
fn open_session(graph: &[u8]) -> Result<Session, String> {
    let environment = engine::environment().ok_or("the engine is not loaded")?;
    let text = |error: &dyn std::fmt::Display| error.to_string();
    Session::builder(&environment)
        .map_err(|error| text(&error))?
        .with_intra_threads(1)
        .map_err(|error| text(&error))?
        .with_inter_threads(1)
        .map_err(|error| text(&error))?
        .with_intra_op_spinning(false)
        .map_err(|error| text(&error))?
        .with_inter_op_spinning(false)
        .map_err(|error| text(&error))?
        .with_optimization_level(GraphOptimizationLevel::All)
        .map_err(|error| text(&error))?
        .commit_from_memory(graph)
        .map_err(|error| text(&error))
}

/// What of the graph is not as model.toml and labels.txt say.
fn misfits(folder: &ModelFolder, session: &Session) -> Vec<String> {
    let mut misfits = Vec::new();
    let (height, width) = (i64::from(folder.target.height), i64::from(folder.target.width));
    let wanted = match folder.target.layout {
        Layout::Nchw => [-1, 3, height, width],
        Layout::Nhwc => [-1, height, width, 3],
    };
    if session.inputs().len() != 1 {
        misfits.push(format!("model.onnx takes {} inputs, one is known", session.inputs().len()));
    }
    compare("input", &folder.input_name, session.inputs(), &wanted, &mut misfits);
    let classes = i64::try_from(folder.labels.len()).unwrap_or(i64::MAX);
    compare("output", &folder.output_name, session.outputs(), &[-1, classes], &mut misfits);
    misfits
}

/// `wanted` has -1 for the number of images; the graph may have -1 for whatever it leaves open.
fn compare(what: &str, name: &str, found: &[Outlet], wanted: &[i64], misfits: &mut Vec<String>) {
    let Some(outlet) = found.iter().find(|outlet| outlet.name() == name) else {
        let names = found.iter().map(Outlet::name).collect::<Vec<_>>().join(", ");
        return misfits.push(format!("model.onnx has no {what} {name:?} (it has: {names})"));
    };
    let Some((element, shape)) = shape(outlet) else {
        return misfits.push(format!("{what} {name:?} is not a tensor"));
    };
    if element != TensorElementType::Float32 {
        misfits.push(format!("{what} {name:?} is of {element}, float32 is needed"));
    }
    let fits = shape.len() == wanted.len()
        && shape
            .iter()
            .zip(wanted)
            .enumerate()
            .all(|(i, (found, wanted))| *found < 0 || found == wanted || (i == 0 && *found == 1));
    if !fits {
        let hint =
            if what == "output" { " (the second number is that of the lines of labels.txt)" } else { "" };
        misfits.push(format!("{what} {name:?} has the shape {shape:?}, {wanted:?} is needed{hint}"));
    }
}

fn shape(outlet: &Outlet) -> Option<(TensorElementType, &[i64])> {
    match outlet.dtype() {
        ValueType::Tensor { ty, shape, .. } => Some((*ty, shape)),
        ValueType::Sequence(_) | ValueType::Map { .. } | ValueType::Optional(_) => None,
    }
}

/// What `check_model` found.
#[derive(Debug)]
pub struct ModelReport {
    pub name: String,
    pub version: String,
    pub classes: usize,
    /// From the bytes to the classes, on one thread; the median of several.
    pub image_time: Duration,
    pub best: Vec<Classification>,
}

/// Loads a model folder, classifies a picture with it and says how long that takes. Needs
/// `engine::load` first. Blocks.
pub fn check_model(path: &Path, picture: &Bytes) -> Result<ModelReport> {
    const ROUNDS: usize = 11;
    const TOP: usize = 5;
    let folder = ModelFolder::open(path)?;
    let mut model = OnnxModel::load(&folder, 1)?;
    model.warm_up()?;
    let image = Image { content: picture.clone(), custom_id: String::new(), top_k: TOP, min_score: 0.0 };
    let mut times = Vec::with_capacity(ROUNDS);
    let mut best = Vec::new();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        model.prepare(0, &image)?;
        best = model.classify(0..1)?.pop().unwrap_or_default();
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    let image_time = times.get(ROUNDS / 2).copied().unwrap_or_default();
    Ok(ModelReport {
        name: folder.name,
        version: folder.version,
        classes: folder.labels.len(),
        image_time,
        best,
    })
}
