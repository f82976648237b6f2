//! Range arithmetic: which bytes a `Range` header asks for (RFC 9110 section 14), as a pure function.
//!
//! zchunk clients ask for up to 256 ranges at once and need one part for each, in the asked order and uncoalesced
//! (FORMATS 3.8); 416 and a partial guess both break them, a 200 with the whole does not. So whatever is over a limit,
//! malformed or abusive is answered with the whole.

use std::ops::Range;

/// The most ranges answered in one response; more are answered with the whole.
pub const MAX_RANGES: usize = 1_024;

/// What a `Range` header means for a representation of a known size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ranges {
    /// Send the whole: no range, not bytes, malformed, or too much.
    Whole,
    /// Send these, each within the representation and not empty, in this order.
    Parts(Vec<Range<u64>>),
    /// None of them overlaps the representation: 416.
    Unsatisfiable,
}

/// One element of the header, before the size is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spec {
    From(u64, Option<u64>),
    Last(u64),
}

/// Resolves a `Range` header against a size in bytes.
#[must_use]
pub fn resolve(header: &str, size: u64) -> Ranges {
    let Some(specs) = parse(header) else {
        return Ranges::Whole;
    };
    let mut parts = Vec::with_capacity(specs.len());
    for spec in specs {
        let part = match spec {
            Spec::From(first, last) => first..last.map_or(size, |last| last.saturating_add(1).min(size)),
            Spec::Last(count) => size.saturating_sub(count)..size,
        };
        if !part.is_empty() {
            parts.push(part);
        }
    }
    if parts.is_empty() {
        return Ranges::Unsatisfiable;
    }
    // Many overlapping ranges multiply what is sent (RFC 9110 section 17.15).
    let total: u64 = parts.iter().map(|part| part.end - part.start).fold(0, u64::saturating_add);
    if parts.len() > 1 && total > size {
        return Ranges::Whole;
    }
    Ranges::Parts(parts)
}

/// The one range a header asks for as (first, last), when it asks for just one from the front.
#[must_use]
pub fn single(header: &str) -> Option<(u64, Option<u64>)> {
    match parse(header)?.as_slice() {
        [Spec::From(first, last)] => Some((*first, *last)),
        _ => None,
    }
}

fn parse(header: &str) -> Option<Vec<Spec>> {
    let (unit, list) = header.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let mut specs = Vec::new();
    for element in list.split(',').map(str::trim).filter(|element| !element.is_empty()) {
        if specs.len() == MAX_RANGES {
            return None;
        }
        let (first, last) = element.split_once('-')?;
        specs.push(match (first.trim(), last.trim()) {
            ("", count) => Spec::Last(digits(count)?),
            (first, "") => Spec::From(digits(first)?, None),
            (first, last) => {
                let (first, last) = (digits(first)?, digits(last)?);
                if last < first {
                    return None;
                }
                Spec::From(first, Some(last))
            }
        });
    }
    (!specs.is_empty()).then_some(specs)
}

fn digits(text: &str) -> Option<u64> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    // Beyond u64 is beyond any file: as good as the largest number.
    plain.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "a list of one range is what is meant")]
mod tests {
    use super::*;

    #[test]
    fn resolves() {
        use Ranges::*;
        let table: &[(&str, u64, Ranges)] = &[
            ("bytes=0-0", 10, Parts(vec![0..1])),
            ("bytes=0-99", 10, Parts(vec![0..10])),
            ("bytes=5-", 10, Parts(vec![5..10])),
            ("bytes=-3", 10, Parts(vec![7..10])),
            ("bytes=-30", 10, Parts(vec![0..10])),
            ("Bytes = 1-2 , 7-7", 10, Parts(vec![1..3, 7..8])),
            ("bytes=7-7,1-2", 10, Parts(vec![7..8, 1..3])),
            ("bytes=1-2,50-60", 10, Parts(vec![1..3])),
            ("bytes=10-", 10, Unsatisfiable),
            ("bytes=0-0", 0, Unsatisfiable),
            ("bytes=-0", 10, Unsatisfiable),
            ("bytes=10-,20-", 10, Unsatisfiable),
            ("bytes=0-18446744073709551615", 10, Parts(vec![0..10])),
            ("bytes=0-99999999999999999999999", 10, Parts(vec![0..10])),
            ("bytes=2-1", 10, Whole),
            ("bytes=a-b", 10, Whole),
            ("bytes=", 10, Whole),
            ("bytes=1", 10, Whole),
            ("bytes=+1-2", 10, Whole),
            ("items=0-1", 10, Whole),
            ("bytes=0-,0-", 10, Whole),
            ("bytes=0-9,0-0", 10, Whole),
        ];
        for (header, size, expected) in table {
            assert_eq!(&resolve(header, *size), expected, "{header} of {size}");
        }
    }

    #[test]
    fn many_ranges() {
        let of = |count: u64| {
            let list: Vec<String> = (0..count).map(|n| format!("{}-{}", n * 10, n * 10 + 4)).collect();
            resolve(&format!("bytes={}", list.join(",")), 1 << 20)
        };
        assert!(matches!(of(256), Ranges::Parts(parts) if parts.len() == 256 && parts[255] == (2550..2555)));
        assert_eq!(of(1_025), Ranges::Whole);
    }

    #[test]
    fn one_range() {
        assert_eq!(single("bytes=5-"), Some((5, None)));
        assert_eq!(single("bytes=5-9"), Some((5, Some(9))));
        assert_eq!(single("bytes=-5"), None);
        assert_eq!(single("bytes=1-2,3-4"), None);
    }
}
