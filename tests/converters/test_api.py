"""The public surface: what README's first lines do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

import embconv.converters
from embconv.converters.api import hashes, save
from embconv.converters.errors import CannotHold, CannotWrite, TargetExists
from embconv.converters.hashes import digest
from embconv.converters.read import load
from examples import a1111_dict, made, safetensors, torch_file

FUNCTIONS = ("read", "load", "inspect", "identify", "check", "convert", "save", "repair", "digest", "hashes")
STYLE = load(torch_file(a1111_dict(made(2, 768))))


# `import embconv.converters.convert` binds the module to the package under the name of the function
FIRST = ["from embconv.converters import TARGETS", "from embconv.converters import save", "from embconv.converters import repair",
         "import embconv.converters.bulk", "import embconv.converters.convert", "import embconv.converters.inspect"]  # fmt: skip


@pytest.mark.parametrize("first", FIRST)
def test_a_public_name_is_never_a_module(first: str) -> None:
    program = (
        f"{first}\nfrom types import ModuleType\nimport embconv.converters as public\n"
        "print([name for name in public.__all__ if isinstance(getattr(public, name), ModuleType)])"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_everything_promised_is_there() -> None:
    assert set(FUNCTIONS) <= set(embconv.converters.__all__)
    assert [name for name in embconv.converters.__all__ if getattr(embconv.converters, name, None) is None] == []


def test_the_first_lines_of_the_readme(tmp_path: Path) -> None:
    (tmp_path / "style.pt").write_bytes(torch_file(a1111_dict(made(2, 768))))
    embedding = load(tmp_path / "style.pt")
    assert save(embedding, tmp_path / "style.safetensors", target="comfyui") == digest(embedding)
    assert digest(load(tmp_path / "style.safetensors")) == digest(embedding)


@pytest.mark.parametrize(
    ("target", "name", "keys"),
    [
        (None, "out.safetensors", ["emb_params"]),
        ("onetrainer", "out.safetensors", ["emp_params"]),
        ("diffusers", "out.bin", ["bad-hands-5"]),
        ("ComfyUI", "out.safetensors", ["emb_params"]),
    ],
)
def test_saved_for_a_program(tmp_path: Path, target: str | None, name: str, keys: list[str]) -> None:
    save(STYLE, tmp_path / name, target=target)
    if name.endswith(".bin"):
        assert list(torch.load(tmp_path / name, weights_only=True)) == keys
    else:
        from safetensors.torch import load_file

        assert list(load_file(tmp_path / name)) == keys


def test_narrowed_only_when_asked(tmp_path: Path) -> None:
    save(STYLE, tmp_path / "out.safetensors", dtype="F16")
    (tensor,) = load(tmp_path / "out.safetensors").vectors.values()
    assert (tensor.dtype, tensor.data) == ("F16", made(2, 768).half().numpy().tobytes())


def test_what_a_program_cannot_load_is_not_saved_for_it(tmp_path: Path) -> None:
    xl = load(safetensors({"clip_l": made(1, 768), "clip_g": made(1, 1280)}))
    with pytest.raises(CannotHold, match="my_style"):
        save(STYLE, tmp_path / "my style.safetensors", target="comfyui")
    with pytest.raises(CannotHold, match="cannot hold this embedding in any form"):
        save(xl, tmp_path / "out.safetensors", target="sdcpp")
    with pytest.raises(CannotHold, match="F32"):
        save(STYLE, tmp_path / "out.safetensors", target="sdcpp", dtype="F16")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_program(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Did you mean a1111"):
        save(STYLE, tmp_path / "out.safetensors", target="a111")


def test_overwritten_only_when_told(tmp_path: Path) -> None:
    save(STYLE, tmp_path / "out.pt")
    with pytest.raises(TargetExists):
        save(STYLE, tmp_path / "out.pt")
    save(STYLE, str(tmp_path / "out.pt"), overwrite=True)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CannotWrite):
        save(STYLE, tmp_path / "no" / "out.pt")


def test_what_was_given_is_written_nan_too(tmp_path: Path) -> None:
    save(load(torch_file(a1111_dict(torch.full((1, 768), float("nan"))))), tmp_path / "out.pt")
    assert torch.load(tmp_path / "out.pt", weights_only=True)["string_to_param"]["*"].isnan().all()


def test_hashes_of_a_path_and_of_bytes(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"abc")
    assert hashes(tmp_path / "in") == hashes(b"abc")
    assert hashes(b"abc").sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
