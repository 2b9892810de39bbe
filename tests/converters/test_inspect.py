"""The report: what `embconv inspect --json` prints, key by key."""

from __future__ import annotations

import hashlib
import json
import zlib
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from embconv.converters.convert import convert
from embconv.converters.errors import FileError
from embconv.converters.hashes import digest
from embconv.converters.inspect import Report, inspect
from embconv.converters.read import load
from embconv.converters.targets import TARGETS
from examples import EXAMPLES, OTHERS, Example, Other, a1111_dict, made, safetensors, torch_1, torch_file


def as_json(report: Report) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(msgspec.json.encode(report))
    return found


def file(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_the_keys_of_the_report(tmp_path: Path) -> None:
    told = {"name": "badhandv3", "step": 9999, "sd_checkpoint": "72f558e947", "sd_checkpoint_name": "blossom"}
    found = as_json(inspect(file(tmp_path / "badhandv4.pt", torch_1(a1111_dict(made(6, 768), **told)))))
    assert set(found) == {"path", "size", "container", "layout", "written_by", "embeddings", "hashes", "findings", "loads_in"}
    (embedding,) = found["embeddings"]
    assert set(embedding) == {"trigger", "names", "base", "bases", "encoders", "training", "digest", "role", "metadata"}
    assert embedding["names"] == {"file_stem": "badhandv4", "inner_name": "badhandv3", "key": "*", "archive_root": "archive"}
    assert {frozenset(claim) for claim in embedding["bases"]} == {frozenset({"base", "confidence", "because"})}
    assert set(embedding["encoders"]) == {"clip_l"}
    assert set(embedding["encoders"]["clip_l"]) == {"vectors", "width", "dtype", "norm"}
    assert set(embedding["encoders"]["clip_l"]["norm"]) == {"min", "mean", "max"}
    assert embedding["training"] == {key: told[key] for key in ("step", "sd_checkpoint", "sd_checkpoint_name")}
    assert set(found["hashes"]) == {"sha256", "blake3", "crc32", "autov2", "autov3", "autov3_full", "a1111_shorthash"}
    assert [finding["rule"] for finding in found["findings"]] == ["name_mismatch"]
    assert set(found["findings"][0]) == {"rule", "severity", "where", "says"}
    assert list(found["loads_in"]) == [target.name for target in TARGETS]


def test_the_values_of_the_report(tmp_path: Path) -> None:
    data = torch_1(a1111_dict(made(6, 768)))
    path = file(tmp_path / "bad-hands-5.pt", data)
    report = inspect(path)
    assert (report.path, report.size, report.container, report.layout, report.written_by) == (
        str(path), len(data), "torch_zip", "a1111", "A1111 webui",
    )  # fmt: skip
    (embedding,) = report.embeddings
    assert (embedding.trigger, embedding.base, embedding.role) == ("bad-hands-5", "sd1", "unknown")
    assert embedding.digest == digest(load(path))
    encoder, lengths = embedding.encoders["clip_l"], made(6, 768).double().norm(dim=1)
    assert (encoder.vectors, encoder.width, encoder.dtype) == (6, 768, "F32")
    assert (encoder.norm.min, encoder.norm.mean, encoder.norm.max) == pytest.approx(
        [lengths.min().item(), lengths.mean().item(), lengths.max().item()]
    )
    sha = hashlib.sha256(data).hexdigest()
    assert (report.hashes.sha256, report.hashes.autov2, report.hashes.a1111_shorthash) == (sha, sha[:10], sha[:12])
    assert report.hashes.crc32 == zlib.crc32(data).to_bytes(4, "little").hex().upper()
    assert report.findings == ()
    assert {name: answer for name, answer in report.loads_in.items() if answer is not True} == {
        "onetrainer": "reads only emp_params: embconv IN OUT --for onetrainer"
    }


def test_the_role_is_what_a_sidecar_says(tmp_path: Path) -> None:
    path = file(tmp_path / "bad-hands-5.pt", torch_file(a1111_dict(made(1, 768))))
    (tmp_path / "bad-hands-5.civitai.info").write_text(json.dumps({"files": [{"type": "Negative", "primary": True}]}))
    (embedding,) = inspect(path).embeddings
    assert embedding.role == "negative"
    assert [claim.source for claim in embedding.claims or ()] == ["bad-hands-5.civitai.info"]


def test_a_file_of_ours_says_whence_it_came(tmp_path: Path) -> None:
    convert(file(tmp_path / "bad-hands-5.pt", torch_file(a1111_dict(made(1, 768)))), tmp_path / "bad-hands-5.safetensors")
    report = inspect(tmp_path / "bad-hands-5.safetensors")
    (embedding,) = report.embeddings
    assert report.written_by == "embconv"
    assert [source.name for source in embedding.sources or ()] == ["bad-hands-5.pt"]
    assert embedding.names["inner_name"] == "bad-hands-5"


def test_the_key_of_the_file_where_it_has_one() -> None:
    (embedding,) = inspect(safetensors({"clip_l": made(1, 768), "t5": made(1, 4096)})).embeddings
    assert {name: encoder.key for name, encoder in embedding.encoders.items()} == {"clip_l": "clip_l", "t5xxl": "t5"}


def test_output_vectors_stand_apart() -> None:
    (embedding,) = inspect(safetensors({"emp_params": made(1, 768), "emp_params_out": made(2, 768, seed=1)})).embeddings
    assert embedding.encoders["clip_l"].vectors == 1
    assert {name: encoder.vectors for name, encoder in (embedding.output_encoders or {}).items()} == {"clip_l": 2}


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_are_none_are_no_trouble(number: float) -> None:
    found = as_json(inspect(torch_file(a1111_dict(torch.full((2, 768), number)))))
    assert found["embeddings"][0]["encoders"]["clip_l"]["norm"] == {"min": None, "mean": None, "max": None}
    assert "not_finite" in {finding["rule"] for finding in found["findings"]}


def test_findings_say_which_of_several() -> None:
    report = inspect(torch_file({"<one>": made(1, 768), "<two>": torch.zeros(1, 768)}))
    assert [embedding.trigger for embedding in report.embeddings] == ["<one>", "<two>"]
    assert [(finding.rule, finding.where) for finding in report.findings if finding.rule == "zero_rows"] == [("zero_rows", "<two>: clip_l")]


@pytest.mark.parametrize("example", EXAMPLES, ids=repr)
def test_every_layout_has_a_report(tmp_path: Path, example: Example) -> None:
    found = as_json(inspect(file(tmp_path / f"word{example.suffix}", example.data)))
    assert (found["container"], found["layout"], len(found["embeddings"])) == (example.container, example.layout, len(example.expected))
    assert all(answer is True or answer for answer in found["loads_in"].values())


@pytest.mark.parametrize("other", OTHERS, ids=repr)
def test_anything_else_is_refused(tmp_path: Path, other: Other) -> None:
    with pytest.raises(FileError):
        inspect(file(tmp_path / f"word{other.suffix}", other.data))
