//! The query of a management request, taken strictly: what is not known, given twice or out of bounds is refused by name.

use std::borrow::Cow;
use std::collections::BTreeMap;

use artifactapi_formats::RepoPath;

use super::cursor;
use crate::engine::generations::When;
use crate::http::error::Problem;

/// The most rows of one page.
pub(super) const MAX_LIMIT: u32 = 1_000;

/// Rows of a page unless it is said how many.
const DEFAULT_LIMIT: u32 = 100;

/// The longest value taken, in bytes: a place in a list is longer than anything that people write.
const LONGEST: usize = cursor::LONGEST;

/// A query's values by name.
#[derive(Debug)]
pub(super) struct Asked<'q>(BTreeMap<Cow<'q, str>, Cow<'q, str>>);

impl<'q> Asked<'q> {
    /// Reads a query in which only `known` names may occur.
    pub(super) fn parse(query: Option<&'q str>, known: &[&str]) -> Result<Self, Problem> {
        let mut asked = BTreeMap::new();
        for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            if !known.contains(&&*name) {
                let known = known.join(", ");
                return Err(Problem::unprocessable(format!("{name:?} is not known here; there are {known}.")));
            }
            if value.len() > LONGEST || value.contains('\0') {
                return Err(Problem::unprocessable(format!("{name} is longer than {LONGEST} bytes or holds a NUL.")));
            }
            if asked.insert(name.clone(), value).is_some() {
                return Err(Problem::unprocessable(format!("{name} is given twice.")));
            }
        }
        Ok(Self(asked))
    }

    /// A value; an empty one counts as none.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| &**value).filter(|value| !value.is_empty())
    }

    /// How many rows are wanted.
    pub(super) fn limit(&self) -> Result<u32, Problem> {
        match self.text("limit").map(str::parse) {
            None => Ok(DEFAULT_LIMIT),
            Some(Ok(limit @ 1..=MAX_LIMIT)) => Ok(limit),
            Some(_) => Err(Problem::unprocessable(format!("limit must be a number from 1 to {MAX_LIMIT}."))),
        }
    }

    /// A number that an earlier page gave.
    pub(super) fn number(&self, name: &str) -> Result<Option<i64>, Problem> {
        let wrong = || Problem::unprocessable(format!("{name} must be a number, as an earlier page gave it."));
        self.text(name).map(|text| text.parse().map_err(|_| wrong())).transpose()
    }

    /// What paths may begin with.
    pub(super) fn prefix(&self, name: &str) -> Result<&str, Problem> {
        let prefix = self.text(name).unwrap_or_default();
        if prefix.len() > RepoPath::MAX_BYTES {
            let most = RepoPath::MAX_BYTES;
            return Err(Problem::unprocessable(format!("{name} is longer than any path, {most} bytes.")));
        }
        Ok(prefix)
    }

    /// A place in a list, as an earlier page gave it.
    pub(super) fn place(&self, name: &str) -> Result<Option<(String, String)>, Problem> {
        let wrong = || Problem::unprocessable(format!("{name} is not from the next link of an earlier page."));
        self.text(name).map(|word| cursor::decode(word).ok_or_else(wrong)).transpose()
    }

    /// A path below a repository.
    pub(super) fn path(&self, name: &str) -> Result<Option<RepoPath>, Problem> {
        let path =
            |text| RepoPath::new(text).map_err(|why| Problem::unprocessable(format!("{name} is no path: {why}.")));
        self.text(name).map(path).transpose()
    }

    /// A generation.
    pub(super) fn when(&self, name: &str) -> Result<Option<When>, Problem> {
        self.text(name)
            .map(|text| {
                text.parse().map_err(|why| Problem::unprocessable(format!("{name} is {text:?}, which is {why}.")))
            })
            .transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_taken_strictly() {
        let known = ["limit", "name"];
        let asked = Asked::parse(Some("limit=7&name=a%2Bb"), &known).expect("a query");
        assert_eq!((asked.limit().ok(), asked.text("name")), (Some(7), Some("a+b")));
        for (bad, why) in [
            ("colour=red", "is not known here; there are limit, name."),
            ("limit=1&limit=2", "limit is given twice"),
            ("name=%00", "name is longer than"),
        ] {
            let problem = format!("{:?}", Asked::parse(Some(bad), &known).expect_err(bad));
            assert!(problem.contains("422") && problem.contains(why), "{bad}: {problem}");
        }
        for bad in ["limit=0", "limit=1001", "limit=x"] {
            assert!(Asked::parse(Some(bad), &known).expect("a query").limit().is_err(), "{bad}");
        }
    }

    #[test]
    fn places_and_beginnings() {
        let known = ["prefix", "after"];
        let asked = Asked::parse(Some("prefix=a%2Fb&after=YQA"), &known).expect("a query");
        assert_eq!(asked.prefix("prefix").ok(), Some("a/b"));
        assert_eq!(asked.place("after").ok(), Some(Some(("a".to_owned(), String::new()))));
        let nothing = Asked::parse(None, &known).expect("a query");
        assert_eq!((nothing.prefix("prefix").ok(), nothing.place("after").ok()), (Some(""), Some(None)));
        let long = format!("prefix={}&after=x", "a".repeat(RepoPath::MAX_BYTES + 1));
        let long = Asked::parse(Some(&long), &known).expect("a query");
        assert!(long.prefix("prefix").is_err() && long.place("after").is_err());
    }
}
