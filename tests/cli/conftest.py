"""The command line as people run it: in this process where that is enough, as a real process where it matters."""

import contextlib
import json
import os
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

ROOT = Path(__file__).parents[2]
SAMPLES: dict[str, Any] = runpy.run_path(str(ROOT / "docs" / "_samples.py"))
EMBCONV = Path(sys.executable).with_name("embconv")
URL = "http://127.0.0.1:8765"


@contextlib.contextmanager
def served(home: Path, **more: Any) -> Iterator[Any]:
    """A client of the application over the registry in `home`, without a network."""
    from litestar.testing import TestClient

    from embconv.registry.app import create_app
    from embconv.registry.observe import Log
    from embconv.registry.settings import Settings

    with TestClient(create_app(Settings(home=str(home), **more), log=Log("error")), base_url=URL) as client:
        yield client


class Said:
    """What a command answered."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def document(self) -> Any:
        return json.loads(self.out)

    @property
    def documents(self) -> list[Any]:
        return [json.loads(line) for line in self.lines]


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A registry of the test's own, not yet made; none elsewhere is ever touched."""
    path = tmp_path_factory.mktemp("registry") / "home"
    for name in [name for name in os.environ if name.startswith("EMBCONV_") and name != "EMBCONV_REAL"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("EMBCONV_HOME", str(path))
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is the present one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def samples(folder: Path) -> Path:
    """The present folder with all the samples of the documents in it."""
    SAMPLES["write"](folder)
    return folder


@pytest.fixture
def embconv(folder: Path) -> Callable[..., Said]:
    """The command in this process, through click, whatever the arguments."""
    from embconv.cli.app import app

    def run(*arguments: str | Path) -> Said:
        done = CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="embconv")
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return Said(done.exit_code, done.stdout, done.stderr)

    return run


def reached(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every registry on a server that a command opens is the one behind `client`."""
    from embconv.registry.remote import Remote

    def remote(url: str, key_file: str | None) -> Remote:
        found = Remote(url)
        found.client.close()
        found.client = client
        client.close = lambda: None  # one serves all commands of a test
        return found

    monkeypatch.setattr("embconv.cli.registries.remote", remote)


@pytest.fixture(params=["local", "served"])
def place(request: pytest.FixtureRequest, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The registry in `home`, by itself and behind its HTTP interface: a command says the same of both."""
    if request.param == "served":
        with served(home) as client:
            reached(client, monkeypatch)
            monkeypatch.setenv("EMBCONV_REGISTRY", URL)
            yield request.param
    else:
        yield request.param


@pytest.fixture
def real_embconv(folder: Path) -> Callable[..., Said]:
    """The command as a process of its own. A traceback anywhere fails the test."""
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "FORCE_COLOR")} | {"PYTHONUTF8": "1"}

    def run(*arguments: str | Path | bytes) -> Said:
        done = subprocess.run(
            [EMBCONV, *arguments], cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=60
        )  # fmt: skip
        out, err = done.stdout.decode(errors="surrogateescape"), done.stderr.decode(errors="surrogateescape")
        assert "Traceback" not in out + err, err
        return Said(done.returncode, out, err)

    return run
