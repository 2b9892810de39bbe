"""Files that are called otherwise than where they lie, as those that were fetched: taken in together, perhaps by another process."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from embconv.converters.processes import start_worker

from .blobs import Blobs
from .many import Seen, Sums, glance, glances, must_have, settle, watch_parent, without
from .model import Addition, Arrival, Origin
from .shelf import Shelf
from .store import Store


class Named(Struct, frozen=True, kw_only=True):
    """A file, the name that somebody gave it, and where it came from; `source` is that in a word, for the log of refusals."""

    path: str
    name: str
    source: str
    origin: Origin | None


def ingest_named(files: Sequence[Named], home: str) -> list[Addition]:
    """Remember files that are called otherwise than where they lie, with one commit. It opens its own store: another process may run it."""
    sums, parent, by_path = Sums(), watch_parent(), {file.path: file for file in files}
    blobs = Blobs(home)
    with Store(home, create=False) as store:
        with Shelf(blobs) as shelf:
            seen = glances(glance(file.path, store, shelf, sums, told=False, cheap=False, name=file.name) for file in files)
            must_have(parent)
            seen = sums.filled(without(seen, shelf.publish()))
        seen = [by(each, by_path[each.path].source) for each in seen]
        names = {file.path: file.name for file in files}
        return settle(store, blobs, seen, lambda path, prepared: Arrival(prepared=prepared, origin=by_path[path].origin), names=names)


def start_helper() -> None:
    """Another process that takes files in ends soon after the one that started it, whatever became of that."""
    start_worker()
    watch_parent()


def by(seen: Seen, source: str) -> Seen:
    """The same; a refusal names where the file came from."""
    return replace(seen, refusal=replace(seen.refusal, source=source)) if seen.refusal else seen
