"""`embconv inspect --model`: the nearest words of each vector, and how long it is among words."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")

import torch
from safetensors.torch import save_file

from .conftest import ROOT, Said

Run = Callable[..., Said]


@pytest.fixture(scope="session")
def tiny() -> dict[str, Any]:
    """docs/_tiny.py, which makes small pipelines."""
    made = runpy.run_path(str(ROOT / "docs" / "_tiny.py"))
    made["torch"].set_num_threads(1)  # models this small only wait for each other
    return made


@pytest.fixture(scope="session")
def models(tiny: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a pipeline of each base."""
    path = tmp_path_factory.mktemp("tiny")
    for base in ("sd1", "sd2", "sdxl"):
        tiny["write"](path / base, base)
    return path


@pytest.fixture(scope="session")
def tables(tiny: dict[str, Any]) -> dict[str, tuple[torch.Tensor, torch.Tensor | None]]:
    """Base -> the token embeddings of its encoders."""
    pipes = {base: tiny["pipeline"](base) for base in ("sd1", "sdxl")}
    second = pipes["sdxl"].text_encoder_2
    return {base: (pipe.text_encoder.get_input_embeddings().weight.detach(), second.get_input_embeddings().weight.detach())
            for base, pipe in pipes.items()}  # fmt: skip


@pytest.fixture(scope="session")
def cat(tiny: dict[str, Any]) -> int:
    """The row of a word."""
    return int(tiny["vocabulary"]()[0]["cat</w>"])


def test_a_copied_word_is_named_with_cosine_one(embconv: Run, folder: Path, models: Path, tables: Any, cat: int) -> None:
    table = tables["sd1"][0]
    save_file({"emb_params": torch.stack([table[cat], 2 * table[cat]])}, folder / "copy.safetensors")
    said = embconv("inspect", "copy.safetensors", "--model", f"sd1={models / 'sd1'}", "--json")
    assert said.code == 0
    (found,) = said.document["embeddings"]
    words = found["words"]
    assert (words["base"], words["model"], words["because"]) == ("sd1", str(models / "sd1"), None)
    first, second = words["encoders"]["clip_l"]["vectors"]
    assert first["nearest"][0] == second["nearest"][0] == ["cat", pytest.approx(1, abs=1e-9)]
    assert len(first["nearest"]) == 8
    sizes = table[:-2].double().norm(dim=1)  # the last two are marks
    assert first["norm"] == pytest.approx(float(table[cat].norm()))
    assert first["percentile"] == pytest.approx(100 * (float((sizes < sizes[cat]).sum()) + 0.5) / len(sizes))
    assert second["percentile"] == 100
    assert words["encoders"]["clip_l"]["vocabulary"] == len(table) - 2
    assert words["encoders"]["clip_l"]["norm"]["max"] == pytest.approx(float(sizes.max()))


def test_each_encoder_of_sdxl_has_its_own_words(embconv: Run, folder: Path, models: Path, tables: Any, cat: int) -> None:
    first, second = tables["sdxl"]
    dice = torch.Generator().manual_seed(0)
    given = {"clip_l": torch.randn(1, 768, generator=dice), "clip_g": second[cat][None] + 0.01 * torch.randn(1, 1280, generator=dice)}
    save_file(given, folder / "xl.safetensors")
    arguments = ("inspect", "xl.safetensors", "--model", models / "sd1", "--model", f"sdxl={models / 'sdxl'}")
    words = embconv(*arguments, "--json").document["embeddings"][0]["words"]
    assert (words["base"], list(words["encoders"])) == ("sdxl", ["clip_l", "clip_g"])
    for key, table in (("clip_l", first), ("clip_g", second)):
        cosines = torch.nn.functional.cosine_similarity(given[key].double(), table[:-2].double())
        near = words["encoders"][key]["vectors"][0]["nearest"]
        assert [cosine for _, cosine in near] == pytest.approx(cosines.topk(8).values.tolist(), abs=1e-7)
    assert words["encoders"]["clip_g"]["vectors"][0]["nearest"][0][0] == "cat"
    said = embconv(*arguments)
    assert [line.split()[1] for line in said.lines if line.startswith("  words")] == ["clip_l", "clip_g"]
    (line,) = (line for line in said.lines if line.startswith("  clip_g 1"))
    assert '"cat" 0.' in line
    assert "of the words are shorter" in line


def test_without_a_model_nothing_is_said_of_words(embconv: Run, samples: Path) -> None:
    assert "words" not in embconv("inspect", "paper-xl.safetensors", "--json").document["embeddings"][0]


