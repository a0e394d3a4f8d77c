//! ONNX Runtime: where its library is, getting it, loading it.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use platform::{Error, Kind, Result};

mod install;
mod pinned;

pub use install::{Progress, install};

/// ONNX Runtime allows one environment a process, and it must live as long as any session.
static ENVIRONMENT: Mutex<Option<ort::environment::Environment>> = Mutex::new(None);

/// The library to use: the one named, else the one in the data folder. A missing one is a sentence with
/// what mends it.
pub fn find(named: Option<&Path>, data: Option<&Path>) -> Result<PathBuf> {
    if let Some(named) = named {
        if named.is_file() {
            return Ok(named.to_owned());
        }
        let sentence = format!("--onnxruntime {}: there is no such file", named.display());
        return Err(Error::new(Kind::Config, sentence));
    }
    let path = installed_path(&data_folder(data)?)?;
    if path.is_file() {
        return Ok(path);
    }
    let sentence = format!(
        "ONNX Runtime is not at {}; start once with --install-onnxruntime to get it with pip, or name one with --onnxruntime",
        path.display()
    );
    Err(Error::new(Kind::Config, sentence))
}

/// Where `install` puts the library.
pub fn installed_path(data: &Path) -> Result<PathBuf> {
    Ok(data.join("lib").join(format!("libonnxruntime-{}.so", pinned::pinned()?.version)))
}

/// The data folder: the one named, else `$XDG_DATA_HOME/dunlin`, else `~/.local/share/dunlin`.
pub fn data_folder(named: Option<&Path>) -> Result<PathBuf> {
    // Not an option of ours, but where the desktop's rules say such files go.
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    named
        .map(Path::to_owned)
        .or_else(|| {
            variable("XDG_DATA_HOME").filter(|path| path.is_absolute()).map(|path| path.join("dunlin"))
        })
        .or_else(|| variable("HOME").map(|home| home.join(".local/share/dunlin")))
        .ok_or_else(|| Error::new(Kind::Config, "no place for data: name one with --data FOLDER"))
}

/// Loads the library into this process. The first one wins: a later call with another is not an error and
/// does nothing. Blocks.
pub fn load(library: &Path) -> Result<()> {
    let unusable = |reason: &dyn std::fmt::Display| {
        let sentence = format!("ONNX Runtime can't be used: {reason}; name another with --onnxruntime");
        Error::new(Kind::Config, sentence)
    };
    let mut environment = ENVIRONMENT.lock().unwrap_or_else(PoisonError::into_inner);
    if environment.is_none() {
        let library = std::path::absolute(library).map_err(|error| unusable(&error))?;
        let builder = ort::init_from(&library).map_err(|error| unusable(&error))?;
        let built = builder.with_name("dunlin").with_telemetry(false).build();
        *environment = Some(built.map_err(|error| unusable(&error))?);
    }
    Ok(())
}

/// What sessions are opened in; `None` before `load`.
pub(crate) fn environment() -> Option<ort::environment::Environment> {
    ENVIRONMENT.lock().unwrap_or_else(PoisonError::into_inner).clone()
}
