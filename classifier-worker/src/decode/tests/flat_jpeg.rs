//! Writes JPEGs of plain 8x8 squares, with any number of components and any markers: what no
//! encoder at hand writes.

/// All values are what a decoder gets back, before it converts colours.
pub(super) struct FlatJpeg {
    columns: usize,
    /// Of each component, the squares in rows.
    components: Vec<Vec<u8>>,
    adobe: Option<u8>,
    orientation: Option<u8>,
}

impl FlatJpeg {
    /// One colour all over.
    pub(super) fn of(values: &[u8]) -> Self {
        let components = values.iter().map(|value| vec![*value; 4]).collect();
        Self { columns: 2, components, adobe: None, orientation: None }
    }

    /// Grey squares.
    pub(super) fn squares(columns: usize, values: &[u8]) -> Self {
        Self { columns, components: vec![values.to_vec()], adobe: None, orientation: None }
    }

    /// Says what the colours are: 0 RGB or CMYK, 1 YCbCr, 2 YCCK.
    pub(super) fn adobe(mut self, transform: u8) -> Self {
        self.adobe = Some(transform);
        self
    }

    /// Says how the camera was held.
    pub(super) fn turned(mut self, orientation: u8) -> Self {
        self.orientation = Some(orientation);
        self
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let count = u8::try_from(self.components.len()).unwrap();
        let squares = self.components[0].len();
        let mut out = vec![0xFF, 0xD8];
        if let Some(orientation) = self.orientation {
            let mut exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
            exif.extend_from_slice(&[orientation, 0, 0, 0, 0, 0, 0, 0]);
            segment(&mut out, 0xE1, &exif);
        }
        if let Some(transform) = self.adobe {
            segment(&mut out, 0xEE, &[b"Adobe\0\x64\0\0\0\0".as_slice(), &[transform]].concat());
        }
        // Quantised by 8, the first coefficient of a plain square is its value less 128.
        segment(&mut out, 0xDB, &[&[0][..], &[8; 64]].concat());
        let side = |squares: usize| u16::try_from(squares * 8).unwrap().to_be_bytes();
        let mut frame = vec![8];
        frame.extend_from_slice(&side(squares / self.columns));
        frame.extend_from_slice(&side(self.columns));
        frame.push(count);
        frame.extend((1..=count).flat_map(|component| [component, 0x11, 0]));
        segment(&mut out, 0xC0, &frame);
        // Sizes 0 to 8 with codes of four bits each, in order; and for all that is not the first
        // coefficient one code, "no more", which is a single 0.
        let mut sizes = vec![0x00, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        sizes.extend(0..=8);
        segment(&mut out, 0xC4, &sizes);
        segment(&mut out, 0xC4, &[0x10, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let mut scan = vec![count];
        scan.extend((1..=count).flat_map(|component| [component, 0x00]));
        scan.extend_from_slice(&[0, 63, 0]);
        segment(&mut out, 0xDA, &scan);
        out.extend_from_slice(&self.entropy(squares));
        out.extend_from_slice(&[0xFF, 0xD9]);
        out
    }

    fn entropy(&self, squares: usize) -> Vec<u8> {
        let mut bits = String::new();
        let mut last = vec![0_i32; self.components.len()];
        for square in 0..squares {
            for (component, last) in self.components.iter().zip(&mut last) {
                let value = i32::from(component[square]) - 128;
                let difference = value - *last;
                *last = value;
                let size = usize::try_from(i32::BITS - difference.unsigned_abs().leading_zeros()).unwrap();
                bits.push_str(&format!("{size:04b}"));
                if size > 0 {
                    // A negative number is written as itself less one.
                    let code = if difference < 0 { difference + (1 << size) - 1 } else { difference };
                    bits.push_str(&format!("{code:0size$b}"));
                }
                bits.push('0');
            }
        }
        while !bits.len().is_multiple_of(8) {
            bits.push('1');
        }
        let mut bytes = Vec::new();
        for byte in bits.as_bytes().chunks(8) {
            let byte = u8::from_str_radix(std::str::from_utf8(byte).unwrap(), 2).unwrap();
            bytes.push(byte);
            if byte == 0xFF {
                bytes.push(0);
            }
        }
        bytes
    }
}

fn segment(out: &mut Vec<u8>, marker: u8, body: &[u8]) {
    out.extend_from_slice(&[0xFF, marker]);
    out.extend_from_slice(&u16::try_from(body.len() + 2).unwrap().to_be_bytes());
    out.extend_from_slice(body);
}
