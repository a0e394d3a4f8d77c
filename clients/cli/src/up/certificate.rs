//! `dunlin up --tls`: a certificate of this machine's own, made once, kept in the data folder, and renewed before it ends
//! when `up` starts.

use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use platform::{Error, Result};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Browsers refuse certificates for more than 398 days (CA/Browser Forum, ballot SC31).
const LASTS: Duration = Duration::from_secs(397 * 24 * 3600);
const RENEWED_BEFORE: Duration = Duration::from_secs(30 * 24 * 3600);

/// A certificate on disk.
pub(crate) struct Certificate {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) about: About,
}

/// What is known of it without reading it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct About {
    names: Vec<String>,
    /// `2027-12-26`.
    pub(crate) ends: String,
    /// SHA-256 of the certificate, as browsers and openssl show it.
    pub(crate) fingerprint: String,
}

impl Certificate {
    /// The one in the data folder, or a new one.
    pub(crate) fn open(data: &Path) -> Result<Self> {
        let names = names();
        let folder = data.join("tls");
        let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
        if let Some(about) = kept(&folder, &names)
            && certificate.is_file()
            && key.is_file()
        {
            return Ok(Self { certificate, key, about });
        }
        let failed = |error: io::Error| Error::internal(error).context("write the certificate");
        fs::create_dir_all(&folder).map_err(failed)?;
        let made = make(names).map_err(|error| Error::internal(error).context("make a certificate"))?;
        let about = serde_json::to_vec_pretty(&made.about).map_err(Error::internal)?;
        // Last what says that the others are good.
        write(&key, made.key.as_bytes()).map_err(failed)?;
        write(&certificate, made.certificate.as_bytes()).map_err(failed)?;
        write(&folder.join("about.json"), &about).map_err(failed)?;
        Ok(Self { certificate, key, about: made.about })
    }
}

/// What callers may call this machine.
fn names() -> Vec<String> {
    let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let is_name =
        !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte));
    if is_name && !names.contains(&host) {
        names.push(host);
    }
    names
}

/// What the folder says of its certificate, if that is still good.
fn kept(folder: &Path, names: &[String]) -> Option<About> {
    let about: About = serde_json::from_slice(&fs::read(folder.join("about.json")).ok()?).ok()?;
    let ends = humantime::parse_rfc3339(&format!("{}T00:00:00Z", about.ends)).ok()?;
    let left = ends.duration_since(SystemTime::now()).ok()?;
    (left > RENEWED_BEFORE && about.names == names).then_some(about)
}

struct Made {
    certificate: String,
    key: String,
    about: About,
}

fn make(names: Vec<String>) -> std::result::Result<Made, rcgen::Error> {
    let now = SystemTime::now();
    let ends = now + LASTS;
    let mut params = CertificateParams::new(names.clone())?;
    params.distinguished_name.push(DnType::CommonName, "dunlin up");
    // Clocks differ.
    params.not_before = date(now - DAY);
    params.not_after = date(ends);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    let digest = Sha256::digest(certificate.der());
    let fingerprint = digest.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":");
    let about = About { names, ends: day(ends), fingerprint };
    Ok(Made { certificate: certificate.pem(), key: key.serialize_pem(), about })
}

/// `2027-12-26`.
fn day(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string().chars().take_while(|letter| *letter != 'T').collect()
}

/// The start of its day.
fn date(time: SystemTime) -> time::OffsetDateTime {
    let day = day(time);
    let mut parts = day.split('-').filter_map(|part| part.parse::<u16>().ok());
    let (year, month, day) = (parts.next(), parts.next(), parts.next());
    let small = |part: Option<u16>| part.and_then(|part| u8::try_from(part).ok()).unwrap_or(1);
    rcgen::date_time_ymd(year.unwrap_or(1970).into(), small(month), small(day))
}

/// For this user alone, and never half.
fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    const OWNER_ONLY: u32 = 0o600;
    let aside = path.with_extension("new");
    match fs::remove_file(&aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(OWNER_ONLY).open(&aside)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&aside, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificate_is_kept_until_it_nears_its_end_or_the_machine_has_another_name() {
        let data = tempfile::tempdir().unwrap();
        let first = Certificate::open(data.path()).unwrap();
        let again = Certificate::open(data.path()).unwrap();
        assert_eq!(first.about, again.about);
        assert_eq!(first.about.fingerprint.len(), 95);
        let about = data.path().join("tls/about.json");
        for changed in [
            About { ends: day(SystemTime::now() + 20 * DAY), ..first.about.clone() },
            About { names: vec!["other".to_owned()], ..first.about.clone() },
        ] {
            fs::write(&about, serde_json::to_vec(&changed).unwrap()).unwrap();
            let renewed = Certificate::open(data.path()).unwrap();
            assert_ne!(renewed.about.fingerprint, first.about.fingerprint);
        }
    }
}
