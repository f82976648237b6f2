"""Retention: a budget of 100 MiB, and ten times as much asked for. How much is answered from the cache, and what does it take on disk?

The same requests in the same order for both: files of a MiB, number n about 1/n as often as the first. They come at a fixed
pace, because both look at their budget now and then and not at each file: artifactapi when a twentieth of it more is kept, a second apart, nginx's cache manager when it
wakes. What the upstream logged as transferred was no hit.
"""

import random
import sys
import time
from itertools import accumulate
from pathlib import Path

from .. import clients
from ..bench import MIB, Bench
from ..report import Figure, Report
from ..servers import Server

BUDGET = 100 * MIB
FILES = 400
PACE = 20  # requests a second
SEED = 20_260_201


def run(bench: Bench, report: Report) -> None:
    draw = random.Random(SEED)
    weights = list(accumulate(1 / rank for rank in range(1, FILES + 1)))
    sequence = draw.choices(range(FILES), cum_weights=weights, k=bench.effort.retention_requests)
    ours = look(bench, report, bench.artifactapi(max_bytes=BUDGET), sequence)
    nginx = look(bench, report, bench.nginx(max_size="100m"), sequence)
    exact = exact_hits(sequence, BUDGET // MIB) / len(sequence)
    what = f"{len(sequence)} MiB through a budget of {BUDGET // MIB} MiB"
    report.add(
        Figure(f"{what}: answered from the cache (an exact cache: {exact:.1%})", f"{ours[0]:.1%}", f"{nginx[0]:.1%}",
               ratio=f"{ours[0] / nginx[0]:.2f}×", target="1×", reached=ours[0] >= nginx[0]),
        Figure("… most on disk; artifactapi keeps what it evicted for one to two minutes", f"{ours[1] / MIB:.0f} MiB", f"{nginx[1] / MIB:.0f} MiB"),
    )


def look(bench: Bench, report: Report, server: Server, sequence: list[int]) -> tuple[float, int]:
    """The share of hits, and the most that was seen on disk."""
    files = [f"retention/{server.name}/{number}.bin" for number in range(FILES)]
    digests = {file: bench.file(file, MIB) for file in {files[number] for number in sequence}}
    began, most = time.monotonic(), 0
    for count, number in enumerate(sequence):
        time.sleep(max(0, began + count / PACE - time.monotonic()))
        if clients.fetch(server, files[number]) != digests[files[number]]:
            raise RuntimeError(f"{server.name} serves other bytes of {files[number]}")
        if count % PACE == 0:
            most = max(most, on_disk(server.cache))
    missed = bench.upstream.transfers_below(f"retention/{server.name}/")
    hits = 1 - missed / len(sequence)
    line = f"retention {server.name:12} {hits:.1%} hits, {missed} upstream transfers, at most {most / MIB:.0f} MiB on disk"
    report.detail(line)
    print(f"   {line}", file=sys.stderr)
    bench.processes.stop(server.process)
    return hits, most


def on_disk(folder: Path) -> int:
    """The bytes of all files below a folder; one that goes meanwhile has none."""
    size = 0
    for path in folder.rglob("*"):
        try:
            size += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            pass
    return size


def exact_hits(sequence: list[int], room: int) -> int:
    """The hits of a cache that never holds more than so many files and drops the least recently used."""
    cached: dict[int, None] = {}
    hits = 0
    for number in sequence:
        hits += number in cached
        cached.pop(number, None)
        cached[number] = None
        if len(cached) > room:
            del cached[next(iter(cached))]
    return hits
