//! `artifactapi import`: sends a whole repository, as it lies in a folder, to a local one.
//!
//! Files keep their paths. What an index is made of is left out, for the server writes its own; what an index only carries
//! (comps, updateinfo, modules, productid) goes along. It may be broken off and begun again as often as need be: what is there
//! already is looked at and not sent.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use artifactapi_formats::{Format, RepoPath, Role};
use indicatif::BinaryBytes;

use super::sending::{self, Job, Lines, Shown, To};
use crate::config::Settings;
use crate::store::key::RepositoryName;

/// What to send, and where to.
#[derive(Debug, clap::Args)]
pub(super) struct What {
    /// The repository; its type must be local.
    repository: RepositoryName,
    /// The folder on this machine that holds the existing repository.
    folder: PathBuf,
    /// The folder of the repository that it becomes; without it, its top.
    #[arg(long, value_name = "FOLDER", default_value = "")]
    to: String,
    /// The repository's format, where the token may write and not read: generic, alpine or rpm.
    #[arg(long, value_name = "FORMAT")]
    package: Option<String>,
    /// Say what would be sent, and send nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    server: To,
}

/// What a folder holds.
#[derive(Debug, Default)]
struct Tree {
    jobs: Vec<Job>,
    /// Files of indexes.
    left_out: u64,
    /// What cannot be sent, and why.
    refused: Vec<(String, String)>,
}

pub(super) fn run(settings: &Settings, what: &What) -> ExitCode {
    sending::run(import(settings, what))
}

async fn import(settings: &Settings, what: &What) -> Result<bool, String> {
    let server = what.server.server(settings)?;
    let to = server.destination(&what.repository).await?;
    let told = what.package.as_ref().or(to.package.as_ref()).ok_or_else(|| {
        format!(
            "the server shows no repository {} to this token; if the token may write there and not read, say its format \
             with --package",
            to.name
        )
    })?;
    let format = artifactapi_formats::find(told).ok_or_else(|| format!("the format {told:?} is not known here"))?;
    let (folder, below) = (what.folder.clone(), what.to.trim_matches('/').to_owned());
    let tree = tokio::task::spawn_blocking(move || Tree::of(&folder, &below, format)).await;
    let tree = tree.map_err(|error| format!("the folder cannot be looked through: {error}"))??;

    let bytes = tree.jobs.iter().map(|job| job.size).sum();
    let mut shown = Shown::new(Lines::Trouble, if what.dry_run { 0 } else { bytes });
    for (path, why) in &tree.refused {
        shown.refused(path, why);
    }
    let left_out = format!("{} files of indexes left out", tree.left_out);
    if what.dry_run {
        let all = shown.finish();
        for job in &tree.jobs {
            shown.say(&format!("would send {}\n", job.path));
        }
        let (files, refused) = (tree.jobs.len(), tree.refused.len());
        shown.say(&format!(
            "{files} files ({}) would be sent, {refused} could not be; {left_out}\n",
            BinaryBytes(bytes)
        ));
        return Ok(all);
    }
    sending::send_all(&server, &to, tree.jobs, &mut shown).await;
    let all = shown.finish();
    shown.say(&format!("{}; {left_out}\n", shown.summary()));
    Ok(all)
}

impl Tree {
    /// Looks through a folder; its files are to lie below `below`.
    fn of(folder: &Path, below: &str, format: &dyn Format) -> Result<Self, String> {
        let mut tree = Self::default();
        let cannot = |error: std::io::Error| format!("{} cannot be looked through: {error}", folder.display());
        let mut folders = vec![(folder.to_owned(), below.to_owned())];
        let mut is_top = true;
        while let Some((folder, below)) = folders.pop() {
            match std::fs::read_dir(&folder).and_then(Iterator::collect::<Result<Vec<_>, _>>) {
                Ok(entries) => {
                    for entry in entries {
                        tree.take(&entry, &below, format, &mut folders);
                    }
                }
                Err(error) if is_top => return Err(cannot(error)),
                Err(error) => tree.refused.push((below, format!("it cannot be looked through: {error}"))),
            }
            is_top = false;
        }
        tree.jobs.sort_by(|a, b| a.path.cmp(&b.path));
        tree.refused.sort();
        Ok(tree)
    }

