//! Indexes that we write, held against those that `apk index` writes and given to apk itself; keys, held against openssl; and
//! packages that somebody made to be listed as something else.

mod samples;
mod testbed;

use std::fs;
use std::io::Cursor;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use artifactapi_formats::pieces::{OneMember, gzip_piece};
use artifactapi_formats::publish::{Compression, Described, FinishedContent, Index, Totals, Upload, WrittenList};
use artifactapi_formats::trust::{OsRng, RsaDigest, RsaKey, generate_rsa};
use artifactapi_formats::{
    Format, IndexFormat, IndexRoot, Invalid, KeyKind, Limits, PackageEntry, PublishFormat, RepoPath, Sha256,
    SigningKeys, TrustedKeys, find,
};
use samples::alpine::{Apk, TAR_END, package_v3, signature_member, tar_entry};
use samples::{gzip, sha1, sha256};
use testbed::{apk, apk_index, folder, openssl, tool};

const NAME: &str = "ci@example.org-5f3a.rsa.pub";
const NEXT: &str = "ci@example.org-77aa.rsa.pub";
const TIME: u64 = 1_735_689_600;

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

/// Describes a package as the server would after an upload to `at`.
fn describe_within(at: &str, file: &[u8], limits: &Limits) -> Result<Described, Invalid> {
    let path = path(at);
    let root = publish().root_for(&path, 0)?;
    let (size, sha256) = (file.len() as u64, Sha256::of(file));
    let upload = Upload { root: &root, path: &path, size, sha256, uploaded_at: TIME };
    let mut whole = Cursor::new(file);
    whole.set_position(3);
    publish().describe(&upload, &mut whole, limits)
}

fn describe(at: &str, file: &[u8]) -> Result<Described, Invalid> {
    describe_within(at, file, &Limits::default())
}

fn stanza(described: &Described) -> &str {
    let [stanza] = &described.fragments[..] else { panic!("one list") };
    std::str::from_utf8(stanza).expect("UTF-8")
}

/// A package with this `.PKGINFO`, but for its datahash.
fn package(info: &str) -> Vec<u8> {
    let data = gzip(&[tar_entry("usr/share/x", b'0', b"content"), TAR_END.to_vec()].concat());
    let info = format!("{info}datahash = {}\n", sha256(&data));
    [signature_member(), gzip(&tar_entry(".PKGINFO", b'0', info.as_bytes())), data].concat()
}

/// The index of these packages, put together as the server does: a piece for each package and for what is around them.
fn write(root: &IndexRoot, packages: &[Described], keys: &SigningKeys) -> Vec<u8> {
    use sha1::Digest as _;
    let fragments: Vec<_> = packages.iter().map(|package| package.fragments[0].clone()).collect();
    let bytes = fragments.iter().map(|fragment| fragment.len() as u64).sum();
    let totals = Totals { packages: packages.len() as u64, bytes, written_at: TIME };
    let (open, close) = (publish().open(root, 0, &totals), publish().close(root, 0, &totals));
    let open_bytes = [&open[..], &fragments.concat(), &close].concat();
    let (mut member, mut list) = (OneMember::new(), OneMember::head().to_vec());
    for text in std::iter::once(open).chain(fragments).chain([close]) {
        let piece = gzip_piece(&text, 6).expect("short");
        list.extend_from_slice(member.add(&piece).expect("a piece"));
    }
    list.extend_from_slice(&member.tail());
    let written = WrittenList {
        compression: Compression::Gzip,
        size: list.len() as u64,
        sha256: Sha256::of(&list),
        sha1: sha1::Sha1::digest(&list).into(),
        open_size: open_bytes.len() as u64,
        open_sha256: Some(Sha256::of(&open_bytes)),
    };
    let lists = [written];
    let index = Index { root, lists: &lists, carried: &[], keys, written_at: TIME, revision: 1 };
    let files = publish().finish(&index).expect("it can be signed");
    let [file] = &files[..] else { panic!("an apk index is one file") };
    assert_eq!(file.path, root.entry);
    let FinishedContent::List { prefix, list: 0 } = &file.content else { panic!("{file:?}") };
    [&prefix[..], &list].concat()
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

fn verdict(root: &IndexRoot, file: &[u8], keys: &[(&str, &[u8])]) -> String {
    let (mut trusted, limits) = (TrustedKeys::default(), Limits::default());
    for (name, key) in keys {
        trusted.add(KeyKind::PublicKey, Some(name), key, &limits).expect("a good key");
    }
    match index().verify(root, &mut Cursor::new(file), &[], &trusted, TIME, &limits) {
        Ok(signed) => format!("signed by {signed}"),
        Err(why) => why.to_string(),
    }
}

/// A secret key that openssl made.
fn secret(folder: &Path, name: &str, kind: &[&str]) -> (PathBuf, Vec<u8>) {
    let file = folder.join(name);
    openssl(&[&["genpkey", "-quiet", "-out", file.to_str().expect("UTF-8")], kind].concat());
    let pem = fs::read(&file).expect("written");
    (file, pem)
}

const RSA: [&str; 4] = ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];

