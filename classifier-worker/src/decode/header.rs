//! What an image says of itself in its first bytes: format and size. Read before anything is
//! decoded, because a few hundred bytes can claim gigabytes.

use platform::{Error, Kind, Result};

use super::undecodable;

/// No side may be longer.
pub const SIDE_MAX: u32 = 16_384;

/// A baseline JPEG is decoded row by row into three bytes a pixel: 120 MB.
pub const PIXELS_MAX: u64 = 40_000_000;

/// Everything else may need several times that: a progressive JPEG its coefficients, a PNG eight bytes a pixel.
pub const PIXELS_MAX_COSTLY: u64 = 16_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Jpeg {
        /// Decoded only once the whole file is read: progressive, or a scan for each colour.
        is_whole: bool,
    },
    Png,
    Gif,
    Bmp,
    WebP,
}

impl Format {
    pub fn name(self) -> &'static str {
        match self {
            Self::Jpeg { .. } => "JPEG",
            Self::Png => "PNG",
            Self::Gif => "GIF",
            Self::Bmp => "BMP",
            Self::WebP => "WebP",
        }
    }

    pub fn extension(self) -> &'static str {
        match self {
            Self::Jpeg { .. } => "jpg",
            Self::Png => "png",
            Self::Gif => "gif",
            Self::Bmp => "bmp",
            Self::WebP => "webp",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub format: Format,
    pub width: u32,
    pub height: u32,
}

/// Reads the header and refuses what is too large.
pub fn read(content: &[u8]) -> Result<Header> {
    if content.is_empty() {
        return Err(Error::new(Kind::ImageEmpty, "the image is empty"));
    }
    let header = match content {
        [0xFF, 0xD8, ..] => jpeg(content)?,
        [0x89, b'P', b'N', b'G', 0x0D, 0x0A, 0x1A, 0x0A, rest @ ..] => {
            sized(Format::Png, be32(rest, 8), be32(rest, 12))?
        }
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', rest @ ..] => gif(rest)?,
        [b'B', b'M', rest @ ..] => bmp(rest)?,
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', rest @ ..] => webp(rest)?,
        _ => {
            let sentence = "not an image of a known format; known: JPEG, PNG, GIF (first frame), BMP, WebP";
            return Err(Error::new(Kind::ImageUnsupportedFormat, sentence));
        }
    };
    check_size(&header)?;
    Ok(header)
}

fn check_size(header: &Header) -> Result<()> {
    let Header { format, width, height } = *header;
    if width == 0 || height == 0 {
        return Err(undecodable(format, format_args!("its size is {width}x{height}")));
    }
    let too_many = |limit: u64, found: u64, what: &str| {
        let sentence = format!("the {} has {width}x{height} pixels; {what} {limit}", format.name());
        Err(Error::new(Kind::ImageTooManyPixels, sentence)
            .with_metadata("limit", limit)
            .with_metadata("found", found)
            .with_metadata("width", width)
            .with_metadata("height", height))
    };
    if width.max(height) > SIDE_MAX {
        return too_many(u64::from(SIDE_MAX), u64::from(width.max(height)), "a side may have");
    }
    let pixels = u64::from(width) * u64::from(height);
    let limit = match format {
        Format::Jpeg { is_whole: false } => PIXELS_MAX,
        _ => PIXELS_MAX_COSTLY,
    };
    if pixels > limit {
        return too_many(limit, pixels, "such an image may have");
    }
    Ok(())
}

fn sized(format: Format, width: Option<u32>, height: Option<u32>) -> Result<Header> {
    match (width, height) {
        (Some(width), Some(height)) => Ok(Header { format, width, height }),
        _ => Err(undecodable(format, "it ends within its header")),
    }
}

/// The screen, or the first frame if that is larger: a decoder allocates either.
fn gif(after_magic: &[u8]) -> Result<Header> {
    let (mut width, mut height) = (le16(after_magic, 0), le16(after_magic, 2));
    if let Some((frame_width, frame_height)) = gif_first_frame(after_magic) {
        width = width.map(|width| width.max(frame_width));
        height = height.map(|height| height.max(frame_height));
    }
    sized(Format::Gif, width, height)
}

/// Walks over the colour table and the extensions to the first frame. `None` if there is none: the
/// decoder says so.
fn gif_first_frame(after_magic: &[u8]) -> Option<(u32, u32)> {
    let flags = *after_magic.get(4)?;
    let table_bytes = if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) };
    let mut at = 7 + table_bytes;
    loop {
        match *after_magic.get(at)? {
            0x2C => return Some((le16(after_magic, at + 5)?, le16(after_magic, at + 7)?)),
            0x21 => {
                at += 2;
                loop {
                    let block = usize::from(*after_magic.get(at)?);
                    at += 1 + block;
                    if block == 0 {
                        break;
                    }
                }
            }
            _ => return None,
        }
    }
}

