//! Reading environment variables: the readers behind [`Settings::from_env`].
//!
//! A variable that is set to nothing counts as not set, because that is what a manifest with a blank in it means.
//! Control characters are refused: a line feed at the end of a password is what `echo secret | base64` leaves behind, and
//! finding it later costs an afternoon. Messages repeat a value only where it cannot be a secret.

use super::problem::Problem;
use super::secret::Secret;

#[cfg(doc)]
use super::settings::Settings;

/// The environment of this process. The only place in the project that reads it.
///
/// What is no UTF-8 is handed on with replacement characters; nothing that we read may hold such.
#[must_use]
pub fn process_environment(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
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
