//! What two generations of an index say, read from upstream's own files without any code of the server, and compared.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use base64::Engine as _;
use serde_json::{Value, json};

use crate::support::history::{APK, RPM};
use crate::support::made;

/// Packages by their paths below the repository.
pub(super) type Listing = BTreeMap<String, Listed>;

/// What an index says of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    name: String,
    version: String,
    arch: String,
    identity: String,
}

/// What upstream had at a path in a generation.
pub(super) fn file(ages: &[PathBuf], age: u32, path: &str) -> Vec<u8> {
    let path = ages[age as usize - 1].join(path);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What lies between two texts.
fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let (_, rest) = text.split_once(before).unwrap_or_else(|| panic!("no {before:?} in {text}"));
    &rest[..rest.find(after).expect("an end")]
}

pub(super) fn rpm_packages(ages: &[PathBuf], age: u32) -> Listing {
    let packed = file(ages, age, &format!("{RPM}/repodata/primary.xml.gz"));
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::bufread::MultiGzDecoder::new(&packed[..]), &mut text).expect("text");
    let package = |text: &str| {
        let path = between(text, "<location href=\"", "\"");
        let listed = Listed {
            name: between(text, "<name>", "<").to_owned(),
            version: format!("{}-{}", between(text, "ver=\"", "\""), between(text, "rel=\"", "\"")),
            arch: between(text, "<arch>", "<").to_owned(),
            identity: format!("sha256:{}", between(text, "pkgid=\"YES\">", "<")),
        };
        (format!("ages/{path}"), listed)
    };
    text.split("<package type=\"rpm\">").skip(1).map(package).collect()
}

pub(super) fn apk_packages(ages: &[PathBuf], age: u32) -> Listing {
    let text = made::index_text(&file(ages, age, &format!("{APK}/APKINDEX.tar.gz")));
    let package = |stanza: &str| {
        let field = |key: &str| stanza.lines().find_map(|line| line.strip_prefix(key)).expect("a field").to_owned();
        let (name, version) = (field("P:"), field("V:"));
        let digest = base64::engine::general_purpose::STANDARD.decode(field("C:Q1")).expect("base64");
        let identity = digest.iter().fold("part:sha1:".to_owned(), |text, byte| format!("{text}{byte:02x}"));
        (format!("ages/x86_64/{name}-{version}.apk"), Listed { name, version, arch: field("A:"), identity })
    };
    text.split("\n\n").filter(|stanza| !stanza.trim().is_empty()).map(package).collect()
}

/// How packages changed between two listings: as the HTTP route says it, without sizes, and as the command line does.
pub(super) fn differences(from: &Listing, to: &Listing) -> (Vec<Value>, Vec<String>) {
    let (mut changes, mut lines) = (Vec::new(), Vec::new());
    let paths: BTreeSet<&String> = from.keys().chain(to.keys()).collect();
    for path in paths {
        let (before, after) = (from.get(path), to.get(path));
        if before == after {
            continue;
        }
        let shown = |listed: Option<&Listed>| {
            listed.map(|Listed { name, version, arch, identity }| {
                json!({ "name": name, "version": version, "arch": arch, "identity": identity })
            })
        };
        let (change, sign, versions) = match (before, after) {
            (None, Some(after)) => ("added", '+', after.version.clone()),
            (Some(before), Some(after)) => ("changed", '~', format!("{} -> {}", before.version, after.version)),
            (before, _) => ("removed", '-', before.expect("one of them").version.clone()),
        };
        let Listed { name, arch, .. } = after.or(before).expect("one of them");
        lines.push(format!("{sign} {name} {versions} {arch} {path}"));
        changes.push(json!({ "change": change, "path": path, "from": shown(before), "to": shown(after) }));
    }
    (changes, lines)
}
