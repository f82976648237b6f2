//! A fourth format, and what it took: the folder `fourth_format/` beside this file and one row of a table.
//!
//! The proof has two halves. The first drives all four formats, the new one among them, through everything the engine does
//! with a format, in code that knows none of them. The second reads the crate's own sources: outside its folder, a format
//! is spoken of on its `mod` line and in its row, and nowhere else.

#[path = "fourth_format/toml_pool.rs"]
mod toml_pool;

mod samples;

use std::io::Cursor;
use std::ops::ControlFlow;

use artifactapi_formats::{
    Expected, Format, Formats, Invalid, Limits, PackageEntry, RepoPath, Role, Sha256, alpine::Alpine, generic::Generic,
    rpm::Rpm,
};

/// The shipped rows and one more.
static FORMATS: Formats = Formats::of(&[&Generic, &Alpine, &Rpm, &toml_pool::TomlPool]);

/// A repository in memory.
type Files = Vec<(String, Vec<u8>)>;

fn check(format: &dyn Format, path: &RepoPath, expected: Option<&Expected>, file: &[u8]) -> Result<(), Invalid> {
    let Some(mut checker) = format.checker(path, expected, &Limits::default()) else {
        return Ok(());
    };
    checker.update(file)?;
    checker.finish(&mut Cursor::new(file), &Sha256::of(file))
}

/// What the engine does when a client asks for an entry and then for everything it leads to. No format is named here.
fn drive(format: &dyn Format, entry: &str, files: &Files) -> Vec<PackageEntry> {
    let get = |path: &RepoPath| &files.iter().find(|(name, _)| name == path.as_str()).expect("the repository has it").1;
    let limits = Limits::default();
    let entry = RepoPath::new(entry).expect("valid");
    assert_eq!(format.classify(&entry), Role::Index);
    let index = format.index().expect("it has indexes");
    let root = index.root_of(&entry).expect("an entry has a root");
    check(format, &entry, None, get(&entry)).expect("the entry");
    let members = index.members(&root, get(&entry), &limits).expect("the entry");
    for member in &members {
        assert_eq!(index.root_of(&member.path), Some(root.clone()), "{}", member.path);
        check(format, &member.path, Some(&member.expected), get(&member.path)).expect("a member");
    }
    let list = index.package_list(&root, &members).expect("it lists packages");
    let mut packages = Vec::new();
    index
        .packages(&root, &mut &get(&list)[..], &limits, &mut |package| {
            packages.push(package);
            ControlFlow::Continue(())
        })
        .expect("the list");
    for package in &packages {
        assert_eq!(format.classify(&package.path), Role::Package);
        let expected = package.expected();
        let file = get(&package.path);
        check(format, &package.path, Some(&expected), file).expect("a package");
        let mut damaged = file.clone();
        *damaged.last_mut().expect("not empty") ^= 1;
        assert!(check(format, &package.path, Some(&expected), &damaged).is_err(), "damage is found");
    }
    packages
}

fn alpine_files() -> Files {
    let apk = samples::alpine::Apk::new("sample", "1.0-r0");
    let index = samples::alpine::index(&samples::alpine::stanza("sample", "1.0-r0", "x86_64", &apk.control_sha1()));
    vec![("main/x86_64/APKINDEX.tar.gz".into(), index), ("main/x86_64/sample-1.0-r0.apk".into(), apk.file())]
}

fn rpm_files() -> Files {
    let rpm = samples::rpm::Rpm::new(samples::rpm::Kind::Modern).file();
    let package = samples::rpm::primary_package("sample", "sample.rpm", &samples::sha256(&rpm))
        .replace("package=\"1846\"", &format!("package=\"{}\"", rpm.len()));
    let primary = samples::gzip(format!("<metadata packages=\"1\">{package}</metadata>").as_bytes());
    let repomd = samples::rpm::repomd(&samples::rpm::data("primary", "repodata/primary.xml.gz", &primary));
    vec![
        ("9/repodata/repomd.xml".into(), repomd.into_bytes()),
        ("9/repodata/primary.xml.gz".into(), primary),
        ("9/sample.rpm".into(), rpm),
    ]
}

#[test]
fn four_formats_are_driven_by_one_code() {
    let repositories = [
        ("alpine", "main/x86_64/APKINDEX.tar.gz", alpine_files()),
        ("rpm", "9/repodata/repomd.xml", rpm_files()),
        ("toml-pool", "stable/pool.toml", toml_pool::sample()),
    ];
    for (name, entry, files) in repositories {
        let packages = drive(FORMATS.find(name).expect(name), entry, &files);
        assert_eq!(packages.len(), 1, "{name}");
        assert_eq!(packages[0].name, "sample", "{name}");
    }
    assert!(FORMATS.find("generic").is_some_and(|format| format.index().is_none()));
    assert_eq!(FORMATS.names().collect::<Vec<_>>(), ["generic", "alpine", "rpm", "toml-pool"]);
    assert!(artifactapi_formats::find("toml-pool").is_none(), "the shipped table is as it was");
}

/// A line of code, without comments and texts.
fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or_default().trim()
}

#[test]
fn a_format_is_its_folder_and_its_row() {
    let shared = [
        include_str!("../src/check.rs"),
        include_str!("../src/decompress/mod.rs"),
        include_str!("../src/digest/mod.rs"),
        include_str!("../src/expected.rs"),
        include_str!("../src/format.rs"),
        include_str!("../src/generic.rs"),
        include_str!("../src/index.rs"),
        include_str!("../src/invalid.rs"),
        include_str!("../src/limits.rs"),
        include_str!("../src/path.rs"),
        include_str!("../src/pieces/mod.rs"),
        include_str!("../src/publish.rs"),
        include_str!("../src/registry.rs"),
        include_str!("../src/trust/armor.rs"),
        include_str!("../src/trust/keys.rs"),
        include_str!("../src/trust/mod.rs"),
        include_str!("../src/trust/openpgp/mod.rs"),
        include_str!("../src/trust/public_key.rs"),
        include_str!("../src/trust/rsa_signing.rs"),
        include_str!("../src/trust/signing.rs"),
        include_str!("../src/trust/verdict.rs"),
    ];
    let names = |line: &&str| ["alpine", "rpm::", "Alpine", "Rpm", "Apk"].iter().any(|word| code(line).contains(word));
    let spoken: Vec<_> = shared.iter().flat_map(|file| file.lines()).filter(names).collect();
    assert_eq!(spoken, [""; 0], "a shared file that knows a format");
    let root: Vec<_> = include_str!("../src/lib.rs").lines().filter(names).map(code).collect();
    let row = "pub static FORMATS: Formats = Formats::of(&[&generic::Generic, &alpine::Alpine, &rpm::Rpm]);";
    assert_eq!(root, ["pub mod alpine;", row], "more than the one row");
}
