"""Errors as HTTP answers: which status each has, and the problem+json that says what was wrong and what would be right."""

from __future__ import annotations

from http import HTTPStatus

import msgspec
from msgspec import UNSET, Struct, UnsetType

from embconv.converters import EmbconvError, errors
from embconv.converters.display import printable, quoted
from embconv.converters.folders import CannotRead
from embconv.converters.targets import UnknownTarget

from . import render_errors as renders
from .civitai import errors as civitai
from .errors import (
    AmbiguousReference,
    BadParameter,
    BadUpload,
    Blocked,
    BodyTooLarge,
    Busy,
    Forbidden,
    Gone,
    HostNotAllowed,
    KeyExists,
    KeyNeeded,
    NoStore,
    NotAPicture,
    NotMultipart,
    OriginNotAllowed,
    RegistryError,
    RemoteError,
    StorageFailed,
    StorageFull,
    UnknownFile,
    UnknownHash,
    UnknownKey,
    UnknownParameter,
    UnknownReference,
    Unreachable,
)

MEDIA = b"application/problem+json"
TYPE = "urn:embconv:problem:"


class UnknownRoute(RegistryError):
    """Nothing answers at that path."""

    code = "unknown_route"

    def __init__(self, path: str) -> None:
        super().__init__(f"There is nothing at {quoted(path)}.", "All routes are described at /schema.")


class MethodNotAllowed(RegistryError):
    """The path is there, the method is not; `allowed` are those that are."""

    code = "method_not_allowed"

    def __init__(self, method: str, allowed: str) -> None:
        super().__init__(f"{printable(method)} is not possible there.", f"Possible: {allowed}.")
        self.allowed = allowed


class BadRequest(RegistryError):
    """A request that contradicts itself, or whose body is not what was expected."""

    code = "bad_request"


class NotJson(RegistryError):
    """A body that is no application/json."""

    code = "not_json"

    def __init__(self, given: str) -> None:
        super().__init__(
            f"The body is {quoted(given) if given else 'of no stated type'}; application/json is expected.",
            "Send it with the header Content-Type: application/json.",
        )


class TooSlow(RegistryError):
    """A body of which nothing came for too long, or too little."""

    code = "too_slow"

    def __init__(self) -> None:
        super().__init__("The body came too slowly, and the registry stopped waiting for it.", "Send it again.")


class BadRange(RegistryError):
    """A range of bytes that the file does not have; `size` is what it has."""

    code = "bad_range"

    def __init__(self, given: str, size: int) -> None:
        says = f"{quoted(given)} is no range of a file of {size:,} bytes."
        super().__init__(says, "Ranges look like bytes=0-1023, bytes=1024- or bytes=-512.")
        self.size = size


class InternalError(RegistryError):
    """A mistake of embconv; the log has all about it under the request's id."""

    code = "internal_error"

    def __init__(self) -> None:
        hint = "Please report it with the request's id and what the log says of it."
        super().__init__("The registry made a mistake and did nothing.", hint)


STATUS: dict[type[EmbconvError], int] = {
    EmbconvError: 422,
    # test renders
    renders.MissingExtra: 501,
    renders.BadCheckpoint: 422,
    renders.PickleCheckpoint: 422,
    renders.UnsoundCheckpoint: 422,
    renders.UnknownCheckpoint: 422,
    renders.CheckpointExists: 409,
    renders.NoCheckpoint: 409,
    renders.CannotRender: 422,
    renders.NoDevice: 422,
    renders.DeviceFull: 507,
    renders.DeviceFailed: 500,
    renders.TooManyWaiting: 503,
    renders.UnknownRender: 404,
    renders.UnknownValidation: 404,
    # Civitai, and syncs
    civitai.CivitaiUnreachable: 502,
    civitai.CivitaiBusy: 503,
    civitai.CivitaiUnclear: 502,
    civitai.RegionBlocked: 502,
    civitai.BadToken: 422,
    civitai.AddressRefused: 422,
    civitai.NotTaken: 422,
    civitai.FetchFailed: 502,
    civitai.UnknownSync: 404,
    civitai.SyncRuns: 409,
    civitai.Stopped: 409,
    # a file that is no embedding, or not one that can become what was asked for
    errors.FileError: 422,
    errors.UnreadableFile: 422,
    errors.UnsafePickle: 422,
    errors.TooLarge: 422,
    errors.NotAnEmbedding: 422,
    errors.UnknownLayout: 422,
    errors.SeveralEmbeddings: 422,
    errors.EmbeddingError: 422,
    errors.BaseMismatch: 422,
    errors.MislabelledKey: 422,
    errors.NotFinite: 422,
    errors.CannotHold: 422,
    CannotRead: 422,
    UnknownTarget: 400,
    # where a file is written
    errors.WriteError: 503,
    errors.TargetExists: 409,
    errors.CannotWrite: 503,
    errors.NotEqual: 500,
    # the registry
    RegistryError: 500,
    UnknownReference: 404,
    AmbiguousReference: 409,
    UnknownHash: 404,
    UnknownFile: 404,
    Gone: 410,
    Blocked: 403,
    UnknownParameter: 400,
    BadParameter: 400,
    BadUpload: 400,
    NotMultipart: 415,
    BodyTooLarge: 413,
    KeyNeeded: 401,
    Forbidden: 403,
    HostNotAllowed: 403,
    OriginNotAllowed: 403,
    UnknownKey: 404,
    KeyExists: 409,
    NotAPicture: 422,
    Unreachable: 502,
    RemoteError: 502,
    NoStore: 503,
    Busy: 503,
    StorageFull: 507,
    StorageFailed: 503,
    # HTTP itself
    UnknownRoute: 404,
    MethodNotAllowed: 405,
    BadRequest: 400,
    NotJson: 415,
    TooSlow: 408,
    BadRange: 416,
    InternalError: 500,
}
# Seconds after which it is worth another try.
RETRY = {Busy: b"5", renders.TooManyWaiting: b"60", StorageFull: b"60", StorageFailed: b"60", NoStore: b"60"}
CLOSING = (BodyTooLarge, TooSlow)  # what is left of the body is not read


