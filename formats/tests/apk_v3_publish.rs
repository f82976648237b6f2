//! `Packages.adb` as we write it, held against the one that `apk mkndx` writes and given to apk itself; and packages of version 3
//! that somebody made to be listed as something else.

mod samples;
mod testbed;

use std::fs;
use std::io::Cursor;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;

use artifactapi_formats::publish::{Cut, Described, FinishedContent, HEAD, Index, Totals, Upload};
use artifactapi_formats::trust::{RsaDigest, RsaKey};
use artifactapi_formats::{
    Format, IndexFormat, IndexRoot, Invalid, KeyKind, Limits, PackageEntry, PublishFormat, RepoPath, Sha256,
    SigningKeys, TrustedKeys, find,
};
use samples::alpine::{Values, adb_deflate, adb_zstd, block, package_v3};
use testbed::{apk, folder, openssl};

const NAME: &str = "ci@example.org-5f3a.rsa.pub";
const NEXT: &str = "ci@example.org-77aa.rsa.pub";

fn alpine() -> &'static dyn Format {
    find("alpine").expect("known")
}

fn publish() -> &'static dyn PublishFormat {
    alpine().publish().expect("it can be published")
}

fn index() -> &'static dyn IndexFormat {
    alpine().index().expect("it has indexes")
}

fn path(text: &str) -> RepoPath {
    RepoPath::new(text).expect(text)
}

fn root() -> IndexRoot {
    IndexRoot { entry: path("x86_64/Packages.adb") }
}

fn describe_within(at: &str, file: &[u8], limits: &Limits) -> Result<Described, Invalid> {
    let path = path(at);
    let head = &file[..file.len().min(HEAD)];
    let root = publish().root_by_content(publish().root_for(&path, 0)?, head);
    let (size, sha256) = (file.len() as u64, Sha256::of(file));
    let upload = Upload { root: &root, path: &path, size, sha256, uploaded_at: 1 };
    publish().describe(&upload, &mut Cursor::new(file), limits)
}

fn describe(at: &str, file: &[u8]) -> Result<Described, Invalid> {
    describe_within(at, file, &Limits::default())
}

/// The index of these packages, as the server has it made.
fn write(packages: &[Described], keys: &SigningKeys) -> Vec<u8> {
    let totals = Totals::default();
    let text = packages.iter().map(|package| package.fragments.concat()).collect::<Vec<_>>().concat();
    let text = [publish().open(&root(), 0, &totals), text, publish().close(&root(), 0, &totals)].concat();
    let finished = Index { root: &root(), lists: &[], carried: &[], keys, written_at: 1, revision: 1 };
    let files = publish().finish(&finished).expect("it can be finished");
    assert_eq!(files.len(), 1);
    assert_eq!((&files[0].path, &files[0].content), (&root().entry, &FinishedContent::Composed { list: 0 }));
    let mut written = Vec::new();
    publish().compose(&root(), &mut &text[..], keys, &Limits::default(), &mut written).expect("it can be written");
    written
}

fn read(root: &IndexRoot, mut file: &[u8]) -> Vec<PackageEntry> {
    let mut all = Vec::new();
    let read = index().packages(root, &mut file, &Limits::default(), &mut |package| {
        all.push(package);
        ControlFlow::Continue(())
    });
    read.expect("it can be read");
    all
}

/// A package that `apk mkpkg` makes, with these words about it.
fn mkpkg(folder: &Path, name: &str, info: &[&str]) -> PathBuf {
    let files = folder.join("files");
    fs::create_dir_all(files.join("usr/share")).expect("a folder");
    fs::write(files.join("usr/share").join(name), name.repeat(50)).expect("written");
    let out = folder.join(name);
    let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let (files, target) = (text(&files), text(&out));
    let mut args = vec!["mkpkg", "--files", &files, "--output", &target];
    args.extend(info.iter().flat_map(|word| ["--info", word]));
    let done = apk(&args);
    assert!(done.status.success(), "{name}: {}", String::from_utf8_lossy(&done.stderr));
    fs::remove_dir_all(&files).expect("removed");
    out
}

