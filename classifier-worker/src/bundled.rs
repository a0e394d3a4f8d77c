//! The model that comes with Dunlin, inside the binary, so that a binary alone is enough.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use platform::{Error, Result};
use sha2::{Digest as _, Sha256};

use crate::model::hex;

struct File {
    name: &'static str,
    content: &'static [u8],
}

macro_rules! file {
    ($name:literal) => {
        File { name: $name, content: include_bytes!(concat!("../models/efficientnet-lite0/", $name)) }
    };
}

const FILES: [File; 5] =
    [file!("model.onnx"), file!("labels.txt"), file!("model.toml"), file!("LICENSE"), file!("NOTICE")];

const NAME: &str = "efficientnet-lite0-1";

/// As callers name it: `NAME@VERSION` of its model.toml.
pub const NAME_AND_VERSION: &str = "efficientnet-lite0@1";

/// Writes the folder below `data`, unless it is there, and says where. Any number of processes may do
/// so at once. Blocks.
pub fn unpack(data: &Path) -> Result<PathBuf> {
    let mut all = Sha256::new();
    // model.toml has the hash of model.onnx, which is large: a worker starts often.
    for file in FILES.iter().filter(|file| file.name != "model.onnx") {
        all.update(Sha256::digest(file.content));
    }
    let digest = hex(&all.finalize());
    let models = data.join("models");
    let folder = models.join(format!("{NAME}-{}", digest.get(..8).unwrap_or_default()));
    if is_whole(&folder) {
        return Ok(folder);
    }
    let failed = |error: std::io::Error| {
        Error::internal(format!("{}: {error}", folder.display())).context("unpack the model")
    };
    fs::create_dir_all(&models).map_err(failed)?;
    let temporary = tempfile::Builder::new().prefix(".unpack-").tempdir_in(&models).map_err(failed)?;
    for file in &FILES {
        let mut out = fs::File::create(temporary.path().join(file.name)).map_err(failed)?;
        out.write_all(file.content).and_then(|()| out.sync_all()).map_err(failed)?;
    }
    // One that is there and damaged has to make room first; another process may win all the same.
    if fs::rename(temporary.path(), &folder).is_err() && !is_whole(&folder) {
        let _ = fs::remove_dir_all(&folder);
        fs::rename(temporary.path(), &folder).map_err(failed)?;
    }
    Ok(folder)
}

/// Whether every file is there as it should be.
fn is_whole(folder: &Path) -> bool {
    FILES.iter().all(|file| fs::read(folder.join(file.name)).is_ok_and(|found| found == file.content))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folder_is_written_once_and_mended_when_damaged() {
        let data = tempfile::tempdir().unwrap();
        let folder = unpack(data.path()).unwrap();
        let model = folder.join("model.onnx");
        let written = fs::metadata(&model).unwrap().modified().unwrap();
        assert_eq!(unpack(data.path()).unwrap(), folder);
        assert_eq!(fs::metadata(&model).unwrap().modified().unwrap(), written);
        fs::write(&model, b"half a model").unwrap();
        assert_eq!(unpack(data.path()).unwrap(), folder);
        assert!(is_whole(&folder));
        let left = fs::read_dir(data.path().join("models")).unwrap().count();
        assert_eq!(left, 1, "no temporary folder is left");
    }

    #[test]
    fn many_at_once_end_with_one_whole_folder() {
        let data = tempfile::tempdir().unwrap();
        let folders = std::thread::scope(|scope| {
            let all = (0..4).map(|_| scope.spawn(|| unpack(data.path()).unwrap())).collect::<Vec<_>>();
            all.into_iter().map(|one| one.join().unwrap()).collect::<Vec<_>>()
        });
        assert!(folders.windows(2).all(|pair| pair[0] == pair[1]));
        assert!(is_whole(&folders[0]));
    }
}