class Problem(Struct, frozen=True, kw_only=True):
    """RFC 9457. `instance` is the path and `request` the id of the request; the others are facts of single errors."""

    type: str
    title: str
    status: int
    code: str
    says: str
    hint: str
    instance: str
    request: str
    digests: list[str] | UnsetType = UNSET
    names: list[str] | UnsetType = UNSET
    when: str | UnsetType = UNSET
    why: str | UnsetType = UNSET
    blocked: bool | UnsetType = UNSET
    limit: int | UnsetType = UNSET


def status_of(error: EmbconvError) -> int:
    """The HTTP status of an error; a class without a line has that of its parent."""
    return next(STATUS[each] for each in type(error).__mro__ if each in STATUS)


def problem(error: EmbconvError, path: str, request: str) -> Problem:
    """What is answered."""
    status = status_of(error)
    facts = {name: getattr(error, name) for name in FACTS.get(type(error), ())}
    return Problem(
        type=TYPE + error.code, title=HTTPStatus(status).phrase, status=status, code=error.code, says=error.says, hint=error.hint,
        instance=printable(path, 2_000), request=request, **facts,
    )  # fmt: skip


FACTS: dict[type[EmbconvError], tuple[str, ...]] = {
    AmbiguousReference: ("digests",),
    errors.SeveralEmbeddings: ("names",),
    Gone: ("when", "why", "blocked"),
    Blocked: ("when", "why"),
    BodyTooLarge: ("limit",),
}


def body_of(found: Problem) -> bytes:
    """The JSON of it. A sentence may quote a file name that is no Unicode; JSON may not."""
    try:
        return msgspec.json.encode(found)
    except UnicodeEncodeError:
        clean = {name: value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
                 for name, value in msgspec.structs.asdict(found).items() if value is not UNSET}  # fmt: skip
        return msgspec.json.encode(clean)


def headers_of(error: EmbconvError) -> list[tuple[bytes, bytes]]:
    """What an error has beside its body."""
    found = [(b"cache-control", b"no-store")]
    if isinstance(error, KeyNeeded):
        found.append((b"www-authenticate", b'Bearer realm="embconv"'))
    if isinstance(error, MethodNotAllowed):
        found.append((b"allow", error.allowed.encode("ascii", "replace")))
    if isinstance(error, BadRange):
        found.append((b"content-range", b"bytes */%d" % error.size))
    if isinstance(error, CLOSING):
        found.append((b"connection", b"close"))
    if retry := RETRY.get(type(error)):
        found.append((b"retry-after", retry))
    return found


def ours(exc: Exception, method: str, path: str) -> EmbconvError:
    """Any error as one of ours: Litestar's by their meaning, all others as a mistake that tells nothing."""
    from litestar.exceptions import HTTPException, MethodNotAllowedException, NotFoundException

    if isinstance(exc, EmbconvError):
        return exc
    if isinstance(exc, NotFoundException):
        return UnknownRoute(path)
    if isinstance(exc, MethodNotAllowedException):
        allowed = {name.strip() for name in (exc.headers or {}).get("allow", "").split(",")}
        return MethodNotAllowed(method, ", ".join(sorted(allowed)))
    if isinstance(exc, HTTPException) and exc.status_code < 500:
        return BadRequest(f"The request cannot be understood: {printable(exc.detail)}.")
    return InternalError()

