"""The machine: cores, what runs on them, what a process holds in memory."""

import os
import platform
import re
import subprocess
import time
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


def pin(core: int) -> None:
    """This process, and all that it starts from now on."""
    os.sched_setaffinity(0, {core})


def busy_ticks() -> int:
    """How long all cores together were busy, in ticks since the start of the system."""
    words = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, words[1:9])
    return user + nice + system + irq + softirq + steal


def busy_elsewhere(seconds: float) -> float:
    """How much of one core is used while we do nothing: what disturbs the measurement."""
    before = busy_ticks()
    time.sleep(seconds)
    return (busy_ticks() - before) / TICK / seconds


def cpu_seconds(pid: int) -> float:
    """How long a process and its children were on a CPU, threads that have ended included."""
    ticks = 0
    for member in family(pid):
        after_name = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
        ticks += int(after_name[11]) + int(after_name[12])
    return ticks / TICK


def memory(pid: int) -> dict[str, int]:
    """What a process and its children hold, in bytes: VmRSS, VmHWM, RssAnon."""
    sums = dict.fromkeys(("VmRSS", "VmHWM", "RssAnon"), 0)
    for member in family(pid):
        try:
            status = Path(f"/proc/{member}/status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        for key in sums:
            if match := re.search(rf"^{key}:\s+(\d+) kB", status, re.M):
                sums[key] += int(match[1]) << 10
    return sums


def family(pid: int) -> list[int]:
    """A process and its children, theirs too."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:
        children = []
    return [pid] + [member for child in children for member in family(int(child))]


def describe(root: Path, programs: dict[str, str], cores: tuple[int, int]) -> list[str]:
    """Machine and versions, a line each."""
    def first_line(*command: str) -> str:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return (done.stdout + done.stderr).strip().splitlines()[0]

    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    commit = first_line("git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=10")
    return [
        f"{model[1] if model else platform.machine()}, {os.cpu_count()} cores, {gib:.0f} GiB of memory; "
        f"Linux {platform.release()}",
        f"server under test on core {cores[0]}; load, upstream and S3 on core {cores[1]}",
        f"artifactapi at commit {commit}, {first_line('rustc', '--version')}; {first_line(programs['NGINX'], '-v')}; "
        f"{' '.join(first_line(programs['WRK'], '--version').split()[:2])}; "
        f"SeaweedFS {' '.join(first_line(programs['WEED'], 'version').split()[1:3])}",
    ]
