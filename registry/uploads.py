"""Bytes in: multipart bodies read piece by piece, the file to the disk, the few words beside it to memory, nothing else anywhere."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any, TypeVar

from multipart import MultipartError, ParserLimitReached, PushMultipartParser, parse_options_header

from embconv.converters.display import printable, quoted

from .blobs import Blobs, Writer
from .errors import BadUpload, BodyTooLarge, NotMultipart, UnknownParameter
from .problems import BadRequest, NotJson, TooSlow

if TYPE_CHECKING:
    from litestar.types import Receive

T = TypeVar("T")
Headers = list[tuple[bytes, bytes]]

PARTS = 8                # in one body
FIELD = 64 << 10         # bytes of one that is no file
OVERHEAD = 1 << 20       # of a body beside its file: the fields, and the heads of the parts
PIECE = 1 << 20          # bytes of a file that are gathered before a thread writes them
IDLE = 30.0              # seconds without a byte
SLOWEST = 4 << 10        # bytes a second, after those first seconds
CHARSETS = {"utf-8": "utf-8", "utf8": "utf-8", "us-ascii": "ascii", "ascii": "ascii", "iso-8859-1": "latin-1", "latin-1": "latin-1"}


class Disconnected(Exception):
    """The caller went away; there is nobody to answer."""


class Upload:
    """A file on its way in: what was said with it, and the writer that has its bytes. `close` it, whatever happens.

    The last bytes are still in memory: `finish` writes them, in the thread that goes on with the file.
    """

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self.name = ""
        self.fields: dict[str, list[str]] = {}
        self.rest: list[bytes] = []
        self._open = True

    def whole(self) -> bytes | None:
        """All bytes, where they are so few that none was written; else `finish` has them."""
        return None if self.writer.size else b"".join(self.rest)

    def finish(self) -> Writer:
        """The writer, with all bytes."""
        self.flush(self.rest)
        self.rest = []
        return self.writer

    def flush(self, pieces: list[bytes]) -> None:
        """Write pieces."""
        if pieces:
            self.writer.write(pieces[0] if len(pieces) == 1 else b"".join(pieces))

    def close(self) -> None:
        """Take the temporary file away. Once only: its handle may be somebody else's by then."""
        if self._open:
            self._open = False
            self.writer.__exit__(None, None, None)


class Parts:
    """The parts of one body as they come; errors as soon as they can be known."""

    def __init__(self, boundary: str, fields: tuple[str, ...], limit: int) -> None:
        self._parser = PushMultipartParser(boundary, max_segment_count=PARTS)
        self._known, self._limit = fields, limit
        self._field: tuple[str, str] | None = None  # the name and the charset of the field that is being read
        self._text = bytearray()
        self.fields: dict[str, list[str]] = {}
        self.name: str | None = None
        self.size = 0
        self.pieces: list[bytes] = []
        self.waiting = 0  # bytes in `pieces`

    def feed(self, chunk: bytes) -> None:
        """Take a piece of the body; an empty one is its end."""
        try:
            for event in self._parser.parse(chunk):
                if event is None:
                    self._end()
                elif isinstance(event, bytes | bytearray):
                    self._add(bytes(event))
                else:
                    self._begin(event)
        except ParserLimitReached as exc:
            raise BadUpload(f"The body has too much beside the file: {printable(str(exc))}.", f"At most {PARTS} parts are read.") from exc
        except (MultipartError, ValueError, LookupError) as exc:
            raise BadUpload(f"The body is no multipart/form-data: {printable(str(exc))}.") from exc

    def _begin(self, part: Any) -> None:
        name = part.name or ""
        if name == "file":
            if not part.filename:
                raise BadUpload("The part file has no file name.", "Send it as a file: curl -F file=@style.pt URL")
            if self.name is not None:
                raise BadUpload("The body has two files.", "Send each in a request of its own.")
            self.name, self._field = part.filename, None
            return
        if name not in self._known:
            raise UnknownParameter(name, ("file", *self._known))
        charset = CHARSETS.get((part.charset or "utf-8").lower())
        if charset is None:
            raise BadUpload(f"The part {name} is in {quoted(part.charset)}, which is not read.", "Send it in UTF-8.")
        self._field = name, charset
        self._text.clear()

    def _add(self, data: bytes) -> None:
        if self._field is not None:
            if len(self._text) + len(data) > FIELD:
                raise BodyTooLarge(f"part {self._field[0]}", FIELD)
            self._text += data
            return
        self.size += len(data)
        if self.size > self._limit:
            raise BodyTooLarge("file", self._limit)
        self.pieces.append(data)
        self.waiting += len(data)

    def _end(self) -> None:
        if self._field is None:
            return
        name, charset = self._field
        try:
            text = self._text.decode(charset)
        except UnicodeDecodeError as exc:
            raise BadUpload(f"The part {name} is not the {charset.upper()} that it should be.") from exc
        self.fields.setdefault(name, []).append(text)

    def take(self) -> list[bytes]:
        """The bytes of the file that came since the last time."""
        taken, self.pieces, self.waiting = self.pieces, [], 0
        return taken


