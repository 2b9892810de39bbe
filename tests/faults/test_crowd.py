"""Many at once, and callers that leave in the middle. EMBCONV_FAULT_ABORTS=1000 sends a thousand bodies that break off."""

from __future__ import annotations

import json
import os
import random
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from faults.harness import Client, Server, check_sound, check_swept, form, left_over, listed, other, plain, sha256

CLIENTS = 32
ABORTS = int(os.environ.get("EMBCONV_FAULT_ABORTS", "200"))
IMPATIENT = "import embconv.registry.uploads as uploads; uploads.IDLE = 0.5"


@pytest.mark.parametrize("workers", ["1", "2"])
def test_one_file_from_32_clients_at_once_is_one_embedding(tmp_path: Path, workers: str) -> None:
    home, data, together = tmp_path / "home", plain(1), Barrier(CLIENTS)

    def send(number: int) -> int:
        with Client(server.url) as client:
            together.wait(30)
            return client.upload(data, f"zq{number}.bin").status

    with Server(home, "--workers", workers) as server:
        with ThreadPoolExecutor(CLIENTS) as threads:
            statuses = sorted(threads.map(send, range(CLIENTS)))
        assert statuses == [200] * (CLIENTS - 1) + [201]
        assert list(listed(home).values()) == [{sha256(data)}]
        assert left_over(home) == []
        check_sound(home)


def test_32_clients_that_send_and_remove_the_same_leave_it_whole_or_gone(tmp_path: Path) -> None:
    home, data = tmp_path / "home", (plain(1), other(1))

    def quarrel(seed: int) -> set[int]:
        dice, seen = random.Random(seed), set()
        with Client(server.url) as client:
            for _ in range(10):
                found = client.upload(dice.choice(data), "zq1.bin")
                seen.add(found.status)
                seen.add(client.delete(found.json["embeddings"][0]["digest"]).status)
        return seen

    with Server(home) as server:
        with ThreadPoolExecutor(CLIENTS) as threads:
            assert set().union(*threads.map(quarrel, range(CLIENTS))) <= {200, 201, 204, 410}
        check_swept(home, 2)
        check_sound(home)
        with server.client() as client:
            assert client.upload(data[0], "zq1.bin").status in {200, 201}
            assert client.get(f"/v1/files/{sha256(data[0])}").body == data[0]


def connected(server: Server) -> socket.socket:
    address = Client(server.url).address
    return socket.create_connection((address.hostname or "", address.port or 0), timeout=20)


def head(server: Server, body: bytes, headers: dict[str, str]) -> bytes:
    """The head of an upload, as it goes over the wire."""
    said = {**headers, "Host": server.url.removeprefix("http://"), "Content-Length": str(len(body))}
    lines = "".join(f"{name}: {value}\r\n" for name, value in said.items())
    return f"POST /v1/embeddings HTTP/1.1\r\n{lines}\r\n".encode()


def abort(server: Server, seed: int) -> None:
    """Send a part of an upload of about 2.5 MB, or only of its head, and hang up."""
    dice = random.Random(seed)
    body, headers = form(plain(seed) + bytes(2_500_000 if seed % 4 == 0 else 0), f"zq{seed}.bin")
    data = head(server, body, headers) + body
    with connected(server) as sent:
        sent.sendall(data[: dice.randrange(1, len(data) - 60)])
        if dice.random() < 0.5:  # a reset instead of an end
            sent.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def test_bodies_that_break_off_leave_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with Server(home, "--log-level", "info") as server:
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda seed: abort(server, seed), range(ABORTS)))
        check_swept(home, 10)
        assert listed(home) == {}
        with server.client() as client:
            assert client.upload(plain(1), "zq1.bin").status == 201
        lines = [json.loads(line) for line in server.errors().splitlines()]
        assert {line["level"] for line in lines} == {"info"}
        assert {line["status"] for line in lines if line.get("method") == "POST"} - {201} == {499}


def told(sent: socket.socket) -> bytes:
    """All that comes until the other side closes."""
    pieces = []
    while piece := sent.recv(1 << 16):
        pieces.append(piece)
    return b"".join(pieces)


def test_a_body_that_stops_is_ended(tmp_path: Path) -> None:
    body, headers = form(plain(1), "zq1.bin")
    with Server(tmp_path / "home", patch=IMPATIENT) as server, connected(server) as sent:
        sent.sendall(head(server, body, headers) + body[:1000])
        start = time.monotonic()
        answer = told(sent)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b'"code":"too_slow"' in answer
        assert time.monotonic() - start < 10
        assert left_over(tmp_path / "home") == []


def test_a_body_that_trickles_is_ended(tmp_path: Path) -> None:
    body, headers = form(plain(1), "zq1.bin")
    with Server(tmp_path / "home", patch=IMPATIENT) as server, connected(server) as sent:
        sent.sendall(head(server, body, headers))
        start, at = time.monotonic(), 0
        sent.settimeout(0.05)
        answer = b""
        while not answer and time.monotonic() - start < 20:
            sent.sendall(body[at : at + 1])
            at += 1
            try:
                answer = sent.recv(1 << 16)
            except TimeoutError:
                continue
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert at < 200
        assert left_over(tmp_path / "home") == []
