//! zckdl, the client of many ranges.

use std::path::Path;

use crate::support::process::{Finished, clean, run};
use crate::support::testbed::tool;

/// Fetches a zchunk file into a folder, taking what it can from an earlier version.
pub(crate) async fn zckdl(url: &str, earlier: &Path, folder: &Path) -> Finished {
    let mut command = clean(tool("ZCKDL"));
    command.args(["-q", "--fail-no-ranges", "-s"]).arg(earlier).arg(url).current_dir(folder);
    run(command).await
}
