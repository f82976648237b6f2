//! Signatures of apk indexes, made by openssl as abuild and apk make them, and damaged in every way that matters.
//!
//! The samples come from nothing that the code under test shares: openssl makes keys and signatures, and the ids of keys.

mod samples;

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::Command;

use artifactapi_formats::{Format, IndexRoot, InvalidKey, KeyKind, Limits, RepoPath, TrustedKeys, Untrusted, find};
use samples::alpine::{adb_deflate, block, index_tar, index_v3_values, stanza, tar_entry};
use samples::gzip;

const V2: &str = "main/x86_64/APKINDEX.tar.gz";
const V3: &str = "main/x86_64/Packages.adb";
const NAME: &str = "someone@example.com-0123abcd.rsa.pub";

fn openssl(args: &[&str]) -> Vec<u8> {
    let done = Command::new("openssl").args(args).output().expect("openssl, which tests/testbed/provide gets");
    assert!(done.status.success(), "openssl {args:?}: {}", String::from_utf8_lossy(&done.stderr));
    done.stdout
}

/// A secret key in a file, and its public half.
struct Key {
    secret: PathBuf,
    public: Vec<u8>,
}

impl Key {
    fn new(test: &str, name: &str, kind: &[&str]) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("apk_signatures").join(test);
        fs::create_dir_all(&folder).expect("folder");
        let secret = folder.join(name);
        let path = secret.to_str().expect("UTF-8");
        openssl(&[&["genpkey", "-quiet", "-out", path][..], kind].concat());
        let public = openssl(&["pkey", "-in", path, "-pubout"]);
        Self { secret, public }
    }

    fn rsa(test: &str, name: &str) -> Self {
        Self::new(test, name, &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"])
    }

    fn p256(test: &str, name: &str) -> Self {
        Self::new(test, name, &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"])
    }

    fn sign(&self, digest: &str, content: &[u8]) -> Vec<u8> {
        let file = self.secret.with_extension("content");
        fs::write(&file, content).expect("write");
        let (secret, file) = (self.secret.to_str().expect("UTF-8"), file.to_str().expect("UTF-8"));
        openssl(&["dgst", &format!("-{digest}"), "-sign", secret, file])
    }

    /// As v3 files name it.
    fn id(&self) -> Vec<u8> {
        use sha2::Digest as _;
        let secret = self.secret.to_str().expect("UTF-8");
        let der = openssl(&["pkey", "-in", secret, "-pubout", "-outform", "DER"]);
        let is_rsa = self.public.len() > 200;
        // What the SubjectPublicKeyInfo wraps: 24 bytes of head before an RSA key of 2048 bits, a point of 65 at the end.
        let bits = if is_rsa { &der[24..] } else { &der[der.len() - 65..] };
        sha2::Sha512::digest(bits)[..16].to_vec()
    }
}

fn keys(rows: &[(Option<&str>, &Key)]) -> TrustedKeys {
    let mut keys = TrustedKeys::default();
    for (name, key) in rows {
        keys.add(KeyKind::PublicKey, *name, &key.public, &Limits::default()).expect("a good key");
    }
    keys
}

/// The verdict in one line.
fn verdict_within(entry: &str, file: &[u8], keys: &TrustedKeys, limits: &Limits) -> String {
    let index = find("alpine").and_then(Format::index).expect("it has indexes");
    let root = IndexRoot { entry: RepoPath::new(entry).expect("valid") };
    let mut file = Cursor::new(file);
    file.set_position(7);
    match index.verify(&root, &mut file, &[], keys, 0, limits) {
        Ok(signed) => format!("signed by {signed}"),
        Err(untrusted) => untrusted.to_string(),
    }
}

fn verdict(entry: &str, file: &[u8], keys: &TrustedKeys) -> String {
    verdict_within(entry, file, keys, &Limits::default())
}

fn index_member() -> Vec<u8> {
    let text: String = (0..200_u8).map(|n| stanza(&format!("p{n}"), "1-r0", "x86_64", &[n; 20])).collect();
    gzip(&index_tar(&text))
}

/// A member with signature entries and no end.
fn seals(entries: &[(&str, &[u8])]) -> Vec<u8> {
    gzip(&entries.iter().flat_map(|(name, bytes)| tar_entry(name, b'0', bytes)).collect::<Vec<_>>())
}

fn entry(kind: &str) -> String {
    format!(".SIGN.{kind}.{NAME}")
}

#[test]
fn every_digest_and_every_damage() {
    const TEST: &str = "every";
    let (right, wrong) = (Key::rsa(TEST, "right"), Key::rsa(TEST, "wrong"));
    let trusted = keys(&[(Some(NAME), &right)]);
    let index = index_member();
    for (kind, digest) in [("RSA", "sha1"), ("RSA256", "sha256"), ("RSA512", "sha512")] {
        let signature = right.sign(digest, &index);
        let file = [seals(&[(&entry(kind), &signature)]), index.clone()].concat();
        let good = format!("signed by {NAME} (RSA 2048, {digest})");
        assert_eq!(verdict(V2, &file, &trusted), good);
        assert_eq!(
            verdict(V2, &file, &keys(&[(None, &right)])).split(':').next(),
            Some("signed by sha256"),
            "by any name"
        );

        let bad = format!("the signature by {NAME} does not fit APKINDEX.tar.gz");
        let is_bad = |file: &[u8], keys: &TrustedKeys, what: &str| {
            let found = verdict(V2, file, keys);
            assert!(found.starts_with(&bad), "{kind}, {what}: {found}");
        };
        is_bad(&file, &keys(&[(Some(NAME), &wrong)]), "another key of that name");
        is_bad(&file, &keys(&[(Some(NAME), &wrong), (None, &right)]), "a name decides before a key without one");
        is_bad(
            &[seals(&[(&entry(kind), &wrong.sign(digest, &index))]), index.clone()].concat(),
            &trusted,
            "by another",
        );
        is_bad(
            &[seals(&[(&entry(kind), &right.sign(digest, b"else"))]), index.clone()].concat(),
            &trusted,
            "of other bytes",
        );
        is_bad(&[seals(&[(&entry(kind), &signature[..255])]), index.clone()].concat(), &trusted, "cut short");
        is_bad(&[seals(&[(&entry(kind), b"")]), index.clone()].concat(), &trusted, "empty");
        let mut flipped = signature.clone();
        flipped[100] ^= 1;
        is_bad(&[seals(&[(&entry(kind), &flipped)]), index.clone()].concat(), &trusted, "flipped");
        for other in ["RSA", "RSA256", "RSA512"].into_iter().filter(|other| *other != kind) {
            is_bad(&[seals(&[(&entry(other), &signature)]), index.clone()].concat(), &trusted, "of another kind");
        }
        // The same text, packed anew: the signature is over bytes as stored.
        let mut again = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut again, &index_tar("")).expect("in memory");
        is_bad(
            &[seals(&[(&entry(kind), &signature)]), again.finish().expect("in memory")].concat(),
            &trusted,
            "repacked",
        );

        let unknown = verdict(V2, &file, &keys(&[(Some("else.rsa.pub"), &right)]));
        assert_eq!(unknown, format!("APKINDEX.tar.gz is signed by {NAME}, and no such key is trusted"));
        // No flip and no cut in the signed part passes; in front of it only what nobody reads may change.
        let front = file.len() - index.len();
        for at in (front..file.len()).step_by(3) {
            let mut flipped = file.clone();
            flipped[at] ^= 1;
            assert_ne!(verdict(V2, &flipped, &trusted), good, "flipped at {at}");
        }
        for cut in (0..file.len()).step_by(7) {
            assert_ne!(verdict(V2, &file[..cut], &trusted), good, "cut at {cut}");
        }
        assert_ne!(verdict(V2, &[&file[..], b"\0"].concat(), &trusted), good);
        assert_ne!(verdict(V2, &[&file[..], &gzip(b"")].concat(), &trusted), good);
    }
}

