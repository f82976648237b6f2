//! `.PKGINFO` as apk reads it, for packages that are to be listed (FORMATS 1.5).
//!
//! A line is `key = value` with just these blanks; others are nobody's. What comes out goes into lines of an index that all
//! clients of a repository read, so no value may hold a control character, with which it could pretend to be several lines.
//! A key that says one thing is there once: of two, readers could take different ones.

use crate::{Invalid, Sha256};

const WHAT: &str = ".PKGINFO";
/// The longest dependency or other relation that apk 3 can write, into an index or into its notes of what is installed.
const RELATION: usize = 256;

/// What a package says of itself, as far as an index repeats it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Facts<'t> {
    pub name: Option<&'t str>,
    pub version: Option<&'t str>,
    pub arch: Option<&'t str>,
    pub datahash: Option<&'t str>,
    pub size: Option<&'t str>,
    pub built: Option<&'t str>,
    pub priority: Option<&'t str>,
    pub description: Option<&'t str>,
    pub url: Option<&'t str>,
    pub license: Option<&'t str>,
    pub origin: Option<&'t str>,
    pub maintainer: Option<&'t str>,
    pub commit: Option<&'t str>,
    pub depends: Vec<&'t str>,
    pub provides: Vec<&'t str>,
    pub install_if: Vec<&'t str>,
}

/// Where the value of a key goes.
enum Field<'f, 't> {
    Once(&'f mut Option<&'t str>),
    /// Values of a repeated key add up, and one of them may be several.
    Many(&'f mut Vec<&'t str>),
}

impl<'t> Facts<'t> {
    pub(super) fn read(text: &'t [u8]) -> Result<Self, Invalid> {
        let text = std::str::from_utf8(text).map_err(|_| malformed("it is not UTF-8"))?;
        if text.contains('\0') {
            return Err(malformed("it holds a NUL"));
        }
        let mut facts = Self::default();
        for line in text.split('\n').filter(|line| !line.starts_with('#')) {
            let Some((key, value)) = line.split_once(" = ") else { continue };
            let Some(field) = facts.field(key) else { continue };
            if value.contains(char::is_control) {
                return Err(malformed(format!("the value of {key} holds a control character")));
            }
            match field {
                Field::Once(Some(_)) => return Err(malformed(format!("it says {key} twice"))),
                // What is empty says nothing.
                Field::Once(field) => *field = Some(value),
                Field::Many(all) => all.extend(value.split(' ').filter(|value| !value.is_empty())),
            }
        }
        facts.check_relations()?;
        Ok(facts)
    }

    /// Whether apk can write every relation, and each names a package.
    pub(super) fn check_relations(&self) -> Result<(), Invalid> {
        let relations = [&self.depends, &self.provides, &self.install_if];
        for relation in relations.into_iter().flatten() {
            if relation.len() > RELATION {
                return Err(malformed(format!(
                    "it has a relation of more than {RELATION} bytes, which apk cannot write"
                )));
            }
            if !has_name(relation) {
                return Err(malformed(format!("'{relation}' names no package")));
            }
        }
        Ok(())
    }

    fn field(&mut self, key: &str) -> Option<Field<'_, 't>> {
        Some(match key {
            "pkgname" => Field::Once(&mut self.name),
            "pkgver" => Field::Once(&mut self.version),
            "pkgdesc" => Field::Once(&mut self.description),
            "url" => Field::Once(&mut self.url),
            "builddate" => Field::Once(&mut self.built),
            "size" => Field::Once(&mut self.size),
            "arch" => Field::Once(&mut self.arch),
            "origin" => Field::Once(&mut self.origin),
            "commit" => Field::Once(&mut self.commit),
            "maintainer" => Field::Once(&mut self.maintainer),
            "license" => Field::Once(&mut self.license),
            "provider_priority" => Field::Once(&mut self.priority),
            "datahash" => Field::Once(&mut self.datahash),
            "depend" => Field::Many(&mut self.depends),
            "provides" => Field::Many(&mut self.provides),
            "install_if" => Field::Many(&mut self.install_if),
            _ => return None,
        })
    }

