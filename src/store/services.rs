//! Real services for one test each: started in a folder of their own on a free loopback port, stopped, killed, started
//! again, and gone when the test ends, also when it panics.
//!
//! Which binaries to use stands in the file that `tests/testbed/provide` writes. A test fails loudly when it is absent.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, geteuid, kill_process};
use tempfile::TempDir;

/// How long a service may take to answer after it was started.
const START_LIMIT: Duration = Duration::from_secs(30);

/// The path of a tool of the test environment.
pub(crate) fn tool(key: &str) -> PathBuf {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let testbed =
        std::env::var_os("ARTIFACTAPI_TESTBED").map_or_else(|| repository.join("target/testbed"), PathBuf::from);
    let file = testbed.join("env");
    let tools = std::fs::read_to_string(&file)
        .unwrap_or_else(|error| panic!("{}: {error}. Run tests/testbed/provide once", file.display()));
    let prefix = format!("{key}=");
    let path = tools.lines().find_map(|line| line.strip_prefix(&prefix));
    PathBuf::from(path.unwrap_or_else(|| panic!("{} names no {key}. Run tests/testbed/provide", file.display())))
}

/// A running service.
pub(crate) struct Service {
    pub(crate) port: u16,
    pub(crate) folder: TempDir,
    command: Box<dyn Fn() -> Command + Send + Sync>,
    running: Option<Child>,
}

impl Service {
    /// A Redis server with nothing in it.
    pub(crate) fn redis() -> Self {
        let (server, port) = (tool("REDIS_SERVER"), free_port());
        Self::start(TempDir::new().expect("a folder"), port, move || {
            let mut redis = mortal(&[]);
            redis.arg(&server).args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
            redis.args(["--port", &port.to_string()]);
            redis
        })
    }

    /// A PostgreSQL server with an empty database `postgres` of the user `postgres`. It sorts by the rules of English, so
    /// that whoever relies on the order of bytes has to say so.
    pub(crate) fn postgres() -> Self {
        let (bin, port) = (tool("POSTGRES_BIN"), free_port());
        let folder = TempDir::new().expect("a folder");
        // PostgreSQL refuses to run as root.
        let user: &[&str] =
            if geteuid().is_root() { &["--reuid=postgres", "--regid=postgres", "--init-groups"] } else { &[] };
        if geteuid().is_root() {
            run(Command::new("chown").arg("postgres").arg(folder.path()));
        }
        let data = folder.path().join("data");
        run(mortal(user)
            .arg(bin.join("initdb"))
            .args(["--username=postgres", "--auth=trust", "--no-sync", "--encoding=UTF8"])
            .args(["--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en-US", "-D"])
            .arg(&data));
        let sockets = folder.path().to_owned();
        Self::start(folder, port, move || {
            let mut postgres = mortal(user);
            postgres.arg(bin.join("postgres")).arg("-D").arg(&data).args(["-p", &port.to_string()]);
            postgres.args(["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c"]);
            postgres.arg(format!("unix_socket_directories={}", sockets.display()));
            postgres
        })
    }

    fn start(folder: TempDir, port: u16, command: impl Fn() -> Command + Send + Sync + 'static) -> Self {
        let mut service = Self { port, folder, command: Box::new(command), running: None };
        service.restart();
        service
    }

    /// Starts it again after [`Service::kill`]; returns when it answers.
    pub(crate) fn restart(&mut self) {
        assert!(self.running.is_none(), "it is running");
        let log = self.folder.path().join("log");
        let output = std::fs::File::create(&log).expect("a log");
        let errors = output.try_clone().expect("a log");
        let child = (self.command)().stdin(Stdio::null()).stdout(output).stderr(errors).spawn();
        self.running = Some(child.expect("setpriv of util-linux"));
        let start = Instant::now();
        // Both say so in the same words; PostgreSQL takes connections some time before it answers them.
        while !read(&log).to_ascii_lowercase().contains("ready to accept connections") {
            let ended = self.running.as_mut().and_then(|child| child.try_wait().expect("a child"));
            assert!(ended.is_none() && start.elapsed() < START_LIMIT, "the service did not start: {}", read(&log));
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Makes it hang (SIGSTOP).
    pub(crate) fn hang(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on (SIGCONT).
    pub(crate) fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    /// Kills it and all its processes at once (SIGKILL).
    pub(crate) fn kill(&mut self) {
        self.signal(Signal::KILL);
        if let Some(mut child) = self.running.take() {
            child.wait().expect("a child");
        }
    }

    fn signal(&self, signal: Signal) {
        let Some(child) = &self.running else { return };
        let mut family = vec![Pid::from_child(child)];
        let mut next = 0;
        // The parent is stopped before its children are counted, so it makes no more of them.
        while let Some(&pid) = family.get(next) {
            let _ = kill_process(pid, signal);
            let children = format!("/proc/{pid}/task/{pid}/children", pid = pid.as_raw_nonzero());
            let children = read(children.as_ref());
            family.extend(children.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)));
            next += 1;
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A command that is killed when the test's thread ends, however that happens.
fn mortal(privileges: &[&str]) -> Command {
    let mut command = Command::new("setpriv");
    command.args(privileges).args(["--pdeathsig", "KILL", "--"]);
    command
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().expect("a command");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn read(file: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(file).unwrap_or_default()).into_owned()
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port").local_addr().expect("an address").port()
}
