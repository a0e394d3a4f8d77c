//! What each kind of image becomes, and what each kind of damage is called.

use image::{
    DynamicImage, ExtendedColorType, ImageEncoder as _, ImageFormat, Rgb, RgbImage, Rgba, RgbaImage, codecs,
};

use super::*;

mod arbitrary;
mod flat_jpeg;

use flat_jpeg::FlatJpeg;

const RED: [u8; 3] = [200, 30, 40];
const BLUE: [u8; 3] = [20, 60, 210];

/// A model that sees a picture as it is, so that its numbers are colours.
fn seeing(side: u32) -> Target {
    Target {
        width: side,
        height: side,
        layout: Layout::Nhwc,
        channels: ChannelOrder::Rgb,
        mean: [0.0; 3],
        std: [1.0; 3],
        crop: 1.0,
        resize: ResizeFilter::CatmullRom,
    }
}

fn numbers(content: Vec<u8>, target: Target) -> Result<Vec<f32>> {
    let mut numbers = vec![0.0; target.len()];
    Preparer::new(target).prepare(&Bytes::from(content), &mut numbers)?;
    Ok(numbers)
}

/// The picture a model with `side` pixels a side sees.
fn see(content: Vec<u8>, side: u32) -> Result<Vec<[f32; 3]>> {
    Ok(pixels(&numbers(content, seeing(side))?))
}

fn pixels(numbers: &[f32]) -> Vec<[f32; 3]> {
    numbers.chunks_exact(3).map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect()
}

fn is_near(found: [f32; 3], wanted: [u8; 3], tolerance: f32) -> bool {
    found.iter().zip(wanted).all(|(found, wanted)| (found - f32::from(wanted)).abs() <= tolerance)
}

