"""`embconv add`: what of a folder gets into the registry, and what is said of it; here and through a server alike."""

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import EMBCONV, SAMPLES, Said

Run = Callable[..., Said]


def test_one_file_ends_in_its_digest(samples: Path, embconv: Run, place: str) -> None:
    said = embconv("add", "moonpaper.pt")
    assert said.code == 0
    assert said.lines == ['added: moonpaper.pt, trigger "moonpaper"', embconv("hash", "-q", "moonpaper.pt").out.strip()]


def test_a_folder_ends_in_counts(samples: Path, embconv: Run, place: str) -> None:
    said = embconv("add", ".", "-r")
    assert said.code == 1
    assert said.lines[-1] == "10 added, 2 refused"
    assert "Refused ./free-download.pt: asks for posix.system" in said.err
    assert "[unsafe_pickle]" in said.err
    again = embconv("add", ".", "-r")
    assert again.lines[-1] == "10 already there, 2 refused"


def test_without_r_the_folders_below_are_left_alone(samples: Path, embconv: Run) -> None:
    assert embconv("add", ".").lines[-1] == "8 added, 2 refused"


def test_the_digests_alone(samples: Path, embconv: Run, place: str) -> None:
    said = embconv("add", "two-words.bin", "moonpaper.pt", "-q")
    assert [line[:4] for line in said.lines] == ["emb:"] * 3


def test_a_batch_as_json(samples: Path, embconv: Run, place: str) -> None:
    document = embconv("add", "moonpaper.pt", "free-download.pt", "--json").document
    assert document["counts"] == {"added": 1, "refused": 1}
    good, bad = document["files"]
    assert (good["path"], good["status"], good["triggers"]) == ("moonpaper.pt", "added", ["moonpaper"])
    assert bad["error"]["code"] == "unsafe_pickle"
    assert [one["status"] for one in embconv("add", "moonpaper.pt", "fox-toy.bin", "--nl").documents] == ["known", "added"]


def test_a_name_a_role_and_tags_are_kept(samples: Path, embconv: Run, place: str) -> None:
    assert embconv("add", "moonpaper.pt", "--name", "Paper Moon", "--role", "negative", "--tag", "Ink", "--tag", "night sky").code == 0
    entry = embconv("show", "Paper Moon", "--json").document
    assert (entry["name"], entry["trigger"], entry["role"], entry["tags"]) == ("Paper Moon", "moonpaper", "negative", ["ink", "night sky"])


def test_what_stands_beside_it_is_claimed_of_it(samples: Path, embconv: Run, place: str) -> None:
    told = {"trainedWords": ["moonword"], "baseModel": "SD 1.5", "model": {"tags": ["negative"]}, "files": [{"hashes": {"SHA256": "AB" * 32}}]}
    Path("moonpaper.civitai.info").write_text(json.dumps(told))
    assert embconv("add", "moonpaper.pt").code == 0
    entry = embconv("show", "moonpaper", "--json").document
    assert entry["role"] == "negative"
    assert embconv("show", "ab" * 32, "-q").out.strip() == entry["digest"]
    (origin,) = entry["origins"]
    assert (origin["source"], origin["id"], origin["claims"]["trigger"]) == ("sidecar", "moonpaper.civitai.info", "moonword")


def test_pictures_without_an_embedding_are_passed_over(folder: Path, embconv: Run, place: str) -> None:
    from PIL import Image

    Image.new("RGB", (8, 8), "red").save("preview.png")
    SAMPLES["write"](folder, "moonpaper.pt")
    said = embconv("add", ".")
    assert said.code == 0
    assert said.lines[-1] == "1 added, 1 picture without an embedding passed over"


def test_a_file_that_is_not_there_is_refused(folder: Path, embconv: Run, place: str) -> None:
    said = embconv("add", "no.pt")
    assert (said.code, said.out) == (1, "")
    assert "[unreadable_file]" in said.err


@pytest.mark.parametrize("arguments", [["a.pt", "b.pt", "--name", "x"], ["a.pt", "--name", " "], ["a.pt", "--json", "-q"], ["a.pt", "--role", "bad"]])
def test_what_means_nothing_is_a_usage_error(samples: Path, embconv: Run, arguments: list[str], home: Path) -> None:
    assert embconv("add", *arguments).code == 2
    assert not home.exists()


def test_a_home_can_be_named(samples: Path, embconv: Run, home: Path) -> None:
    assert embconv("add", "moonpaper.pt", "--home", "elsewhere").code == 0
    assert Path("elsewhere/registry.db").exists()
    assert not home.exists()
    assert embconv("search", "-q", "--home", "elsewhere").out.startswith("emb:")


def test_a_home_that_cannot_be_used_is_said(samples: Path, embconv: Run) -> None:
    said = embconv("add", "moonpaper.pt", "--home", "fox-toy.bin")
    assert said.code == 2
    assert "[no_store]" in said.err


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows ends processes otherwise")
def test_ctrl_c_leaves_a_registry_that_is_whole(folder: Path, embconv: Run, home: Path) -> None:
    import os

    from stored import a1111

    for seed in range(400):
        Path(f"style-{seed}.pt").write_bytes(a1111(seed))
    environment = {**os.environ, "PYTHONUTF8": "1"}
    with subprocess.Popen([EMBCONV, "add", "."], cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        until = time.monotonic() + 30
        while not (home / "registry.db").exists() and time.monotonic() < until:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode in (0, 130), (out, err)
    assert b"Traceback" not in err, err
    if process.returncode == 130:
        assert b"Stopped." in err
    assert embconv("add", ".").code == 0
    assert embconv("verify").lines[-1].endswith("all is well")
    assert embconv("search", "--limit", "1").err.startswith("1 of 400 shown")
