//! What is on the screen while files are sent: a bar on a terminal, and a line for each file.
//!
//! A line begins with what became of the file and goes on with its path, so that scripts can read it; of a file that was not
//! taken it says why. The bar goes to standard error and the lines to standard output.

use std::borrow::Cow;
use std::io::Write as _;

use indicatif::{BinaryBytes, ProgressBar, ProgressStyle};

use super::{Job, Outcome};

/// Which files are worth a line that stays beside a bar that moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Lines {
    /// Every one.
    All,
    /// Those that were not taken. Without a terminal, every one all the same.
    Trouble,
}

/// What has been shown so far.
#[derive(Debug)]
pub(in crate::cli) struct Shown {
    bar: ProgressBar,
    lines: Lines,
    created: u64,
    replaced: u64,
    unchanged: u64,
    refused: u64,
    failed: u64,
    /// Bytes of files that were created or replaced.
    bytes: u64,
}

impl Shown {
    /// Nothing yet, of files that are so many bytes together.
    pub(in crate::cli) fn new(lines: Lines, bytes: u64) -> Self {
        let bar = ProgressBar::new(bytes);
        if let Ok(style) = ProgressStyle::with_template("{wide_bar} {bytes}/{total_bytes} {msg}") {
            bar.set_style(style);
        }
        Self { bar, lines, created: 0, replaced: 0, unchanged: 0, refused: 0, failed: 0, bytes: 0 }
    }

    /// What moves.
    pub(super) fn bar(&self) -> ProgressBar {
        self.bar.clone()
    }

    /// Shows what became of a file.
    pub(super) fn take(&mut self, job: &Job, outcome: &Outcome) {
        match outcome {
            Outcome::Created => self.taken("created", job),
            Outcome::Replaced => self.taken("replaced", job),
            Outcome::Unchanged => self.taken("unchanged", job),
            Outcome::Refused(why) => self.refused(job.path.as_str(), why),
            Outcome::Failed(why) => {
                self.failed += 1;
                self.say(&format!("failed {}: {}\n", job.path, printable(why)));
            }
        }
    }

    fn taken(&mut self, word: &str, job: &Job) {
        match word {
            "created" => self.created += 1,
            "replaced" => self.replaced += 1,
            _ => self.unchanged += 1,
        }
        self.bytes += if word == "unchanged" { 0 } else { job.size };
        self.bar.set_message(job.path.file_name().to_owned());
        if self.lines == Lines::All || self.bar.is_hidden() {
            self.say(&format!("{word} {}\n", job.path));
        }
    }

    /// Shows a file that will not be taken.
    pub(in crate::cli) fn refused(&mut self, path: &str, why: &str) {
        self.refused += 1;
        self.say(&format!("refused {}: {}\n", printable(path), printable(why)));
    }

    /// Takes the bar away; `true` when every file is there now.
    pub(in crate::cli) fn finish(&self) -> bool {
        self.bar.finish_and_clear();
        self.refused == 0 && self.failed == 0
    }

    /// What became of all files, after [`Shown::finish`].
    pub(in crate::cli) fn summary(&self) -> String {
        let Self { created, replaced, unchanged, refused, failed, bytes, .. } = self;
        let files = created + replaced + unchanged + refused + failed;
        format!(
            "{files} files: {created} created, {replaced} replaced ({}), {unchanged} unchanged, {refused} refused, \
             {failed} failed",
            BinaryBytes(*bytes)
        )
    }

    /// Writes text beside the bar.
    pub(in crate::cli) fn say(&self, text: &str) {
        // A closed pipe has nobody left to tell.
        self.bar.suspend(|| drop(std::io::stdout().write_all(text.as_bytes())));
    }
}

/// Text of somebody else's, without what a terminal would obey.
pub(in crate::cli) fn printable(text: &str) -> Cow<'_, str> {
    match text.contains(char::is_control) {
        true => text
            .chars()
            .map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c })
            .collect::<String>()
            .into(),
        false => text.into(),
    }
}
