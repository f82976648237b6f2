//! `artifactapi prefetch`: has the server on this machine fetch packages now, and shows how far it is.
//!
//! The server holds the data folder, the fills that clients share and the leases, so it does the work: this asks it by
//! `POST /cache-artifact` and prints what comes back line by line. When this ends, the server begins no more files.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;
use serde_json::json;

use super::health::reachable;
use super::sending::token_on_this_machine;
use crate::config::{Secret, Settings};

/// How long a connection may take to stand.
const CONNECT: Duration = Duration::from_secs(3);

/// The longest silence: the server says how far it is every 15 seconds.
const SILENCE: Duration = Duration::from_secs(60);

/// What to fetch.
#[derive(Debug, clap::Args)]
pub(super) struct What {
    /// The repository.
    repository: String,
    /// Only paths that this regular expression matches from their start.
    #[arg(long, value_name = "RE")]
    include: Option<String>,
    /// Only packages of this index root: its entry file, or the folder it describes. Without it, of every root that is held.
    #[arg(long, value_name = "R")]
    root: Option<String>,
    /// Say what would be fetched, and fetch nothing but indexes.
    #[arg(long)]
    dry_run: bool,
}

/// A line of the server's answer, as far as it is shown.
#[derive(Debug, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Line {
    Item { path: String, result: String, bytes: u64, reason: Option<String> },
    Trouble { path: String, reason: String },
    Progress {},
    Summary { complete: bool, matched: u64, cached: u64, already: u64, would_cache: u64, refused: u64, failed: u64 },
}

/// An answer that is no stream of lines.
#[derive(Debug, Deserialize)]
struct Refusal {
    detail: String,
}

pub(super) fn run(settings: &Settings, what: &What) -> ExitCode {
    match ask(reachable(settings.listen), token_on_this_machine(settings).as_ref(), what) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("artifactapi: {why}");
            ExitCode::FAILURE
        }
    }
}

/// `true` when everything that matched is held now.
fn ask(address: SocketAddr, token: Option<&Secret>, what: &What) -> Result<bool, String> {
    let no_server = |error| {
        format!("no server answers on {address} (ARTIFACTAPI_LISTEN): {error}; `prefetch` asks a server that runs")
    };
    let mut stream = TcpStream::connect_timeout(&address, CONNECT).map_err(no_server)?;
    let body = json!({
        "remote": what.repository,
        "include_pattern": what.include,
        "path": what.root,
        "dry_run": what.dry_run,
    })
    .to_string();
    // In HTTP/1.0 an answer ends with its connection, so its lines come as they were written.
    let token = token.map(Secret::expose).filter(|token| token.bytes().all(|byte| byte.is_ascii_graphic()));
    let authorization = token.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
    let request = format!(
        "POST /cache-artifact HTTP/1.0\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Accept: application/x-ndjson\r\n{authorization}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let sent = stream.set_read_timeout(Some(SILENCE)).and_then(|()| stream.write_all(request.as_bytes()));
    sent.map_err(no_server)?;
    let mut lines = BufReader::new(stream).lines();
    let mut next = || lines.next().transpose().map_err(|error| format!("the server's answer broke off: {error}"));
    let status = next()?.unwrap_or_default();
    while next()?.is_some_and(|header| !header.is_empty()) {}
    if status.split(' ').nth(1) != Some("200") {
        let said = next()?.unwrap_or_default();
        let refusal = serde_json::from_str::<Refusal>(&said).map_or(said, |refusal| refusal.detail);
        return Err(format!("the server refuses: {refusal}"));
    }
    let mut shown = Shown::new();
    while let Some(line) = next()? {
        let line =
            serde_json::from_str(&line).map_err(|_| format!("the server says what is not understood: {line}"))?;
        if let Some(is_whole) = shown.take(line) {
            return Ok(is_whole);
        }
    }
    Err("the server's answer ended before its summary".to_owned())
}

/// What is on the screen: a bar on a terminal, else a line for each file.
struct Shown {
    bar: ProgressBar,
    files: u64,
    bytes: u64,
}

impl Shown {
    fn new() -> Self {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {pos} files, {msg}") {
            bar.set_style(style);
        }
        Self { bar, files: 0, bytes: 0 }
    }

    /// Shows a line; the last one says whether everything is held.
    fn take(&mut self, line: Line) -> Option<bool> {
        match line {
            Line::Item { path, result, bytes, reason } => {
                self.files += 1;
                self.bytes += if result == "cached" { bytes } else { 0 };
                self.bar.set_position(self.files);
                self.bar.set_message(format!("{} fetched, {path}", indicatif::BinaryBytes(self.bytes)));
                let said = reason.map_or_else(String::new, |reason| format!(": {reason}"));
                // On a terminal the bar moves; only what went wrong is worth a line that stays.
                if self.bar.is_hidden() || !matches!(&*result, "cached" | "already" | "refused") {
                    self.say(&format!("{result} {path}{said}\n"));
                }
            }
            Line::Trouble { path, reason } => self.say(&format!("not looked through: {path:?}: {reason}\n")),
            Line::Progress {} => self.bar.tick(),
            Line::Summary { complete, matched, cached, already, would_cache, refused, failed } => {
                self.bar.finish_and_clear();
                let would = if would_cache > 0 { format!(", {would_cache} would be fetched") } else { String::new() };
                let cut = if complete { "" } else { "; not everything could be looked through" };
                self.say(&format!(
                    "{matched} files: {cached} fetched ({}), {already} were held{would}, {refused} not admitted, {failed} \
                     failed{cut}\n",
                    indicatif::BinaryBytes(self.bytes)
                ));
                return Some(complete && failed == 0);
            }
        }
        None
    }

    fn say(&self, text: &str) {
        // A closed pipe has nobody left to tell.
        self.bar.suspend(|| drop(std::io::stdout().write_all(text.as_bytes())));
    }
}