def test_widths_that_do_not_fit_are_said(embconv: Run, folder: Path, models: Path) -> None:
    save_file({"emb_params": torch.ones(2, 1024)}, folder / "two.safetensors")
    arguments = ("inspect", "two.safetensors", "--model", f"sd1={models / 'sd1'}")
    words = embconv(*arguments, "--json").document["embeddings"][0]["words"]
    assert (words["model"], words["encoders"]) == (None, {})
    assert "It has clip_h 1024;" in words["because"]
    assert words["because"].endswith("(sd1) wants clip_l 768.")
    said = embconv(*arguments)
    assert said.code == 0
    assert any(line.startswith("  words      no model fits: It has clip_h 1024;") for line in said.lines)


def test_half_an_sdxl_embedding_is_compared_with_its_model(embconv: Run, folder: Path, models: Path) -> None:
    save_file({"clip_g": torch.ones(1, 1280)}, folder / "half.safetensors")
    words = embconv("inspect", "half.safetensors", "--model", models / "sdxl", "--json").document["embeddings"][0]["words"]
    assert (words["base"], list(words["encoders"])) == ("sdxl", ["clip_g"])


@pytest.mark.parametrize(("number", "says"), [(np.nan, "is not finite"), (0.0, "is zero, near to no word")])
def test_vectors_without_direction_are_said(embconv: Run, folder: Path, models: Path, number: float, says: str) -> None:
    given = torch.ones(2, 768)
    given[1] = number
    save_file({"emb_params": given}, folder / "odd.safetensors")
    said = embconv("inspect", "odd.safetensors", "--model", models / "sd1")
    assert f"  clip_l 2   {says}" in said.lines
    _, odd = embconv("inspect", "odd.safetensors", "--model", models / "sd1", "--nl").documents[0]["embeddings"][0]["words"]["encoders"][
        "clip_l"]["vectors"]  # fmt: skip
    assert odd == {"norm": None if np.isnan(number) else 0.0, "percentile": None if np.isnan(number) else 0.0, "nearest": []}


def test_a_bad_file_among_good_ones_is_refused_alone(embconv: Run, folder: Path, models: Path) -> None:
    save_file({"emb_params": torch.ones(1, 768)}, folder / "good.safetensors")
    (folder / "bad.safetensors").write_bytes(b"no embedding")
    said = embconv("inspect", "bad.safetensors", "good.safetensors", "--model", models / "sd1", "--nl")
    assert said.code == 1
    assert ["error" in each for each in said.documents] == [True, False]
    assert said.documents[1]["embeddings"][0]["words"]["base"] == "sd1"


def refused(said: Said) -> str:
    """What stopped it."""
    assert (said.code, said.out) == (2, "")
    return said.err


def test_models_that_cannot_be_used_stop_it_with_a_sentence(embconv: Run, samples: Path, models: Path) -> None:
    torch.save({"state_dict": {}}, "model.ckpt")
    save_file({"lora_unet_x.lora_down.weight": torch.ones(1, 4)}, "lora.safetensors")
    save_file({"emb_params": torch.ones(1, 768)}, "emb.safetensors")

    def told(*given: str | Path) -> str:
        return refused(embconv("inspect", "paper-xl.safetensors", *given))

    assert "is a checkpoint for sd1, not for sdxl." in told("--model", f"sdxl={models / 'sd1'}")
    assert "Two models are given for sd1" in told("--model", models / "sd1", "--model", f"sd1={models / 'sd1'}")
    assert "[bad_checkpoint]" in (missing := told("--model", "sd1=nothing/here"))
    assert "is not there" in missing
    assert "[pickle_checkpoint]" in told("--model", "sd1=model.ckpt")
    assert "is a LoRA" in told("--model", "sd1=lora.safetensors")
    assert "is an embedding, not a checkpoint" in told("--model", "sd1=emb.safetensors")
    assert "is no base that can be rendered" in told("--model", f"flux1={models / 'sd1'}")
    assert "--model adds to the report" in told("--model", models / "sd1", "-q")
    assert "--model adds to the report" in told("--model", models / "sd1", "--pickle")


def test_an_error_is_json_where_json_was_asked_for(embconv: Run, samples: Path) -> None:
    said = embconv("inspect", "paper-xl.safetensors", "--model", "sd1=nothing", "--json")
    assert (said.code, said.document["error"]["code"]) == (2, "bad_checkpoint")


def test_torch_is_never_imported(folder: Path, models: Path) -> None:
    save_file({"emb_params": torch.ones(1, 768)}, folder / "good.safetensors")
    code = "import atexit, json, sys; atexit.register(lambda: print(json.dumps(sorted(sys.modules)), file=sys.stderr)); from embconv.cli.main import cli; cli()"
    done = subprocess.run([sys.executable, "-c", code, "inspect", "good.safetensors", "--model", f"sd1={models / 'sd1'}", "--json"],
                          cwd=folder, capture_output=True, text=True, timeout=60, check=True)  # fmt: skip
    assert json.loads(done.stdout)["embeddings"][0]["words"]["base"] == "sd1"
    assert not {"torch", "diffusers", "transformers", "safetensors"} & set(json.loads(done.stderr))
