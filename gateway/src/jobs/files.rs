//! Files that jobs may read: only below the folders the operator allows, whatever `..` and links say.

use std::{
    io::{ErrorKind, Read as _},
    path::{Component, PathBuf},
};

use bytes::Bytes;
use platform::{Error, Kind, Result};

#[derive(Clone, Default)]
pub struct Folders(Vec<Folder>);

#[derive(Clone)]
struct Folder {
    /// As the operator named it, which is how callers know it.
    named: PathBuf,
    /// Without links.
    real: PathBuf,
}

pub fn is_file(uri: &str) -> bool {
    uri.starts_with("file:")
}

impl Folders {
    pub fn open(folders: &[PathBuf]) -> Result<Self> {
        let open = |folder: &PathBuf| {
            let named = std::path::absolute(folder);
            let found = named.and_then(|named| Ok(Folder { real: folder.canonicalize()?, named }));
            found.map_err(|error| {
                Error::new(Kind::Config, format!("--job-folder {}: {error}", folder.display()))
            })
        };
        folders.iter().map(open).collect::<Result<Vec<_>>>().map(Self)
    }

    /// How many bytes it has. `field` is where in the request it stands.
    pub async fn size(&self, uri: &str, field: &str) -> Result<u64> {
        let (folders, asked) = (self.clone(), uri.to_owned());
        let size = move || folders.find(&asked).map(|(_, size)| size);
        run(size).await.map_err(|error| {
            let description = error.message().to_owned();
            error.with_violation(field, description)
        })
    }

    /// Its content: `ImageTooLarge` over the limit.
    pub async fn read(&self, uri: &str, bytes_max: usize) -> Result<Bytes> {
        let (folders, asked) = (self.clone(), uri.to_owned());
        let read = move || {
            let (path, _) = folders.find(&asked)?;
            let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
            let mut content = Vec::new();
            std::fs::File::open(path)
                .and_then(|file| file.take(limit).read_to_end(&mut content))
                .map_err(|error| unreadable(&asked, &error))?;
            if content.len() > bytes_max {
                return Err(crate::intake::too_large(bytes_max, content.len()));
            }
            Ok(Bytes::from(content))
        };
        run(read).await
    }

    /// Sizes of many, in one go; one that can't be read now has none.
    pub async fn sizes(&self, uris: Vec<String>) -> Result<Vec<Result<u64>>> {
        let folders = self.clone();
        run(move || Ok(uris.iter().map(|uri| folders.find(uri).map(|(_, size)| size)).collect())).await
    }

    /// The file without links in its path, looked up anew each time: what lies there may have changed.
    fn find(&self, uri: &str) -> Result<(PathBuf, u64)> {
        let not_allowed = || {
            Error::new(
                Kind::UriNotAllowed,
                format!("{uri} may not be read here; ask the operator to allow its folder (--job-folder)"),
            )
        };
        let path = url::Url::parse(uri).ok().filter(|url| url.scheme() == "file");
        let path = path.and_then(|url| url.to_file_path().ok());
        let path =
            path.ok_or_else(|| Error::invalid("uri", format!("{uri:?} has to be file:///FOLDER/FILE")))?;
        // First by the name alone, so that nobody learns what lies elsewhere.
        let is_below = |folder: &Folder| path.starts_with(&folder.named) || path.starts_with(&folder.real);
        let climbs = path.components().any(|part| part == Component::ParentDir);
        if climbs || !self.0.iter().any(is_below) {
            return Err(not_allowed());
        }
        let real = path.canonicalize().map_err(|error| unreadable(uri, &error))?;
        if !self.0.iter().any(|folder| real.starts_with(&folder.real)) {
            return Err(not_allowed());
        }
        let found = std::fs::metadata(&real).map_err(|error| unreadable(uri, &error))?;
        if !found.is_file() {
            return Err(Error::new(Kind::ObjectNotFound, format!("{uri} is no file")));
        }
        Ok((real, found.len()))
    }
}

fn unreadable(uri: &str, error: &std::io::Error) -> Error {
    let why = match error.kind() {
        ErrorKind::NotFound => "there is no such file",
        ErrorKind::PermissionDenied => "this service may not read it",
        _ => "it can't be read",
    };
    Error::new(Kind::ObjectNotFound, format!("{uri}: {why}"))
}

async fn run<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::internal(error).context("read a file"))?
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::symlink, path::Path};

    use super::*;

    fn uri(path: &Path) -> String {
        url::Url::from_file_path(path).unwrap().into()
    }

    #[tokio::test]
    async fn only_files_below_an_allowed_folder_are_read() {
        let root = tempfile::tempdir().unwrap();
        let (allowed, outside) = (root.path().join("allowed"), root.path().join("outside"));
        for folder in [&allowed, &outside] {
            std::fs::create_dir(folder).unwrap();
            std::fs::write(folder.join("a b.jpg"), "picture").unwrap();
        }
        std::fs::create_dir(root.path().join("allowed-not")).unwrap();
        std::fs::write(root.path().join("allowed-not/x"), "x").unwrap();
        symlink(&outside, allowed.join("link")).unwrap();
        symlink(allowed.join("a b.jpg"), allowed.join("inside.jpg")).unwrap();
        symlink(&allowed, root.path().join("alias")).unwrap();
        let folders = Folders::open(&[root.path().join("alias")]).unwrap();
        let check = async |path: PathBuf, want: Option<Kind>| {
            let uri = uri(&path);
            let read = folders.read(&uri, 100).await;
            assert_eq!(read.err().map(|error| error.kind()), want, "{uri}");
        };
        check(allowed.join("a b.jpg"), None).await;
        check(allowed.join("inside.jpg"), None).await;
        check(root.path().join("alias/a b.jpg"), None).await;
        check(allowed.join("none"), Some(Kind::ObjectNotFound)).await;
        check(allowed.clone(), Some(Kind::ObjectNotFound)).await;
        check(outside.join("a b.jpg"), Some(Kind::UriNotAllowed)).await;
        check(outside.join("none"), Some(Kind::UriNotAllowed)).await;
        check(allowed.join("link/a b.jpg"), Some(Kind::UriNotAllowed)).await;
        check(root.path().join("allowed-not/x"), Some(Kind::UriNotAllowed)).await;
        let raw = async |uri: &str| folders.read(uri, 100).await.unwrap_err().kind();
        let climbing = format!("file://{}/../outside/a%20b.jpg", allowed.display());
        assert_eq!(raw(&climbing).await, Kind::UriNotAllowed);
        let escaped = format!("file://{}/%2e%2e/outside/a%20b.jpg", allowed.display());
        assert_eq!(raw(&escaped).await, Kind::UriNotAllowed);
        assert_eq!(raw("file://elsewhere/etc/passwd").await, Kind::InvalidRequest);
        assert_eq!(raw("file:///etc/passwd").await, Kind::UriNotAllowed);
        let small = folders.read(&uri(&allowed.join("a b.jpg")), 3).await.unwrap_err();
        assert_eq!(small.kind(), Kind::ImageTooLarge);
        assert_eq!(
            Folders::default().read("file:///etc/passwd", 9).await.unwrap_err().kind(),
            Kind::UriNotAllowed
        );
    }
}
