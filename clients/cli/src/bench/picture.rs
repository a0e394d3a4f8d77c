//! The picture that is sent: a file, the one that comes with us, or one made to a given size.

use std::path::Path;

use bytes::Bytes;
use platform::options::exit;
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

use crate::failure::Failure;

/// Sent when none is named: 640 x 427 pixels, 140 KB.
const BUNDLED: &[u8] = include_bytes!("../../samples/flower.jpg");

pub(super) fn bundled() -> Bytes {
    Bytes::from_static(BUNDLED)
}

pub(super) fn from_file(path: &Path) -> Result<Bytes, Failure> {
    let content = std::fs::read(path);
    content.map(Bytes::from).map_err(|error| {
        Failure::new(exit::FAILED, format!("can't read the picture {}: {error}", path.display()))
    })
}

/// The smallest picture [`of_size`] can make, with the four bytes of an empty comment.
pub(super) fn smallest_bytes() -> usize {
    let (head, tail) = grey_square();
    head.len() + tail.len() + COMMENT_HEAD_BYTES
}

const COMMENT_HEAD_BYTES: usize = 4;

/// A valid JPEG of exactly `bytes`: a small grey square, and comments of random bytes that no
/// compression on the way can shrink. Costs a worker almost nothing to decode.
pub(super) fn of_size(bytes: usize) -> Bytes {
    /// The length of a segment is two bytes and counts itself.
    const COMMENT_BYTES_MAX: usize = 65_533;
    let (head, tail) = grey_square();
    let mut picture = head;
    // The same bytes in every run, so that runs compare.
    let mut random = SmallRng::seed_from_u64(1);
    let mut left = bytes.saturating_sub(picture.len() + tail.len());
    while left >= COMMENT_HEAD_BYTES {
        let mut content = (left - COMMENT_HEAD_BYTES).min(COMMENT_BYTES_MAX);
        let after = left - COMMENT_HEAD_BYTES - content;
        if (1..COMMENT_HEAD_BYTES).contains(&after) {
            // Too little for a comment of its own: leave it enough.
            content -= COMMENT_HEAD_BYTES - after;
        }
        let length = u16::try_from(content + 2).unwrap_or(u16::MAX);
        picture.extend([0xFF, 0xFE]);
        picture.extend(length.to_be_bytes());
        let start = picture.len();
        picture.resize(start + content, 0);
        if let Some(comment) = picture.get_mut(start..) {
            random.fill_bytes(comment);
        }
        left -= COMMENT_HEAD_BYTES + content;
    }
    picture.extend(tail);
    Bytes::from(picture)
}

/// A 16 x 16 grey JPEG as its first segments, after which comments may stand, and the rest. All
/// coefficients are 0, so that each block is two bits: "no difference", "end of block".
fn grey_square() -> (Vec<u8>, Vec<u8>) {
    /// A Huffman table with one code, `0`, for the value 0.
    fn huffman_table(class_and_id: u8) -> Vec<u8> {
        let mut table = vec![0xFF, 0xC4, 0, 20, class_and_id, 1];
        table.extend([0; 15]);
        table.push(0);
        table
    }
    let head = vec![0xFF, 0xD8];
    let mut tail = vec![0xFF, 0xDB, 0, 67, 0];
    tail.extend([1; 64]);
    // Baseline, 8 bits, 16 x 16, one component (id 1, not subsampled, quantisation table 0).
    tail.extend([0xFF, 0xC0, 0, 11, 8, 0, 16, 0, 16, 1, 1, 0x11, 0]);
    tail.extend(huffman_table(0x00));
    tail.extend(huffman_table(0x10));
    // The scan: component 1 with tables 0, all 64 coefficients; then four blocks of two bits.
    tail.extend([0xFF, 0xDA, 0, 8, 1, 1, 0x00, 0, 63, 0]);
    tail.push(0);
    tail.extend([0xFF, 0xD9]);
    (head, tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Walks the segments up to the scan, as a decoder does.
    fn markers(picture: &[u8]) -> Vec<u8> {
        let mut found = Vec::new();
        let mut at = 2;
        loop {
            assert_eq!(picture[at], 0xFF, "a segment starts at {at}");
            let marker = picture[at + 1];
            found.push(marker);
            if marker == 0xDA {
                return found;
            }
            at += 2 + usize::from(u16::from_be_bytes([picture[at + 2], picture[at + 3]]));
        }
    }

    #[test]
    fn picture_has_exactly_the_size_asked_for_and_whole_segments() {
        let smallest = smallest_bytes();
        let around_one_comment = smallest + 65_533;
        let sizes = [smallest, smallest + 1, 1000, 60_000, 1_000_000];
        for bytes in sizes.into_iter().chain(around_one_comment - 3..around_one_comment + 9) {
            let picture = of_size(bytes);
            assert_eq!(picture.len(), bytes);
            assert_eq!(picture[..2], [0xFF, 0xD8]);
            assert_eq!(picture[bytes - 2..], [0xFF, 0xD9]);
            assert!(markers(&picture).ends_with(&[0xDB, 0xC0, 0xC4, 0xC4, 0xDA]), "{bytes}");
        }
    }
}
