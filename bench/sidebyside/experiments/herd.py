"""A herd: many clients ask for one cold large file at once, and upstream is slow."""

import statistics
import sys

from .. import clients
from ..bench import MIB, Bench
from ..report import Figure, Report, spread
from ..servers import HERD_RATE, Server

CLIENTS = 100
SIZE = 100 * MIB
TARGET = 1.15


def run(bench: Bench, report: Report) -> None:
    source = "slow/herd.bin"
    digest = bench.file(source, SIZE)
    servers: dict[str, Server] = {"artifactapi": bench.artifactapi(), "nginx": bench.nginx()}
    ratios: dict[str, list[float]] = {name: [] for name in servers}
    times: dict[str, list[float]] = {name: [] for name in servers}
    transfers: dict[str, list[int]] = {name: [] for name in servers}
    directs = []
    for number in range(bench.effort.herd_rounds):
        direct = clients.herd(bench.upstream, source, 1)
        directs.append(direct)
        for name, server in servers.items():
            file = f"slow/herd-{name}-{number}.bin"
            (bench.upstream.files / file).hardlink_to(bench.upstream.files / source)
            took = clients.herd(server, file, CLIENTS)
            if clients.fetch(server, file) != digest:
                raise RuntimeError(f"{name} serves other bytes of {file}")
            times[name].append(took)
            ratios[name].append(took / direct)
            transfers[name].append(bench.upstream.transfers(file))
            line = f"herd round {number + 1}  {name:12} {took:6.2f} s, {transfers[name][-1]} upstream transfers; direct {direct:.2f} s"
            report.detail(line)
            print(f"   {line}", file=sys.stderr)

    ours, nginx = statistics.median(ratios["artifactapi"]), statistics.median(ratios["nginx"])
    what = f"herd of {CLIENTS} on a cold file of 100 MiB"
    most, most_nginx = max(transfers["artifactapi"]), max(transfers["nginx"])
    report.add(
        Figure(f"{what}: upstream transfers, at most", f"{most}", f"{most_nginx}", target="1", reached=most == 1),
        Figure(
            f"{what}: time for all, against one direct transfer of {statistics.median(directs):.2f} s "
            f"({HERD_RATE // MIB} MiB/s)",
            f"{ours:.2f}×, {spread(times['artifactapi'], '.2f', ' s')}",
            f"{nginx:.2f}×, {spread(times['nginx'], '.2f', ' s')}",
            ratio=f"{nginx / ours:.2f}×",
            target=f"{TARGET}×",
            reached=ours <= TARGET,
        ),
    )