#[test]
fn several_signatures() {
    const TEST: &str = "several";
    let (ours, theirs) = (Key::rsa(TEST, "ours"), Key::rsa(TEST, "theirs"));
    let trusted = keys(&[(Some(NAME), &ours)]);
    let index = index_member();
    let (good, other) = (ours.sign("sha256", &index), theirs.sign("sha256", &index));
    let (name, unknown) = (entry("RSA256"), ".SIGN.RSA256.theirs.rsa.pub".to_owned());
    let signed = format!("signed by {NAME} (RSA 2048, sha256)");
    let long = vec![7; 70_000];
    let ways: [(&str, Vec<Vec<u8>>); 6] = [
        ("one", vec![seals(&[(&name, &good)])]),
        ("an unknown one before", vec![seals(&[(&unknown, &other), (&name, &good)])]),
        ("an unknown one after", vec![seals(&[(&name, &good), (&unknown, &other)])]),
        ("in two members", vec![seals(&[(&unknown, &other)]), seals(&[(&name, &good)])]),
        ("one of a kind nobody checks", vec![seals(&[(&entry("DSA"), &other), (&name, &good)])]),
        ("one too long to be one", vec![seals(&[(&name, &long), (&name, &good)])]),
    ];
    for (what, members) in ways {
        assert_eq!(verdict(V2, &[members.concat(), index.clone()].concat(), &trusted), signed, "{what}");
    }
    // As for apk, the first whose key is known decides.
    let file = [seals(&[(&name, &other), (&name, &good)]), index.clone()].concat();
    assert!(verdict(V2, &file, &trusted).starts_with("the signature by"));

    let refused = [
        ("none", index.clone(), "APKINDEX.tar.gz is not signed"),
        (
            "only one of a kind nobody checks",
            [seals(&[(&entry("DSA"), &other)]), index.clone()].concat(),
            "the signature of APKINDEX.tar.gz cannot be checked: it is of kind DSA",
        ),
        (
            "in the index's own member",
            gzip(&[tar_entry(&name, b'0', &good), index_tar("")].concat()),
            &format!("malformed signature of APKINDEX.tar.gz: that by {NAME} is in the very member it should cover"),
        ),
        (
            "an index before the signed one",
            [gzip(&index_tar("")), seals(&[(&name, &good)]), index.clone()].concat(),
            "malformed APKINDEX.tar.gz: something follows the member that holds the index",
        ),
        (
            "an index beside the signature",
            [gzip(&[tar_entry(&name, b'0', &good), tar_entry("APKINDEX", b'0', b"")].concat()), index.clone()].concat(),
            "malformed APKINDEX.tar.gz: something follows the member that holds the index",
        ),
    ];
    for (what, file, why) in refused {
        assert_eq!(verdict(V2, &file, &trusted), why, "{what}");
    }
    let many = [seals(&vec![(name.as_str(), &other[..]); 17]), index.clone()].concat();
    assert_eq!(verdict(V2, &many, &trusted), "signature of an index is over the limit signatures (16)");
    assert!(verdict(V2, &[seals(&[(&name, &good)]), index].concat(), &TrustedKeys::default()).contains("no such key"));
}

