//! RPM: repositories in many metadata styles, packages of every package version, mirror lists.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::time::{SystemTime, UNIX_EPOCH};

use artifactapi_formats::rpm::mirrors;
use artifactapi_formats::{Invalid, KeyKind, Limits, Member, Mutability, RepoPath, Sha256, TrustedKeys, Untrusted};

use super::{check, exists, files, format, index, packages, read, root};

/// Every root: members named, packages listed.
const ROOTS: [(&str, usize, usize); 30] = [
    ("rpm/oracle/createrepo_c", 3, 12),
    ("rpm/oracle/pulp-assets", 3, 35),
    ("rpm/oracle/rpm-rs-v4", 3, 4),
    ("rpm/repos/createrepo_c/repo_00", 6, 0),
    ("rpm/repos/createrepo_c/repo_01", 3, 1),
    ("rpm/repos/createrepo_c/repo_02", 3, 2),
    ("rpm/repos/createrepo_c/repo_03", 7, 0),
    ("rpm/repos/createrepo_c/repo_04", 4, 2),
    ("rpm/repos/createrepo_c/repo_koji_01", 3, 2),
    ("rpm/repos/createrepo_c/repo_koji_02", 3, 1),
    ("rpm/repos/createrepo_c/repo_with_additional_metadata", 17, 1),
    ("rpm/repos/createrepo_c/repo_with_duplicate_packages", 3, 4),
    ("rpm/repos/libdnf-hawkey/advisories", 5, 2),
    ("rpm/repos/libdnf-hawkey/hawkey/yum", 5, 2),
    ("rpm/repos/libdnf-modules/_non-modular/x86_64", 6, 8),
    ("rpm/repos/libdnf-modules/base-runtime-f26-1/x86_64", 7, 12),
    ("rpm/repos/libdnf-modules/httpd-2.4-1/x86_64", 7, 3),
    ("rpm/repos/librepo-mock/01", 6, 1),
    ("rpm/repos/librepo-mock/02", 12, 1),
    ("rpm/repos/librepo-mock/03", 6, 1),
    ("rpm/repos/librepo-mock/04", 6, 1),
    ("rpm/repos/zypp-11.0-update", 5, 2430),
    // Its packages lie elsewhere by an absolute xml:base.
    ("rpm/variants/baseurl", 3, 0),
    ("rpm/variants/full", 11, 7),
    ("rpm/variants/genA", 3, 6),
    ("rpm/variants/genB", 3, 6),
    ("rpm/variants/simple", 3, 7),
    ("rpm/variants/xz", 3, 7),
    ("rpm/variants/zck", 6, 7),
    ("", 0, 0),
];

fn members(entry: &RepoPath) -> Vec<Member> {
    let read = index("rpm").members(&root(entry.as_str()), &read(entry), &Limits::default());
    read.unwrap_or_else(|invalid| panic!("{entry}: {invalid}"))
}

#[test]
fn every_root_is_read() {
    let entries = files("rpm", |name| name == "repomd.xml");
    let known: BTreeMap<_, _> =
        ROOTS.iter().map(|(folder, members, packages)| (*folder, (*members, *packages))).collect();
    assert_eq!(entries.len(), known.len() - 1, "a root that the table does not know");
    for entry in entries {
        check(format("rpm"), &entry, None).unwrap_or_else(|invalid| panic!("{entry}: {invalid}"));
        let root = root(entry.as_str());
        let layout = index("rpm").layout(&root);
        let members = members(&entry);
        let list = index("rpm").package_list(&root, &members).expect("every root has a primary");
        let found = (members.len(), packages(index("rpm"), &root, &list).len());
        assert_eq!(Some(&found), known.get(layout.folder.as_str()), "{entry}");
    }
}

