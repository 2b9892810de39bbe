"""`embconv checkpoints`: added once, listed, tried, calibrated, forgotten; every bad path is a sentence."""

from __future__ import annotations

import json
import os
import runpy
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")

import judged

from embconv.registry.blobs import Blobs
from embconv.registry.store import Store
from embconv.registry.store.checkpoints import checkpoint_of
from embconv.registry.validations import Wanted, keep, question

from .conftest import ROOT, Said

Run = Callable[..., Said]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small pipeline, sd1, and one that predicts v, sd2v."""
    made = runpy.run_path(str(ROOT / "docs" / "_tiny.py"))
    made["torch"].set_num_threads(1)  # models this small only wait for each other
    path = tmp_path_factory.mktemp("tiny")
    for base in ("sd1", "sd2v"):
        made["write"](path / base, base)
    return path


def test_a_checkpoint_is_added_listed_and_forgotten(embconv: Run, tiny: Path) -> None:
    said = embconv("checkpoints", "add", tiny / "sd1")
    assert (said.code, said.lines[-1]) == (0, "sd1")
    assert "predicts noise" in said.lines[0]
    assert embconv("checkpoints", "add", tiny / "sd2v", "--name", "second", "-q").lines == ["second"]
    (first, second) = embconv("checkpoints", "list", "--json").document["checkpoints"]
    assert (first["name"], first["base"], first["variant"], first["default"], first["state"]) == ("sd1", "sd1", "base", True, "there")
    assert (second["name"], second["base"], second["variant"], second["size"]) == ("second", "sd2", "v", 64)
    assert [line.split()[0] for line in embconv("checkpoints", "list").lines] == ["sd1", "second"]
    assert embconv("checkpoints", "list", "-q").lines == ["sd1", "second"]
    assert embconv("checkpoints", "remove", "sd1").lines == ["removed: sd1"]
    assert [each["name"] for each in embconv("checkpoints", "list", "--nl").documents] == ["second"]
    assert (tiny / "sd1" / "model_index.json").exists()


def test_embeddings_show_the_verdict_of_what_is_the_default_then(embconv: Run, tiny: Path, home: Path) -> None:
    blobs, verdicts = Blobs(str(home)), {"first": "pass", "second": "weak"}
    shutil.copytree(tiny / "sd1", "second")
    (Path("second") / "unet" / "config.json").write_text((tiny / "sd1" / "unet" / "config.json").read_text() + "\n")
    for name, path in (("first", tiny / "sd1"), ("second", Path("second"))):
        assert embconv("checkpoints", "add", path, "--name", name).code == 0
    with Store(str(home)) as store:
        judged.fill(store, blobs, "a")
        for name, state in verdicts.items():
            asked = question(store.read, "a", Wanted(checkpoint=name))
            keep(store, blobs, asked, judged.judged(checkpoint_of(store.read, name), asked.protocol, asked.digest, state))
    assert embconv("search", "--verdict", "pass", "-q").lines != []
    assert embconv("checkpoints", "remove", "first").code == 0
    assert embconv("show", "a", "--json").document["verdict"] == "weak"
    assert embconv("checkpoints", "add", tiny / "sd1", "--name", "second", "--force").code == 0
    assert embconv("show", "a", "--json").document["verdict"] == "pass"


def test_a_name_is_taken_once_and_by_force_again(embconv: Run, tiny: Path) -> None:
    embconv("checkpoints", "add", tiny / "sd1", "--name", "it")
    assert embconv("checkpoints", "add", tiny / "sd1", "--name", "it").code == 0
    refused = embconv("checkpoints", "add", tiny / "sd2v", "--name", "it")
    assert refused.code == 1
    assert "[checkpoint_exists]" in refused.err
    assert embconv("checkpoints", "add", tiny / "sd2v", "--name", "it", "--force").code == 0
    (only,) = embconv("checkpoints", "list", "--json").document["checkpoints"]
    assert only["base"] == "sd2"


def test_the_first_of_a_base_stays_its_default_when_it_is_added_again(embconv: Run, tiny: Path) -> None:
    for name in ("first", "second", "first"):
        embconv("checkpoints", "add", tiny / "sd1", "--name", name, "--force")
    found = embconv("checkpoints", "list", "--json").document["checkpoints"]
    assert [(each["name"], each["default"]) for each in found] == [("first", True), ("second", False)]


@pytest.mark.parametrize("name", ["", "a b", "a/b", "sd1=x", "-q", "tab\t"])
def test_a_name_that_could_be_something_else_is_a_usage_error(name: str, embconv: Run, tiny: Path) -> None:
    said = embconv("checkpoints", "add", tiny / "sd1", f"--name={name}")
    assert said.code == 2
    assert "Usage:" in said.err


def test_a_checkpoint_whose_files_are_gone_is_listed_as_missing(embconv: Run, tiny: Path, folder: Path) -> None:
    shutil.copytree(tiny / "sd1", folder / "copy", copy_function=os.link)
    embconv("checkpoints", "add", folder / "copy")
    shutil.rmtree(folder / "copy")
    assert embconv("checkpoints", "list", "--json").document["checkpoints"][0]["state"] == "missing"
    said = embconv("checkpoints", "check", "copy")
    assert (said.code, "[bad_checkpoint]" in said.err, "is not there any more" in said.err) == (2, True, True)


def test_a_check_says_what_was_measured_and_shows_it(embconv: Run, tiny: Path, folder: Path) -> None:
    said = embconv("checkpoints", "check", tiny / "sd1", "-o", "seen")
    assert (said.code, said.lines[-1]) == (0, "sound")
    assert sorted(path.name for path in (folder / "seen").iterdir()) == ["sd1-seed-1.webp", "sd1-seed-2.webp"]
    again = embconv("checkpoints", "check", tiny / "sd1", "-o", "seen")
    assert (again.code, "[target_exists]" in again.err) == (1, True)
    embconv("checkpoints", "add", tiny / "sd1", "--name", "mine")
    document = embconv("checkpoints", "check", "mine", "--json", "-o", "seen", "--force").document
    assert document["sound"] is True
    assert document["numbers"]["finite"] is True
    assert document["checkpoint"]["name"] == "mine"
    assert embconv("checkpoints", "check", "mine", "-q").lines == ["sound"]


def test_a_check_that_finds_a_fault_exits_with_1(embconv: Run, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embconv.registry.validation.selftest.SAME", 1.0)
    said = embconv("checkpoints", "check", tiny / "sd1")
    assert said.code == 1
    assert said.lines[-1].startswith("not sound: two seeds make the same picture")
    assert embconv("checkpoints", "check", tiny / "sd1", "-q").lines == ["not sound"]
    assert embconv("checkpoints", "check", tiny / "sd1", "--json").document["because"].startswith("two seeds")


def test_calibrations_are_kept(embconv: Run, tiny: Path, home: Path) -> None:
    from embconv.registry.store import Store
    from embconv.registry.store.checkpoints import calibration_of, checkpoint_of
    from embconv.registry.verdicts import measure, protocol_for

    embconv("checkpoints", "add", tiny / "sd1")
    said = embconv("checkpoints", "calibrate", "sd1", "--profile", "probe", "--words", "16")
    assert (said.code, said.lines[-1]) == (0, "sd1"), said.err
    with Store(str(home)) as store:
        fingerprint = checkpoint_of(store.read, "sd1").fingerprint
        found = calibration_of(store.read, fingerprint, measure(protocol_for("sd1", 64, name="probe")))
    assert found is not None
    assert found.words == 16
    assert found.percentiles


BAD = {"gone": "is not there", "empty": "is an empty folder", "it.safetensors": "is no .safetensors file", "it.ckpt": "is a pickle"}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_path_is_a_sentence_and_exit_code_2(name: str, embconv: Run, folder: Path, home: Path) -> None:
    (folder / "empty").mkdir()
    (folder / "it.safetensors").write_bytes(b"not at all")
    (folder / "it.ckpt").write_bytes(b"PK\x03\x04 and so on")
    said = embconv("checkpoints", "add", name)
    assert said.code == 2
    assert BAD[name] in said.err
    assert said.out == ""
    assert not home.exists()
    document = embconv("checkpoints", "add", name, "--json").document
    assert document["error"]["code"] == ("pickle_checkpoint" if name == "it.ckpt" else "bad_checkpoint")


@pytest.mark.parametrize("words", [("remove", "gone"), ("check", "gone"), ("calibrate", "gone")])
def test_an_unknown_name_is_told_those_that_are_known(words: tuple[str, str], embconv: Run, tiny: Path) -> None:
    embconv("checkpoints", "add", tiny / "sd1", "--name", "known")
    said = embconv("checkpoints", *words)
    assert said.code == 2
    assert "[unknown_checkpoint]" in said.err
    assert "known" in said.err


def test_without_the_libraries_that_render_one_sentence_says_how_to_get_them(embconv: Run, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "diffusers", None)
    said = embconv("checkpoints", "check", tiny / "sd1")
    assert said.code == 2
    assert said.err.splitlines() == [
        "Error: Test renders need diffusers, which is not installed.  [missing_extra]", "  Install it: pip install 'embconv[render]'",
    ]  # fmt: skip
    assert embconv("checkpoints", "add", tiny / "sd1").code == 0


def test_a_device_that_is_not_there_is_told(embconv: Run, tiny: Path) -> None:
    said = embconv("checkpoints", "check", tiny / "sd1", "--device", "abacus")
    assert (said.code, "[no_device]" in said.err) == (2, True)


def test_adding_is_light(real_embconv: Run, tiny: Path) -> None:
    said = real_embconv("checkpoints", "add", tiny / "sd1", "--json")
    assert json.loads(said.out)["name"] == "sd1"
