"""The registry over HTTP against what the machine can do without it, each pair in one run: `python benchmarks/registry_http.py`.

Lookups are measured against a Litestar route that answers as many bytes and does nothing; uploads against a loop that writes
and flushes each file and commits a row for it, and does nothing else. They take turns, so that what else the machine does
meets both alike. Takes about six minutes; --seconds 5 --rows 2000 gives an idea in one.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from _measure import table, workplace
from _rows import fill

HERE = Path(__file__).resolve().parent
LOOKUPS, UPLOADS = 32, 16  # clients
ROUNDS = 5
SIZE = 25_600  # bytes of an uploaded file
EMPTY = """
import socket, sys, uvicorn
from litestar import Litestar, get
@get("/empty", sync_to_thread=False)
def empty() -> dict[str, str]:
    return BODY
BODY = {"padding": "x" * (int(sys.argv[1]) - 14)}
listening = socket.create_server(("127.0.0.1", 0))
print(f"Serving http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
config = uvicorn.Config(Litestar([empty], openapi_config=None, logging_config=None), access_log=False, log_level="error")
uvicorn.Server(config).run(sockets=[listening])
"""
Row = tuple[str, str, str, str, bool]


@contextlib.contextmanager
def serving(command: list[str | Path], environment: dict[str, str] | None = None) -> Iterator[tuple[int, int]]:
    """A server as a process: its port and its id. What it logs goes where a service's log goes: to a file."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env={**os.environ, **(environment or {})})
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline().rpartition(":")[2]), process.pid
        finally:
            process.terminate()
            process.wait(60)
            assert process.stdout is not None
            process.stdout.close()


def registry(home: Path) -> Any:
    """The registry of a folder, served as users serve it."""
    return serving([Path(sys.executable).with_name("embconv"), "serve", "--port", "0", "--home", home])


