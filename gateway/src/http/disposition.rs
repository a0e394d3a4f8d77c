//! Reads `Content-Disposition` of a part as browsers, curl and Python's requests write it.

/// The names in it, as the sender meant them. Data only: never a path.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Disposition {
    pub(super) field: String,
    pub(super) file_name: Option<String>,
}

impl Disposition {
    pub(super) fn parse(header: &[u8]) -> Self {
        let text = String::from_utf8_lossy(header);
        let mut disposition = Self::default();
        let mut extended = None;
        for (name, value) in parameters(&text) {
            match name.as_str() {
                "name" => disposition.field = unescape(&value),
                "filename" => disposition.file_name = Some(unescape(&value)),
                "filename*" => extended = decode_extended(&value),
                _ => {}
            }
        }
        // RFC 6266: the extended form wins.
        disposition.file_name = extended.or(disposition.file_name);
        disposition
    }
}

/// `name=value` pairs after the first `;`, quotes and backslashes undone.
fn parameters(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text.split_once(';').map_or("", |(_, rest)| rest);
    while let Some((name, after)) = rest.split_once('=') {
        let name = name.trim().trim_start_matches(';').trim().to_ascii_lowercase();
        let after = after.trim_start();
        let (value, remaining) = match after.strip_prefix('"') {
            Some(quoted) => quoted_value(quoted),
            None => {
                let (value, remaining) = after.split_once(';').unwrap_or((after, ""));
                (value.trim().to_owned(), remaining)
            }
        };
        found.push((name, value));
        rest = remaining.trim_start().trim_start_matches(';');
    }
    found
}

/// Up to the closing quote. A backslash escapes only a quote or itself: Windows paths have others.
fn quoted_value(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, text.get(at + 1..).unwrap_or_default()),
            '\\' if matches!(characters.peek(), Some((_, '"' | '\\'))) => {
                value.extend(characters.next().map(|(_, escaped)| escaped));
            }
            _ => value.push(character),
        }
    }
    (value, "")
}

/// Form encoding (WHATWG) writes a quote and line ends as `%22`, `%0D`, `%0A`, and nothing else.
fn unescape(value: &str) -> String {
    value.replace("%22", "\"").replace("%0D", "\r").replace("%0A", "\n")
}

/// `UTF-8''na%C3%AFve.jpg` (RFC 8187).
fn decode_extended(value: &str) -> Option<String> {
    let mut parts = value.splitn(3, '\'');
    let charset = parts.next()?;
    let encoded = parts.nth(1)?;
    if !charset.eq_ignore_ascii_case("utf-8") {
        return None;
    }
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        if first == b'%' {
            let digits = std::str::from_utf8(after.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = after.get(2..)?;
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok()
}

/// The last path component without control characters, at most 255 bytes; `image` when nothing is
/// left (specs/upload.md, "Accept").
pub(super) fn base_name(file_name: &str) -> String {
    const BYTES_MAX: usize = 255;
    let last = file_name.rsplit(['/', '\\']).next().unwrap_or_default();
    let mut name: String = last.chars().filter(|character| !character.is_control()).collect();
    while name.len() > BYTES_MAX {
        name.pop();
    }
    if name.trim().is_empty() { "image".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn dispositions_are_read_as_clients_write_them() {
        let check = |header: &str, field: &str, file_name: Option<&str>| {
            let want = Disposition { field: field.to_owned(), file_name: file_name.map(str::to_owned) };
            assert_eq!(Disposition::parse(header.as_bytes()), want, "{header}");
        };
        check(r#"form-data; name="myfile"; filename="test_03.jpg""#, "myfile", Some("test_03.jpg"));
        check(r#"form-data; name="inputFile"; filename="naïve 猫.jpg""#, "inputFile", Some("naïve 猫.jpg"));
        check(r#"form-data; name="f"; filename="a%22b.jpg""#, "f", Some("a\"b.jpg"));
        check(r#"form-data; name="f"; filename="a\"b\\c;d=e.jpg""#, "f", Some("a\"b\\c;d=e.jpg"));
        check(r#"form-data; name=f; filename=plain.jpg"#, "f", Some("plain.jpg"));
        check(
            r#"form-data; name="f"; filename="x.jpg"; filename*=UTF-8''na%C3%AFve.jpg"#,
            "f",
            Some("naïve.jpg"),
        );
        check(r#"form-data; name="f"; filename*=UTF-8''%zz; filename="x.jpg""#, "f", Some("x.jpg"));
        check(r#"form-data; name="f"; filename="""#, "f", Some(""));
        check(r#"form-data; NAME="f""#, "f", None);
        check("form-data", "", None);
        check(r#"form-data; name="unclosed"#, "unclosed", None);
        check(r#"form-data; name="f"; filename="C:\dir\x.jpg""#, "f", Some(r"C:\dir\x.jpg"));
    }

    #[test]
    fn bytes_that_are_not_utf8_are_read_without_a_panic() {
        let disposition = Disposition::parse(b"form-data; name=\"f\"; filename=\"\xff\xfe.jpg\"");
        assert_eq!(disposition.file_name.as_deref(), Some("\u{fffd}\u{fffd}.jpg"));
    }

    #[test]
    fn name_is_never_a_path() {
        let check = |given: &str, want: &str| assert_eq!(base_name(given), want, "{given:?}");
        check("../../etc/passwd", "passwd");
        check(r"C:\pictures\cat.jpg", "cat.jpg");
        check("a\0b\r\nc.jpg", "abc.jpg");
        check("", "image");
        check("folder/", "image");
        check(" ", "image");
        assert_eq!(base_name(&"ü".repeat(300)).len(), 254);
    }

    proptest! {
        #[test]
        fn any_header_gives_names_that_are_not_longer_than_it_and_never_paths(
            header in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..300),
                r#"form-data(; ?(name|filename|filename\*|x)=("?[\PC%\\'"=;]{0,20}"?|utf-8''[%a-f0-9]{0,9})){0,5}"#
                    .prop_map(String::into_bytes),
            ]
        ) {
            let Disposition { field, file_name } = Disposition::parse(&header);
            // A byte that is not UTF-8 is shown as one of three bytes.
            prop_assert!(field.len() <= 3 * header.len());
            let name = base_name(&file_name.unwrap_or_default());
            prop_assert!((1..=255).contains(&name.len()));
            prop_assert!(!name.contains(['/', '\\']) && !name.chars().any(char::is_control));
        }
    }

    /// Twice the header takes about twice the time: a megabyte of each is a fraction of a second.
    #[test]
    fn long_headers_are_read_in_one_go() {
        let since = std::time::Instant::now();
        for piece in ["a=;", "a", ";", "=", "\"", "\\", "a=\"b\";", "%22", "filename*=utf-8''%41;"] {
            let header = format!("form-data; {}", piece.repeat(1_000_000 / piece.len()));
            base_name(&Disposition::parse(header.as_bytes()).file_name.unwrap_or_default());
        }
        assert!(since.elapsed() < std::time::Duration::from_secs(60), "quadratic would be hours");
    }
}
