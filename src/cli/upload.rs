//! `artifactapi upload`: sends files to a local repository, each to where people look for it.
//!
//! Every place is known before the first byte is sent: a file whose place nobody could know stops all of it. What the server
//! took, it keeps, whatever becomes of the others; the exit code is 0 only if it took every one.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use artifactapi_formats::{Format, RepoPath};

use super::sending::{self, Destination, Job, Lines, Shown, To};
use crate::config::Settings;
use crate::store::key::RepositoryName;

/// What to send, and where to.
#[derive(Debug, clap::Args)]
pub(super) struct What {
    /// The repository; its type must be local.
    repository: RepositoryName,
    /// The files.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// The folder of the repository to put them in, / for its top. Without it, packages for rpm go to Packages, by their first
    /// letter, packages for apk need to be told (v3.22/main/x86_64), and all else goes to the top.
    #[arg(long, value_name = "FOLDER", conflicts_with = "root")]
    to: Option<String>,
    /// Without --to: the folder of the index that is to list them, such as el9/x86_64.
    #[arg(long, value_name = "FOLDER", default_value = "")]
    root: String,
    #[command(flatten)]
    server: To,
}

pub(super) fn run(settings: &Settings, what: &What) -> ExitCode {
    sending::run(upload(settings, what))
}

async fn upload(settings: &Settings, what: &What) -> Result<bool, String> {
    let server = what.server.server(settings)?;
    let to = server.destination(&what.repository).await?;
    let format = if what.to.is_some() { None } else { Some(format_of(&to)?) };
    let mut jobs = Vec::with_capacity(what.files.len());
    let mut paths = HashSet::new();
    for file in &what.files {
        let job = job(file, what, format)?;
        if !paths.insert(job.path.clone()) {
            return Err(format!("two of the files would go to {}", job.path));
        }
        jobs.push(job);
    }
    let mut shown = Shown::new(Lines::All, jobs.iter().map(|job| job.size).sum());
    sending::send_all(&server, &to, jobs, &mut shown).await;
    Ok(shown.finish())
}

/// The format of a repository, which decides where its files go.
fn format_of(to: &Destination) -> Result<&'static dyn Format, String> {
    let format = to.package.as_deref().and_then(artifactapi_formats::find);
    format.ok_or_else(|| {
        format!(
            "the server shows no repository {} of a known format to this token; if the token may write there and not read, \
             say where the files go with --to FOLDER",
            to.name
        )
    })
}

fn job(file: &Path, what: &What, format: Option<&'static dyn Format>) -> Result<Job, String> {
    let cannot = |why: &dyn std::fmt::Display| format!("{} cannot be sent: {why}", file.display());
    let about = std::fs::metadata(file).map_err(|why| cannot(&why))?;
    if about.is_dir() {
        return Err(cannot(&"it is a folder; `artifactapi import` takes those"));
    }
    if !about.is_file() {
        return Err(cannot(&"it is no file whose length is known"));
    }
    let name = file.file_name().and_then(|name| name.to_str()).ok_or_else(|| cannot(&"its name is not UTF-8"))?;
    let folder = match (&what.to, format) {
        (Some(folder), _) => folder.clone(),
        (None, format) => usual_folder(format, &what.root, name).map_err(|why| cannot(&why))?,
    };
    let path = RepoPath::join(folder.trim_matches('/'), name).map_err(|why| cannot(&why))?;
    Ok(Job { file: file.to_owned(), path, size: about.len() })
}

fn usual_folder(format: Option<&dyn Format>, root: &str, name: &str) -> Result<String, String> {
    let usual = match format.and_then(Format::publish) {
        Some(format) => format.usual_folder(name),
        None => Ok(String::new()),
    };
    let usual = usual.map_err(|example| {
        format!("nobody but you knows its folder in the repository; say it, as in --to {example}")
    })?;
    Ok(format!("{}/{usual}", root.trim_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_folders() {
        let table = [
            ("rpm", "el9/x86_64", "Hello-1.0-1.x86_64.rpm", Ok("el9/x86_64/Packages/h")),
            ("rpm", "", "hello-1.0-1.x86_64.rpm", Ok("/Packages/h")),
            ("rpm", "el9", "comps.xml", Ok("el9/repodata")),
            ("rpm", "/el9/", "RPM-GPG-KEY-ci", Ok("el9/")),
            ("generic", "", "tool.tar.gz", Ok("/")),
            ("alpine", "", "ci@example.org.rsa.pub", Ok("/")),
            ("alpine", "", "hello-1.0-r0.apk", Err("--to v3.22/main/x86_64")),
        ];
        for (format, root, name, folder) in table {
            match (usual_folder(artifactapi_formats::find(format), root, name), folder) {
                (Ok(found), Ok(folder)) => assert_eq!(found, folder, "{name}"),
                (Err(why), Err(part)) => assert!(why.contains(part), "{why}"),
                (found, _) => panic!("{format} {name}: {found:?}"),
            }
        }
    }
}
