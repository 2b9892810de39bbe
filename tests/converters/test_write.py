"""An embedding to a file: whole or not at all, proven before it has its name."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from embconv.converters import write as module
from embconv.converters.containers import open_contents
from embconv.converters.errors import CannotHold, CannotWrite, NotEqual, TargetExists
from embconv.converters.hashes import digest
from embconv.converters.model import Embedding, Hint, Names, SourceFile
from embconv.converters.read import load
from embconv.converters.source import Source
from embconv.converters.targets import PLANS, Plan, suits
from embconv.converters.targets.plans import (
    A1111_PNG,
    A1111_PT,
    DIFFUSERS,
    DIFFUSERS_BIN,
    EMB_PARAMS,
    EMP_PARAMS,
    PER_ENCODER,
    PER_ENCODER_PT,
    PER_ENCODER_T5,
)
from embconv.converters.write import CONTAINERS, Written, encode, write
from examples import a1111_dict, made, safetensors, torch_file

STYLE = load(torch_file(a1111_dict(made(2, 768))))
XL = load(safetensors({"clip_l": made(2, 768), "clip_g": made(2, 1280)}))
OUT = load(safetensors({"emp_params": made(2, 768), "emp_params_out": made(2, 768, seed=1)}))


@pytest.fixture
def written() -> Written:
    return encode(STYLE, EMB_PARAMS)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def spoiled(monkeypatch: pytest.MonkeyPatch, change: Any) -> None:
    """Change the bytes of each staged file after they were written and before they are read back."""
    prove = module.prove

    def spoil_first(written: Written, temporary: str, name: str) -> None:
        path = Path(temporary)
        path.write_bytes(change(path.read_bytes()))
        prove(written, temporary, name)

    monkeypatch.setattr(module, "prove", spoil_first)


# ---- proven ----


def test_a_file_that_reads_back_equal_is_kept(tmp_path: Path, written: Written) -> None:
    assert write(written, str(tmp_path / "out.safetensors")) == digest(STYLE)
    assert (tmp_path / "out.safetensors").read_bytes() == written.data
    assert names_in(tmp_path) == ["out.safetensors"]


CHANGES: dict[str, Any] = {
    "one bit of a number": lambda data: data[:-1] + bytes([data[-1] ^ 1]),
    "the last byte is lost": lambda data: data[:-1],
    "nothing arrived": lambda data: b"",
    "zeros arrived": lambda data: bytes(len(data)),
    "another embedding": lambda data: safetensors({"emb_params": made(2, 768, seed=1)}),
    "one vector less": lambda data: safetensors({"emb_params": made(1, 768)}),
    "two embeddings": lambda data: safetensors({"<a>": made(2, 768), "<b>": made(2, 768, seed=1)}),
    "a bit of the header": lambda data: data[:8] + bytes([data[8] ^ 1]) + data[9:],
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("force", [False, True])
def test_a_file_that_does_not_is_thrown_away(
    tmp_path: Path, written: Written, monkeypatch: pytest.MonkeyPatch, change: str, force: bool
) -> None:
    dest = tmp_path / "out.safetensors"
    if force:
        dest.write_bytes(b"what was there")
    spoiled(monkeypatch, CHANGES[change])
    with pytest.raises(NotEqual) as caught:
        write(written, str(dest), overwrite=force)
    assert 'out.safetensors"' in caught.value.says  # the user's name, not the temporary one
    assert caught.value.code == "not_equal"
    assert names_in(tmp_path) == (["out.safetensors"] if force else [])
    assert not force or dest.read_bytes() == b"what was there"


@pytest.mark.parametrize("plan", [A1111_PT, A1111_PNG], ids=["pt", "png"])
def test_every_container_is_proven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plan: Plan) -> None:
    other = encode(load(torch_file(a1111_dict(made(2, 768, seed=1)))), plan).data
    spoiled(monkeypatch, lambda data: other)
    with pytest.raises(NotEqual, match="the digests differ"):
        write(encode(STYLE, plan), str(tmp_path / f"out{plan.suffix}"))
    assert names_in(tmp_path) == []


def test_the_name_comes_after_the_proof(tmp_path: Path, written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, list[str]]] = []
    for step in ("prove", "flush", "publish", "flush_folder"):
        real = getattr(module, step)
        monkeypatch.setattr(module, step, lambda *a, _r=real, _s=step, **k: (seen.append((_s, names_in(tmp_path))), _r(*a, **k))[1])
    write(written, str(tmp_path / "out.safetensors"))
    assert [step for step, _ in seen] == ["prove", "flush", "publish", "flush_folder"]
    assert all("out.safetensors" not in names for step, names in seen if step != "flush_folder")
    assert seen[-1][1].count("out.safetensors") == 1


# ---- not written ----


def full(*_: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("force", [False, True])
def test_a_full_disk_found_when_flushing(tmp_path: Path, written: Written, monkeypatch: pytest.MonkeyPatch, force: bool) -> None:
    monkeypatch.setattr(module.os, "fsync", full)
    with pytest.raises(CannotWrite, match=r'out\.safetensors" cannot be written: No space left on device'):
        write(written, str(tmp_path / "out.safetensors"), overwrite=force)
    assert names_in(tmp_path) == []


class Full(io.FileIO):
    """A file on a disk with room for ten bytes."""

    def write(self, data: Any) -> int:
        super().write(data[:10])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_found_when_writing(tmp_path: Path, written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "open", Full, raising=False)
    with pytest.raises(CannotWrite, match=r'out\.safetensors" cannot be written: No space left on device'):
        write(written, str(tmp_path / "out.safetensors"))
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("step", ["replace", "link"])
def test_a_rename_that_fails(tmp_path: Path, written: Written, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    def refused(*_: Any) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(module.os, step, refused)
    monkeypatch.setattr(module.os, "rename", refused)
    with pytest.raises(CannotWrite, match="Permission denied"):
        write(written, str(tmp_path / "out.safetensors"), overwrite=step == "replace")
    assert names_in(tmp_path) == []


def test_a_folder_that_takes_no_files(tmp_path: Path, written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(*_: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(module, "open", read_only, raising=False)
    with pytest.raises(CannotWrite, match="Read-only file system"):
        write(written, str(tmp_path / "out.safetensors"))
    assert names_in(tmp_path) == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_the_right_to_write(tmp_path: Path, written: Written) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(CannotWrite, match="Permission denied"):
        write(written, str(tmp_path / "out.safetensors"))
    tmp_path.chmod(0o700)
    assert names_in(tmp_path) == []


def test_stopped_in_the_middle_nothing_is_left(tmp_path: Path, written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    for step in ("prove", "flush", "publish"):
        with monkeypatch.context() as patch:
            patch.setattr(module, step, stopped)
            with pytest.raises(KeyboardInterrupt):
                write(written, str(tmp_path / "out.safetensors"))
        assert names_in(tmp_path) == [], step


# ---- names ----


# a run that was killed leaves its temporary file; the next with the same process id (always 1 in a container) must not stumble over it
def test_what_a_killed_run_left_is_not_in_the_way(tmp_path: Path, written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(module, "discard", lambda temporary: None)
        write(written, str(tmp_path / "out.safetensors"))
    (left,) = [name for name in names_in(tmp_path) if name.startswith(".")]
    (tmp_path / "out.safetensors").unlink()
    write(written, str(tmp_path / "out.safetensors"))
    assert names_in(tmp_path) == [left, "out.safetensors"]


@pytest.mark.parametrize("stem", ["a" * 243, "é" * 121, "🦊" * 60, ".hidden", "-rf", "a\nb"])
def test_every_name_that_the_system_takes(tmp_path: Path, written: Written, stem: str) -> None:
    dest = tmp_path / f"{stem}.safetensors"
    write(written, str(dest))
    assert dest.read_bytes() == written.data
    assert len(names_in(tmp_path)) == 1


def test_a_name_that_is_too_long(tmp_path: Path, written: Written) -> None:
    with pytest.raises(CannotWrite, match="File name too long"):
        write(written, str(tmp_path / f"{'a' * 260}.safetensors"))
    assert names_in(tmp_path) == []


def test_a_path_without_a_folder(tmp_path: Path, written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(written, "out.safetensors")
    assert names_in(tmp_path) == ["out.safetensors"]


# ---- never onto a file ----


def test_a_file_that_is_there_stays(tmp_path: Path, written: Written) -> None:
    dest = tmp_path / "out.safetensors"
    dest.write_bytes(b"mine")
    with pytest.raises(TargetExists):
        write(written, str(dest))
    assert dest.read_bytes() == b"mine"
    write(written, str(dest), overwrite=True)
    assert dest.read_bytes() == written.data
    assert names_in(tmp_path) == ["out.safetensors"]


@pytest.mark.parametrize("links", [True, False], ids=["hard links", "a file system without"])
def test_a_file_that_comes_meanwhile_stays(tmp_path: Path, written: Written, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    dest, flush = tmp_path / "out.safetensors", module.flush

    def flush_and_lose(*given: Any) -> None:
        flush(*given)
        dest.write_bytes(b"somebody else's")

    def none(*_: Any) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(module, "flush", flush_and_lose)
    if not links:
        monkeypatch.setattr(module.os, "link", none)
    with pytest.raises(TargetExists):
        write(written, str(dest))
    assert dest.read_bytes() == b"somebody else's"
    assert names_in(tmp_path) == ["out.safetensors"]


def test_without_hard_links_it_is_renamed(tmp_path: Path, written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: Any) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(module.os, "link", none)
    write(written, str(tmp_path / "out.safetensors"))
    assert names_in(tmp_path) == ["out.safetensors"]


RACE = """
import sys, time
from embconv.converters.read import load
from embconv.converters.errors import TargetExists
from embconv.converters.targets.plans import EMB_PARAMS
from embconv.converters.write import encode, write
written = encode(load(sys.argv[1]), EMB_PARAMS)
sys.stdin.read(1)  # both start at the same time
for i in range(200):
    try:
        write(written, f"{sys.argv[2]}/{i}.safetensors")
        print(i, flush=False)
    except TargetExists:
        pass
