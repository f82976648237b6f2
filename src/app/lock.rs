//! The lock of a data folder: two processes over one folder would delete each other's spools.

use std::fs::File;
use std::path::Path;

use super::StartError;

/// Makes the data folder, if it is not there, and locks it.
pub(super) fn take(data: &Path) -> Result<File, StartError> {
    std::fs::create_dir_all(data)
        .map_err(|error| StartError::new(&format!("the data folder {} cannot be made", data.display()), &error))?;
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
    let file = file.map_err(|error| StartError::new(&format!("{} cannot be opened", path.display()), &error))?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(_) => Ok(None),
    }
}