def load(port: int, what: str, seconds: float, clients: int, *, first: int = 0, paths: str = "") -> dict[str, Any]:
    """What _load.py measured."""
    command = [sys.executable, HERE / "_load.py", str(port), what, str(seconds), str(clients), str(first)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, input=paths)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def ask(port: int, path: str) -> bytes:
    """One answer."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as answer:
        body: bytes = answer.read()
        return body


def lookups(home: Path, count: int, seconds: float) -> list[Row]:
    """By digest and by hash, 2,000 different ones of each, in turns with the empty route."""
    with sqlite3.connect(f"file:{home / 'registry.db'}?mode=ro", uri=True) as db:
        some = db.execute("SELECT digest FROM embeddings ORDER BY digest LIMIT 2000").fetchall()
        digests = "\n".join(f"/v1/embeddings/emb:{digest}" for (digest,) in some)
        hashes = "\n".join(f"/v1/by-hash/{value}" for (value,) in db.execute("SELECT sha256 FROM files ORDER BY sha256 LIMIT 2000"))
    db.close()
    rates: dict[str, list[float]] = {"digest": [], "hash": [], "empty": []}
    with registry(home) as (port, _):
        size = round(statistics.mean(len(ask(port, path)) for path in digests.split()[:100]))
        with serving([sys.executable, "-c", EMPTY, str(size)]) as (peer, _):
            for number in range(ROUNDS + 1):  # the first warms up
                found = {"empty": load(peer, "get", seconds, LOOKUPS, paths="/empty"),
                         "digest": load(port, "get", seconds, LOOKUPS, paths=digests),
                         "hash": load(port, "get", seconds, LOOKUPS, paths=hashes)}  # fmt: skip
                for name, each in found.items():
                    assert set(each["statuses"]) == {"200"}, each
                    rates[name] += [each["rate"]] if number else []
    empty = statistics.median(rates["empty"])
    against = f"an empty Litestar route of {size:,} bytes ({empty:,.0f}/s)"
    names = {"digest": "`GET /v1/embeddings/{digest}`", "hash": "`GET /v1/by-hash/{sha256}`"}
    rows = []
    for name, what in names.items():
        shares = [mine / theirs for mine, theirs in zip(rates[name], rates["empty"], strict=True)]
        got = f"{statistics.median(shares):.0%} of its rate ({statistics.median(rates[name]):,.0f}/s)"
        rows.append((f"{what} among {count:,}, {LOOKUPS} clients", got, against, "60 %", statistics.median(shares) >= 0.6))
    return rows


def start(home: Path, count: int) -> Row:
    """From the command to the first answer."""
    taken = []
    for _ in range(3):
        begin = time.perf_counter()
        with registry(home) as (port, _):
            ask(port, "/v1/embeddings?limit=1")
            taken.append(time.perf_counter() - begin)
    best = statistics.median(taken)
    return (f"start with {count:,} embeddings, to the first search answered", f"{best:.2f} s", "", "2 s", best <= 2)


def bare(folder: Path, seconds: float) -> float:
    """Files per second of a loop that does only what being durable takes: bytes, flush, rename, flush of the folder, one FULL commit."""
    folder.mkdir()
    db = sqlite3.connect(folder / "bare.db", isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("CREATE TABLE files (sha256 TEXT PRIMARY KEY, size INTEGER)")
    data, count, begin = os.urandom(SIZE), 0, time.perf_counter()
    handle = os.open(folder, os.O_RDONLY)
    while time.perf_counter() - begin < seconds:
        name = f"{count:064x}"
        with open(folder / f"{name}.tmp", "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        (folder / f"{name}.tmp").rename(folder / name)
        os.fsync(handle)
        db.execute("INSERT INTO files VALUES (?, ?)", (name, len(data)))
        count += 1
    os.close(handle)
    db.close()
    return count / (time.perf_counter() - begin)


def memory(pid: int) -> float:
    """Resident memory in MB; 0 where the system does not tell it so."""
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    return 0.0


def large(port: int, size: int) -> int:
    """One upload of `size` bytes that is no embedding; the status."""
    boundary = "a-boundary"
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="large.safetensors"\r\n\r\n'.encode()
    tail = f"\r\n--{boundary}--\r\n".encode()

    def pieces() -> Iterator[bytes]:
        yield head
        for _ in range(size >> 20):
            yield bytes(1 << 20)
        yield tail

    length = len(head) + (size >> 20 << 20) + len(tail)
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}", "Content-Length": str(length)}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/embeddings", data=pieces(), headers=headers, method="POST")
    try:
        with urllib.request.urlopen(request) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code


def uploads(folder: Path, seconds: float) -> list[Row]:
    """New files from 16 clients, in turns with the bare loop; /health meanwhile; memory after it, and after large ones."""
    alone, rates, waits = [], [], []
    with registry(folder / "home") as (port, pid):
        load(port, "upload", 2, UPLOADS, first=9_000_000)
        idle = memory(pid)
        sent = 0
        for number in range(ROUNDS):
            alone.append(bare(folder / f"bare-{number}", seconds / ROUNDS / 2))
            pulse: list[dict[str, Any]] = []
            asking = threading.Thread(target=lambda found=pulse: found.append(load(port, "health", seconds / ROUNDS, 1)))
            asking.start()
            found = load(port, "upload", seconds / ROUNDS, UPLOADS, first=number * 1_000_000)
            asking.join()
            assert set(found["statuses"]) == {"201"}, found["statuses"]
            rates.append(found["rate"])
            sent += found["count"]
            waits.append(pulse[0]["p99"])
        alone.append(bare(folder / "bare-last", seconds / ROUNDS / 2))
        after = memory(pid)
        peak = [after]
        senders = [threading.Thread(target=lambda: peak.append(float(large(port, 63 << 20) == 500) or memory(pid))) for _ in range(10)]
        for sender in senders:
            sender.start()
        while any(sender.is_alive() for sender in senders):
            peak.append(memory(pid))
            time.sleep(0.02)
    shares = [mine / statistics.mean(alone[place : place + 2]) for place, mine in enumerate(rates)]
    share, wait = statistics.median(shares), statistics.median(waits)
    got = f"{share:.0%} of its rate ({statistics.median(rates):,.0f}/s, {sent:,} files)"
    against = f"only writing, flushing and committing each ({statistics.median(alone):,.0f}/s)"
    grown = max(peak) - idle
    return [
        (f"uploads of {SIZE // 1000} KB `.pt`, {UPLOADS} clients, all durable", got, against, "35 %", share >= 0.35),
        ("`GET /health` meanwhile", f"p99 {wait:.0f} ms", "", "50 ms", wait <= 50),
        (f"memory after {sent:,} of them, and with 10 of 63 MiB at once", f"{after - idle:+.0f} MB, {grown:+.0f} MB",
         f"idle ({idle:.0f} MB)", "+64 MB", grown <= 64),
    ]  # fmt: skip


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="of uploads; lookups take a twelfth of it in each round")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--keep", help="a folder where the rows stay for the next run")
    options = parser.parse_args()
    with workplace() as temporary:
        home = Path(options.keep or temporary) / str(options.rows)
        if not home.exists():
            fill(os.fspath(home), options.rows)
        rows = [*lookups(home, options.rows, options.seconds / 12), start(home, options.rows), *uploads(temporary, options.seconds)]
    print(table(rows))
    sys.exit(0 if all(row[-1] for row in rows) else 1)


if __name__ == "__main__":
    main()
