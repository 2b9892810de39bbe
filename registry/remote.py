"""A registry on a server: the same operations through its HTTP interface, the same errors."""

from __future__ import annotations

import contextlib
import os
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from itertools import islice
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import httpx
import msgspec
from msgspec import Raw, Struct

from embconv.converters import EmbconvError
from embconv.converters.errors import NotEqual, TargetExists, UnreadableFile
from embconv.converters.limits import WHOLE_READ
from embconv.converters.read import examine
from embconv.converters.sidecars import hints_beside
from embconv.converters.source import Source
from embconv.converters.write import placing

from .backup import DATABASE, Backup
from .errors import BadParameter, Forbidden, Gone, HostNotAllowed, KeyNeeded, RemoteError, UnknownFile, UnknownReference, Unreachable
from .local import not_added
from .model import Addition, Entry, Facet, FileEntry, Key, Preview
from .prepare import file_name
from .registry import Pairs, Results
from .render_errors import UnknownRender
from .replies import error_in, value_in
from .times import now
from .validations import Validation, Wanted
from .verdicts import KeptVerdict, shown_of
from .verify import Report

AT_ONCE = 4        # uploads under way together
PATIENCE = 60.0    # seconds for an answer, or for a piece of one
FATAL = (Unreachable, KeyNeeded, Forbidden, HostNotAllowed)  # what every other file would meet too


class Answered(Struct, frozen=True, kw_only=True):
    """What an upload answers."""

    status: str
    embeddings: tuple[Entry, ...]
    file: FileEntry


class Found(Struct, frozen=True, kw_only=True):
    """What a search answers."""

    items: tuple[Raw, ...]
    total: int
    next: str | None = None
    facets: dict[str, Facet] = {}


class Keys(Struct, frozen=True):
    """What a list of keys answers."""

    keys: list[Key]


class Made(Struct, frozen=True):
    """What making a key answers."""

    key: Key
    secret: str


class Pictures(Struct, frozen=True):
    """The part of an answer about previews that is read here."""

    items: tuple[Preview, ...]


class Judgements(Struct, frozen=True):
    """What is answered of the verdicts on an embedding."""

    items: tuple[KeptVerdict, ...]