/// A v3 index with signatures by these keys.
fn adb(values: &[u8], signatures: &[Vec<u8>]) -> Vec<u8> {
    let blocks: Vec<u8> = signatures.iter().flat_map(|signature| block(1, signature)).collect();
    [b"ADB.indx".to_vec(), block(0, values), blocks].concat()
}

fn adb_signature(key: &Key, values: &[u8]) -> Vec<u8> {
    use sha2::Digest as _;
    let head = [&[0, 4][..], &key.id()].concat();
    let message = [&b"indx"[..], &head, &sha2::Sha512::digest(values)].concat();
    [head, key.sign("sha512", &message)].concat()
}

#[test]
fn version_3() {
    const TEST: &str = "v3";
    let (rsa, curve, other) = (Key::rsa(TEST, "rsa"), Key::p256(TEST, "curve"), Key::p256(TEST, "other"));
    let values = index_v3_values("", &[("one", "1.0", "x86_64", &[1; 32]), ("two", "2.0", "noarch", &[2; 20])]);
    let trusted = keys(&[(Some("a.rsa.pub"), &rsa), (Some("b.pem"), &curve)]);
    let (by_rsa, by_curve) = (adb_signature(&rsa, &values), adb_signature(&curve, &values));
    let by_other = adb_signature(&other, &values);
    let rsa_signed = "signed by a.rsa.pub (RSA 2048, sha512)";
    let curve_signed = "signed by b.pem (ECDSA P-256, sha512)";
    let mut flipped = by_curve.clone();
    *flipped.last_mut().expect("not empty") ^= 1;
    let version_1 = [&[1][..], &by_rsa[1..]].concat();
    let bad = "the signature by b.pem does not fit apk index (v3): one of the two was changed, or the key is another of that name";
    let unknown: String = other.id().iter().map(|byte| format!("{byte:02x}")).collect();
    let unknown = format!("apk index (v3) is signed by key id {unknown}, and no such key is trusted");
    let table: [(&str, Vec<Vec<u8>>, &str); 9] = [
        ("RSA", vec![by_rsa.clone()], rsa_signed),
        ("a curve", vec![by_curve.clone()], curve_signed),
        ("an unknown one before", vec![by_other.clone(), by_curve.clone()], curve_signed),
        ("a bad one before", vec![flipped.clone(), by_rsa], rsa_signed),
        ("none", vec![], "apk index (v3) is not signed"),
        ("an unknown one", vec![by_other], &unknown),
        ("flipped", vec![flipped], bad),
        (
            "of another version",
            vec![version_1],
            "the signature of apk index (v3) cannot be checked: it is of a version or digest that is not known",
        ),
        (
            "too short",
            vec![vec![0; 5]],
            "the signature of apk index (v3) cannot be checked: it is of a version or digest that is not known",
        ),
    ];
    for (what, signatures, expected) in table {
        let file = adb(&values, &signatures);
        assert_eq!(verdict(V3, &file, &trusted), expected, "{what}");
        assert_eq!(verdict(V3, &adb_deflate(&file), &trusted), expected, "{what}, compressed");
    }
    let file = adb(&values, &[by_curve]);
    for at in 8..8 + 4 + values.len() {
        let mut flipped = file.clone();
        flipped[at] ^= 1;
        assert_ne!(verdict(V3, &flipped, &trusted), curve_signed, "flipped at {at}");
    }
    for cut in 0..file.len() - 8 {
        assert_ne!(verdict(V3, &file[..cut], &trusted), curve_signed, "cut at {cut}");
    }
    let limits = Limits { signature_bytes: 50, ..Limits::default() };
    assert_eq!(verdict_within(V3, &file, &trusted, &limits), "apk index (v3) is over the limit signature_bytes (50)");
}

