"""The whole way in: any container with any change, told apart, identified and made embeddings of; and the files beside one.

An input is a byte (what it is), then the bytes; those of sidecars go to a temporary folder.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random

import fuzz_image
import fuzz_npy
import fuzz_pickle
import fuzz_safetensors
import fuzz_torch_legacy
import fuzz_torch_zip
import torch
from driver import Target, main
from grammar import VECTORS, changed_json, changed_pickle, framed_json, opcodes, saved, tokens

from embconv.converters.containers import safetensors as ours
from embconv.converters.model import Tensor
from embconv.converters.read import examine
from embconv.converters.sidecars import SIDECARS, hints_beside
from embconv.converters.source import Source

FLAT = VECTORS.numpy().tobytes()
A1111 = {
    "string_to_token": {"*": 265},
    "string_to_param": {"*": VECTORS},
    "name": "x",
    "step": 1,
    "sd_checkpoint": None,
    "sd_checkpoint_name": None,
}
ARCHIVES = [fuzz_torch_zip.records(saved(value)) for value in (A1111, {"<t>": VECTORS[0]}, {"<t>": torch.nn.Parameter(VECTORS)})]
SEEDS = [opcodes(dict(archive)[b"archive/data.pkl"]) for archive in ARCHIVES]
FILES = [
    ours.write(
        {"clip_l": Tensor("F32", (2, 768), FLAT), "clip_g": Tensor("F32", (1, 1280), (FLAT + FLAT)[:5120])}, {"modelspec.title": "x"}
    ),
    ours.write({"emb_params": Tensor("F32", (2, 768), FLAT)}, {}),
]
HEADS = [data[8 : 8 + int.from_bytes(data[:8], "little")] for data in FILES]
HEADERS = [tokens(head.decode()) for head in HEADS]
OTHERS: list[Callable[[Random], bytes]] = [
    module.TARGET.mutate for module in (fuzz_torch_zip, fuzz_torch_legacy, fuzz_safetensors, fuzz_image, fuzz_npy, fuzz_pickle)
]
CLAIMS = [
    {"baseModel": "SD 1.5", "trainedWords": ["x"], "files": [{"primary": True, "type": "Negative", "hashes": {"SHA256": "ab"}}],
     "model": {"allowNoCredit": True, "allowCommercialUse": ["Image"]}},
    {"activation text": "x", "sd version": "SD1", "sha256": "0xab", "notes": ""},
    {"TrainedWords": ["x", None], "BaseModel": "SDXL 1.0", "Hashes": {"SHA256": "ab", "CRC32": None}},
    {"base_model": "SD 2.1 768", "sha256": "ab", "civitai": {"baseModel": "SD 1.5", "trainedWords": [], "files": []}},
]  # fmt: skip
SIDECAR_SEEDS = [tokens(json.dumps(claim)) for claim in CLAIMS]
FOLDER = tempfile.TemporaryDirectory(prefix="embconv-fuzz-", ignore_cleanup_errors=True)
BESIDE = str(Path(FOLDER.name) / "x.pt")


def mutate(chance: Random) -> bytes:
    kind = chance.random()
    if kind < 0.25:
        return b"s" + bytes([int(chance.random() * len(SIDECARS))]) + framed_json(changed_json(chance, SIDECAR_SEEDS))
    if kind < 0.5:
        which = int(chance.random() * len(ARCHIVES))
        archive = list(ARCHIVES[which])
        archive[0] = (archive[0][0], changed_pickle(chance, [SEEDS[which]]))
        return b"f" + fuzz_torch_zip.zipped(archive, 0)
    if kind < 0.7:
        which = int(chance.random() * len(FILES))
        head = framed_json(changed_json(chance, [HEADERS[which]]))
        return b"f" + len(head).to_bytes(8, "little") + head + FILES[which][8 + len(HEADS[which]) :]
    return b"f" + chance.choice(OTHERS)(chance)


def run(data: bytes) -> object:
    if data[:1] == b"s":
        return _beside(data[1] % len(SIDECARS) if len(data) > 1 else 0, data[2:])
    return examine(Source(data[1:], "fuzzed"))


def _beside(which: int, text: bytes) -> object:
    path = Path(BESIDE[:-3] + SIDECARS[which][0])
    path.write_bytes(text)
    try:
        return hints_beside(BESIDE)
    finally:
        path.unlink()


TARGET = Target("examine", mutate, run)

if __name__ == "__main__":
    main(TARGET)
