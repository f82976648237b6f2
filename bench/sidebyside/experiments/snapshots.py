"""Snapshots: a large rpm index as it is first seen and as it changes, what that costs clients who want something else at that
time, and what it costs to check packages."""

import gzip
import hashlib
import http.client
import json
import os
import random
import statistics
import sys
import threading
import time
from pathlib import Path

from .. import clients
from ..bench import MIB, Bench
from ..report import Figure, Report, spread
from ..servers import Artifactapi
from .publishing import peak

PACKAGES = 60_000
CHANGED = 50
FIRST_SECONDS, REFRESH_SECONDS, MEMORY_MIB = 3.0, 1.5, 150
LOAD_SECONDS = 12.0
LARGE = 256 * MIB

REPOSITORIES = """
  index:
    base_url: "http://127.0.0.1:{port}/index"
    type: "remote"
    package: "rpm"
    cache:
      index_ttl: 0
      refresh_wait: 60
      pin: 0
  checked:
    base_url: "http://127.0.0.1:{port}/checked"
    type: "remote"
    package: "rpm"
    cache:
      index_ttl: 3600
"""

HEADS = {
    "primary": '<metadata xmlns="http://linux.duke.edu/metadata/common" xmlns:rpm="http://linux.duke.edu/metadata/rpm" packages="{}">\n',
    "filelists": '<filelists xmlns="http://linux.duke.edu/metadata/filelists" packages="{}">\n',
    "other": '<otherdata xmlns="http://linux.duke.edu/metadata/other" packages="{}">\n',
}
TAILS = {"primary": "</metadata>\n", "filelists": "</filelists>\n", "other": "</otherdata>\n"}


def package(number: int, build: int) -> str:
    """The element of a package in primary.xml, some 2,500 bytes, as those of distributions."""
    digest = hashlib.sha256(f"{number} {build}".encode()).hexdigest()
    name = f"package-{number:05}"
    chance = random.Random(number)
    entries = "".join(
        f'      <rpm:entry name="lib{chance.randrange(1 << 30):08x}.so.{i}()(64bit)" flags="GE" epoch="0" ver="{i}.{build}"/>\n' for i in range(22)
    )
    return (
        f'<package type="rpm">\n  <name>{name}</name>\n  <arch>x86_64</arch>\n  <version epoch="0" ver="1.{build}" rel="1.el9"/>\n'
        f'  <checksum type="sha256" pkgid="YES">{digest}</checksum>\n  <summary>Package number {number} of the benchmark</summary>\n'
        f'  <description>What it is good for is told in a few words here,\nand in some more there: {chance.randbytes(120).hex()}</description>\n'
        f'  <packager>Bench &lt;bench@example.org&gt;</packager>\n  <url>https://example.org/{name}</url>\n'
        f'  <time file="1735689600" build="1735689600"/>\n  <size package="{40_000 + number}" installed="{90_000 + number}" archive="{95_000 + number}"/>\n'
        f'  <location href="Packages/p/{name}-1.{build}-1.el9.x86_64.rpm"/>\n  <format>\n    <rpm:license>MIT</rpm:license>\n    <rpm:vendor>Bench</rpm:vendor>\n'
        f'    <rpm:group>Unspecified</rpm:group>\n    <rpm:buildhost>bench.example.org</rpm:buildhost>\n    <rpm:sourcerpm>{name}-1.{build}-1.el9.src.rpm</rpm:sourcerpm>\n'
        f'    <rpm:header-range start="4504" end="{20_000 + number % 5000}"/>\n    <rpm:provides>\n      <rpm:entry name="{name}" flags="EQ" epoch="0" ver="1.{build}" rel="1.el9"/>\n'
        f'    </rpm:provides>\n    <rpm:requires>\n{entries}    </rpm:requires>\n  </format>\n</package>\n'
    )


