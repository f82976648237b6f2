//! PostgreSQL, with one database.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::process::{Process, Signal, clean, run};
use crate::support::run::{Port, Run};
use crate::support::testbed::tool;
use crate::support::until;

/// The database that a server is told to use.
const DATABASE: &str = "artifacts";

pub(crate) struct Postgres {
    port: Port,
    folder: PathBuf,
    process: Process,
}

impl Postgres {
    pub(crate) async fn start(run_in: &Run) -> Self {
        let (port, folder) = (Port::reserve(), run_in.folder("pg"));
        if is_root() {
            let mut chown = clean("chown");
            chown.arg("postgres:").arg(&folder);
            run(chown).await.succeeded();
        }
        let mut initdb = program("initdb");
        initdb.arg("-D").arg(folder.join("data"));
        initdb.args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]);
        run(initdb).await.succeeded();
        let process = launch(&port, &folder);
        let postgres = Self { port, folder, process };
        postgres.is_ready().await;
        postgres.sql("postgres", &format!("create database {DATABASE}")).await;
        postgres
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.port.address()
    }

    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("DBHOST", "127.0.0.1".to_owned()),
            ("DBPORT", self.port.number.to_string()),
            ("DBUSER", "postgres".to_owned()),
            ("DBPASS", String::new()),
            ("DBNAME", DATABASE.to_owned()),
        ]
    }

    /// What a statement answers, unaligned.
    pub(crate) async fn sql(&self, database: &str, statement: &str) -> String {
        let mut psql = clean(Path::new(tool("POSTGRES_BIN")).join("psql"));
        psql.args(["-h", "127.0.0.1", "-p", &self.port.number.to_string(), "-U", "postgres", "-v", "ON_ERROR_STOP=1"]);
        psql.args(["-At", "-d", database, "-c", statement]);
        run(psql).await.succeeded()
    }

    /// As a crash: its sessions end at once.
    pub(crate) async fn kill(&mut self) {
        self.process.kill().await;
    }

    /// As an operator does it.
    pub(crate) async fn stop(&mut self) {
        self.process.signal(Signal::INT);
        self.process.ended().await;
    }

    pub(crate) async fn start_again(&mut self) {
        self.process = launch(&self.port, &self.folder);
        self.is_ready().await;
    }

    async fn is_ready(&self) {
        let asked = || async {
            let mut ready = clean(Path::new(tool("POSTGRES_BIN")).join("pg_isready"));
            ready.args(["-q", "-h", "127.0.0.1", "-p", &self.port.number.to_string()]);
            run(ready).await.status.success().then_some(())
        };
        until("postgres", asked).await;
    }
}

fn is_root() -> bool {
    rustix::process::getuid().is_root()
}

/// One of its programs, as somebody it agrees to run as: not root.
fn program(name: &str) -> Command {
    let path = Path::new(tool("POSTGRES_BIN")).join(name);
    if !is_root() {
        return clean(path);
    }
    let mut command = clean("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]).arg(path);
    command
}

fn launch(port: &Port, folder: &Path) -> Process {
    let mut command = program("postgres");
    command.arg("-D").arg(folder.join("data")).args([
        "-p",
        &port.number.to_string(),
        "-c",
        "listen_addresses=127.0.0.1",
    ]);
    command.arg("-c").arg(format!("unix_socket_directories={}", folder.display()));
    command.args(["-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"]);
    Process::spawn("postgres", command)
}
