//! JPEG, by zune-jpeg: grey stays grey, everything else becomes RGB.

use bytes::Bytes;
use image::metadata::Orientation;
use platform::Result;
use zune_jpeg::{
    JpegDecoder,
    zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions},
};

use super::{
    Picture, Pixels,
    header::{Header, SIDE_MAX, segments},
    undecodable,
};

pub(super) fn decode(content: &Bytes, header: &Header, buffer: &mut Vec<u8>) -> Result<Picture> {
    if !is_complete(content) {
        return Err(undecodable(header.format, "its end is missing"));
    }
    match attempt(content, header, buffer, Strictness::Strict) {
        // Harmless, and in the files of some cameras; everything else that is strict about is damage.
        Err(reason) if reason.contains("Extra bytes between headers") => {
            attempt(content, header, buffer, Strictness::Tolerant)
        }
        other => other,
    }
    .map_err(|reason| undecodable(header.format, reason))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Strictness {
    /// Damage is an error.
    Strict,
    /// Damage leaves grey places.
    Tolerant,
}

fn attempt(
    content: &Bytes,
    header: &Header,
    buffer: &mut Vec<u8>,
    strictness: Strictness,
) -> Result<Picture, String> {
    let side_max = usize::try_from(SIDE_MAX).map_err(|error| error.to_string())?;
    let options = DecoderOptions::default()
        .set_strict_mode(strictness == Strictness::Strict)
        .set_max_width(side_max)
        .set_max_height(side_max)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(content.as_ref()), options);
    decoder.decode_headers().map_err(|error| error.to_string())?;
    let mut pixels = Pixels::Rgb;
    if decoder.input_colorspace() == Some(ColorSpace::Luma) {
        pixels = Pixels::Grey;
        decoder.set_options(options.jpeg_set_out_colorspace(ColorSpace::Luma));
    }
    let info = decoder.info().ok_or("it has no header")?;
    let (width, height) = (u32::from(info.width), u32::from(info.height));
    // The limits were checked on what our own reading of the header says.
    if (width, height) != (header.width, header.height) {
        return Err(format!("its headers contradict each other on its size, {width}x{height}"));
    }
    let bytes = usize::from(info.width) * usize::from(info.height) * pixels.bytes();
    buffer.clear();
    buffer.resize(bytes, 0);
    decoder.decode_into(buffer).map_err(|error| error.to_string())?;
    let orientation = decoder.exif().and_then(|exif| Orientation::from_exif_chunk(exif));
    Ok(Picture { width, height, pixels, orientation: orientation.unwrap_or(Orientation::NoTransforms) })
}

/// Whether the end of the image is there. Decoders make up for a missing end with grey, and one
/// that is missing within the last rows they do not even notice.
fn is_complete(content: &[u8]) -> bool {
    if content.ends_with(&[0xFF, 0xD9]) {
        return true;
    }
    // Something follows the image, or it is cut off. Headers are walked over, since a thumbnail in
    // them has an end of its own; then in the scans every FF that is no data is a marker.
    let Some(scan) = segments(content).find(|segment| segment.marker == 0xDA) else { return false };
    let scans = content.get(scan.end..).unwrap_or_default();
    scans.windows(2).any(|pair| pair == [0xFF, 0xD9])
}
