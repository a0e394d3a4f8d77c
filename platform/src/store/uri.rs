//! Names of objects in S3, as callers and options write them.

use std::fmt;

use crate::{Error, Result};

/// `s3://bucket/key`, with `?versionId=v` behind it for one version. Nothing in it is escaped.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct S3Uri {
    pub bucket: String,
    pub key: String,
    pub version: Option<String>,
}

/// S3's limit for a key, in bytes of UTF-8.
const KEY_BYTES_MAX: usize = 1024;

const VERSION: &str = "?versionId=";

impl S3Uri {
    /// The error names no field: the caller knows where in the request it stands.
    pub fn parse(uri: &str) -> Result<Self> {
        let invalid = |why: &str| Error::invalid("uri", format!("{uri:?}: {why}"));
        let rest = uri.strip_prefix("s3://").ok_or_else(|| {
            invalid("it has to be s3://BUCKET/KEY, with ?versionId=VERSION for one version")
        })?;
        let (bucket, rest) = rest.split_once('/').unwrap_or((rest, ""));
        check_bucket(bucket).map_err(invalid)?;
        let (key, version) = match rest.rsplit_once(VERSION) {
            Some((_, "")) => return Err(invalid("the version is empty")),
            Some((key, version)) => (key, Some(version.to_owned())),
            None => (rest, None),
        };
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            return Err(invalid("the key has to be 1 to 1024 bytes long"));
        }
        Ok(Self { bucket: bucket.to_owned(), key: key.to_owned(), version })
    }
}

impl S3Uri {
    /// `s3://bucket/prefix`: the bucket and what keys begin with, which may be nothing.
    pub fn parse_prefix(uri: &str) -> Result<(String, String)> {
        let invalid = |why: &str| Error::invalid("uri", format!("{uri:?}: {why}"));
        let rest = uri.strip_prefix("s3://").ok_or_else(|| invalid("it has to be s3://BUCKET/PREFIX/"))?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        check_bucket(bucket).map_err(invalid)?;
        if prefix.len() > KEY_BYTES_MAX {
            return Err(invalid("the prefix has to be at most 1024 bytes long"));
        }
        Ok((bucket.to_owned(), prefix.to_owned()))
    }
}

impl fmt::Display for S3Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.key)?;
        self.version.as_ref().map_or(Ok(()), |version| write!(f, "{VERSION}{version}"))
    }
}

/// S3's rules, as far as they keep a name from meaning another host or path.
pub(super) fn check_bucket(bucket: &str) -> Result<(), &'static str> {
    let letters = bucket
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-'));
    let ends = [bucket.bytes().next(), bucket.bytes().last()];
    let ends = ends.into_iter().flatten().all(|byte| byte.is_ascii_alphanumeric());
    if (3..=63).contains(&bucket.len()) && letters && ends && !bucket.contains("..") {
        return Ok(());
    }
    Err("the bucket has to be 3 to 63 lower-case letters, digits, dots and hyphens")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_taken_apart_and_put_together_again() {
        let rows = [
            ("s3://box/a", ("box", "a", None)),
            ("s3://my-box.1/a/b c/ü?x=1", ("my-box.1", "a/b c/ü?x=1", None)),
            ("s3://box/a?versionId=v1", ("box", "a", Some("v1"))),
            ("s3://box/?a?versionId=b?versionId=v1", ("box", "?a?versionId=b", Some("v1"))),
            ("s3://box//a/../b", ("box", "/a/../b", None)),
        ];
        for (text, (bucket, key, version)) in rows {
            let uri = S3Uri::parse(text).unwrap();
            assert_eq!(
                (uri.bucket.as_str(), uri.key.as_str(), uri.version.as_deref()),
                (bucket, key, version)
            );
            assert_eq!(uri.to_string(), text);
        }
    }

    #[test]
    fn what_names_no_object_is_refused() {
        let long = format!("s3://box/{}", "x".repeat(1025));
        for text in [
            "",
            "box/a",
            "http://box/a",
            "S3://box/a",
            "s3://",
            "s3://box",
            "s3://box/",
            "s3://BOX/a",
            "s3://bo/a",
            "s3://a..b/c",
            "s3://-box/a",
            "s3://user@host/a",
            "s3://box:80/a",
            "s3://box/a?versionId=",
            "s3://box/?versionId=v",
            &long,
        ] {
            let error = S3Uri::parse(text).unwrap_err();
            assert_eq!(error.kind(), crate::Kind::InvalidRequest, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_taken_apart_and_put_together_again_or_refused(
            text in r"\PC{0,80}|s3://[a-z0-9.-]{0,70}(/\PC{0,40}(\?versionId=\PC{0,8}){0,2})?"
        ) {
            if let Ok(uri) = S3Uri::parse(&text) {
                prop_assert_eq!(uri.to_string(), text.as_str());
                prop_assert!(check_bucket(&uri.bucket).is_ok());
                prop_assert!((1..=KEY_BYTES_MAX).contains(&uri.key.len()));
            }
            if let Ok((bucket, prefix)) = S3Uri::parse_prefix(&text) {
                prop_assert!(check_bucket(&bucket).is_ok() && prefix.len() <= KEY_BYTES_MAX);
            }
        }
    }
}
