//! What makes two calls the same: who asks, which method, the caller's id for it, and what was asked.

use std::sync::Arc;

use platform::{Error, Kind, Result, auth::Caller};
use prost::Message as _;
use proto::v1::{ClassifyOptions, Image, image::Source};

/// Longer than any id that is made up for this: a UUID has 36.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// The name of a call, as far as all gateways know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CallId([u8; 16]);

/// Of all that was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(pub(super) [u8; 32]);

/// A call that may be repeated.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    pub id: CallId,
    pub fingerprint: Fingerprint,
}

/// Where a caller gave its id.
#[derive(Debug, Clone, Copy)]
pub struct Given<'a> {
    /// The id of the key that was shown; `None`: nobody in particular.
    pub owner: Option<&'a str>,
    pub method: &'static str,
    pub request_id: &'a str,
    /// The id's own name, for errors.
    pub field: &'static str,
}

impl CallId {
    /// `None` without an id: then each call stands for itself.
    pub fn of(given: Given<'_>) -> Result<Option<Self>> {
        let Given { owner, method, request_id, field } = given;
        if request_id.is_empty() {
            return Ok(None);
        }
        if request_id.len() > REQUEST_ID_BYTES_MAX {
            let found = request_id.len();
            return Err(Error::invalid(field, format!("{found} bytes, the limit is {REQUEST_ID_BYTES_MAX}"))
                .with_metadata("limit", REQUEST_ID_BYTES_MAX)
                .with_metadata("found", found));
        }
        if !request_id.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Error::invalid(field, "must be letters, digits and signs of ASCII, without spaces"));
        }
        let mut sum = blake3::Hasher::new();
        // A key's id is never empty.
        for part in [owner.unwrap_or_default(), method, request_id] {
            add(&mut sum, part.as_bytes());
        }
        let mut id = [0; 16];
        sum.finalize_xof().fill(&mut id);
        Ok(Some(Self(id)))
    }

    /// For the name of an object.
    pub(super) fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl Fingerprint {
    pub fn of(images: &[Image], options: Option<&ClassifyOptions>, include_progress: bool) -> Self {
        let mut sum = blake3::Hasher::new();
        add(&mut sum, &options.map(ClassifyOptions::encode_to_vec).unwrap_or_default());
        add(&mut sum, &[u8::from(include_progress)]);
        for image in images {
            add(&mut sum, image.custom_id.as_bytes());
            match &image.source {
                Some(Source::Content(content)) => add(sum.update(b"content"), content),
                Some(Source::Uri(uri)) => add(sum.update(b"uri"), uri.as_bytes()),
                None => add(sum.update(b"nothing"), b""),
            }
        }
        Self(sum.finalize().into())
    }
}

/// With its length, so that what is one part and what is the next counts.
fn add(sum: &mut blake3::Hasher, part: &[u8]) {
    sum.update(&(part.len() as u64).to_le_bytes());
    sum.update(part);
}

/// Whose ids these are: those of one key are not another's.
pub fn owner(extensions: &http::Extensions) -> Option<Arc<str>> {
    Caller::of(extensions).key_id
}

/// The id was used for something else.
pub(super) fn reused() -> Error {
    Error::new(
        Kind::RequestIdReused,
        "this id was used for another request within the last day; repeat that one as it was, or choose a new id",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_told_apart_by_owner_method_and_id() {
        let id = |owner, method, request_id| {
            CallId::of(Given { owner, method, request_id, field: "request_id" }).unwrap()
        };
        assert_eq!(id(None, "Classify", ""), None);
        assert_eq!(id(None, "Classify", "a"), id(None, "Classify", "a"));
        let four = [
            id(None, "Classify", "a"),
            id(Some("k1"), "Classify", "a"),
            id(None, "BatchClassify", "a"),
            id(None, "Classify", "b"),
        ];
        for (i, one) in four.iter().enumerate() {
            assert!(four.iter().skip(i + 1).all(|other| other != one));
        }
    }

    #[test]
    fn ids_that_cannot_be_written_down_are_refused() {
        let check = |request_id: &str, fine: bool| {
            let id =
                CallId::of(Given { owner: None, method: "Classify", request_id, field: "Idempotency-Key" });
            match id {
                Ok(_) => assert!(fine, "{request_id:?}"),
                Err(error) => {
                    assert!(!fine, "{request_id:?}");
                    assert_eq!(error.violations()[0].field, "Idempotency-Key");
                }
            }
        };
        check("4f6c6f2e-8d2b-4b3f-9a43-0d1b5a8e7c11", true);
        check("\"quoted\"", true);
        check(&"x".repeat(128), true);
        check(&"x".repeat(129), false);
        check("two words", false);
        check("tab\t", false);
        check("ü", false);
    }

    #[test]
    fn fingerprint_is_of_all_that_was_asked() {
        let image = |custom_id: &str, source| Image { source: Some(source), custom_id: custom_id.to_owned() };
        let content = |custom_id, bytes: &'static [u8]| image(custom_id, Source::Content(bytes.into()));
        let of = |images: &[Image]| Fingerprint::of(images, None, false);
        let one = [content("a", b"b")];
        let options = ClassifyOptions { top_k: 1, ..ClassifyOptions::default() };
        let all = [
            of(&one),
            of(&[content("ab", b"")]),
            of(&[content("a", b"c")]),
            of(&[image("a", Source::Uri("b".to_owned()))]),
            of(&[content("a", b"b"), content("a", b"b")]),
            Fingerprint::of(&one, Some(&options), false),
            Fingerprint::of(&one, None, true),
        ];
        for (i, one) in all.iter().enumerate() {
            assert!(all.iter().skip(i + 1).all(|other| other != one), "{i}");
        }
        assert_eq!(of(&one), of(&one.clone()));
    }
}
