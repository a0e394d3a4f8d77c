//! Finds the image in what was posted: a multipart form, a raw body, or JSON.

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use bytes::Bytes;
use platform::{Error, Kind, Result};
use serde::Deserialize;

use super::disposition::{Disposition, base_name};

/// The image, and the names its sender gave.
#[derive(Debug)]
pub(super) struct Part {
    /// The form's field; empty when there was no form.
    pub(super) field: String,
    pub(super) file_name: String,
    pub(super) content: Bytes,
}

/// Parts that are looked through for a file; a form of one picture has one.
const PARTS_MAX: usize = 100;

pub(super) async fn find(headers: &HeaderMap, body: Bytes) -> Result<Part> {
    let content_type =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match kind.as_str() {
        "multipart/form-data" => of_form(content_type, body).await,
        "application/json" => of_json(&body),
        "application/octet-stream" => Ok(raw(body)),
        _ if kind.starts_with("image/") => Ok(raw(body)),
        _ => Err(Error::new(
            Kind::ImageUnsupportedFormat,
            format!(
                "can't find an image in a body of type {kind:?}; send a form (curl -F myfile=@cat.jpg URL), the \
                 bytes (curl -H 'content-type: image/jpeg' --data-binary @cat.jpg URL) or JSON with the image in base64"
            ),
        )),
    }
}

fn raw(content: Bytes) -> Part {
    Part { field: String::new(), file_name: base_name(""), content }
}

/// The first part with a file name, whatever its field is called; else the first part.
async fn of_form(content_type: &str, body: Bytes) -> Result<Part> {
    let boundary = multer::parse_boundary(content_type).map_err(|error| broken(&error))?;
    let whole = futures::stream::once(std::future::ready(Ok::<_, std::io::Error>(body)));
    let mut form = multer::Multipart::new(whole, boundary);
    let mut first = None;
    for _ in 0..PARTS_MAX {
        let Some(part) = form.next_field().await.map_err(|error| broken(&error))? else { break };
        let disposition = part.headers().get(header::CONTENT_DISPOSITION).map(|value| value.as_bytes());
        let Disposition { field, file_name } = disposition.map(Disposition::parse).unwrap_or_default();
        let is_file = file_name.is_some();
        if !is_file && first.is_some() {
            continue;
        }
        let content = part.bytes().await.map_err(|error| broken(&error))?;
        let part = Part { field, file_name: base_name(&file_name.unwrap_or_default()), content };
        if is_file {
            return Ok(part);
        }
        first = Some(part);
    }
    first.ok_or_else(|| Error::new(Kind::ImageEmpty, "the form has no part; send one file"))
}

fn broken(error: &multer::Error) -> Error {
    Error::new(Kind::InvalidRequest, format!("the form can't be read: {error}"))
}

#[derive(Deserialize)]
struct Json {
    #[serde(alias = "image")]
    content: String,
    #[serde(default)]
    filename: String,
}

fn of_json(body: &[u8]) -> Result<Part> {
    let json: Json = serde_json::from_slice(body)
        .map_err(|error| Error::new(Kind::InvalidRequest, format!("the JSON can't be read: {error}")))?;
    // A page that reads a file as a data URL sends it with that head.
    let encoded = match json.content.strip_prefix("data:").and_then(|url| url.split_once(";base64,")) {
        Some((_, encoded)) => encoded,
        None => &json.content,
    };
    let content = base64::engine::general_purpose::STANDARD
        .decode(encoded.trim())
        .map_err(|error| Error::invalid("content", format!("not base64: {error}")))?;
    Ok(Part { field: String::new(), file_name: base_name(&json.filename), content: content.into() })
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    /// Pieces that forms are made of, in any order, with anything between them.
    fn form() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just(b"--X\r\n".to_vec()),
            Just(b"\r\n--X--\r\n".to_vec()),
            Just(b"Content-Disposition: form-data; name=\"f\"; filename=\"a.jpg\"\r\n".to_vec()),
            Just(b"Content-Type: image/jpeg\r\n".to_vec()),
            Just(b"\r\n".to_vec()),
            Just(b"\xff\xd8\xff".to_vec()),
            prop::collection::vec(any::<u8>(), 0..40),
        ];
        prop::collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat())
    }

    fn content_type() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            4 => Just(b"multipart/form-data; boundary=X".to_vec()),
            1 => Just(b"multipart/form-data; boundary=\"\"".to_vec()),
            1 => Just(b"application/json".to_vec()),
            1 => prop::collection::vec(any::<u8>(), 0..60),
        ]
    }

    proptest! {
        #[test]
        fn any_body_is_a_part_of_itself_or_refused(
            content_type in content_type(),
            body in prop_oneof![3 => form(), 1 => prop::collection::vec(any::<u8>(), 0..500)],
        ) {
            let Ok(content_type) = HeaderValue::from_bytes(&content_type) else { return Ok(()) };
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, content_type)]);
            let length = body.len();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            match runtime.block_on(find(&headers, body.into())) {
                Ok(part) => {
                    prop_assert!(part.content.len() <= length && part.field.len() <= 3 * length);
                    prop_assert!((1..=255).contains(&part.file_name.len()));
                }
                Err(error) => prop_assert!(matches!(error.kind().http(), 400 | 415), "{error:?}"),
            }
        }

        #[test]
        fn any_json_is_an_image_or_refused(text in r#"\{"(image|content)": ?"\PC{0,40}"(, ?"filename": ?"?\PC{0,20}"?)?\}|\PC{0,60}"#) {
            if let Ok(part) = of_json(text.as_bytes()) {
                prop_assert!(part.content.len() <= text.len());
                prop_assert!((1..=255).contains(&part.file_name.len()));
            }
        }
    }
}