/// What apk says about the values of a file; whether they are signed is left out.
fn dump(file: &Path) -> String {
    let done = apk(&["adbdump", file.to_str().expect("UTF-8")]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let text = String::from_utf8(done.stdout).expect("UTF-8");
    text.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect()
}

fn key(folder: &Path, name: &str) -> RsaKey {
    let file = folder.join(name);
    let out = file.to_str().expect("UTF-8");
    openssl(&["genpkey", "-quiet", "-out", out, "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]);
    RsaKey::read(name, RsaDigest::Sha1, &fs::read(&file).expect("written")).expect("a good key")
}

/// Packages with whatever an index repeats, in an order that is not that of an index.
fn generated(folder: &Path) -> Vec<PathBuf> {
    let long = format!("description:{}", "Größe ".repeat(2000));
    let many = format!("provides:{}", (0..3000).rev().map(|n| format!("so:lib{n}.so.{n}=1.{n} ")).collect::<String>());
    vec![
        mkpkg(
            folder,
            "whole-1.10-r0.apk",
            &[
                "name:whole",
                "version:1.10-r0",
                "arch:x86_64",
                "description:A  thing,  \"quoted\": # Größe",
                "url:https://e.org/?a=b",
                "license:MIT AND BSD",
                "origin:part",
                "maintainer:M <m@example.org>",
                "repo-commit:bef4fe2ff13ba5728a264eb341d0fb225f32c990",
                "build-time:1700000000",
                "provider-priority:30",
                "depends:q zlib abc>=1.0 !conf so:libc.so.1 x~1.2 a<2 b<=2 c>2 d=2 f<~2 g>~2 zlib !n=1 !m>2 !l~1 \
                 v>1.10 v>1.9 v<1.9 v !v v=1.9 h><Q1qFoioDJzvsR2hzYdLBcqzii",
                "provides:z=1 cmd:whole=1.10-r0 pc:a a a",
                "replaces:r s>1",
                "install-if:b=1 a",
                "recommends:rec1 rec2",
                "layer:1",
                "tags:t2 t1",
            ],
        ),
        mkpkg(folder, "whole-1.9-r0.apk", &["name:whole", "version:1.9-r0", "arch:x86_64", "license:MIT AND BSD"]),
        mkpkg(folder, "whole-1.9_rc1.apk", &["name:whole", "version:1.9_rc1", "arch:x86_64", "provider-priority:0"]),
        mkpkg(folder, "whole-doc-1.apk", &["name:whole-doc", "version:1", "arch:noarch", "install-if:docs whole=1"]),
        mkpkg(folder, "wh+x-1.apk", &["name:wh+x", "version:1", "arch:x86_64", "build-time:268435456"]),
        mkpkg(folder, "wh-1.apk", &["name:wh", "version:1", "build-time:4294967296"]),
        mkpkg(folder, "long-2_git2020~abc-r1.apk", &["name:long", "version:2_git2020~abc-r1", &long]),
        mkpkg(folder, "many-1.apk", &["name:many", "version:1", &many]),
        mkpkg(folder, "bare-0.apk", &["name:bare", "version:0"]),
    ]
}

fn described(files: &[PathBuf]) -> Vec<Described> {
    let described = files.iter().map(|file| {
        let name = file.file_name().and_then(|name| name.to_str()).expect("UTF-8");
        describe(&format!("x86_64/{name}"), &fs::read(file).expect("readable"))
            .unwrap_or_else(|why| panic!("{name}: {why}"))
    });
    described.collect()
}

#[test]
fn an_index_is_that_of_mkndx() {
    let folder = folder("apk_v3_mkndx");
    let files = generated(&folder);
    let (theirs, ours) = (folder.join("theirs.adb"), folder.join("ours.adb"));
    let mut args = vec!["mkndx", "--allow-untrusted", "--output", theirs.to_str().expect("UTF-8")];
    args.extend(files.iter().map(|file| file.to_str().expect("UTF-8")));
    let done = apk(&args);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    fs::write(&ours, write(&described(&files), &SigningKeys::default())).expect("written");
    // Of packages for every architecture we say the folder's, as `apk index --rewrite-arch` does in version 2.
    let expected = dump(&theirs).replace("arch: noarch", "arch: x86_64");
    assert!(expected.lines().filter(|line| line.starts_with("  - name: ")).count() == files.len(), "{expected}");
    assert!(expected.contains("- h><Q1") || expected.contains("- g>~2"), "{expected}");
    pretty_eq(&dump(&ours), &expected);
    // What is the same is there once: before it is compressed, an index of ours is about as long as theirs.
    let [ours, theirs] = [ours, theirs].map(|file| block_size(&file));
    assert!(ours.abs_diff(theirs) <= theirs / 50, "{ours} {theirs}");
}

/// How long apk says that the block with the values of a file is.
fn block_size(file: &Path) -> u64 {
    let done = apk(&["adbdump", file.to_str().expect("UTF-8")]);
    let text = String::from_utf8(done.stdout).expect("UTF-8");
    let size = text.split_once("# ADB block, size: ").and_then(|(_, rest)| rest.split_once(','));
    size.and_then(|(size, _)| size.parse().ok()).expect("it says so")
}

#[track_caller]
fn pretty_eq(ours: &str, theirs: &str) {
    for (number, (ours, theirs)) in ours.lines().zip(theirs.lines()).enumerate() {
        assert_eq!(ours, theirs, "line {number}");
    }
    assert_eq!(ours.lines().count(), theirs.lines().count());
}

#[test]
fn a_described_package_is_the_one_that_readers_find() {
    let folder = folder("apk_v3_described");
    let files = generated(&folder);
    let packages = described(&files);
    let file = write(&packages, &SigningKeys::default());
    let listed = read(&root(), &file);
    let mut found = listed.clone();
    let mut expected: Vec<_> = packages.iter().map(|package| package.entry.clone()).collect();
    let by_path = |a: &PackageEntry, b: &PackageEntry| a.path.as_str().cmp(b.path.as_str());
    found.sort_by(by_path);
    expected.sort_by(by_path);
    assert_eq!(found, expected);
    for (file, package) in files.iter().zip(&packages) {
        let (bytes, limits) = (fs::read(file).expect("readable"), Limits::default());
        assert_eq!(package.entry.size, bytes.len() as u64);
        let expected = package.entry.expected();
        let mut checker = alpine().checker(&package.entry.path, Some(&expected), &limits).expect("there is one");
        let checked =
            checker.update(&bytes).and_then(|()| checker.finish(&mut Cursor::new(&bytes), &Sha256::of(&bytes)));
        checked.expect("as the index says");
    }
    // Whatever order they come in, and however the package is wrapped.
    let reversed: Vec<_> = packages.iter().rev().cloned().collect();
    assert_eq!(read(&root(), &write(&reversed, &SigningKeys::default())), listed);
    assert_eq!(write(&packages, &SigningKeys::default()), file, "and always to the same bytes");
    assert_eq!(read(&root(), &write(&[], &SigningKeys::default())), []);
    let (plain, _) = sound();
    for wrapped in [adb_deflate(&plain), adb_zstd(&plain)] {
        let [ours, theirs] = [&plain, &wrapped].map(|file| describe("x86_64/a-1.apk", file).expect("sound").entry);
        assert_eq!((ours.identity, ours.path), (theirs.identity, theirs.path));
    }
}

#[test]
fn fragments_cut_out_of_an_index_are_those_of_its_packages() {
    let folder = folder("apk_v3_cut");
    let packages = described(&generated(&folder));
    let file = write(&packages, &SigningKeys::default());
    let mut count = 0;
    let cut = publish().cut(&root(), 0, &mut &file[..], &Limits::default(), &mut |cut: Cut<'_>| {
        let entry = cut.package.expect("the only list has packages");
        let package = packages.iter().find(|package| package.entry == entry).expect("one of them");
        assert_eq!((cut.key, cut.text), (&*entry.identity.digest().hex(), &package.fragments[0][..]));
        count += 1;
        ControlFlow::Continue(())
    });
    cut.expect("it can be cut");
    assert_eq!(count, packages.len());
    let elsewhere = samples::alpine::index_v3("${name}.apk", &[("a", "1", "x86_64", &[1; 32])]);
    let cut = publish().cut(&root(), 0, &mut &elsewhere[..], &Limits::default(), &mut |_| panic!("nothing is cut"));
    assert!(cut.is_err_and(|why| why.to_string().contains("where its packages lie")));
    assert!(publish().writes(&root()) && !publish().writes(&IndexRoot { entry: path("base/packages.adb") }));
}

fn verdict(file: &[u8], keys: &[(&str, &str)]) -> String {
    let (mut trusted, limits) = (TrustedKeys::default(), Limits::default());
    for (name, key) in keys {
        trusted.add(KeyKind::PublicKey, Some(name), key.as_bytes(), &limits).expect("a good key");
    }
    match index().verify(&root(), &mut Cursor::new(file), &[], &trusted, 1, &limits) {
        Ok(signed) => format!("signed by {signed}"),
        Err(why) => why.to_string(),
    }
}

/// A client of its own, with the repository `site` and these keys. Answers whether apk was content, and what it said.
fn client(folder: &Path, name: &str, site: &Path, keys: &[(&str, &str)], applet: &[&str]) -> (bool, String) {
    let home = folder.join(name);
    let (root, known, lines) = (home.join("root"), home.join("keys"), home.join("repositories"));
    fs::create_dir_all(&root).expect("a folder");
    fs::create_dir_all(&known).expect("a folder");
    fs::write(&lines, format!("v3 {}\n", site.display())).expect("written");
    for (name, pem) in keys {
        fs::write(known.join(name), pem).expect("written");
    }
    let [root, known, lines] = [root, known, lines].map(|path| path.to_str().expect("UTF-8").to_owned());
    let common =
        ["--root", &root, "--keys-dir", &known, "--repositories-file", &lines, "--arch", "x86_64", "--no-cache"];
    let done = apk(&[&common, applet].concat());
    let said = [done.stdout, done.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
    (done.status.success(), said)
}

#[test]
fn apk_itself_takes_the_index() {
    let folder = folder("apk_v3_client");
    let site = folder.join("site");
    fs::create_dir_all(site.join("x86_64")).expect("a folder");
    let files = [
        mkpkg(&folder, "lib-1.9-r0.apk", &["name:lib", "version:1.9-r0", "arch:x86_64", "provides:so:lib.so.1=1.9"]),
        mkpkg(&folder, "lib-1.10-r0.apk", &["name:lib", "version:1.10-r0", "arch:x86_64", "provides:so:lib.so.1=1.10"]),
        mkpkg(&folder, "app-1.apk", &["name:app", "version:1", "arch:x86_64", "depends:so:lib.so.1 data>=1 !other"]),
        mkpkg(
            &folder,
            "data-1.apk",
            &["name:data", "version:1", "arch:noarch", &format!("description:{}", "x".repeat(5000))],
        ),
        mkpkg(&folder, "doc-1.apk", &["name:doc", "version:1", "arch:noarch", "install-if:app data=1"]),
        mkpkg(&folder, "other-1.apk", &["name:other", "version:1", "arch:x86_64"]),
    ];
    for file in &files {
        fs::copy(file, site.join("x86_64").join(file.file_name().expect("a name"))).expect("copied");
    }
    let packages = described(&files);
    let keys = SigningKeys::new(vec![key(&folder, NAME).into(), key(&folder, NEXT).into()]).expect("two names");
    let public: Vec<_> = keys.public_keys().collect();
    let put = |keys: &SigningKeys, packages: &[Described]| {
        fs::write(site.join("x86_64/Packages.adb"), write(packages, keys)).expect("written");
    };
    put(&keys, &packages);
    let add = ["add", "--initdb", "app"];
    for (name, known) in [("both", &public[..]), ("first", &public[..1]), ("second", &public[1..])] {
        let (is_good, said) = client(&folder, name, &site, known, &add);
        assert!(is_good && !said.contains("WARNING"), "{name}: {said}");
        for installed in ["lib (1.10-r0)", "app (1)", "data (1)", "doc (1)"] {
            assert!(said.contains(installed), "{installed}: {said}");
        }
        // Its notes can be read again.
        let (is_good, said) = client(&folder, name, &site, known, &["info", "--verbose"]);
        assert!(is_good && said.contains("lib-1.10-r0"), "{said}");
    }
    let known = folder.join("both/keys");
    let verify = [
        "--keys-dir",
        known.to_str().expect("UTF-8"),
        "adbdump",
        site.join("x86_64/Packages.adb").to_str().expect("UTF-8"),
    ]
    .map(str::to_owned);
    let done = apk(&verify.each_ref().map(String::as_str));
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    let sealed: Vec<_> = said.lines().filter(|line| line.starts_with("# sig v00 h04 ")).collect();
    assert_eq!(sealed.len(), 2, "{said}");
    assert!(sealed.iter().all(|line| line.ends_with(": OK")), "{sealed:?}");

    let swapped = [(NAME, public[1].1)];
    let refused = |name: &str, known: &[(&str, &str)]| {
        let (is_good, said) = client(&folder, name, &site, known, &add);
        assert!(!is_good && said.contains("signature"), "{name}: {said}");
    };
    refused("none", &[]);
    put(&SigningKeys::new(vec![key(&folder, NAME).into()]).expect("one"), &packages);
    refused("swapped", &swapped);
    put(&SigningKeys::default(), &packages);
    refused("unsigned", &public);
    put(&keys, &[]);
    let (is_good, said) = client(&folder, "empty", &site, &public, &["add", "--initdb"]);
    assert!(is_good && !said.contains("WARNING"), "{said}");
}

#[test]
fn signatures_are_found_good_by_our_own_readers() {
    let folder = folder("apk_v3_signatures");
    let keys = SigningKeys::new(vec![key(&folder, NAME).into(), key(&folder, NEXT).into()]).expect("two names");
    let file = write(&[describe("x86_64/a-1.apk", &sound().0).expect("sound")], &keys);
    let public: Vec<_> = keys.public_keys().collect();
    assert_eq!(verdict(&file, &public), format!("signed by {NAME} (RSA 2048, sha512)"));
    assert_eq!(verdict(&file, &public[1..]), format!("signed by {NEXT} (RSA 2048, sha512)"));
    assert!(verdict(&file, &[]).contains("key id"), "{}", verdict(&file, &[]));
    let unsigned = write(&[], &SigningKeys::default());
    assert_eq!(verdict(&unsigned, &public), "apk index (v3) is not signed");
}

/// A package with these slots and no files, and its values.
fn package(info: impl FnOnce(&mut Values) -> Vec<u32>) -> (Vec<u8>, Vec<u8>) {
    let mut values = Values::new();
    let slots = info(&mut values);
    let info = values.table(&slots);
    let root = values.table(&[info]);
    let values = values.finish(root);
    ([b"ADB.pckg".to_vec(), block(0, &values)].concat(), values)
}

fn sound() -> (Vec<u8>, Vec<u8>) {
    package(|values| vec![values.blob(b"a"), values.blob(b"1"), values.blob(&[9; 20]), 0, values.blob(b"x86_64")])
}

#[test]
fn hostile_packages_are_refused() {
    let (file, values) = sound();
    let described = describe("x86_64/a-1.apk", &file).expect("the rest of it is sound");
    assert_eq!(described.entry.identity.digest().bytes(), Sha256::of(&values).as_bytes());
    let text = |name: &str, version: &str, more: &[(usize, &str)]| {
        package(|values| {
            let mut slots = vec![0; 21];
            for (slot, text) in [(1, name), (2, version)].iter().chain(more) {
                // Longer than the shortest prefix has room for only in one case, which makes its own.
                slots[slot - 1] = values.blob(text.as_bytes());
            }
            slots
        })
        .0
    };
    let relation = |name: &[u8], version: &[u8], bits: u32| {
        package(|values| {
            let one = [values.blob(name), if version.is_empty() { 0 } else { values.blob(version) }, bits];
            let one = values.table(&one);
            let all = values.table(&[one]);
            let mut slots = vec![0; 15];
            slots[..2].copy_from_slice(&[values.blob(b"a"), values.blob(b"1")]);
            slots[14] = all;
            slots
        })
        .0
    };
    const SMALL: u32 = 0x1000_0000;
    describe("x86_64/a-1.apk", &relation(b"so:x", b"2", SMALL | 4)).expect("sound");
    // One list of relations that is there many times, and each of them the same: little to store, much to write down.
    let bomb = package(|values| {
        let name = values.blob(&[b'x'; 200]);
        let one = values.table(&[name]);
        let all = values.table(&vec![one; 30_000]);
        let mut slots = vec![0; 19];
        slots[..2].copy_from_slice(&[values.blob(b"a"), values.blob(b"1")]);
        slots[14..19].fill(all);
        slots
    })
    .0;
    let many = package(|values| {
        let others = (0..1500).map(|number| {
            let name = values.blob(format!("{number:0100}").as_bytes());
            values.table(&[name])
        });
        let others: Vec<_> = others.collect();
        let all = values.table(&others);
        let mut slots = vec![0; 19];
        slots[..2].copy_from_slice(&[values.blob(b"a"), values.blob(b"1")]);
        slots[18] = all;
        slots
    })
    .0;
    let half = &package_v3().0[..200];
    let number = |slot: usize, value: u32| {
        package(|values| {
            let mut slots = vec![0; 21];
            slots[..2].copy_from_slice(&[values.blob(b"a"), values.blob(b"1")]);
            slots[slot - 1] = value;
            slots
        })
        .0
    };
    let table: Vec<(&str, Vec<u8>, &str)> = vec![
        ("nothing", b"ADB.".to_vec(), "ends before it is complete"),
        ("half a package", half.to_vec(), "ends before it is complete"),
        ("an index", samples::alpine::index_v3("", &[]), "not the kind of ADB file"),
        ("a name that climbs", text("../a", "1", &[]), "pkgname is not of"),
        ("a version that climbs", text("a", "1/../../b", &[]), "pkgver is not of"),
        ("no name", text("", "1", &[]), "pkgname is not of"),
        ("another name", text("b", "1", &[]), "expected a-1.apk, found b-1.apk"),
        ("another architecture", text("a", "1", &[(5, "aarch64")]), "expected x86_64, found aarch64"),
        ("a forged line", text("a", "1", &[(4, "x\nP:evil")]), "its description holds a control character"),
        ("a forged licence", text("a", "1", &[(6, "x\nP:evil")]), "its license holds a control character"),
        ("no UTF-8", package(|values| vec![values.blob(b"\xff"), values.blob(b"1")]).0, "not UTF-8"),
        ("a number for a name", number(1, SMALL | 7), "a value that is not a text"),
        ("an offset outside", number(9, 0x8000_ffff), "an offset outside the block"),
        ("a priority that would wrap", number(14, SMALL | 70_000), "not a number of 0 to 65535"),
        ("a relation to nothing", relation(b"", b"1", 0), "a relation to nothing"),
        ("a relation of two words", relation(b"a b", b"", 0), "is not one word"),
        ("a relation of an unknown kind", relation(b"b", b"1", SMALL | 32), "of an unknown kind"),
        ("a relation with a line", relation(b"b", b"1\nP:x", 0), "is not one word"),
        ("a relation longer than apk can note", relation(&[b'x'; 255], b"1.0", 0), "more than 256 bytes"),
        ("more than apk can note", many, "which apk cannot note"),
        ("more than there is room for", bomb, "it says more than an index has room for"),
        (
            "a table for a name",
            package(|values| {
                let table = values.table(&[1]);
                vec![table]
            })
            .0,
            "not a text",
        ),
    ];
    for (what, file, why) in table {
        let said = describe("x86_64/a-1.apk", &file).map(|described| described.entry).map_err(|why| why.to_string());
        assert!(said.as_ref().is_err_and(|said| said.contains(why)), "{what}: {said:?}");
    }
    let short = Limits { adb_bytes: 10, ..Limits::default() };
    assert!(matches!(
        describe_within("x86_64/a-1.apk", &file, &short),
        Err(Invalid::OverLimit { limit: "adb_bytes", value: 10, .. })
    ));
    // What was uploaded as one version is not listed as the other.
    let older = describe("x86_64/sample-1.0-r0.apk", &samples::alpine::Apk::new("sample", "1.0-r0").file());
    assert!(older.expect("sound").fragments[0].starts_with(b"C:Q1"));
}

#[test]
fn damage_to_fragments_is_an_error() {
    let described = describe("x86_64/a-1.apk", &sound().0).expect("sound");
    let fragment = &described.fragments[0];
    let compose = |text: &[u8], limits: &Limits| {
        publish().compose(&root(), &mut &text[..], &SigningKeys::default(), limits, &mut Vec::new())
    };
    compose(fragment, &Limits::default()).expect("whole");
    for cut in 1..fragment.len() {
        assert!(compose(&fragment[..cut], &Limits::default()).is_err(), "cut at {cut}");
    }
    let limits = [
        ("packages", Limits { packages: 1, ..Limits::default() }),
        ("fragment_bytes", Limits { fragment_bytes: 20, ..Limits::default() }),
        ("adb_bytes", Limits { adb_bytes: 20, ..Limits::default() }),
    ];
    for (name, limits) in limits {
        let over = compose(&[&fragment[..], fragment].concat(), &limits);
        assert!(matches!(over, Err(Invalid::OverLimit { limit, .. }) if limit == name), "{name}: {over:?}");
    }
}

#[test]
fn versions_are_in_the_order_of_apk() {
    let versions = [
        "0",
        "1",
        "1-r0",
        "1-r1",
        "1-r10",
        "1~ab",
        "1~ab-r1",
        "1_p1",
        "1_p10",
        "1_git20200101",
        "1_git20200101~ab",
        "1_alpha",
        "1_alpha2",
        "1_beta1",
        "1_pre1",
        "1_rc1",
        "1_rc1-r1",
        "1a",
        "1b",
        "1.0",
        "1.00",
        "1.01",
        "1.010",
        "1.02",
        "1.1",
        "1.9",
        "1.10",
        "1.1.0",
        "2",
        "10",
        "1_cvs",
        "1_svn1",
        "1_hg1",
    ];
    let folder = folder("apk_v3_versions");
    let files: Vec<_> = versions
        .iter()
        .rev()
        .map(|version| {
            mkpkg(&folder, &format!("v-{version}.apk"), &["name:v", &format!("version:{version}"), "arch:x86_64"])
        })
        .collect();
    let file = folder.join("ours.adb");
    fs::write(&file, write(&described(&files), &SigningKeys::default())).expect("written");
    let dump = dump(&file);
    let listed: Vec<_> = dump
        .lines()
        .filter_map(|line| line.trim().strip_prefix("version: "))
        .map(|text| text.trim_matches('\''))
        .collect();
    assert_eq!(listed.len(), versions.len());
    for pair in listed.windows(2) {
        let done =
            Command::new(testbed::tool("APK")).args(["version", "-t", pair[0], pair[1]]).output().expect("apk runs");
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(["<", "="].contains(&said.trim()), "{pair:?}: {said}");
    }
}

/// Whatever becomes of a package's values, nothing panics, and what is described is what readers of the index find.
#[test]
fn whatever_values_come_nothing_panics() {
    let (_, values) = package(|values| {
        let mut slots = vec![values.blob(b"a"), values.blob(b"1"), values.blob(&[9; 20]), values.blob(b"Of all kinds")];
        slots.extend([values.blob(b"x86_64"), values.blob(b"MIT"), 0, values.blob(b"M <m@example.org>")]);
        slots.extend([
            values.blob(b"https://example.org"),
            values.blob(&[7; 20]),
            0x1000_0007,
            0x1000_0000,
            0,
            0x1000_001e,
        ]);
        let (name, version) = (values.blob(b"so:lib.so.1"), values.blob(b"1.9"));
        let relations =
            [values.table(&[name]), values.table(&[name, version]), values.table(&[name, version, 0x1000_0004])];
        let all = values.table(&relations);
        slots.extend([all, all, all, all, all, 0x1000_0001]);
        let tags = [name, version];
        slots.push(values.table(&tags));
        slots
    });
    let mut state = 7_u64;
    let mut roll = |sides: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).expect("31 bits") % sides
    };
    let mut taken = 0;
    for _ in 0..20_000 {
        let mut values = values.clone();
        for _ in 0..=roll(3) {
            let at = roll(values.len());
            values[at] = match roll(3) {
                0 => values[roll(values.len())],
                1 => values[at] ^ 1 << roll(8),
                _ => u8::try_from(roll(256)).expect("a byte"),
            };
        }
        let file = [b"ADB.pckg".to_vec(), block(0, &values)].concat();
        let Ok(described) = describe("x86_64/a-1.apk", &file) else { continue };
        taken += 1;
        let index = write(std::slice::from_ref(&described), &SigningKeys::default());
        assert_eq!(read(&root(), &index), [described.entry]);
    }
    assert!(taken > 1000, "{taken}");
}
