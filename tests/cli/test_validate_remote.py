"""`embconv validate REF --registry URL`: asked of the server, done by a worker there, told as if it had been done here."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import judged
import pytest
from PIL import Image

from embconv.registry.blobs import Blobs
from embconv.registry.errors import Forbidden, KeyNeeded
from embconv.registry.ingest import take_away
from embconv.registry.remote import Remote
from embconv.registry.render_errors import MissingExtra
from embconv.registry.store import Store, resolve
from embconv.registry.validation.worker import run

from .conftest import URL, Said, reached, served

Run = Callable[..., Said]


@pytest.fixture
def waits(home: Path, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long was waited; a worker comes with the first second."""
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        assert run(str(home), judged.Fakes, once=True, say=lambda text: None) == 0

    monkeypatch.setattr("embconv.cli.validate_remote.time", SimpleNamespace(sleep=sleep))
    return waited


@pytest.fixture
def validate(home: Path, embconv: Run, waits: list[float], monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """The command, with a server that has a checkpoint and three embeddings."""
    with Store(str(home)) as store:
        judged.know(store, judged.checkpoint())
        judged.fill(store, Blobs(str(home)), "a", "b", "broken c")
    with served(home) as client:
        reached(client, monkeypatch)
        yield lambda *arguments: embconv("validate", "--registry", URL, *arguments)


def test_a_server_is_asked_and_waited_for(validate: Run, waits: list[float]) -> None:
    said = validate("a")
    assert (said.code, said.err) == (0, "")
    assert said.lines[0] == 'pass  a  "a"'
    assert any("fifteen (sd1" in line for line in said.lines)
    assert waits == [1.0]
    again = validate("a", "--json")
    assert (again.document["state"], again.document["trigger"], again.document["checkpoint"]["name"]) == ("pass", "a", "fifteen")
    assert waits == [1.0]  # the verdict is known


def test_several_are_told_in_their_order_and_what_is_wrong_with_one_stops_no_other(validate: Run) -> None:
    said = validate("broken c", "nobody", "a", "--nl")
    assert said.code == 1
    assert [each.get("state") or each["error"]["code"] for each in said.documents] == ["broken", "unknown_reference", "pass"]
    words = validate("broken c", "nobody", "a")
    assert words.lines[-1] == "1 pass, 1 broken, 1 refused"
    assert "[unknown_reference]" in words.err
    assert validate("a", "b", "-q").lines == ["pass", "pass"]


def test_a_server_in_the_environment_is_asked_for_references_only(
    validate: Run, embconv: Run, samples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMBCONV_REGISTRY", URL)
    assert embconv("validate", "a", "-q").lines == ["pass"]
    assert "is a file" in embconv("validate", "a", "moonpaper.pt").err
    assert "[no_checkpoint]" in embconv("validate", "moonpaper.pt", "--home", "elsewhere").err


def test_questions_of_ones_own(validate: Run) -> None:
    protocol = validate("a", "--json", "--profile", "quick", "--sheet", "strength", "--prompt", "a castle", "--checkpoint", "fifteen").document["protocol"]
    assert (protocol["name"], protocol["sheets"], protocol["prompts"]) == ("quick", ["strength", "prompts"], ["a castle, {T}"])


def test_a_sheet_is_made_of_the_servers_pictures(validate: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def drawn(text: str) -> bytes:
        packed = io.BytesIO()
        Image.new("RGB", (64, 64), (len(text), 90, 40)).save(packed, "WEBP")
        return packed.getvalue()

    monkeypatch.setattr(judged, "webp", drawn)
    said = validate("a", "-o", "out/sheet.png")
    assert (said.code, said.lines[-1]) == (0, "out/sheet.png")
    with Image.open("out/sheet.png") as sheet:
        assert sheet.text["parameters"] == "a photo"
    assert len(json.loads(Path("out/sheet.json").read_text("utf-8"))["cells"]) == 2
    assert "[target_exists]" in validate("a", "-o", "out/sheet.png").err


def test_a_sheet_without_the_libraries_that_lay_it_out(validate: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise MissingExtra("diffusers")

    monkeypatch.setattr("embconv.registry.validation.extra.need", missing)
    said = validate("a", "-o", "sheet.png")
    assert said.code == 2
    assert "pip install 'embconv[render]'" in said.err
    assert validate("a").code == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(("a", "--steps", "9"), "--steps: not with --registry"), (("a", "--size", "64", "--role", "negative"), "--size, --role: not"),
     (("a", "--device", "cpu"), "--device: not"), (("--pending",), "embconv worker"), (("a", "--home", "x"), "Choose one of"),
     (("a.pt",), "is a file"), (("a", "--checkpoint", "sd1=models/x.safetensors"), "is a path"),
     (("a", "--checkpoint", "x", "--checkpoint", "y"), "one --checkpoint"), (("a", "--base", "sd1"), "--pending"), ((), "Name a file")],
    ids=" ".join,
)  # fmt: skip
def test_what_a_server_does_not_do(validate: Run, arguments: tuple[str, ...], says: str) -> None:
    said = validate(*arguments)
    assert said.code == 2
    assert says in said.err


def test_a_checkpoint_that_it_does_not_have(validate: Run) -> None:
    said = validate("a", "--checkpoint", "fiften")
    assert said.code == 2
    assert "[unknown_checkpoint]" in said.err


@pytest.mark.parametrize("error", [KeyNeeded(), Forbidden("write", "read")], ids=lambda error: error.code)
def test_without_the_right_key_nothing_is_asked(validate: Run, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def refused(*_: Any) -> None:
        raise error

    monkeypatch.setattr(Remote, "ask_validation", refused)
    assert validate("a", "b").code == 2


def test_what_is_removed_meanwhile_is_refused(validate: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def sleep(seconds: float) -> None:
        with Store(str(home)) as store:
            take_away(store, Blobs(str(home)), resolve(store.read, "a"))
        run(str(home), judged.Fakes, once=True, say=lambda text: None)

    monkeypatch.setattr("embconv.cli.validate_remote.time", SimpleNamespace(sleep=sleep))
    said = validate("a", "--json")
    assert (said.code, said.document["error"]["code"]) == (1, "gone")


def test_it_says_what_it_waits_for_and_ctrl_c_ends_nothing(validate: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds: list[float] = []

    def sleep(each: float) -> None:
        seconds.append(each)
        if sum(seconds) > 10:
            raise KeyboardInterrupt

    monkeypatch.setattr("embconv.cli.validate_remote.time", SimpleNamespace(sleep=sleep))
    said = validate("a", "b")
    assert said.code != 0
    assert said.err.count("No worker has begun yet.") == 1
    assert "stays with the server (2 jobs)" in said.err
    run(str(home), judged.Fakes, once=True, say=lambda text: None)
    monkeypatch.setattr("embconv.cli.validate_remote.time", SimpleNamespace(sleep=lambda each: pytest.fail("both are known")))
    assert validate("a", "b", "-q").lines == ["pass", "pass"]
