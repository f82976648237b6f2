//! A v3 package that is to be listed in `Packages.adb` (FORMATS 2.3).
//!
//! It is read once, whole: what its blocks hold is compared with what its values say, and the digest of the values is the
//! identity by which the index knows it. Of the values, what an index repeats becomes a fragment; the identity within the package
//! is an arbitrary one and counts for nothing.
//!
//! What clients can bear is the same as with version 2, for apk 3 notes what is installed in the same lines ([`super::lines`]): a
//! line feed in a description makes a line of its own there, and a relation that is too long leaves a client that cannot write its notes
//! any more. So a package is taken if it would have been taken in version 2, but for a long description, which is cut there.

use std::ops::ControlFlow;

use super::facts::Facts;
use super::{entry, lines};
use crate::alpine::adb::{Info, PackageV3, Relation, info};
use crate::check::Length;
use crate::decompress::pieces;
use crate::publish::{Described, Upload};
use crate::{Digest, Invalid, Limits, ReadSeek, Sha256};

const WHAT: &str = "apk package (v3)";
/// As much of a description as apk 3 notes of what is installed.
const NOTED: usize = 512;
/// All relations of a package together, in bytes: a line of an index of version 2 holds no more.
const RELATIONS: usize = 128_000;

pub(super) fn describe(upload: &Upload<'_>, whole: &mut dyn ReadSeek, limits: &Limits) -> Result<Described, Invalid> {
    let (mut package, mut length) = (PackageV3::new(None, limits), Length::new(WHAT, Some(upload.size)));
    whole.rewind().map_err(Invalid::Read)?;
    pieces(whole, |bytes| {
        length.update(bytes)?;
        package.update(bytes).map(ControlFlow::Continue)
    })?;
    length.finish()?;
    let values = package.finish()?;
    let identity = Sha256::of(&values);
    let mut info = info(&values, limits)?;
    check_texts(&info)?;
    let noted = Noted::of(&info)?;
    let facts = noted.facts(&info);
    facts.check_relations()?;
    let entry = entry(upload, &facts, identity.into())?;
    lines::stanza(&facts, &entry.arch, upload.size, &Digest::from(identity), limits)?;
    // Clients look for a package below the architecture that its index names.
    info.arch = &entry.arch;
    info.identity = identity.as_bytes();
    info.file_size = Some(upload.size);
    let fragment = info.fragment(limits)?;
    Ok(Described { entry, fragments: vec![fragment] })
}

/// No text may hold what would make it several.
fn check_texts(info: &Info<'_>) -> Result<(), Invalid> {
    let texts = [
        ("name", info.name),
        ("version", info.version),
        ("arch", info.arch),
        ("description", info.description()),
        ("license", info.license()),
        ("origin", info.origin()),
        ("maintainer", info.maintainer()),
        ("url", info.url()),
    ];
    let is_several = |(_, text): &&(&str, &str)| text.contains(char::is_control);
    if let Some((field, _)) = texts.iter().find(is_several) {
        let why = format!("its {field} holds a control character, of which apk makes a line of its own in its notes");
        return Err(Invalid::malformed(WHAT, why));
    }
    let has_blank = |text: &str| text.contains(|c: char| c.is_control() || c == ' ');
    let names = info.relations().iter().flatten().flat_map(|Relation { name, version, .. }| [*name, *version]);
    match names.chain(info.tags().iter().copied()).find(|text| has_blank(text)) {
        Some(text) => Err(Invalid::malformed(WHAT, format!("{text:?} in a relation or tag is not one word"))),
        None => Ok(()),
    }
}

/// What a client would note, as text.
struct Noted {
    commit: String,
    numbers: [String; 3],
    /// Depends, provides, install-if, and all others together.
    relations: [Vec<String>; 4],
}

impl Noted {
    fn of(info: &Info<'_>) -> Result<Self, Invalid> {
        let [depends, provides, replaces, install_if, recommends] = info.relations();
        // Texts may share a place: what is written out is counted before it is.
        let tags = info.tags().iter().map(|tag| tag.len());
        let relations = info.relations().iter().flatten().map(|relation| relation.name.len() + relation.version.len());
        if relations.chain(tags).map(|length| length + 1).sum::<usize>() > RELATIONS {
            let why = format!("its relations and tags have more than {RELATIONS} bytes, which apk cannot note");
            return Err(Invalid::malformed(WHAT, why));
        }
        let texts = |relations: &[Relation<'_>]| relations.iter().map(Relation::text).collect::<Vec<_>>();
        let others = [texts(replaces), texts(recommends)].concat();
        Ok(Self {
            commit: info.commit().iter().map(|byte| format!("{byte:02x}")).collect(),
            numbers: [info.installed_size(), info.built(), info.priority()].map(|number| number.to_string()),
            relations: [texts(depends), texts(provides), texts(install_if), others],
        })
    }

    fn facts<'n>(&'n self, info: &Info<'n>) -> Facts<'n> {
        let description = info.description();
        let [size, built, priority] = &self.numbers;
        let [depends, provides, install_if, others] = &self.relations;
        let all = |texts: &'n [String]| texts.iter().map(String::as_str).collect::<Vec<_>>();
        Facts {
            name: Some(info.name),
            version: Some(info.version),
            arch: Some(info.arch),
            datahash: None,
            size: Some(size),
            built: Some(built),
            priority: Some(priority),
            description: Some(description.get(..description.floor_char_boundary(NOTED)).unwrap_or_default()),
            url: Some(info.url()),
            license: Some(info.license()),
            origin: Some(info.origin()),
            maintainer: Some(info.maintainer()),
            commit: Some(&self.commit),
            depends: all(depends),
            provides: all(provides),
            // What is in no line of version 2 is noted all the same.
            install_if: [all(install_if), all(others)].concat(),
        }
    }
}
