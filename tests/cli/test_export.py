"""`embconv export`: into a program's folder, under names it takes, never over anything; here and through a server alike."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors import safe_open

from embconv.cli.export import LAYOUTS, SIDECARS
from embconv.registry import folder_layouts, sidecar_files

from .conftest import Said

Run = Callable[..., Said]


@pytest.fixture
def kept(samples: Path, embconv: Run, place: str) -> Run:
    embconv("add", "moonpaper.pt", "fox-toy.bin", "paper-xl.safetensors", "harbour.png")
    return embconv


def digest(embconv: Run, path: str | Path) -> str:
    return embconv("hash", "-q", path).out.strip()


def test_the_options_are_those_of_the_registry() -> None:
    assert LAYOUTS == folder_layouts.NAMES
    assert SIDECARS == sidecar_files.KINDS


@pytest.mark.parametrize("layout", LAYOUTS)
def test_everything_reads_back_as_it_was(kept: Run, layout: str) -> None:
    said = kept("export", "--all", "out", "--layout", layout)
    assert said.code == 0, said.err
    beside = ", 4 files beside them" if layout == "stabilitymatrix" else ""
    assert said.lines[-1] == f"4 written{beside}"
    assert {digest(kept, path) for path in Path("out").glob("*.safetensors")} == set(kept("search", "-q").lines)
    target = "a1111" if layout == "stabilitymatrix" else layout
    assert kept("check", "out", "--for", target).code == 0


def test_one_ends_in_its_path(kept: Run) -> None:
    said = kept("export", "moonpaper", "webui", "--layout", "a1111")
    assert (said.code, said.lines[-1]) == (0, str(Path("webui/moonpaper.safetensors")))
    with safe_open("webui/moonpaper.safetensors", "pt") as file:
        assert list(file.keys()) == ["emb_params"]
        assert file.metadata()["modelspec.trigger_phrase"] == "moonpaper"
    assert kept("export", "moonpaper", "webui", "--layout", "a1111", "-q").lines == [str(Path("webui/moonpaper.safetensors"))]


def test_folders_and_names_by_a_pattern(kept: Run) -> None:
    kept("add", "moonpaper.pt", "--role", "negative")
    assert kept("export", "--all", "out", "--layout", "comfyui", "--name", "{base}/{role}-{trigger}").code == 0
    found = sorted(path.relative_to("out").as_posix() for path in Path("out").rglob("*.safetensors"))
    assert found == ["sd1/negative-moonpaper.safetensors", "sd1/unknown-fox-toy.safetensors", "sd1/unknown-harbour.safetensors",
                     "sdxl/unknown-paper-xl.safetensors"]  # fmt: skip


def test_the_prompt_is_said_with_the_folder_where_the_program_wants_it(kept: Run) -> None:
    said = kept("export", "fox-toy", "out", "--layout", "comfyui", "--name", "{base}/{trigger}", "--json").document
    assert said["embeddings"][0]["prompt"] == "embedding:sd1/fox-toy"
    for layout, prompt in {"a1111": "fox-toy", "invokeai": "<fox-toy>", "diffusers": "<fox-toy>"}.items():
        said = kept("export", "fox-toy", layout, "--layout", layout, "--name", "{base}/{trigger}", "--json").document
        assert said["embeddings"][0]["prompt"] == prompt


def test_what_is_there_is_left_alone(kept: Run) -> None:
    kept("export", "--all", "out", "--layout", "a1111", "--sidecars", "json")
    before = {path: path.read_bytes() for path in Path("out").iterdir()}
    said = kept("export", "--all", "out", "--layout", "a1111", "--sidecars", "json")
    assert (said.code, said.lines[-1], said.err) == (0, "4 already there", "")
    assert {path: path.read_bytes() for path in Path("out").iterdir()} == before


def test_another_file_is_never_overwritten_without_force(kept: Run) -> None:
    Path("out").mkdir()
    Path("out/moonpaper.safetensors").write_bytes(Path("old-style.safetensors").read_bytes())
    Path("out/fox-toy.json").write_text("mine")
    said = kept("export", "--all", "out", "--layout", "a1111", "--sidecars", "json")
    assert (said.code, said.lines[-1]) == (1, "3 written, 1 refused, 2 files beside them")
    assert "[target_exists]" in said.err
    assert '"fox-toy.json" is there and says something else' in said.err
    assert Path("out/moonpaper.safetensors").read_bytes() == Path("old-style.safetensors").read_bytes()
    assert Path("out/fox-toy.json").read_text() == "mine"
    assert kept("export", "--all", "out", "--layout", "a1111", "--sidecars", "json", "--force").code == 0
    assert json.loads(Path("out/fox-toy.json").read_text())["activation text"] == "fox-toy"
    assert digest(kept, "out/moonpaper.safetensors") == digest(kept, "moonpaper.pt")


def test_a_dry_run_writes_nothing_and_says_how_much_it_would(kept: Run) -> None:
    said = kept("export", "--all", "out", "--layout", "sdnext", "--sidecars", "metadata", "--dry-run")
    assert said.code == 0
    assert said.lines[-1].startswith("4 would be written, 4 files beside them, ")
    assert not Path("out").exists()


def test_what_a_program_cannot_hold_is_refused_and_the_others_go_on(samples: Path, embconv: Run, place: str) -> None:
    embconv("add", ".", "-r")
    said = embconv("export", "--all", "out", "--layout", "invokeai")
    assert (said.code, said.lines[-1]) == (1, "8 written, 3 refused")
    assert "[cannot_hold]" in said.err
    assert "[not_finite]" in said.err
    assert "[mislabelled_key]" in said.err


def test_references_that_mean_nothing_are_refused_and_the_others_go_on(kept: Run) -> None:
    said = kept("export", "nobody", "moonpaper", "out", "--layout", "a1111")
    assert (said.code, said.lines[-1]) == (1, "1 written, 1 refused")
    assert "[unknown_reference]" in said.err


def test_previews_come_from_pictures_and_the_rest_is_said(kept: Run) -> None:
    said = kept("export", "--all", "out", "--layout", "a1111", "--sidecars", "preview")
    assert "Note: 3 embeddings without a preview picture in the registry.\n" in said.err
    assert [path.name for path in Path("out").glob("*.png")] == ["harbour.preview.png"]
    assert Path("out/harbour.preview.png").read_bytes() == Path("harbour.png").read_bytes()


def test_as_json(kept: Run) -> None:
    document = kept("export", "moonpaper", "nobody", "out", "--layout", "a1111", "--sidecars", "json", "--json").document
    assert document["counts"] == {"written": 1, "refused": 1}
    bad, good = document["embeddings"]
    assert bad["error"]["code"] == "unknown_reference"
    assert (good["status"], good["digest"], good["form"]) == ("written", digest(kept, "moonpaper.pt"), "emb_params in safetensors")
    assert [Path(path).name for path in (good["path"], *good["sidecars"])] == ["moonpaper.safetensors", "moonpaper.json"]
    assert len(kept("export", "--all", "out", "--layout", "a1111", "--nl").documents) == 4


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["out", "--layout", "a1111"], "Which ones?"),
        (["x", "out", "--all", "--layout", "a1111"], "Give --all, or the REFS"),
        (["x", "out"], "Missing option '--layout'"),
        (["x", "out", "--layout", "webui"], "is not one of"),
        (["x", "moonpaper.pt", "--layout", "a1111"], "is no folder"),
        (["x", "out", "--layout", "a1111", "--sidecars", "jsn"], "There is no sidecar 'jsn'"),
        (["x", "out", "--layout", "a1111", "--name", "{bas}"], "Did you mean base?"),
        (["x", "out", "--layout", "a1111", "--name", "{base.__class__}"], "is no placeholder"),
        (["x", "out", "--layout", "a1111", "--name", "{base!r}"], "is no placeholder"),
        (["x", "out", "--layout", "a1111", "--name", "{base"], "a { belongs to each }"),
        (["x", "out", "--layout", "a1111", "--name", "../{base}"], ".. leads out"),
        (["x", "out", "--layout", "a1111", "--name", "/etc/{base}"], "below the folder"),
        (["x", "out", "--layout", "a1111", "--name", "{base}/"], "ends in the name of a file"),
        (["x", "out", "--layout", "a1111", "--json", "-q"], "Choose one"),
    ],
)
def test_what_means_nothing_is_a_usage_error(samples: Path, embconv: Run, arguments: list[str], says: str) -> None:
    embconv("add", "moonpaper.pt")
    said = embconv("export", *arguments)
    assert said.code == 2
    assert says in said.err
    assert not Path("out").exists()
