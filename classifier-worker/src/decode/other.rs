//! PNG, GIF, BMP and WebP, by `image`.

use std::io::Cursor;

use bytes::Bytes;
use image::{ColorType, DynamicImage, ImageDecoder as _, ImageFormat, ImageReader, Limits};
use platform::{Result, error::Error};

use super::{
    Picture, Pixels,
    header::{Format, Header, SIDE_MAX},
    undecodable,
};

/// The largest picture the header may announce, with eight bytes a pixel, and half of that again.
const ALLOCATION_MAX: u64 = 192 * 1024 * 1024;

pub(super) fn decode(content: &Bytes, header: &Header, buffer: &mut Vec<u8>) -> Result<Picture> {
    let damaged = |error: image::ImageError| undecodable(header.format, error);
    let mut reader = ImageReader::with_format(Cursor::new(content.as_ref()), format(header.format));
    let mut limits = Limits::default();
    limits.max_image_width = Some(SIDE_MAX);
    limits.max_image_height = Some(SIDE_MAX);
    limits.max_alloc = Some(ALLOCATION_MAX);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(damaged)?;
    let (width, height) = decoder.dimensions();
    // The limits were checked on what our own reading of the header says.
    if u64::from(width) * u64::from(height) > u64::from(header.width) * u64::from(header.height) {
        let reason = format!("its headers contradict each other on its size, {width}x{height}");
        return Err(undecodable(header.format, reason));
    }
    let orientation = decoder.orientation().map_err(damaged)?;
    let color = decoder.color_type();
    let direct = match color {
        ColorType::L8 => Some(Pixels::Grey),
        ColorType::La8 => Some(Pixels::GreyAlpha),
        ColorType::Rgb8 => Some(Pixels::Rgb),
        ColorType::Rgba8 => Some(Pixels::RgbAlpha),
        _ => None,
    };
    let pixels = if let Some(pixels) = direct {
        buffer.clear();
        buffer.resize(bytes(decoder.total_bytes())?, 0);
        decoder.read_image(buffer).map_err(damaged)?;
        pixels
    } else {
        // Sixteen bits, or floating point.
        let image = DynamicImage::from_decoder(decoder).map_err(damaged)?;
        if color.has_alpha() {
            *buffer = image.into_rgba8().into_raw();
            Pixels::RgbAlpha
        } else {
            *buffer = image.into_rgb8().into_raw();
            Pixels::Rgb
        }
    };
    Ok(Picture { width, height, pixels, orientation })
}

fn bytes(count: u64) -> Result<usize> {
    usize::try_from(count).map_err(|error| Error::internal(error).context("decode image"))
}

fn format(format: Format) -> ImageFormat {
    match format {
        Format::Jpeg { .. } => ImageFormat::Jpeg,
        Format::Png => ImageFormat::Png,
        Format::Gif => ImageFormat::Gif,
        Format::Bmp => ImageFormat::Bmp,
        Format::WebP => ImageFormat::WebP,
    }
}
