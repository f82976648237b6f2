"""Warm hits: how much one core serves of what is held, next to nginx, over files and over S3 with the hot tier."""

import statistics
import sys
import time
from dataclasses import dataclass

from .. import clients
from ..bench import KIB, MIB, Bench
from ..clients import Load
from ..report import Figure, Report, spread
from ..servers import Seaweed, Server


@dataclass(frozen=True)
class Size:
    label: str
    file: str
    bytes: int
    connections: int
    target: float


SIZES = {
    "10k": Size("10 KiB", "hits/10k.bin", 10 * KIB, 64, 1.5),
    "1m": Size("1 MiB", "hits/1m.bin", MIB, 8, 1.3),
    "100m": Size("100 MiB", "hits/100m.bin", 100 * MIB, 8, 1.3),
}


def run(bench: Bench, report: Report) -> None:
    sizes = [SIZES[name] for name in bench.sizes]
    digests = {size: bench.file(size.file, size.bytes) for size in sizes}
    nginx = bench.nginx()
    files = bench.artifactapi()
    servers: dict[str, Server] = {"nginx": nginx, "files": files}
    for name, binary in bench.also.items():
        servers[name] = bench.artifactapi(binary=binary, name=name)
    for server in servers.values():
        for size in sizes:
            warm(server, size, digests[size])
    if not bench.over_s3:
        measure(bench, report, sizes, servers)
        return
    store = Seaweed.start(bench.processes, bench.programs["WEED"], bench.programs["CURL"], bench.new_folder("s3"))
    try:
        servers["S3"] = bench.artifactapi(s3=store, name="artifactapi-s3")
        for size in sizes:
            warm(servers["S3"], size, digests[size])
        # A client has its bytes before the bucket does.
        deadline = time.monotonic() + 60
        while (objects := store.objects()) < len(sizes):
            if time.monotonic() > deadline:
                raise RuntimeError(f"the bucket holds {objects} objects after {len(sizes)} fills")
            time.sleep(0.5)
        for size in sizes:
            warm(servers["S3"], size, digests[size])
        # From here on no hit may need the store.
        store.freeze()
        measure(bench, report, sizes, servers)
    finally:
        store.stop(bench.processes)


def warm(server: Server, size: Size, digest: str) -> None:
    """Fills, and hits once more than the first time a hit is remembered; every answer must be the right bytes."""
    for _ in range(3):
        if clients.fetch(server, size.file) != digest:
            raise RuntimeError(f"{server.name} serves other bytes of {size.file}")


def measure(bench: Bench, report: Report, sizes: list[Size], servers: dict[str, Server]) -> None:
    script = bench.root / "bench" / "wrk.lua"
    for size in sizes:
        before = bench.upstream.transfers(size.file)
        loads: dict[str, list[Load]] = {name: [] for name in servers}
        for number in range(bench.effort.hit_rounds):
            # Forwards and backwards in turn, so that nobody always comes after the same other one.
            order = list(servers.items())[:: 1 if number % 2 == 0 else -1]
            for name, server in order:
                load = clients.wrk(
                    bench.programs["WRK"], script, server, size.file, size.connections, bench.effort.hit_seconds
                )
                loads[name].append(load)
                line = (
                    f"hit {size.label:8} round {number + 1}  {name:12} {load.requests:9.0f} req/s {load.bytes / 1e9:6.2f} GB/s;  "
                    f"on their core: server {load.server:4.0%}, wrk {load.load:4.0%};  "
                    f"in a second there: {load.requests / load.server:9.0f} req {load.bytes / 1e9 / load.server:6.2f} GB"
                )
                report.detail(line)
                print(f"   {line}", file=sys.stderr)
        if bench.upstream.transfers(size.file) != before:
            raise RuntimeError(f"{size.file} was fetched from upstream while hits were measured")
        for name in servers:
            if name != "nginx":
                report.add(*figures(size, name, loads[name], loads["nginx"]))


def figures(size: Size, name: str, ours: list[Load], nginx: list[Load]) -> list[Figure]:
    def rate(load: Load) -> float:
        return load.requests / 1e3 if size.bytes < MIB else load.bytes / 1e9

    def cost(load: Load) -> float:
        return rate(load) / load.server

    unit, form = (" k req/s", ".1f") if size.bytes < MIB else (" GB/s", ".2f")
    what = f"hit {size.label}, {size.connections} connections, {name}"
    # Each round's own ratio: what slows the machine down for a while slows both down.
    ratio = statistics.median(rate(o) / rate(n) for o, n in zip(ours, nginx))
    cheaper = statistics.median(cost(o) / cost(n) for o, n in zip(ours, nginx))
    return [
        Figure(
            what=what,
            ours=spread([rate(load) for load in ours], form, unit),
            nginx=spread([rate(load) for load in nginx], form, unit),
            ratio=f"{ratio:.2f}×",
            target=f"{size.target}×",
            reached=ratio >= size.target,
        ),
        # Where wrk's core is full before the server's, this says what the server could do for faster clients.
        Figure(
            what="… for each second that the server used of its core",
            ours=spread([cost(load) for load in ours], form, unit),
            nginx=spread([cost(load) for load in nginx], form, unit),
            ratio=f"{cheaper:.2f}×",
        ),
    ]
