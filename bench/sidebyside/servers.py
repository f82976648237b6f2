"""The servers: an upstream, nginx in front of it, artifactapi in front of it, and an S3 store."""

import http.client
import os
import re
import signal
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from .processes import Process, Processes, free_ports

# What one transfer of the herd's file may carry from upstream: 100 MiB in about 5 s.
HERD_RATE = 20 << 20


def status_of(port: int, path: str, timeout: float = 2) -> int | None:
    """The status that a GET is answered with; None if nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


@dataclass
class Server:
    """Something that serves the upstream's files: where, and below which path."""

    name: str
    process: Process
    port: int
    prefix: str = ""

    def path(self, file: str) -> str:
        return f"{self.prefix}/{file}"

    def url(self, file: str) -> str:
        return f"http://127.0.0.1:{self.port}{self.path(file)}"


def own_user() -> str:
    """As root, nginx gives its workers to another user, who could not read our folder."""
    return "user root;" if os.getuid() == 0 else ""


def temp_paths(folder: Path) -> str:
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    return " ".join(f"{kind}_temp_path {folder}/temp;" for kind in kinds)


class Upstream(Server):
    """nginx over a folder. Logs each transfer, so that they can be counted; /slow/ is limited to HERD_RATE each."""

    def __init__(self, processes: Processes, nginx: str, folder: Path) -> None:
        self.files = folder / "files"
        self.requests = folder / "requests"
        self.files.mkdir(parents=True)
        (self.files / "slow").mkdir()
        (port,) = free_ports(1)
        conf = folder / "nginx.conf"
        conf.write_text(f"""
daemon off; master_process off; {own_user()}
error_log stderr; pid {folder}/pid;
worker_rlimit_nofile 65536;
events {{ worker_connections 4096; }}
http {{
    default_type application/octet-stream;
    {temp_paths(folder)}
    sendfile on; tcp_nopush on; keepalive_requests 1000000;
    open_file_cache max=10000 inactive=60s;
    log_format transfer '$uri $status $body_bytes_sent';
    access_log {self.requests} transfer;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        root {self.files};
        location /slow/ {{ limit_rate {HERD_RATE}; }}
        # What is replaced here is to be seen at once.
        location /index/ {{ open_file_cache off; }}
    }}
}}
""")
        process = processes.start("upstream", [nginx, "-p", folder, "-c", conf], under_test=False)
        super().__init__("upstream", process, port)
        process.until(lambda: status_of(port, "/") is not None)

    def transfers(self, file: str) -> int:
        """How many times the bytes of a file were asked for."""
        return self.transfers_of(re.compile(rf"^/{re.escape(file)} 20[06] "))

    def transfers_below(self, folder: str) -> int:
        """The same of all files whose paths begin so."""
        return self.transfers_of(re.compile(rf"^/{re.escape(folder)}\S* 20[06] "))

    def transfers_of(self, pattern: re.Pattern[str]) -> int:
        with self.requests.open() as lines:
            return sum(bool(pattern.match(line)) for line in lines)


class Nginx(Server):
    """nginx proxy_cache as a good operator sets it up."""

    def __init__(self, processes: Processes, nginx: str, folder: Path, upstream: Upstream, max_size: str = "100g") -> None:
        folder.mkdir(exist_ok=True)
        self.cache = folder / "cache"
        (port,) = free_ports(1)
        conf = folder / "nginx.conf"
        conf.write_text(f"""
daemon off; {own_user()}
worker_processes 1;
worker_rlimit_nofile 65536;
error_log stderr; pid {folder}/pid;
events {{ worker_connections 16384; }}
http {{
    default_type application/octet-stream;
    {temp_paths(folder)}
    access_log off;
    sendfile on; tcp_nopush on; tcp_nodelay on;
    keepalive_timeout 65s; keepalive_requests 1000000000;
    open_file_cache max=10000 inactive=60s; open_file_cache_valid 60s;

    proxy_cache_path {self.cache} levels=1:2 keys_zone=bench:64m max_size={max_size} inactive=7d use_temp_path=off;
    upstream bench {{ server 127.0.0.1:{upstream.port}; keepalive 64; }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://bench;
            proxy_http_version 1.1; proxy_set_header Connection "";
            proxy_buffering on; proxy_buffer_size 16k; proxy_buffers 16 64k; proxy_busy_buffers_size 256k;
            proxy_cache bench; proxy_cache_valid 200 7d;
            # With the default of 5 s, waiters would go upstream themselves before a large file has come.
            proxy_cache_lock on; proxy_cache_lock_age 10m; proxy_cache_lock_timeout 10m;
        }}
    }}
}}
""")
        process = processes.start("nginx", [nginx, "-p", folder, "-c", conf], under_test=True)
        super().__init__("nginx", process, port)
        process.until(lambda: status_of(port, "/") is not None)


