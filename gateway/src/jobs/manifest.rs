//! Jobs whose images lie elsewhere: a list of them, or everything below a prefix.

use bytes::Bytes;
use platform::{Error, Kind, Result};
use proto::internal::v1::{JobImage, job_image};
use serde::Deserialize;

use super::{
    Jobs, files,
    input::{Entry, over},
};

/// A list of 50,000 images with long names.
const MANIFEST_BYTES_MAX: usize = 32 * 1024 * 1024;

/// What goes before each field of a line is in the error.
#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    custom_id: String,
    uri: String,
}

/// The images that a list names.
pub async fn read(jobs: &Jobs, uri: &str) -> Result<Vec<Entry>> {
    let at_field = |error: Error| {
        let description = error.message().to_owned();
        error.with_violation("manifest_uri", description)
    };
    if files::is_file(uri) {
        let content = jobs.folders.read(uri, MANIFEST_BYTES_MAX).await.map_err(at_field)?;
        let mut entries = parse(&content, jobs.options.images_max)?;
        if let Some(line) = entries.iter().position(|entry| !files::is_file(uri_of(entry))) {
            return Err(other_kind(line, "file://"));
        }
        let uris = entries.iter().map(|entry| uri_of(entry).to_owned()).collect();
        for (line, (entry, size)) in entries.iter_mut().zip(jobs.folders.sizes(uris).await?).enumerate() {
            match size {
                Ok(size) => entry.image.size = size,
                // It may come yet, and if not its result says so.
                Err(error) if error.kind() == Kind::ObjectNotFound => {}
                Err(error) => {
                    let description = error.message().to_owned();
                    return Err(error.with_violation(format!("manifest[{line}].uri"), description));
                }
            }
        }
        return Ok(entries);
    }
    let content = jobs.read_object(uri, MANIFEST_BYTES_MAX).await.map_err(at_field)?;
    let entries = parse(&content, jobs.options.images_max)?;
    for (line, entry) in entries.iter().enumerate() {
        if files::is_file(uri_of(entry)) {
            return Err(other_kind(line, "s3://"));
        }
        jobs.check_object(uri_of(entry), &format!("manifest[{line}].uri"))?;
    }
    Ok(entries)
}

/// Every object whose key begins so.
pub async fn of_prefix(jobs: &Jobs, prefix: &str) -> Result<Vec<Entry>> {
    // One more than allowed says that there are too many.
    let found = jobs.list_objects(prefix, jobs.options.images_max + 1).await.map_err(|error| {
        let description = error.message().to_owned();
        error.with_violation("input_prefix", description)
    })?;
    let entry = |(custom_id, uri, size): (String, String, u64)| Entry {
        image: JobImage { custom_id, size, source: Some(job_image::Source::Uri(uri)), index: 0 },
        content: None,
    };
    Ok(found.into_iter().map(entry).collect())
}

fn uri_of(entry: &Entry) -> &str {
    match &entry.image.source {
        Some(job_image::Source::Uri(uri)) => uri,
        _ => "",
    }
}

fn other_kind(line: usize, want: &str) -> Error {
    Error::new(
        Kind::UriSchemeUnsupported,
        format!("manifest[{line}].uri: has to be {want} as the manifest is"),
    )
    .with_violation(format!("manifest[{line}].uri"), format!("has to be {want} as the manifest is"))
}

fn parse(content: &Bytes, images_max: usize) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    let lines = content.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    for (at, line) in lines.filter(|line| !line.is_empty()).enumerate() {
        if at >= images_max {
            return Err(over("manifest_uri", "or more images", at as u64 + 1, images_max as u64));
        }
        let line: Line = serde_json::from_slice(line).map_err(|error| {
            Error::invalid(format!("manifest[{at}]"), format!(r#"is not {{"custom_id", "uri"}}: {error}"#))
        })?;
        let source = Some(job_image::Source::Uri(line.uri));
        let image = JobImage { custom_id: line.custom_id, source, ..JobImage::default() };
        entries.push(Entry { image, content: None });
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_and_a_wrong_one_is_named() {
        let read = |text: &'static str| parse(&Bytes::from_static(text.as_bytes()), 3);
        let entries =
            read("{\"custom_id\":\"a\",\"uri\":\"file:///a\",\"more\":1}\r\n\n{\"uri\":\"file:///b\"}")
                .unwrap();
        assert_eq!(entries.len(), 2);
        assert_eq!(entries[0].image.custom_id, "a");
        assert_eq!(uri_of(&entries[1]), "file:///b");
        let wrong = |text: &'static str| read(text).err().unwrap().violations()[0].field.clone();
        assert_eq!(wrong("{\"uri\":\"x\"}\n{\"custom_id\":\"a\"}"), "manifest[1]");
        assert_eq!(wrong("nonsense"), "manifest[0]");
        assert_eq!(wrong("{\"uri\":1}"), "manifest[0]");
        assert_eq!(
            wrong("{\"uri\":\"a\"}\n{\"uri\":\"a\"}\n{\"uri\":\"a\"}\n{\"uri\":\"a\"}"),
            "manifest_uri"
        );
    }
}
