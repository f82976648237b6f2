"""Parse speed: what the benchmark of the formats crate says, run on the server's core."""

import json
import os
import subprocess
import sys

from ..bench import Bench
from ..report import Figure, Report

# What is measured: its name in the table, and the least MB/s of uncompressed text on one core. Inputs that only differ in
# their compression, and checks of packages, have no target.
NAMES = {
    "primary-plain": ("primary.xml", 150.0),
    "primary-gz": ("primary.xml.gz", 150.0),
    "primary-zst": ("primary.xml.zst", None),
    "primary-xz": ("primary.xml.xz", None),
    "primary-bz2": ("primary.xml.bz2", None),
    "apkindex": ("APKINDEX.tar.gz", 300.0),
}

# The same with four times as many packages: memory must not grow with them.
LARGER = (("primary-plain", "primary-plain-x4"), ("apkindex", "apkindex-x4"))
SAME_KIB = 1024


def run(bench: Bench, report: Report) -> None:
    program = build(bench)
    done = subprocess.run(
        [program, "--bench"], check=True, capture_output=True, text=True, cwd=bench.root / "formats",
        env=os.environ | {"TMPDIR": str(bench.folder)}, preexec_fn=lambda: os.sched_setaffinity(0, {bench.cores[0]}),
    )
    rows = {}
    for line in done.stdout.splitlines():
        report.detail(line)
        print(f"   {line}", file=sys.stderr)
        pairs = dict(word.split("=", 1) for word in line.split() if "=" in word)
        rows[pairs["bench"]] = pairs
    for label, (name, target) in NAMES.items():
        speed, size = float(rows[label]["mb_per_s"]), int(rows[label]["bytes"])
        report.add(Figure(
            what=f"parse {name}, {size / 1e6:.0f} MB of text, one core",
            ours=f"{speed:.0f} MB/s",
            target=f"{target:g} MB/s" if target else "–",
            reached=speed >= target if target else None,
        ))
    for label, larger in LARGER:
        few, many = (int(rows[key]["peak_growth_kib"]) for key in (label, larger))
        report.add(Figure(
            what=f"… memory it takes to read {NAMES[label][0]}, and one four times as large",
            ours=f"{few} KiB, {many} KiB",
            target="the same",
            reached=many <= few + SAME_KIB,
        ))


def build(bench: Bench) -> str:
    """Builds the benchmark; where its program is."""
    print("   building the formats' benchmark", file=sys.stderr)
    done = subprocess.run(
        ["cargo", "bench", "--quiet", "-p", "artifactapi-formats", "--bench", "parse", "--no-run", "--message-format=json"],
        cwd=bench.root, check=True, stdout=subprocess.PIPE, text=True,
    )
    for line in done.stdout.splitlines():
        message = json.loads(line) if line.startswith("{") else {}
        if message.get("executable") and message["target"]["kind"] == ["bench"]:
            return message["executable"]
    raise RuntimeError("cargo built no benchmark of the formats")
