"""`embconv show`: all that is known of one, and where it works; here and through a server alike."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from embconv.converters.targets import TARGETS

from .conftest import Said

Run = Callable[..., Said]


@pytest.fixture
def kept(samples: Path, embconv: Run, place: str) -> Run:
    Path("moonpaper.civitai.info").write_text(json.dumps({"id": 1, "trainedWords": ["moonword"], "baseModel": "SD 1.5"}))
    for name in ("moonpaper.pt", "paper-xl.safetensors", "fox-toy.bin"):
        assert embconv("add", name).code == 0
    return embconv


@pytest.mark.parametrize("reference", ["name", "digest", "part", "sha256", "autov2", "crc32"])
def test_a_reference_is_a_digest_a_hash_or_a_name(kept: Run, reference: str) -> None:
    hashes = kept("hash", "moonpaper.pt", "--json").document
    digest = hashes["embeddings"][0]["digest"]
    refs = {"name": "MoonPaper", "digest": digest, "part": digest[4:12], **hashes["hashes"]}
    assert kept("show", refs[reference], "-q").out.strip() == digest


def test_everything_is_there(kept: Run) -> None:
    said = kept("show", "moonpaper")
    assert said.code == 0
    assert said.lines[0] == "moonpaper"
    for words in ('called     archive root "moonpaper-v3"; file stem "moonpaper"; inner name "moonpaper-v3"; key "*"', "clip_l: 4 vectors of 768, F32", "moonpaper.pt, 13,", "sha256  ", "sidecar moonpaper.civitai.info: ",
                  "trigger moonword", "warning    names: ", "loads in   AUTOMATIC1111 web UI: moonpaper", "embedding:moonpaper", "<moonpaper>"):  # fmt: skip
        assert words in said.out, words


def test_the_document_has_what_programs_make_of_it(kept: Run) -> None:
    entry = kept("show", "fox-toy", "--json").document
    uses = {use["program"]: use for use in entry["uses"]}
    assert list(uses) == [target.name for target in TARGETS]
    assert uses["diffusers"]["loads"] is True
    assert uses["diffusers"]["prompt"] == "<fox-toy>"
    assert uses["sdnext"]["loads"] != True  # noqa: E712  # it may be a sentence
    assert (uses["sdnext"]["export"], uses["sdnext"]["prompt"]) == ("sdnext", "fox-toy")
    assert json.loads(kept("show", "fox-toy", "--nl").out) == entry


def test_where_it_never_loads_is_said_with_the_reason(kept: Run) -> None:
    said = kept("show", "paper-xl")
    assert "  not in     stable-diffusion.cpp: loads, but with wrong vectors: it mixes" in said.out
    (never,) = [use for use in kept("show", "paper-xl", "--json").document["uses"] if use["program"] == "sdcpp"]
    assert (never["export"], never["prompt"]) == (None, None)


def test_a_reference_to_nothing_is_an_error_with_what_to_do(kept: Run) -> None:
    said = kept("show", "nobody")
    assert (said.code, said.out) == (1, "")
    assert said.err.splitlines()[0] == 'Error: Nothing here is called "nobody".  [unknown_reference]'
    assert kept("show", "nobody", "--json").document["error"]["code"] == "unknown_reference"


def test_a_reference_to_several_names_them(kept: Run, folder: Path) -> None:
    from stored import a1111

    for seed in (1, 2):
        Path("same.pt").write_bytes(a1111(seed, "same"))
        kept("add", "same.pt")
    said = kept("show", "same")
    assert said.code == 1
    assert "[ambiguous_reference]" in said.err
    assert said.err.count("emb:") == 2
