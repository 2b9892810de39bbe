"""The pickle that is matched as a whole gives what the machine gives, or is left to it."""

import io
import zipfile

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from embconv.converters.containers.pickles import load
from embconv.converters.containers.torch_zip import Storages
from embconv.converters.containers.usual import load_usual
from embconv.converters.errors import EmbconvError
from examples import a1111_dict, made


def saved(about: object) -> bytes:
    """The data.pkl that torch makes of it."""
    packed = io.BytesIO()
    torch.save(about, packed)
    with zipfile.ZipFile(packed) as archive:
        return archive.read(next(name for name in archive.namelist() if name.endswith("/data.pkl")))


USUAL = saved({**a1111_dict(made(2, 768)), "string_to_token": {"*": 265}, "name": "style", "step": 3000,
               "sd_checkpoint": "72f558e947", "sd_checkpoint_name": "v1-5"})  # fmt: skip


def both(data: bytes) -> tuple[object, object]:
    """What the pattern and the machine make of a pickle; the machine's error where it refuses."""
    try:
        machine = load(data, "x", persistent=Storages("x")).root
    except EmbconvError as exc:
        machine = type(exc)
    try:
        return load_usual(data, Storages("x")), machine
    except EmbconvError as exc:
        return type(exc), machine


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("checkpoint", [None, "72f558e947"])
@pytest.mark.parametrize("step", [0, 255, 256, 65_536, 2_000_000])
def test_what_a1111_writes_is_matched(dtype: torch.dtype, checkpoint: str | None, step: int) -> None:
    about = {"string_to_token": {"*": 265}, "string_to_param": {"*": made(3, 1024).to(dtype)}, "name": "ünï q\x13X", "step": step,
             "sd_checkpoint": checkpoint, "sd_checkpoint_name": None}  # fmt: skip
    usual, machine = both(saved(about))
    assert usual is not None
    assert usual == machine


@pytest.mark.parametrize(
    "name", ["", "a" * 255, "a" * 256, "q\x13X\x04\0\0\0stepq\x14M\xe8\x03", "\N{GRINNING FACE}"]
)
def test_a_name_is_read_as_the_machine_reads_it(name: str) -> None:
    about = {"string_to_token": {"*": 265}, "string_to_param": {"*": made(1, 768)}, "name": name, "step": 1,
             "sd_checkpoint": None, "sd_checkpoint_name": None}  # fmt: skip
    usual, machine = both(saved(about))
    assert usual in (None, machine)


@pytest.mark.parametrize("about", [{"<a>": made(1, 768)}, made(1, 768), {**a1111_dict(made(1, 768)), "more": 1}])
def test_all_else_is_left_to_the_machine(about: object) -> None:
    assert load_usual(saved(about), Storages("x")) is None


@given(st.integers(0, len(USUAL) - 1), st.integers(0, 255))
def test_a_changed_byte_is_never_read_otherwise(place: int, byte: int) -> None:
    usual, machine = both(USUAL[:place] + bytes([byte]) + USUAL[place + 1 :])
    assert usual in (None, machine)


def test_every_byte_of_it_changed() -> None:
    for place in range(len(USUAL)):
        for byte in (0, 1, 0x28, 0x4B, 0x4D, 0x71, 0x80, 0xFF, USUAL[place] ^ 1):
            usual, machine = both(USUAL[:place] + bytes([byte]) + USUAL[place + 1 :])
            assert usual in (None, machine), (place, byte)
