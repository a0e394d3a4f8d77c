//! What is checked before an image is queued: everything that needs no decoding.

use std::time::Duration;

use bytes::Bytes;
use platform::{Error, Kind, Result};
use proto::v1::{ClassifyOptions, Priority, image::Source};

use crate::models::Models;

/// Classes returned when the caller asks for 0 (proto: `top_k`).
const TOP_K_DEFAULT: u32 = 5;
const TOP_K_MAX: u32 = 1000;
/// Long enough for a path; a caller's name is kept while its image waits.
const CUSTOM_ID_BYTES_MAX: usize = 1024;

/// Options that were checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    pub model: String,
    pub top_k: u32,
    pub min_score: f32,
    pub priority: Priority,
    pub max_queue_duration: Option<Duration>,
    /// The caller wants no answer from memory.
    pub no_cache: bool,
}

/// Checks the options of a request; all that is wrong is in one error.
pub fn check_options(options: Option<ClassifyOptions>, models: &Models) -> Result<Checked> {
    let options = options.unwrap_or_default();
    let mut wrong: Vec<(&str, String)> = Vec::new();
    if options.top_k > TOP_K_MAX {
        wrong.push(("options.top_k", format!("{} is over {TOP_K_MAX}", options.top_k)));
    }
    if !(0.0..=1.0).contains(&options.min_score) {
        wrong.push(("options.min_score", format!("{} is not between 0 and 1", options.min_score)));
    }
    let priority = Priority::try_from(options.priority).unwrap_or_else(|_| {
        wrong.push(("options.priority", format!("{} is not a known priority", options.priority)));
        Priority::Unspecified
    });
    let max_queue_duration = options.max_queue_duration.as_ref().and_then(|duration| {
        let positive = platform::time::from_proto(Some(duration)).filter(|duration| !duration.is_zero());
        if positive.is_none() {
            wrong.push(("options.max_queue_duration", "must be longer than 0".to_owned()));
        }
        positive
    });
    if let Some((field, description)) = wrong.first() {
        let first = Error::new(Kind::InvalidRequest, format!("{field}: {description}"));
        return Err(wrong
            .iter()
            .fold(first, |error, (field, description)| error.with_violation(*field, description.clone())));
    }
    models.check(&options.model)?;
    Ok(Checked {
        model: options.model,
        top_k: if options.top_k == 0 { TOP_K_DEFAULT } else { options.top_k },
        min_score: options.min_score,
        priority,
        max_queue_duration,
        no_cache: options.no_cache,
    })
}

/// The bytes of an image that is worth queuing. `field` is its path in the request.
pub fn check_source(source: Option<Source>, field: &str, bytes_max: usize) -> Result<Bytes> {
    match source {
        Some(Source::Content(content)) => {
            check_content(&content, bytes_max).map_err(|error| {
                let description = error.message().to_owned();
                error.with_violation(format!("{field}.content"), description)
            })?;
            Ok(content)
        }
        Some(Source::Uri(uri)) => Err(refuse_uri(&uri, field)),
        None => Err(Error::new(Kind::ImageEmpty, "no image: set content to the bytes of an image file")
            .with_violation(field, "neither content nor uri is set")),
    }
}

/// Size and first bytes.
pub fn check_content(content: &[u8], bytes_max: usize) -> Result<()> {
    if content.is_empty() {
        return Err(Error::new(Kind::ImageEmpty, "the image has no bytes"));
    }
    if content.len() > bytes_max {
        return Err(too_large(bytes_max, content.len()));
    }
    if format(content).is_none() {
        return Err(Error::new(
            Kind::ImageUnsupportedFormat,
            "not an image we read: its first bytes are not those of JPEG, PNG, WebP, GIF or BMP",
        ));
    }
    Ok(())
}

pub fn too_large(bytes_max: usize, found: usize) -> Error {
    Error::new(Kind::ImageTooLarge, format!("the image has {found} bytes, the limit is {bytes_max}"))
        .with_metadata("limit", bytes_max)
        .with_metadata("found", found)
}

/// The caller's name for an image, or its index.
pub fn check_custom_id(custom_id: &str, field: &str) -> Result<()> {
    if custom_id.len() > CUSTOM_ID_BYTES_MAX {
        return Err(Error::invalid(
            format!("{field}.custom_id"),
            format!("{} bytes, the limit is {CUSTOM_ID_BYTES_MAX}", custom_id.len()),
        ));
    }
    Ok(())
}

fn refuse_uri(uri: &str, field: &str) -> Error {
    let scheme = uri.split_once(':').map_or("", |(scheme, _)| scheme);
    Error::new(
        Kind::UriSchemeUnsupported,
        format!("can't read images from {scheme:?}: this gateway reads no URIs; send the bytes as content"),
    )
    .with_metadata("scheme", scheme)
    .with_violation(format!("{field}.uri"), "unsupported scheme")
}

/// The format by its first bytes.
fn format(content: &[u8]) -> Option<&'static str> {
    match content {
        [0xff, 0xd8, 0xff, ..] => Some("jpeg"),
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some("png"),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some("gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("webp"),
        [b'B', b'M', _, ..] => Some("bmp"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_refused_all_at_once() {
        let models = Models::new(&["lite0@1".to_owned()]);
        let wrong = ClassifyOptions {
            top_k: 1001,
            min_score: f32::NAN,
            priority: 99,
            max_queue_duration: Some(prost_types::Duration { seconds: -1, nanos: 0 }),
            ..ClassifyOptions::default()
        };
        let error = check_options(Some(wrong), &models).unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidRequest);
        let fields = error.violations().iter().map(|one| one.field.as_str()).collect::<Vec<_>>();
        assert_eq!(
            fields,
            ["options.top_k", "options.min_score", "options.priority", "options.max_queue_duration"]
        );
    }

    #[test]
    fn absent_options_are_the_defaults() {
        let checked = check_options(None, &Models::default()).unwrap();
        assert_eq!(checked.top_k, 5);
        assert_eq!(checked.max_queue_duration, None);
    }

    #[test]
    fn content_is_judged_by_size_and_first_bytes() {
        let check = |content: &[u8], want: Option<Kind>| {
            assert_eq!(check_content(content, 20).err().map(|error| error.kind()), want, "{content:?}");
        };
        check(b"", Some(Kind::ImageEmpty));
        check(b"hello", Some(Kind::ImageUnsupportedFormat));
        check(b"\xff\xd8", Some(Kind::ImageUnsupportedFormat));
        check(b"\xff\xd8\xff\xe0rest", None);
        check(b"\x89PNG\r\n\x1a\n", None);
        check(b"GIF89a", None);
        check(b"RIFF\0\0\0\0WEBPVP8", None);
        check(b"BM1234", None);
        check(&[0xff; 21], Some(Kind::ImageTooLarge));
    }

    #[test]
    fn uri_of_any_scheme_is_refused_with_the_scheme_named() {
        let source = Some(Source::Uri("ftp://host/cat.jpg".to_owned()));
        let error = check_source(source, "images[2]", 10).unwrap_err();
        assert_eq!(error.kind(), Kind::UriSchemeUnsupported);
        assert_eq!(error.metadata().get("scheme").map(String::as_str), Some("ftp"));
        assert_eq!(error.violations()[0].field, "images[2].uri");
    }
}