"""


def test_two_processes_never_overwrite_each_other(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    runs = []
    for n in (1, 2):
        (tmp_path / f"{n}.safetensors").write_bytes(safetensors({"emb_params": made(n, 768)}))
        command = [sys.executable, "-c", RACE, str(tmp_path / f"{n}.safetensors"), str(out)]
        runs.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
    for run in runs:
        assert run.stdin is not None
        run.stdin.write("go")
        run.stdin.flush()
    won = [set(run.communicate()[0].split()) for run in runs]
    assert won[0] & won[1] == set()
    assert won[0] | won[1] == {str(i) for i in range(200)}
    assert names_in(out) == sorted(f"{i}.safetensors" for i in range(200))
    for n, mine in zip((1, 2), won, strict=True):  # who was told that it wrote the file finds its own in it
        assert {load(out / f"{i}.safetensors").vectors["clip_l"].shape[0] for i in mine} <= {n}


# ---- encoded ----


def test_the_containers() -> None:
    assert CONTAINERS == {".safetensors": "safetensors", ".pt": "torch_zip", ".bin": "torch_zip", ".png": "png"}


@pytest.mark.parametrize("plan", PLANS, ids=[f"{plan.layout}{plan.suffix}{plan.dtype}{len(plan.renames)}" for plan in PLANS])
def test_every_plan_reads_back_equal_and_is_deterministic(tmp_path: Path, plan: Plan) -> None:
    given = STYLE if suits(plan, {"clip_l": (2, 768)}) else XL
    found = encode(given, plan)
    assert found.data == encode(given, plan).data
    assert found.digest == digest(given)
    dest = tmp_path / f"out{plan.suffix}"
    write(found, str(dest))
    assert digest(load(dest)) == digest(given)


def test_a_card_has_both_carriers() -> None:
    from PIL import Image

    data = encode(STYLE, A1111_PNG).data
    with Image.open(io.BytesIO(data)) as image:
        text = json.loads(b64decode(image.text["sd-ti-embedding"]))  # type: ignore[attr-defined]  # of a PNG
        assert image.mode == "RGB"
        pixels = io.BytesIO()
        Image.frombytes("RGB", image.size, image.tobytes()).save(pixels, "PNG")  # the picture without its text
    assert text["string_to_param"]["*"]["TORCHTENSOR"] == made(2, 768).tolist()
    assert (text["name"], text["step"]) == ("bad-hands-5", 1364)
    assert digest(load(pixels.getvalue())) == digest(load(data)) == digest(STYLE)


def test_output_vectors_go_only_where_they_have_a_place() -> None:
    assert digest(load(encode(OUT, EMP_PARAMS).data)) == digest(OUT)
    for plan in (EMB_PARAMS, A1111_PT, DIFFUSERS):
        with pytest.raises(CannotHold, match="no place for OneTrainer's output vectors"):
            encode(OUT, plan)


def test_two_encoders_go_only_where_they_have_a_place() -> None:
    for plan in (EMB_PARAMS, A1111_PT, DIFFUSERS, EMP_PARAMS):
        with pytest.raises(CannotHold, match=r"clip_g and clip_l|clip_l and clip_g"):
            encode(XL, plan)


def test_nobody_writes_an_ldm_file() -> None:
    with pytest.raises(CannotHold, match="nobody should write it"):
        encode(STYLE, Plan(container="torch_zip", layout="ldm", suffix=".pt", key="*"))


def test_onetrainer_calls_t5_so() -> None:
    flux: Embedding = load(safetensors({"clip_l": made(1, 768), "t5xxl": made(1, 4096)}))
    with Source(encode(flux, PER_ENCODER_T5).data) as source:
        assert set(open_contents(source).outline.root) == {"clip_l", "t5"}
    with Source(encode(flux, PER_ENCODER).data) as source:
        assert set(open_contents(source).outline.root) == {"clip_l", "t5xxl"}


# ---- what vectors alone cannot say ----


def test_the_note_names_every_claim_that_is_left_out() -> None:
    hint = Hint(source="x.civitai.info", role="negative", licence="CC0")
    earlier = SourceFile(name="x.pt", container="torch_zip", layout="a1111")
    names = Names(file_stem="x", header="wispy", sidecar="x")
    given = replace(XL, names=names, hints=(hint,), sources=(earlier,))
    says = 'leaves out: trigger "wispy", role negative, licence, the record of earlier sources. A .safetensors'
    assert says in " ".join(encode(given, PER_ENCODER_PT).notes)
    assert encode(replace(XL, names=Names(file_stem="x", header="x")), PER_ENCODER_PT).notes == ()
    assert encode(given, PER_ENCODER).notes == ()


def test_a_trigger_that_is_the_key_is_not_left_out() -> None:
    given = replace(STYLE, names=Names(file_stem="x", header="<wispy>"), training=None, metadata={})
    assert encode(given, DIFFUSERS_BIN).notes == ()