async def receive_upload(
    blobs: Blobs, receive: Receive, headers: Headers, threads: Executor, *, fields: tuple[str, ...] = (), limit: int
) -> Upload:
    """Read a body with one `file` and what it may have beside it. Raises BadUpload, NotMultipart, BodyTooLarge, TooSlow, Disconnected.

    Memory holds at most about PIECE bytes of it; the disk has the rest, under a temporary name.
    """
    parts = Parts(boundary_of(headers), fields, limit)
    upload = Upload(blobs.writer())
    try:
        async for chunk in body(receive, headers, limit + OVERHEAD):
            parts.feed(chunk)
            if parts.waiting >= PIECE:
                await in_thread(threads, upload.flush, parts.take())
        parts.feed(b"")
        if parts.name is None:
            raise BadUpload("The body has no part file.", "Send the file as a form field: curl -F file=@style.pt URL")  # noqa: TRY301  # what is open is closed below
        upload.name, upload.fields, upload.rest = parts.name, parts.fields, parts.take()
    except BaseException:
        upload.close()
        raise
    return upload


def boundary_of(headers: Headers) -> str:
    """What separates the parts. NotMultipart for another kind of body."""
    given = next((value for name, value in headers if name == b"content-type"), b"").decode("latin-1")
    kind, options = parse_options_header(given)
    if kind.strip().lower() != "multipart/form-data":
        raise NotMultipart(given)
    boundary: str = options.get("boundary", "")
    if not 0 < len(boundary) <= 200 or not boundary.isascii() or not boundary.isprintable():
        raise BadUpload("The Content-Type has no boundary that separates the parts.", "Leave the header to your HTTP library.")
    return boundary


async def body(receive: Receive, headers: Headers, limit: int) -> AsyncIterator[bytes]:
    """The body as it comes, at most `limit` bytes; what says it is longer is not read at all."""
    told = next((value for name, value in headers if name == b"content-length"), b"")
    if told.isdigit() and int(told[:20]) > limit:
        raise BodyTooLarge("body", limit)
    start, size, more = time.monotonic(), 0, True
    while more:
        message = await next_message(receive)
        if message["type"] != "http.request":
            raise Disconnected
        chunk, more = message.get("body", b""), message.get("more_body", False)
        size += len(chunk)
        if size > limit:
            raise BodyTooLarge("body", limit)
        if time.monotonic() - start > IDLE + size / SLOWEST:
            raise TooSlow
        if chunk:
            yield chunk


async def next_message(receive: Receive) -> Any:
    """What comes next, within IDLE seconds."""
    try:
        async with asyncio.timeout(IDLE):
            return await receive()
    except TimeoutError:
        raise TooSlow from None


async def receive_json(receive: Receive, headers: Headers, limit: int, *, optional: bool = False) -> bytes:
    """A small body of application/json, whole; an empty object where there is none and it is `optional`."""
    given = next((value for name, value in headers if name == b"content-type"), b"").decode("latin-1")
    if given.partition(";")[0].strip().lower() != "application/json" and not (optional and not given):
        raise NotJson(given)
    pieces = [chunk async for chunk in body(receive, headers, limit)]
    if pieces and not given:
        raise NotJson(given)
    if not pieces and not optional:
        raise BadRequest("The body is empty.", "Send a JSON object.")
    return b"".join(pieces) or b"{}"


async def in_thread(threads: Executor, work: Callable[..., T], *arguments: Any) -> T:
    """What `work` returns, run off the event loop."""
    return await asyncio.get_running_loop().run_in_executor(threads, work, *arguments)