fn key(folder: &Path, name: &str, digest: RsaDigest) -> RsaKey {
    RsaKey::read(name, digest, &secret(folder, name, &RSA).1).expect("a good key")
}

/// Every field that an index repeats, some in odd forms, and some that it does not.
const FULL: &str = "# a comment\npkgname = full\npkgver = 1.0_git2020~abc-r1\npkgdesc = a = b  two  blanks, Größe \n\
    url = https://example.org/?a=b\nbuilddate = 1700000000\npackager = P <p@example.org>\nsize = 12345\narch = x86_64\n\
    origin = whole\ncommit = bef4fe2ff13ba5728a264eb341d0fb225f32c990-dirty\nmaintainer = M <m@example.org>\n\
    license = MIT AND (BSD OR X)\nprovider_priority = 30\nreplaces = z\nreplaces_priority = 7\ndepend = zlib\n\
    depend = abc>=1.0\ndepend = !conflict\ndepend = so:libc.so.1\ndepend = x~1.2\ndepend = two  words\nprovides = z=1\n\
    provides = cmd:full=1.0-r0\nprovides = a\ninstall_if = b=1\ninstall_if = a\ntriggers = /bin/*\nunknown = x\nbare\n";

#[test]
fn stanzas_are_those_of_apk_index() {
    let folder = folder("apk_publish_stanzas");
    let mut count = 0;
    let mut compare = |arch: &str, files: &[PathBuf]| {
        let theirs = apk_index(&folder, Some(arch), files);
        assert_eq!(theirs.len(), files.len());
        for file in files {
            let name = file.file_name().and_then(|name| name.to_str()).expect("UTF-8");
            let described = describe(&format!("v3.22/main/{arch}/{name}"), &fs::read(file).expect("readable"));
            let described = described.unwrap_or_else(|invalid| panic!("{}: {invalid}", file.display()));
            let ours = stanza(&described);
            assert!(theirs.iter().any(|theirs| theirs == ours), "{ours}\nis none of\n{}", theirs.concat());
            count += 1;
        }
    };
    let fixtures = tool("TESTBED").join("upstream");
    for generation in ["gen1", "gen2"] {
        for arch in ["main/x86_64", "main/aarch64", "community/x86_64"] {
            let folder = fixtures.join(generation).join("alpine/v3.22").join(arch);
            let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
            let files = files.map(|file| file.expect("readable").path());
            let files: Vec<_> = files.filter(|file| file.extension().is_some_and(|end| end == "apk")).collect();
            compare(arch.split_once('/').expect("two").1, &files);
        }
    }
    let made = [
        ("full-1.0_git2020~abc-r1", FULL.to_owned()),
        ("bare-1", "pkgname = bare\npkgver = 1\n".to_owned()),
        (
            "empty-1",
            "pkgname = empty\npkgver = 1\nurl = \ncommit = \nprovider_priority = 0\nbuilddate = 0\n".to_owned(),
        ),
        ("noarch-2", "pkgname = noarch\npkgver = 2\narch = noarch\nsize = 007\nbuilddate = 01\n".to_owned()),
        // As much as apk can note: a byte more, and it fails.
        ("most-1", format!("pkgname = most\npkgver = 1\npkgdesc = {}\n", "x".repeat(2048 - 72))),
        ("odd-0.99f7-r1", "pkgname = odd\npkgver = 0.99f7-r1\nurl=x\n arch = none\ndepend = \n".to_owned()),
    ];
    for (name, info) in made {
        let file = folder.join(format!("{name}.apk"));
        fs::write(&file, package(&info)).expect("written");
        compare("x86_64", &[file]);
    }
    assert!(count > 25, "{count}");
}