    fn take(
        &mut self,
        entry: &std::fs::DirEntry,
        below: &str,
        format: &dyn Format,
        folders: &mut Vec<(PathBuf, String)>,
    ) {
        let name = entry.file_name();
        let shown = format!("{below}/{}", name.to_string_lossy()).trim_start_matches('/').to_owned();
        let mut refuse = |why: String| self.refused.push((shown.clone(), why));
        let path = name.to_str().ok_or("its name is not UTF-8".to_owned());
        let path = match path.and_then(|name| RepoPath::join(below, name).map_err(|why| why.to_string())) {
            Ok(path) => path,
            Err(why) => return refuse(why),
        };
        // A link to a file stands for the file, as mirrors use them; one to a folder may lead round in a circle.
        let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
        match std::fs::metadata(entry.path()) {
            Err(error) => refuse(format!("it cannot be read: {error}")),
            Ok(about) if about.is_dir() && is_link => {
                refuse("it is a link to a folder; import that folder with --to".to_owned());
            }
            Ok(about) if about.is_dir() => folders.push((entry.path(), path.as_str().to_owned())),
            Ok(about) if !about.is_file() => refuse("it is neither a file nor a folder".to_owned()),
            Ok(_) if !goes_along(format, &path) => self.left_out += 1,
            Ok(about) => self.jobs.push(Job { file: entry.path(), path, size: about.len() }),
        }
    }
}

/// Whether a file is content, and not what somebody made of the content.
fn goes_along(format: &dyn Format, path: &RepoPath) -> bool {
    match format.classify(path) {
        Role::Package | Role::File => true,
        Role::Index | Role::IndexCompanion | Role::IndexMember => {
            format.publish().is_some_and(|publish| publish.carried_kind(path).is_some())
        }
        Role::Listing => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_goes_along_and_indexes_do_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = [
            "Packages/a/a-1-1.noarch.rpm",
            "RPM-GPG-KEY-ci",
            "images/boot.iso",
            "index.html",
            ".treeinfo",
            "repodata/repomd.xml",
            "repodata/repomd.xml.asc",
            "repodata/primary.xml.gz",
            "repodata/comps.xml",
            "repodata/updateinfo.xml.gz",
        ];
        for file in files {
            let file = folder.path().join(file);
            std::fs::create_dir_all(file.parent().expect("a folder")).expect("made");
            std::fs::write(file, "12345").expect("written");
        }
        std::os::unix::fs::symlink(".", folder.path().join("round")).expect("a link");
        std::os::unix::fs::symlink("RPM-GPG-KEY-ci", folder.path().join("KEY")).expect("a link");
        std::fs::write(folder.path().join("a\\b"), "").expect("written");
        let rpm = artifactapi_formats::find("rpm").expect("known");
        let tree = Tree::of(folder.path(), "el9", rpm).expect("readable");
        let paths: Vec<_> = tree.jobs.iter().map(|job| job.path.as_str()).collect();
        let expected = [
            "el9/KEY",
            "el9/Packages/a/a-1-1.noarch.rpm",
            "el9/RPM-GPG-KEY-ci",
            "el9/images/boot.iso",
            "el9/repodata/comps.xml",
            "el9/repodata/updateinfo.xml.gz",
        ];
        assert_eq!(paths, expected);
        assert_eq!((tree.left_out, tree.jobs.iter().all(|job| job.size == 5)), (5, true));
        let refused: Vec<_> = tree.refused.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(refused, ["el9/a\\b", "el9/round"]);
        assert!(Tree::of(&folder.path().join("nothing"), "", rpm).is_err());
    }
}
