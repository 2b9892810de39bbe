"""Nothing is lost: through every container that has room for text and back, an embedding says what it said before."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save

from embconv.converters import Embedding, convert, digest, load
from embconv.converters.names import trigger_of

VECTORS = torch.arange(2 * 768, dtype=torch.float32).reshape(2, 768) / 1024
CHAIN = (".safetensors", ".pt", ".png", ".safetensors", ".bin", ".pt")


def torch_file(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


SOURCES: dict[str, tuple[str, Callable[[], bytes]]] = {
    "a1111": (
        ".pt",
        lambda: torch_file(
            {
                "string_to_token": {"*": 265},
                "string_to_param": {"*": VECTORS},
                "name": "wisp",
                "step": 500,
                "sd_checkpoint": "81761151",
                "sd_checkpoint_name": "v1-5",
            }
        ),
    ),
    "another placeholder, no name, no training": (
        ".pt",
        lambda: torch_file({"string_to_token": {"<wisp>": 2368}, "string_to_param": {"<wisp>": VECTORS}}),
    ),
    "a token map with more in it": (
        ".pt",
        lambda: torch_file({"string_to_token": {"*": 777, "zz": 5}, "string_to_param": {"*": VECTORS}, "name": "wisp", "step": None}),
    ),
    "empty texts": (
        ".pt",
        lambda: torch_file({"string_to_token": {"*": 1}, "string_to_param": {"*": VECTORS}, "name": "*", "sd_checkpoint": ""}),
    ),
    "no token map": (".pt", lambda: torch_file({"emb_params": VECTORS})),
    "one axis": (".bin", lambda: torch_file({"<wisp>": VECTORS[0]})),
    "metadata of its own": (".safetensors", lambda: save({"<wisp>": VECTORS}, {"format": "pt", "name": "no JSON", "notes": "n"})),
}


def told(embedding: Embedding) -> tuple[object, ...]:
    return (
        embedding.names.inner_name,
        embedding.names.key,
        embedding.names.archive_root,
        embedding.training,
        embedding.metadata,
        digest(embedding),
    )


@pytest.mark.parametrize("case", SOURCES)
def test_everything_comes_back(tmp_path: Path, case: str) -> None:
    suffix, make = SOURCES[case]
    current = tmp_path / f"wisp{suffix}"
    current.write_bytes(make())
    first = load(current)
    for number, other in enumerate(CHAIN):
        convert(current, out := tmp_path / f"wisp-{number}{other}")
        again = load(out)
        root = first.names.archive_root or again.names.archive_root  # a torch file has one in any case
        assert told(again)[:2] == told(first)[:2]
        assert (again.names.archive_root or root) == root
        assert told(again)[3:] == told(first)[3:]
        current = out


# A1111 calls an image by the name inside, so that has to be the trigger; it was the name inside the source
def test_an_image_is_called_by_the_trigger(tmp_path: Path) -> None:
    (tmp_path / "wispv4.pt").write_bytes(SOURCES["a1111"][1]())
    convert(tmp_path / "wispv4.pt", tmp_path / "card.png")
    image = load(tmp_path / "card.png")
    assert (trigger_of(image.names), image.names.inner_name) == ("wispv4", "wisp")
    text = json.loads(base64.b64decode(Image.open(tmp_path / "card.png").text["sd-ti-embedding"]))
    assert text["name"] == "wispv4"


def test_the_claims_of_a_sidecar_travel_along(tmp_path: Path) -> None:
    (tmp_path / "wisp.pt").write_bytes(torch_file({"emb_params": VECTORS}))
    sidecar = {"baseModel": "SD 1.5", "trainedWords": ["wispy"], "files": [{"primary": True, "hashes": {"SHA256": "AB" * 32}}]}
    (tmp_path / "wisp.civitai.info").write_text(json.dumps(sidecar))
    convert(tmp_path / "wisp.pt", tmp_path / "a.safetensors")
    convert(tmp_path / "a.safetensors", tmp_path / "b.pt")
    (claim,) = [hint for hint in load(tmp_path / "b.pt").hints if hint.source == "wisp.civitai.info"]
    assert (claim.base, claim.base_text, claim.trigger, claim.hashes) == ("sd1", "SD 1.5", "wispy", {"sha256": "ab" * 32})
