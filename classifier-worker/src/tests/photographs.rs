//! Real photographs through the real model and the real engine.

use std::{
    fs,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use platform::{Kind, error::from_rpc_status};
use proto::v1::ImageState;
use serde::Deserialize;

use super::{gateway::Gateway, *};
use crate::{
    bundled, engine,
    model::{ModelFolder, OnnxModel, check_model},
};

#[derive(Deserialize)]
struct Expected {
    sample: Vec<Sample>,
}

#[derive(Deserialize)]
struct Sample {
    file: String,
    label: String,
    score: f32,
    classes: Vec<u32>,
}

fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../clients/cli/samples")
}

fn expected() -> Vec<Sample> {
    let text = fs::read_to_string(samples().join("expected.toml")).unwrap();
    toml::from_str::<Expected>(&text).unwrap().sample
}

fn content(name: &str) -> Bytes {
    fs::read(samples().join(name)).unwrap().into()
}

/// Shared by all tests on this machine: the engine is got once.
fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/dunlin-test-data")
}

/// The library that `ORT_DYLIB_PATH` names, else the pinned one, which pip gets the first time.
async fn library() -> PathBuf {
    if let Some(path) = std::env::var_os("ORT_DYLIB_PATH") {
        return PathBuf::from(path);
    }
    fs::create_dir_all(data()).unwrap();
    let lock = fs::File::create(data().join("lock")).unwrap();
    // So that tests that start at once do not all run pip.
    let lock = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock)).await.unwrap().unwrap();
    let path = engine::install(&data(), |_| {}).await.unwrap();
    drop(lock);
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn photographs_get_their_labels_and_broken_ones_fail_alone() {
    let (queue, gateway) = (queue(), Gateway::start().await);
    let of = |id: &str, content: Bytes| Task {
        input: Some(Input::Content(content)),
        top_k: 5,
        ..task(id, &gateway.url())
    };
    let mut tasks = vec![of("not an image", "hello".into())];
    for sample in expected() {
        let whole = content(&sample.file);
        tasks.push(of(&format!("half of {}", sample.file), whole.slice(..whole.len() / 2)));
        tasks.push(of(&sample.file, whole));
    }
    let count = tasks.len();
    queue.send(tasks).await.unwrap();
    let real = Options { data: Some(data()), onnxruntime: Some(library().await), ..options("bundled") };
    let worker = Running::start(real, queue.clone()).await;
    eventually("all are acked", async || is_empty(&queue).await).await;
    worker.stop().await;
    assert_eq!(gateway.results().len(), count);
    for sample in expected() {
        let result = gateway.result(&sample.file).unwrap();
        assert_eq!(result.state(), ImageState::Succeeded, "{}: {:?}", sample.file, result.error);
        assert_eq!(result.classifications.len(), 5);
        let best = &result.classifications[0];
        assert_eq!(
            (best.label.as_str(), best.class_id),
            (sample.label.as_str(), sample.classes[0]),
            "{}",
            sample.file
        );
        assert!((best.score - sample.score).abs() < 0.05, "{}: {best:?}", sample.file);
        assert!(result.classifications.is_sorted_by(|a, b| a.score >= b.score));
        let half = gateway.result(&format!("half of {}", sample.file)).unwrap();
        assert_eq!(half.state(), ImageState::Failed);
        assert_eq!(from_rpc_status(&half.error.unwrap()).kind(), Kind::ImageUndecodable, "{}", sample.file);
    }
    let text = gateway.result("not an image").unwrap();
    assert_eq!(from_rpc_status(&text.error.unwrap()).kind(), Kind::ImageUnsupportedFormat);
}

#[tokio::test(flavor = "multi_thread")]
async fn batch_gives_what_single_passes_give() {
    let library = library().await;
    tokio::task::spawn_blocking(move || {
        use crate::model::{Image, Model as _};
        engine::load(&library).unwrap();
        let folder = ModelFolder::open(&bundled::unpack(&data()).unwrap()).unwrap();
        let mut model = OnnxModel::load(&folder, 8).unwrap();
        let samples = expected();
        for (slot, sample) in samples.iter().enumerate() {
            let image = Image {
                content: content(&sample.file),
                custom_id: sample.file.clone(),
                top_k: 3,
                min_score: 0.0,
            };
            model.prepare(slot, &image).unwrap();
        }
        let together = model.classify(0..samples.len()).unwrap();
        for (slot, together) in together.iter().enumerate() {
            let alone = model.classify(slot..slot + 1).unwrap().pop().unwrap();
            for (a, b) in alone.iter().zip(together) {
                assert_eq!(a.class_id, b.class_id);
                assert!((a.score - b.score).abs() < 1e-4, "{a:?} {b:?}");
            }
        }
        let report = check_model(folder.path(), &content("coffee.png")).unwrap();
        assert_eq!((report.name.as_str(), report.classes), ("efficientnet-lite0", 1000));
        assert_eq!(report.best[0].label, "espresso");
        assert!(!report.image_time.is_zero());
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_in_a_model_folder_is_named() {
    let library = library().await;
    tokio::task::spawn_blocking(move || {
        engine::load(&library).unwrap();
        let check = |what: &str, change: &dyn Fn(&Path), wanted: &[&str]| {
            let folder = tempfile::tempdir().unwrap();
            for entry in fs::read_dir(bundled::unpack(&data()).unwrap()).unwrap().flatten() {
                fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
            }
            change(folder.path());
            let loaded = ModelFolder::open(folder.path()).and_then(|folder| OnnxModel::load(&folder, 1));
            let error = loaded.err().unwrap_or_else(|| panic!("{what}: it fits"));
            assert_eq!(error.kind(), Kind::Config, "{what}");
            for wanted in wanted {
                assert!(
                    error.message().contains(wanted),
                    "{what}: {:?} is not in {}",
                    wanted,
                    error.message()
                );
            }
        };
        let replace = |folder: &Path, from: &str, to: &str| {
            let file = folder.join("model.toml");
            let text = fs::read_to_string(&file).unwrap();
            assert!(text.contains(from));
            fs::write(file, text.replace(from, to)).unwrap();
        };
        check("another graph", &|folder| fs::write(folder.join("model.onnx"), b"x").unwrap(), &["sha256"]);
        check("no graph", &|folder| fs::remove_file(folder.join("model.onnx")).unwrap(), &["model.onnx: "]);
        check(
            "names of the graph",
            &|folder| {
                replace(folder, "name = \"input\"", "name = \"picture\"");
                replace(folder, "name = \"logits\"", "name = \"scores\"");
            },
            &["no input \"picture\" (it has: input)", "no output \"scores\" (it has: logits)"],
        );
        check(
            "sizes",
            &|folder| replace(folder, "width = 224", "width = 256"),
            &["224", "256", "input \"input\""],
        );
        check(
            "fewer labels, two wrong settings",
            &|folder| {
                fs::write(folder.join("labels.txt"), "cat\n\ndog\n").unwrap();
                replace(folder, "crop = 0.875", "crop = 1.5");
            },
            &["labels.txt: line 2 is empty", "input.crop"],
        );
        check(
            "fewer labels",
            &|folder| fs::write(folder.join("labels.txt"), "cat\ndog\n").unwrap(),
            &["output \"logits\" has the shape [-1, 1000], [-1, 2] is needed"],
        );
        check(
            "unknown key",
            &|folder| replace(folder, "version = \"1\"", "version = \"1\"\ncolour = 1"),
            &["colour"],
        );
    })
    .await
    .unwrap();
}
