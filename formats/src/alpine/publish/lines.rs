//! A stanza of an APKINDEX, with the fields and in the order of `apk index` (FORMATS 1.3).
//!
//! It is as long as apk can bear. apk 3 puts the fields before the relations together in a buffer of 2 KiB, when it indexes a package and
//! when it notes that one is installed: there it fails when the files are in place already. It reads lines into a buffer of 128 KiB,
//! and gives up a whole index at one that does not fit.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::facts::{Facts, said};
use crate::{Digest, Invalid, Limits};

/// The longest that all fields before the relations may be together.
const HEAD: usize = 2048;
/// The longest line, with a little room. The longest that are known are of 72 KB.
const LINE: usize = 128_000;

/// The stanza of a package, with the blank line that ends it. `arch` is the index's own: clients look for the package below the
/// architecture that its stanza names.
pub(super) fn stanza(
    facts: &Facts<'_>,
    arch: &str,
    size: u64,
    identity: &Digest,
    limits: &Limits,
) -> Result<Vec<u8>, Invalid> {
    let mut stanza = Lines { text: String::new(), limits };
    stanza.line('C', &format!("Q1{}", STANDARD.encode(identity.bytes())))?;
    stanza.line('P', facts.name()?)?;
    stanza.line('V', facts.version()?)?;
    stanza.line('A', arch)?;
    stanza.line('S', &size.to_string())?;
    stanza.line('I', &facts.size()?.to_string())?;
    // These three are there even if they say nothing.
    stanza.line('T', facts.description.unwrap_or_default())?;
    stanza.line('U', facts.url.unwrap_or_default())?;
    stanza.line('L', facts.license.unwrap_or_default())?;
    stanza.said('o', facts.origin)?;
    stanza.said('m', facts.maintainer)?;
    stanza.counted('t', facts.built()?)?;
    stanza.said('c', facts.commit)?;
    stanza.counted('k', facts.priority()?)?;
    if stanza.text.len() > HEAD {
        let why = format!("its fields make {} bytes of an index; apk can note {HEAD}", stanza.text.len());
        return Err(Invalid::malformed(".PKGINFO", why));
    }
    stanza.said('D', Some(&facts.depends.join(" ")))?;
    stanza.said('p', Some(&facts.provides.join(" ")))?;
    stanza.said('i', Some(&facts.install_if.join(" ")))?;
    stanza.text.push('\n');
    Ok(stanza.text.into_bytes())
}

/// Whether apk can bear a stanza of another's making, whatever the order of its lines.
pub(super) fn check(stanza: &[u8]) -> Result<(), Invalid> {
    let mut head = 0;
    for line in stanza.split_inclusive(|byte| *byte == b'\n') {
        if line.len() > LINE {
            let why = format!("a line of {} bytes, where apk gives up the whole index at more than {LINE}", line.len());
            return Err(Invalid::malformed("APKINDEX", why));
        }
        let is_relation = matches!(line, [b'D' | b'p' | b'i' | b'r' | b'q', b':', ..]);
        if !is_relation && line != b"\n" {
            head += line.len();
        }
    }
    match head > HEAD {
        true => Err(Invalid::malformed("APKINDEX", format!("fields of {head} bytes, of which apk can note {HEAD}"))),
        false => Ok(()),
    }
}

struct Lines<'l> {
    text: String,
    limits: &'l Limits,
}

impl Lines<'_> {
    fn line(&mut self, letter: char, value: &str) -> Result<(), Invalid> {
        // Our own readers have a limit too, and an index that we wrote must be one that we read.
        let ours = usize::try_from(self.limits.text_bytes).unwrap_or(usize::MAX);
        let whole = value.len() + "x:\n".len();
        if whole > ours {
            return Err(Invalid::OverLimit { what: ".PKGINFO", limit: "text_bytes", value: self.limits.text_bytes });
        }
        if whole > LINE {
            let why =
                format!("it makes a line '{letter}:' of more than {LINE} bytes, at which apk gives up the whole index");
            return Err(Invalid::malformed(".PKGINFO", why));
        }
        self.text.extend([letter, ':']);
        self.text.push_str(value);
        self.text.push('\n');
        Ok(())
    }

    fn said(&mut self, letter: char, value: Option<&str>) -> Result<(), Invalid> {
        said(value).map_or(Ok(()), |value| self.line(letter, value))
    }

    fn counted(&mut self, letter: char, number: u64) -> Result<(), Invalid> {
        if number == 0 { Ok(()) } else { self.line(letter, &number.to_string()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stanzas_of_others_are_held_to_what_apk_can_bear() {
        let stanza = |depends: usize, description: usize| {
            format!("C:Q1x\nP:a\nV:1\nD:{}\nT:{}\n\n", "d".repeat(depends), "t".repeat(description)).into_bytes()
        };
        assert!(check(&stanza(72_000, 1_000)).is_ok());
        assert!(check(&stanza(LINE - 3, HEAD - 17)).is_ok());
        assert!(check(&stanza(LINE - 2, 0)).is_err());
        assert!(check(&stanza(0, HEAD - 16)).is_err());
    }
}