/// Metadata files against repomd.xml, and against their own names where those hold digests.
#[test]
fn every_member_is_what_its_index_says() {
    let (mut absent, mut traps, mut by_name) = (Vec::new(), Vec::new(), 0);
    for entry in files("rpm", |name| name == "repomd.xml") {
        for Member { path, expected, .. } in members(&entry) {
            if !exists(&path) {
                absent.push(path.to_string());
                continue;
            }
            let verdict = check(format("rpm"), &path, Some(&expected));
            match &verdict {
                Ok(()) => {}
                // Nothing about it is damaged: it is only not what it is said to be.
                Err(Invalid::Mismatch { .. }) => traps.push(path.to_string()),
                Err(other) => panic!("{path}: {other}"),
            }
            let alone = check(format("rpm"), &path, None);
            assert_eq!(alone.is_ok(), verdict.is_ok(), "{path}: {alone:?} against {verdict:?}");
            if let Err(Invalid::Mismatch { expected, .. }) = &alone {
                let digest = expected.rsplit(':').next().expect("a digest");
                assert!(path.file_name().starts_with(digest), "{path} is not refused by its name: {alone:?}");
            }
            by_name += u32::from(matches!(format("rpm").mutability(&path), Mutability::Addressed(_)));
        }
    }
    let old = "rpm/repos/zypp-11.0-update/repodata";
    assert_eq!(absent, [format!("{old}/filelists.xml.gz"), format!("{old}/other.xml.gz")]);
    let trap = "6c662d665c24de9a0f62c17d8fa50622307739d7376f0d19097ca96c6d7f5e3e-primary.xml.gz";
    assert_eq!(traps, [format!("rpm/repos/createrepo_c/repo_01/repodata/{trap}")]);
    assert!(by_name > 100, "{by_name}");
}

#[test]
fn every_signature_and_key_is_one() {
    for path in files("rpm", |name| name.starts_with("repomd.xml.") && !name.ends_with(".bad")) {
        check(format("rpm"), &path, None).unwrap_or_else(|invalid| panic!("{path}: {invalid}"));
    }
}

#[test]
fn every_package_agrees_with_itself() {
    let all = files("rpm", |name| name.ends_with(".rpm") || name.ends_with(".drpm"));
    assert!(all.len() >= 140, "{}", all.len());
    for path in all {
        check(format("rpm"), &path, None).unwrap_or_else(|invalid| panic!("{path}: {invalid}"));
    }
}

/// The last byte of the payload, the last of the header and a missing tail: found in each real package.
#[test]
fn damage_to_any_package_is_found() {
    for path in files("rpm", |name| name.ends_with(".rpm")) {
        let file = read(&path);
        let verdict = |file: &[u8]| {
            let mut checker = format("rpm").checker(&path, None, &Limits::default()).expect("packages have one");
            checker.update(file)?;
            checker.finish(&mut Cursor::new(file), &Sha256::of(file))
        };
        let mut flipped = file.clone();
        *flipped.last_mut().expect("not empty") ^= 1;
        assert!(verdict(&flipped).is_err(), "{path}: flipped");
        assert!(verdict(&file[..file.len() - 1]).is_err(), "{path}: cut");
        assert!(verdict(&file[..file.len() / 2]).is_err(), "{path}: half");
    }
}

/// Packages against primary.xml, in each root that has its packages beside it.
#[test]
fn every_package_is_what_its_index_says() {
    let mut held = 0;
    for entry in files("rpm", |name| name == "repomd.xml") {
        let root = root(entry.as_str());
        let list = index("rpm").package_list(&root, &members(&entry)).expect("every root has a primary");
        for package in packages(index("rpm"), &root, &list).iter().filter(|package| exists(&package.path)) {
            held += 1;
            let verdict = check(format("rpm"), &package.path, Some(&package.expected()));
            verdict.unwrap_or_else(|invalid| panic!("{}: {invalid}", package.path));
        }
    }
    assert!(held >= 60, "{held}");
}

