"""What the command line does with a registry, wherever that is: a folder of this machine, or a server."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from msgspec import Raw, Struct

from embconv.converters.read import Input

from .model import Addition, Entry, Facet, FileEntry, Key

if TYPE_CHECKING:
    from .backup import Backup
    from .validations import Validation, Wanted
    from .verdicts import KeptVerdict
    from .verify import Report

Pairs = Sequence[tuple[str, str]]  # names and values of a search, as a URL has them


class Results(Struct, frozen=True, kw_only=True):
    """A part of what was found; `items` are JSON of Entry each, `cursor` leads to the part after it."""

    items: tuple[Raw, ...]
    total: int
    cursor: str | None = None
    facets: dict[str, Facet] = {}


class Registry(Protocol):
    """A registry. Everything raises an EmbconvError that says what was wrong and what would be right."""

    where: str  # for messages: a folder or a URL

    def add(
        self, paths: Sequence[str], *, done: Callable[[Addition], None], name: str | None, role: str | None, tags: tuple[str, ...]
    ) -> list[Addition]:
        """Remember files; `done` hears of each as it is safe. No bad one stops the rest. A `name` is for one file alone."""
        ...

    def search(self, pairs: Pairs) -> Results:
        """One page."""
        ...

    def document(self, ref: str) -> bytes:
        """JSON of the Entry that is meant."""
        ...

    def read(self, file: FileEntry) -> Input:
        """The exact bytes of a file, or where they lie."""
        ...

    def preview(self, entry: Entry) -> bytes | None:
        """The first picture that is kept of it, else one of a test render, as WebP."""
        ...

    def remove(self, ref: str, *, why: str, block: bool) -> str:
        """Remove an embedding; its digest."""
        ...

    def ask_validation(self, ref: str, wanted: Wanted) -> KeptVerdict | Validation:
        """The verdict on an embedding, or the job by which a worker finds it."""
        ...

    def validation(self, number: int) -> Validation:
        """How a job stands."""
        ...

    def render(self, id: str) -> bytes:  # noqa: A002  # as a Render has it
        """A picture of a verdict, as WebP."""
        ...

    def verify(self, *, sample: float, repair: bool, done: Callable[[int], None]) -> Report:
        """Look at everything again."""
        ...

    def keys(self) -> list[Key]:
        """Every key, without its secret."""
        ...

    def create_key(self, name: str, role: str, expires: str | None) -> tuple[Key, str]:
        """Make a key; the secret is shown this once."""
        ...

    def revoke_key(self, name: str) -> None:
        """End a key."""
        ...

    def backup(self, path: str) -> Backup:
        """All of it as one file."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


def every(registry: Registry, pairs: Iterable[tuple[str, str]]) -> Iterator[Raw]:
    """Everything that a search finds, page after page."""
    asked = [(name, value) for name, value in pairs if name not in ("limit", "cursor", "facet")]
    cursor: str | None = ""
    while cursor is not None:
        found = registry.search([*asked, ("limit", "200"), *([("cursor", cursor)] if cursor else [])])
        yield from found.items
        cursor = found.cursor
