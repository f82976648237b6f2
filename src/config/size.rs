//! Numbers of bytes as people write them: `67108864`, `64 MiB`, `10GB`.
//!
//! Both families of units are taken, each with its own meaning (`MiB` = 1,048,576, `MB` = 1,000,000), and so are the
//! short `Ki`, `Mi` and `Gi` that Kubernetes manifests use. A lone `M` or `G` means one thing to some people and another
//! to others; it is refused.

/// Units with their size in bytes.
const UNITS: &[(&str, u64)] = &[
    ("", 1),
    ("B", 1),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
];

/// Why a text is no number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSize {
    /// No number, or a unit that is not in the table.
    #[error(r#"is not a number of bytes; write it as 1048576, "64MiB" or "10GiB""#)]
    Malformed,
    /// More bytes than 64 bits count.
    #[error("is more bytes than there can be")]
    TooBig,
    /// A budget of nothing.
    #[error("would keep nothing; leave it out to set no bound")]
    Nothing,
}

/// Reads `1048576`, `64MiB` or `10 GB`.
///
/// # Errors
/// [`InvalidSize`]; its text continues a sentence that begins with the value.
pub fn parse(text: &str) -> Result<u64, InvalidSize> {
    let digits = text.bytes().position(|b| !b.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err(InvalidSize::Malformed);
    }
    let unit = unit.strip_prefix(' ').unwrap_or(unit);
    let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit).ok_or(InvalidSize::Malformed)?;
    let number: u64 = number.parse().map_err(|_| InvalidSize::TooBig)?;
    number.checked_mul(*factor).ok_or(InvalidSize::TooBig)
}

/// Takes a number of bytes for a budget.
///
/// # Errors
/// [`InvalidSize::Nothing`] if it is zero, which some would write for "none" and others for "no bound".
pub fn budget(bytes: u64) -> Result<u64, InvalidSize> {
    if bytes == 0 { Err(InvalidSize::Nothing) } else { Ok(bytes) }
}

/// Reads a budget: as [`parse`], but not zero.
///
/// # Errors
/// [`InvalidSize`].
pub fn parse_budget(text: &str) -> Result<u64, InvalidSize> {
    parse(text).and_then(budget)
}

/// A number of bytes for people: `950 B`, `1.5 MiB`.
#[must_use]
pub fn written(bytes: u64) -> String {
    const LARGE: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match LARGE.iter().find(|(_, unit)| bytes >= *unit) {
        None => format!("{bytes} B"),
        // A tenth is cut, not rounded: 1023.99 KiB are no MiB.
        Some((name, unit)) => format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn for_people() {
        let table = [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_536, "1.5 KiB"),
            ((1 << 20) - 1, "1023.9 KiB"),
            (10 << 30, "10.0 GiB"),
            (u64::MAX, "16777215.9 TiB"),
        ];
        for (bytes, expected) in table {
            assert_eq!(written(bytes), expected);
        }
    }

    #[test]
    fn a_budget_is_not_nothing() {
        assert_eq!(parse_budget("0"), Err(InvalidSize::Nothing));
        assert_eq!(parse_budget("0MB"), Err(InvalidSize::Nothing));
        assert_eq!(parse_budget("100MB"), Ok(100_000_000));
    }

    #[test]
    fn sizes() {
        let table = [
            ("0", Ok(0)),
            ("1048576", Ok(1 << 20)),
            ("64MiB", Ok(64 << 20)),
            ("64 MiB", Ok(64 << 20)),
            ("10Gi", Ok(10 << 30)),
            ("10GB", Ok(10_000_000_000)),
            ("5B", Ok(5)),
            ("", Err(InvalidSize::Malformed)),
            ("MiB", Err(InvalidSize::Malformed)),
            ("10G", Err(InvalidSize::Malformed)),
            ("10gib", Err(InvalidSize::Malformed)),
            ("-1", Err(InvalidSize::Malformed)),
            ("1.5GiB", Err(InvalidSize::Malformed)),
            ("99999999999999999999", Err(InvalidSize::TooBig)),
            ("99999999TiB", Err(InvalidSize::TooBig)),
        ];
        for (text, expected) in table {
            assert_eq!(parse(text), expected, "{text}");
        }
    }
}
