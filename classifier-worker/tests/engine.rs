//! A process without an engine. Alone in its own, because the first library loaded stays for all.
#![allow(clippy::unwrap_used)]

use std::fs;

use classifier_worker::engine;
use platform::Kind;

#[test]
fn missing_library_is_one_sentence_with_what_mends_it() {
    let data = tempfile::tempdir().unwrap();
    let error = engine::find(None, Some(data.path())).unwrap_err();
    assert_eq!(error.kind(), Kind::Config);
    assert!(error.message().contains("--install-onnxruntime"), "{error}");
    let named = data.path().join("none.so");
    let error = engine::find(Some(&named), None).unwrap_err();
    assert!(error.message().contains("there is no such file"), "{error}");
    fs::write(&named, b"not a library").unwrap();
    let error = engine::load(&named).unwrap_err();
    assert_eq!(error.kind(), Kind::Config);
    assert!(error.message().starts_with("ONNX Runtime can't be used"), "{error}");
}
