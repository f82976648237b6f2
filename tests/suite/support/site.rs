//! Upstream, services and server put together: where a scenario begins.

use std::path::PathBuf;

use super::remotes::{Remote, yaml_with};
use super::run::Run;
use super::server::{Plan, Server};
use super::services::{Backend, Services};
use super::testbed::generation;
use super::upstream::Upstream;

/// Keys that speak of indexes.
const OF_INDEXES: [&str; 4] = ["hold", "verify", "allow_rollback", "prefetch"];

/// A server with its surroundings. The server ends first, then what it stands on.
pub(crate) struct Site {
    pub(crate) server: Server,
    pub(crate) upstream: Upstream,
    pub(crate) services: Option<Services>,
    pub(crate) run: Run,
    yaml: String,
    servers: usize,
}

impl Site {
    /// A server on a backend over the first generation of the fixtures: repositories `alpine`, `rpm` and `files`, in
    /// which everything stays fresh.
    pub(crate) async fn on(backend: Backend) -> Self {
        Setup::new(backend).await.start().await
    }

    /// Another replica of the server: the same configuration and services, a data folder of its own.
    pub(crate) async fn replica(&mut self) -> Server {
        Server::start(self.plan()).await
    }

    /// The plan of another replica.
    pub(crate) fn plan(&mut self) -> Plan {
        self.servers += 1;
        plan(&self.run, self.servers, self.services.as_ref(), &self.yaml)
    }

    /// The upstream shows the other generation from now on.
    pub(crate) fn switch_to(&self, number: u32) {
        self.upstream.switch_to(&generation(number));
    }

    /// Files below the server's spool folder.
    pub(crate) fn spooled(&self) -> Vec<PathBuf> {
        let spool = self.server.plan.data().join("spool");
        std::fs::read_dir(spool).expect("the spool folder").map(|entry| entry.expect("an entry").path()).collect()
    }
}

/// A site before its server starts.
pub(crate) struct Setup {
    pub(crate) run: Run,
    pub(crate) upstream: Upstream,
    pub(crate) services: Option<Services>,
    remotes: Vec<Remote>,
    access: serde_json::Value,
    environment: Vec<(String, String)>,
    wrapper: Vec<String>,
}

impl Setup {
    pub(crate) async fn new(backend: Backend) -> Self {
        let run = Run::new();
        let services = match backend {
            Backend::Laptop => None,
            Backend::Shared => Some(Services::start(&run).await),
        };
        let upstream = Upstream::serving(&generation(1)).await;
        let remotes = [("alpine", "alpine", "/alpine"), ("rpm", "rpm", "/rpm"), ("files", "generic", "/generic")];
        let remotes = remotes.map(|(name, package, below)| Remote::new(name, package, upstream.url(below)));
        Self {
            run,
            upstream,
            services,
            remotes: remotes.into(),
            access: serde_json::json!({}),
            environment: Vec::new(),
            wrapper: Vec::new(),
        }
    }

    /// Sets a key of every remote that can have it: `cache.index_ttl`.
    pub(crate) fn set(mut self, key: &str, value: impl Into<serde_json::Value>) -> Self {
        let value = value.into();
        // What speaks of indexes is refused where there are none.
        let is_for = |remote: &Remote| !OF_INDEXES.contains(&key) || remote.package() != "generic";
        let set = |remote: Remote| if is_for(&remote) { remote.set(key, value.clone()) } else { remote };
        self.remotes = self.remotes.into_iter().map(set).collect();
        self
    }

    /// Keeps only the remote of this name.
    pub(crate) fn only(mut self, name: &str) -> Self {
        self.remotes.retain(|remote| remote.name() == name);
        self
    }

    /// Adds a remote.
    pub(crate) fn remote(mut self, remote: Remote) -> Self {
        self.remotes.push(remote);
        self
    }

    /// Sets what stands below `access:`.
    pub(crate) fn access(mut self, access: serde_json::Value) -> Self {
        self.access = access;
        self
    }

    /// Sets a variable of the server's environment.
    pub(crate) fn environment(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// Has the server started by another program.
    pub(crate) fn wrapped_in(mut self, wrapper: Vec<String>) -> Self {
        self.wrapper = wrapper;
        self
    }

    pub(crate) async fn start(self) -> Site {
        let yaml = yaml_with(&self.remotes, &self.access);
        let mut plan = plan(&self.run, 1, self.services.as_ref(), &yaml);
        plan.environment.extend(self.environment);
        plan.wrapper = self.wrapper;
        let server = Server::start(plan).await;
        Site { server, upstream: self.upstream, services: self.services, run: self.run, yaml, servers: 1 }
    }
}

fn plan(run: &Run, number: usize, services: Option<&Services>, yaml: &str) -> Plan {
    let mut plan = Plan::new(run, &format!("server-{number}"));
    for (name, value) in services.into_iter().flat_map(Services::environment) {
        plan.set(name, value);
    }
    plan.configure(yaml);
    plan
}
