//! The file of keys: made, read back, changed by several at once, and refused when it is broken.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn new(name: &str) -> NewKey {
    NewKey { name: name.to_owned(), scopes: vec![Scope::Classify], rate: None, expires_in: None }
}

#[test]
fn what_is_created_is_read_back_and_the_key_itself_is_not_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = KeyFile::new(folder.path().join("new folder/keys.toml"));
    let full = NewKey {
        scopes: vec![Scope::Read, Scope::Classify, Scope::Read],
        rate: Some(12.5),
        expires_in: Some(Duration::from_secs(3600)),
        ..new("ci")
    };
    let (text, record) = file.create(full).unwrap();
    file.create(new("other")).unwrap();
    let read = file.read().unwrap();
    assert_eq!(read.len(), 2);
    assert_eq!(read[0], record);
    assert_eq!(record.scopes, [Scope::Classify, Scope::Read]);
    assert_eq!(read[0].hash(), Hash::of_sent(text.reveal().as_bytes()));
    let content = fs::read_to_string(file.path()).unwrap();
    assert!(!content.contains(text.reveal()), "{content}");
    let mode = fs::metadata(file.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn revoked_key_stays_in_the_file_with_the_time_it_ended() {
    let folder = tempfile::tempdir().unwrap();
    let file = KeyFile::new(folder.path().join("keys.toml"));
    let (_, record) = file.create(new("ci")).unwrap();
    let revoked = file.revoke(&record.id).unwrap().revoked.unwrap();
    assert_eq!(file.revoke(&record.id).unwrap().revoked, Some(revoked));
    assert_eq!(file.read().unwrap()[0].revoked, Some(revoked));
    assert_eq!(file.revoke("nobody").unwrap_err().kind(), Kind::ObjectNotFound);
}

#[test]
fn several_who_change_it_at_once_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = KeyFile::new(folder.path().join("keys.toml"));
    std::thread::scope(|scope| {
        for name in ["a", "b", "c", "d"] {
            let file = &file;
            scope.spawn(move || (0..5).for_each(|_| drop(file.create(new(name)).unwrap())));
        }
    });
    assert_eq!(file.read().unwrap().len(), 20);
}

#[test]
fn broken_file_says_what_is_wrong_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = KeyFile::new(folder.path().join("keys.toml"));
    assert!(file.read().unwrap_err().to_string().contains("can't read the keys"));
    file.create(new("ci")).unwrap();
    let good = fs::read_to_string(file.path()).unwrap();
    let check = |from: &str, to: &str, want: &str| {
        assert!(good.contains(from), "{from} in {good}");
        fs::write(file.path(), good.replace(from, to)).unwrap();
        let error = file.read().unwrap_err();
        assert_eq!(error.kind(), Kind::Config);
        assert!(error.to_string().contains(want), "{error}");
    };
    check("sha256 = \"", "sha256 = \"0", "64 hexadecimal digits");
    check("[\"classify\"]", "[\"root\"]", "unknown variant `root`");
    check("[\"classify\"]", "[]", "has no scope");
    check("name = \"ci\"", "name = \"c i\"", "A-Z a-z 0-9");
    check("[[key]]", "[[keys]]", "unknown field");
    check("name = \"ci\"", "name = \"ci\"\nrate = -1.0", "the rate of");
    check("created = \"20", "created = \"x", "x");
    fs::write(file.path(), good.repeat(2)).unwrap();
    assert!(file.read().unwrap_err().to_string().contains("is there twice"));
    fs::write(file.path(), "").unwrap();
    assert_eq!(file.read().unwrap(), []);
}
