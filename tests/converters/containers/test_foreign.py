"""What people keep as an embedding by mistake is told for what it is."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import sqlite3
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from embconv.converters.containers import image, safetensors
from embconv.converters.containers.foreign import MAGIC, identify_foreign
from embconv.converters.model import Tensor
from embconv.converters.source import Source


def picture(form: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (4, 4)).save(out, form)
    return out.getvalue()


def tar(form: int) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as file:
        file.addfile(tarfile.TarInfo("sys_info"))
    return out.getvalue()


FILES = {  # what is said: bytes
    "an empty file of zero bytes": b"",
    "a file of zero bytes only": bytes(20_000),
    "git-LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 25515\n",
    "HTML page": b"\n<!DOCTYPE html><html><body>Sign in</body></html>",
    "an HTML page": b"\xef\xbb\xbf<HTML>",
    "HTML": b'<?xml version="1.0"?><!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0//EN"><html>',
    "JSON text": b'{"error":"Unauthorized","message":"The creator of this asset requires you to be logged in"}',
    "XML text": b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
    "SVG": b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>',
    "plain text": b"Entry not found",
    "text": "Das ist keine Einbettung \u2026\n".encode() * 300,
    "plain": "\ufeffEntry not found".encode("utf-16-le"),
    "gzip": gzip.compress(b"x"),
    "bzip2": bz2.compress(b"x"),
    "xz": lzma.compress(b"x"),
    "zstd": b"\x28\xb5\x2f\xfd\x20\x01\x09\x00\x00x",
    "7z": b"7z\xbc\xaf\x27\x1c\x00\x04",
    "rar": b"Rar!\x1a\x07\x01\x00",
    "a tar archive (the form torch wrote before 0.1.10)": tar(tarfile.USTAR_FORMAT),
    "tar": tar(tarfile.GNU_FORMAT),
    "GGUF": b"GGUF\x03\0\0\0",
    "HDF5": b"\x89HDF\r\n\x1a\n\0\0\0",
    "ONNX": b"\x08\x07\x12\x07pytorch\x1a\x052.1.0",
    "JPEG": picture("JPEG"),
    "GIF": picture("GIF"),
    "BMP": picture("BMP"),
    "TIFF": picture("TIFF"),
    "PDF": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3",
    "ELF": b"\x7fELF\x02\x01\x01",
    "Windows": b"MZ" + bytes(58) + b"\x40\0\0\0" + b"PE\0\0",
    "protocol 0": b"cos\nsystem\n(S'echo'\ntR.",
    "of protocol 0": b"(dp0\nS'*'\np1\nI1\ns.",
    "video": b"\0\0\0\x18ftypmp42\0\0\0\0",
}


@pytest.mark.parametrize(("what", "data"), FILES.items(), ids=FILES)
def test_is_told(what: str, data: bytes) -> None:
    found = identify_foreign(Source(data))
    assert found is not None
    assert what in found[0]


def test_sqlite_is_told(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "x.pt") as database:
        database.execute("create table t (a)")
    database.close()
    assert identify_foreign(Source(tmp_path / "x.pt")) == ("an SQLite database", "")


@pytest.mark.parametrize(
    ("what", "hint"),
    [("git-LFS pointer", "git lfs pull"), ("HTML page", "logged in"), ("JSON text", "Unauthorized"), ("plain text", "Entry not found")],
)
def test_the_hint_says_what_to_do(what: str, hint: str) -> None:
    found = identify_foreign(Source(FILES[what]))
    assert found is not None
    assert hint in found[1]


def test_control_characters_of_a_text_are_escaped() -> None:
    found = identify_foreign(Source(b"\x1b[31mred"))
    assert found is not None
    assert found[1].isprintable()


CARD = image.write({}, name="x")
OURS = {
    "safetensors": safetensors.write({"x": Tensor("F32", (1, 2), bytes(8))}, {}),
    "png": CARD,
    "zip": b"PK\x03\x04" + bytes(60),
    "pickle": b"\x80\x02}q\x00.",
    "legacy": b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.",
    "npy": b"\x93NUMPY\x01\x00v\0{'descr': '<f4'}",
    "noise": bytes(range(256)),
    "MZ as letters only": b"MZ\xff\0\0\0",
    "BM as letters only": b"BM\xff\0\0\0",
}


@pytest.mark.parametrize("data", OURS.values(), ids=OURS)
def test_our_own_containers_and_noise_are_not_claimed(data: bytes) -> None:
    assert identify_foreign(Source(data)) is None


def test_no_real_file_is_claimed(real: Path) -> None:
    for path in real.iterdir():
        with Source(path) as source:
            assert (identify_foreign(source) is None) == (path.suffix != ".json"), path.name


def test_only_the_head_is_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.write(b"\xff" * 100)
        file.truncate(3 << 30)
    with Source(path) as source:
        assert identify_foreign(source) is None


def test_a_cut_magic_is_no_accident() -> None:
    for at, magic, what, _ in MAGIC:
        for length in range(1, len(magic)):
            found = identify_foreign(Source(b"\xff" * at + magic[:length]))
            assert found is None or found[0] != what


def test_any_two_bytes_are_answered() -> None:
    for a in range(256):
        for b in range(256):
            identify_foreign(Source(bytes((a, b))))