/// createrepo_c's own lists of the collected packages, found again by file name.
#[test]
fn the_oracle_agrees() {
    for (oracle, folder) in [("createrepo_c", "createrepo_c"), ("pulp-assets", "pulp-assets"), ("rpm-rs-v4", "rpm-rs")]
    {
        let entry = RepoPath::new(&format!("rpm/oracle/{oracle}/repodata/repomd.xml")).expect("a path");
        let root = root(entry.as_str());
        let list = index("rpm").package_list(&root, &members(&entry)).expect("it has a primary");
        let collected = files(&format!("rpm/packages/{folder}"), |name| name.ends_with(".rpm"));
        for package in packages(index("rpm"), &root, &list) {
            let name = package.path.file_name();
            let fits = |path: &&RepoPath| {
                path.file_name() == name && check(format("rpm"), path, Some(&package.expected())).is_ok()
            };
            assert!(collected.iter().any(|path| fits(&path)), "{}", package.path);
        }
    }
}

#[test]
fn mirror_lists() {
    /// Mirrors and revisions.
    type Counts = Result<(usize, usize), ()>;
    let table: [(&str, Counts); 17] = [
        ("rpm/repos/librepo-mock/metalink/good_01.xml", Ok((1, 1))),
        ("rpm/repos/librepo-mock/metalink/good_02.xml", Ok((1, 1))),
        ("rpm/repos/librepo-mock/metalink/metalink_with_alternates.xml", Ok((1, 3))),
        ("rpm/repos/librepo-mock/metalink/mirrors_01.xml", Ok((3, 0))),
        ("rpm/repos/librepo-mock/metalink/badchecksum.xml", Ok((1, 1))),
        ("rpm/repos/librepo-mock/metalink/badfirsthost.xml", Ok((1, 1))),
        ("rpm/repos/librepo-mock/metalink/nourls.xml", Ok((0, 1))),
        ("rpm/repos/librepo-mock/metalink/badfilename.xml", Err(())),
        ("rpm/repos/librepo-mock/mirrorlist/good_01", Ok((1, 0))),
        ("rpm/repos/librepo-mock/mirrorlist/good_02", Ok((1, 0))),
        ("rpm/repos/librepo-mock/mirrorlist/badfirsturl", Ok((2, 0))),
        ("rpm/repos/librepo-mock/mirrorlist/nourls", Ok((0, 0))),
        ("rpm/repos/librepo-mock/mirrorlist/varsub", Ok((1, 0))),
        ("mirrorlists/zypp/parser/data/mirrorlist.json", Err(())),
        ("mirrorlists/zypp/media/data/other.xml.gz.meta4", Err(())),
        ("mirrorlists/zypp/media/data/openSUSE-11.3-NET-i586.iso.meta4", Err(())),
        ("mirrorlists/zypp/media/data/openSUSE-11.3-NET-i586.iso.metalink", Err(())),
    ];
    for (path, expected) in table {
        let list = read(&RepoPath::new(path).expect("a path"));
        let found = mirrors::read(&list, &Limits::default());
        let counts = found.as_ref().map(|list| (list.mirrors.len(), list.revisions.len())).map_err(|_| ());
        assert_eq!(counts, expected, "{path}: {found:?}");
    }
}

/// Files under a name that they do not deserve are refused.
#[test]
fn files_in_anothers_place_are_refused() {
    let verdict = |name: &str, from: &str| -> Result<(), Invalid> {
        let path = RepoPath::new(name).expect("a path");
        let file = read(&RepoPath::new(from).expect("a path"));
        let mut checker = format("rpm").checker(&path, None, &Limits::default()).expect("there is one");
        checker.update(&file)?;
        checker.finish(&mut Cursor::new(&file), &Sha256::of(&file))
    };
    let metalink = "rpm/repos/librepo-mock/metalink/good_01.xml";
    let snippet = "rpm/repos/createrepo_c/repodata_snippets/primary_snippet_01.xml";
    let table = [
        ("repodata/repomd.xml", metalink),
        ("repodata/repomd.xml", snippet),
        ("repodata/repomd.xml", "rpm/disttree/.treeinfo"),
        ("repodata/primary.xml.gz", metalink),
        ("repodata/comps.xml", metalink),
        ("repodata/repomd.xml.asc", metalink),
        ("a.rpm", metalink),
        ("a.rpm", "rpm/disttree/EULA"),
    ];
    for (name, from) in table {
        assert!(verdict(name, from).is_err(), "{from} as {name}");
    }
}

