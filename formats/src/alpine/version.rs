//! The order of versions, as apk has it (FORMATS 1.1): `1.9` before `1.10`, `1.0_rc1` before `1.0`, `1.0` before `1.0a`.
//!
//! It decides in which order an index lists things and nothing else, so a text that is no version has a place too. It is a
//! total order, whatever it is given: sorting relies on that.

use std::cmp::Ordering;

/// Suffixes that come before the version without, in their order, and those that come after it.
const BEFORE: [&str; 4] = ["alpha", "beta", "pre", "rc"];
const AFTER: [&str; 5] = ["cvs", "svn", "git", "hg", "p"];

/// A part of a version. Of different kinds at one place, the later one here is of the later version.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Part<'v> {
    Before(usize, Number<'v>),
    End,
    Revision(Number<'v>),
    Hash(&'v str),
    After(usize, Number<'v>),
    Letter(u8),
    Number(Number<'v>),
    Other(&'v str),
}

/// Digits. Those that begin with 0 count as text, and come before all others.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Number<'v> {
    Text(&'v str),
    /// Its length, and the digits.
    Counted(usize, &'v str),
}

impl<'v> Number<'v> {
    /// One that counts whatever it begins with.
    fn counted(digits: &'v str) -> Self {
        let digits = digits.trim_start_matches('0');
        Self::Counted(digits.len(), digits)
    }

    fn after_a_dot(digits: &'v str) -> Self {
        if digits.starts_with('0') { Self::Text(digits) } else { Self::Counted(digits.len(), digits) }
    }
}

/// The parts of a version, one after another.
struct Parts<'v> {
    rest: &'v str,
    is_first: bool,
    is_over: bool,
}

impl<'v> Parts<'v> {
    fn of(version: &'v str) -> Self {
        Self { rest: version, is_first: true, is_over: false }
    }

    fn digits(&mut self) -> &'v str {
        let end = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at(end);
        self.rest = rest;
        digits
    }

    fn part(&mut self) -> Part<'v> {
        if std::mem::take(&mut self.is_first) {
            return Part::Number(Number::counted(self.digits()));
        }
        let whole = self.rest;
        if whole.is_empty() {
            self.is_over = true;
            return Part::End;
        }
        if let Some(rest) = whole.strip_prefix('.').filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit())) {
            self.rest = rest;
            return Part::Number(Number::after_a_dot(self.digits()));
        }
        if let Some(letter) = whole.bytes().next().filter(u8::is_ascii_lowercase) {
            self.rest = whole.get(1..).unwrap_or_default();
            return Part::Letter(letter);
        }
        if let Some(rest) = whole.strip_prefix('_') {
            let end = rest.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(rest.len());
            let (name, after) = rest.split_at(end);
            let place = |names: &[&str]| names.iter().position(|known| *known == name);
            self.rest = after;
            match (place(&BEFORE), place(&AFTER)) {
                (Some(at), _) => return Part::Before(at, Number::counted(self.digits())),
                (_, Some(at)) => return Part::After(at, Number::counted(self.digits())),
                _ => {}
            }
        }
        if let Some(rest) = whole.strip_prefix('~') {
            let end = rest.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(rest.len());
            let (hash, after) = rest.split_at(end);
            self.rest = after;
            return Part::Hash(hash);
        }
        if let Some(rest) = whole.strip_prefix("-r") {
            self.rest = rest;
            return Part::Revision(Number::counted(self.digits()));
        }
        self.rest = "";
        Part::Other(whole)
    }
}

impl<'v> Iterator for Parts<'v> {
    type Item = Part<'v>;

    fn next(&mut self) -> Option<Part<'v>> {
        (!self.is_over).then(|| self.part())
    }
}

/// Which of two versions is the earlier one. Two that apk does not tell apart are in the order of their bytes.
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    Parts::of(a).cmp(Parts::of(b)).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_order() {
        let ordered = [
            "",
            "0",
            "0.1",
            "1_alpha",
            "1_alpha1",
            "1_beta",
            "1_pre2",
            "1_rc1",
            "1_rc1-r1",
            "1",
            "1-r0",
            "1-r9",
            "1-r10",
            "1_cvs",
            "1_git20200101",
            "1_p1",
            "1a",
            "1b",
            "1.0",
            "1.01",
            "1.02",
            "1.1",
            "1.9",
            "1.9-r3",
            "1.10",
            "1.x",
            "2",
            "10",
            "99999999999999999999999",
        ];
        for (at, a) in ordered.iter().enumerate() {
            for (other, b) in ordered.iter().enumerate() {
                assert_eq!(compare(a, b), at.cmp(&other), "{a} {b}");
            }
        }
    }
}
