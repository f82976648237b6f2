"""Starting programs on the right core, and being sure that all of them are gone at the end."""

import ctypes
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

# No proxy variables and no configuration of whoever runs this.
CLEAN = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


class Process:
    """One started program."""

    def __init__(self, name: str, child: subprocess.Popen, log: Path) -> None:
        self.name, self.child, self.log = name, child, log

    @property
    def pid(self) -> int:
        return self.child.pid

    def send(self, signum: int) -> None:
        self.child.send_signal(signum)

    def until(self, ready: Callable[[], bool], seconds: float = 20, pause: float = 0.01) -> None:
        """Waits until it is ready; a program that ends instead is an error with the end of its log."""
        deadline = time.monotonic() + seconds
        while not ready():
            if self.child.poll() is not None:
                raise RuntimeError(f"{self.name} ended with {self.child.returncode}: {self.tail()}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} was not ready after {seconds} s: {self.tail()}")
            time.sleep(pause)

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-1500:]

    def stop(self, first: int = signal.SIGTERM, seconds: float = 10) -> None:
        if self.child.poll() is None:
            self.child.send_signal(first)
            try:
                self.child.wait(seconds)
            except subprocess.TimeoutExpired:
                os.killpg(self.pid, signal.SIGKILL)
        self.child.wait()
        try:
            os.killpg(self.pid, signal.SIGKILL)  # what it left behind: each is the leader of its own group
        except ProcessLookupError:
            pass


class Processes:
    """All programs of a run. Leaving it stops them, and should this script be killed, the kernel does."""

    def __init__(self, folder: Path, server_core: int) -> None:
        self.folder, self.server_core = folder, server_core
        self.running: list[Process] = []

    def __enter__(self) -> "Processes":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_all_but(())

    def start(self, name: str, command: list[str], environment: dict[str, str] | None = None, *, under_test: bool) -> Process:
        """Starts a program: one under test on the server's core, any other on the load's, where this script runs."""
        log = self.folder / f"{name}.log"
        core = self.server_core if under_test else None

        def in_child() -> None:
            _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if core is not None:
                os.sched_setaffinity(0, {core})

        with log.open("ab") as output:
            child = subprocess.Popen(
                [str(word) for word in command], env=CLEAN | {"HOME": str(self.folder)} | (environment or {}), cwd=self.folder, stdin=subprocess.DEVNULL,
                stdout=output, stderr=output, start_new_session=True, preexec_fn=in_child,
            )
        process = Process(name, child, log)
        self.running.append(process)
        return process

    def stop(self, process: Process, first: int = signal.SIGTERM) -> None:
        process.stop(first)
        if process in self.running:
            self.running.remove(process)

    def stop_all_but(self, kept: object) -> None:
        for process in [p for p in reversed(self.running) if p not in kept]:
            self.stop(process)


def free_ports(count: int) -> list[int]:
    """Ports of the loopback interface that nobody uses at this moment."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports
