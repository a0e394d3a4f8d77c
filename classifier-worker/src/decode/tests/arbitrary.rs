//! Any bytes at all: a header with bounded sizes or an error, a picture or an error, and never a panic.

use proptest::prelude::*;

use super::{super::header, *};

/// What formats begin with, up to where their sizes stand.
const BEGINNINGS: [&[u8]; 9] = [
    b"",
    b"\xff\xd8",
    b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0\xff\xc0\0\x11\x08",
    b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR",
    b"GIF89a",
    b"BM",
    b"RIFF\0\0\0\0WEBPVP8 ",
    b"RIFF\0\0\0\0WEBPVP8L",
    b"RIFF\0\0\0\0WEBPVP8X",
];

fn any_content() -> impl Strategy<Value = Vec<u8>> {
    let beginning = prop::sample::select(BEGINNINGS.to_vec());
    (beginning, prop::collection::vec(any::<u8>(), 0..200)).prop_map(|(first, rest)| [first, &rest].concat())
}

/// A small picture of each format with some bytes changed and perhaps its end missing.
fn spoilt_picture() -> impl Strategy<Value = Vec<u8>> {
    let formats =
        [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Gif, ImageFormat::Bmp, ImageFormat::WebP];
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8);
    let kept = prop::option::of(any::<prop::sample::Index>());
    (prop::sample::select(formats.to_vec()), changes, kept).prop_map(|(format, changes, kept)| {
        let mut bytes = encode(halves(), format);
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate(kept.map_or(bytes.len(), |kept| kept.index(bytes.len())));
        bytes
    })
}

proptest! {
    #[test]
    fn header_of_anything_is_bounded_or_an_error(content in any_content()) {
        if let Ok(found) = header::read(&content) {
            prop_assert!(found.width.max(found.height) <= header::SIDE_MAX);
            prop_assert!(u64::from(found.width) * u64::from(found.height) <= header::PIXELS_MAX);
        }
    }

    #[test]
    fn damaged_picture_is_a_picture_or_an_error(content in spoilt_picture()) {
        match see(content, 8) {
            Ok(pixels) => prop_assert_eq!(pixels.len(), 64),
            Err(error) => prop_assert_eq!(error.kind().code(), Kind::ImageUndecodable.code(), "{:?}", error),
        }
    }
}
