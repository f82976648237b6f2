//! SeaweedFS: S3, with one bucket.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::support::http::{self, Request};
use crate::support::process::{Finished, Process, Signal, clean, run};
use crate::support::run::{Port, Run};
use crate::support::testbed::tool;
use crate::support::until;

/// The bucket that a server is told to use.
pub(crate) const BUCKET: &str = "artifacts";
const ACCESS: &str = "testkey";
const SECRET: &str = "testsecret";
/// Written before anything else; when it can be read, everything can.
const WITNESS: &str = "witness";

pub(crate) struct Weed {
    s3: Port,
    /// Master, volume, filer: each one port for HTTP and one for gRPC; then the gRPC port of S3.
    ports: [Port; 7],
    folder: PathBuf,
    process: Process,
}

impl Weed {
    pub(crate) async fn start(run: &Run) -> Self {
        let folder = run.folder("weed");
        let identity = serde_json::json!({
            "name": "test",
            "credentials": [{ "accessKey": ACCESS, "secretKey": SECRET }],
            "actions": ["Admin", "Read", "Write", "List"],
        });
        run.file("weed/s3.json", &serde_json::json!({ "identities": [identity] }).to_string());
        run.folder("weed/data");
        let (s3, ports) = (Port::reserve(), std::array::from_fn(|_| Port::reserve()));
        let process = launch(&s3, &ports, &folder);
        let weed = Self { s3, ports, folder, process };
        weed.is_healthy().await;
        weed.s3(&["-X", "PUT"], "").await.succeeded();
        let witness = run.file("weed/witness", "here");
        weed.s3(&["-T", &witness.display().to_string()], WITNESS).await.succeeded();
        weed
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.s3.address()
    }

    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("MINIO_ENDPOINT", self.address().to_string()),
            ("MINIO_ACCESS_KEY", ACCESS.to_owned()),
            ("MINIO_SECRET_KEY", SECRET.to_owned()),
            ("MINIO_BUCKET", BUCKET.to_owned()),
            ("MINIO_SECURE", "false".to_owned()),
        ]
    }

    /// A request of curl's own S3 client for a key of the bucket.
    pub(crate) async fn s3(&self, arguments: &[&str], key: &str) -> Finished {
        let mut curl = clean(tool("CURL"));
        curl.args(["-fsS", "--aws-sigv4", "aws:amz:us-east-1:s3", "--user", &format!("{ACCESS}:{SECRET}")]);
        curl.args(arguments).arg(format!("http://{}/{BUCKET}/{key}", self.address()));
        run(curl).await
    }

    /// What was written survives.
    pub(crate) async fn kill(&mut self) {
        self.process.kill().await;
    }

    /// Starts it and waits until it can read what it had.
    pub(crate) async fn start_again(&mut self) {
        self.process = launch(&self.s3, &self.ports, &self.folder);
        self.is_healthy().await;
        until("S3 to find what it had", || async { self.s3(&[], WITNESS).await.status.success().then_some(()) }).await;
    }

    /// It stays connected and answers nothing, until [`Weed::thaw`].
    pub(crate) fn freeze(&self) {
        self.process.signal(Signal::STOP);
    }

    pub(crate) fn thaw(&self) {
        self.process.signal(Signal::CONT);
    }

    async fn is_healthy(&self) {
        let asked = || async {
            let reply = http::try_ask(self.address(), &Request::get("/healthz").with("Connection", "close")).await?;
            (reply.status == 200).then_some(())
        };
        until("S3", asked).await;
    }
}

impl Drop for Weed {
    fn drop(&mut self) {
        self.process.end();
        // It makes these wherever TMPDIR points, and leaves them.
        for port in &self.ports {
            for part in ["master", "volume", "filer", "s3"] {
                let _ = std::fs::remove_file(format!("/tmp/seaweedfs-{part}-grpc-{}.sock", port.number));
            }
        }
    }
}

fn launch(s3: &Port, ports: &[Port; 7], folder: &std::path::Path) -> Process {
    let [master, master_grpc, volume, volume_grpc, filer, filer_grpc, s3_grpc] =
        ports.each_ref().map(|port| port.number);
    let folder = folder.display();
    let mut command = clean(tool("WEED"));
    command.args(["-logtostderr=true", "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3"]);
    command.args([
        format!("-dir={folder}/data"),
        format!("-master.port={master}"),
        format!("-master.port.grpc={master_grpc}"),
        format!("-volume.port={volume}"),
        format!("-volume.port.grpc={volume_grpc}"),
        format!("-filer.port={filer}"),
        format!("-filer.port.grpc={filer_grpc}"),
        format!("-filer.localSocket={folder}/filer.sock"),
        format!("-s3.port={}", s3.number),
        format!("-s3.port.grpc={s3_grpc}"),
        format!("-s3.localSocket={folder}/s3.sock"),
        format!("-s3.config={folder}/s3.json"),
    ]);
    command.args(["-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false", "-master.peers=none"]);
    command.args(["-master.volumeSizeLimitMB=64", "-volume.max=0", "-volume.minFreeSpace=100MiB"]);
    Process::spawn("S3", command)
}
