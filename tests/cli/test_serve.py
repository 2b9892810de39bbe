"""`embconv serve`: a real server in a process of its own, and the other commands against it."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from .conftest import EMBCONV, Said

Run = Callable[..., Said]


@contextlib.contextmanager
def serving(folder: Path, *arguments: str) -> Iterator[str]:
    """The URL of a server, which is ended as an operator would end it and must then leave with 0."""
    command = [EMBCONV, "serve", "--port", "0", "--log-level", "error", *arguments]
    with subprocess.Popen(command, cwd=folder, env={**os.environ, "PYTHONUTF8": "1"}, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            first, second = process.stdout.readline(), process.stdout.readline()
            assert first.startswith("Serving http://127.0.0.1:"), first
            assert second.startswith("Data: "), second
            yield first.split()[1]
        finally:
            process.terminate()
            process.wait(30)
    if sys.platform != "win32":
        assert process.returncode == 0


def test_a_registry_is_used_through_its_server(samples: Path, embconv: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(samples) as url:
        monkeypatch.setenv("EMBCONV_REGISTRY", url)
        assert embconv("add", ".", "-r").lines[-1] == "10 added, 2 refused"
        assert len(embconv("search", "--all", "-q").lines) == 11
        assert embconv("export", "moonpaper", "out", "--layout", "comfyui").code == 0
        assert embconv("show", "moonpaper", "--registry", url).code == 0
    assert (home / "registry.db").exists()
    monkeypatch.delenv("EMBCONV_REGISTRY")
    assert embconv("search", "--registry", url).code == 2
    assert "10 of 10 files read: all is well" in embconv("verify").out


def test_a_private_registry_wants_a_key(samples: Path, embconv: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = embconv("keys", "create", "reader", "--role", "read", "-q").out.strip()
    writer = embconv("keys", "create", "writer", "--role", "write", "-q").out.strip()
    with serving(samples, "--private", "--host", "0.0.0.0") as url:
        monkeypatch.setenv("EMBCONV_REGISTRY", url)
        said = embconv("search")
        assert (said.code, "[key_needed]" in said.err) == (2, True)
        monkeypatch.setenv("EMBCONV_KEY", secret)
        assert embconv("search").code == 0
        refused = embconv("add", "moonpaper.pt", "fox-toy.bin")
        assert (refused.code, refused.err.count("[forbidden]")) == (2, 1)
        Path("key.txt").write_text(f"{writer}\n")
        assert embconv("add", "moonpaper.pt", "--key-file", "key.txt").code == 0
        monkeypatch.setenv("EMBCONV_KEY", "wrong")
        assert "[key_needed]" in embconv("search").err


def test_beyond_this_machine_it_needs_a_key_first(folder: Path, real_embconv: Run) -> None:
    said = real_embconv("serve", "--host", "0.0.0.0", "--port", "0")
    assert (said.code, said.out) == (2, "")
    assert "embconv keys create NAME" in said.err


def test_a_port_that_is_taken_is_said(folder: Path, real_embconv: Run) -> None:
    with serving(folder) as url:
        said = real_embconv("serve", "--port", url.rpartition(":")[2])
    assert said.code == 2
    assert "in use" in said.err.lower() or "only one usage" in said.err.lower()


@pytest.mark.parametrize(
    "arguments", [["--port", "70000"], ["--max-upload", "huge"], ["--workers", "0"], ["--registry", "http://x"], ["--log-level", "loud"]], ids=" ".join
)
def test_what_means_nothing_is_a_usage_error(folder: Path, embconv: Run, home: Path, arguments: list[str]) -> None:
    assert embconv("serve", *arguments).code == 2
    assert not home.exists()


def test_a_key_is_not_sent_in_the_clear_without_a_word(folder: Path, embconv: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBCONV_REGISTRY", "http://registry.invalid")
    assert "Note:" not in embconv("search").err
    monkeypatch.setenv("EMBCONV_KEY", "embconv_secret")
    said = embconv("search")
    assert (said.code, "[unreachable]" in said.err) == (2, True)
    assert "Note: the key goes over http" in said.err
    assert "embconv_secret" not in said.err
    monkeypatch.setenv("EMBCONV_REGISTRY", "https://registry.invalid")
    assert "Note:" not in embconv("search").err


@pytest.mark.parametrize("key", ["two words", "line\nline", "schlüssel", "a\tb"])
def test_what_is_no_key_is_never_sent(folder: Path, embconv: Run, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("EMBCONV_REGISTRY", "http://127.0.0.1:1")
    Path("key.txt").write_text(key, "utf-8")
    said = embconv("search", "--key-file", "key.txt")
    assert said.code == 2
    assert "holds no key" in said.err
    assert embconv("search", "--key-file", "no-such.txt").code == 2
    monkeypatch.delenv("EMBCONV_REGISTRY")
    assert "--key-file is for a --registry" in embconv("search", "--key-file", "key.txt").err
    assert "Choose one of --home and --registry" in embconv("search", "--home", "x", "--registry", "http://x").err


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for other processes")
def test_ctrl_c_ends_it(folder: Path) -> None:
    with subprocess.Popen(
        [EMBCONV, "serve", "--port", "0"], cwd=folder, env={**os.environ, "PYTHONUTF8": "1"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[1]
        assert httpx.get(f"{url}/health").status_code == 200
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode in (0, 130)
    assert "Traceback" not in err
