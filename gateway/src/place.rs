//! Where an image waits: inside its task when the queue takes it, else in the store, and under load several images to
//! an object, because a call costs the same for one as for sixteen.

use std::{ops::Range, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use platform::{
    Error, Kind, Result,
    gather::{Batch, Gatherer, Limits, repeat},
    queue::Task,
    store::Store,
};
use prost::Message as _;
use proto::internal::v1::task::Input;
use sha2::{Digest as _, Sha256};

/// What goes into one object. A worker takes ten tasks at a time, so more images would be read by many; four megabytes are a
/// request of milliseconds, and no reason yet for an upload in parts; sixteen images in each of four writes of 30 ms are 2,000
/// a second.
const BUNDLE: Limits =
    Limits { items_max: 16, bytes_max: 4 * 1024 * 1024, linger: Duration::from_millis(5), calls_max: 4 };

/// The name in a task is for the eyes only; the whole one stays here.
const NAME_BYTES_MAX: usize = 128;

/// A longer name is cut, and told apart by a sum: a task that points to its image stays under 1 KiB.
const KEY_BYTES_MAX: usize = 160;

/// Where images and results go.
pub struct Places {
    /// Of an encoded task that carries its image; 0: none does.
    pub inline_bytes_max: usize,
    pub store: Option<Arc<dyn Store>>,
    /// Whether workers keep each result under the task's result key.
    pub keep_results: bool,
    pub naming: Naming,
    bundles: Option<Gatherer<Bundles>>,
}

/// What keys are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// Of ids: two images of one name never meet.
    Id,
    /// The file's name, and its stem for the result: the course's rules (specs/upload.md).
    FileName,
}

impl Places {
    pub fn new(
        inline_bytes_max: usize,
        store: Option<Arc<dyn Store>>,
        keep_results: bool,
        naming: Naming,
    ) -> Self {
        let bundled = store.clone().filter(|_| naming == Naming::Id);
        let bundles = bundled.map(|store| Gatherer::start(Bundles(store), BUNDLE));
        Self { inline_bytes_max, store, keep_results, naming, bundles }
    }

    /// Says in the task where its result is kept, if it is.
    pub fn name_result(&self, task: &mut Task) {
        if self.keep_results {
            task.result_key = match self.naming {
                Naming::Id => task.task_id.clone(),
                Naming::FileName => key(stem(&task.custom_id)),
            };
        }
    }

    /// Puts the image where the worker will find it, and says so in the task.
    ///
    /// Dropped, it may leave an object behind that no task points to; the store's lifecycle removes it.
    pub async fn place(&self, task: &mut Task, content: Bytes) -> Result<()> {
        self.name_result(task);
        if task.encoded_len().saturating_add(content.len()).saturating_add(INPUT_BYTES)
            <= self.inline_bytes_max
        {
            task.input = Some(Input::Content(content));
            return Ok(());
        }
        let place = match (&self.bundles, &self.store) {
            (Some(bundles), _) => bundles.add(content).await?,
            (None, Some(store)) => {
                let key = key(&task.custom_id);
                store.put(&key, content).await.map_err(|error| error.context("store image"))?;
                Place { key, part: None }
            }
            (None, None) => {
                return Err(Error::new(
                    Kind::ImageTooLarge,
                    format!(
                        "the image has {} bytes and the queue takes {}",
                        content.len(),
                        self.inline_bytes_max
                    ),
                )
                .with_metadata("limit", self.inline_bytes_max)
                .with_metadata("found", content.len()));
            }
        };
        point_to(task, place);
        Ok(())
    }

    /// Points the task to an image that is in the store already.
    pub fn point(&self, task: &mut Task, place: Place) {
        self.name_result(task);
        point_to(task, place);
    }
}

fn point_to(task: &mut Task, place: Place) {
    task.input = Some(Input::StoreKey(place.key));
    if let Some(part) = place.part {
        (task.store_offset, task.store_length) = (part.start, part.end.saturating_sub(part.start));
    }
    shorten(&mut task.custom_id, NAME_BYTES_MAX);
}

/// The image's field in a message: a byte for its number and up to nine for its length.
const INPUT_BYTES: usize = 10;

fn shorten(name: &mut String, bytes_max: usize) {
    let mut end = name.len().min(bytes_max);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name.truncate(end);
}

/// A file's name up to its first dot, as old clients cut it (specs/upload.md); one that begins with a dot keeps all.
pub fn stem(file_name: &str) -> &str {
    file_name.split('.').next().filter(|stem| !stem.is_empty()).unwrap_or(file_name)
}

/// A caller's name as a key: what a key may not have is written as `=` and two hexadecimal digits.
pub fn key(name: &str) -> String {
    let mut key = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-') {
            key.push(char::from(byte));
        } else {
            key.push_str(&format!("={byte:02x}"));
        }
    }
    if key.len() > KEY_BYTES_MAX {
        let sum = Sha256::digest(name.as_bytes());
        key.truncate(KEY_BYTES_MAX - 17);
        key.push('-');
        sum.iter().take(8).for_each(|byte| key.push_str(&format!("{byte:02x}")));
    }
    match key.as_str() {
        "" | "." | ".." => format!("={key}"),
        _ => key,
    }
}

/// Where in the store an image is.
pub struct Place {
    pub key: String,
    /// `None`: the whole object.
    pub part: Option<Range<u64>>,
}

/// Writes images that come at the same time into one object.
struct Bundles(Arc<dyn Store>);

#[async_trait]
impl Batch for Bundles {
    type Item = Bytes;
    type Done = Place;

