//! From a picture to the numbers a model takes: a centred cut, one resize, turned, normalised.

use bytes::Bytes;
use fast_image_resize::{
    FilterType, PixelTrait, ResizeAlg, ResizeOptions, Resizer,
    images::{TypedImage, TypedImageRef},
    pixels::{U8, U8x3},
};
use image::metadata::Orientation;
use platform::{Error, Result};
use serde::Deserialize;

use super::{Picture, Pixels, decode};

/// A buffer that one large picture made larger than this is given back.
const BUFFER_KEPT_BYTES: usize = 16 * 1024 * 1024;

/// What a model takes.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    pub width: u32,
    pub height: u32,
    pub layout: Layout,
    pub channels: ChannelOrder,
    /// A value `v` from 0 to 255 of channel `c` becomes `(v - mean[c]) / std[c]`.
    pub mean: [f32; 3],
    pub std: [f32; 3],
    /// The part of the picture's short side that the cut has.
    pub crop: f32,
    pub resize: ResizeFilter,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    Nchw,
    Nhwc,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChannelOrder {
    Rgb,
    Bgr,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResizeFilter {
    CatmullRom,
    Bilinear,
    Nearest,
}

impl Target {
    /// Numbers for one image.
    pub fn len(&self) -> usize {
        self.pixels() * 3
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is wrong with it, all of it.
    pub fn problems(&self) -> Vec<String> {
        const SIDE_MAX: u32 = 4096;
        let mut wrong = Vec::new();
        if !(1..=SIDE_MAX).contains(&self.width) || !(1..=SIDE_MAX).contains(&self.height) {
            wrong.push(format!("input.width and input.height must be from 1 to {SIDE_MAX}"));
        }
        if !(self.crop > 0.0 && self.crop <= 1.0) {
            wrong.push("input.crop must be over 0 and at most 1".to_owned());
        }
        if !self.mean.iter().all(|mean| mean.is_finite()) {
            wrong.push("input.mean must be three numbers".to_owned());
        }
        if !self.std.iter().all(|std| std.is_finite() && *std != 0.0) {
            wrong.push("input.std must be three numbers other than 0".to_owned());
        }
        wrong
    }

    fn pixels(&self) -> usize {
        // Both are at most 4096 (`ModelFolder`), so this holds on every machine.
        usize::try_from(self.width).unwrap_or(0) * usize::try_from(self.height).unwrap_or(0)
    }
}

/// Does it, with buffers that stay.
pub struct Preparer {
    target: Target,
    resizer: Resizer,
    decoded: Vec<u8>,
    resized: Vec<u8>,
    /// For each place in the model's channel order, what each value becomes.
    tables: [[f32; 256]; 3],
}

impl Preparer {
    pub fn new(target: Target) -> Self {
        let table = |channel: usize| {
            let (mean, std) = (target.mean[channel], target.std[channel]);
            std::array::from_fn(|value| (f32::from(u8::try_from(value).unwrap_or(u8::MAX)) - mean) / std)
        };
        let tables = [table(0), table(1), table(2)];
        Self { target, resizer: Resizer::new(), decoded: Vec::new(), resized: Vec::new(), tables }
    }

    /// Decodes an image and writes what the model takes of it to `into`, which has `Target::len` places.
    pub fn prepare(&mut self, content: &Bytes, into: &mut [f32]) -> Result<()> {
        if into.len() != self.target.len() {
            return Err(Error::internal("a buffer of another size than the model's input"));
        }
        let mut picture = decode(content, &mut self.decoded)?;
        flatten(&mut picture, &mut self.decoded);
        // Typed, so that the resizer is compiled for these two kinds of pixel and not for all it knows.
        match picture.pixels {
            Pixels::Grey | Pixels::GreyAlpha => self.resize::<U8>(&picture)?,
            Pixels::Rgb | Pixels::RgbAlpha => self.resize::<U8x3>(&picture)?,
        }
        self.normalise(&picture, into);
        if self.decoded.capacity() > BUFFER_KEPT_BYTES {
            self.decoded = Vec::new();
        }
        Ok(())
    }

    /// Cut and resize in one pass, into `resized`, before it is turned: the cut is centred, so it is
    /// the same turned before and after, and the small picture is turned at no cost.
    fn resize<P: PixelTrait>(&mut self, picture: &Picture) -> Result<()> {
        let (width, height) = self.unturned_size(picture.orientation);
        let cut = cut(picture, f64::from(self.target.crop), f64::from(width) / f64::from(height));
        let algorithm = match self.target.resize {
            ResizeFilter::CatmullRom => ResizeAlg::Convolution(FilterType::CatmullRom),
            ResizeFilter::Bilinear => ResizeAlg::Convolution(FilterType::Bilinear),
            ResizeFilter::Nearest => ResizeAlg::Nearest,
        };
        let failed =
            |error: &dyn std::fmt::Display| Error::internal(error.to_string()).context("resize image");
        self.resized.clear();
        self.resized.resize(self.target.pixels() * picture.pixels.bytes(), 0);
        let from = TypedImageRef::<P>::from_buffer(picture.width, picture.height, &self.decoded)
            .map_err(|error| failed(&error))?;
        let mut to =
            TypedImage::<P>::from_buffer(width, height, &mut self.resized).map_err(|error| failed(&error))?;
        let options =
            ResizeOptions::new().resize_alg(algorithm).crop(cut.left, cut.top, cut.width, cut.height);
        self.resizer.resize_typed(&from, &mut to, &options).map_err(|error| failed(&error))
    }

    /// The model's size, for a picture that is still as the camera held it.
    fn unturned_size(&self, orientation: Orientation) -> (u32, u32) {
        if is_sideways(orientation) {
            (self.target.height, self.target.width)
        } else {
            (self.target.width, self.target.height)
        }
    }

    fn normalise(&self, picture: &Picture, into: &mut [f32]) {
        let pixels = self.target.pixels();
        let is_usual = picture.pixels == Pixels::Rgb
            && picture.orientation == Orientation::NoTransforms
            && (self.target.layout, self.target.channels) == (Layout::Nchw, ChannelOrder::Rgb);
        if is_usual {
            // The same without a choice at each pixel: nearly every image is so.
            let (reds, rest) = into.split_at_mut(pixels);
            let (greens, blues) = rest.split_at_mut(pixels);
            let numbers = reds.iter_mut().zip(greens).zip(blues);
            for (((red, green), blue), pixel) in numbers.zip(self.resized.as_chunks::<3>().0) {
                *red = self.tables[0][usize::from(pixel[0])];
                *green = self.tables[1][usize::from(pixel[1])];
                *blue = self.tables[2][usize::from(pixel[2])];
            }
            return;
        }
        let bytes = picture.pixels.bytes();
        let width = usize::try_from(self.target.width).unwrap_or(0);
        let height = usize::try_from(self.target.height).unwrap_or(0);
        let straight = picture.orientation == Orientation::NoTransforms;
        let order = match self.target.channels {
            ChannelOrder::Rgb => [0, 1, 2],
            ChannelOrder::Bgr => [2, 1, 0],
        };
        for place in 0..pixels {
            let source = if straight {
                place
            } else {
                let (x, y) = (place % width, place / width);
                source_of(picture.orientation, (x, y), (width, height))
            };
            let Some(pixel) = self.resized.get(source * bytes..(source + 1) * bytes) else { continue };
            let rgb = match *pixel {
                [grey] => [grey; 3],
                [red, green, blue] => [red, green, blue],
                _ => continue,
            };
            for (channel, from) in order.into_iter().enumerate() {
                let at = match self.target.layout {
                    Layout::Nchw => channel * pixels + place,
                    Layout::Nhwc => place * 3 + channel,
                };
                if let Some(number) = into.get_mut(at) {
                    *number = self.tables[channel][usize::from(rgb[from])];
                }
            }
        }
    }
}

struct Cut {
    left: f64,
    top: f64,
    width: f64,
    height: f64,
}

/// The largest centred cut of this shape, times `part`.
fn cut(picture: &Picture, part: f64, width_over_height: f64) -> Cut {
    let (width, height) = (f64::from(picture.width), f64::from(picture.height));
    let cut_width = width.min(height * width_over_height) * part;
    let cut_height = height.min(width / width_over_height) * part;
    Cut {
        left: (width - cut_width) / 2.0,
        top: (height - cut_height) / 2.0,
        width: cut_width,
        height: cut_height,
    }
}

fn is_sideways(orientation: Orientation) -> bool {
    matches!(
        orientation,
        Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH
    )
}

/// Where in the unturned picture the pixel lies that belongs to `at` in the turned one of `size`.
fn source_of(orientation: Orientation, at: (usize, usize), size: (usize, usize)) -> usize {
    let ((x, y), (width, height)) = (at, size);
    let (right, bottom) = (width - 1 - x, height - 1 - y);
    match orientation {
        Orientation::NoTransforms => y * width + x,
        Orientation::FlipHorizontal => y * width + right,
        Orientation::Rotate180 => bottom * width + right,
        Orientation::FlipVertical => bottom * width + x,
        // Sideways: a row of the unturned picture has `height` pixels.
        Orientation::Rotate90 => right * height + y,
        Orientation::Rotate270 => x * height + bottom,
        Orientation::Rotate90FlipH => x * height + y,
        Orientation::Rotate270FlipH => right * height + bottom,
    }
}

/// Takes the transparency out of a picture, in place: where it is transparent, white shows.
fn flatten(picture: &mut Picture, pixels: &mut Vec<u8>) {
    let colours = match picture.pixels {
        Pixels::Grey | Pixels::Rgb => return,
        Pixels::GreyAlpha => 1,
        Pixels::RgbAlpha => 3,
    };
    let count = pixels.len() / (colours + 1);
    for i in 0..count {
        let from = i * (colours + 1);
        let alpha = pixels[from + colours];
        for colour in 0..colours {
            pixels[i * colours + colour] = over(pixels[from + colour], alpha);
        }
    }
    pixels.truncate(count * colours);
    picture.pixels = if colours == 1 { Pixels::Grey } else { Pixels::Rgb };
}

fn over(value: u8, alpha: u8) -> u8 {
    let (value, alpha) = (u32::from(value), u32::from(alpha));
    let mixed = (value * alpha + 255 * (255 - alpha) + 127) / 255;
    u8::try_from(mixed).unwrap_or(u8::MAX)
}
