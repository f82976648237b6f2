//! OpenPGP signatures of repomd.xml, made by gpg (`fixtures/build-signatures`), and what is said of each.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use artifactapi_formats::{Format, IndexRoot, InvalidKey, KeyKind, Limits, RepoPath, TrustedKeys, find};

const ENTRY: &str = "9/os/repodata/repomd.xml";
const ASC: &str = "9/os/repodata/repomd.xml.asc";
/// 1 January 2025, when the keys and signatures were made.
const MADE: u64 = 1_735_689_600;
const DAY: u64 = 86_400;

fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/signatures").join(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn add(keys: &mut TrustedKeys, bytes: &[u8]) -> Result<(), InvalidKey> {
    keys.add(KeyKind::Certificate, Some("any"), bytes, &Limits::default())
}

fn keys(names: &str) -> TrustedKeys {
    let mut keys = TrustedKeys::default();
    for name in names.split_whitespace() {
        add(&mut keys, &fixture(name)).unwrap_or_else(|why| panic!("{name} {why}"));
    }
    keys
}

fn verdict_of(keys: &TrustedKeys, content: &[u8], signature: Option<&[u8]>, now: u64, limits: &Limits) -> String {
    let index = find("rpm").and_then(Format::index).expect("it has indexes");
    let root = IndexRoot { entry: RepoPath::new(ENTRY).expect("valid") };
    let key = RepoPath::new("9/os/repodata/repomd.xml.key").expect("valid");
    let mut companions = vec![(key, b"of no matter".to_vec())];
    companions.extend(signature.map(|signature| (RepoPath::new(ASC).expect("valid"), signature.to_vec())));
    let mut content = Cursor::new(content);
    content.set_position(9);
    match index.verify(&root, &mut content, &companions, keys, now, limits) {
        Ok(signed) => format!("signed: {}", signed.algorithm),
        Err(untrusted) => untrusted.to_string(),
    }
}

