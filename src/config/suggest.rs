//! "Did you mean": the known word that a mistyped one is closest to.

/// The known word that `typed` was probably meant to be, if any is close enough to be worth saying.
pub(super) fn closest<'k>(typed: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    // Texts beyond any key's length are no slips of the finger, and comparing them would cost their square.
    if typed.len() > 40 {
        return None;
    }
    let typed = typed.to_ascii_lowercase().replace('-', "_");
    let candidates = known.into_iter().filter_map(|word| {
        let distance = distance(&typed, word);
        // A third of the letters wrong, or a part of the word in place of the whole (`url`, `include`).
        let near = distance * 3 <= word.len().max(3);
        let part = typed.len() >= 3 && word.split('_').any(|part| part == typed);
        (near || part).then_some((!near, distance, word))
    });
    candidates.min().map(|(_, _, word)| word)
}

/// How many letters must be added, dropped, changed or swapped with their neighbour to turn one word into the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    // Three rows of the usual table: the one being filled, the one above it, and the one above that for swaps.
    let mut two_above = vec![0; b.len() + 1];
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let change = above[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = change.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(two_above[j - 2] + 1);
            }
        }
        two_above = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_words() {
        let known =
            ["base_url", "package", "include_patterns", "exclude_patterns", "cache", "type", "token", "mirrors"];
        let table = [
            ("pacakge", Some("package")),
            ("packages", Some("package")),
            ("base-url", Some("base_url")),
            ("BASE_URL", Some("base_url")),
            ("baseurl", Some("base_url")),
            ("url", Some("base_url")),
            ("include", Some("include_patterns")),
            ("include_pattern", Some("include_patterns")),
            ("mirror", Some("mirrors")),
            ("tpye", Some("type")),
            ("colour", None),
            ("", None),
            ("x", None),
        ];
        for (typed, expected) in table {
            assert_eq!(closest(typed, known), expected, "{typed}");
        }
        assert_eq!(closest(&"a".repeat(1_000_000), known), None);
    }
}