/// The keys of distributions, and signatures of repositories by the keys beside them.
#[test]
fn real_keys_and_signatures() {
    let limits = Limits::default();
    let keys = |path: &str| {
        let mut keys = TrustedKeys::default();
        let bytes = read(&RepoPath::new(path).expect("a path"));
        keys.add(KeyKind::Certificate, None, &bytes, &limits).map(|()| keys)
    };
    let signing = "rpm/packages/rpm-rs/signing_keys";
    let good = [
        ("keys/rpm/RPM-GPG-KEY-fedora-42-primary", 1),
        (&format!("{signing}/v4/rpm-testkey-v4-ed25519.asc"), 1),
        (&format!("{signing}/v4/rpm-testkey-v4-ecdsa-nistp256.asc"), 1),
        (&format!("{signing}/v4/rpm-testkey-v4-rsa4096.asc"), 1),
        (&format!("{signing}/v6/rpm-testkey-v6-rsa4k.asc"), 1),
        (&format!("{signing}/v6/rpm-testkey-v6-ed25519.asc"), 1),
    ];
    for (path, count) in good {
        let keys = keys(path).unwrap_or_else(|why| panic!("{path} {why}"));
        assert_eq!(keys.shown().count(), count, "{path}");
    }
    // DSA of 2008.
    assert!(keys("rpm/repos/zypp-11.0-update/repodata/repomd.xml.key").is_err());

    let verify = |folder: &str, key: &str| {
        let entry = format!("{folder}/repodata/repomd.xml");
        let root = root(&entry);
        let asc = RepoPath::new(&format!("{entry}.asc")).expect("a path");
        let companions = [(asc.clone(), read(&asc))];
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let mut file = Cursor::new(read(&root.entry));
        index("rpm").verify(&root, &mut file, &companions, &keys(key).expect("good keys"), now, &limits)
    };
    for folder in ["rpm/variants/full", "rpm/variants/genA", "rpm/variants/genB"] {
        let signed = verify(folder, &format!("{folder}/repodata/repomd.xml.key"));
        let signed = signed.unwrap_or_else(|why| panic!("{folder}: {why}"));
        assert_eq!(signed.algorithm, "RSA 3072, sha512", "{folder}");
        let other = verify(folder, "keys/rpm/RPM-GPG-KEY-fedora-42-primary");
        assert!(matches!(other, Err(Untrusted::UnknownKey { .. })), "{folder}");
    }
    let mock = "rpm/repos/librepo-mock/01";
    assert_eq!(verify(mock, &format!("{mock}/repodata/repomd.xml.key")).expect("signed").algorithm, "RSA 2048, sha512");
    let other = verify("rpm/repos/zypp-11.0-update", "keys/rpm/RPM-GPG-KEY-fedora-42-primary");
    assert!(matches!(other, Err(Untrusted::UnknownKey { .. })));
    // The entry of one generation with the signature of another.
    let root = root("rpm/variants/genA/repodata/repomd.xml");
    let other = RepoPath::new("rpm/variants/genB/repodata/repomd.xml.asc").expect("a path");
    let beside = RepoPath::new(&format!("{}.asc", root.entry)).expect("a path");
    let keys = keys("rpm/variants/genB/repodata/repomd.xml.key").expect("good keys");
    let mut file = Cursor::new(read(&root.entry));
    let mixed = index("rpm").verify(&root, &mut file, &[(beside, read(&other))], &keys, 0, &limits);
    assert!(matches!(mixed, Err(Untrusted::BadSignature { .. })), "{mixed:?}");
}
