//! Reading environment variables: the readers behind [`Settings::from_env`].
//!
//! A variable that is set to nothing counts as not set, because that is what a manifest with a blank in it means.
//! Control characters are refused: a line feed at the end of a password is what `echo secret | base64` leaves behind, and
//! finding it later costs an afternoon. Messages repeat a value only where it cannot be a secret.

use super::problem::Problem;
use super::secret::Secret;
use super::suggest::closest;

#[cfg(doc)]
use super::settings::Settings;

/// The environment of this process. The only place in the project that reads it.
///
/// What is no UTF-8 is handed on with replacement characters; nothing that we read may hold such.
#[must_use]
pub fn process_environment(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

/// The names of this process's variables that are ours to know.
fn process_names() -> impl Iterator<Item = String> {
    std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()).filter(|name| name.starts_with(OURS))
}

/// How the names of our own variables begin.
const OURS: &str = "ARTIFACTAPI_";

/// All of them.
pub(super) const KNOWN: &[&str] = &[
    "ARTIFACTAPI_LISTEN",
    "ARTIFACTAPI_CONFIG",
    "ARTIFACTAPI_DATA_DIR",
    "ARTIFACTAPI_ADMIN_TOKEN",
    "ARTIFACTAPI_TOKEN",
    "ARTIFACTAPI_TRUSTED_PROXIES",
    "ARTIFACTAPI_MAX_BYTES",
    "ARTIFACTAPI_HOT_TIER_BYTES",
    "ARTIFACTAPI_MEMORY_CACHE_BYTES",
    "ARTIFACTAPI_SHUTDOWN_GRACE",
    "ARTIFACTAPI_LOG_FORMAT",
];

/// How those begin that others set: Kubernetes for a Service of our name, our own Makefile and compose file, and our tests.
const OF_OTHERS: &[&str] = &[
    "ARTIFACTAPI_SERVICE_",
    "ARTIFACTAPI_PORT",
    "ARTIFACTAPI_PUBLISH",
    "ARTIFACTAPI_TESTBED",
    "ARTIFACTAPI_CORPUS",
    "ARTIFACTAPI_FLIP_",
];

/// What to say about variables of this process that are named as ours are, and that nothing reads: `configuration` is the text of
/// the file, which may name some.
#[must_use]
pub fn unknown_variables(configuration: &str) -> Vec<String> {
    unknown_among(process_names(), configuration)
}

fn unknown_among(names: impl Iterator<Item = String>, configuration: &str) -> Vec<String> {
    let mut unknown: Vec<_> = names
        .filter(|name| !KNOWN.contains(&name.as_str()) && !OF_OTHERS.iter().any(|start| name.starts_with(start)))
        .filter(|name| !configuration.contains(name.as_str()))
        .collect();
    unknown.sort();
    let known = || KNOWN.iter().filter_map(|known| known.strip_prefix(OURS));
    let words: Vec<(String, &str)> = known().map(|word| (word.to_ascii_lowercase(), word)).collect();
    let remark = |name: &String| {
        let typed = name.strip_prefix(OURS).unwrap_or(name);
        let near = closest(typed, words.iter().map(|(lower, _)| lower.as_str()));
        let near = near.and_then(|near| words.iter().find(|(lower, _)| lower == near));
        let hint = near.map_or_else(
            || "docs/configuration.md lists those there are".to_owned(),
            |(_, word)| format!("did you mean {OURS}{word}?"),
        );
        format!("{name} is set, and nothing reads it; {hint}")
    };
    unknown.iter().map(remark).collect()
}

/// The variables, and what has been found to be wrong with them.
pub(super) struct Variables<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    pub(super) problems: Vec<Problem>,
}

/// Why there are no settings: everything that is wrong with the environment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct SettingsError(pub Vec<Problem>);

impl<'a> Variables<'a> {
    pub(super) const fn new(lookup: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { lookup, problems: Vec::new() }
    }

    /// Notes what is wrong with a variable.
    pub(super) fn refuse(&mut self, name: &str, text: impl Into<String>) {
        self.problems.push(Problem::new(None, name, text));
    }

    /// Whether the variable is set, be it to nothing.
    pub(super) fn is_set(&self, name: &str) -> bool {
        (self.lookup)(name).is_some()
    }

    /// The variable; `None` when it is not set, set to nothing or refused.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        let value = (self.lookup)(name).filter(|value| !value.is_empty())?;
        if value.contains(char::is_control) {
            self.refuse(name, "holds a control character, perhaps a line feed at its end; take it out");
            return None;
        }
        Some(value)
    }

    /// The variable as a secret.
    pub(super) fn secret(&mut self, name: &str) -> Option<Secret> {
        self.text(name).and_then(Secret::new)
    }

    /// The variable as whatever `parse` makes of it. Its error continues a sentence that begins with the value.
    pub(super) fn parsed<T, E: ToString>(&mut self, name: &str, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        let value = self.text(name)?;
        match parse(&value) {
            Ok(parsed) => Some(parsed),
            Err(why) => {
                self.refuse(name, format!("{value:?} {}", why.to_string()));
                None
            }
        }
    }

    /// A variable that `because` of another one must be set.
    pub(super) fn needed(&mut self, name: &str, because: &str) -> Option<String> {
        if (self.lookup)(name).is_none_or(|value| value.is_empty()) {
            self.refuse(name, format!("missing; {because} is set, so this must be too"));
        }
        self.text(name)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::config::Settings;

    #[test]
    fn names_that_nothing_reads_are_remarked_on() {
        let names = [
            "ARTIFACTAPI_LISTEN",
            "ARTIFACTAPI_DATADIR",
            "ARTIFACTAPI_WORKERS",
            "ARTIFACTAPI_SERVICE_PORT_8000_TCP",
            "ARTIFACTAPI_UPSTREAM_PASSWORD",
        ];
        let file = "password_env: ARTIFACTAPI_UPSTREAM_PASSWORD";
        assert_eq!(
            unknown_among(names.into_iter().map(str::to_owned), file),
            [
                "ARTIFACTAPI_DATADIR is set, and nothing reads it; did you mean ARTIFACTAPI_DATA_DIR?",
                "ARTIFACTAPI_WORKERS is set, and nothing reads it; docs/configuration.md lists those there are",
            ]
        );
    }

    #[test]
    fn what_is_read_is_known() {
        let read = RefCell::new(Vec::new());
        let lookup = |name: &str| {
            if name.starts_with(OURS) && !read.borrow().iter().any(|known| known == name) {
                read.borrow_mut().push(name.to_owned());
            }
            None
        };
        Settings::from_env(&lookup).expect("nothing is set");
        assert_eq!(read.into_inner(), KNOWN);
    }
}
