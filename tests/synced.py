"""A sync against the fake Civitai in this process, and what a registry holds after it."""

from __future__ import annotations

import http.server
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
from fakes.civitai import Catalogue, Fake, Faults
from fakes.civitai_world import signed

from embconv.registry.blobs import Blobs
from embconv.registry.civitai.choose import Options
from embconv.registry.civitai.client import Client
from embconv.registry.civitai.run import Control, Progress, SyncReport
from embconv.registry.civitai.site import Site
from embconv.registry.civitai.sync import sync
from embconv.registry.store import Store

LIMIT = 1 << 20  # bytes of a file: those of the fake have about 6,000
Row = tuple[Any, ...]


def run(
    home: str, fake: Fake, *, token: str | None = None, sleep: Callable[[float], None] = lambda _: None, control: Control | None = None,
    most: int = LIMIT, heard: Callable[[Progress], None] = lambda _: None, rate: float = 0, **options: Any,
) -> SyncReport:  # fmt: skip
    """One run that waits for nothing; `most` bytes of a file."""
    site = Site(origin=fake.api_url, token=token, private=True)
    with Store(home) as store, Client(site, rate=rate, sleep=sleep) as client:
        return sync(store, Blobs(home), client, Options(rate=rate, **options), limit=most, control=control or Control(), heard=heard)


def rows(home: str, sql: str, *given: Any) -> list[Row]:
    """What the database says, without our code."""
    with closing(sqlite3.connect(os.path.join(home, "registry.db"))) as db:
        return db.execute(sql, given).fetchall()


def embeddings(home: str) -> set[Row]:
    """Every embedding that is there with the sha256 of each of its files."""
    return set(rows(home, "SELECT e.digest, f.sha256 FROM embeddings e JOIN embedding_files l ON l.embedding_id = e.id JOIN files f ON f.id = l.file_id"
                          " WHERE e.state = 'present' AND f.removed IS NULL"))  # fmt: skip


def stored(home: str) -> set[str]:
    """The sha256 of every file that is kept, by the database and by the disk."""
    named = {sha256 for (sha256,) in rows(home, "SELECT sha256 FROM files WHERE removed IS NULL")}
    assert named == {path.name for path in (Path(home) / "blobs" / "sha256").glob("*/*")}
    return named


def states(home: str) -> dict[int, Row]:
    """What became of each file of Civitai's: state, reason, the sha256 here."""
    return {id_: tuple(rest) for id_, *rest in rows(home, "SELECT id, state, reason, got FROM civitai_files")}


def state(home: str, fake: Fake, odd: str) -> list[Row]:
    """What became of the files of an odd model, by their ids."""
    return rows(home, "SELECT state, reason FROM civitai_files WHERE model_id = ? ORDER BY id", fake.catalogue.odd[odd])


def picture(home: str) -> dict[str, Any]:
    """All by which two registries are the same: embeddings, files, what became of each, models, and what is said of them."""
    lines = "SELECT DISTINCT e.digest, o.sha256, o.source, o.source_id, o.state, o.claims FROM origins o JOIN embeddings e ON e.id = o.embedding_id"
    return {
        "embeddings": embeddings(home),
        "stored": stored(home),
        "states": states(home),
        "models": set(rows(home, "SELECT id, state FROM civitai_models")),
        "versions": set(rows(home, "SELECT id, model_id, place, state FROM civitai_versions")),
        "lines": {row[:-1] for row in rows(home, lines)},
        "told": {(row[0], row[3], title_in(row[-1])) for row in rows(home, lines)},
    }


def title_in(claims: str) -> str:
    return str(msgspec.json.decode(claims).get("title", ""))


def lines(home: str, sha256: str) -> list[Row]:
    """The lines of origin of the embeddings of a file, the oldest first: id, state, claims."""
    sql = ("SELECT o.source_id, o.state, o.claims FROM origins o JOIN embedding_files l ON l.embedding_id = o.embedding_id JOIN files f ON f.id = l.file_id"
           " WHERE f.sha256 = ? AND o.source = 'civitai' ORDER BY o.id")  # fmt: skip
    return [(id_, state_, msgspec.json.decode(claims)) for id_, state_, claims in rows(home, sql, sha256)]


def sent(fake: Fake) -> list[int]:
    """The files that the storage was asked for, by their ids, in order, each as often as it was."""
    marks = (signed(seen.one("X-Amz-Signature") or "") for seen in fake.log.of(host="storage"))
    return [mark.file_id for mark in marks if mark]


def asked(fake: Fake, path: str = "") -> int:
    """Requests to the API."""
    return fake.log.count(path, "api")


def calm(faults: Faults) -> None:
    """Every switch off."""
    fresh = Faults()
    for name in Faults.__struct_fields__:
        setattr(faults, name, getattr(fresh, name))


def known_bytes(catalogue: Catalogue) -> set[str]:
    """The sha256 of everything that Civitai has."""
    return {file.sha256 for file in catalogue.files.values()}


def check_token_stays_home(fake: Fake) -> None:
    """The token was seen by the API alone, under its own name, and stood in no address."""
    own = fake.api_url.partition("://")[2]
    assert fake.log.with_token("storage") == []
    assert {seen.headers["host"] for seen in fake.log.with_token()} <= {own}
    assert [seen for seen in fake.log.requests if "token" in seen.query] == []


class Trap:
    """Another host, to which nobody should send anything of ours: it notes the headers, and answers as it is told."""

    def __init__(self, url: str) -> None:
        self.url, self.seen = url, list[dict[str, str]]()
        self.status, self.media, self.body = 200, "text/html", b"<html>Welcome</html>"


@contextmanager
def trap() -> Iterator[Trap]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.seen.append({name.lower(): value for name, value in self.headers.items()} | {"path": self.path})
            self.send_response(made.status)
            self.send_header("Content-Type", made.media)
            self.send_header("Content-Length", str(len(made.body)))
            self.end_headers()
            self.wfile.write(made.body)

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made = Trap(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield made
        finally:
            server.shutdown()
            thread.join(5)
