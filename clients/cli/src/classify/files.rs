//! Reads the pictures and packs them into requests that fit a message.

use std::{
    collections::{HashSet, VecDeque},
    io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use platform::options::exit;
use proto::v1::{Image, image};
use tokio::{io::AsyncReadExt as _, sync::mpsc};

use super::row::{Row, Trouble};
use crate::failure::Failure;

/// What the pictures of one request may take together. The gateway decodes messages up to 32 MiB
/// (`platform::serve::MESSAGE_BYTES_MAX`); a quarter is left for names and for a gateway that allows less.
const REQUEST_BYTES_MAX: usize = 24 * 1024 * 1024;

/// A file over this is not even read: no message can carry it, and no gateway's limit is as high.
const FILE_BYTES_MAX: usize = platform::serve::IMAGE_BYTES_LIMIT;

/// Pictures in one request: few enough that several requests share the workers.
const REQUEST_IMAGES_MAX: usize = 32;

/// A picture to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    /// Its place among the arguments.
    index: usize,
    path: PathBuf,
    /// Unique among the arguments, as a request wants it.
    custom_id: String,
}

impl Source {
    pub(crate) fn is_stdin(path: &Path) -> bool {
        path.as_os_str() == "-"
    }

    pub(crate) fn is_there(&self) -> bool {
        Self::is_stdin(&self.path) || self.path.is_file()
    }

    fn name(&self) -> String {
        self.path.to_string_lossy().into_owned()
    }
}

/// The arguments as sources. One given twice keeps its name with a number after it.
pub(crate) fn sources(paths: &[PathBuf]) -> Vec<Source> {
    let mut taken: HashSet<String> = paths.iter().map(|path| path.to_string_lossy().into_owned()).collect();
    let mut seen = HashSet::new();
    let sources = paths.iter().enumerate().map(|(index, path)| {
        let name = path.to_string_lossy().into_owned();
        let custom_id = if seen.insert(name.clone()) {
            name
        } else {
            let numbered = (2_u64..).map(|number| format!("{name}#{number}"));
            numbered.into_iter().find(|id| taken.insert(id.clone())).unwrap_or_default()
        };
        Source { index, path: path.clone(), custom_id }
    });
    sources.collect()
}

/// All of them, for one request. The first that can't be read ends it.
pub(crate) async fn read_all(paths: &[PathBuf]) -> Result<Vec<Image>, Failure> {
    let (mut images, mut bytes) = (Vec::with_capacity(paths.len()), 0);
    for source in sources(paths) {
        let refuse = |why: &str| {
            Failure::new(exit::FAILED, format!("{}: {why}; nothing was submitted", source.name()))
        };
        let content = read(&source.path).await.map_err(|trouble| refuse(&trouble.message))?;
        bytes += content.len();
        if bytes > FILE_BYTES_MAX {
            let limit = FILE_BYTES_MAX / (1024 * 1024);
            return Err(refuse(&format!(
                "with it the pictures have over {limit} MiB; use a list (--manifest)"
            )));
        }
        images.push(Image { source: Some(image::Source::Content(content)), custom_id: source.custom_id });
    }
    Ok(images)
}

/// A picture in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Picture {
    pub(crate) index: usize,
    pub(crate) name: String,
    custom_id: String,
    content: Bytes,
}

impl Picture {
    /// Shares the bytes, does not copy them.
    pub(crate) fn to_image(&self) -> Image {
        Image {
            source: Some(image::Source::Content(self.content.clone())),
            custom_id: self.custom_id.clone(),
        }
    }
}

/// Reads one file after the other; what can't be read becomes a row at once.
pub(crate) struct Reader {
    sources: VecDeque<Source>,
    packer: Packer,
    rows: mpsc::Sender<Row>,
}

impl Reader {
    pub(crate) fn new(sources: Vec<Source>, rows: mpsc::Sender<Row>) -> Self {
        Self { sources: sources.into(), packer: Packer::default(), rows }
    }

    /// The pictures of the next request; `None` after the last.
    pub(crate) async fn next_request(&mut self) -> Option<Vec<Picture>> {
        while let Some(source) = self.sources.pop_front() {
            let content = match read(&source.path).await {
                Ok(content) => content,
                Err(trouble) => {
                    // Only the printer's end closes the channel, and it ends everything here.
                    let _ = self.rows.send(Row::failed(source.index, source.name(), trouble)).await;
                    continue;
                }
            };
            let name = source.name();
            let picture = Picture { index: source.index, name, custom_id: source.custom_id, content };
            if let Some(full) = self.packer.add(picture) {
                return Some(full);
            }
        }
        self.packer.rest()
    }
}

/// Fills requests up to their limits.
#[derive(Debug, Default)]
struct Packer {
    pictures: Vec<Picture>,
    bytes: usize,
}

impl Packer {
    /// Takes a picture; gives back the request that is complete without it, if it did not fit, or
    /// with it, if that filled the request.
    fn add(&mut self, picture: Picture) -> Option<Vec<Picture>> {
        let fits = self.bytes + picture.content.len() <= REQUEST_BYTES_MAX;
        let full = if fits { None } else { self.rest() };
        self.bytes += picture.content.len();
        self.pictures.push(picture);
        if full.is_none() && self.pictures.len() == REQUEST_IMAGES_MAX { self.rest() } else { full }
    }