class Artifactapi(Server):
    """The server under test, with its data in a folder that outlives the process."""

    def __init__(
        self, processes: Processes, binary: Path, folder: Path, upstream: Upstream, *, name: str = "artifactapi",
        s3: "Seaweed | None" = None, wait: bool = True, repositories: str = "", more: dict[str, str] | None = None,
        max_bytes: int | None = None,
    ) -> None:
        folder.mkdir(exist_ok=True)
        self.cache = folder / "data" / "blobs"
        (port,) = free_ports(1)
        config = folder / "remotes.yaml"
        config.write_text(f"""
remotes:
  bench:
    base_url: "http://127.0.0.1:{upstream.port}"
    type: "remote"
    package: "generic"
    cache:
      file_ttl: 0
{f"      max_bytes: {max_bytes}" if max_bytes else ""}
{repositories}""")
        environment = {
            "ARTIFACTAPI_LISTEN": f"127.0.0.1:{port}",
            "ARTIFACTAPI_CONFIG": str(config),
            "ARTIFACTAPI_DATA_DIR": str(folder / "data"),
        } | (s3.settings() if s3 else {}) | (more or {})
        process = processes.start(name, [binary, "serve"], environment, under_test=True)
        super().__init__(name, process, port, "/api/bench")
        if wait:
            self.until_ready()

    def ready(self) -> bool:
        return status_of(self.port, "/health") is not None

    def until_ready(self) -> None:
        self.process.until(self.ready)


@dataclass
class Seaweed:
    """An S3 store in one process; one bucket."""

    process: Process
    port: int
    curl: str
    grpc_ports: list[int]
    sockets: tempfile.TemporaryDirectory = field(repr=False)

    BUCKET = "bench"
    KEYS = ("testkey", "testsecret")

    @classmethod
    def start(cls, processes: Processes, weed: str, curl: str, folder: Path) -> "Seaweed":
        data = folder / "weed"
        data.mkdir(parents=True)
        config = folder / "s3.json"
        access, secret = cls.KEYS
        config.write_text(
            f'{{"identities":[{{"name":"test","credentials":[{{"accessKey":"{access}","secretKey":"{secret}"}}],'
            '"actions":["Admin","Read","Write","List"]}]}'
        )
        sockets = tempfile.TemporaryDirectory(prefix="bench-")  # short: the path of a socket has at most 108 bytes
        m, mg, v, vg, f, fg, s, sg = free_ports(8)
        command = [
            weed, "-logtostderr=true", "server", f"-dir={data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
            f"-master.port={m}", f"-master.port.grpc={mg}", f"-volume.port={v}", f"-volume.port.grpc={vg}",
            "-filer", f"-filer.port={f}", f"-filer.port.grpc={fg}", f"-filer.localSocket={sockets.name}/filer.sock",
            "-s3", f"-s3.port={s}", f"-s3.port.grpc={sg}", "-s3.port.iceberg=0", "-s3.port.lance=0",
            f"-s3.localSocket={sockets.name}/s3.sock", f"-s3.config={config}", "-master.telemetry=false",
            "-master.peers=none", "-master.volumeSizeLimitMB=64", "-volume.max=0", "-volume.minFreeSpace=100MiB",
        ]
        process = processes.start("weed", command, under_test=False)
        process.until(lambda: status_of(s, "/healthz") == 200, seconds=30)
        store = cls(process, s, curl, [mg, vg, fg, sg], sockets)
        store.curl_s3("-X", "PUT", f"http://127.0.0.1:{s}/{cls.BUCKET}")
        return store

    def settings(self) -> dict[str, str]:
        access, secret = self.KEYS
        return {
            "MINIO_ENDPOINT": f"http://127.0.0.1:{self.port}", "MINIO_BUCKET": self.BUCKET, "MINIO_SECURE": "false",
            "MINIO_REGION": "us-east-1", "MINIO_ACCESS_KEY": access, "MINIO_SECRET_KEY": secret,
        }

    def curl_s3(self, *words: str) -> str:
        done = subprocess.run(
            [self.curl, "-fsS", "--aws-sigv4", "aws:amz:us-east-1:s3", "--user", ":".join(self.KEYS), *words],
            check=True, capture_output=True, text=True, timeout=30,
        )
        return done.stdout

    def objects(self) -> int:
        listed = self.curl_s3(f"http://127.0.0.1:{self.port}/{self.BUCKET}?list-type=2&max-keys=1000")
        return listed.count("<Key>")

    def freeze(self) -> None:
        self.process.send(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send(signal.SIGCONT)

    def stop(self, processes: Processes) -> None:
        self.thaw()
        processes.stop(self.process, signal.SIGKILL)  # it takes 17 s over TERM
        for port in self.grpc_ports:
            for part in ("master", "volume", "filer", "s3"):
                Path(f"/tmp/seaweedfs-{part}-grpc-{port}.sock").unlink(missing_ok=True)
        self.sockets.cleanup()
