//! Alpine: real indexes of two releases, melange's, and v3 files made by apk-tools.

use std::io::Cursor;

use artifactapi_formats::publish::{Described, Upload};
use artifactapi_formats::{Invalid, KeyKind, Limits, RepoPath, Sha256, TrustedKeys, Untrusted};

use super::{check, files, format, index, packages, read, root, testbed};

#[test]
fn every_index_is_read_to_its_last_package() {
    // The v3 indexes hold 5,004 packages, one of them with an error in place of a version that apk-tools found malformed.
    let table = [
        ("alpine/real-main/alpine-316/APKINDEX.tar.gz", 4929),
        ("alpine/real-main/alpine-317/APKINDEX.tar.gz", 5004),
        ("alpine/apko-packages/packages/aarch64/APKINDEX.tar.gz", 4),
        ("alpine/apko-packages/packages/x86_64/APKINDEX.tar.gz", 4),
        ("alpine/apko-private/packages/aarch64/APKINDEX.tar.gz", 2),
        ("alpine/apko-private/packages/x86_64/APKINDEX.tar.gz", 2),
        ("alpine/v3-generated/alpine-317-main-aarch64.deflate.adb", 5003),
        ("alpine/v3-generated/alpine-317-main-aarch64.none.adb", 5003),
    ];
    let found = files("alpine", |name| name == "APKINDEX.tar.gz" || name.ends_with(".adb"));
    assert_eq!(found.len(), table.len(), "an index that the table does not know");
    for (entry, count) in table {
        let root = root(entry);
        assert_eq!(packages(index("alpine"), &root, &root.entry).len(), count, "{entry}");
        check(format("alpine"), &root.entry, None).unwrap_or_else(|invalid| panic!("{entry}: {invalid}"));
    }
}

#[test]
fn real_indexes_say_when_they_were_made() {
    let made_at = |entry: &str| {
        let root = root(entry);
        index("alpine").made_at(&root, &read(&root.entry), &Limits::default())
    };
    let (older, newer) = (
        made_at("alpine/real-main/alpine-316/APKINDEX.tar.gz"),
        made_at("alpine/real-main/alpine-317/APKINDEX.tar.gz"),
    );
    assert!(older.is_some_and(|time| time > 1_600_000_000) && older < newer, "{older:?} {newer:?}");
    assert_eq!(made_at("alpine/apko-packages/packages/x86_64/APKINDEX.tar.gz"), None);
}

/// A real package whose version v3 cannot express.
const MALFORMED: (&str, &str) = ("aspell-ru", "0.99f7-r1");

/// The v3 index was converted from the v2 one by apk-tools: the two readers check each other.
#[test]
fn v2_and_v3_say_the_same() {
    let read = |entry: &str| {
        let root = root(entry);
        let mut all: Vec<_> = packages(index("alpine"), &root, &root.entry)
            .into_iter()
            .map(|package| (package.name, package.version, package.arch, package.size, package.identity))
            .collect();
        all.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
        all
    };
    let mut v2 = read("alpine/real-main/alpine-317/APKINDEX.tar.gz");
    v2.retain(|(name, version, ..)| (name.as_str(), version.as_str()) != MALFORMED);
    assert_eq!(v2, read("alpine/v3-generated/alpine-317-main-aarch64.none.adb"));
    assert_eq!(v2, read("alpine/v3-generated/alpine-317-main-aarch64.deflate.adb"));
}

#[test]
fn every_package_agrees_with_itself() {
    let all = files("alpine", |name| name.ends_with(".apk"));
    assert_eq!(all.len(), 18);
    for path in all {
        check(format("alpine"), &path, None).unwrap_or_else(|invalid| panic!("{path}: {invalid}"));
    }
}

/// Packages against the index beside them: all fit, but for another build under the same name and one under another's.
#[test]
fn packages_are_what_their_index_says() {
    let (mut held, mut traps) = (0, Vec::new());
    for entry in files("alpine", |name| name == "APKINDEX.tar.gz") {
        let folder = entry.folder().to_owned();
        for package in packages(index("alpine"), &root(entry.as_str()), &entry) {
            // Real indexes lie in folders that are not named for their architecture here.
            let file = format!("{folder}/{}-{}.apk", package.name, package.version);
            let file = RepoPath::new(&file).expect("a path");
            if !super::exists(&file) {
                continue;
            }
            held += 1;
            match check(format("alpine"), &file, Some(&package.expected())) {
                Ok(()) => {}
                Err(Invalid::Mismatch { what, .. }) => traps.push(format!("{file}: {what}")),
                Err(other) => panic!("{file}: {other}"),
            }
        }
    }
    assert_eq!(held, 14);
    let expected = ["316/alpine-baselayout-3.2.0-r23", "317/alpine-baselayout-3.4.0-r0"];
    assert_eq!(traps, expected.map(|trap| format!("alpine/real-main/alpine-{trap}.apk: apk control member")));
}

