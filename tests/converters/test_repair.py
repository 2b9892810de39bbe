"""Files that programs misread, made right: the difference is shown, then the file is written and proven."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from embconv.converters.check import check
from embconv.converters.convert import Options, convert
from embconv.converters.errors import CannotHold, NotFinite, SeveralEmbeddings, TargetExists
from embconv.converters.hashes import digest
from embconv.converters.model import Tensor
from embconv.converters.read import load
from embconv.converters.repair import Change, Repaired, repair
from embconv.converters.targets import target
from examples import a1111_dict, made, safetensors, torch_file


def bad(values: torch.Tensor, *rows: int) -> torch.Tensor:
    changed = values.clone()
    for row in rows:
        changed[row, 7] = float("nan") if row % 2 else float("inf")
    return changed


def file(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def bits(tensor: Tensor) -> torch.Tensor:
    return torch.frombuffer(bytearray(tensor.data), dtype=torch.float32).reshape(tensor.shape)


GOOD = made(3, 768)
MENDED: list[tuple[str, str, bytes, list[Change], dict[str, torch.Tensor]]] = [
    ("768 under clip_g", "wispy.safetensors", safetensors({"clip_g": GOOD}), [Change("key", "clip_g", "clip_l")], {"clip_l": GOOD}),
    ("emp_params", "wispy.safetensors", safetensors({"emp_params": GOOD}), [Change("key", "emp_params", "emb_params")], {"clip_l": GOOD}),
    ("one axis", "wispy.bin", torch_file({"wispy": GOOD[0]}), [Change("shape", "768", "1x768")], {"clip_l": GOOD[:1]}),
    ("three axes", "wispy.bin", torch_file({"wispy": GOOD[None]}), [Change("shape", "1x3x768", "3x768")], {"clip_l": GOOD}),
    ("another name inside", "badhandv4.pt", torch_file(a1111_dict(GOOD, name="badhandv3")),
     [Change("name inside", "badhandv3", "badhandv4")], {"clip_l": GOOD}),
    ("NaN", "bad-hands-5.pt", torch_file(a1111_dict(bad(GOOD, 0, 1))),
     [Change("clip_l", "3 vectors, NaN or infinity in vectors 1, 2", "1 vectors")], {"clip_l": GOOD[2:]}),
    ("all of it", "wispy.bin", torch_file({"string_to_param": {"*": bad(GOOD, 1)[None]}, "name": "x"}), [
        Change("shape", "1x3x768", "3x768"), Change("clip_l", "3 vectors, NaN or infinity in vector 2", "2 vectors"),
        Change("name inside", "x", "wispy"),
    ], {"clip_l": GOOD[[0, 2]]}),
]  # fmt: skip
cases = pytest.mark.parametrize(("name", "data", "changes", "wanted"), [pytest.param(*rest, id=title) for title, *rest in MENDED])


@cases
@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_mended(tmp_path: Path, name: str, data: bytes, changes: list[Change], wanted: dict[str, torch.Tensor], suffix: str) -> None:
    source, dest = file(tmp_path / name, data), tmp_path / f"{name.partition('.')[0]}-2{suffix}"
    result = repair(source, dest, drop_bad_rows=True)
    assert list(result.changes) == changes
    assert result.outcome is not None
    found = load(dest)
    assert {key: torch.equal(bits(found.vectors[key]), values) for key, values in wanted.items()} == dict.fromkeys(wanted, True)
    assert found.vectors.keys() == wanted.keys()
    assert result.outcome.digest == digest(found)
    assert [finding for finding in check(found) if finding.severity == "error"] == []
    assert source.read_bytes() == data


@cases
def test_the_mended_file_needs_no_mending(
    tmp_path: Path, name: str, data: bytes, changes: list[Change], wanted: dict[str, torch.Tensor]
) -> None:
    (tmp_path / "out").mkdir()
    dest = tmp_path / "out" / f"{name.partition('.')[0]}.safetensors"
    repair(file(tmp_path / name, data), dest, drop_bad_rows=True)
    assert repair(dest, tmp_path / "again.safetensors", drop_bad_rows=True) == Repaired(changes=())


@cases
def test_the_difference_is_shown_before_anything_is_written(
    tmp_path: Path, name: str, data: bytes, changes: list[Change], wanted: dict[str, torch.Tensor]
) -> None:
    dest, shown = tmp_path / "out.safetensors", []
    repair(file(tmp_path / name, data), dest, drop_bad_rows=True, shown=lambda change: shown.append((change, dest.exists())))
    assert shown == [(change, False) for change in changes]


def test_a_sound_file_is_not_written_again(tmp_path: Path) -> None:
    source = file(tmp_path / "bad-hands-5.pt", torch_file(a1111_dict(GOOD)))
    assert repair(source, tmp_path / "out.pt") == Repaired(changes=())
    assert not (tmp_path / "out.pt").exists()


def test_a_dry_run_shows_and_writes_nothing(tmp_path: Path) -> None:
    source = file(tmp_path / "wispy.safetensors", safetensors({"emp_params": GOOD}))
    result = repair(source, tmp_path / "out.safetensors", Options(dry_run=True))
    assert result.changes
    assert result.outcome is not None
    assert result.outcome.status == "would_convert"
    assert not (tmp_path / "out.safetensors").exists()


# ---- keys ----


def test_what_is_mended_loads_where_it_did_not(tmp_path: Path) -> None:
    source = file(tmp_path / "wispy.safetensors", safetensors({"clip_g": GOOD}))
    repair(source, tmp_path / "out.safetensors", Options(target=target("invokeai")))
    from safetensors.torch import load_file

    assert torch.equal(load_file(tmp_path / "out.safetensors")["emb_params"], GOOD)


def test_onetrainers_fault_beside_another_encoder(tmp_path: Path) -> None:
    # Flux.1: CLIP-L was written as clip_g for half a year
    source = file(tmp_path / "wispy.safetensors", safetensors({"clip_g": GOOD, "t5": made(3, 4096)}))
    result = repair(source, tmp_path / "out.safetensors")
    assert result.changes == (Change("key", "clip_g", "clip_l"),)
    from safetensors.torch import load_file

    found = load_file(tmp_path / "out.safetensors")
    assert (sorted(found), found["clip_l"].shape) == (["clip_l", "t5xxl"], (3, 768))


def test_onetrainer_gets_its_own_spelling_unchanged(tmp_path: Path) -> None:
    source = file(tmp_path / "wispy.safetensors", safetensors({"emp_params": GOOD}))
    assert repair(source, tmp_path / "out.safetensors", Options(target=target("onetrainer"))).changes == ()


# ---- rows ----


def test_rows_are_dropped_only_when_asked(tmp_path: Path) -> None:
    source, shown = file(tmp_path / "bad-hands-5.pt", torch_file(a1111_dict(bad(GOOD, 1)))), []
    with pytest.raises(NotFinite, match="Leave them out with --drop-bad-rows"):
        repair(source, tmp_path / "out.pt", shown=shown.append)
    assert shown == [Change("clip_l", "3 vectors, NaN or infinity in vector 2", "the same: give --drop-bad-rows")]
    assert [path.name for path in tmp_path.iterdir()] == ["bad-hands-5.pt"]


def test_there_must_be_something_left(tmp_path: Path) -> None:
    source = file(tmp_path / "bad-hands-5.pt", torch_file(a1111_dict(bad(GOOD, 0, 1, 2))))
    with pytest.raises(CannotHold, match="no sound vector"):
        repair(source, tmp_path / "out.pt", drop_bad_rows=True)


# vector i of one encoder and vector i of the other are one token; A1111 misreads files with unequal numbers
def test_a_row_goes_from_every_encoder(tmp_path: Path) -> None:
    left, right = made(3, 768), made(3, 1280)
    source = file(tmp_path / "wispy.safetensors", safetensors({"clip_l": bad(left, 0), "clip_g": right}))
    result = repair(source, tmp_path / "out.safetensors", drop_bad_rows=True)
    assert {change.where: change.becomes for change in result.changes} == {"clip_l": "2 vectors", "clip_g": "2 vectors"}
    found = load(tmp_path / "out.safetensors").vectors
    assert torch.equal(bits(found["clip_l"]), left[1:])
    assert torch.equal(bits(found["clip_g"]), right[1:])


def test_where_numbers_differ_anyway_only_the_bad_one_goes(tmp_path: Path) -> None:
    source = file(tmp_path / "wispy.safetensors", safetensors({"clip_l": bad(made(3, 768), 0), "clip_g": made(2, 1280)}))
    repair(source, tmp_path / "out.safetensors", drop_bad_rows=True)
    assert {key: tensor.shape[0] for key, tensor in load(tmp_path / "out.safetensors").vectors.items()} == {"clip_l": 2, "clip_g": 2}


# convert refuses such a file and names repair, so repair must mend it
def test_output_vectors_are_mended_too(tmp_path: Path) -> None:
    outputs = made(3, 768, seed=1)
    source = file(tmp_path / "wispy.safetensors", safetensors({"emp_params": GOOD, "emp_params_out": bad(outputs, 2)}))
    with pytest.raises(NotFinite, match="--drop-bad-rows"):
        convert(source, tmp_path / "out.safetensors")
    done = repair(source, tmp_path / "out.safetensors", drop_bad_rows=True)
    assert {change.where for change in done.changes} == {"clip_l", "clip_l_out"}  # not the key: emb_params has no place for them
    found = load(tmp_path / "out.safetensors")
    assert torch.equal(bits(found.vectors["clip_l"]), GOOD[:2])
    assert torch.equal(bits(found.output_vectors["clip_l"]), outputs[:2])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_rows_of_every_kind_of_number(tmp_path: Path, dtype: str) -> None:
    source = file(tmp_path / "bad-hands-5.pt", torch_file(a1111_dict(bad(made(3, 768, dtype), 1))))
    repair(source, tmp_path / "out.safetensors", drop_bad_rows=True)
    from safetensors.torch import load_file

    assert torch.equal(load_file(tmp_path / "out.safetensors")["emb_params"], made(3, 768, dtype)[[0, 2]])


# ---- names ----


def test_the_name_inside_becomes_the_trigger(tmp_path: Path) -> None:
    source = file(tmp_path / "badhandv4.pt", torch_file(a1111_dict(GOOD, name="badhandv3"), "badhandv2"))
    repair(source, tmp_path / "out.pt")
    assert torch.load(tmp_path / "out.pt", weights_only=True)["name"] == "badhandv4"


SIDECARS: list[tuple[str, str, Any]] = [
    ("learned_embeds.bin", "token_identifier.txt", "<wispy>"),
    ("embedding.safetensors", "embedding.civitai.info", json.dumps({"trainedWords": ["<wispy>"]})),
]


@pytest.mark.parametrize(("name", "sidecar", "text"), SIDECARS, ids=[row[1] for row in SIDECARS])
def test_a_name_that_only_a_sidecar_has_is_written_into_the_file(tmp_path: Path, name: str, sidecar: str, text: str) -> None:
    data = torch_file({"emb_params": GOOD}) if name.endswith(".bin") else safetensors({"emb_params": GOOD})
    source = file(tmp_path / name, data)
    (tmp_path / sidecar).write_text(text)
    result = repair(source, tmp_path / "out.safetensors")
    assert result.changes == (Change("trigger", "known to a sidecar only", "<wispy>"),)
    from safetensors import safe_open

    with safe_open(tmp_path / "out.safetensors", "pt") as opened:
        assert opened.metadata()["modelspec.trigger_phrase"] == "<wispy>"
    (tmp_path / "elsewhere").mkdir()
    moved = file(tmp_path / "elsewhere" / "embedding.safetensors", (tmp_path / "out.safetensors").read_bytes())
    assert load(moved).names.header == "<wispy>"


# ---- as convert does ----


def test_an_output_that_is_there_stays(tmp_path: Path) -> None:
    source, dest = file(tmp_path / "wispy.bin", torch_file({"wispy": GOOD[0]})), file(tmp_path / "out.pt", b"mine")
    with pytest.raises(TargetExists):
        repair(source, dest)
    assert dest.read_bytes() == b"mine"
    repair(source, dest, Options(force=True))
    assert load(dest).vectors["clip_l"].shape == (1, 768)


def test_a_file_can_be_mended_in_place(tmp_path: Path) -> None:
    source = file(tmp_path / "wispy.safetensors", safetensors({"clip_g": GOOD}))
    repair(source, source, Options(force=True))
    assert torch.equal(bits(load(source).vectors["clip_l"]), GOOD)


def test_one_of_several_is_picked(tmp_path: Path) -> None:
    source = file(tmp_path / "two.bin", torch_file({"<a>": GOOD, "<b>": bad(GOOD, 1)}))
    with pytest.raises(SeveralEmbeddings):
        repair(source, tmp_path / "out.safetensors")
    result = repair(source, tmp_path / "out.safetensors", Options(pick="<b>"), drop_bad_rows=True)
    assert len(result.changes) == 1
    assert load(tmp_path / "out.safetensors").vectors["clip_l"].shape == (2, 768)
