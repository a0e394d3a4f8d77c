//! A model folder: model.onnx, labels.txt (a line a class) and model.toml, which says how they fit
//! together. Users bring their own.

use std::{
    fs,
    path::{Path, PathBuf},
};

use platform::{Error, Kind, Result};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::ranking::Activation;
use crate::decode::{ChannelOrder, Layout, ResizeFilter, Target};

/// Far more than any list of classes; a file over it is no such list.
const TEXT_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// What ONNX allows in one file (protobuf's limit).
const MODEL_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;

/// Read and checked, without the engine.
#[derive(Debug)]
pub struct ModelFolder {
    path: PathBuf,
    pub name: String,
    pub version: String,
    pub labels: Vec<String>,
    pub(super) target: Target,
    pub(super) input_name: String,
    pub(super) output_name: String,
    pub(super) activation: Activation,
    pub(super) graph: Vec<u8>,
}

impl ModelFolder {
    /// Every file is read and every misfit named, in one error.
    pub fn open(path: &Path) -> Result<Self> {
        let mut misfits = Vec::new();
        let settings = note(read_settings(path), &mut misfits);
        let labels = note(read_labels(path), &mut misfits);
        let graph = note(read(path, "model.onnx", MODEL_BYTES_MAX), &mut misfits);
        let target = settings.as_ref().map(|settings| settings.input.target());
        misfits
            .extend(target.iter().flat_map(Target::problems).map(|problem| format!("model.toml: {problem}")));
        if let (Some(Settings { sha256: Some(pinned), .. }), Some(graph)) = (&settings, &graph) {
            let found = hex(&Sha256::digest(graph));
            if !pinned.eq_ignore_ascii_case(&found) {
                misfits.push(format!("model.onnx has sha256 {found}, model.toml says {pinned}"));
            }
        }
        match (settings, labels, graph, target) {
            (Some(settings), Some(labels), Some(graph), Some(target)) if misfits.is_empty() => Ok(Self {
                path: path.to_owned(),
                name: settings.name,
                version: settings.version,
                labels,
                target,
                input_name: settings.input.name,
                output_name: settings.output.name,
                activation: settings.output.activation,
                graph,
            }),
            _ => Err(misfit(path, &misfits)),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The one error for a folder that can't be used.
pub(super) fn misfit(path: &Path, misfits: &[String]) -> Error {
    Error::new(Kind::Config, format!("model folder {}: {}", path.display(), misfits.join("; ")))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    name: String,
    version: String,
    sha256: Option<String>,
    input: Input,
    output: Output,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    name: String,
    width: u32,
    height: u32,
    layout: Layout,
    channels: ChannelOrder,
    mean: [f32; 3],
    std: [f32; 3],
    crop: f32,
    resize: ResizeFilter,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Output {
    name: String,
    activation: Activation,
}

impl Input {
    fn target(&self) -> Target {
        Target {
            width: self.width,
            height: self.height,
            layout: self.layout,
            channels: self.channels,
            mean: self.mean,
            std: self.std,
            crop: self.crop,
            resize: self.resize,
        }
    }
}

fn note<T>(read: Result<T, String>, misfits: &mut Vec<String>) -> Option<T> {
    read.map_err(|misfit| misfits.push(misfit)).ok()
}

fn read(folder: &Path, file: &str, bytes_max: u64) -> Result<Vec<u8>, String> {
    let path = folder.join(file);
    let size = fs::metadata(&path).map_err(|error| format!("{file}: {error}"))?.len();
    if size > bytes_max {
        return Err(format!("{file} has {size} bytes, at most {bytes_max} are read"));
    }
    fs::read(&path).map_err(|error| format!("{file}: {error}"))
}

fn read_text(folder: &Path, file: &str) -> Result<String, String> {
    String::from_utf8(read(folder, file, TEXT_BYTES_MAX)?).map_err(|_| format!("{file} is not UTF-8 text"))
}

fn read_settings(folder: &Path) -> Result<Settings, String> {
    let settings: Settings = toml::from_str(&read_text(folder, "model.toml")?)
        .map_err(|error| format!("model.toml: {}", error.to_string().trim_end()))?;
    // They are shown as name@version, and are parts of file names.
    let is_plain = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    if !is_plain(&settings.name) || !is_plain(&settings.version) {
        return Err("model.toml: name and version must be of letters, digits, '.', '_' and '-'".to_owned());
    }
    Ok(settings)
}

fn read_labels(folder: &Path) -> Result<Vec<String>, String> {
    let labels =
        read_text(folder, "labels.txt")?.lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>();
    match labels.iter().position(String::is_empty) {
        Some(line) => Err(format!("labels.txt: line {} is empty", line + 1)),
        None if labels.is_empty() => Err("labels.txt is empty".to_owned()),
        None => Ok(labels),
    }
}
