"""The listing of a pickle: complete for good files, honest for bad ones, and it never raises."""

from __future__ import annotations

import io
import pickle
import pickletools
import time
import warnings
import zipfile

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from embconv.converters.containers import safetensors
from embconv.converters.containers.explain import explain, globals_named
from embconv.converters.model import Tensor
from embconv.converters.source import Source


def saved(value: object, **options: object) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(value, file, **options)  # type: ignore[arg-type]
    return file.getvalue()


def names(data: bytes) -> list[tuple[str, bool]]:
    return [(seen.name, seen.allowed) for seen in globals_named(Source(data))]


def test_it_lists_what_pickletools_lists() -> None:
    data = saved({"x": torch.ones(1)})
    inner = zipfile.ZipFile(io.BytesIO(data)).read("archive/data.pkl")
    expected = [(position, opcode.name) for opcode, _, position in pickletools.genops(inner)]
    assert [(line.position, line.opcode) for line in explain(Source(data))] == expected
    assert {line.stream for line in explain(Source(data))} == {"archive/data.pkl"}


def test_a_deflated_pickle_is_listed_as_well() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", b"cos\nsystem\n.")
    assert names(file.getvalue()) == [("os.system", False)]


def test_a_legacy_file_has_five_pickles() -> None:
    data = saved({"x": torch.ones(1)}, _use_new_zipfile_serialization=False)
    assert {line.stream for line in explain(Source(data))} == {f"pickle {i}" for i in range(1, 6)}


def test_an_npy_file_is_listed_behind_its_header() -> None:
    file = io.BytesIO()
    np.save(file, np.array({"a": 1}, dtype=object))
    assert explain(Source(file.getvalue()))[-1].opcode == "STOP"


def test_a_safetensors_file_holds_none() -> None:
    assert explain(Source(safetensors.write({"x": Tensor("F32", (1, 2), bytes(8))}, {}))) == []


def test_globals_are_told_with_both_names_and_a_verdict() -> None:
    (seen,) = globals_named(Source(b"\x80\2ccommands\ngetoutput\n."))
    assert (seen.name, seen.mapped, seen.allowed, seen.position) == ("commands.getoutput", "subprocess.getoutput", False, 2)
    assert names(saved({"x": torch.ones(1)})) == [
        ("torch._utils._rebuild_tensor_v2", True),
        ("torch.FloatStorage", True),
        ("collections.OrderedDict", True),
    ]


def test_stack_globals_are_followed_through_the_memo() -> None:
    data = b"\x80\4\x8c\2os\x94\x8c\6system\x9400h\0h\1\x93."
    assert names(data) == [("os.system", False)]


def test_names_after_a_stop_are_found_too() -> None:
    assert names(b"\x80\2N." + b"\x80\2cos\nsystem\n.") == [("os.system", False)]


def test_a_pickle_before_a_zip_is_found() -> None:
    assert names(b"\x80\2cos\nsystem\n." + saved({})) == [("os.system", False)]


def test_a_malformed_place_is_the_last_line() -> None:
    lines = explain(Source(b"\x80\2N\xffN."))
    assert [line.opcode for line in lines] == ["PROTO", "NONE", "(malformed)"]
    assert "unknown" in lines[-1].argument


def test_control_characters_are_shown_as_escapes() -> None:
    for line in explain(Source(pickle.dumps("\x1b[31m\u202e" * 200, 4))):
        assert line.argument.isprintable()
        assert len(line.argument) < 1500


def test_a_huge_integer_is_told_by_its_size() -> None:
    start = time.perf_counter()
    lines = explain(Source(b"\x80\2\x8b" + (1 << 20).to_bytes(4, "little") + b"\1" * (1 << 20) + b"."))
    assert lines[1].argument == "an integer of 1048576 bytes"
    assert time.perf_counter() - start < 1


@given(st.binary(max_size=80))
def test_any_bytes_can_be_explained(data: bytes) -> None:
    for prefix in (b"", b"\x80\4", b"PK\3\4", b"\x93NUMPY\1\0"):
        explain(Source(prefix + data))
        globals_named(Source(prefix + data))
