//! A real S3 server for the tests: SeaweedFS, as tests/testbed/provide installs it.
//!
//! One per test, on ports and in a folder of its own, killed with the test. It does not survive the test's thread
//! either: the kernel kills it when that ends, however it ends.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use tempfile::TempDir;

use super::{S3Keys, S3Settings};
use crate::store::services::tool;

const START_TIMEOUT: Duration = Duration::from_secs(60);
const ACCESS_KEY: &str = "testkey";
const SECRET_KEY: &str = "testsecret";

/// A running server. Dropped, it is killed and its data removed.
pub(crate) struct Weed {
    process: Child,
    ports: [u16; 8],
    run: TempDir,
    program: PathBuf,
}

impl Weed {
    /// Starts a server and waits until it is ready.
    pub(crate) fn start() -> Self {
        let program = tool("WEED");
        let run = tempfile::Builder::new().prefix("weed").tempdir_in("/tmp").expect("folder");
        std::fs::create_dir(run.path().join("data")).expect("folder");
        let credentials = format!(r#"{{"accessKey":"{ACCESS_KEY}","secretKey":"{SECRET_KEY}"}}"#);
        let actions = r#"["Admin","Read","Write","List"]"#;
        let identity =
            format!(r#"{{"identities":[{{"name":"test","credentials":[{credentials}],"actions":{actions}}}]}}"#);
        std::fs::write(run.path().join("s3.json"), identity).expect("configuration");
        let ports = free_ports();
        let process = spawn(&program, run.path(), &ports);
        let mut weed = Self { process, ports, run, program };
        weed.wait_until_ready();
        weed
    }

    /// Kills it where it stands.
    pub(crate) fn kill(&mut self) {
        self.process.kill().expect("kill");
        self.process.wait().expect("wait");
    }

    /// Starts it again, with the data it had.
    pub(crate) fn restart(&mut self) {
        self.process = spawn(&self.program, self.run.path(), &self.ports);
        self.wait_until_ready();
    }

    /// Lets it stand still, or go on.
    pub(crate) fn freeze(&self, frozen: bool) {
        let signal = if frozen { Signal::STOP } else { Signal::CONT };
        rustix::process::kill_process(Pid::from_child(&self.process), signal).expect("signal");
    }

    /// Settings for a bucket, which need not exist.
    pub(crate) fn settings(&self, bucket: &str) -> S3Settings {
        S3Settings {
            endpoint: Some(format!("127.0.0.1:{}", self.ports[6])),
            secure: false,
            region: None,
            bucket: bucket.to_owned(),
            keys: Some(S3Keys { access_key: ACCESS_KEY.to_owned(), secret_key: SECRET_KEY.to_owned() }),
        }
    }

    fn wait_until_ready(&mut self) {
        let deadline = Instant::now() + START_TIMEOUT;
        while !self.is_ready() {
            if let Some(status) = self.process.try_wait().expect("wait") {
                panic!("weed ended with {status}:\n{}", self.log());
            }
            assert!(Instant::now() < deadline, "weed is not ready after {START_TIMEOUT:?}:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn is_ready(&self) -> bool {
        let ask = || {
            let mut connection = TcpStream::connect(("127.0.0.1", self.ports[6]))?;
            connection.write_all(b"GET /healthz HTTP/1.0\r\n\r\n")?;
            let mut answer = String::new();
            connection.read_to_string(&mut answer)?;
            Ok::<_, std::io::Error>(answer.split(' ').nth(1) == Some("200"))
        };
        ask().unwrap_or(false)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.run.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Weed {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        for (part, port) in ["master", "volume", "filer", "s3"].into_iter().zip(self.ports.chunks(2)) {
            let _ = std::fs::remove_file(format!("/tmp/seaweedfs-{part}-grpc-{}.sock", port[1]));
        }
    }
}

/// Ports that are free now; all are held until the last is known, so that they differ.
fn free_ports() -> [u16; 8] {
    let held = [(); 8].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    held.map(|listener| listener.local_addr().expect("address").port())
}

fn spawn(program: &Path, run: &Path, ports: &[u16; 8]) -> Child {
    let log = std::fs::File::options().create(true).append(true).open(run.join("log")).expect("log");
    let path = |name: &str| run.join(name).display().to_string();
    let [master, master_grpc, volume, volume_grpc, filer, filer_grpc, s3, s3_grpc] = ports;
    // setpriv becomes weed: there is one process, and the kernel kills it when the thread that started it ends.
    Command::new("setpriv")
        .args(["--pdeathsig", "KILL"])
        .arg(program)
        .args(["-logtostderr=true", "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3"])
        .arg(format!("-dir={}", path("data")))
        .args([format!("-master.port={master}"), format!("-master.port.grpc={master_grpc}")])
        .args([format!("-volume.port={volume}"), format!("-volume.port.grpc={volume_grpc}")])
        .args([format!("-filer.port={filer}"), format!("-filer.port.grpc={filer_grpc}")])
        .args([format!("-s3.port={s3}"), format!("-s3.port.grpc={s3_grpc}"), format!("-s3.config={}", path("s3.json"))])
        .args([format!("-filer.localSocket={}", path("filer.sock")), format!("-s3.localSocket={}", path("s3.sock"))])
        .args(["-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.autoCreateBucket=false"])
        .args(["-master.telemetry=false", "-master.peers=none", "-master.volumeSizeLimitMB=64"])
        .args(["-volume.max=0", "-volume.minFreeSpace=100MiB"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("setpriv, of util-linux, starts weed")
}
