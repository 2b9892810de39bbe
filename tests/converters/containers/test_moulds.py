"""An archive that fits the mould of an earlier one is read as the strict reader reads it, or left to it."""

import io
import zipfile
from collections.abc import Iterator

import pytest
import torch

from embconv.converters.containers import moulds, torch_zip
from embconv.converters.containers.zip_reader import Archive
from embconv.converters.errors import EmbconvError
from embconv.converters.source import Source
from examples import a1111_dict


def saved(number: int = 0, root: str = "archive", rows: int = 1) -> bytes:
    """One of many files of one program: other numbers, another step."""
    file = io.BytesIO()
    torch.save({**a1111_dict(torch.full((rows, 8), float(number))), "step": 1000 + number}, file)
    return file.getvalue().replace(b"archive/", f"{root}/".encode())


def outcome(data: bytes) -> object:
    """All that is read from an archive, or what is said of it."""
    try:
        contents = torch_zip.read(Source(data, "x.pt"))
        return contents.outline, contents.fetch(contents.outline.root["string_to_param"]["*"])
    except (EmbconvError, KeyError, TypeError) as exc:
        return type(exc), str(exc)


@pytest.fixture(autouse=True)
def _no_moulds() -> Iterator[None]:
    moulds._known.clear()
    yield
    moulds._known.clear()


def learn(*files: bytes) -> None:
    for data in files:
        torch_zip.read(Source(data))


def strictly(data: bytes, monkeypatch: pytest.MonkeyPatch) -> object:
    with monkeypatch.context() as patch:
        patch.setattr(torch_zip, "alike", lambda source: None)
        return outcome(data)


def test_from_the_third_on_of_a_kind_the_strict_reader_is_not_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    monkeypatch.setattr(torch_zip, "Archive", lambda source: read.append(source) or Archive(source))
    found = [outcome(saved(number)) for number in range(5)]
    assert len(read) == 2
    assert found == [strictly(saved(number), monkeypatch) for number in range(5)]


def test_another_root_of_the_same_length_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    learn(saved(0), saved(1))
    assert moulds.alike(Source(saved(2, "my-name"))) is not None
    assert outcome(saved(2, "my-name")) == strictly(saved(2, "my-name"), monkeypatch)


@pytest.mark.parametrize("root", ["arch/ve", "arch\\ve", "arch\0ve"])
def test_a_root_that_the_strict_reader_refuses_does_not(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    learn(saved(0), saved(1))
    assert moulds.alike(Source(saved(2, root))) is None
    assert outcome(saved(2, root)) == strictly(saved(2, root), monkeypatch)


def test_every_byte_of_one_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    learn(saved(0), saved(1))
    data = saved(2)
    assert moulds.alike(Source(data)) is not None
    for place in range(len(data)):
        for byte in {0, 1, 8, ord("/"), 0x50, 0xFF, data[place] ^ 1, data[place] ^ 0x80} - {data[place]}:
            changed = data[:place] + bytes([byte]) + data[place + 1 :]
            assert outcome(changed) == strictly(changed, monkeypatch), (place, byte)
            if moulds._known.get(moulds._key(data)) is None:
                learn(saved(0), saved(1))


def test_a_wrong_checksum_is_found_wherever_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    learn(saved(0), saved(1))
    data = saved(2)
    numbers = torch.full((1, 8), 2.0).numpy().tobytes()
    changed = data.replace(numbers, numbers[:-1] + b"\x41")
    assert changed != data
    assert "checksum" in str(outcome(changed))


def test_nothing_is_kept_of_a_packed_archive() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(saved())) as old, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            new.writestr(info.filename, old.read(info), zipfile.ZIP_DEFLATED)
    learn(file.getvalue(), file.getvalue())
    assert moulds._known == {}


def test_only_so_many_are_kept() -> None:
    for rows in range(1, 2 * moulds.MOULDS):
        learn(saved(0, rows=rows), saved(1, rows=rows))
        assert moulds.alike(Source(saved(2, rows=rows))) is not None
        assert len(moulds._known) <= moulds.MOULDS
