"""A real server in a process of its own, files for it, and the plainest client: what the tests that break things need."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import random
import signal
import sqlite3
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

from embconv.converters.containers import safetensors, torch_zip
from embconv.converters.model import Tensor

COMMAND = Path(sys.executable).with_name("embconv")
BOUNDARY = "embconv-faults"
DICE = random.Random(0)
REST = struct.pack("<765f", *(DICE.randint(-512, 512) / 8192 for _ in range(765)))
STARTING = 30.0
CUT = (OSError, http.client.HTTPException)  # what a caller sees of a server that is killed
Pairs = dict[str, set[str]]


def vectors(number: int) -> Tensor:
    """One vector of 768, another for each number."""
    digits = (number % 512, number // 512 % 512, number // 512**2 % 512)
    return Tensor("F32", (1, 768), struct.pack("<3f", *((digit + 1) / 8192 for digit in digits)) + REST)


def plain(number: int) -> bytes:
    """A .safetensors with the vectors of a number."""
    return safetensors.write({"emb_params": vectors(number)}, {})


def other(number: int) -> bytes:
    """Another file with the same vectors: a .pt."""
    return torch_zip.write({"string_to_token": {"*": 265}, "string_to_param": {"*": vectors(number)}, "name": f"zq{number}", "step": 1,
                            "sd_checkpoint": None, "sd_checkpoint_name": None})  # fmt: skip


def sha256(data: bytes) -> str:
    """As the registry names files."""
    return hashlib.sha256(data).hexdigest()


class Answer(NamedTuple):
    """What a server said."""

    status: int
    body: bytes
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of a problem, or nothing."""
        return self.json["code"] if self.headers.get("content-type", "").startswith("application/problem+json") else ""


class Client:
    """One connection, kept."""

    def __init__(self, url: str) -> None:
        self.address = urlsplit(url)
        self._connection = http.client.HTTPConnection(self.address.hostname or "", self.address.port, timeout=30)

    def ask(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Answer:
        try:
            self._connection.request(method, path, body, headers or {})
            found = self._connection.getresponse()
            return Answer(found.status, found.read(), {name.lower(): value for name, value in found.getheaders()})
        except CUT:
            self._connection.close()
            raise

    def get(self, path: str) -> Answer:
        return self.ask("GET", path)

    def upload(self, data: bytes, name: str) -> Answer:
        body, headers = form(data, name)
        return self.ask("POST", "/v1/embeddings", body, headers)

    def delete(self, digest: str) -> Answer:
        return self.ask("DELETE", f"/v1/embeddings/{digest}")

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def form(data: bytes, name: str) -> tuple[bytes, dict[str, str]]:
    """A body of multipart/form-data with one file, and its headers."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
    return head.encode() + data + f"\r\n--{BOUNDARY}--\r\n".encode(), {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


class Server:
    """`embconv serve` on a free port, in a process group that can be killed as a whole. `patch` is Python that runs before it."""

    def __init__(self, home: Path, *options: str, patch: str = "", log: Path | None = None, **environment: str) -> None:
        start = [sys.executable, "-c", f"{patch}\nfrom embconv.cli.main import cli\ncli()"] if patch else [os.fspath(COMMAND)]
        self.log = log or home.with_name(f"{home.name}.log")
        environment = {**os.environ, "EMBCONV_LOG_LEVEL": "warning", **environment}
        with self.log.open("ab") as stderr:
            self.process = subprocess.Popen(
                [*start, "serve", "--home", os.fspath(home), "--port", "0", *options],
                stdout=subprocess.PIPE, stderr=stderr, start_new_session=True, env=environment,
            )  # fmt: skip
        self.url = ""

    def ready(self) -> Self:
        """Wait until it answers."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline().decode()
        assert line.startswith("Serving http://"), f"{line!r} {self.errors()}"
        self.url = line.split()[1]
        with Client(self.url) as client:
            assert client.get("/health").status in {200, 503}
        return self

    def errors(self) -> str:
        """What it wrote on stderr."""
        return self.log.read_text(errors="replace")

    def client(self) -> Client:
        return Client(self.url)

    def kill(self) -> None:
        """SIGKILL, to the workers too."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(STARTING)
        if self.process.stdout is not None:
            self.process.stdout.close()

    def __enter__(self) -> Self:
        try:
            return self.ready()
        except BaseException:
            self.kill()
            raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.kill()


def command(*arguments: str | Path) -> subprocess.Popen[bytes]:
    """`embconv` with these arguments, in a process group of its own."""
    return subprocess.Popen([COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)


def killed(process: subprocess.Popen[bytes], begun: Callable[[], bool], delay: float) -> int:
    """Kill a command `delay` seconds after `begun` says that it has; its exit code."""
    until = time.monotonic() + STARTING
    try:
        while process.poll() is None and not begun() and time.monotonic() < until:
            time.sleep(0.0005)
        time.sleep(delay)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=STARTING)
    return process.returncode


def finished(process: subprocess.Popen[bytes]) -> str:
    """What a command says that runs to its end."""
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said.decode()
    return said.decode()


@contextmanager
def database(home: Path) -> Iterator[sqlite3.Connection]:
    """SQLite as it is, without our code."""
    with closing(sqlite3.connect(home / "registry.db", isolation_level=None, timeout=10)) as db:
        yield db


def listed(home: Path) -> Pairs:
    """Every embedding that is there, with the sha256 of its files."""
    found: Pairs = {}
    with database(home) as db:
        rows = db.execute(
            "SELECT e.digest, f.sha256 FROM embeddings e LEFT JOIN embedding_files ef ON ef.embedding_id = e.id "
            "LEFT JOIN files f ON f.id = ef.file_id AND f.removed IS NULL WHERE e.state = 'present'"
        )
        for digest, sha in rows:
            found.setdefault(f"emb:{digest}", set()).update({sha} - {None})
    return found


def check_sound(home: Path) -> None:
    """Is the database what SQLite and its foreign keys say it should be?"""
    with database(home) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []


def left_over(home: Path) -> list[str]:
    """Temporary files, blobs without a row and rows without a blob."""
    with database(home) as db:
        named = {sha for (sha,) in db.execute("SELECT sha256 FROM files WHERE removed IS NULL")}
    there = {path.name for path in (home / "blobs" / "sha256").glob("*/*")}
    temporary = [path for folder in ("blobs", "cache") for path in (home / folder / "tmp").glob("*")]
    return sorted([*map(str, temporary), *(f"orphan {sha}" for sha in there - named), *(f"lost {sha}" for sha in named - there)])


def check_swept(home: Path, seconds: float = 10.0) -> None:
    """The sweep runs beside the first requests: wait for its end."""
    until = time.monotonic() + seconds
    while left := left_over(home):
        assert time.monotonic() < until, left
        time.sleep(0.01)
