"""One file to another: what is refused and in which words, what is kept, what is said, where it goes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from embconv.converters import limits
from embconv.converters.convert import Options, Outcome, convert, converted_by, joined, put_now
from embconv.converters.errors import (
    BaseMismatch,
    CannotHold,
    CannotWrite,
    EmbconvError,
    MislabelledKey,
    NotFinite,
    SeveralEmbeddings,
    TargetExists,
)
from embconv.converters.hashes import digest
from embconv.converters.read import load, read
from embconv.converters.targets import TARGETS, target
from examples import EXAMPLES, Example, a1111_dict, made, safetensors, torch_file

CONVERT = sys.modules["embconv.converters.convert"]
XL = safetensors({"clip_l": made(2, 768), "clip_g": made(2, 1280)})
UNEQUAL = safetensors({"clip_l": made(2, 768), "clip_g": made(3, 1280)})
SD2 = torch_file(a1111_dict(made(4, 1024)))
OUT = made(1, 768, seed=1)
OUTPUTS = {  # OneTrainer's output vectors beside the others
    "emp_params": safetensors({"emp_params": made(1, 768), "emp_params_out": OUT}),
    "bundle_emb": torch_file({"lora_down.weight": made(4, 8), "bundle_emb.cat.clip_l": made(1, 768), "bundle_emb.cat.clip_l_out": OUT}),
    "per_encoder": safetensors({"clip_l": made(1, 768), "clip_g": made(1, 1280), "clip_l_out": OUT, "clip_g_out": made(1, 1280, seed=1)}),
    "flux": safetensors({"clip_l": made(1, 768), "t5": made(1, 4096), "clip_l_out": OUT, "t5_out": made(1, 4096, seed=1)}),
    "one of two": safetensors({"clip_l": made(1, 768), "clip_g": made(1, 1280), "clip_l_out": OUT}),
}
FULL = {"note": "by hand", "hash": "55f3", "optimizer": {"lr": 0.005, "betas": [0.9, 0.999]}}


@pytest.fixture
def style(tmp_path: Path) -> Path:
    return file(tmp_path / "style.pt", torch_file(a1111_dict(made(2, 768))))


def file(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def one(outcomes: list[Outcome]) -> Outcome:
    (outcome,) = outcomes
    return outcome


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# ---- refused, with what was given, what was wanted and what to do ----


def test_the_wrong_base_in_exactly_these_words(tmp_path: Path) -> None:
    source = file(tmp_path / "style.pt", SD2)
    with pytest.raises(BaseMismatch) as caught:
        convert(source, tmp_path / "out.safetensors", Options(base="sdxl"))
    assert caught.value.says == (
        '"style.pt" is for SD 2.x (clip_h, 1024 wide, 4 vectors); sdxl needs clip_l 768 and clip_g 1280. It cannot be carried over.'
    )
    assert caught.value.code == "base_mismatch"
    assert names_in(tmp_path) == ["style.pt"]


REFUSED: list[tuple[str, bytes, str, Options, type[EmbconvError], list[str]]] = [
    ("SDXL in sd.cpp", XL, "out.safetensors", Options(target=target("sdcpp")), CannotHold, ["stable-diffusion.cpp", "It loads in a1111"]),
    *((f"unequal n in {name}", UNEQUAL, "out.safetensors", Options(target=target(name)), CannotHold, ["equally many", "loads in comfyui"])
      for name in ("a1111", "forge", "kohya", "sdnext")),
    ("white space in a ComfyUI name", SD2, "my style.safetensors", Options(target=target("comfyui")), CannotHold,
     ["my style", "Name it", "my_style.safetensors"]),
    ("a tab in a ComfyUI name", SD2, "my\tstyle.safetensors", Options(target=target("comfyui")), CannotHold, ["my_style.safetensors"]),
    ("brackets in an InvokeAI name", SD2, "a(b).safetensors", Options(target=target("invokeai")), CannotHold, ["a_b_.safetensors"]),
    (".bin for sd.cpp", SD2, "out.bin", Options(target=target("sdcpp")), CannotHold, [".bin", "Write a .safetensors file"]),
    ("two encoders in a picture", XL, "out.png", Options(), CannotHold, [".png", "clip_l", "clip_g", ".safetensors"]),
    ("a suffix that nobody writes", SD2, "out.gguf", Options(), CannotHold, ["out.gguf", ".safetensors, .pt, .bin, .png"]),
    ("F16 for a program of F32", SD2, "out.safetensors", Options(target=target("sdcpp"), dtype="F16"), CannotHold, ["F32"]),
    ("numbers too large for F16", torch_file(a1111_dict(made(1, 768) * 1e7)), "out.pt", Options(dtype="F16"), CannotHold,
     ["F16 cannot hold"]),
    ("NaN", torch_file(a1111_dict(made(1, 768) * float("nan"))), "out.pt", Options(), NotFinite, ["vector 1", "--drop-bad-rows"]),
    ("768 under clip_g", safetensors({"clip_g": made(1, 768)}), "out.safetensors", Options(), MislabelledKey, ["clip_g", "embconv repair"]),
    ("a width that no encoder has", torch_file({"<a>": made(1, 700)}), "out.safetensors", Options(), BaseMismatch, ["700 wide"]),
    ("several", torch_file({"<a>": made(1, 768), "<b>": made(1, 768)}), "out.pt", Options(), SeveralEmbeddings,
     ["<a>", "<b>", "--pick", "--split"]),
    ("a pick that is not there", torch_file({"<a>": made(1, 768)}), "out.pt", Options(pick="<c>"), SeveralEmbeddings, ["<a>"]),
    ("only output vectors", safetensors({"emp_params_out": made(1, 768)}), "out.safetensors", Options(), CannotHold,
     ["output vectors only"]),
    ("output vectors in a picture", OUTPUTS["emp_params"], "out.png", Options(), CannotHold, ["output vectors", ".safetensors"]),
    ("output vectors under emp_params in sd.cpp", OUTPUTS["emp_params"], "out.safetensors", Options(target=target("sdcpp")),
     CannotHold, ["stable-diffusion.cpp", "it takes the output vectors", "Without --for"]),
    *((f"output vectors of {given} in {name}", OUTPUTS[given], "out.safetensors", Options(target=target(name)), CannotHold,
       ["output vectors", "Without --for"])
      for given in ("emp_params", "bundle_emb") for name in ("a1111", "diffusers", "invokeai", "onetrainer", "sdkit")),
]  # fmt: skip


@pytest.mark.parametrize(("data", "name", "options", "kind", "words"), [pytest.param(*rest, id=title) for title, *rest in REFUSED])
def test_refused_with_the_reason_and_what_would_work(
    tmp_path: Path, data: bytes, name: str, options: Options, kind: type[EmbconvError], words: list[str]
) -> None:
    source = file(tmp_path / "in.pt", data)
    with pytest.raises(kind) as caught:
        convert(source, tmp_path / name, options)
    said = f"{caught.value.says} {caught.value.hint}"
    assert [word for word in words if word not in said] == []
    assert names_in(tmp_path) == ["in.pt"]


# ---- what --for picks ----

PICKED: list[tuple[str, bytes, str, str, list[str]]] = [
    ("a1111", SD2, "out.pt", "a1111", ["string_to_token", "string_to_param", "name", "step", "sd_checkpoint", "sd_checkpoint_name"]),
    ("invokeai", SD2, "out.safetensors", "emb_params", ["emb_params"]),
    ("comfyui", SD2, "out.safetensors", "emb_params", ["emb_params"]),
    ("onetrainer", SD2, "out.safetensors", "emp_params", ["emp_params"]),
    ("diffusers", SD2, "out.safetensors", "diffusers", ["in"]),
    ("diffusers", SD2, "out.bin", "diffusers", ["in"]),
    *((one.name, XL, "out.safetensors", "per_encoder", ["clip_g", "clip_l"]) for one in TARGETS if one.name != "sdcpp"),
]


@pytest.mark.parametrize(("name", "data", "dest", "layout", "keys"), PICKED, ids=[f"{row[0]} {row[2]} {row[3]}" for row in PICKED])
def test_the_form_that_really_loads_there(tmp_path: Path, name: str, data: bytes, dest: str, layout: str, keys: list[str]) -> None:
    source = file(tmp_path / "in.pt", data)
    outcome = one(convert(source, tmp_path / dest, Options(target=target(name))))
    assert outcome.layout == layout
    if dest.endswith(".safetensors"):
        from safetensors.torch import load_file

        assert sorted(load_file(tmp_path / dest)) == keys
    else:
        found = torch.load(tmp_path / dest, weights_only=True)
        assert [key for key in found if key != "embconv"] == keys


def test_the_pt_for_a1111_is_minimal(style: Path) -> None:
    convert(style, style.parent / "out.pt", Options(target=target("a1111")))
    with zipfile.ZipFile(style.parent / "out.pt") as archive:
        assert [name.partition("/")[2] for name in archive.namelist()] == ["data.pkl", "data/0", "version"]
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}
        assert archive.read("archive/version") == b"3\n"
        assert archive.read("archive/data.pkl")[:2] == b"\x80\x02"


@pytest.mark.parametrize(
    ("suffix", "data", "layout"),
    [
        (".safetensors", SD2, "emb_params"),
        (".pt", SD2, "a1111"),
        (".bin", SD2, "a1111"),
        (".png", SD2, "a1111"),
        (".safetensors", XL, "per_encoder"),
        (".pt", XL, "per_encoder"),
        (".bin", XL, "per_encoder"),
    ],
)
def test_without_for_it_is_what_most_programs_load(tmp_path: Path, suffix: str, data: bytes, layout: str) -> None:
    source = file(tmp_path / "in.pt", data)
    assert one(convert(source, tmp_path / f"out{suffix}")).layout == layout


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".bin"])
@pytest.mark.parametrize("name", OUTPUTS)
def test_output_vectors_are_kept(tmp_path: Path, name: str, suffix: str) -> None:
    source, dest = file(tmp_path / "in.bin", OUTPUTS[name]), tmp_path / f"out{suffix}"
    outcome = one(convert(source, dest))
    given, found = load(source), load(dest)
    assert outcome.layout == ("emp_params" if name == "emp_params" and suffix != ".bin" else "per_encoder")
    assert (found.vectors, found.output_vectors) == (given.vectors, given.output_vectors)
    assert digest(found) == digest(given)
    assert one(convert(dest, tmp_path / "back.safetensors")).digest == outcome.digest


@pytest.mark.parametrize(
    ("program", "name", "keys"),
    [("comfyui", "emp_params", ["emp_params", "emp_params_out"]), ("kohya", "bundle_emb", ["clip_l", "clip_l_out"]),
     ("onetrainer", "per_encoder", ["clip_g", "clip_g_out", "clip_l", "clip_l_out"]),
     ("onetrainer", "flux", ["clip_l", "clip_l_out", "t5", "t5_out"]), ("comfyui", "flux", ["clip_l", "clip_l_out", "t5xxl", "t5xxl_out"])],
)  # fmt: skip
def test_output_vectors_for_a_program_that_loads_the_others_right(tmp_path: Path, program: str, name: str, keys: list[str]) -> None:
    source = file(tmp_path / "in.bin", OUTPUTS[name])
    from safetensors.torch import load_file

    convert(source, tmp_path / "out.safetensors", Options(target=target(program)))
    assert sorted(load_file(tmp_path / "out.safetensors")) == keys
    assert load(tmp_path / "out.safetensors").output_vectors == load(source).output_vectors


def test_upper_case_suffixes_are_written_too(style: Path) -> None:
    assert one(convert(style, style.parent / "OUT.SAFETENSORS")).layout == "emb_params"


# ---- nothing is lost ----

CARRY = {".safetensors", ".pt", ".bin", ".png"}  # each keeps all that an A1111 file says


def kept(path: Path) -> dict[str, Any]:
    embedding = load(path)
    return {
        "vectors": {key: (tensor.dtype, tensor.shape, tensor.data) for key, tensor in embedding.vectors.items()},
        "name": embedding.names.inner_name,
        "key": embedding.names.key,
        "root": embedding.names.archive_root,
        "training": embedding.training,
        "metadata": {key: value for key, value in embedding.metadata.items() if key != "format"},
    }


@pytest.mark.parametrize("second", sorted(CARRY))
@pytest.mark.parametrize("first", sorted(CARRY))
def test_nothing_is_lost_on_any_way_there_and_back(tmp_path: Path, first: str, second: str) -> None:
    root = {"string_to_token": {"*": 8327}, "name": "ßtyle ✨", "step": 99, "sd_checkpoint": None, "sd_checkpoint_name": "a\"b\\c", **FULL}
    source = file(tmp_path / "style.pt", torch_file(a1111_dict(made(3, 768), **root), "elsewhere"))
    convert(source, tmp_path / f"one{first}")
    convert(tmp_path / f"one{first}", tmp_path / f"two{second}")
    convert(tmp_path / f"two{second}", tmp_path / "back.pt")
    assert kept(tmp_path / "back.pt") == kept(source)
    assert json.loads(load(tmp_path / "back.pt").metadata["string_to_token"]) == {"*": 8327}
    found = torch.load(tmp_path / "back.pt", weights_only=True)
    assert (found["name"], found["step"], found["string_to_token"]) == ("ßtyle ✨", 99, {"*": 8327})
    assert torch.equal(found["string_to_param"]["*"], made(3, 768))


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64"])
@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".bin"])
def test_the_kind_of_number_is_kept(tmp_path: Path, dtype: str, suffix: str) -> None:
    source = file(tmp_path / "in.pt", torch_file(a1111_dict(made(2, 768, dtype))))
    convert(source, tmp_path / f"out{suffix}")
    assert kept(tmp_path / f"out{suffix}")["vectors"] == kept(source)["vectors"]


@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "float8_e5m2"])
@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".png"])
def test_kinds_that_no_program_reads_are_widened_without_loss(tmp_path: Path, dtype: str, suffix: str) -> None:
    source = file(tmp_path / "in.safetensors", safetensors({"emb_params": made(2, 768, dtype)}))
    assert one(convert(source, tmp_path / f"out{suffix}")).notes == ()
    (tensor,) = load(tmp_path / f"out{suffix}").vectors.values()
    assert (tensor.dtype, tensor.data) == ("F32", made(2, 768, dtype).float().numpy().tobytes())


def test_unusual_bits_survive(tmp_path: Path) -> None:
    values = torch.tensor([[-0.0, 1e-45, 3.4028235e38, *[0.1] * 765]])
    source = file(tmp_path / "in.pt", torch_file(a1111_dict(values)))
    for suffix in CARRY:
        convert(source, tmp_path / f"out{suffix}")
        (tensor,) = load(tmp_path / f"out{suffix}").vectors.values()
        assert tensor.data == values.numpy().tobytes(), suffix


# what a file cannot hold, or should not be given on: nothing else of all the layouts is refused
REFUSED_IN = {
    "": {"emp-params-output-alone", "per-encoder-flux-mislabelled"},
    ".png": {each.id for each in EXAMPLES if any(set(one.vectors) not in ({"clip_l"}, {"clip_h"}) or one.outputs for one in each.expected)},
}


@pytest.mark.parametrize("suffix", sorted(CARRY))
@pytest.mark.parametrize("example", EXAMPLES, ids=repr)
def test_every_layout_keeps_its_vectors(tmp_path: Path, example: Example, suffix: str) -> None:
    source = file(tmp_path / f"word{example.suffix}", example.data)
    (tmp_path / "out").mkdir()
    dest, options = tmp_path / "out" / f"word{suffix}", Options(split=len(example.expected) > 1)
    if example.id in REFUSED_IN[""] | REFUSED_IN.get(suffix, set()):
        with pytest.raises((CannotHold, MislabelledKey)):
            convert(source, dest, options)
        assert names_in(tmp_path / "out") == []
        return
    outcomes = convert(source, dest, options)
    assert [outcome.digest for outcome in outcomes] == [digest(embedding) for embedding in read(source)]
    assert [digest(load(outcome.written or "")) for outcome in outcomes] == [outcome.digest for outcome in outcomes]


def test_what_a_form_leaves_out_is_said(style: Path) -> None:
    outcome = one(convert(style, style.parent / "out.bin", Options(target=target("diffusers"))))
    (note,) = outcome.notes
    assert all(word in note for word in ("leaves out", "name bad-hands-5", "step 1364", ".safetensors"))


# ---- the header ----


def header(path: Path) -> dict[str, str]:
    from safetensors import safe_open

    with safe_open(path, "pt") as opened:
        return dict(opened.metadata())


def test_the_header_says_what_it_is_and_where_from(style: Path) -> None:
    import hashlib

    outcome = one(convert(style, style.parent / "out.safetensors"))
    found = header(style.parent / "out.safetensors")
    assert found["modelspec.sai_model_spec"] == "1.0.1"
    assert found["modelspec.architecture"] == "stable-diffusion-v1/textual-inversion"
    assert found["modelspec.trigger_phrase"] == found["modelspec.title"] == "style"
    assert found["embconv.digest"] == outcome.digest
    assert found["format"] == "pt"
    assert "modelspec.is_negative_embedding" not in found
    sha = hashlib.sha256(style.read_bytes()).hexdigest()
    assert json.loads(found["embconv.sources"]) == [{"name": "style.pt", "container": "torch_zip", "layout": "a1111", "sha256": sha}]


@pytest.mark.parametrize(("kind", "negative"), [("Negative", "true"), ("Model", None)])
def test_the_header_says_that_it_is_negative_where_a_sidecar_knows(style: Path, kind: str, negative: str | None) -> None:
    told = {"baseModel": "SD 1.5", "trainedWords": ["style"], "files": [{"primary": True, "type": kind}]}
    (style.parent / "style.civitai.info").write_text(json.dumps(told))
    convert(style, style.parent / "out.safetensors")
    assert header(style.parent / "out.safetensors").get("modelspec.is_negative_embedding") == negative


def test_each_file_on_the_way_is_remembered(style: Path) -> None:
    convert(style, style.parent / "one.safetensors")
    convert(style.parent / "one.safetensors", style.parent / "two.pt")
    convert(style.parent / "two.pt", style.parent / "three.safetensors")
    sources = load(style.parent / "three.safetensors").sources
    found = {source.name: source.layout for source in sources}
    assert list(found.items()) == [("style.pt", "a1111"), ("one.safetensors", "emb_params"), ("two.pt", "a1111")]


def test_a_large_source_is_recorded_by_autov1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import hashlib

    rows = torch.cat([made(1, 768).expand(1, 768), torch.zeros(999, 768)])
    source = file(tmp_path / "whole.pt", torch_file({"<a>": rows[:1], "_": [0]}))
    assert len(source.read_bytes()) > 2 << 20  # torch.save writes all of the storage that a view is of
    monkeypatch.setattr(CONVERT, "HASHED_SOURCE", 2 << 20)
    outcome = one(convert(source, tmp_path / "out.safetensors"))
    (found,) = load(tmp_path / "out.safetensors").sources
    assert found.sha256 is None
    assert found.autov1 == hashlib.sha256(source.read_bytes()[0x100000:0x110000]).hexdigest()[:8]
    assert outcome.hashes is None
    assert limits.HASHED_SOURCE == 64 << 20


# ---- numbers narrowed only when asked ----


def test_narrowing_says_what_was_lost(style: Path) -> None:
    outcome = one(convert(style, style.parent / "out.safetensors", Options(dtype="F16")))
    (tensor,) = load(style.parent / "out.safetensors").vectors.values()
    wanted = made(2, 768).half()
    assert (tensor.dtype, tensor.data) == ("F16", wanted.numpy().tobytes())
    worst = (made(2, 768) - wanted.float()).abs().max().item()
    assert [note for note in outcome.notes if f"largest error is {worst:.3g}" in note] == list(outcome.notes)
    assert len(outcome.notes) == 1


@pytest.mark.parametrize(("dtype", "kind"), [("BF16", torch.bfloat16), ("F64", torch.float64), ("F32", torch.float32)])
def test_other_kinds_are_rounded_as_torch_does(style: Path, dtype: str, kind: torch.dtype) -> None:
    outcome = one(convert(style, style.parent / "out.safetensors", Options(dtype=dtype)))
    from safetensors.torch import load_file

    assert torch.equal(load_file(style.parent / "out.safetensors")["emb_params"], made(2, 768).to(kind))
    assert bool(outcome.notes) == (dtype == "BF16")


def test_widening_keeps_the_digest(tmp_path: Path) -> None:
    source = file(tmp_path / "in.pt", torch_file(a1111_dict(made(2, 768, "float16"))))
    outcome = one(convert(source, tmp_path / "out.safetensors", Options(dtype="F32")))
    assert (outcome.digest, outcome.notes) == (digest(load(source)), ())


# ---- determinism ----


def test_equal_input_gives_equal_bytes_in_another_process_too(style: Path) -> None:
    program = (
        "import sys\nfrom embconv.converters.convert import convert\nfor suffix in ('safetensors', 'pt', 'bin', 'png'):\n"
        "    convert(sys.argv[1], f'{sys.argv[2]}.{suffix}')"
    )
    for seed in ("1", "2"):
        given = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", program, style, style.parent / seed], env=given, check=True)
    for suffix in CARRY:
        convert(style, style.parent / f"3{suffix}")
        found = {(style.parent / f"{name}{suffix}").read_bytes() for name in "123"}
        assert len(found) == 1, suffix


# ---- where it goes ----


@pytest.mark.parametrize("suffix", sorted(CARRY))
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_what_is_there_with_equal_vectors_is_left_alone(tmp_path: Path, suffix: str, dtype: str) -> None:
    source, dest = file(tmp_path / "in.pt", torch_file(a1111_dict(made(2, 768, dtype)))), tmp_path / f"out{suffix}"
    assert one(convert(source, dest)).status == "converted"
    before = dest.stat().st_ino, dest.read_bytes()
    assert one(convert(source, dest)).status == "already_there"
    assert (dest.stat().st_ino, dest.read_bytes()) == before


@pytest.mark.parametrize(
    ("data", "suffix"),
    [pytest.param(data, suffix, id=f"{which}{suffix}") for which, data in (("SD2", SD2), ("SDXL", XL)) for suffix in sorted(CARRY)
     if (which, suffix) != ("SDXL", ".png")],
)  # fmt: skip
def test_equal_vectors_under_another_name_are_not_already_there(tmp_path: Path, data: bytes, suffix: str) -> None:
    source, dest = file(tmp_path / "in.pt", data), tmp_path / f"out{suffix}"
    assert one(convert(source, dest, Options(name="wispy"))).status == "converted"
    assert one(convert(source, dest, Options(name="wispy"))).status == "already_there"
    says_names = suffix == ".safetensors" or data == SD2  # other forms hold vectors only
    if says_names:
        with pytest.raises(TargetExists):
            convert(source, dest, Options(name="other"))
        assert load(dest).names.inner_name == "wispy" or header(dest)["modelspec.trigger_phrase"] == "wispy"
    assert one(convert(source, dest)).status == "already_there"


def test_two_encoders_of_two_kinds_are_known_again(tmp_path: Path) -> None:
    source = file(tmp_path / "in.safetensors", safetensors({"clip_l": made(1, 768), "clip_g": made(1, 1280, "float16")}))
    assert one(convert(source, tmp_path / "out.safetensors")).status == "converted"
    assert one(convert(source, tmp_path / "out.safetensors")).status == "already_there"


@pytest.mark.parametrize(
    "there",
    [torch_file(a1111_dict(made(2, 768, seed=1))), safetensors({"emp_params": made(2, 768)}),
     safetensors({"emb_params": made(2, 768, "float16")}), b"", b"something else", XL],
    ids=["other vectors", "another layout", "another kind of number", "nothing in it", "no embedding", "another base"],
)  # fmt: skip
def test_anything_else_is_overwritten_only_by_force(style: Path, there: bytes) -> None:
    dest = file(style.parent / "out.safetensors", there)
    with pytest.raises(TargetExists):
        convert(style, dest)
    assert dest.read_bytes() == there
    assert one(convert(style, dest, Options(force=True))).status == "converted"
    assert digest(load(dest)) == digest(load(style))
    assert names_in(style.parent) == ["out.safetensors", "style.pt"]


def test_source_and_dest_may_be_one_file(style: Path) -> None:
    assert one(convert(style, style)).status == "already_there"  # today's torch.save writes the same layout and numbers
    other = file(style.parent / "other.safetensors", safetensors({"<other>": made(2, 768)}))
    before = other.read_bytes()
    with pytest.raises(TargetExists):
        convert(other, other)
    assert other.read_bytes() == before
    assert one(convert(other, other, Options(force=True))).layout == "emb_params"
    assert load(other).names.key == "<other>"


def test_a_dry_run_writes_nothing_and_says_all(style: Path) -> None:
    dest = style.parent / "out.safetensors"
    planned = one(convert(style, dest, Options(dry_run=True)))
    assert names_in(style.parent) == ["style.pt"]
    done = one(convert(style, dest))
    assert msgspec.structs.replace(planned, status="converted") == done
    assert planned.status == "would_convert"
    assert done.size == dest.stat().st_size
    assert one(convert(style, dest, Options(dry_run=True))).status == "already_there"


def test_a_dry_run_refuses_what_the_run_would_refuse(style: Path) -> None:
    (style.parent / "out.pt").write_bytes(b"mine")
    with pytest.raises(TargetExists):
        convert(style, style.parent / "out.pt", Options(dry_run=True))


def test_a_folder_that_is_not_there(style: Path) -> None:
    with pytest.raises(CannotWrite, match=r"no/where\.pt.*No such file or directory") as caught:
        convert(style, style.parent / "no" / "where.pt")
    assert "Check the folder" in caught.value.hint
    assert names_in(style.parent) == ["style.pt"]


def test_a_symbolic_link_is_not_written_through(style: Path) -> None:
    goal = file(style.parent / "goal", b"precious")
    link = style.parent / "out.safetensors"
    link.symlink_to(goal)
    with pytest.raises(TargetExists):
        convert(style, link)
    convert(style, link, Options(force=True))
    assert goal.read_bytes() == b"precious"
    assert not link.is_symlink()
    assert digest(load(link)) == digest(load(style))


def test_a_symbolic_link_to_nothing_is_in_the_way_too(style: Path) -> None:
    link = style.parent / "out.safetensors"
    link.symlink_to(style.parent / "nothing")
    with pytest.raises(TargetExists):
        convert(style, link)
    assert names_in(style.parent) == ["out.safetensors", "style.pt"]


def test_a_link_to_the_same_vectors_is_already_there(style: Path) -> None:
    convert(style, style.parent / "one.safetensors")
    (style.parent / "two.safetensors").symlink_to(style.parent / "one.safetensors")
    assert one(convert(style, style.parent / "two.safetensors")).status == "already_there"


def test_bytes_are_a_source_too(tmp_path: Path) -> None:
    outcome = one(convert(SD2, tmp_path / "out.safetensors"))
    assert (outcome.path, outcome.trigger) == ("<bytes>", "bad-hands-5")


# ---- names ----


@pytest.mark.parametrize("suffix", sorted(CARRY))
def test_a_new_trigger(style: Path, suffix: str) -> None:
    outcome = one(convert(style, style.parent / f"out{suffix}", Options(name="wispy")))
    found = load(style.parent / f"out{suffix}")
    assert (outcome.trigger, found.names.inner_name) == ("wispy", "wispy")
    if suffix == ".safetensors":
        assert header(style.parent / f"out{suffix}")["modelspec.trigger_phrase"] == "wispy"


def test_a_new_trigger_is_the_key_for_diffusers(style: Path) -> None:
    convert(style, style.parent / "out.bin", Options(name="<wispy>", target=target("diffusers")))
    assert list(torch.load(style.parent / "out.bin", weights_only=True)) == ["<wispy>"]


# ---- files that hold several ----


@pytest.fixture
def several(tmp_path: Path) -> Path:
    tokens = ("<a>", "a", "a-2", "A", "con")
    return file(tmp_path / "several.bin", torch_file({token: made(1, 768, seed=i) for i, token in enumerate(tokens)}))


def test_one_is_picked(several: Path) -> None:
    convert(several, several.parent / "out.safetensors", Options(pick="a-2"))
    (tensor,) = load(several.parent / "out.safetensors").vectors.values()
    assert tensor.data == made(1, 768, seed=2).numpy().tobytes()


def test_each_gets_a_file_and_no_two_the_same(several: Path) -> None:
    out = several.parent / "out.d"
    out.mkdir()
    outcomes = convert(several, out, Options(split=True))
    assert names_in(out) == ["A-3.safetensors", "a-2-2.safetensors", "a-2.safetensors", "a.safetensors", "con_.safetensors"]
    assert [outcome.digest for outcome in outcomes] == [digest(embedding) for embedding in read(several)]
    assert [digest(load(outcome.written or "")) for outcome in outcomes] == [outcome.digest for outcome in outcomes]
    assert {outcome.status for outcome in convert(several, out, Options(split=True))} == {"already_there"}


def test_the_suffix_of_a_file_named_says_how_to_split(several: Path) -> None:
    convert(several, several.parent / "any.pt", Options(split=True))
    assert names_in(several.parent) == ["any-A-3.pt", "any-a-2-2.pt", "any-a-2.pt", "any-a.pt", "any-con.pt", "several.bin"]


def test_a_file_with_one_is_named_by_its_trigger(style: Path) -> None:
    (outcome,) = convert(style, style.parent, Options(split=True))  # its key is "*", which names nothing
    assert outcome.written == str(style.parent / "style.safetensors")


def test_one_bad_one_stops_them_all_before_anything_is_written(tmp_path: Path) -> None:
    source = file(tmp_path / "in.bin", torch_file({"<a>": made(1, 768), "<b>": made(1, 768) * float("nan")}))
    (tmp_path / "out").mkdir()
    with pytest.raises(NotFinite):
        convert(source, tmp_path / "out", Options(split=True))
    assert names_in(tmp_path / "out") == []


# ---- diffusers' two files ----


def halves(folder: Path, second: str = "<wispy>") -> tuple[Path, Path]:
    return (
        file(folder / "learned_embeds.safetensors", safetensors({"<wispy>": made(2, 768)})),
        file(folder / "learned_embeds_2.safetensors", safetensors({second: made(2, 1280)})),
    )


def test_the_two_files_of_sdxl_become_one(tmp_path: Path) -> None:
    first, second = halves(tmp_path)
    outcome = one(converted_by(put_now, joined(first, second), str(tmp_path / "wispy.safetensors"), Options(base="sdxl")))
    found = load(tmp_path / "wispy.safetensors")
    assert {key: tensor.data for key, tensor in found.vectors.items()} == {
        "clip_l": made(2, 768).numpy().tobytes(),
        "clip_g": made(2, 1280).numpy().tobytes(),
    }
    assert (outcome.layout, outcome.trigger) == ("per_encoder", "<wispy>")
    assert {source.name for source in found.sources} == {first.name, second.name}


@pytest.mark.parametrize("case", ["another token", "the same encoder"])
def test_two_files_that_are_no_pair_are_not_joined(tmp_path: Path, case: str) -> None:
    first, second = halves(tmp_path, second="<other>")
    with pytest.raises(SeveralEmbeddings):
        joined(first, second if case == "another token" else first)


# ---- as data ----


def test_an_outcome_is_json(style: Path) -> None:
    outcomes = convert(style, style.parent / "out.safetensors")
    (found,) = json.loads(msgspec.json.encode(outcomes))
    assert set(found) == {"path", "status", "written", "size", "layout", "about", "trigger", "digest", "hashes"}
    assert found["about"] == "A1111 dictionary, SD 1.x (clip_l, 768 wide, 2 vectors)"


# ---- notes and hints that are true of this file ----


def test_the_hint_names_the_programs_that_load_output_vectors(tmp_path: Path) -> None:
    source = file(tmp_path / "in.safetensors", OUTPUTS["emp_params"])
    with pytest.raises(CannotHold) as caught:
        convert(source, tmp_path / "out.safetensors", Options(target=target("a1111")))
    assert caught.value.hint == "Without --for they are kept; ComfyUI and kohya sd-scripts load such a file."


@pytest.mark.parametrize(("dtype", "told"), [("float32", False), ("float16", True)])
def test_the_note_of_f32_is_told_where_the_numbers_changed(tmp_path: Path, dtype: str, told: bool) -> None:
    source = file(tmp_path / "in.safetensors", safetensors({"emb_params": made(2, 768, dtype)}))
    outcome = one(convert(source, tmp_path / "out.safetensors", Options(target=target("sdcpp"))))
    assert any("F32" in note for note in outcome.notes) == told
