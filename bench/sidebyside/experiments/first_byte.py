"""Cold files: how much later the first byte of the body comes than from upstream directly."""

import statistics

from ..bench import KIB, MIB, Bench
from ..clients import Connection
from ..report import Figure, Report, percentile

TARGET_MS = 2.0


def run(bench: Bench, report: Report) -> None:
    for label, size, count in (("10 KiB", 10 * KIB, bench.effort.cold_small), ("4 MiB", 4 * MIB, bench.effort.cold_large)):
        measure(bench, report, label, size, count)


def measure(bench: Bench, report: Report, label: str, size: int, count: int) -> None:
    files = [f"cold/{size}/{number}.bin" for number in range(count + 5)]
    for file in files:
        bench.file(file, size)
    servers = {"upstream": bench.upstream, "artifactapi": bench.artifactapi(), "nginx": bench.nginx()}
    connections = {name: Connection(server) for name, server in servers.items()}
    seconds: dict[str, list[float]] = {name: [] for name in servers}
    try:
        for connection in connections.values():  # the first requests of a process are not like the others
            for file in files[count:]:
                connection.first_byte(file)
        for number, file in enumerate(files[:count]):
            order = list(connections)
            for name in order[number % 3 :] + order[: number % 3]:
                seconds[name].append(connections[name].first_byte(file))
    finally:
        for connection in connections.values():
            connection.close()

    def later(name: str) -> list[float]:
        return [(through - direct) * 1e3 for through, direct in zip(seconds[name], seconds["upstream"])]

    ours, nginx = later("artifactapi"), later("nginx")
    direct = statistics.median(seconds["upstream"]) * 1e3
    for what, of in (("median", statistics.median), ("p99", lambda values: percentile(values, 0.99))):
        # The aim is for the median: the last of a hundred says more of the machine than of the server.
        aim = {"target": f"{TARGET_MS:g} ms", "reached": of(ours) <= TARGET_MS} if what == "median" else {}
        report.add(Figure(
            what=f"first byte of a cold file of {label}, later than upstream's own, {what} of {count}",
            ours=f"{of(ours):.2f} ms",
            nginx=f"{of(nginx):.2f} ms",
            **aim,
        ))
    report.detail(f"first byte {label}: upstream's own {direct:.2f} ms (median)")
