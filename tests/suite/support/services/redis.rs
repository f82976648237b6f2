//! Redis, which keeps nothing on disk.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::support::process::{Process, Signal, clean, run};
use crate::support::run::{Port, Run};
use crate::support::testbed::tool;
use crate::support::until;

pub(crate) struct Redis {
    port: Port,
    folder: PathBuf,
    process: Process,
}

impl Redis {
    pub(crate) async fn start(run: &Run) -> Self {
        let (port, folder) = (Port::reserve(), run.folder("redis"));
        let process = launch(&port, &folder);
        let redis = Self { port, folder, process };
        redis.is_ready().await;
        redis
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.port.address()
    }

    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        vec![("REDIS_URL", format!("redis://{}", self.address()))]
    }

    pub(crate) async fn kill(&mut self) {
        self.process.kill().await;
    }

    pub(crate) async fn start_again(&mut self) {
        self.process = launch(&self.port, &self.folder);
        self.is_ready().await;
    }

    /// It stays connected and answers nothing, until [`Redis::thaw`].
    pub(crate) fn freeze(&self) {
        self.process.signal(Signal::STOP);
    }

    pub(crate) fn thaw(&self) {
        self.process.signal(Signal::CONT);
    }

    async fn is_ready(&self) {
        let ping = || async {
            let mut ping = clean(tool("REDIS_CLI"));
            ping.args(["-h", "127.0.0.1", "-p", &self.port.number.to_string(), "ping"]);
            run(ping).await.output.starts_with("PONG").then_some(())
        };
        until("redis", ping).await;
    }
}

fn launch(port: &Port, folder: &PathBuf) -> Process {
    let mut command = clean(tool("REDIS_SERVER"));
    command.args(["--port", &port.number.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
    command.args(["--daemonize", "no", "--dir"]).arg(folder);
    Process::spawn("redis", command)
}
