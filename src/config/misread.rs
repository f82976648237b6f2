//! What to say about a text that is no YAML.
//!
//! A parser names what it could not go on with, in its own words and where it stood by then; whoever wrote the file wants to know
//! what they wrote. The slips that people really make are few, so each is told from the parser's words and the line, and answered
//! with what to write instead, at the line that has to be mended. The line itself is not repeated: it may hold a secret, or the name of a
//! repository that not everybody may know of, and whoever asks whether we are ready is told what is wrong with the file.

use super::problem::{Place, Problem};

/// The problem that a parser's message about a text comes to.
pub(super) fn problem(text: &str, place: Option<Place>, message: &str) -> Problem {
    let lines: Vec<&str> = text.lines().collect();
    let Some(place) = place else { return Problem::new(None, "", format!("not YAML: {message}")) };
    let Slip { place, hint } = slip(&lines, place, message);
    let hint = hint.map_or_else(String::new, |hint| format!("; {hint}"));
    Problem::new(Some(place), "", format!("not YAML: {message}{hint}"))
}

/// What was meant, and where it was missed.
struct Slip {
    place: Place,
    hint: Option<&'static str>,
}

fn slip(lines: &[&str], place: Place, message: &str) -> Slip {
    let here = |hint| Slip { place, hint: Some(hint) };
    if message.contains("unknown escape character") {
        return here(
            r#"in double quotes each backslash is written twice (".*\\.rpm$"), in single quotes once ('.*\.rpm$')"#,
        );
    }
    if message.contains("unknown value") {
        return here("a text that begins with * wants quotes; a pattern for all such files is '.*\\.tar\\.gz$'");
    }
    if message.contains("mapping values are not allowed") || message.contains("could not find expected ':'") {
        return colon(lines, place);
    }
    if message.contains("did not find expected key") || message.contains("did not find expected '-'") {
        return here(
            "it stands under nothing: keys that belong together begin in one column, and what is below a key further right",
        );
    }
    Slip { place, hint: None }
}

/// A colon where none can be: it is one too many in this line, or one is missing in the line before.
fn colon(lines: &[&str], place: Place) -> Slip {
    let before = line(lines, place.line).map(|line| line.chars().take(column(place)).collect::<String>());
    if before.is_some_and(|before| before.contains(": ")) {
        return Slip { place, hint: Some(r#"a text with ": " in it wants quotes"#) };
    }
    let above = (1..place.line).rev().find_map(|number| {
        let line = line(lines, number)?;
        (!line.trim().is_empty() && !line.trim_start().starts_with('#')).then_some((number, line))
    });
    let Some((number, above)) = above else { return Slip { place, hint: None } };
    let indent = above.chars().take_while(|letter| *letter == ' ').count() as u64;
    let key = above.trim_end();
    let hint = match key.find(':') {
        None => "this line has no colon: after the name of a key stands one",
        Some(at) if !key[at..].starts_with(": ") && !key.ends_with(':') => "after the colon of a key stands a blank",
        _ => "the line below is indented as if it belonged to this one, which has a value already",
    };
    Slip { place: Place::new(number, indent + 1), hint: Some(hint) }
}

fn line<'t>(lines: &[&'t str], number: u64) -> Option<&'t str> {
    lines.get(usize::try_from(number).ok()?.checked_sub(1)?).copied()
}

/// How many characters stand before the place.
fn column(place: Place) -> usize {
    usize::try_from(place.column).unwrap_or(usize::MAX).saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use crate::config::yaml::parse;

    #[test]
    fn slips_of_the_pen() {
        let table = [
            (
                "p:\n  - \".*\\.rpm$\"\n",
                "2:5: not YAML: while parsing a quoted scalar, found unknown escape character; in double quotes each backslash is written twice \
                 (\".*\\\\.rpm$\"), in single quotes once ('.*\\.rpm$')",
            ),
            (
                "p:\n  - *.tar.gz\n",
                "2:5: not YAML: reference to unknown value; a text that begins with * wants quotes; a pattern for all such \
                 files is '.*\\.tar\\.gz$'",
            ),
            (
                "r:\n  description: GitHub: releases\n",
                "2:22: not YAML: mapping values are not allowed in this context; a text with \": \" in it wants quotes",
            ),
            (
                "remotes:\n  github\n    base_url: x\n",
                "2:3: not YAML: mapping values are not allowed in this context; this line has no colon: after the name of a \
                 key stands one",
            ),
            (
                "r:\n  base_url:\"https://example.com\"\n  type: remote\n",
                "2:3: not YAML: mapping values are not allowed in this context; after the colon of a key stands a blank",
            ),
            (
                "r:\n    type: remote\n  package: rpm\n",
                "3:3: not YAML: while parsing a block mapping, did not find expected key; it stands under nothing: keys that belong together begin in one \
                 column, and what is below a key further right",
            ),
        ];
        let said: Vec<_> = table.iter().map(|(text, _)| parse(text).expect_err(text).to_string()).collect();
        assert_eq!(said, table.map(|(_, expected)| expected.to_owned()));
    }

    #[test]
    fn no_line_of_the_file_is_repeated() {
        for text in [
            "r:\n  password: planted: secret\n",
            "r:\n  token:\n    planted\n  planted\n  type: remote\n",
            "r:\n  {username: x, pasword: \"planted\\.secret\"}\n",
            "r:\n  base: \"https://planted.example.com\\.\"\n",
            "r:\n  password:\n  # from the vault\n    \"planted\\.\"\n",
        ] {
            let said = parse(text).expect_err(text).to_string();
            assert!(!said.contains("planted") && !said.contains('\n'), "{said}");
        }
    }
}
