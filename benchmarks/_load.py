"""Clients of the registry that cost next to nothing themselves: bytes over sockets that stay open, in a process of their own.

    python _load.py PORT get SECONDS CLIENTS < paths        each client asks for one path after another
    python _load.py PORT upload SECONDS CLIENTS FIRST       each client sends one new .pt of 24 KB after another
    python _load.py PORT health SECONDS 1                   one client asks for /health fifty times a second

It prints one JSON object: how many were answered, in how long, with which statuses, and the times that each took.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import struct
import sys
import time
from collections import Counter
from collections.abc import Iterator

from embconv.converters.containers import torch_zip
from embconv.converters.model import Tensor

VECTORS, WIDTH = 8, 768
PACE = 0.02
BOUNDARY = b"--a-boundary-of-the-benchmark"


class Client(asyncio.Protocol):
    """Sends the next request when the last was answered."""

    def __init__(self, requests: Iterator[bytes], until: float, pace: float) -> None:
        self.requests, self.until, self.pace = requests, until, pace
        self.done = asyncio.get_running_loop().create_future()
        self.times: list[float] = []
        self.statuses: Counter[int] = Counter()
        self.buffer = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        self.send()

    def send(self) -> None:
        request = next(self.requests)
        self.at = time.perf_counter()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        end = self.buffer.find(b"\r\n\r\n")
        start = self.buffer.find(b"content-length: ")
        if end < 0 or len(self.buffer) < end + 4 + int(self.buffer[start + 16 : self.buffer.find(b"\r", start)]):
            return
        now = time.perf_counter()
        self.times.append(now - self.at)
        self.statuses[int(self.buffer[9:12])] += 1
        self.buffer = b""
        if now >= self.until:
            self.transport.close()
        elif self.pace:
            asyncio.get_running_loop().call_later(self.pace, self.send)
        else:
            self.send()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio gives it
        if not self.done.done():
            self.done.set_result(None)


def gets(port: int, paths: list[str]) -> Iterator[bytes]:
    """One after another, again and again."""
    made = [f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n".encode() for path in paths]
    return itertools.cycle(made)


def uploads(port: int, first: int) -> Iterator[bytes]:
    """A new file each time."""
    kind = f"Content-Type: multipart/form-data; boundary={BOUNDARY.decode()}"
    head = f"POST /v1/embeddings HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{kind}\r\n".encode()
    base = random.Random(0).randbytes(VECTORS * WIDTH * 2)
    for number in itertools.count(first):
        halves = struct.pack("<d", number) + base[8:]
        data = b"".join(halves[at : at + 2] + b"\x1c\x3c" for at in range(0, 16, 2)) + bytes_of(halves[16:])
        tensor = Tensor("F32", (VECTORS, WIDTH), data)
        tree = {"string_to_token": {"*": 265}, "string_to_param": {"*": tensor}, "name": f"style-{number}", "step": 1000,
                "sd_checkpoint": None, "sd_checkpoint_name": None}  # fmt: skip
        part = b'--%s\r\nContent-Disposition: form-data; name="file"; filename="style-%d.pt"\r\n\r\n' % (BOUNDARY, number)
        body = part + torch_zip.write(tree, f"style-{number}") + b"\r\n--%s--\r\n" % BOUNDARY
        yield head + b"Content-Length: %d\r\n\r\n" % len(body) + body


def bytes_of(halves: bytes) -> bytes:
    """Two random bytes under two that make a small number of them."""
    wide = bytearray(2 * len(halves))
    wide[0::4], wide[1::4] = halves[0::2], halves[1::2]
    wide[2::4], wide[3::4] = b"\x1c" * (len(halves) // 2), b"\x3c" * (len(halves) // 2)
    return bytes(wide)


async def main(port: int, what: str, seconds: float, clients: int, first: int) -> None:
    """Load for some seconds, then the numbers."""
    paths = sys.stdin.read().split() if what == "get" else ["/health"]
    until, loop = time.perf_counter() + seconds, asyncio.get_running_loop()
    made = []
    for place in range(clients):
        at = place * len(paths) // clients
        requests = uploads(port, first + place * 10_000_000) if what == "upload" else gets(port, paths[at:] + paths[:at])
        _, client = await loop.create_connection(lambda r=requests: Client(r, until, PACE if what == "health" else 0), "127.0.0.1", port)  # type: ignore[misc]
        made.append(client)
    start = time.perf_counter()
    await asyncio.gather(*(client.done for client in made))
    taken = time.perf_counter() - start
    times = sorted(each for client in made for each in client.times)
    statuses = sum((client.statuses for client in made), Counter())
    print(json.dumps({"count": len(times), "seconds": taken, "rate": len(times) / taken, "statuses": statuses,
                      "p50": times[len(times) // 2] * 1000, "p99": times[int(len(times) * 0.99)] * 1000}))  # fmt: skip


if __name__ == "__main__":
    if sys.platform != "win32":
        import uvloop

        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    arguments = sys.argv[1:]
    asyncio.run(main(int(arguments[0]), arguments[1], float(arguments[2]), int(arguments[3]), int((arguments[4:] or ["0"])[0])))