/// With digits of fingerprints taken out: they are others after each rebuild of the fixtures.
fn verdict(names: &str, signature: &str, now: u64) -> String {
    let content = fixture("repomd.xml");
    let said = verdict_of(&keys(names), &content, Some(&fixture(signature)), now, &Limits::default());
    let words = said.split(' ').map(|word| {
        let is_print =
            word.trim_end_matches(',').len() >= 40 && word.trim_end_matches(',').bytes().all(|b| b.is_ascii_hexdigit());
        if is_print { word.replace(word.trim_end_matches(','), "KEY") } else { word.to_owned() }
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn every_kind_of_signature() {
    let now = MADE + DAY;
    let table = [
        ("rsa.key", "rsa-sha256.asc", "signed: RSA 3072, sha256"),
        ("rsa.key", "rsa-sha384.asc", "signed: RSA 3072, sha384"),
        ("rsa.key", "rsa-sha512.asc", "signed: RSA 3072, sha512"),
        ("rsa.pgp", "rsa-sha512.asc", "signed: RSA 3072, sha512"),
        ("rsa.key", "rsa-binary.sig", "signed: RSA 3072, sha512"),
        ("ed25519.key", "ed25519.asc", "signed: Ed25519, sha256"),
        ("p256.key", "p256.asc", "signed: ECDSA P-256, sha256"),
        ("p384.key", "p384.asc", "signed: ECDSA P-384, sha384"),
        ("p521.key", "p521.asc", "signed: ECDSA P-521, sha512"),
        ("v6.key", "v6.asc", "signed: Ed25519, sha512"),
        // Of version 3, which old keys still sign with: under the same rules.
        ("v3.key", "v3-sha256.asc", "signed: RSA 2048, sha256"),
        ("v3.key", "v3-sha1.asc", "the signature by KEY is over a digest of kind SHA1, which can be forged"),
        ("v3.key", "v3-md5.asc", "the signature by KEY is over a digest of kind MD5, which can be forged"),
        ("v3.key", "v3-text.asc", "the signature of repomd.xml cannot be checked: it is not one over binary content"),
        (
            "v3.key",
            "v3-other.asc",
            "the signature by KEY does not fit repomd.xml: one of the two was changed, or the key is another of that name",
        ),
        (
            "v3.key",
            "v2.asc",
            "the signature of repomd.xml cannot be checked: it is of version 2, and 3, 4 and 6 are taken",
        ),
        ("subkey.key", "subkey.asc", "signed: Ed25519, sha256"),
        // Several keys in one block, several blocks in one file, several files.
        ("both.key", "p256.asc", "signed: ECDSA P-256, sha256"),
        ("both.key", "ed25519.asc", "signed: Ed25519, sha256"),
        ("blocks.key", "ed25519.asc", "signed: Ed25519, sha256"),
        ("blocks.key", "p256.asc", "signed: ECDSA P-256, sha256"),
        ("rsa.key ed25519.key rsa.pgp", "ed25519.asc", "signed: Ed25519, sha256"),
        // Two signatures, of which one is known.
        ("rsa.key", "two.asc", "signed: RSA 3072, sha512"),
        ("ed25519.key", "two.asc", "signed: Ed25519, sha256"),
        ("rsa.key", "rsa-sha1.asc", "the signature by KEY is over a digest of kind SHA1, which can be forged"),
        ("rsa.key", "rsa-sha224.asc", "the signature by KEY is over a digest of kind SHA224, which can be forged"),
        ("rsa.key", "ed25519.asc", "repomd.xml is signed by KEY, and no such key is trusted"),
        (
            "rsa.key",
            "rsa-other.asc",
            "the signature by KEY does not fit repomd.xml: one of the two was changed, or the key is another of that name",
        ),
        ("rsa.key", "rsa-text.asc", "the signature of repomd.xml cannot be checked: it is not one over binary content"),
        (
            "rsa.key",
            "rsa-notation.asc",
            "the signature of repomd.xml cannot be checked: it says that a notation must be understood, and it is not",
        ),
        (
            "rsa.key",
            "rsa-early.asc",
            "the signature by KEY is valid from 2025-01-01 only; is this machine's clock right?",
        ),
        ("rsa.key", "rsa.key", "malformed signature of repomd.xml: it is not an OpenPGP signature"),
        ("rsa.key", "rsa.pgp", "repomd.xml is signed by"),
    ];
    for (key, signature, expected) in table {
        let found = verdict(key, signature, now);
        if signature == "rsa.pgp" {
            assert!(!found.starts_with("signed"), "a key is no signature: {found}");
            continue;
        }
        assert_eq!(found, expected, "{signature} with {key}");
    }
}

#[test]
fn time_and_revocation() {
    const EARLY: &str = "the signature by KEY is valid from 2025-01-01 only; is this machine's clock right?";
    let table = [
        ("rsa.key", "rsa-sha256.asc", MADE - 60, "signed: RSA 3072, sha256"),
        ("rsa.key", "rsa-sha256.asc", MADE - DAY, EARLY),
        ("rsa.key", "rsa-sha256.asc", MADE + 9000 * DAY, "signed: RSA 3072, sha256"),
        ("rsa.key", "rsa-expiring.asc", MADE + 9 * DAY, "signed: RSA 3072, sha512"),
        ("rsa.key", "rsa-expiring.asc", MADE + 10 * DAY, "the signature by KEY expired on 2025-01-11"),
        ("expiring.key", "expiring.asc", MADE + 29 * DAY, "signed: Ed25519, sha256"),
        ("expiring.key", "expiring.asc", MADE + 31 * DAY, "the key KEY expired on 2025-01-31"),
        ("prolonged.key", "expiring.asc", MADE + 99 * DAY, "signed: Ed25519, sha256"),
        // An old file beside a new one does no harm, in either order.
        ("expiring.key prolonged.key", "expiring.asc", MADE + 99 * DAY, "signed: Ed25519, sha256"),
        ("prolonged.key expiring.key", "expiring.asc", MADE + 99 * DAY, "signed: Ed25519, sha256"),
        ("unrevoked.key", "revoked.asc", MADE + DAY, "signed: Ed25519, sha256"),
        ("revoked.key", "revoked.asc", MADE + DAY, "the key KEY is revoked"),
        ("unrevoked.key revoked.key", "revoked.asc", MADE + DAY, "the key KEY is revoked"),
        ("subkey-expiring.key", "subkey.asc", MADE + 2 * DAY, "signed: Ed25519, sha256"),
        ("subkey-expiring.key", "subkey.asc", MADE + 99 * DAY, "the key KEY of KEY expired on 2025-02-01"),
        ("subkey-revoked.key", "subkey.asc", MADE + 2 * DAY, "the key KEY of KEY is revoked"),
    ];
    for (key, signature, now, expected) in table {
        assert_eq!(verdict(key, signature, now), expected, "{signature} with {key} at {now}");
    }
    // A revocation as gpg lays it aside, appended to the key.
    let mut keys = TrustedKeys::default();
    add(&mut keys, &[fixture("unrevoked.key"), fixture("revocation.key")].concat()).expect("readable");
    let said = verdict_of(&keys, &fixture("repomd.xml"), Some(&fixture("revoked.asc")), MADE + DAY, &Limits::default());
    assert!(said.ends_with("is revoked"), "{said}");
}

#[test]
fn keys_that_cannot_be_trusted() {
    let refuse = |bytes: &[u8]| add(&mut TrustedKeys::default(), bytes).expect_err("refused").to_string();
    let name = |text: String| {
        text.split(' ').map(|word| if word.len() == 40 { "KEY" } else { word }).collect::<Vec<_>>().join(" ")
    };
    let not_a_key = "is not an OpenPGP public key (-----BEGIN PGP PUBLIC KEY BLOCK-----, or binary)";
    let secret = b"-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nlQNT\n-----END PGP PRIVATE KEY BLOCK-----\n";
    let whole = fixture("rsa.key");
    let packets = fixture("rsa.pgp");
    let table: [(&[u8], &str); 10] = [
        (b"", not_a_key),
        (b"<html>", not_a_key),
        (&fixture("rsa-sha256.asc"), not_a_key),
        (b"-----BEGIN PUBLIC KEY-----\neA==\n-----END PUBLIC KEY-----\n", not_a_key),
        (secret, "holds a private key, which is not needed and should not lie here; give the public one"),
        (&[0x95, 3, 0x53, 4], "holds a private key, which is not needed and should not lie here; give the public one"),
        (&whole[..whole.len() / 2], "is a key that cannot be read: a block breaks off"),
        (&fixture("dsa.key"), "is a key that cannot be used: the key KEY is DSA, which is no longer taken"),
        (
            &fixture("rsa1024.key"),
            "is a key that cannot be used: the key KEY is RSA with less than 2048 bits, which can be broken",
        ),
        (&fixture("revocation.key"), "is a key that cannot be read: it breaks off, or holds no key of a known version"),
    ];
    for (bytes, why) in table {
        assert_eq!(name(refuse(bytes)), why, "{}", String::from_utf8_lossy(bytes));
    }
    for cut in 1..packets.len() {
        // A key without the signature that it makes over itself is nobody's; no cut may panic.
        let mut keys = TrustedKeys::default();
        assert!(add(&mut keys, &packets[..cut]).is_err(), "cut at {cut} of {}", packets.len());
    }
    let mut known = keys("rsa.key");
    add(&mut known, &packets).expect("the same key");
    assert_eq!(known.shown().count(), 1);
    assert!(known.shown().all(|shown| shown.len() == 40 && shown.bytes().all(|byte| byte.is_ascii_hexdigit())));
}

#[test]
fn signatures_that_are_none() {
    let (content, known) = (fixture("repomd.xml"), keys("rsa.key"));
    let limits = Limits::default();
    let say = |signature: Option<&[u8]>| verdict_of(&known, &content, signature, MADE + DAY, &limits);
    assert_eq!(say(None), "repomd.xml is not signed");
    assert_eq!(say(Some(b"\n")), "repomd.xml is not signed");
    assert_eq!(say(Some(b"<html>")), "malformed signature of repomd.xml: it is not an OpenPGP signature");
    let asc = fixture("rsa-sha256.asc");
    assert_eq!(say(Some(&asc[..asc.len() / 2])), "malformed signature of repomd.xml: a block breaks off");
    assert_eq!(say(Some(&vec![b' '; 70_000])), "repomd.xml is over the limit signature_bytes (65536)");
    let sig = fixture("rsa-binary.sig");
    assert_eq!(say(Some(&sig.repeat(17))), "signed: RSA 3072, sha512", "the first is enough");
    let unknown = fixture("ed25519.asc");
    let many = verdict_of(&known, &content, Some(&unknown.repeat(17)), MADE, &limits);
    assert_eq!(many, "repomd.xml is over the limit signatures (16)");
    let small = Limits { entry_bytes: 10, ..Limits::default() };
    let over = verdict_of(&known, &content, Some(&sig), MADE, &small);
    assert_eq!(over, "repomd.xml is over the limit entry_bytes (10)");
    let nobody = verdict_of(&TrustedKeys::default(), &content, Some(&sig), MADE, &limits);
    assert!(nobody.ends_with("no such key is trusted"), "{nobody}");
}

/// Any flip in the content is found. A flip in the signature is found or says the same in another way (what is not signed
/// in it, such as the hint who made it); none panics.
#[test]
fn damage() {
    let limits = Limits::default();
    for (key, asc) in [("rsa.key", "rsa-sha256.asc"), ("ed25519.key", "ed25519.asc"), ("v6.key", "v6.asc")] {
        let (content, known, asc) = (fixture("repomd.xml"), keys(key), fixture(asc));
        let good = verdict_of(&known, &content, Some(&asc), MADE + DAY, &limits);
        assert!(good.starts_with("signed"), "{good}");
        for at in 0..content.len() {
            let mut flipped = content.clone();
            flipped[at] ^= 1;
            assert!(!verdict_of(&known, &flipped, Some(&asc), MADE + DAY, &limits).starts_with("signed"), "{at}");
        }
        for (at, bit) in (0..asc.len()).flat_map(|at| [(at, 1), (at, 0x40)]) {
            let mut flipped = asc.clone();
            flipped[at] ^= bit;
            let said = verdict_of(&known, &content, Some(&flipped), MADE + DAY, &limits);
            assert!(!said.starts_with("signed") || said == good, "flipped at {at}: {said}");
            let _ = verdict_of(&known, &content, Some(&asc[..at]), MADE + DAY, &limits);
        }
    }
}

/// What createrepo_c and gpg made of it, in `fixtures/small`.
#[test]
fn the_real_tools() {
    let small = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/small/rpm");
    let read = |name: &str| fs::read(small.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let (content, asc) = (read("repodata/repomd.xml"), read("repodata/repomd.xml.asc"));
    let say = |key: &str| {
        let mut keys = TrustedKeys::default();
        add(&mut keys, &read(key)).expect("a good key");
        verdict_of(&keys, &content, Some(&asc), MADE + 9 * DAY, &Limits::default())
    };
    assert_eq!(say("RPM-GPG-KEY-fixtures"), "signed: RSA 2048, sha512");
    assert!(say("RPM-GPG-KEY-untrusted").ends_with("no such key is trusted"));
}

/// Without any key: whether a signature can be one over this content at all.
#[test]
fn a_signature_over_something_else_is_told_without_a_key() {
    let index = find("rpm").and_then(Format::index).expect("it has indexes");
    let (content, asc) = (fixture("repomd.xml"), RepoPath::new(ASC).expect("valid"));
    let other = [content.as_slice(), b" "].concat();
    let is_about_another = |content: &[u8], signature: &[u8], entry: &RepoPath| {
        index.is_about_another(entry, signature, content, &Limits::default())
    };
    for name in ["rsa-sha256.asc", "rsa-sha512.asc", "rsa-binary.sig", "ed25519.asc", "p384.asc", "v6.asc", "two.asc"] {
        assert!(!is_about_another(&content, &fixture(name), &asc), "{name} over what it signs");
        assert!(is_about_another(&other, &fixture(name), &asc), "{name} over something else");
    }
    let key = RepoPath::new("9/os/repodata/repomd.xml.key").expect("valid");
    assert!(!is_about_another(&other, &fixture("ed25519.asc"), &key), "a key signs nothing");
    for nothing in [&b""[..], b"-----BEGIN PGP SIGNATURE-----", b"\x88\x04\x04\x00", &fixture("ed25519.asc")[..90]] {
        assert!(!is_about_another(&other, nothing, &asc), "what cannot be read says nothing");
    }
}
