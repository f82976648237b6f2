//! curl.

use std::path::Path;

use crate::support::process::{Finished, clean, run};
use crate::support::testbed::tool;

/// Fetches a URL into a file, sent as it is written.
pub(crate) async fn curl(url: &str, into: &Path, arguments: &[&str]) -> Finished {
    let mut command = clean(tool("CURL"));
    command.args(["-fsS", "--globoff", "--path-as-is", "-o"]).arg(into).args(arguments).arg(url);
    run(command).await
}
