//! The store in a folder of this machine: write aside, fsync, rename.

use std::{
    fs::{self, File},
    io::{ErrorKind, Read as _, Seek as _, SeekFrom, Write as _},
    ops::Range,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use bytes::Bytes;

use super::{Store, Version, check_key};
use crate::{Error, Kind, Result};

/// Names of files being written begin so; no key can (see `check_key`: `~` is not in a key).
const ASIDE: &str = "~";

/// Held while an object is replaced.
const LOCK: &str = "~lock";

#[derive(Clone)]
pub struct FileStore {
    folder: PathBuf,
}

impl FileStore {
    /// Makes the folder if it is not there.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self> {
        let folder = folder.into();
        fs::create_dir_all(&folder).map_err(|error| {
            Error::new(Kind::Config, format!("can't make the store's folder {}: {error}", folder.display()))
        })?;
        Ok(Self { folder })
    }

    fn path(&self, key: &str) -> Result<PathBuf> {
        check_key(key)?;
        Ok(self.folder.join(key))
    }

    /// Runs file work off the async threads. Dropped while it runs, the work still ends.
    async fn run<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce(Self) -> std::io::Result<T> + Send + 'static,
    ) -> Result<T> {
        let store = self.clone();
        tokio::task::spawn_blocking(move || work(store))
            .await
            .map_err(|error| Error::internal(error).context(doing))?
            .map_err(|error| match error.kind() {
                ErrorKind::NotFound => Error::new(Kind::ObjectNotFound, "no such object").context(doing),
                ErrorKind::AlreadyExists => {
                    Error::new(Kind::AlreadyExists, "the object exists").context(doing)
                }
                _ => Error::internal(error).context(doing),
            })
    }

    /// Writes the whole value aside, durably, and gives its path.
    fn write_aside(&self, value: &[u8]) -> std::io::Result<PathBuf> {
        let aside = self.folder.join(format!("{ASIDE}{}", crate::id::new()));
        let written = File::create_new(&aside).and_then(|mut file| {
            file.write_all(value)?;
            file.sync_all()
        });
        if let Err(error) = written {
            let _ = fs::remove_file(&aside);
            return Err(error);
        }
        Ok(aside)
    }
}

/// Makes the parent folder, and makes the entry in it survive a crash once `place` has run.
fn placed(path: &Path, place: impl Fn() -> std::io::Result<()>) -> std::io::Result<()> {
    /// A folder that was empty may be removed between the two steps, by whoever deleted the last object in it.
    const ROUNDS_MAX: usize = 10;
    let parent = path.parent().unwrap_or(Path::new("/"));
    let mut rounds = 0;
    loop {
        rounds += 1;
        // New folders have to survive as well, each by its own parent.
        let missing = parent.ancestors().take_while(|folder| !folder.exists()).count();
        fs::create_dir_all(parent)?;
        match place() {
            Ok(()) => {
                let holders = parent.ancestors().take(missing + 1);
                return holders.into_iter().try_for_each(|folder| File::open(folder)?.sync_all());
            }
            Err(error) if error.kind() == ErrorKind::NotFound && rounds < ROUNDS_MAX => {}
            Err(error) => return Err(error),
        }
    }
}

/// Removes the folders above what was deleted that hold nothing any more.
fn remove_empty(path: &Path, root: &Path) {
    let parents = path.ancestors().skip(1).take_while(|parent| parent.starts_with(root) && *parent != root);
    for parent in parents {
        // It fails for one that holds something, which is the point.
        if fs::remove_dir(parent).is_err() {
            return;
        }
    }
}

#[async_trait]
impl Store for FileStore {
    async fn put(&self, key: &str, value: Bytes) -> Result<()> {
        let path = self.path(key)?;
        self.run("write to the store", move |store| {
            let aside = store.write_aside(&value)?;
            placed(&path, || fs::rename(&aside, &path)).inspect_err(|_| {
                let _ = fs::remove_file(&aside);
            })
        })
        .await
    }

