//! The changelog of a package, for `other.xml` (FORMATS 3.4).
//!
//! The newest ten entries, oldest first. Readers keep entries by their time, so of entries of one moment the newer ones are
//! moved on by a second each, as createrepo_c does.

use super::text;
use super::xml::Xml;
use crate::Invalid;
use crate::rpm::whole_header::WholeHeader;

/// How many entries there are at most: createrepo_c's default.
const MOST: usize = 10;

const TIMES: u32 = 1080;
const AUTHORS: u32 = 1081;
const TEXTS: u32 = 1082;

/// Writes the entries.
pub(super) fn write(header: &WholeHeader, xml: &mut Xml) -> Result<(), Invalid> {
    let mut times: Vec<_> = header.numbers(TIMES)?.take(MOST).collect();
    spread(&mut times);
    let entries = times.iter().zip(header.texts(AUTHORS)?).zip(header.texts(TEXTS)?);
    // The header has the newest first.
    for ((time, author), content) in entries.collect::<Vec<_>>().into_iter().rev() {
        let attributes = [("author", &*text::of(without_trailing_spaces(author))), ("date", &*time.to_string())];
        xml.text("changelog", &attributes, &text::of(content))?;
    }
    Ok(())
}

/// Moves equal times apart: whenever one equals the one before it, that and those before it make room.
fn spread(times: &mut [u64]) {
    let said = times.to_vec();
    for (at, (before, time)) in said.iter().zip(said.iter().skip(1)).enumerate() {
        let mut taken = *time;
        let Some(earlier) = times.get_mut(..=at).filter(|_| before == time) else { continue };
        for time in earlier.iter_mut().rev() {
            if *time != taken {
                break;
            }
            taken = taken.saturating_add(1);
            *time = taken;
        }
    }
}

/// Of an author who is nothing but spaces, one stays.
fn without_trailing_spaces(author: &[u8]) -> &[u8] {
    let end = author.iter().rposition(|byte| *byte != b' ').unwrap_or(0);
    author.get(..=end).unwrap_or(author)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each line was seen of createrepo_c.
    #[test]
    fn times() {
        let table: [(&[u64], &[u64]); 4] = [
            (&[5000, 5000, 5000, 4999], &[5002, 5001, 5000, 4999]),
            (&[5001, 5000, 5000, 5000, 4999], &[5003, 5002, 5001, 5000, 4999]),
            (&[10, 20, 10, 10, 20], &[10, 20, 11, 10, 20]),
            (&[], &[]),
        ];
        for (said, spread_out) in table {
            let mut times = said.to_vec();
            spread(&mut times);
            assert_eq!(times, spread_out);
        }
    }

    #[test]
    fn authors() {
        for (author, shown) in [("a  ", "a"), (" ", " "), ("   ", " "), ("", ""), (" a b ", " a b")] {
            assert_eq!(without_trailing_spaces(author.as_bytes()), shown.as_bytes());
        }
    }
}