fn sample(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/../clients/cli/samples/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// Left half red, right half blue.
fn halves() -> RgbImage {
    RgbImage::from_fn(32, 32, |x, _| Rgb(if x < 16 { RED } else { BLUE }))
}

fn encode(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

#[test]
fn every_format_shows_the_same_picture() {
    let check = |what: &str, content: Vec<u8>, tolerance: f32| {
        let seen = see(content, 32).unwrap_or_else(|error| panic!("{what}: {error}"));
        // Away from the edge between the halves, where a JPEG rings.
        for (at, wanted) in [(16 * 32 + 4, RED), (16 * 32 + 28, BLUE)] {
            assert!(is_near(seen[at], wanted, tolerance), "{what}: {:?} is not {wanted:?}", seen[at]);
        }
    };
    check("png", encode(halves(), ImageFormat::Png), 0.0);
    check("bmp", encode(halves(), ImageFormat::Bmp), 0.0);
    check("gif", encode(halves(), ImageFormat::Gif), 0.0);
    check("webp", encode(halves(), ImageFormat::WebP), 0.0);
    check("jpeg", encode(halves(), ImageFormat::Jpeg), 8.0);
    check("png with 16 bits", encode(DynamicImage::from(halves()).into_rgb16(), ImageFormat::Png), 1.0);
}

#[test]
fn grey_is_the_same_in_all_three_colours() {
    let grey = image::GrayImage::from_pixel(9, 7, image::Luma([77]));
    for format in [ImageFormat::Png, ImageFormat::Jpeg] {
        let seen = see(encode(grey.clone(), format), 4).unwrap();
        assert!(seen.iter().all(|pixel| is_near(*pixel, [77; 3], 1.0)), "{format:?}: {seen:?}");
    }
}

#[test]
fn white_shows_through_what_is_transparent() {
    let check = |what: &str, pixel: Rgba<u8>, wanted: [u8; 3]| {
        let image = RgbaImage::from_pixel(8, 8, pixel);
        let seen = see(encode(image, ImageFormat::Png), 4).unwrap();
        assert!(seen.iter().all(|pixel| is_near(*pixel, wanted, 2.0)), "{what}: {seen:?}");
    };
    check("clear", Rgba([10, 20, 30, 0]), [255; 3]);
    check("solid", Rgba([10, 20, 30, 255]), [10, 20, 30]);
    check("half", Rgba([10, 20, 30, 128]), [132, 137, 142]);
    let grey = image::GrayAlphaImage::from_pixel(8, 8, image::LumaA([40, 0]));
    let seen = see(encode(grey, ImageFormat::Png), 4).unwrap();
    assert!(seen.iter().all(|pixel| is_near(*pixel, [255; 3], 0.0)), "clear grey: {seen:?}");
}

#[test]
fn first_frame_of_a_gif_counts() {
    let mut bytes = Vec::new();
    let mut encoder = codecs::gif::GifEncoder::new(&mut bytes);
    for colour in [RED, BLUE] {
        let frame = RgbaImage::from_pixel(8, 8, Rgba([colour[0], colour[1], colour[2], 255]));
        encoder.encode_frame(image::Frame::new(frame)).unwrap();
    }
    drop(encoder);
    assert!(see(bytes, 4).unwrap().iter().all(|pixel| is_near(*pixel, RED, 2.0)));
}

#[test]
fn colours_of_a_jpeg_follow_its_adobe_marker() {
    let check = |what: &str, jpeg: FlatJpeg, wanted: [u8; 3]| {
        let seen = see(jpeg.encode(), 4).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(seen.iter().all(|pixel| is_near(*pixel, wanted, 2.0)), "{what}: {:?}", seen[0]);
    };
    check("grey", FlatJpeg::of(&[90]), [90; 3]);
    check("YCbCr", FlatJpeg::of(&[149, 43, 21]), [0, 255, 0]);
    check("RGB", FlatJpeg::of(&[200, 100, 50]).adobe(0), [200, 100, 50]);
    // Adobe stores the inks inverted: 255 is none.
    check("CMYK, no ink", FlatJpeg::of(&[255, 255, 255, 255]).adobe(0), [255; 3]);
    check("CMYK, cyan", FlatJpeg::of(&[0, 255, 255, 255]).adobe(0), [0, 255, 255]);
    check("CMYK, half black", FlatJpeg::of(&[255, 255, 255, 128]).adobe(0), [128; 3]);
    check("CMYK, all inks", FlatJpeg::of(&[0, 0, 0, 0]).adobe(0), [0; 3]);
    // YCCK: the first three are the inverted inks, turned over and as YCbCr: no ink is Y = 0.
    check("YCCK, no ink", FlatJpeg::of(&[0, 128, 128, 255]).adobe(2), [255; 3]);
    check("YCCK, half black", FlatJpeg::of(&[0, 128, 128, 128]).adobe(2), [128; 3]);
    check("YCCK, all inks", FlatJpeg::of(&[255, 128, 128, 0]).adobe(2), [0; 3]);
}

/// A picture of two rows and three columns of plain squares, as a camera stores it, and what it shows.
#[test]
fn picture_is_turned_as_its_camera_was() {
    const STORED: [u8; 6] = [40, 80, 120, 160, 200, 240];
    let check = |orientation: u8, columns: usize, wanted: [u8; 6]| {
        let jpeg = FlatJpeg::squares(3, &STORED).turned(orientation).encode();
        let width = columns * 8;
        let height = 6 / columns * 8;
        let target = Target {
            width: u32::try_from(width).unwrap(),
            height: u32::try_from(height).unwrap(),
            resize: ResizeFilter::Nearest,
            ..seeing(1)
        };
        let seen = pixels(&numbers(jpeg, target).unwrap());
        for (i, wanted) in wanted.into_iter().enumerate() {
            let (x, y) = (i % columns * 8 + 4, i / columns * 8 + 4);
            let found = seen[y * width + x];
            assert!(is_near(found, [wanted; 3], 1.0), "orientation {orientation}, square {i}: {found:?}");
        }
    };
    check(1, 3, [40, 80, 120, 160, 200, 240]);
    check(2, 3, [120, 80, 40, 240, 200, 160]);
    check(3, 3, [240, 200, 160, 120, 80, 40]);
    check(4, 3, [160, 200, 240, 40, 80, 120]);
    check(5, 2, [40, 160, 80, 200, 120, 240]);
    check(6, 2, [160, 40, 200, 80, 240, 120]);
    check(7, 2, [240, 120, 200, 80, 160, 40]);
    check(8, 2, [120, 240, 80, 200, 40, 160]);
}

#[test]
fn cut_is_centred_and_a_part_of_the_short_side() {
    // Red on both sides, blue in the middle third.
    let wide = RgbImage::from_fn(96, 32, |x, _| Rgb(if (32..64).contains(&x) { BLUE } else { RED }));
    let seen = see(encode(wide, ImageFormat::Png), 16).unwrap();
    // The filter looks a little beyond the cut's edge.
    assert!(seen.iter().all(|pixel| is_near(*pixel, BLUE, 15.0)), "{seen:?}");
    // A blue frame of two around 12: with a crop of 0.75 nothing of it is left.
    let framed = RgbImage::from_fn(16, 16, |x, y| {
        Rgb(if (2..14).contains(&x) && (2..14).contains(&y) { RED } else { BLUE })
    });
    let target = Target { crop: 0.75, resize: ResizeFilter::Nearest, ..seeing(8) };
    let seen = pixels(&numbers(encode(framed, ImageFormat::Png), target).unwrap());
    assert!(seen.iter().all(|pixel| is_near(*pixel, RED, 0.0)), "{seen:?}");
}

#[test]
fn layout_order_and_scale_are_the_models() {
    let content = encode(RgbImage::from_pixel(4, 4, Rgb([10, 20, 30])), ImageFormat::Png);
    let check = |layout: Layout, channels: ChannelOrder, wanted: [f32; 12]| {
        let target = Target { layout, channels, mean: [10.0, 0.0, 0.0], std: [1.0, 2.0, 10.0], ..seeing(2) };
        assert_eq!(numbers(content.clone(), target).unwrap(), wanted, "{layout:?} {channels:?}");
    };
    check(Layout::Nchw, ChannelOrder::Rgb, [0.0, 0.0, 0.0, 0.0, 10.0, 10.0, 10.0, 10.0, 3.0, 3.0, 3.0, 3.0]);
    check(Layout::Nhwc, ChannelOrder::Rgb, [0.0, 10.0, 3.0, 0.0, 10.0, 3.0, 0.0, 10.0, 3.0, 0.0, 10.0, 3.0]);
    // Mean and scale are given in the model's own order.
    check(
        Layout::Nhwc,
        ChannelOrder::Bgr,
        [20.0, 10.0, 1.0, 20.0, 10.0, 1.0, 20.0, 10.0, 1.0, 20.0, 10.0, 1.0],
    );
}

#[test]
fn damage_is_told_apart() {
    let check = |what: &str, content: Vec<u8>, wanted: Kind| {
        let error = see(content, 8).expect_err(what);
        assert_eq!(error.kind(), wanted, "{what}: {error}");
    };
    let cut = |mut content: Vec<u8>, thousandths: usize| {
        content.truncate(content.len() * thousandths / 1000);
        content
    };
    check("empty", Vec::new(), Kind::ImageEmpty);
    check("text", b"hello, this is no image".to_vec(), Kind::ImageUnsupportedFormat);
    check("TIFF", b"II*\0aaaaaaaaaaaaaaaa".to_vec(), Kind::ImageUnsupportedFormat);
    check("JPEG's magic alone", vec![0xFF, 0xD8], Kind::ImageUndecodable);
    check("PNG's magic alone", b"\x89PNG\r\n\x1a\n".to_vec(), Kind::ImageUndecodable);
    for name in ["china.jpg", "flower.jpg", "rocket.jpg", "chelsea.png", "coffee.png"] {
        for thousandths in [10, 500, 900] {
            check(
                &format!("{thousandths}/1000 of {name}"),
                cut(sample(name), thousandths),
                Kind::ImageUndecodable,
            );
        }
    }
    let mut without_end = sample("china.jpg");
    without_end.truncate(without_end.len() - 2);
    check("a photograph without its end", without_end, Kind::ImageUndecodable);
    for format in [ImageFormat::Gif, ImageFormat::Bmp, ImageFormat::WebP] {
        check(&format!("half of a {format:?}"), cut(encode(halves(), format), 500), Kind::ImageUndecodable);
    }
    let mut holed = sample("china.jpg");
    let middle = holed.len() / 2;
    // All ones: no code of any JPEG. (Most other bytes would be some picture.)
    holed[middle..middle + 4096].as_chunks_mut().0.fill([0xFF, 0x00]);
    check("a photograph with a hole", holed, Kind::ImageUndecodable);
}

#[test]
fn bytes_after_the_image_do_no_harm() {
    let mut jpeg = sample("china.jpg");
    jpeg.extend_from_slice(&[0; 100]);
    see(jpeg, 8).unwrap();
}

/// The headers say it, so nothing of that size is ever allocated.
#[test]
fn bombs_are_refused_by_their_headers() {
    let check = |what: &str, content: Vec<u8>, limit: u64, size: (u32, u32)| {
        let error = see(content, 8).expect_err(what);
        assert_eq!(error.kind(), Kind::ImageTooManyPixels, "{what}: {error}");
        for (key, wanted) in [("limit", limit), ("width", size.0.into()), ("height", size.1.into())] {
            assert_eq!(error.metadata()[key], wanted.to_string(), "{what}: {key}");
        }
        assert!(error.metadata().contains_key("found"), "{what}");
    };
    check("PNG 20000x20000", png_claiming(20_000, 20_000), 16_384, (20_000, 20_000));
    check("PNG 5000x5000", png_claiming(5000, 5000), 16_000_000, (5000, 5000));
    check("progressive 65500x65500", jpeg_claiming(0xC2, 65_500, 65_500), 16_384, (65_500, 65_500));
    check("progressive 5000x5000", jpeg_claiming(0xC2, 5000, 5000), 16_000_000, (5000, 5000));
    check("baseline 8000x8000", jpeg_claiming(0xC0, 8000, 8000), 40_000_000, (8000, 8000));
    let mut gif = b"GIF89a\x01\x00\x01\x00\x00\x00\x00".to_vec();
    gif.extend_from_slice(b"\x2c\x00\x00\x00\x00\xff\xff\xff\xff\x00\x02\x00");
    check("GIF with a large frame", gif, 16_384, (65_535, 65_535));
    let mut bmp = b"BM".to_vec();
    bmp.extend_from_slice(&[0; 12]);
    bmp.extend_from_slice(&40_u32.to_le_bytes());
    bmp.extend_from_slice(&30_000_i32.to_le_bytes());
    bmp.extend_from_slice(&(-30_000_i32).to_le_bytes());
    check("BMP top down", bmp, 16_384, (30_000, 30_000));
    let mut webp = b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0".to_vec();
    webp.extend_from_slice(&[0xFF; 6]);
    check("WebP", webp, 16_384, (1 << 24, 1 << 24));
}

#[test]
fn jpeg_that_says_a_size_of_zero_is_damaged() {
    for (width, height) in [(0, 8), (8, 0)] {
        let error = see(jpeg_claiming(0xC0, width, height), 8).unwrap_err();
        assert_eq!(error.kind(), Kind::ImageUndecodable, "{error}");
    }
}

#[test]
fn rare_kinds_of_jpeg_are_unsupported() {
    for marker in [0xC3, 0xC9, 0xCA] {
        let error = see(jpeg_claiming(marker, 8, 8), 8).unwrap_err();
        assert_eq!(error.kind(), Kind::ImageUnsupportedFormat, "{marker:x}: {error}");
    }
}

#[test]
fn every_short_beginning_is_an_error_and_no_panic() {
    for content in [sample("china.jpg"), sample("chelsea.png"), encode(halves(), ImageFormat::Gif)] {
        // The last bytes of a GIF only say that nothing more comes.
        for length in 0..600.min(content.len() - 8) {
            assert!(see(content[..length].to_vec(), 8).is_err(), "{length} of {}", content.len());
        }
    }
}

/// A PNG whose header claims a size, with a few bytes of nothing after it.
fn png_claiming(width: u32, height: u32) -> Vec<u8> {
    let mut small = Vec::new();
    let encoder = codecs::png::PngEncoder::new(&mut small);
    encoder.write_image(&[0; 3], 1, 1, ExtendedColorType::Rgb8).unwrap();
    small[16..20].copy_from_slice(&width.to_be_bytes());
    small[20..24].copy_from_slice(&height.to_be_bytes());
    small
}

/// A JPEG of one scan with this start-of-frame marker that claims a size.
fn jpeg_claiming(marker: u8, width: u16, height: u16) -> Vec<u8> {
    let mut jpeg = FlatJpeg::of(&[128, 128, 128]).encode();
    let frame = jpeg.windows(2).position(|pair| pair == [0xFF, 0xC0]).unwrap();
    jpeg[frame + 1] = marker;
    jpeg[frame + 5..frame + 7].copy_from_slice(&height.to_be_bytes());
    jpeg[frame + 7..frame + 9].copy_from_slice(&width.to_be_bytes());
    jpeg
}
