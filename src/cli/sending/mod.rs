//! Sending files to a server, several at once: what `upload` and `import` share.
//!
//! [`server`] knows where the server is and in whose name to ask, [`mod@file`] sends one file until it is clear what became of it,
//! [`shown`] tells people. All of it may be done again at any time: a file that is there already, byte for byte, is not sent.

mod file;
mod server;
mod shown;

use std::path::PathBuf;
use std::process::ExitCode;

use artifactapi_formats::RepoPath;
use futures_util::StreamExt as _;

pub(super) use self::server::{Destination, Server, To, token_on_this_machine};
pub(super) use self::shown::{Lines, Shown, printable};

/// A file, and where it goes.
#[derive(Debug)]
pub(super) struct Job {
    /// On this machine.
    pub(super) file: PathBuf,
    /// In the repository.
    pub(super) path: RepoPath,
    /// Length in bytes.
    pub(super) size: u64,
}

/// What became of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Nothing was under its path.
    Created,
    /// It took the place of other bytes.
    Replaced,
    /// The same bytes were there.
    Unchanged,
    /// The server, or a look at the file, says no; the same again would say the same.
    Refused(String),
    /// Nobody could say; perhaps later.
    Failed(String),
}

/// Sends files, and shows what becomes of each.
pub(super) async fn send_all(server: &Server, to: &Destination, jobs: Vec<Job>, shown: &mut Shown) {
    let bar = shown.bar();
    let sending = jobs.into_iter().map(|job| {
        let bar = bar.clone();
        async move {
            let outcome = file::send(server, to, &job, &bar).await;
            (job, outcome)
        }
    });
    let mut sending = std::pin::pin!(futures_util::stream::iter(sending).buffer_unordered(server.parallel()));
    while let Some((job, outcome)) = sending.next().await {
        shown.take(&job, &outcome);
    }
}

/// Does something that talks to a server; its answer is whether all went well.
pub(super) fn run(work: impl Future<Output = Result<bool, String>>) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("artifactapi: the runtime cannot be set up: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(work) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("artifactapi: {}", printable(&why));
            ExitCode::FAILURE
        }
    }
}