class Index:
    """An index of many packages below a folder of the upstream, whose builds can be raised."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "repodata").mkdir(parents=True)
        self.elements = [package(number, 1) for number in range(PACKAGES)]
        self.revision = 1_735_689_600
        self.open_bytes = 0
        self.write()

    def change(self) -> None:
        self.revision += 60
        for number in random.Random(self.revision).sample(range(PACKAGES), CHANGED):
            self.elements[number] = package(number, self.revision)
        self.write()

    def write(self) -> None:
        write_index(self.folder, self.elements, self.revision)
        self.open_bytes = sum(map(len, self.elements))

    def entry(self) -> bytes:
        return (self.folder / "repodata" / "repomd.xml").read_bytes()


def write_index(folder: Path, elements: list[str], revision: int) -> None:
    data = []
    for kind, head in HEADS.items():
        text = (head.format(len(elements) if kind == "primary" else 0) + "".join(elements if kind == "primary" else ()) + TAILS[kind]).encode()
        packed = gzip.compress(text, 1, mtime=0)
        digest = hashlib.sha256(packed).hexdigest()
        name = f"repodata/{digest}-{kind}.xml.gz"
        (folder / name).write_bytes(packed)
        data.append(
            f'<data type="{kind}"><checksum type="sha256">{digest}</checksum><open-checksum type="sha256">{hashlib.sha256(text).hexdigest()}</open-checksum>'
            f'<location href="{name}"/><timestamp>{revision}</timestamp><size>{len(packed)}</size><open-size>{len(text)}</open-size></data>\n'
        )
    new = folder / "repodata" / "repomd.xml.new"
    new.write_text(f'<?xml version="1.0" encoding="UTF-8"?>\n<repomd xmlns="http://linux.duke.edu/metadata/repo"><revision>{revision}</revision>\n{"".join(data)}</repomd>\n')
    os.replace(new, folder / "repodata" / "repomd.xml")


def get(port: int, path: str) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    if answer.status != 200:
        raise RuntimeError(f"{path}: {answer.status} {body[:200]!r}")
    return body


def published(port: int, repository: str = "index") -> int:
    """How many snapshots there are. A root that has none yet is a 404."""
    try:
        return len(json.loads(get(port, f"/snapshots/{repository}/repodata/repomd.xml"))["snapshots"])
    except RuntimeError as none:
        if ": 404 " in str(none):
            return 0
        raise


def wait(until, seconds: float = 120) -> float:
    """Seconds until it is so."""
    began = time.perf_counter()
    while not until():
        if time.perf_counter() - began > seconds:
            raise RuntimeError("it never came to be")
        time.sleep(0.01)
    return time.perf_counter() - began


def run(bench: Bench, report: Report) -> None:
    index = Index(bench.upstream.files / "index")
    hit = bench.file("snapshots/10k.bin", 10 << 10)
    server = bench.artifactapi(repositories=REPOSITORIES.format(port=bench.upstream.port))
    for _ in range(3):
        if clients.fetch(server, "snapshots/10k.bin") != hit:
            raise RuntimeError("other bytes")

    entry = get(server.port, "/api/index/repodata/repomd.xml")
    for line in entry.decode().split('href="')[1:]:
        get(server.port, "/api/index/" + line.split('"')[0])
    first = wait(lambda: published(server.port) == 1)
    refreshes = []
    for _ in range(5 if bench.effort.starts > 3 else 2):
        index.change()
        began = time.perf_counter()
        wait(lambda: get(server.port, "/api/index/repodata/repomd.xml") == index.entry())
        refreshes.append(time.perf_counter() - began)
    most = peak(server.process.pid)
    print(f"   index: first {first:.2f} s, refreshes {refreshes}, memory {most:.0f} MiB", file=sys.stderr)
    size = f"{PACKAGES:,} packages, {index.open_bytes / 1e6:.0f} MB of primary.xml"
    report.add(
        Figure(f"first snapshot of {size}, after its last byte", f"{first:.2f} s", target=f"{FIRST_SECONDS:g} s", reached=first <= FIRST_SECONDS),
        Figure(f"a refresh that changes {CHANGED} of them, from the request to the new index", spread(refreshes, ".2f", " s"),
               target=f"{REFRESH_SECONDS:g} s", reached=statistics.median(refreshes) <= REFRESH_SECONDS),
        Figure("memory meanwhile, at most", f"{most:.0f} MiB", target=f"{MEMORY_MIB} MiB", reached=most < MEMORY_MIB),
    )
    beside(bench, report, server, index)
    bench.processes.stop(server.process)
    checking(bench, report)


def beside(bench: Bench, report: Report, server: Artifactapi, index: Index) -> None:
    """Hits, with an index that is refreshed every three seconds and without."""
    rates: dict[bool, list[float]] = {False: [], True: []}
    stop = threading.Event()

    def refresh() -> None:
        while not stop.wait(3):
            get(server.port, "/api/index/repodata/repomd.xml")

    for round_ in range(3 if bench.effort.starts > 3 else 1):
        for is_refreshed in (False, True) if round_ % 2 == 0 else (True, False):
            stop.clear()
            thread = None
            if is_refreshed:
                index.change()
                thread = threading.Thread(target=refresh)
                thread.start()
            load = clients.wrk(bench.programs["WRK"], bench.root / "bench" / "wrk.lua", server, "snapshots/10k.bin", 64, LOAD_SECONDS)
            stop.set()
            if thread:
                thread.join()
            rates[is_refreshed].append(load.requests)
    ratio = statistics.median(rates[True]) / statistics.median(rates[False])
    print(f"   hits beside a refresh: {rates}", file=sys.stderr)
    report.add(Figure(f"hits of 10 KiB in {LOAD_SECONDS:g} s with a refresh among them, against none (right column)",
                      spread([r / 1e3 for r in rates[True]], ".1f", " k req/s"), spread([r / 1e3 for r in rates[False]], ".1f", " k req/s"),
                      f"{ratio:.2f}×", "0.9×", ratio >= 0.9))


def checking(bench: Bench, report: Report) -> None:
    """A large package as it streams through, checked, and as a file of which nothing is known; nobody has asked for it before."""
    folder = bench.upstream.files / "checked"
    (folder / "repodata").mkdir(parents=True)
    (folder / "Packages/p").mkdir(parents=True)
    rounds = 7 if bench.effort.starts > 3 else 3
    lead = b"\xed\xab\xee\xdb\x03\x00\x00\x00\x00\x01" + b"bench-1-1".ljust(66, b"\0") + b"\x00\x01\x00\x05".ljust(20, b"\0")
    block = os.urandom(MIB)
    elements = []
    for number in range(rounds):
        path = folder / f"Packages/p/package-{number:05}-1.1-1.el9.x86_64.rpm"
        digest = hashlib.sha256()
        with path.open("wb") as out:
            for piece in (lead, number.to_bytes(8), *[block] * (LARGE // MIB)):
                out.write(piece)
                digest.update(piece)
        element = package(number, 1)
        said = hashlib.sha256(f"{number} 1".encode()).hexdigest()
        element = element.replace(said, digest.hexdigest()).replace(f'package="{40_000 + number}"', f'package="{path.stat().st_size}"')
        elements.append(element)
    write_index(folder, elements, 1_735_689_600)
    server = bench.artifactapi(repositories=REPOSITORIES.format(port=bench.upstream.port))
    entry = get(server.port, "/api/checked/repodata/repomd.xml")
    for line in entry.decode().split('href="')[1:]:
        get(server.port, "/api/checked/" + line.split('"')[0])
    wait(lambda: published(server.port, "checked"))
    rates: dict[str, list[float]] = {"checked": [], "unchecked": []}
    for number in range(rounds):
        for name in ("checked", "unchecked") if number % 2 == 0 else ("unchecked", "checked"):
            began = time.perf_counter()
            connection = clients.Connection(server)
            server.prefix = {"checked": "/api/checked", "unchecked": "/api/bench/checked"}[name]
            connection.first_byte(f"Packages/p/package-{number:05}-1.1-1.el9.x86_64.rpm")
            connection.close()
            rates[name].append(LARGE / (time.perf_counter() - began) / 1e6)
    ratio = statistics.median(c / u for c, u in zip(rates["checked"], rates["unchecked"]))
    print(f"   checking: {rates}", file=sys.stderr)
    report.add(Figure(f"cold rpm of {LARGE // MIB} MiB, checked, against the same as a generic file (right column)", spread(rates["checked"], ".0f", " MB/s"),
                      spread(rates["unchecked"], ".0f", " MB/s"), f"{ratio:.2f}×", "0.9×", ratio >= 0.9))
    bench.processes.stop(server.process)
