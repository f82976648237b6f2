"""Publishing: one upload to a repository of many packages against the tools that people rebuild an index with, many uploads at
once, memory meanwhile, and one large file against nginx's dav PUT."""

import gzip
import hashlib
import http.client
import io
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path

from ..bench import Bench
from ..processes import free_ports
from ..report import Figure, Report, spread
from ..servers import Artifactapi, own_user, status_of, temp_paths

TOKEN = "the-token-of-the-benchmark"
PACKAGES = 10_000
TEMPLATES = 20
CLIENTS = 16
LARGE = 1 << 30

REPOSITORIES = """
  rpm:
    type: local
    package: rpm
  apk:
    type: local
    package: alpine
  files:
    type: local
    package: generic
"""


def run(bench: Bench, report: Report) -> None:
    rpm(bench, report)
    apk(bench, report)


def server(bench: Bench) -> Artifactapi:
    return bench.artifactapi(repositories=REPOSITORIES, more={"ARTIFACTAPI_ADMIN_TOKEN": TOKEN})


class Client:
    """One connection that uploads."""

    def __init__(self, port: int) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)

    def put(self, path: str, body: bytes) -> None:
        self.connection.request("PUT", f"/api/{path}", body, {"Authorization": f"Bearer {TOKEN}"})
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status not in (200, 201):
            raise RuntimeError(f"PUT {path}: {answer.status} {text[:200]!r}")


def upload_all(port: int, files: list[tuple[str, Path]]) -> float:
    """Uploads from all clients at once; seconds."""
    left, lock, errors = iter(files), threading.Lock(), []

    def work() -> None:
        client = Client(port)
        while not errors:
            with lock:
                item = next(left, None)
            if item is None:
                return
            try:
                client.put(item[0], item[1].read_bytes())
            except Exception as error:  # told by whoever started us
                errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(CLIENTS)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return time.perf_counter() - began


def peak(pid: int) -> float:
    """The most memory a process ever had, in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("no VmHWM")


def rpm_templates(bench: Bench) -> list[Path]:
    """Packages whose headers are as large as those of a distribution: some 60 files, 20 dependencies, 10 changelog entries."""
    top = bench.new_folder("rpmbuild")
    made = []
    for number in range(TEMPLATES):
        files = "\n".join(f"mkdir -p %{{buildroot}}/usr/share/bench{number}/{i % 7}; echo {i} > %{{buildroot}}/usr/share/bench{number}/{i % 7}/a-file-with-an-ordinary-name-{i:03}.txt" for i in range(30 + number * 3))
        requires = "\n".join(f"Requires: library-{i}-of-{number} >= 1.{i}" for i in range(20))
        changes = "\n".join(f"* Mon Jan {i + 1:02} 2024 Some One <someone@example.org> - 1.{i}-1\n- A change that is described in a line of ordinary length, number {i}\n" for i in range(10, 0, -1))
        spec = top / f"bench{number}.spec"
        spec.write_text(
            f"Name: bench{number}\nVersion: 1.0\nRelease: 1\nSummary: A package of the benchmark\nLicense: MIT\n"
            f"URL: https://example.org/bench\nBuildArch: noarch\n{requires}\n%description\n{'A description of some length. ' * 12}\n"
            f"%install\n{files}\n%files\n/usr/share/bench{number}\n%changelog\n{changes}\n"
        )
        subprocess.run(["rpmbuild", "--quiet", "--nodeps", "-bb", "--define", f"_topdir {top}", spec], check=True, capture_output=True)
    made = sorted((top / "RPMS").rglob("*.rpm"))
    if len(made) != TEMPLATES:
        raise RuntimeError(f"rpmbuild made {len(made)} packages")
    return made


def rpm(bench: Bench, report: Report) -> None:
    templates = rpm_templates(bench)
    count = PACKAGES
    tree = bench.new_folder("tree")
    files = []
    for number in range(count):
        template = templates[number % TEMPLATES]
        below = f"Packages/{number // TEMPLATES:04}/{template.name}"
        (tree / below).parent.mkdir(parents=True, exist_ok=True)
        os.link(template, tree / below)
        files.append((f"rpm/{below}", tree / below))
    pinned = ["taskset", "-c", str(bench.cores[0])]
    subprocess.run([*pinned, "createrepo_c", "--quiet", tree], check=True)
    ours = server(bench)
    filled = upload_all(ours.port, files)
    one, theirs = [], []
    client = Client(ours.port)
    for round_ in range(5):
        template = templates[round_]
        below = f"Packages/one-{round_}/{template.name}"
        (tree / below).parent.mkdir()
        os.link(template, tree / below)
        began = time.perf_counter()
        subprocess.run([*pinned, "createrepo_c", "--quiet", "--update", tree], check=True)
        theirs.append(time.perf_counter() - began)
        body = template.read_bytes()
        began = time.perf_counter()
        client.put(f"rpm/{below}", body)
        one.append(time.perf_counter() - began)
    ratio = statistics.median(theirs) / statistics.median(one)
    report.add(Figure(
        f"one rpm uploaded to {count:,}, installable (nginx column: createrepo_c --update)",
        spread([t * 1e3 for t in one], ".0f", " ms"), spread([t * 1e3 for t in theirs], ".0f", " ms"), f"{ratio:.0f}×", "20×", ratio >= 20,
    ))
    batch = [(f"rpm/Packages/many-{i // TEMPLATES:04}/{templates[i % TEMPLATES].name}", templates[i % TEMPLATES]) for i in range(1_000)]
    took = upload_all(ours.port, batch)
    report.add(Figure(f"1,000 uploads from {CLIENTS} clients to {count:,} rpms, all installable", f"{1_000 / took:.0f} a second", target="100 a second",
                      reached=1_000 / took >= 100))
    report.detail(f"publishing: {count:,} rpms uploaded in {filled:.1f} s ({count / filled:.0f} a second)")
    more = 50_000 - count if bench.effort.starts > 3 else 1_000
    rest = [(f"rpm/Packages/more-{i // TEMPLATES:04}/{templates[i % TEMPLATES].name}", templates[i % TEMPLATES]) for i in range(more)]
    took = upload_all(ours.port, rest)
    most = peak(ours.process.pid)
    report.add(Figure(f"memory while publishing {count + more:,} rpms, at most", f"{most:.0f} MiB", target="200 MiB", reached=most < 200))
    report.detail(f"publishing: {more:,} more in {took:.1f} s ({more / took:.0f} a second)")
    print(f"   rpm: one {one}, createrepo_c {theirs}, memory {most:.0f} MiB", file=sys.stderr)
    bench.processes.stop(ours.process)


def apk_package(name: str, number: int) -> bytes:
    """A small valid package."""
    def member(files: dict[str, bytes], end: bool) -> bytes:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for path, content in files.items():
                info = tarfile.TarInfo(path)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        data = out.getvalue()
        if not end:
            data = data[: sum(512 + -(-len(content) // 512) * 512 for content in files.values())]
        return gzip.compress(data, 1, mtime=0)

    data = member({f"usr/share/{name}/{i}": hashlib.sha256(f"{number} {i}".encode()).digest() * 4 for i in range(8)}, True)
    depends = "".join(f"depend = so:lib{i}.so.1\n" for i in range(8))
    info = (f"pkgname = {name}\npkgver = 1.0-r0\npkgdesc = A package of the benchmark\nurl = https://example.org/\nbuilddate = 1735689600\n"
            f"packager = Bench <bench@example.org>\nsize = 4096\narch = x86_64\norigin = {name}\nlicense = MIT\n{depends}"
            f"provides = cmd:{name}=1.0-r0\ndatahash = {hashlib.sha256(data).hexdigest()}\n")
    return member({".PKGINFO": info.encode()}, False) + data


def apk(bench: Bench, report: Report) -> None:
    count = PACKAGES if bench.effort.starts > 3 else PACKAGES // 10
    tree = bench.new_folder("apks")
    files = []
    for number in range(count):
        path = tree / f"bench{number:05}-1.0-r0.apk"
        path.write_bytes(apk_package(f"bench{number:05}", number))
        files.append((f"apk/x86_64/{path.name}", path))
    ours = server(bench)
    filled = upload_all(ours.port, files)
    client, one, theirs = Client(ours.port), [], []
    pinned = ["taskset", "-c", str(bench.cores[0])]
    for round_ in range(5):
        path = tree / f"one{round_}-1.0-r0.apk"
        path.write_bytes(apk_package(f"one{round_}", round_))
        names = sorted(entry.name for entry in tree.iterdir() if entry.suffix == ".apk")
        began = time.perf_counter()
        subprocess.run([*pinned, bench.programs["APK"], "index", "--allow-untrusted", "-q", "-o", "APKINDEX.tar.gz", *names],
                       cwd=tree, check=True, capture_output=True)
        theirs.append(time.perf_counter() - began)
        body = path.read_bytes()
        began = time.perf_counter()
        client.put(f"apk/x86_64/{path.name}", body)
        one.append(time.perf_counter() - began)
    ratio = statistics.median(theirs) / statistics.median(one)
    report.add(Figure(
        f"one apk uploaded to {count:,}, installable (nginx column: apk index)",
        spread([t * 1e3 for t in one], ".0f", " ms"), spread([t * 1e3 for t in theirs], ".0f", " ms"), f"{ratio:.0f}×", "20×", ratio >= 20,
    ))
    report.detail(f"publishing: {count:,} apks uploaded in {filled:.1f} s ({count / filled:.0f} a second)")
    print(f"   apk: one {one}, apk index {theirs}", file=sys.stderr)
    bench.processes.stop(ours.process)


def large_file(bench: Bench, report: Report) -> None:
    folder = bench.new_folder("dav")
    source = folder / "large"
    block = os.urandom(1 << 20)
    with source.open("wb") as out:
        for _ in range(LARGE >> 20):
            out.write(block)
    (port,) = free_ports(1)
    files = folder / "files"
    files.mkdir()
    configuration = folder / "nginx.conf"
    configuration.write_text(
        f"{own_user()} daemon off; pid {folder}/pid; error_log {folder}/error.log; worker_processes 1; events {{}}\n"
        f"http {{ access_log off; {temp_paths(folder)} server {{ listen 127.0.0.1:{port}; root {files}; client_max_body_size 2g;\n"
        f"location / {{ dav_methods PUT; create_full_put_path on; }} }} }}\n"
    )
    nginx = bench.processes.start("nginx", [bench.programs["NGINX"], "-c", str(configuration)], {}, under_test=True)
    nginx.until(lambda: status_of(port, "/") is not None)
    ours = server(bench)
    rates: dict[str, list[float]] = {"ours": [], "nginx": [], "nginx, on disk": []}
    for round_ in range(5 if bench.effort.starts > 3 else 2):
        for name, url in (("ours", f"http://127.0.0.1:{ours.port}/api/files/{round_}"), ("nginx", f"http://127.0.0.1:{port}/{round_}")):
            began = time.perf_counter()
            subprocess.run([bench.programs["CURL"], "-sf", "-H", f"Authorization: Bearer {TOKEN}", "-T", source, url], check=True, capture_output=True)
            rates[name].append(LARGE / (time.perf_counter() - began) / 1e6)
            if name == "nginx":
                # It answers when the system has the bytes, and the disk may not; artifactapi waits for the disk.
                with (files / str(round_)).open("rb") as stored:
                    os.fdatasync(stored.fileno())
                rates["nginx, on disk"].append(LARGE / (time.perf_counter() - began) / 1e6)
        (files / str(round_)).unlink()
    ratio = statistics.median(rates["ours"]) / statistics.median(rates["nginx"])
    report.add(Figure("upload of one 1 GiB file, hashed", spread(rates["ours"], ".0f", " MB/s"), spread(rates["nginx"], ".0f", " MB/s"),
                      f"{ratio:.2f}×", "0.8×", ratio >= 0.8))
    on_disk = statistics.median(rates["ours"]) / statistics.median(rates["nginx, on disk"])
    report.add(Figure("… against nginx's, once its bytes are on the disk, too", spread(rates["ours"], ".0f", " MB/s"),
                      spread(rates["nginx, on disk"], ".0f", " MB/s"), f"{on_disk:.2f}×"))
    bench.processes.stop(ours.process)
    bench.processes.stop(nginx)
    shutil.rmtree(folder)
