//! The lock of a data folder: two processes over one folder would delete each other's spools.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use super::StartError;

/// Makes the data folder, if it is not there, and locks it. What is in it, records and files of repositories that are not open
/// to everybody, is for the server's user alone; a folder that is there stays as its owner made it.
pub(super) fn take(data: &Path) -> Result<File, StartError> {
    DirBuilder::new().recursive(true).mode(0o700).create(data).map_err(|error| {
        let doing = format!("the data folder {} cannot be made", data.display());
        StartError::new(&format!("{doing}{}", whose(&error)), &error)
    })?;
    take_if_free(data)?.ok_or_else(|| {
        StartError(format!(
            "another artifactapi uses the data folder {}; give each its own ARTIFACTAPI_DATA_DIR",
            data.display()
        ))
    })
}

/// The lock, unless another process has it.
pub(super) fn take_if_free(data: &Path) -> Result<Option<File>, StartError> {
    let path = data.join("lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file
        .map_err(|error| StartError::new(&format!("{} cannot be opened{}", path.display(), whose(&error)), &error))?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(_) => Ok(None),
    }
}

/// Who has to be able to write there, if that is what is wrong.
fn whose(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            let user = rustix::process::geteuid().as_raw();
            format!(" (ARTIFACTAPI_DATA_DIR; uid {user} must be able to write there)")
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_new_data_folder_is_for_its_owner_alone_and_one_that_is_there_stays_as_it_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let mode = |path: &Path| std::fs::metadata(path).expect("a folder").permissions().mode() & 0o777;
        let data = folder.path().join("data");
        take(&data).expect("locked");
        assert_eq!(mode(&data), 0o700);
        std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o750)).expect("changed");
        take(&data).expect("locked");
        assert_eq!(mode(&data), 0o750);
    }

    #[test]
    fn who_must_be_able_to_write_is_said() {
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        assert!(whose(&denied).contains("ARTIFACTAPI_DATA_DIR; uid "));
        assert_eq!(whose(&io::ErrorKind::NotADirectory.into()), "");
    }
}
