"""The load: wrk for hits, and small clients of our own for what wrk cannot do.

Our own clients throw bodies away inside the kernel (MSG_TRUNC): 100 of them then cost so little that they share a core
with the upstream without holding up the server under test.
"""

import hashlib
import http.client
import os
import re
import select
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from .machine import cpu_seconds
from .servers import Server

GULP = 1 << 20
_buffer = bytearray(GULP)


@dataclass
class Load:
    """What one round of wrk saw."""

    requests: float  # a second
    bytes: float     # a second
    server: float    # the share of the time that the server was on its core
    load: float      # the same of wrk


def wrk(wrk: str, script: Path, server: Server, file: str, connections: int, seconds: float) -> Load:
    served, loaded = cpu_seconds(server.process.pid), os.times()
    command = [wrk, "-t1", f"-c{connections}", f"-d{seconds:g}s", "--timeout", "30s", "-s", str(script), server.url(file)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    served = cpu_seconds(server.process.pid) - served
    now = os.times()
    loaded = now.children_user + now.children_system - loaded.children_user - loaded.children_system
    found = re.search(r"^RESULT (\d+) (\d+) (\d+) (\d+) (\d+)$", done.stdout, re.M)
    if not found:
        raise RuntimeError(f"wrk said nothing: {done.stdout} {done.stderr}")
    requests, size, micros, broken, statuses = map(int, found.groups())
    if broken or statuses:
        raise RuntimeError(f"{server.name}: {broken} broken connections and {statuses} error answers for {file}")
    took = micros / 1e6
    return Load(requests / took, size / took, served / took, loaded / took)


def fetch(server: Server, file: str) -> str:
    """Gets a file whole; its SHA-256."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
    try:
        connection.request("GET", server.path(file))
        response = connection.getresponse()
        if response.status != 200:
            raise RuntimeError(f"{server.name} answers {response.status} for {file}: {response.read(500)!r}")
        digest, declared, got = hashlib.sha256(), int(response.headers["Content-Length"]), 0
        while block := response.read(GULP):
            digest.update(block)
            got += len(block)
        if got != declared:
            raise RuntimeError(f"{server.name} sent {got} of {declared} bytes of {file}")
        return digest.hexdigest()
    finally:
        connection.close()


class Connection:
    """One kept-alive connection that times the first byte of an answer."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def first_byte(self, file: str) -> float:
        """Asks for a file, reads all of it; seconds until the first byte of its *body* was here."""
        ask = f"GET {self.server.path(file)} HTTP/1.1\r\nHost: bench\r\n\r\n".encode()
        began = time.perf_counter()
        self.socket.sendall(ask)
        head = b""
        while True:
            block = self.socket.recv(65536)
            if not block:
                raise RuntimeError(f"{self.server.name} closed the connection before the body of {file}")
            head += block
            end = head.find(b"\r\n\r\n")
            if end >= 0 and len(head) > end + 4:
                break
        took = time.perf_counter() - began
        size = content_length(head[: end + 4], self.server, file)
        left = size - (len(head) - end - 4)
        while left:
            count = self.socket.recv_into(_buffer, min(left, GULP), socket.MSG_TRUNC)
            if not count:
                raise RuntimeError(f"{self.server.name} cut {file}")
            left -= count
        return took

    def close(self) -> None:
        self.socket.close()


def content_length(head: bytes, server: Server, file: str) -> int:
    status = int(head.split(b" ", 2)[1])
    if status != 200:
        raise RuntimeError(f"{server.name} answers {status} for {file}")
    found = re.search(rb"\r\ncontent-length: *(\d+)\r\n", head, re.I)
    if not found:
        raise RuntimeError(f"{server.name} sends no Content-Length for {file}")
    return int(found[1])


def connect_all(server: Server, count: int) -> list[socket.socket]:
    sockets = [socket.create_connection(("127.0.0.1", server.port), timeout=30) for _ in range(count)]
    for s in sockets:
        s.setblocking(False)
    return sockets


def herd(server: Server, file: str, clients: int, patience: float = 120) -> float:
    """Asks for one file with many clients at once; seconds until the last one has all of it."""
    sockets = connect_all(server, clients)
    poll = select.epoll()
    heads: dict[int, bytes] = {}
    left: dict[int, int] = {}
    by_fd = {s.fileno(): s for s in sockets}
    ask = f"GET {server.path(file)} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n".encode()
    try:
        for fd in by_fd:
            poll.register(fd, select.EPOLLIN)
        began = time.perf_counter()
        for s in sockets:
            s.sendall(ask)
        waiting = clients
        while waiting:
            if time.perf_counter() - began > patience:
                raise RuntimeError(f"{server.name}: {waiting} of {clients} clients still wait after {patience:g} s")
            for fd, _ in poll.poll(1):
                s = by_fd[fd]
                if fd not in left:
                    block = s.recv(4096)
                    if not block:
                        raise RuntimeError(f"{server.name} cut a client of {file} before the head")
                    head = heads[fd] = heads.get(fd, b"") + block
                    end = head.find(b"\r\n\r\n")
                    if end < 0:
                        continue
                    left[fd] = content_length(head[: end + 4], server, file) - (len(head) - end - 4)
                else:
                    count = s.recv_into(_buffer, min(left[fd], GULP), socket.MSG_TRUNC)
                    if not count:
                        raise RuntimeError(f"{server.name} cut a client of {file}, {left[fd]} bytes early")
                    left[fd] -= count
                if not left[fd]:
                    poll.unregister(fd)
                    waiting -= 1
        return time.perf_counter() - began
    finally:
        poll.close()
        for s in sockets:
            s.close()


class SlowReaders:
    """Many clients of one file, each taking `rate` bytes a second."""

    TURNS = 20  # a second

    def __init__(self, server: Server, file: str, clients: int, rate: int) -> None:
        self.sockets = connect_all(server, clients)
        self.portion = rate // self.TURNS
        self.taken = 0
        ask = f"GET {server.path(file)} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n".encode()
        for s in self.sockets:
            s.sendall(ask)

    def read_for(self, seconds: float) -> float:
        """Reads; bytes a second that all of them got together. In each turn everybody takes their portion."""
        began = time.monotonic()
        turns, taken = 0, 0
        while (now := time.monotonic()) - began < seconds:
            due = began + turns / self.TURNS
            if now < due:
                time.sleep(due - now)
            for s in self.sockets:
                try:
                    count = s.recv_into(_buffer, self.portion, socket.MSG_TRUNC)
                except BlockingIOError:
                    continue
                if not count:
                    raise RuntimeError("a slow reader was cut off")
                taken += count
            turns += 1
        return taken / (time.monotonic() - began)

    def close(self) -> None:
        for s in self.sockets:
            s.close()
