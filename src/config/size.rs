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

#[cfg(test)]
mod tests {
    use super::*;

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
