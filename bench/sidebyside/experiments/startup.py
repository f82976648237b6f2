"""Start-up: from exec to the first answer of /health, with an empty catalog and with a large one."""

import sqlite3
import statistics
import sys
import time
from pathlib import Path

from ..bench import Bench
from ..report import Figure, Report, spread
from ..servers import Artifactapi, status_of

TARGET_MS = 200.0

# Rows as a fill leaves them, in the order of their index. Their blobs are not there: no start looks at them.
FILL = """
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :rows)
INSERT INTO artifact (repository, path, query, query_key, revision, blob, size, sha256, content_type, etag,
                      upstream_last_modified, last_modified, stored_at, checked_at)
SELECT 'bench', printf('pool/%04d/package-%07d-1.0-1.x86_64.rpm', i / 1000, i), '', '', i,
       printf('bench/%016x/package-%07d-1.0-1.x86_64.rpm', i * 2654435761, i), 10240 + i % 100000, randomblob(32),
       'application/x-rpm', printf('"%08x-%x"', i, i), 'Tue, 01 Jul 2025 00:00:00 GMT',
       1751328000000, 1751328000000, 1751328000000
FROM n
"""


def run(bench: Bench, report: Report) -> None:
    empty, large = bench.new_folder("artifactapi"), bench.new_folder("artifactapi")
    for folder in (empty, large):  # the server makes its own schema
        bench.processes.stop(bench.artifactapi(folder).process)
    fill(large / "data" / "catalog.sqlite", bench.effort.catalog_rows)
    times: dict[str, list[float]] = {"empty": [], "large": []}
    for _ in range(bench.effort.starts):
        for name, folder in (("empty", empty), ("large", large)):
            times[name].append(start(bench, folder))
    rows = f"{bench.effort.catalog_rows:,}"
    report.add(
        Figure(f"ready to serve with a catalog of {rows} rows", spread(times["large"], ".0f", " ms"), target=f"{TARGET_MS:g} ms",
               reached=statistics.median(times["large"]) <= TARGET_MS),
        Figure("ready to serve with an empty catalog", spread(times["empty"], ".0f", " ms")),
    )
    line = "start: " + "; ".join(f"{name} catalog {', '.join(f'{t:.0f}' for t in taken)} ms" for name, taken in times.items())
    report.detail(line)
    print(f"   {line}", file=sys.stderr)


def fill(path: Path, rows: int) -> None:
    with sqlite3.connect(path) as catalog:
        catalog.execute("PRAGMA synchronous = OFF")
        catalog.execute(FILL, {"rows": rows})
        catalog.execute("UPDATE artifact_revision SET last = :rows", {"rows": rows})
    (count,) = catalog.execute("SELECT count(*) FROM artifact").fetchone()
    catalog.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    catalog.close()
    if count != rows:
        raise RuntimeError(f"the catalog has {count} rows instead of {rows}")


def start(bench: Bench, folder: Path) -> float:
    """Milliseconds from exec until /health says 200."""
    began = time.perf_counter()
    server: Artifactapi = bench.artifactapi(folder, wait=False)
    # Connecting is tried all the time, so that it is the server that is waited for; it has the other core to itself.
    server.process.until(lambda: status_of(server.port, "/health") == 200, pause=0)
    took = (time.perf_counter() - began) * 1e3
    bench.processes.stop(server.process)
    return took