    pub(super) fn name(&self) -> Result<&'t str, Invalid> {
        let name = self.name.ok_or_else(|| malformed("it has no pkgname"))?;
        let begins_well = name.starts_with(|first: char| first.is_ascii_alphanumeric());
        if begins_well && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte)) {
            Ok(name)
        } else {
            Err(malformed("its pkgname is not of letters, digits and . _ + -, beginning with a letter or digit"))
        }
    }

    /// Not every version that apk would sort well, but one that stays in its place (FORMATS 1.1).
    pub(super) fn version(&self) -> Result<&'t str, Invalid> {
        let version = self.version.ok_or_else(|| malformed("it has no pkgver"))?;
        let begins_well = version.starts_with(|first: char| first.is_ascii_digit());
        if begins_well && version.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._~+-".contains(&byte)) {
            Ok(version)
        } else {
            Err(malformed("its pkgver is not of letters, digits and . _ ~ + -, beginning with a digit"))
        }
    }

    /// `None` for a package that names no architecture.
    pub(super) fn arch(&self) -> Option<&'t str> {
        said(self.arch)
    }

    pub(super) fn datahash(&self) -> Result<Sha256, Invalid> {
        let datahash = self.datahash.ok_or_else(|| malformed("it has no datahash"))?;
        datahash.parse().map_err(|_| malformed("its datahash is not a SHA-256"))
    }

    /// Installed size in bytes.
    pub(super) fn size(&self) -> Result<u64, Invalid> {
        number("size", self.size, u64::MAX)
    }

    /// When it was built, in Unix seconds; 0 when it does not say.
    pub(super) fn built(&self) -> Result<u64, Invalid> {
        number("builddate", self.built, u64::MAX)
    }

    /// 0 when it has none. apk keeps 16 bits and would take a larger one for another.
    pub(super) fn priority(&self) -> Result<u64, Invalid> {
        number("provider_priority", self.priority, u16::MAX.into())
    }
}

/// A value, unless it is empty.
pub(super) fn said(value: Option<&str>) -> Option<&str> {
    value.filter(|value| !value.is_empty())
}

fn number(key: &str, value: Option<&str>, most: u64) -> Result<u64, Invalid> {
    let Some(text) = said(value) else { return Ok(0) };
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|number| digits && *number <= most);
    number.ok_or_else(|| malformed(format!("its {key} is not a number of 0 to {most}")))
}

/// Whether there is a name before the operator, if there is one.
fn has_name(relation: &str) -> bool {
    let name = relation.strip_prefix('!').unwrap_or(relation);
    !name.is_empty() && !name.starts_with(['<', '=', '>', '~'])
}

fn malformed(why: impl Into<String>) -> Invalid {
    Invalid::malformed(WHAT, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_apk_reads_them() {
        let text = "# pkgname = not\npkgname = a\npkgver = 1-r0\npkgdesc = x = y \nurl=none\n arch = none\nother = \u{1}\ndepend = b\n\
                    depend =  c>1   !d \nprovides = so:e.so.1=1\nsize = 012\ncommit = \nprovider_priority = 65535\n";
        let facts = Facts::read(text.as_bytes()).expect("valid");
        let expected = Facts {
            name: Some("a"),
            version: Some("1-r0"),
            description: Some("x = y "),
            size: Some("012"),
            commit: Some(""),
            priority: Some("65535"),
            depends: vec!["b", "c>1", "!d"],
            provides: vec!["so:e.so.1=1"],
            ..Facts::default()
        };
        assert_eq!(facts, expected);
        assert_eq!((facts.size().ok(), facts.built().ok(), facts.priority().ok()), (Some(12), Some(0), Some(65535)));
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        let refused = [
            "pkgdesc = a\rP:b\n",
            "pkgdesc = a\tb\n",
            "pkgdesc = \u{85}\n",
            "other = \0\n",
            "pkgname = a\npkgname = a\n",
            "datahash = 1\ndatahash = 2\n",
            "depend = >1\n",
            "depend = !\n",
            "provides = a =1\n",
        ];
        let long = |length: usize| format!("provides = {}\n", "x".repeat(length));
        assert!(Facts::read(long(256).as_bytes()).is_ok() && Facts::read(long(257).as_bytes()).is_err());
        for text in refused {
            assert!(Facts::read(text.as_bytes()).is_err(), "{text:?}");
        }
        assert!(Facts::read(b"pkgdesc = \xff\n").is_err());
    }

    #[test]
    fn names_versions_and_numbers() {
        let read = |text: &str| {
            let facts = Facts::read(text.as_bytes()).expect("readable");
            (facts.name().is_ok(), facts.version().is_ok())
        };
        for name in ["a", "libstdc++", "py3-x.y_z", "0ad"] {
            assert!(read(&format!("pkgname = {name}\n")).0, "{name}");
        }
        for name in ["", "-a", ".a", "a/b", "../a", "a b", "é", "a~b", "a>b", "a:b"] {
            assert!(!read(&format!("pkgname = {name}\n")).0, "{name}");
        }
        for version in ["1-r0", "1.0_git2020~abc-r1", "0.99f7-r1", "2+x"] {
            assert!(read(&format!("pkgver = {version}\n")).1, "{version}");
        }
        for version in ["", "a", "-1", "1/../2", "1 2", "1:2", ".."] {
            assert!(!read(&format!("pkgver = {version}\n")).1, "{version}");
        }
        for number in ["x", "-1", "+1", "0x10", " 1", "1 ", "18446744073709551616"] {
            let text = format!("size = {number}\nprovider_priority = 65536\n");
            let facts = Facts::read(text.as_bytes()).expect("readable");
            assert!(facts.size().is_err() && facts.priority().is_err(), "{number}");
        }
    }
}