#[test]
fn a_described_package_is_the_one_that_readers_find() {
    let apk = Apk::new("sample", "1.0-r0");
    let described = describe("v3.22/main/x86_64/sample-1.0-r0.apk", &apk.file()).expect("valid");
    assert_eq!(described.entry.arch, "x86_64");
    let root = publish().root_for(&described.entry.path, 0).expect("a root");
    let noarch = package("pkgname = doc\npkgver = 1\narch = noarch\n");
    let packages = [described, describe("v3.22/main/x86_64/doc-1.apk", &noarch).expect("valid")];
    let file = write(&root, &packages, &SigningKeys::default());
    assert_eq!(read(&root, &file), packages.clone().map(|package| package.entry));
    assert_eq!(packages[1].entry.path.as_str(), "v3.22/main/x86_64/doc-1.apk");
    assert_eq!(index().made_at(&root, &file, &Limits::default()), Some(TIME));
    let (entry, limits) = (&packages[0].entry, Limits::default());
    let mut checker = alpine().checker(&entry.path, Some(&entry.expected()), &limits).expect("there is one");
    checker
        .update(&apk.file())
        .and_then(|()| checker.finish(&mut Cursor::new(apk.file()), &Sha256::of(&apk.file())))
        .expect("as the index says");
    let empty = write(&root, &[], &SigningKeys::default());
    assert_eq!(read(&root, &empty), []);
}

#[test]
fn where_packages_may_lie() {
    let table = [
        ("v3.22/main/x86_64/foo-1.0-r0.apk", 0, Ok("v3.22/main/x86_64/APKINDEX.tar.gz")),
        ("v3.22/main/x86_64/foo-1.0-r0.apk", 3, Ok("v3.22/main/x86_64/APKINDEX.tar.gz")),
        ("x86_64/foo-1.0-r0.apk", 0, Ok("x86_64/APKINDEX.tar.gz")),
        ("v3.22/main/x86_64/foo-1.0-r0.apk", 2, Err("it lies in 3 folders; packages of this repository lie in 2")),
        ("foo-1.0-r0.apk", 0, Err("it needs the folder of an architecture, such as x86_64/")),
        (
            "main/noarch/foo-1.0-r0.apk",
            0,
            Err("no client reads an index of noarch; upload the package below each architecture that is to offer it"),
        ),
        ("x86_64/foo.tar.gz", 0, Err("its name does not end with .apk")),
    ];
    for (text, depth, expected) in table {
        let found = publish().root_for(&path(text), depth).map(|root| root.entry.to_string());
        let expected = expected.map(str::to_owned).map_err(|why| format!("malformed path of an apk package: {why}"));
        assert_eq!(found.map_err(|why| why.to_string()), expected, "{text}");
    }
    assert_eq!((publish().lists(), publish().compressions()), (&["APKINDEX"][..], &[Compression::Gzip][..]));
}

