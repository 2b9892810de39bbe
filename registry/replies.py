"""What a remote registry answers: values as Structs, problems as the errors they were there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from msgspec import Struct

from embconv.converters import EmbconvError
from embconv.converters.display import printable

from .errors import RemoteError

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")
LARGEST = 64 << 20  # characters of an answer that is looked at
EXTRAS: dict[str, Any] = {"digests": [], "names": [], "when": "", "why": "", "blocked": False, "limit": 0}


class Told(Struct, kw_only=True):
    """The part of a problem that says what was wrong."""

    code: str
    says: str
    hint: str = ""
    digests: list[str] = []
    names: list[str] = []
    when: str = ""
    why: str = ""
    blocked: bool = False
    limit: int = 0


def value_in(answer: httpx.Response, kind: type[T]) -> T:
    """An answer's JSON as a Struct; RemoteError where a registry does not answer so."""
    try:
        return msgspec.json.decode(answer.content, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise stranger(answer, f"with something else than a registry does: {printable(str(exc))}") from exc


def error_in(answer: httpx.Response) -> EmbconvError:
    """The error that an answer tells of; RemoteError where it is no registry's."""
    try:
        told = msgspec.json.decode(answer.content[:LARGEST], type=Told)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        more = f" (to {printable(answer.headers['location'])})" if "location" in answer.headers else ""
        return stranger(answer, f"{answer.status_code} {printable(answer.reason_phrase)}{more}, not as a registry does")
    return remade(told)


def stranger(answer: httpx.Response, how: str) -> RemoteError:
    """Somebody else answers there."""
    asked = printable(str(answer.url.copy_with(query=None)))
    return RemoteError(f"{asked} answered {how}.", "Check the URL: it is that of the registry, without /v1.")


def remade(told: Told) -> EmbconvError:
    """An error as it was there: the class of its code, and what it said."""
    kind = next((each for each in classes(EmbconvError) if vars(each).get("code") == told.code), RemoteError)
    made = kind.__new__(kind)
    EmbconvError.__init__(made, told.says, told.hint)
    if kind is RemoteError:
        made.code = told.code
    for name in EXTRAS:
        setattr(made, name, getattr(told, name))
    return made


def classes(root: type[EmbconvError]) -> Iterator[type[EmbconvError]]:
    """It and all below it, those of the registry among them."""
    yield root
    for each in root.__subclasses__():
        yield from classes(each)
