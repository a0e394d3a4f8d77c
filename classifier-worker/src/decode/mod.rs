//! From a caller's bytes to pixels, under limits: the header is read and judged before anything is
//! decoded, and what is allocated is bounded by it.

use bytes::Bytes;
use image::metadata::Orientation;
use platform::{Error, Kind, Result};

pub mod header;
mod jpeg;
mod other;
mod prepare;

use header::Format;
pub use prepare::{ChannelOrder, Layout, Preparer, ResizeFilter, Target};

/// How the pixels of a picture lie in memory, a byte for each value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pixels {
    Grey,
    GreyAlpha,
    Rgb,
    RgbAlpha,
}

impl Pixels {
    fn bytes(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::GreyAlpha => 2,
            Self::Rgb => 3,
            Self::RgbAlpha => 4,
        }
    }
}

/// A decoded picture: `width * height` pixels in rows, without gaps, not yet turned as its camera was.
/// A decoder may give it smaller than its header says.
struct Picture {
    width: u32,
    height: u32,
    pixels: Pixels,
    orientation: Orientation,
}

/// Decodes into `buffer`, which is made as large as needed and may be used again.
fn decode(content: &Bytes, buffer: &mut Vec<u8>) -> Result<Picture> {
    let header = header::read(content)?;
    match header.format {
        Format::Jpeg { .. } => jpeg::decode(content, &header, buffer),
        Format::Png | Format::Gif | Format::Bmp | Format::WebP => other::decode(content, &header, buffer),
    }
}

/// The error for bytes that start like an image and are none. `reason` is for the caller as well.
fn undecodable(format: Format, reason: impl std::fmt::Display) -> Error {
    let sentence = format!("the {} is damaged or cut off: {reason}", format.name());
    Error::new(Kind::ImageUndecodable, sentence).with_metadata("format", format.name())
}

#[cfg(test)]
mod tests;
