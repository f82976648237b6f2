//! OpenPGP keys that we sign with: made, read, and what they sign.

mod publishing;

use std::io::Cursor;

use artifactapi_formats::{Format, IndexRoot, KeyKind, Limits, OpenPgpKey, OpenPgpKind, TrustedKeys, find};
use publishing::{path, random};

const NOW: u64 = 1_700_000_000;

fn key(kind: OpenPgpKind) -> OpenPgpKey {
    OpenPgpKey::generate(kind, "Example <a@example.com>", NOW - 10, &mut random()).expect("a key")
}

/// Our keys through the reader that clients' keys go through, and back.
#[test]
fn keys_that_are_made_here() {
    for (kind, algorithm) in [(OpenPgpKind::Ed25519, "Ed25519, sha512"), (OpenPgpKind::Rsa, "RSA 3072, sha512")] {
        let key = key(kind);
        let again = OpenPgpKey::read(key.secret().expect("written").as_bytes(), &Limits::default()).expect("readable");
        assert_eq!(again.fingerprint(), key.fingerprint());
        assert_eq!(again.certificate(), key.certificate());
        assert_eq!(format!("{key:?}"), format!("OpenPgpKey(\"{}\")", key.fingerprint()));
        let mut trusted = TrustedKeys::default();
        trusted.add(KeyKind::Certificate, None, key.certificate().as_bytes(), &Limits::default()).expect("good");
        assert_eq!(trusted.shown().collect::<Vec<_>>(), [key.fingerprint()]);
        let root = IndexRoot { entry: path("repodata/repomd.xml") };
        let signature = again.sign_detached(b"content", NOW).expect("signed").into_bytes();
        let companions = [(path("repodata/repomd.xml.asc"), signature)];
        let index = find("rpm").and_then(Format::index).expect("it has indexes");
        let verify = |content: &[u8]| {
            index.verify(&root, &mut Cursor::new(content), &companions, &trusted, NOW, &Limits::default())
        };
        assert_eq!(verify(b"content").expect("signed").algorithm, algorithm);
        assert!(verify(b"contents").is_err());
    }
}

#[test]
fn keys_that_cannot_sign() {
    let read = |bytes: &[u8]| OpenPgpKey::read(bytes, &Limits::default()).map(|_| ()).expect_err("refused").to_string();
    let key = key(OpenPgpKind::Ed25519);
    let secret = key.secret().expect("written");
    let not_secret = "is a key that cannot be used: it is not a secret OpenPGP key";
    assert!(read(key.certificate().as_bytes()).starts_with(not_secret));
    assert!(read(b"").starts_with(not_secret));
    assert!(read(b"-----BEGIN PRIVATE KEY-----\neA==\n-----END PRIVATE KEY-----\n").starts_with(not_secret));
    assert!(read(format!("{secret}{secret}").as_bytes()).contains("more than one"));
    assert!(read(&secret.as_bytes()[..secret.len() / 2]).contains("a block breaks off"));
    assert!(read(&[0x95, 3, 0x53, 4]).starts_with("is a key that cannot be"));
    let generate = |name: &str, at| OpenPgpKey::generate(OpenPgpKind::Ed25519, name, at, &mut random());
    for (name, at) in [("", NOW), ("a\nb", NOW), ("a", u64::MAX)] {
        assert!(generate(name, at).is_err(), "{name:?} {at}");
    }
    assert!(key.sign_detached(b"", NOW - 60).is_err(), "before it was made");
    assert!(key.sign_detached(b"", u64::MAX).is_err());
    let small = Limits { key_bytes: 10, ..Limits::default() };
    assert!(OpenPgpKey::read(secret.as_bytes(), &small).is_err());
}
