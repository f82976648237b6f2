//! The order of versions, as rpm has it (`rpmvercmp`).
//!
//! A version is read as runs of digits and runs of letters, and whatever stands between is passed over. Digits compare as
//! numbers and come after letters. `~` comes before everything, even the end: a release candidate is older than its
//! release. `^` comes after the end and before everything else: a snapshot is newer than what it was taken after.

use std::cmp::Ordering;

/// Compares two versions, without epoch or release.
pub(super) fn compare(mut one: &[u8], mut other: &[u8]) -> Ordering {
    loop {
        (one, other) = (significant(one), significant(other));
        let (is_number, order) = match (one.first(), other.first()) {
            (Some(b'~'), Some(b'~')) | (Some(b'^'), Some(b'^')) => {
                (one, other) = (rest(one, 1), rest(other, 1));
                continue;
            }
            (Some(b'~'), _) => return Ordering::Less,
            (_, Some(b'~')) => return Ordering::Greater,
            (None, None) => return Ordering::Equal,
            (None, Some(_)) | (Some(b'^'), Some(_)) => return Ordering::Less,
            (Some(_), None | Some(b'^')) => return Ordering::Greater,
            (Some(first), Some(second)) => {
                (first.is_ascii_digit(), first.is_ascii_digit().cmp(&second.is_ascii_digit()))
            }
        };
        if order != Ordering::Equal {
            return order;
        }
        let (first, second) = (run(one, is_number), run(other, is_number));
        let order = if is_number { numbers(first, second) } else { first.cmp(second) };
        if order != Ordering::Equal {
            return order;
        }
        (one, other) = (rest(one, first.len()), rest(other, second.len()));
    }
}

/// From the next byte on that has a meaning.
fn significant(version: &[u8]) -> &[u8] {
    let means = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'~' | b'^');
    rest(version, version.iter().position(means).unwrap_or(version.len()))
}

/// The digits or letters that a version begins with.
fn run(version: &[u8], of_digits: bool) -> &[u8] {
    let belongs = |byte: &u8| if of_digits { byte.is_ascii_digit() } else { byte.is_ascii_alphabetic() };
    let end = version.iter().position(|byte| !belongs(byte)).unwrap_or(version.len());
    version.get(..end).unwrap_or_default()
}

/// Numbers of any length.
fn numbers(one: &[u8], other: &[u8]) -> Ordering {
    let without_zeros = |number: &[u8]| number.iter().position(|digit| *digit != b'0').unwrap_or(number.len());
    let (one, other) = (rest(one, without_zeros(one)), rest(other, without_zeros(other)));
    one.len().cmp(&other.len()).then_with(|| one.cmp(other))
}

fn rest(version: &[u8], from: usize) -> &[u8] {
    version.get(from..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order() {
        let ascending = ["1~rc1", "1~rc1^1", "1~rc2", "1", "1^git1", "1.a", "1.0", "1.0.1", "1.2", "1.10", "2"];
        for (at, one) in ascending.iter().enumerate() {
            for (other_at, other) in ascending.iter().enumerate() {
                assert_eq!(compare(one.as_bytes(), other.as_bytes()), at.cmp(&other_at), "{one} {other}");
            }
        }
        let same = [("1.0", "1_0"), ("1.0", "1.00"), ("2_0_", "2.0"), ("", "+"), ("1.02", "1..2")];
        for (one, other) in same {
            assert_eq!(compare(one.as_bytes(), other.as_bytes()), Ordering::Equal, "{one} {other}");
        }
    }
}