#[test]
fn signatures_are_found_good_by_our_own_readers() {
    let folder = folder("apk_publish_signatures");
    let root = publish().root_for(&path("main/x86_64/a-1.apk"), 0).expect("a root");
    let packages = [describe("main/x86_64/full-1.0_git2020~abc-r1.apk", &package(FULL)).expect("valid")];
    let keys = SigningKeys::new(vec![
        key(&folder, NAME, RsaDigest::Sha256).into(),
        key(&folder, NEXT, RsaDigest::Sha1).into(),
    ]);
    let keys = keys.expect("two names");
    let file = write(&root, &packages, &keys);
    assert_eq!(read(&root, &file), [packages[0].entry.clone()]);
    let public: Vec<(&str, &[u8])> = keys.public_keys().map(|(name, pem)| (name, pem.as_bytes())).collect();
    let first = format!("signed by {NAME} (RSA 2048, sha256)");
    assert_eq!(verdict(&root, &file, &public), first);
    assert_eq!(verdict(&root, &file, &public[..1]), first);
    assert_eq!(verdict(&root, &file, &public[1..]), format!("signed by {NEXT} (RSA 2048, sha1)"));
    let swapped = [(NAME, public[1].1)];
    assert!(verdict(&root, &file, &swapped).starts_with("the signature by"), "another key of that name");
    let member = file.len() - write(&root, &packages, &SigningKeys::default()).len();
    for at in (member..file.len()).step_by(5) {
        let mut flipped = file.clone();
        flipped[at] ^= 1;
        assert_ne!(verdict(&root, &flipped, &public), first, "flipped at {at}");
    }
    let unsigned = write(&root, &packages, &SigningKeys::default());
    assert_eq!(verdict(&root, &unsigned, &public), "APKINDEX.tar.gz is not signed");
    // A list in another compression is none that apk reads.
    let list = WrittenList {
        compression: Compression::Zstd,
        size: 1,
        sha256: Sha256::of(b""),
        sha1: [0; 20],
        open_size: 1,
        open_sha256: Some(Sha256::of(b"")),
    };
    let (lists, none) = ([list], []);
    for lists in [&lists[..], &none[..]] {
        let index = Index { root: &root, lists, carried: &[], keys: &keys, written_at: TIME, revision: 1 };
        assert!(publish().finish(&index).is_err());
    }
}

/// Lines that give an index `p:` and 18 bytes each: 7,111 make the longest line we write.
fn provided(count: usize) -> String {
    (0..count).map(|number| format!("provides = cmd:command{number:06}\n")).collect()
}

/// A client of its own, with the repository `site` and the keys in `keys`.
struct Client {
    root: PathBuf,
    keys: PathBuf,
    repositories: PathBuf,
}

impl Client {
    fn new(folder: &Path, name: &str, site: &Path, keys: &[(&str, &str)]) -> Self {
        let home = folder.join(name);
        let client = Self { root: home.join("root"), keys: home.join("keys"), repositories: home.join("repositories") };
        fs::create_dir_all(&client.root).expect("a folder");
        fs::create_dir_all(&client.keys).expect("a folder");
        fs::write(&client.repositories, format!("{}\n", site.display())).expect("written");
        for (name, pem) in keys {
            fs::write(client.keys.join(name), pem).expect("written");
        }
        client
    }

