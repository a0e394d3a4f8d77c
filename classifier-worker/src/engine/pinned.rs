//! Which ONNX Runtime: onnxruntime.toml, read.

use platform::{Error, Kind, Result};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
struct File {
    version: String,
    x86_64: Wheel,
    aarch64: Wheel,
}

/// One wheel of it, and the one file we want of it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Wheel {
    /// Arguments of `python3 -m pip`.
    pub(super) pip: Vec<String>,
    pub(super) wheel: String,
    pub(super) wheel_bytes: u64,
    pub(super) wheel_sha256: String,
    pub(super) member: String,
    pub(super) member_bytes: u64,
    pub(super) member_sha256: String,
}

pub(super) struct Pinned {
    pub(super) version: String,
    pub(super) wheel: Wheel,
}

/// The one for this machine.
pub(super) fn pinned() -> Result<Pinned> {
    let file: File = toml::from_str(include_str!("../../onnxruntime.toml"))
        .map_err(|error| Error::internal(error).context("read onnxruntime.toml"))?;
    let wheel = match std::env::consts::ARCH {
        "x86_64" => file.x86_64,
        "aarch64" => file.aarch64,
        other => {
            let sentence =
                format!("there is no pinned ONNX Runtime for {other}; name one with --onnxruntime");
            return Err(Error::new(Kind::Config, sentence));
        }
    };
    Ok(Pinned { version: file.version, wheel })
}