/// What abuild-sign and apk made of them, in `fixtures/small`.
#[test]
fn the_real_tools() {
    let small = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/small/alpine");
    let read = |name: &str| fs::read(small.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let name = "fixtures@example.org-67241a00.rsa.pub";
    let mut keys = TrustedKeys::default();
    keys.add(KeyKind::PublicKey, Some(name), &read(name), &Limits::default()).expect("a good key");
    let table = [
        ("APKINDEX.tar.gz", V2, "sha256"),
        ("community/APKINDEX.tar.gz", V2, "sha1"),
        ("feed/packages.adb", V3, "sha512"),
    ];
    for (file, entry, digest) in table {
        assert_eq!(verdict(entry, &read(file), &keys), format!("signed by {name} (RSA 2048, {digest})"), "{file}");
    }
}

#[test]
fn keys_are_read_strictly() {
    const TEST: &str = "keys";
    let key = Key::rsa(TEST, "key");
    let add = |name: Option<&str>, bytes: &[u8]| {
        let mut keys = keys(&[(Some("known.rsa.pub"), &key)]);
        keys.add(KeyKind::PublicKey, name, bytes, &Limits::default()).err().map(|why| why.to_string())
    };
    assert_eq!(add(Some("new.rsa.pub"), &key.public), None);
    assert_eq!(add(None, &key.public), None);
    let small = Key::new(TEST, "small", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"]);
    let large = Key::new(TEST, "curve", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"]);
    let openpgp = b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmDMEZ3SFgBYJ\n-----END PGP PUBLIC KEY BLOCK-----\n";
    let secret = fs::read(&key.secret).expect("readable");
    let twice = [&key.public[..], &key.public].concat();
    let table: [(&[u8], &str); 8] = [
        (b"", "is not a PEM public key (-----BEGIN PUBLIC KEY-----)"),
        (b"<html>", "is not a PEM public key (-----BEGIN PUBLIC KEY-----)"),
        (openpgp, "is not a PEM public key (-----BEGIN PUBLIC KEY-----)"),
        (&secret, "holds a private key, which is not needed and should not lie here; give the public one"),
        (&key.public[..100], "is a key that cannot be read: a block breaks off"),
        (&twice, "is a key that cannot be used: it is more than one, and a name stands for one only"),
        (&small.public, "is a key that cannot be used: it has less than 2048 bits, which can be broken"),
        (&large.public, "is a key that cannot be used: it is neither RSA nor on the curve P-256"),
    ];
    for (bytes, why) in table {
        assert_eq!(add(Some("new.rsa.pub"), bytes).as_deref(), Some(why), "{}", String::from_utf8_lossy(bytes));
    }
    assert!(add(Some("known.rsa.pub"), &key.public).is_some_and(|why| why.contains("second key named known.rsa.pub")));
    let huge = vec![b' '; 2 << 20];
    assert_eq!(add(None, &huge).as_deref(), Some("is over the limit key_bytes (1048576)"));
    let mut keys = TrustedKeys::default();
    let few = Limits { keys: 1, ..Limits::default() };
    assert_eq!(keys.add(KeyKind::PublicKey, Some("a"), &key.public, &few), Ok(()));
    assert_eq!(
        keys.add(KeyKind::PublicKey, Some("b"), &key.public, &few),
        Err(InvalidKey::OverLimit { limit: "keys", value: 1 })
    );
}

#[test]
fn unreadable_indexes_are_untrusted() {
    let index = find("alpine").and_then(Format::index).expect("it has indexes");
    let root = IndexRoot { entry: RepoPath::new(V2).expect("valid") };
    let (keys, limits) = (TrustedKeys::default(), Limits::default());
    let verified = index.verify(&root, &mut Cursor::new(b"<html>"), &[], &keys, 0, &limits);
    assert!(matches!(verified, Err(Untrusted::Index(_))));
    assert_eq!(index.key_kind(), Some(KeyKind::PublicKey));
    assert!(find("generic").is_some_and(|format| format.index().is_none()));
}
