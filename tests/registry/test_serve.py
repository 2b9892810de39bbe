"""`embconv serve` as a process: what it prints, which ports it takes, how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import httpx
import pytest
from stored import a1111

from embconv.registry import serve
from embconv.registry.errors import BadParameter
from embconv.registry.keys import create
from embconv.registry.settings import Settings
from embconv.registry.store import Store

EMBCONV = Path(sys.executable).with_name("embconv")
posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM that a program could handle")
Process = subprocess.Popen[str]


@contextmanager
def started(*options: str, log: IO[str] | None = None) -> Iterator[tuple[Process, str, str]]:
    """A server: the process, its URL, and what it says of its data."""
    command = [EMBCONV, "serve", "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log or subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().split()[-1], process.stdout.readline().strip()
        finally:
            process.terminate()
            process.wait(60)


def head(url: str, length: int) -> bytes:
    host = url.removeprefix("http://")
    return (f"POST /v1/embeddings HTTP/1.1\r\nHost: {host}\r\nContent-Type: multipart/form-data; boundary=line\r\n"
            f"Content-Length: {length}\r\n\r\n").encode()  # fmt: skip


def connected(url: str) -> socket.socket:
    host, _, port = url.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=20)


def refuses(url: str) -> bool:
    """Does it soon take nobody new?"""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            connected(url).close()
        except ConnectionRefusedError:
            return True
        time.sleep(0.05)
    return False


BODY = b'--line\r\nContent-Disposition: form-data; name="file"; filename="style.pt"\r\n\r\n' + a1111(1) + b"\r\n--line--\r\n"


@posix
def test_it_says_where_it_is_and_ends_with_0_at_sigterm(home: str) -> None:
    with started("--home", home) as (process, url, data):
        assert url.startswith("http://127.0.0.1:")
        assert data == f"Data: {home}"
        assert httpx.get(f"{url}/health").json()["status"] == "ok"
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


@posix
def test_an_upload_that_runs_is_finished(home: str) -> None:
    with started("--home", home) as (process, url, _), connected(url) as sent:
        assert httpx.get(f"{url}/health").status_code == 200
        sent.sendall(head(url, len(BODY)) + BODY[:3000])
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        assert refuses(url)
        assert process.poll() is None
        sent.sendall(BODY[3000:])
        assert sent.recv(1 << 16).startswith(b"HTTP/1.1 201 ")
        assert process.wait(20) == 0
    with Store(home, create=False) as store:
        assert store.read.execute("SELECT count(*) FROM embeddings").fetchone() == (1,)


@posix
def test_workers_share_the_socket_and_the_registry(home: str) -> None:
    with started("--home", home, "--workers", "2", "--log-level", "error") as (process, url, _):
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                httpx.get(f"{url}/health").raise_for_status()
                break
            except httpx.TransportError:
                time.sleep(0.1)
        where = httpx.post(f"{url}/v1/embeddings", files={"file": ("style.pt", a1111(1))}).headers["location"]
        assert {httpx.get(f"{url}{where}").status_code for _ in range(20)} == {200}  # each on a connection of its own
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_what_it_logs_is_lines_of_json_without_secrets(home: str, tmp_path: Path) -> None:
    with Store(home) as store:
        secret = create(store, "me", "admin")
    path = tmp_path / "log"
    with path.open("w") as log, started("--home", home, log=log) as (_, url, _):
        headers = {"authorization": f"Bearer {secret}", "x-request-id": "mine-1"}
        assert httpx.get(f"{url}/v1/keys", headers=headers).headers["x-request-id"] == "mine-1"
        assert httpx.get(f"{url}/v1/embeddings?q={secret}&nonsense=1", headers=headers).status_code == 400
    text = path.read_text("utf-8")
    assert secret not in text
    lines = [json.loads(line) for line in text.splitlines()]
    asked = {line["path"]: line for line in lines if line["event"] == "request"}
    assert (asked["/v1/keys"]["request"], asked["/v1/keys"]["status"], asked["/v1/keys"]["route"]) == ("mine-1", 200, "/v1/keys")
    assert asked["/v1/embeddings"]["code"] == "unknown_parameter"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "*"])
def test_elsewhere_without_a_key_it_stops_with_the_command_that_makes_one(home: str, capsys: pytest.CaptureFixture[str], host: str) -> None:
    assert serve.run(Settings(home=home, host=host, port=0)) == 2
    out, err = capsys.readouterr()
    assert (out, "embconv keys create" in err) == ("", True)


def test_keys_that_open_nothing_do_not_count(home: str) -> None:
    settings = Settings(home=home, host="0.0.0.0", port=0)
    with Store(home) as store:
        create(store, "brief", "write", "1s")
        assert serve.no_key(settings) is False
        time.sleep(1.1)
    assert serve.no_key(settings) is True


def test_a_port_that_is_taken_is_told(home: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(BadParameter, match=str(port)):
            serve.bound(Settings(home=home, port=port))


@pytest.mark.parametrize("host", ["192.0.2.1", "no such host", "x" * 300])
def test_an_address_that_is_not_ours_is_told(home: str, host: str) -> None:
    with pytest.raises(BadParameter):
        serve.bound(Settings(home=home, host=host, port=0))


@pytest.mark.parametrize("sent", [b"", b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "])
def test_a_head_that_does_not_come_is_not_waited_for(home: str, sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threat H12: slow clients hold nothing for ever."""
    monkeypatch.setattr(serve, "HEAD", 0.2)
    config = serve.configured(Settings(home=home, port=0, log_level="error"))

    async def run() -> bytes:
        ready = asyncio.Event()
        server = serve.Server(config, ready.set)
        listening = socket.create_server(("127.0.0.1", 0))
        serving = asyncio.create_task(server._serve([listening]))
        await asyncio.wait_for(ready.wait(), 30)
        reader, writer = await asyncio.open_connection(*listening.getsockname())
        writer.write(sent)
        answer = await asyncio.wait_for(reader.read(), 5)
        writer.close()
        server.should_exit = True
        await serving
        return answer

    assert asyncio.run(run()) == b""


@pytest.mark.parametrize("sent", [b"nonsense\r\n\r\n", b"GET /health HTTP/1.1\r\nHost: a\r\nX-Request-ID: \x7f\r\n\r\n", b"GET /health HTTP/9.9\r\n\r\n"])
def test_what_is_no_http_gets_a_problem_too(home: str, sent: bytes) -> None:
    with started("--home", home) as (_, url, _), connected(url) as raw:
        raw.sendall(sent)
        head_, _, body = raw.recv(1 << 16).partition(b"\r\n\r\n")
        assert head_.startswith(b"HTTP/1.1 400 ")
        assert b"content-type: application/problem+json" in head_
        assert json.loads(body)["code"] == "bad_request"
