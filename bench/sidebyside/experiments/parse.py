"""Parse speed: what the benchmark of the formats crate says, run on the server's core."""

import json
import os
import re
import statistics
import subprocess
import sys

from ..bench import Bench
from ..report import Figure, Report, spread

# What a line is about, and the least MB/s of uncompressed text on one core.
TARGETS = {"primary.xml": 150.0, "APKINDEX": 300.0}


def run(bench: Bench, report: Report) -> None:
    program = build(bench)
    speeds: dict[str, list[float]] = {}
    for _ in range(3 if bench.effort.hit_rounds > 3 else 1):
        done = subprocess.run(
            [program, "--bench"], check=True, capture_output=True, text=True, cwd=bench.root / "formats",
            preexec_fn=lambda: os.sched_setaffinity(0, {bench.cores[0]}),
        )
        for line in done.stdout.splitlines():
            report.detail(f"parse {line}")
            print(f"   {line}", file=sys.stderr)
            if found := re.match(r"(\S+)\s.*?([\d.]+) MB/s", line):
                speeds.setdefault(found[1], []).append(float(found[2]))
    for name, target in TARGETS.items():
        if name not in speeds:
            raise RuntimeError(f"the formats' benchmark has no line {name}")
    for name, taken in speeds.items():
        target = TARGETS.get(name)
        report.add(Figure(
            what=f"parse {name}, of text on one core",
            ours=spread(taken, ".0f", " MB/s"),
            target=f"{target:g} MB/s" if target else "–",
            reached=statistics.median(taken) >= target if target else None,
        ))


def build(bench: Bench) -> str:
    """Builds the benchmark; where its program is."""
    if not any((bench.root / "formats" / "benches").glob("*.rs")):
        raise RuntimeError("formats/benches is empty")
    print("   building the formats' benchmark", file=sys.stderr)
    done = subprocess.run(
        ["cargo", "bench", "-p", "artifactapi-formats", "--no-run", "--benches", "--message-format=json"], cwd=bench.root,
        check=True, stdout=subprocess.PIPE, text=True,
    )
    for line in done.stdout.splitlines():
        message = json.loads(line) if line.startswith("{") else {}
        if message.get("executable") and message["target"]["kind"] == ["bench"]:
            return message["executable"]
    raise RuntimeError("cargo built no benchmark of the formats")