    async fn create(&self, key: &str, value: Bytes) -> Result<()> {
        let path = self.path(key)?;
        self.run("create in the store", move |store| {
            let aside = store.write_aside(&value)?;
            // A link fails when the name is taken, which a rename does not.
            let linked = placed(&path, || fs::hard_link(&aside, &path));
            let _ = fs::remove_file(&aside);
            linked
        })
        .await
    }

    async fn get(&self, key: &str) -> Result<Bytes> {
        let path = self.path(key)?;
        self.run("read from the store", move |_| fs::read(path).map(Bytes::from)).await
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        let path = self.path(key)?;
        let read = move |_| {
            let mut file = File::open(path)?;
            file.seek(SeekFrom::Start(range.start))?;
            let length = range.end.saturating_sub(range.start);
            let mut part = Vec::new();
            file.take(length).read_to_end(&mut part)?;
            if (part.len() as u64) < length {
                return Err(std::io::Error::new(ErrorKind::UnexpectedEof, "the object ends earlier"));
            }
            Ok(Bytes::from(part))
        };
        self.run("read from the store", read).await
    }

    async fn get_versioned(&self, key: &str) -> Result<(Bytes, Version)> {
        let path = self.path(key)?;
        let read = move |_| {
            let mut file = File::open(path)?;
            let mut value = Vec::new();
            file.read_to_end(&mut value)?;
            Ok((Bytes::from(value), version(&file)?))
        };
        self.run("read from the store", read).await
    }

    async fn replace(&self, key: &str, value: Bytes, before: &Version) -> Result<Version> {
        let path = self.path(key)?;
        let before = before.clone();
        let replace = move |store: Self| {
            // One at a time, of all processes on this machine: nothing else changes an object in place.
            let lock = File::create(store.folder.join(LOCK))?;
            lock.lock()?;
            match File::open(&path).and_then(|file| version(&file)) {
                Ok(now) if now == before => {}
                Ok(_) => return Ok(None),
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            }
            let aside = store.write_aside(&value)?;
            placed(&path, || fs::rename(&aside, &path)).inspect_err(|_| {
                let _ = fs::remove_file(&aside);
            })?;
            version(&File::open(&path)?).map(Some)
        };
        let replaced = self.run("replace in the store", replace).await?;
        replaced.ok_or_else(|| Error::new(Kind::VersionMismatch, "the object was changed in between"))
    }

    async fn delete(&self, key: &str) -> Result<()> {
        let path = self.path(key)?;
        let delete = move |store: Self| {
            fs::remove_file(&path)?;
            remove_empty(&path, &store.folder);
            Ok(())
        };
        let deleted = self.run("delete from the store", delete).await;
        deleted.or_else(|error| if error.kind() == Kind::ObjectNotFound { Ok(()) } else { Err(error) })
    }

    async fn list(&self, prefix: &str, after: &str, max: usize) -> Result<Vec<String>> {
        let (prefix, after) = (prefix.to_owned(), after.to_owned());
        self.run("list the store", move |store| {
            let mut keys = Vec::new();
            // Only the folder that the prefix lies in has to be walked.
            let folder = prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
            walk(&store.folder.join(folder), &store.folder, &mut |key| {
                if key.starts_with(&prefix) && *key > *after {
                    keys.push(key.to_owned());
                }
            })?;
            keys.sort_unstable();
            keys.truncate(max);
            Ok(keys)
        })
        .await
    }
}

/// Every writing makes a new file.
fn version(file: &File) -> std::io::Result<Version> {
    let file = file.metadata()?;
    Ok(Version(format!("{}-{}-{}", file.ino(), file.mtime(), file.mtime_nsec())))
}

fn walk(folder: &Path, root: &Path, found: &mut dyn FnMut(&str)) -> std::io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            walk(&path, root, found)?;
        } else if let Some(key) = path.strip_prefix(root).ok().and_then(Path::to_str)
            && !key.starts_with(ASIDE)
        {
            found(key);
        }
    }
    Ok(())
}