fn bmp(after_magic: &[u8]) -> Result<Header> {
    // The oldest kind of header has sizes of two bytes; later ones of four, negative for "top down".
    let side = |at| le32(after_magic, at).map(|side| side.cast_signed().unsigned_abs());
    match le32(after_magic, 12) {
        Some(12) => sized(Format::Bmp, le16(after_magic, 16), le16(after_magic, 18)),
        _ => sized(Format::Bmp, side(16), side(20)),
    }
}

fn webp(chunks: &[u8]) -> Result<Header> {
    let (width, height) = match chunks.get(..4) {
        // Lossy: the sizes are after the frame tag and the start code; two bits above are scaling.
        Some(b"VP8 ") => (le16(chunks, 14).map(|w| w & 0x3FFF), le16(chunks, 16).map(|h| h & 0x3FFF)),
        // Lossless: 14 bits each after the signature, less one.
        Some(b"VP8L") => {
            let bits = le32(chunks, 9);
            (bits.map(|bits| (bits & 0x3FFF) + 1), bits.map(|bits| (bits >> 14 & 0x3FFF) + 1))
        }
        // Extended: 24 bits each, less one.
        Some(b"VP8X") => (le24(chunks, 12).map(|w| w + 1), le24(chunks, 15).map(|h| h + 1)),
        _ => return Err(undecodable(Format::WebP, "it has no picture")),
    };
    sized(Format::WebP, width, height)
}

/// Walks over the segments to the first scan. Frames that no common decoder reads (12 bits, lossless,
/// arithmetic coding) are an unsupported format.
fn jpeg(content: &[u8]) -> Result<Header> {
    const FORMAT: Format = Format::Jpeg { is_whole: false };
    let mut frame: Option<(u8, &[u8])> = None;
    for segment in segments(content) {
        match (segment.marker, frame) {
            // Start of frame; C4, C8 and CC are tables.
            (marker @ (0xC0..=0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF), None) => {
                frame = Some((marker, segment.body));
            }
            (0xDA, Some((marker, body))) => {
                let (bits, height, width) = (body.first(), be16(body, 1), be16(body, 3));
                if bits.is_some_and(|bits| *bits != 8) || marker > 0xC2 {
                    let sentence =
                        "this kind of JPEG is not supported; save it as baseline or progressive, 8 bits";
                    return Err(Error::new(Kind::ImageUnsupportedFormat, sentence));
                }
                // A first scan with some of the components only: the others come in later ones.
                let is_whole = marker == 0xC2 || body.get(5) != segment.body.first();
                return sized(Format::Jpeg { is_whole }, width, height);
            }
            _ => {}
        }
    }
    Err(undecodable(FORMAT, "it ends within its header"))
}

/// One segment of a JPEG's header: its marker and what follows its length.
pub(super) struct Segment<'a> {
    pub(super) marker: u8,
    pub(super) body: &'a [u8],
    /// Where the bytes after it begin.
    pub(super) end: usize,
}

/// The segments after the start of the image, as far as they are whole.
pub(super) fn segments(content: &[u8]) -> impl Iterator<Item = Segment<'_>> {
    let mut at = 2;
    std::iter::from_fn(move || {
        // Stray bytes between segments are in some cameras' files; decoders skip them, too.
        while content.get(at).is_some_and(|byte| *byte != 0xFF) {
            at += 1;
        }
        while content.get(at) == Some(&0xFF) {
            at += 1;
        }
        let marker = *content.get(at)?;
        at += 1;
        // Markers that stand alone.
        if matches!(marker, 0x00 | 0x01 | 0xD0..=0xD9) {
            return Some(Segment { marker, body: &[], end: at });
        }
        let length = usize::try_from(be16(content, at)?).ok()?;
        let body = content.get(at + 2..at + length)?;
        at += length;
        Some(Segment { marker, body, end: at })
    })
}

fn be16(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|two| u32::from(u16::from_be_bytes(*two)))
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|four| u32::from_be_bytes(*four))
}

fn le16(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|two| u32::from(u16::from_le_bytes(*two)))
}

fn le24(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|[a, b, c]| u32::from_le_bytes([*a, *b, *c, 0]))
}

fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|four| u32::from_le_bytes(*four))
}