    /// What apk says, or panics with.
    fn run(&self, applet: &[&str]) -> (bool, String) {
        let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
        let (root, keys, repositories) = (text(&self.root), text(&self.keys), text(&self.repositories));
        let common = ["--root", &root, "--keys-dir", &keys, "--repositories-file", &repositories, "--arch", "x86_64"];
        let done = apk(&[&common, applet].concat());
        let said = [done.stdout, done.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
        (done.status.success(), said)
    }
}

#[test]
fn apk_itself_takes_the_index() {
    let folder = folder("apk_publish_client");
    let site = folder.join("site");
    fs::create_dir_all(site.join("x86_64")).expect("a folder");
    let fixtures = tool("TESTBED").join("upstream/gen1/alpine/v3.22/main/x86_64");
    let longest = format!("pkgname = long\npkgver = 1\narch = noarch\n{}", provided(7111));
    let full = package(FULL);
    let mut packages = Vec::new();
    let mut add = |name: &str, file: &[u8]| {
        packages.push(describe(&format!("x86_64/{name}"), file).unwrap_or_else(|invalid| panic!("{name}: {invalid}")));
        fs::write(site.join("x86_64").join(name), file).expect("written");
    };
    for name in ["hello-1.0-r0.apk", "hello-libs-1.0-r0.apk", "hello-doc-1.0-r0.apk", "x-1.0_git2020~abc-r1.apk"] {
        add(name, &fs::read(fixtures.join(name)).expect("a fixture"));
    }
    add("long-1.apk", &package(&longest));
    add("full-1.0_git2020~abc-r1.apk", &full);
    let root = publish().root_for(&path("x86_64/a-1.apk"), 0).expect("a root");
    let keys = SigningKeys::new(vec![
        key(&folder, NAME, RsaDigest::Sha256).into(),
        key(&folder, NEXT, RsaDigest::Sha1).into(),
    ]);
    let keys = keys.expect("two names");
    let put = |keys: &SigningKeys, packages: &[Described]| {
        fs::write(site.join("x86_64/APKINDEX.tar.gz"), write(&root, packages, keys)).expect("written");
    };
    put(&keys, &packages);
    let public: Vec<_> = keys.public_keys().collect();
    for (name, known) in [("both", &public[..]), ("first", &public[..1]), ("second", &public[1..])] {
        let client = Client::new(&folder, name, &site, known);
        let (is_good, said) = client.run(&["add", "--initdb", "--no-scripts", "hello", "hello-doc", "x", "long"]);
        assert!(is_good && !said.contains("WARNING"), "{name}: {said}");
        let (_, listed) = client.run(&["search"]);
        assert_eq!(listed.lines().count(), 6, "{name}: {listed}");
        let (_, description) = client.run(&["search", "--description", "--verbose", "full"]);
        assert!(description.contains("a = b  two  blanks, Größe"), "{description}");
    }
    let refused = |name: &str, known: &[(&str, &str)], why: &str| {
        let client = Client::new(&folder, name, &site, known);
        let (_, said) = client.run(&["add", "--initdb", "--no-scripts"]);
        assert!(said.contains(why), "{name}: {said}");
        let (is_good, said) = client.run(&["add", "hello"]);
        assert!(!is_good, "{name}: {said}");
    };
    refused("none", &[], "UNTRUSTED signature");
    refused("swapped", &[(public[0].0, public[1].1)], "BAD signature");
    put(&SigningKeys::default(), &packages);
    refused("unsigned", &public, "UNTRUSTED signature");
    // An index without packages is good too.
    put(&keys, &[]);
    let client = Client::new(&folder, "empty", &site, &public);
    let (is_good, said) = client.run(&["add", "--initdb", "--no-scripts"]);
    assert!(is_good && !said.contains("WARNING"), "{said}");
}

#[test]
fn hostile_packages_are_refused() {
    const AT: &str = "main/x86_64/a-1.apk";
    let info = "pkgname = a\npkgver = 1\narch = x86_64\n";
    let with = |more: &str| package(&format!("{info}{more}"));
    describe(AT, &with("")).expect("the rest of it is sound");
    let data = gzip(&[tar_entry("usr/x", b'0', b"x"), TAR_END.to_vec()].concat());
    let sound = format!("{info}datahash = {}\n", sha256(&data));
    let entry = |text: &str| tar_entry(".PKGINFO", b'0', text.as_bytes());
    let of = |control: &[Vec<u8>]| [gzip(&control.concat()), data.clone()].concat();
    let pax = |kind: u8, record: &str| tar_entry("PaxHeaders/x", kind, record.as_bytes());
    describe(AT, &of(&[pax(b'x', "20 atime=1700000000\n"), entry(&sound)])).expect("times are harmless");
    let other = sound.replace("pkgname = a", "pkgname = b");
    let v3 = package_v3().0;
    let spelled = format!("{info}datahash = {}\ndatahash={}\n", sha256(b""), sha256(&data));
    let spelled = of(&[entry(&spelled)]);
    let table: Vec<(&str, Vec<u8>, &str)> = vec![
        ("a forged line", with("pkgdesc = x\rP:b\n"), "the value of pkgdesc holds a control character"),
        ("a NUL", with("pkgdesc = x\0\n"), "it holds a NUL"),
        ("a NUL in a key", with("x\0 = y\n"), "it holds a NUL"),
        ("two names", with("pkgname = b\n"), "it says pkgname twice"),
        ("two hashes", with(&format!("datahash = {}\n", sha256(b""))), "it says datahash twice"),
        ("two hashes in two spellings", spelled, "two datahashes"),
        ("a name that climbs", package("pkgname = ../a\npkgver = 1\n"), "pkgname is not of"),
        ("a version that climbs", package("pkgname = a\npkgver = 1/../../b\n"), "pkgver is not of"),
        ("no name", package("pkgver = 1\n"), "it has no pkgname"),
        ("no version", package("pkgname = a\n"), "it has no pkgver"),
        ("another name", package("pkgname = b\npkgver = 1\n"), "expected a-1.apk, found b-1.apk"),
        ("another split", package("pkgname = a-1\npkgver = 1\n"), "expected a-1.apk, found a-1-1.apk"),
        (
            "another architecture",
            package("pkgname = a\npkgver = 1\narch = aarch64\n"),
            "expected x86_64, found aarch64",
        ),
        (
            "an architecture that climbs",
            package("pkgname = a\npkgver = 1\narch = ../x\n"),
            "expected x86_64, found ../x",
        ),
        ("a size in words", with("size = many\n"), "its size is not a number"),
        ("a priority that would wrap", with("provider_priority = 65537\n"), "not a number of 0 to 65535"),
        ("a relation to nothing", with("depend = >1\n"), "names no package"),
        ("a line that apk gives up at", with(&provided(7112)), "gives up the whole index"),
        ("more than apk can note", with(&format!("pkgdesc = {}\n", "x".repeat(2048 - 68))), "make 2049 bytes"),
        (
            "a relation longer than apk can note",
            with(&format!("depend = {}\n", "x".repeat(257))),
            "more than 256 bytes",
        ),
        (
            "no UTF-8",
            {
                let text = [sound.as_bytes(), b"pkgdesc = \xff\n"].concat();
                [gzip(&tar_entry(".PKGINFO", b'0', &text)), data.clone()].concat()
            },
            "UTF-8",
        ),
        ("two .PKGINFO", of(&[entry(&sound), entry(&other)]), "twice"),
        ("an empty one first", of(&[entry(""), entry(&sound)]), "twice"),
        ("a link of that name", of(&[tar_entry(".PKGINFO", b'2', b""), entry(&sound)]), "plain file"),
        (
            "a name from pax",
            of(&[entry(&sound), pax(b'x', "17 path=.PKGINFO\n"), tar_entry("y", b'0', other.as_bytes())]),
            "another name",
        ),
        ("a name from pax, for all", of(&[pax(b'g', "17 path=.PKGINFO\n"), entry(&sound)]), "another name"),
        ("a name from GNU", of(&[entry(&sound), pax(b'L', ".PKGINFO\0"), tar_entry("y", b'0', b"")]), "another name"),
        ("none", of(&[tar_entry(".post-install", b'0', b"x")]), "no .PKGINFO"),
        ("no datahash", [gzip(&entry(info)), data.clone()].concat(), "no datahash"),
        ("other data", [gzip(&entry(&sound)), gzip(b"else")].concat(), "apk data member"),
        ("more data", [of(&[entry(&sound)]), gzip(b"")].concat(), "apk data member"),
        ("no data", gzip(&entry(&sound)), "ends before"),
        ("version 3", v3, "version 3"),
        ("a page", b"<!DOCTYPE html>".to_vec(), "gzip"),
        ("nothing", Vec::new(), "ends before"),
        ("a bomb in its .PKGINFO", of(&[entry(&"#".repeat(40 << 20))]), "control_bytes"),
        ("a bomb beside it", of(&[entry(&sound), tar_entry("x", b'0', &vec![0; 40 << 20])]), "control_bytes"),
        ("a bomb in an extension", of(&[pax(b'x', &" ".repeat(40 << 20)), entry(&sound)]), "control_bytes"),
        (
            "a bomb for a signature",
            [gzip(&tar_entry(".SIGN.RSA.x", b'0', &vec![0; 40 << 20])), with("")].concat(),
            "control_bytes",
        ),
        ("two signatures", [signature_member(), with("")].concat(), "two signature members"),
    ];
    for (what, file, why) in table {
        let found = describe(AT, &file).expect_err(what).to_string();
        assert!(found.contains(why), "{what}: {found}");
    }
    // Where apk itself comes to its limits.
    describe(AT, &with(&provided(7111))).expect("the longest line");
    let few = Limits { text_bytes: 40, ..Limits::default() };
    let found = describe_within(AT, &with(&format!("pkgdesc = {}\n", "x".repeat(50))), &few);
    assert!(matches!(found, Err(Invalid::OverLimit { limit: "text_bytes", .. })), "{found:?}");
}

#[test]
fn every_cut_and_every_flip_is_found_or_changes_nothing() {
    const AT: &str = "x86_64/full-1.0_git2020~abc-r1.apk";
    let file = package(FULL);
    let whole = describe(AT, &file).expect("valid");
    for cut in 0..file.len() {
        assert!(describe(AT, &file[..cut]).is_err(), "cut at {cut}");
    }
    for at in 0..file.len() {
        let mut flipped = file.clone();
        flipped[at] ^= 1;
        if let Ok(described) = describe(AT, &flipped) {
            // Only the identity may differ: gzip's head has fields that nobody reads, and it is over the bytes as stored.
            let facts = |described: &Described| stanza(described).split_once('\n').map(|(_, rest)| rest.to_owned());
            assert_eq!(facts(&described), facts(&whole), "flipped at {at}");
        }
    }
    // The size that goes into the index is that of the file.
    let path = path(AT);
    let root = publish().root_for(&path, 0).expect("a root");
    for size in [0, file.len() as u64 - 1, file.len() as u64 + 1] {
        let upload = Upload { root: &root, path: &path, size, sha256: Sha256::of(&file), uploaded_at: TIME };
        assert!(publish().describe(&upload, &mut Cursor::new(&file), &Limits::default()).is_err(), "{size}");
    }
    let control = &file[signature_member().len()..];
    let identity = whole.entry.identity.to_string();
    let length = (1..control.len()).find(|length| identity.ends_with(&samples::hex(&sha1(&control[..*length]))));
    assert!(length.is_some(), "the identity is over the control member: {identity}");
}

#[test]
fn keys_are_those_of_openssl() {
    let folder = folder("apk_publish_keys");
    let (file, pkcs8) = secret(&folder, "secret", &RSA);
    let file = file.to_str().expect("UTF-8");
    let public = String::from_utf8(openssl(&["pkey", "-in", file, "-pubout"])).expect("UTF-8");
    let pkcs1 = openssl(&["pkey", "-in", file, "-traditional"]);
    assert!(pkcs1.starts_with(b"-----BEGIN RSA PRIVATE KEY-----"));
    for pem in [&pkcs8, &pkcs1, &[b"\n", &pkcs8[..], b"\n\n"].concat()] {
        let key = RsaKey::read(NAME, RsaDigest::default(), pem).expect("a good key");
        assert_eq!((key.name(), key.public_pem()), (NAME, public.as_str()));
        assert_eq!(format!("{key:?}"), format!("RsaKey {{ name: {NAME:?}, .. }}"));
        let keys = SigningKeys::new(vec![key.into()]).expect("one");
        assert_eq!(format!("{keys:?}"), format!("[SigningKey {{ name: {NAME:?}, .. }}]"));
        assert_eq!(keys.public_keys().collect::<Vec<_>>(), [(NAME, public.as_str())]);
    }
    let locked = |more: &[&str]| openssl(&[&["pkey", "-in", file, "-aes256", "-passout", "pass:x"], more].concat());
    let (_, small) = secret(&folder, "small", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"]);
    let (_, large) = secret(&folder, "large", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:5120"]);
    let (_, curve) = secret(&folder, "curve", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    let mut broken = pkcs8.clone();
    broken[400] = if broken[400] == b'A' { b'B' } else { b'A' };
    let table: [(&str, &[u8], &str); 9] = [
        ("locked", &locked(&[]), "locked with a passphrase"),
        ("locked, PKCS#1", &locked(&["-traditional"]), "locked with a passphrase"),
        ("the public half", public.as_bytes(), "it is the public half"),
        ("too small", &small, "less than 2048 bits"),
        ("too large", &large, "4096 bits at most"),
        ("a curve", &curve, "are no RSA key"),
        ("broken", &broken, "do not fit together"),
        ("cut", &pkcs8[..800], "do not fit together"),
        ("a page", b"<html>", "no RSA private key in PEM"),
    ];
    for (what, pem, why) in table {
        let found = RsaKey::read(NAME, RsaDigest::Sha1, pem).expect_err(what);
        let found = format!("{found} {found:?}");
        assert!(found.contains(why), "{what}: {found}");
        let lines = std::str::from_utf8(pem).expect("UTF-8").lines().filter(|line| line.len() > 40);
        assert!(lines.into_iter().all(|line| !found.contains(line)), "{what}: {found}");
    }
    for name in ["", ".rsa.pub", "a/b.rsa.pub", "../a.rsa.pub", "a b.rsa.pub", "a\n.rsa.pub", "a.pub", "ä.rsa.pub"] {
        assert!(RsaKey::read(name, RsaDigest::Sha1, &pkcs8).is_err(), "{name:?}");
    }
    let long = |length: usize| RsaKey::read(&format!("{}.rsa.pub", "k".repeat(length - 8)), RsaDigest::Sha1, &pkcs8);
    assert!(long(86).is_ok() && long(87).is_err());
    let read = |name: &str| RsaKey::read(name, RsaDigest::Sha1, &pkcs8).expect("a good key");
    let twice = SigningKeys::new(vec![read(NAME).into(), read(NEXT).into(), read(NAME).into()]);
    assert!(twice.is_err_and(|why| why.to_string().contains("second key named")));
    assert!(SigningKeys::default().is_empty());
}

#[test]
fn made_keys_are_keys() {
    let folder = folder("apk_publish_made");
    let pair = generate_rsa(2048, &mut OsRng).expect("made");
    assert_eq!(format!("{pair:?}"), "RsaKeyPair { .. }");
    let file = folder.join("made");
    fs::write(&file, pair.secret_pem()).expect("written");
    let file = file.to_str().expect("UTF-8");
    let public = openssl(&["pkey", "-in", file, "-pubout", "-check"]);
    assert!(String::from_utf8_lossy(&public).contains(pair.public_pem()));
    assert_eq!(fs::read(file).expect("readable"), openssl(&["pkey", "-in", file]));
    let key = RsaKey::read(NAME, RsaDigest::Sha1, pair.secret_pem().as_bytes()).expect("a good key");
    assert_eq!(key.public_pem(), pair.public_pem());
    for bits in [0, 512, 2047, 4097, 1 << 20] {
        assert!(generate_rsa(bits, &mut OsRng).is_err(), "{bits}");
    }
}