#[test]
fn keys_are_keys() {
    for path in files("keys/alpine", |name| name.ends_with(".rsa.pub")) {
        check(format("alpine"), &path, None).unwrap_or_else(|invalid| panic!("{path}: {invalid}"));
    }
}

/// Alpine's own signatures, melange's and apko's, by the keys that they publish.
#[test]
fn real_signatures() {
    let verify = |entry: &str, key: &str| {
        let (root, limits) = (root(entry), Limits::default());
        let mut keys = TrustedKeys::default();
        let key = RepoPath::new(key).expect("a path");
        keys.add(KeyKind::PublicKey, Some(key.file_name()), &read(&key), &limits).expect("a good key");
        let mut file = Cursor::new(read(&root.entry));
        index("alpine").verify(&root, &mut file, &[], &keys, 0, &limits).map(|signed| signed.algorithm)
    };
    let alpine = |id: &str| format!("keys/alpine/alpine-devel@lists.alpinelinux.org-{id}.rsa.pub");
    let table = [
        ("alpine/real-main/alpine-316/APKINDEX.tar.gz", alpine("6165ee59"), "RSA 4096, sha1"),
        ("alpine/real-main/alpine-317/APKINDEX.tar.gz", alpine("616ae350"), "RSA 4096, sha1"),
        (
            "alpine/apko-packages/packages/x86_64/APKINDEX.tar.gz",
            "alpine/apko-packages/melange.rsa.pub".into(),
            "RSA 4096, sha256",
        ),
        (
            "alpine/apko-private/packages/x86_64/APKINDEX.tar.gz",
            "alpine/apko-private/private_pkg_key.rsa.pub".into(),
            "RSA 4096, sha1",
        ),
    ];
    for (entry, key, algorithm) in table {
        assert_eq!(verify(entry, &key).unwrap_or_else(|why| panic!("{entry}: {why}")), algorithm, "{entry}");
        assert!(matches!(verify(entry, &alpine("66ba20fe")), Err(Untrusted::UnknownKey { .. })), "{entry}");
    }
    let unsigned = verify("alpine/v3-generated/alpine-317-main-aarch64.deflate.adb", &alpine("616ae350"));
    assert!(matches!(unsigned, Err(Untrusted::Unsigned { .. })), "{unsigned:?}");
}

/// Described as they would be after an upload, packages have the stanzas that melange wrote for them, but for its two habits: it leaves
/// out an empty `U:`, and writes the time of a package that has none.
#[test]
fn real_packages_get_the_stanzas_they_have() {
    let mut compared = 0;
    for entry in
        files("alpine", |name| name == "APKINDEX.tar.gz").iter().filter(|path| path.as_str().contains("/apko-"))
    {
        let text = testbed::tar_entry(&testbed::open_members(&read(entry)), "APKINDEX").replace("\nt:0\n", "\n");
        let stanzas: Vec<&str> = text.split_inclusive("\n\n").collect();
        for package in packages(index("alpine"), &root(entry.as_str()), entry) {
            let described = described(&package.path, &read(&package.path));
            let ours = String::from_utf8(described.fragments.concat()).expect("UTF-8").replace("\nU:\n", "\n");
            assert!(stanzas.contains(&ours.as_str()), "{ours}\nis none of\n{text}");
            assert_eq!(described.entry, package);
            compared += 1;
        }
    }
    assert_eq!(compared, 12);
}

/// The same by apk itself, for every v2 package, under the name and architecture that it gives itself.
#[test]
fn real_packages_get_the_stanzas_that_apk_writes() {
    let (scratch, mut compared) = (testbed::folder("corpus_stanzas"), 0);
    for path in files("alpine", |name| name.ends_with(".apk")).iter().filter(|path| read(path).starts_with(&[0x1f])) {
        let theirs = testbed::apk_index(&scratch, None, &[super::corpus().join(path.as_str())]).concat();
        let field = |letter: &str| theirs.lines().find_map(|line| line.strip_prefix(letter)).unwrap_or_default();
        let at = format!("{}/{}-{}.apk", field("A:"), field("P:"), field("V:"));
        let described = described(&RepoPath::new(&at).expect("a path"), &read(path));
        assert_eq!(String::from_utf8(described.fragments.concat()).expect("UTF-8"), theirs, "{path}");
        compared += 1;
    }
    assert_eq!(compared, 15);
}

/// As it would be after an upload to `path`.
fn described(path: &RepoPath, file: &[u8]) -> Described {
    let publish = format("alpine").publish().expect("it can be published");
    let root = publish.root_for(path, 0).expect("a root");
    let upload = Upload { root: &root, path, size: file.len() as u64, sha256: Sha256::of(file), uploaded_at: 0 };
    let described = publish.describe(&upload, &mut Cursor::new(file), &Limits::default());
    described.unwrap_or_else(|invalid| panic!("{path}: {invalid}"))
}
