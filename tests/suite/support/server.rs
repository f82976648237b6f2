//! The real server, as a process.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};

use super::http::{self, Reply, Request};
use super::process::{self, Finished, Lines, Process, Signal};
use super::run::{Port, Run, write};
use super::{until, within};

/// The administrator's token of every server that is not told another.
pub(crate) const ADMINISTRATOR: &str = "the-administrators-token-of-tests";

/// How a server is to be run.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Its folder below the run's.
    pub(crate) folder: PathBuf,
    pub(crate) environment: BTreeMap<String, String>,
    /// A program (with arguments) that starts it, such as one that limits its disk.
    pub(crate) wrapper: Vec<String>,
}

impl Plan {
    pub(crate) fn new(run: &Run, name: &str) -> Self {
        let folder = run.folder(name);
        let mut plan = Self { folder, environment: BTreeMap::new(), wrapper: Vec::new() };
        plan.set("ARTIFACTAPI_LISTEN", "127.0.0.1:0");
        plan.set("ARTIFACTAPI_DATA_DIR", plan.data().display().to_string());
        plan.set("ARTIFACTAPI_CONFIG", plan.config().display().to_string());
        plan.set("ARTIFACTAPI_LOG_FORMAT", "json");
        plan.set("ARTIFACTAPI_ADMIN_TOKEN", ADMINISTRATOR);
        plan.set("RUST_LOG", "info,artifactapi=debug");
        plan
    }

    pub(crate) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.environment.insert(name.to_owned(), value.into());
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.folder.join("remotes.yaml")
    }

    /// Writes remotes.yaml, in place of the one that is there.
    pub(crate) fn configure(&self, yaml: &str) {
        let new = write(&self.folder.join("remotes.new"), yaml);
        std::fs::rename(new, self.config()).expect("a new remotes.yaml");
    }

    /// The command, with further arguments.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let binary = binary();
        let mut command = match self.wrapper.split_first() {
            Some((wrapper, rest)) => {
                let mut command = process::clean(wrapper);
                command.args(rest).arg(&binary);
                command
            }
            None => process::clean(&binary),
        };
        command.envs(&self.environment).args(arguments).current_dir(&self.folder);
        command
    }

    /// Runs it to its end: for servers that must not start, and for other subcommands.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Finished {
        process::run(self.command(arguments)).await
    }
}

/// The binary under test: the one that was built with these tests, unless the environment names another.
pub(crate) fn binary() -> PathBuf {
    std::env::var_os("ARTIFACTAPI_BINARY").map_or_else(|| env!("CARGO_BIN_EXE_artifactapi").into(), Into::into)
}

/// A running server. A panic in its log fails the test when it is dropped.
pub(crate) struct Server {
    pub(crate) plan: Plan,
    process: Process,
    address: SocketAddr,
    /// Kept so that a restart listens where clients expect it.
    _port: Port,
    earlier: Vec<String>,
}

impl Server {
    /// Starts it and waits until it listens.
    pub(crate) async fn start(mut plan: Plan) -> Self {
        let port = Port::reserve();
        plan.set("ARTIFACTAPI_LISTEN", port.address().to_string());
        let (process, address) = launch(&plan).await;
        assert_eq!(address, port.address());
        Self { plan, process, address, _port: port, earlier: Vec::new() }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn lines(&self) -> &Lines {
        self.process.lines()
    }

    /// Asks for `/api/{below}`.
    pub(crate) async fn get(&self, below: &str) -> Reply {
        self.ask(&Request::get(format!("/api/{below}"))).await
    }

    /// Waits until `/api/{below}` is kept: a client has its last byte a moment earlier.
    pub(crate) async fn holds(&self, below: &str) {
        let head = Request::head(format!("/api/{below}"));
        let from_cache = || async {
            let reply = self.ask(&head).await;
            (reply.header("x-artifact-source") == Some("cache")).then_some(())
        };
        until(format!("{below} to be kept"), from_cache).await;
    }

    pub(crate) async fn ask(&self, request: &Request) -> Reply {
        http::ask(self.address, request).await
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// As if the machine had lost it: no cleaning up.
    pub(crate) async fn kill(&mut self) {
        self.process.kill().await;
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Waits for the process to end.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        self.process.ended().await
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) async fn stop(&mut self) {
        self.signal(Signal::TERM);
        let status = self.ended().await;
        assert!(status.success(), "the server ended with {status}");
    }

    /// Starts it again on the same data and the same port. It must have ended.
    pub(crate) async fn start_again(&mut self) {
        assert!(!self.process.is_running(), "the server still runs");
        let (process, _) = launch(&self.plan).await;
        let before = std::mem::replace(&mut self.process, process);
        self.earlier.extend(before.lines().all());
    }

    pub(crate) async fn kill_and_start_again(&mut self) {
        self.kill().await;
        self.start_again().await;
    }

    /// Waits for a line of the log that holds all of these words.
    pub(crate) async fn says(&self, words: &[&str]) -> String {
        let pick = |line: &str| words.iter().all(|word| line.contains(word)).then(|| line.to_owned());
        let line = within(format!("{words:?} in the server's log"), self.lines().find(0, pick)).await;
        line.unwrap_or_else(|| panic!("the server ended without saying {words:?}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.end();
        let lines = [&self.earlier[..], &self.lines().all()].concat();
        if !std::thread::panicking() {
            let panics: Vec<_> = lines.iter().filter(|line| line.contains("panicked at")).collect();
            assert!(panics.is_empty(), "the server panicked: {panics:#?}");
        }
    }
}

async fn launch(plan: &Plan) -> (Process, SocketAddr) {
    let process = Process::spawn("the server", plan.command(&[]));
    let address = within("the server to listen", process.lines().find(0, listening)).await;
    let address = address.unwrap_or_else(|| panic!("the server does not start: {:#?}", process.lines().all()));
    (process, address)
}

/// The address in the line that says where the server listens, in either format of the log.
pub(crate) fn listening(line: &str) -> Option<SocketAddr> {
    if let Ok(line) = serde_json::from_str::<serde_json::Value>(line) {
        return (line["message"] == "listening").then(|| line["addr"].as_str()?.parse().ok())?;
    }
    let (_, rest) = line.split_once("listening")?;
    let (_, address) = rest.split_once("addr=")?;
    address.split_whitespace().next()?.trim_matches('"').parse().ok()
}
