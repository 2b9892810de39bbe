"""Random access to the bytes of one input."""

import os
from pathlib import Path

import pytest

from embconv.converters.errors import UnreadableFile
from embconv.converters.limits import WHOLE_READ
from embconv.converters.source import Source

SIZES = [0, 1, 100, WHOLE_READ - 1, WHOLE_READ, WHOLE_READ + 1, 2 * WHOLE_READ]


def _data(size: int) -> bytes:
    return bytes(range(256)) * (size // 256) + bytes(size % 256)


@pytest.mark.parametrize("size", SIZES)
def test_any_part_of_a_file_is_that_part(size: int, tmp_path: Path) -> None:
    data, path = _data(size), tmp_path / "x.pt"
    path.write_bytes(data)
    for given in (path, str(path), data):
        with Source(given) as source:
            assert source.size == size
            for start, length in ((0, size), (0, 0), (size, 0), (size // 2, size // 3), (max(0, size - 1), min(1, size))):
                assert source.read(start, length) == data[start : start + length]
            assert source.head(64) == data[:64]


@pytest.mark.parametrize("size", [10, WHOLE_READ + 10])
@pytest.mark.parametrize(("start", "length"), [(0, 1), (-1, 1), (0, -1), (1, 0), (1 << 70, 1), (0, 1 << 70)])
def test_a_part_beyond_the_end_is_refused(size: int, start: int, length: int, tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    path.write_bytes(bytes(size))
    start += size if start in (0, 1) and length in (0, 1) else 0
    with Source(path) as source, pytest.raises(UnreadableFile, match="bytes wanted at"):
        source.read(start, length)


def test_messages_call_it_by_its_file_name_or_as_they_are_told(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    path.write_bytes(b"x")
    assert [(Source(path).name, Source(path).path), (Source(path, "y").name, Source(b"").name), Source(b"", "z").path] == [
        ("x.pt", str(path)), ("y", "<bytes>"), None
    ]  # fmt: skip


def test_what_is_not_there_or_is_a_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match=r'"none.pt" cannot be read: No such file'):
        Source(tmp_path / "none.pt")
    with pytest.raises(UnreadableFile, match="it is a folder"):
        Source(tmp_path)
    with pytest.raises(UnreadableFile):
        Source(tmp_path / "none" / "x.pt")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_one_may_not_read_is_said(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    path.write_bytes(b"x")
    path.chmod(0)
    with pytest.raises(UnreadableFile, match="Permission denied"):
        Source(path)


def test_a_file_that_shrinks_meanwhile_is_said(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    path.write_bytes(bytes(WHOLE_READ + 100))
    with Source(path) as source:
        os.truncate(path, 10)
        with pytest.raises(UnreadableFile, match="became shorter"):
            source.read(0, WHOLE_READ + 100)


@pytest.mark.parametrize("size", [10, WHOLE_READ + 10])
def test_it_is_given_back_also_after_an_error(size: int, tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    path.write_bytes(bytes(size))
    with pytest.raises(ZeroDivisionError), Source(path) as source:
        raise ZeroDivisionError
    source.close()
    path.unlink()