    fn rest(&mut self) -> Option<Vec<Picture>> {
        self.bytes = 0;
        let pictures = std::mem::take(&mut self.pictures);
        if pictures.is_empty() { None } else { Some(pictures) }
    }
}

async fn read(path: &Path) -> Result<Bytes, Trouble> {
    let too_large = || {
        let limit = FILE_BYTES_MAX / (1024 * 1024);
        Trouble::of_file("FILE_TOO_LARGE", format!("larger than {limit} MiB, the most a request can carry"))
    };
    let limit = u64::try_from(FILE_BYTES_MAX).unwrap_or(u64::MAX);
    let mut content = Vec::new();
    if Source::is_stdin(path) {
        tokio::io::stdin()
            .take(limit + 1)
            .read_to_end(&mut content)
            .await
            .map_err(|error| unreadable(&error))?;
    } else {
        let file = tokio::fs::File::open(path).await.map_err(|error| unreadable(&error))?;
        let metadata = file.metadata().await.map_err(|error| unreadable(&error))?;
        if metadata.len() > limit {
            return Err(too_large());
        }
        // The file may grow while it is read.
        file.take(limit + 1).read_to_end(&mut content).await.map_err(|error| unreadable(&error))?;
    }
    if content.len() > FILE_BYTES_MAX { Err(too_large()) } else { Ok(Bytes::from(content)) }
}

fn unreadable(error: &io::Error) -> Trouble {
    match error.kind() {
        io::ErrorKind::NotFound => Trouble::of_file("FILE_NOT_FOUND", "there is no such file"),
        io::ErrorKind::IsADirectory => {
            Trouble::of_file("FILE_UNREADABLE", "it is a folder; name the files in it")
        }
        io::ErrorKind::PermissionDenied => Trouble::of_file("FILE_UNREADABLE", "not allowed to read it"),
        _ => Trouble::of_file("FILE_UNREADABLE", error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(index: usize, bytes: usize) -> Picture {
        let name = format!("{index}.jpg");
        Picture { index, custom_id: name.clone(), name, content: Bytes::from(vec![0; bytes]) }
    }

    /// Packs pictures of these sizes and tells the sizes in each request.
    fn pack(sizes: &[usize]) -> Vec<Vec<usize>> {
        let mut packer = Packer::default();
        let mut requests = Vec::new();
        for (index, bytes) in sizes.iter().enumerate() {
            requests.extend(packer.add(picture(index, *bytes)));
        }
        requests.extend(packer.rest());
        let order = requests.iter().flatten().map(|picture| picture.index);
        assert!(order.eq(0..sizes.len()), "every picture once, in order");
        requests.iter().map(|pictures| pictures.iter().map(|one| one.content.len()).collect()).collect()
    }

    #[test]
    fn requests_stay_under_both_limits() {
        const MIB: usize = 1024 * 1024;
        let check = |sizes: &[usize], want: &[&[usize]]| assert_eq!(pack(sizes), want, "{sizes:?}");
        check(&[], &[]);
        check(&[1, 2, 3], &[&[1, 2, 3]]);
        check(&[10 * MIB, 10 * MIB, 10 * MIB], &[&[10 * MIB, 10 * MIB], &[10 * MIB]]);
        check(&[12 * MIB, 12 * MIB], &[&[12 * MIB, 12 * MIB]]);
        // One that fits no request with others goes alone.
        check(&[1, 30 * MIB, 1], &[&[1], &[30 * MIB], &[1]]);
        check(&[1; REQUEST_IMAGES_MAX], &[&[1; REQUEST_IMAGES_MAX]]);
        check(&[1; REQUEST_IMAGES_MAX + 1], &[&[1; REQUEST_IMAGES_MAX], &[1]]);
        check(&[0, 0], &[&[0, 0]]);
    }

    #[test]
    fn file_given_twice_has_two_ids_and_no_id_is_taken_twice() {
        let check = |paths: &[&str], want: &[&str]| {
            let paths: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
            let ids: Vec<String> = sources(&paths).into_iter().map(|source| source.custom_id).collect();
            assert_eq!(ids, want);
        };
        check(&["a", "b"], &["a", "b"]);
        check(&["a", "a", "a"], &["a", "a#2", "a#3"]);
        check(&["a", "a", "a#2"], &["a", "a#3", "a#2"]);
    }

    #[tokio::test]
    async fn unreadable_files_say_why() {
        let folder = tempfile::tempdir().unwrap();
        let huge = folder.path().join("huge.jpg");
        let file = std::fs::File::create(&huge).unwrap();
        file.set_len(u64::try_from(FILE_BYTES_MAX).unwrap() + 1).unwrap();
        for (path, want) in [
            (folder.path().join("none.jpg"), "FILE_NOT_FOUND"),
            (folder.path().to_owned(), "FILE_UNREADABLE"),
            (huge, "FILE_TOO_LARGE"),
        ] {
            assert_eq!(read(&path).await.unwrap_err().reason, want, "{}", path.display());
        }
    }
}
