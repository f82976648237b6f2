"""What every experiment is handed: the programs, the upstream and its files, and how much effort to make."""

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

from .processes import Process, Processes
from .servers import Artifactapi, Nginx, Upstream

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


@dataclass(frozen=True)
class Effort:
    """How many rounds and how long."""

    hit_rounds: int
    hit_seconds: float
    cold_small: int
    cold_large: int
    herd_rounds: int
    slow_seconds: float
    catalog_rows: int
    starts: int
    retention_requests: int

    @classmethod
    def full(cls) -> "Effort":
        return cls(hit_rounds=7, hit_seconds=4, cold_small=400, cold_large=150, herd_rounds=3, slow_seconds=20,
                   catalog_rows=1_000_000, starts=15, retention_requests=1_000)

    @classmethod
    def quick(cls) -> "Effort":
        return cls(hit_rounds=3, hit_seconds=1, cold_small=60, cold_large=20, herd_rounds=1, slow_seconds=5,
                   catalog_rows=1_000_000, starts=3, retention_requests=300)


@dataclass
class Bench:
    """The bench of one run."""

    root: Path
    folder: Path
    programs: dict[str, str]
    binary: Path
    also: dict[str, Path]
    sizes: list[str]
    over_s3: bool
    effort: Effort
    cores: tuple[int, int]
    processes: Processes
    upstream: Upstream = field(init=False)
    always: list[Process] = field(default_factory=list)
    _made: int = 0

    def prepare(self) -> None:
        """Starts the upstream, which stays for the whole run."""
        self.upstream = Upstream(self.processes, self.programs["NGINX"], self.folder / "upstream")
        self.always.append(self.upstream.process)

    def new_folder(self, name: str) -> Path:
        """A folder nobody has used: a cache in it is cold."""
        self._made += 1
        folder = self.folder / f"{name}-{self._made}"
        folder.mkdir()
        return folder

    def file(self, name: str, size: int) -> str:
        """Makes a file of the upstream, of bytes that do not compress; its SHA-256. The blocks of a large one repeat."""
        path = self.upstream.files / name
        path.parent.mkdir(parents=True, exist_ok=True)
        block = os.urandom(min(size, MIB))
        digest, left = hashlib.sha256(), size
        with path.open("wb") as out:
            while left:
                piece = block[: min(left, len(block))]
                out.write(piece)
                digest.update(piece)
                left -= len(piece)
        return digest.hexdigest()

    def nginx(self, **more: object) -> Nginx:
        """A cold nginx."""
        return Nginx(self.processes, self.programs["NGINX"], self.new_folder("nginx"), self.upstream, **more)

    def artifactapi(self, folder: Path | None = None, **more: object) -> Artifactapi:
        """A server under test; a cold one unless given the folder of an earlier one."""
        binary = more.pop("binary", self.binary)
        return Artifactapi(self.processes, binary, folder or self.new_folder("artifactapi"), self.upstream, **more)