class Remote:
    """The registry at `url`. `transport` stands for the network in tests."""

    def __init__(self, url: str, key: str | None = None, *, transport: httpx.BaseTransport | None = None) -> None:
        self.where = url_of(url)
        headers = {"user-agent": "embconv", "accept": "application/json", **({"authorization": f"Bearer {key}"} if key else {})}
        limits = httpx.Limits(max_connections=2 * AT_ONCE)
        # httpx follows no redirect by itself, so that a key goes nowhere else
        self.client = httpx.Client(base_url=self.where, headers=headers, timeout=PATIENCE, transport=transport, limits=limits)

    def add(
        self, paths: Sequence[str], *, done: Callable[[Addition], None], name: str | None, role: str | None, tags: tuple[str, ...]
    ) -> list[Addition]:
        if not paths:
            return []
        said = {"name": name, "role": role, "tags": ",".join(tags) or None}
        found: dict[int, Addition] = {}
        pool = ThreadPoolExecutor(min(AT_ONCE, len(paths)), "embconv-upload")
        try:
            ahead = iter(enumerate(paths))
            waiting = {pool.submit(self._upload, path, said): place for place, path in islice(ahead, 2 * AT_ONCE)}
            while waiting:
                ready, _ = wait(waiting, return_when=FIRST_COMPLETED)
                for each in ready:
                    place = waiting.pop(each)
                    found[place] = each.result()
                    done(found[place])
                for place, path in islice(ahead, len(ready)):
                    waiting[pool.submit(self._upload, path, said)] = place
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        return [found[place] for place in sorted(found)]

    def _upload(self, path: str, said: dict[str, str | None]) -> Addition:
        """Send one file, and what the files beside it say."""
        fields = {name: value for name, value in {**said, "origin": told_beside(path)}.items() if value}
        try:
            look_first(path)
            with open(path, "rb") as file:
                answer = self._ask("POST", "/v1/embeddings", files={"file": (file_name(path), file)}, data=fields)
        except OSError as exc:
            return not_added(path, UnreadableFile(os.path.basename(path), exc.strerror or str(exc), "Check the path and its rights."))
        except FATAL:
            raise
        except EmbconvError as exc:
            return not_added(path, exc)
        got = value_in(answer, Answered)
        return Addition(path=path, status=got.status, digests=tuple(entry.digest for entry in got.embeddings),
                        triggers=tuple(entry.trigger for entry in got.embeddings), sha256=got.file.sha256)  # fmt: skip

    def search(self, pairs: Pairs) -> Results:
        found = value_in(self._ask("GET", "/v1/embeddings", params=list(pairs)), Found)
        cursor = parse_qs(urlsplit(found.next).query).get("cursor", [None])[0] if found.next else None
        return Results(items=found.items, total=found.total, cursor=cursor, facets=found.facets)

    def document(self, ref: str) -> bytes:
        return bytes(value_in(self._ask("GET", f"/v1/embeddings/{in_path(ref)}"), Raw))

    def read(self, file: FileEntry) -> bytes:
        return self._ask("GET", f"/v1/files/{in_path(file.sha256)}").content

    def preview(self, entry: Entry) -> bytes | None:
        try:
            found = value_in(self._ask("GET", f"/v1/embeddings/{in_path(entry.digest)}/previews"), Pictures).items
            return self._ask("GET", f"/v1/previews/{in_path(found[0].sha256)}").content if found else self._rendered(entry)
        except (UnknownReference, UnknownFile, UnknownRender, Gone, RemoteError):  # an older registry has no such route
            return None

    def _rendered(self, entry: Entry) -> bytes | None:
        """A picture of a test render that shows what it does."""
        found = shown_of(value_in(self._ask("GET", f"/v1/embeddings/{in_path(entry.digest)}/renders"), Judgements).items)
        return self.render(found.id) if found else None

    def ask_validation(self, ref: str, wanted: Wanted) -> KeptVerdict | Validation:
        answer = self._ask("POST", f"/v1/embeddings/{in_path(ref)}/validations", json=msgspec.to_builtins(wanted))
        return value_in(answer, Validation) if answer.status_code == httpx.codes.ACCEPTED else value_in(answer, KeptVerdict)

    def validation(self, number: int) -> Validation:
        return value_in(self._ask("GET", f"/v1/validations/{number}"), Validation)

    def render(self, id: str) -> bytes:  # noqa: A002  # as a Render has it
        return self._ask("GET", f"/v1/renders/{in_path(id)}").content

    def remove(self, ref: str, *, why: str, block: bool) -> str:
        digest = msgspec.json.decode(self.document(ref), type=Entry).digest
        asked = {**({"why": why} if why else {}), **({"block": "true"} if block else {})}
        self._ask("DELETE", f"/v1/embeddings/{in_path(digest)}", params=asked)
        return digest

    def verify(self, *, sample: float, repair: bool, done: Callable[[int], None]) -> Report:
        asked = {"sample": f"{sample:.6f}".rstrip("0").rstrip("."), "repair": "true" if repair else "false"}
        report = value_in(self._ask("POST", "/v1/verify", params=asked, timeout=None), Report)
        done(report.checked)
        return report

    def keys(self) -> list[Key]:
        return value_in(self._ask("GET", "/v1/keys"), Keys).keys

    def create_key(self, name: str, role: str, expires: str | None) -> tuple[Key, str]:
        wanted = {"name": name, "role": role, **({"expires": expires} if expires else {})}
        made = value_in(self._ask("POST", "/v1/keys", json=wanted), Made)
        return made.key, made.secret

    def revoke_key(self, name: str) -> None:
        self._ask("DELETE", f"/v1/keys/{in_path(name)}")

    def backup(self, path: str) -> Backup:
        path = os.path.abspath(path)
        if os.path.lexists(path):
            raise TargetExists(path)
        with placing(path) as temporary:
            self._save("/v1/backup", temporary)
            files = whole_zip(temporary, path)
        return Backup(path=path, files=files, size=os.path.getsize(path))

    def _save(self, where: str, path: str) -> None:
        """A large answer into a file, piece by piece."""
        slow = httpx.Timeout(PATIENCE, read=None)  # it is proven there before the first byte comes
        with open(path, "xb") as file, self._reaching(), self.client.stream("GET", where, timeout=slow) as answer:
            if answer.status_code != httpx.codes.OK:
                answer.read()
                raise error_in(answer)
            file.writelines(answer.iter_bytes(1 << 20))

    def _ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        """An answer that is no error."""
        with self._reaching():
            answer = self.client.request(method, path, **more)
        if answer.is_success:
            return answer
        raise error_in(answer)

    @contextlib.contextmanager
    def _reaching(self) -> Iterator[None]:
        """What goes wrong on the way there, as an error of ours."""
        try:
            yield
        except httpx.TimeoutException as exc:
            raise Unreachable(self.where, f"no answer within {PATIENCE:.0f} seconds") from exc
        except httpx.HTTPError as exc:
            raise Unreachable(self.where, str(exc) or type(exc).__name__) from exc

    def close(self) -> None:
        self.client.close()


def look_first(path: str) -> None:
    """Raise for a large file that is no embedding, before it is sent: folders hold LoRAs and checkpoints too."""
    with Source(path) as source:
        if source.size > WHOLE_READ:
            examine(source, sidecars=False)


def url_of(text: str) -> str:
    """A registry's address without a slash at its end; BadParameter for what is none."""
    parts = urlsplit(text.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None or parts.query or parts.fragment:
        raise BadParameter("registry", text, "an address such as http://127.0.0.1:8765, without a key in it")
    return text.strip().rstrip("/")


def in_path(text: str) -> str:
    """A text as one part of a path."""
    return quote(text, safe="", errors="replace")


def told_beside(path: str) -> str | None:
    """What the files beside an embedding claim, as the part `origin` of an upload: the first word on each thing counts."""
    hints = hints_beside(path)
    if not hints:
        return None
    claims: dict[str, Any] = {}
    for hint in hints:
        said = msgspec.to_builtins(hint)
        claims = {**{name: value for name, value in said.items() if value and name != "source"}, **claims}
    origin = {"source": "sidecar", "id": hints[0].source, "seen": now(), "claims": claims}
    return msgspec.json.encode(origin).decode()


def whole_zip(temporary: str, path: str) -> int:
    """How many files a backup has; NotEqual where it did not come whole."""
    try:
        with zipfile.ZipFile(temporary) as archive:
            names = archive.namelist()
            if DATABASE not in names or archive.testzip() is not None:
                raise NotEqual(path, "it is no whole backup")
            return len(names) - 1
    except zipfile.BadZipFile as exc:
        raise NotEqual(path, "it did not come whole") from exc
