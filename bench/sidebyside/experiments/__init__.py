"""The experiments, in the order in which they run."""

from collections.abc import Callable

from ..bench import Bench
from ..report import Report
from . import first_byte, herd, hits, memory, parse, publishing, retention, snapshots, startup

EXPERIMENTS: dict[str, Callable[[Bench, Report], None]] = {
    "hits": hits.run,
    "first-byte": first_byte.run,
    "herd": herd.run,
    "memory": memory.run,
    "startup": startup.run,
    "parse": parse.run,
    "snapshots": snapshots.run,
    "publishing": publishing.run,
    "upload": publishing.large_file,
    "retention": retention.run,
}
