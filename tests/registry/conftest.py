"""What every test of the registry may ask for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from embconv.registry.blobs import Blobs
from embconv.registry.ingest import ingest
from embconv.registry.model import Entry, Ingested
from embconv.registry.store import Store, document, rebuilt


@pytest.fixture
def home(tmp_path: Path) -> str:
    return os.fspath(tmp_path / "home")


@pytest.fixture
def store(home: str) -> Iterator[Store]:
    with Store(home, busy_seconds=10) as opened:
        yield opened


@pytest.fixture
def blobs(home: str) -> Blobs:
    return Blobs(home)


@pytest.fixture
def add(store: Store, blobs: Blobs) -> Callable[..., Ingested]:
    """Ingest into `store`."""

    def work(source: bytes | str | Path, **said: object) -> Ingested:
        return ingest(store, blobs, source, **said)  # type: ignore[arg-type]  # as the test wants it

    return work


@pytest.fixture
def entry(store: Store) -> Callable[[int], Entry]:
    """The document of an id, as a Struct; equal to what would be made anew."""

    def work(id_: int) -> Entry:
        found = document(store.read, id_)
        assert rebuilt(store.read, [id_]) == {id_: found}
        return msgspec.json.decode(found, type=Entry)

    return work


def entries(ingested: Ingested) -> list[Entry]:
    """What an upload answers."""
    return [msgspec.json.decode(raw, type=Entry) for raw in ingested.embeddings]
