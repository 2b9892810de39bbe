"""The command line where people's habits meet its edges."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from embconv.converters import load
from embconv.converters.containers import safetensors
from embconv.converters.model import Tensor

from .conftest import Said

Run = Callable[..., Said]


def made(path: str, seed: int = 1, width: int = 768, key: str = "emb_params") -> Path:
    """A small safetensors embedding."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    numbers = bytes([0, 0, seed, 60]) * width  # small, all alike
    Path(path).write_bytes(safetensors.write({key: Tensor("F32", (1, width), numbers)}, {}))
    return Path(path)


def test_loose_halves_become_one_in_a_folder(folder: Path, embconv: Run) -> None:
    first = made("a/learned_embeds.safetensors", key="<wispy>")
    second = made("a/learned_embeds_2.safetensors", width=1280, key="<wispy>")
    assert embconv(second, first, "out/").code == 0
    assert [path.name for path in Path("out").iterdir()] == ["learned_embeds.safetensors"]
    assert load("out/learned_embeds.safetensors").vectors.keys() == {"clip_l", "clip_g"}


def test_loose_names_that_differ_in_case_only_do_not_meet(folder: Path, embconv: Run) -> None:
    assert embconv(made("x/A.safetensors", 1), made("y/a.safetensors", 2), "out/", "--to", "pt").code == 0
    assert sorted(path.name for path in Path("out").iterdir()) == ["A-safetensors.pt", "A.pt"]


@pytest.mark.parametrize("harm", [b'(S"1"\nios\nsystem\n.', b"(dp0\nVx\np1\ncposix\nsystem\np2\n(Vecho\np3\ntp4\nRp5\ns."])
def test_a_text_pickle_that_runs_something_is_named(folder: Path, embconv: Run, harm: bytes) -> None:
    Path("x.pt").write_bytes(harm)
    said = embconv("x.pt", "out.safetensors")
    assert said.code == 1
    assert "system" in said.err
    assert "[unsafe_pickle]" in said.err


def test_a_text_pickle_without_harm_is_no_embedding(folder: Path, embconv: Run) -> None:
    for data in (pickle.dumps({"x": 1}, 0), b"(S'hello' he said)\nand went.", b"Entry not found."):
        Path("x.pt").write_bytes(data)
        assert "[not_an_embedding]" in embconv("x.pt", "out.safetensors").err


def test_a_folder_that_is_not_there_is_asked_for(folder: Path, embconv: Run) -> None:
    made("cat.safetensors")
    said = embconv("cat.safetensors", "nodir", "--to", "pt")
    assert said.code == 2
    assert "end it in / or use -o" in said.err
    assert [path.name for path in folder.iterdir()] == ["cat.safetensors"]


def test_repair_says_what_it_cannot_mend(folder: Path, embconv: Run) -> None:
    made("odd.safetensors", width=999)
    said = embconv("repair", "odd.safetensors", "out.safetensors")
    assert (said.code, said.out) == (1, "")
    assert "999 wide" in said.err
    assert "repair cannot mend this" in said.err
    said = embconv("repair", "odd.safetensors", "out.safetensors", "--json")
    assert (said.code, [finding["rule"] for finding in json.loads(said.out)["findings"]]) == (1, ["width"])
    assert not Path("out.safetensors").exists()


@pytest.mark.parametrize(
    ("program", "stem", "called"),
    [("sdcpp", "My Cat.v2", "my cat.v2"), ("sdkit", "My Cat.v2", "my_cat"), ("comfyui", "Cat.v2", "Cat.v2")],
)
def test_the_note_gives_the_name_that_the_program_makes(folder: Path, embconv: Run, program: str, stem: str, called: str) -> None:
    made("Fox.safetensors")
    said = embconv("Fox.safetensors", f"{stem}.safetensors", "--for", program, "--name", "Fox")
    assert f'will call it "{called}"' in said.err
    assert ("A1111 and ComfyUI" in said.err) == (program == "comfyui")


def test_inspect_pickle_of_a_file_without_one(folder: Path, embconv: Run) -> None:
    made("x.safetensors")
    said = embconv("inspect", "--pickle", "x.safetensors")
    assert (said.code, said.lines) == (0, ["x.safetensors", "  holds no pickle"])


@pytest.mark.parametrize("command", ["convert", "repair"])
def test_an_empty_name_is_a_usage_error(folder: Path, embconv: Run, command: str) -> None:
    made("x.safetensors")
    said = embconv(command, "x.safetensors", "y.safetensors", "--name", "")
    assert (said.code, Path("y.safetensors").exists()) == (2, False)
