"""Memory: at rest, and while many slow clients read one large file."""

import sys
import time
from collections.abc import Callable

from .. import clients, machine
from ..bench import GIB, MIB, Bench
from ..report import Figure, Report
from ..servers import Server

READERS = 500
RATE = 1_000_000
REST_TARGET = 40 * MIB
READERS_TARGET = 200 * MIB


def mib(size: int) -> str:
    return f"{size / MIB:.0f} MiB"


def run(bench: Bench, report: Report) -> None:
    file = "memory/1g.bin"
    bench.file(file, GIB)
    folder = bench.new_folder("artifactapi")
    # What a fill takes belongs to another experiment: the server that is looked at finds the file held.
    filling = bench.artifactapi(folder)
    clients.fetch(filling, file)
    bench.processes.stop(filling.process)

    ours, rest = look(bench, report, file, lambda: bench.artifactapi(folder))
    nginx, nginx_rest = look(bench, report, file, bench.nginx)
    report.add(
        Figure("memory at rest (VmRSS)", mib(rest["VmRSS"]), mib(nginx_rest["VmRSS"]), target=mib(REST_TARGET),
               reached=rest["VmRSS"] <= REST_TARGET),
        Figure("memory at rest, without what is mapped from files (RssAnon)", mib(rest["RssAnon"]), mib(nginx_rest["RssAnon"])),
        Figure(f"memory under {READERS} readers of 1 GiB at 1 MB/s each, most (VmRSS)", mib(ours["VmRSS"]), mib(nginx["VmRSS"]),
               target=mib(READERS_TARGET), reached=ours["VmRSS"] < READERS_TARGET),
        Figure("… since its start (VmHWM)", mib(ours["VmHWM"]), mib(nginx["VmHWM"])),
        Figure("… without what is mapped from files (RssAnon)", mib(ours["RssAnon"]), mib(nginx["RssAnon"])),
        Figure("… what the readers got together", f"{ours['rate'] / 1e6:.0f} MB/s", f"{nginx['rate'] / 1e6:.0f} MB/s",
               target=f"{READERS * RATE / 1e6:.0f} MB/s", reached=ours["rate"] >= 0.98 * READERS * RATE),
    )


def look(bench: Bench, report: Report, file: str, start: Callable[[], Server]) -> tuple[dict[str, float], dict[str, int]]:
    """The most that was seen under the readers (and what they got), and what was there at rest before."""
    server = start()
    time.sleep(2)
    rest = machine.memory(server.process.pid)
    clients.fetch(server, file)
    readers = clients.SlowReaders(server, file, READERS, RATE)
    most: dict[str, float] = dict.fromkeys(rest, 0)
    rates = []
    try:
        readers.read_for(2)  # until all have begun
        for _ in range(round(bench.effort.slow_seconds)):
            rates.append(readers.read_for(1))
            seen = machine.memory(server.process.pid)
            most = {key: max(most[key], seen[key]) for key in seen}
    finally:
        readers.close()
    most["rate"] = sum(rates) / len(rates)
    time.sleep(3)
    after = machine.memory(server.process.pid)
    line = (
        f"memory {server.name:12} at rest {mib(rest['VmRSS'])}, under readers {mib(int(most['VmRSS']))}, "
        f"3 s after they left {mib(after['VmRSS'])}"
    )
    report.detail(line)
    print(f"   {line}", file=sys.stderr)
    bench.processes.stop(server.process)
    return most, rest
