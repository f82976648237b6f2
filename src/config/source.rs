//! Where remotes.yaml is looked for, and reading it.
//!
//! `ARTIFACTAPI_CONFIG` names the file; without it the first that exists of three usual places is taken. Reading touches
//! the disk and is meant for start and for threads that may wait, never for one that serves requests.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use artifactapi_formats::Formats;

use super::document;
use super::fingerprint::{Fingerprint, folder_of};
use super::problem::{ConfigError, Place, Problem};
use super::reader::Outside;
use super::repositories::Repositories;

/// Where a file is looked for when `ARTIFACTAPI_CONFIG` does not name one: below the working directory, and where a
/// container image has it.
const USUAL: &[&str] = &["remotes.yaml", "config/remotes.yaml", "/app/remotes.yaml"];

/// Answers what an environment variable is set to; [`super::process_environment`] is the real one.
pub type Environment = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// A file that describes repositories, and what is needed to understand it. Can be read again and again.
#[derive(Clone)]
pub struct Source {
    file: PathBuf,
    formats: Formats,
    environment: Environment,
}

/// One attempt at reading a [`Source`].
pub(super) struct Attempt {
    pub(super) result: Result<Repositories, ConfigError>,
    /// What it read, whatever came of it.
    pub(super) fingerprint: Fingerprint,
}

impl Source {
    /// The file that `explicit` names, or the first of the usual places below `working_dir` that exists.
    ///
    /// # Errors
    /// [`ConfigError::NotFound`] lists the places. A file that is named is not looked for: reading it says what is wrong.
    pub fn find(
        explicit: Option<&Path>,
        working_dir: &Path,
        formats: Formats,
        environment: Environment,
    ) -> Result<Self, ConfigError> {
        let file = match explicit {
            Some(file) => working_dir.join(file),
            None => {
                let places = || USUAL.iter().map(|place| working_dir.join(place));
                places()
                    .find(|place| place.exists())
                    .ok_or_else(|| ConfigError::NotFound { looked_for: places().collect() })?
            }
        };
        Ok(Self { file, formats, environment })
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Reads the file, and the secrets that it names.
    ///
    /// # Errors
    /// [`ConfigError`], with everything that is wrong.
    pub fn load(&self) -> Result<Repositories, ConfigError> {
        self.attempt().result
    }

    pub(super) fn attempt(&self) -> Attempt {
        let mut fingerprint = Fingerprint::default();
        let result = self.read(&mut fingerprint);
        Attempt { result, fingerprint }
    }

    fn read(&self, fingerprint: &mut Fingerprint) -> Result<Repositories, ConfigError> {
        let file = || self.file.clone();
        let bytes = fingerprint.read(&self.file).map_err(|source| ConfigError::Unreadable { file: file(), source })?;
        let text = std::str::from_utf8(&bytes).map_err(|error| vec![not_utf8(&bytes, &error)]);
        let mut read_file = |named: &Path| fingerprint.read(&folder_of(&self.file).join(named));
        let mut outside = Outside { environment: &*self.environment, read_file: &mut read_file };
        text.and_then(|text| document::read(text, self.formats, &mut outside))
            .map_err(|problems| ConfigError::Invalid { file: file(), problems })
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("file", &self.file).finish_non_exhaustive()
    }
}

fn not_utf8(bytes: &[u8], error: &std::str::Utf8Error) -> Problem {
    let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
    let line = 1 + before.iter().filter(|&&b| b == b'\n').count() as u64;
    let last = before.rsplit(|&b| b == b'\n').next().unwrap_or_default();
    let column = 1 + String::from_utf8_lossy(last).chars().count() as u64;
    Problem::new(Some(Place::new(line, column)), "", "not UTF-8; save the file in that encoding")
}
