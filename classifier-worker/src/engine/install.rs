//! Gets ONNX Runtime: pip downloads the pinned wheel, the one library is unpacked from it, and every
//! byte is checked.

use std::{
    fs, io,
    io::Read as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use platform::{Error, Kind, Result};
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;
use tokio::process::Command;

use super::{installed_path, pinned::Wheel, pinned::pinned};
use crate::model::hex;

/// A download of 17 MB over a slow line, and pip's own retries.
const PIP_WAIT: Duration = Duration::from_secs(15 * 60);

/// What `install` is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// pip runs.
    Downloading {
        version: String,
        bytes: u64,
    },
    Unpacking,
    /// Nothing was to be done, or all is done.
    Ready(PathBuf),
}

/// Makes sure that the pinned library is below `data`, and says where. Any number of processes may do so at
/// once. When dropped, pip is ended and nothing is left but a temporary folder's remains.
pub async fn install(data: &Path, progress: impl Fn(Progress) + Send + Sync) -> Result<PathBuf> {
    let path = installed_path(data)?;
    let pinned = pinned()?;
    let (wheel, target) = (pinned.wheel.clone(), path.clone());
    if blocking(move || Ok(is_pinned(&target, &wheel))).await? {
        progress(Progress::Ready(path.clone()));
        return Ok(path);
    }
    progress(Progress::Downloading { version: pinned.version.clone(), bytes: pinned.wheel.wheel_bytes });
    let lib = data.join("lib");
    let temporary = {
        let lib = lib.clone();
        blocking(move || {
            fs::create_dir_all(&lib)
                .and_then(|()| tempfile::Builder::new().prefix(".install-").tempdir_in(&lib))
                .map_err(|error| failed(format_args!("can't write to {}: {error}", lib.display())))
        })
        .await?
    };
    download(&pinned.wheel, temporary.path()).await?;
    progress(Progress::Unpacking);
    let target = path.clone();
    blocking(move || unpack(&pinned.wheel, temporary.path(), &target)).await?;
    progress(Progress::Ready(path.clone()));
    Ok(path)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(Error::internal)?
}

async fn download(wheel: &Wheel, folder: &Path) -> Result<()> {
    let run = Command::new("python3")
        .arg("-m")
        .arg("pip")
        .args(&wheel.pip)
        .arg("--dest")
        .arg(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .output();
    let output = match tokio::time::timeout(PIP_WAIT, run).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => {
            return Err(failed(
                "there is no python3; on Debian: apt-get install python3 python3-pip".to_owned(),
            ));
        }
        Ok(Err(error)) => return Err(failed(format_args!("python3 can't be started: {error}"))),
        Err(_) => {
            return Err(failed(format_args!("pip took longer than {} minutes", PIP_WAIT.as_secs() / 60)));
        }
    };
    if output.status.success() { Ok(()) } else { Err(pip_failed(&output)) }
}

fn pip_failed(output: &Output) -> Error {
    let complaints = String::from_utf8_lossy(&output.stderr);
    if complaints.contains("No module named pip") {
        return failed("python3 has no pip; on Debian: apt-get install python3-pip");
    }
    // Its warnings come after the error now and then.
    let lines = || complaints.lines().rev().map(str::trim).filter(|line| !line.is_empty());
    let line = lines().find(|line| line.starts_with("ERROR")).or_else(|| lines().next());
    failed(format_args!("pip said: {}", line.unwrap_or("nothing")))
}

fn failed(reason: impl std::fmt::Display) -> Error {
    Error::new(Kind::ServiceUnavailable, format!("can't get ONNX Runtime: {reason}"))
}

/// Checks the wheel and moves the library out of it into place, in one step.
fn unpack(wheel: &Wheel, folder: &Path, target: &Path) -> Result<()> {
    let archive = folder.join(&wheel.wheel);
    let content = fs::read(&archive)
        .map_err(|error| failed(format_args!("pip did not bring {}: {error}", wheel.wheel)))?;
    let found = hex(&Sha256::digest(&content));
    if found != wheel.wheel_sha256 {
        return Err(failed(format_args!("{} has sha256 {found}, not {}", wheel.wheel, wheel.wheel_sha256)));
    }
    let unreadable = |error: &dyn std::fmt::Display| failed(format_args!("{}: {error}", wheel.wheel));
    let mut archive = zip::ZipArchive::new(io::Cursor::new(content)).map_err(|error| unreadable(&error))?;
    let member = archive.by_name(&wheel.member).map_err(|error| unreadable(&error))?;
    let mut library = NamedTempFile::new_in(folder).map_err(|error| unreadable(&error))?;
    // No more than it should have, however much it says it has.
    io::copy(&mut member.take(wheel.member_bytes + 1), &mut library).map_err(|error| unreadable(&error))?;
    if !is_pinned(library.path(), wheel) {
        return Err(failed(format_args!("{} in {} is not the pinned one", wheel.member, wheel.wheel)));
    }
    // Readable like any other library, not for its owner alone like a temporary file.
    let written = library
        .as_file()
        .set_permissions(fs::Permissions::from_mode(0o644))
        .and_then(|()| library.as_file().sync_all())
        .and_then(|()| fs::rename(library.path(), target));
    // The name it had is gone, so there is nothing to remove.
    let _ = library.keep();
    written.map_err(|error| failed(format_args!("can't write {}: {error}", target.display())))
}

/// Whether the file is the pinned library.
fn is_pinned(path: &Path, wheel: &Wheel) -> bool {
    fs::metadata(path).is_ok_and(|found| found.len() == wheel.member_bytes)
        && fs::read(path).is_ok_and(|found| hex(&Sha256::digest(found)) == wheel.member_sha256)
}