    fn bytes(image: &Bytes) -> usize {
        image.len()
    }

    async fn call(&self, images: Vec<Bytes>) -> Vec<Result<Place>> {
        let key = platform::id::new();
        let content = match images.as_slice() {
            [one] => one.clone(),
            many => {
                let mut content = BytesMut::with_capacity(many.iter().map(Bytes::len).sum());
                many.iter().for_each(|image| content.extend_from_slice(image));
                content.freeze()
            }
        };
        let written = self.0.put(&key, content).await;
        let is_alone = images.len() == 1;
        let mut start = 0;
        let place = |image: Bytes| {
            let part = start..start + image.len() as u64;
            start = part.end;
            match &written {
                Ok(()) => Ok(Place { key: key.clone(), part: (!is_alone).then_some(part) }),
                Err(error) => Err(repeat(error).context("store image")),
            }
        };
        images.into_iter().map(place).collect()
    }
}

#[cfg(test)]
mod tests {
    use platform::store::FileStore;

    use super::*;

    fn image(length: usize, fill: u8) -> Bytes {
        vec![fill; length].into()
    }

    async fn content(store: &dyn Store, task: &Task) -> Bytes {
        match &task.input {
            Some(Input::Content(content)) => content.clone(),
            Some(Input::StoreKey(key)) if task.store_length == 0 => store.get(key).await.unwrap(),
            Some(Input::StoreKey(key)) => {
                let part = task.store_offset..task.store_offset + task.store_length;
                store.get_range(key, part).await.unwrap()
            }
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn image_that_fits_rides_in_its_task_to_the_byte() {
        let folder = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(FileStore::open(folder.path()).unwrap());
        let places = Places::new(1000, Some(Arc::clone(&store)), false, Naming::Id);
        for length in [0, 1, 900, 950, 980, 990, 1000, 2000] {
            let mut task = Task { task_id: "one".to_owned(), ..Task::default() };
            places.place(&mut task, image(length, 7)).await.unwrap();
            let is_inline = matches!(task.input, Some(Input::Content(_)));
            assert!(task.encoded_len() <= 1000, "{length}");
            assert_eq!(is_inline, length <= 980, "{length}");
            assert_eq!(content(&*store, &task).await, image(length, 7));
        }
    }

    #[tokio::test]
    async fn images_that_come_together_share_objects_and_are_read_apart() {
        let folder = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(FileStore::open(folder.path()).unwrap());
        let places = Places::new(0, Some(Arc::clone(&store)), true, Naming::Id);
        let placed = futures::future::join_all((0..100_u8).map(|i| {
            let places = &places;
            async move {
                let mut task = Task { task_id: format!("task-{i}"), ..Task::default() };
                places.place(&mut task, image(100 + usize::from(i), i)).await.unwrap();
                task
            }
        }))
        .await;
        for (i, task) in (0..100_u8).zip(&placed) {
            assert_eq!(content(&*store, task).await, image(100 + usize::from(i), i));
            assert_eq!(task.result_key, task.task_id);
        }
        let objects = store.list("", "", 1000).await.unwrap();
        assert!(objects.len() <= 20, "{} objects for 100 images", objects.len());
    }

    #[tokio::test]
    async fn file_names_are_keys_by_the_course_rules_and_never_paths() {
        let folder = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(FileStore::open(folder.path()).unwrap());
        let places = Places::new(0, Some(Arc::clone(&store)), true, Naming::FileName);
        let check = async |name: &str, want: &str, result: &str| {
            let mut task = Task { custom_id: name.to_owned(), ..Task::default() };
            places.place(&mut task, image(3, 1)).await.unwrap();
            assert_eq!(task.input, Some(Input::StoreKey(want.to_owned())));
            assert_eq!(task.result_key, result);
        };
        check("test_00.jpg", "test_00.jpg", "test_00").await;
        check("my cat.JPEG", "my=20cat.JPEG", "my=20cat").await;
        check("../up", "..=2fup", "..=2fup").await;
        check(".hidden", ".hidden", ".hidden").await;
        check("", "=", "=").await;
        check("..", "=..", "=..").await;
        check("ü", "=c3=bc", "=c3=bc").await;
    }

    #[tokio::test]
    async fn pointer_is_small_whatever_the_caller_calls_the_image() {
        let folder = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(FileStore::open(folder.path()).unwrap());
        let mut keys = Vec::new();
        for (naming, last) in [(Naming::Id, "a"), (Naming::FileName, "a"), (Naming::FileName, "b")] {
            let places = Places::new(0, Some(Arc::clone(&store)), true, naming);
            let mut task = Task {
                task_id: platform::id::new(),
                custom_id: format!("{}{last}", "ü".repeat(500)),
                reply_to: "http://ip-10-0-123-123.eu-central-1.compute.internal:8001".to_owned(),
                model: "efficientnet-lite0@2024-01-01-quantized".to_owned(),
                enqueue_time: Some(platform::time::now()),
                deadline: Some(platform::time::now()),
                top_k: 1000,
                min_score: 0.5,
                ..Task::default()
            };
            places.place(&mut task, image(3, 1)).await.unwrap();
            // What is left of 1 KiB beside the names of attributes, a trace and the body.
            assert!(task.encoded_len() <= 768, "{}", task.encoded_len());
            keys.push(task.result_key);
        }
        assert_ne!(keys[1], keys[2], "cut names stay apart");
        let mut name = "ü".repeat(500);
        shorten(&mut name, 255);
        assert_eq!(name.len(), 254);
    }
}
