"""What is asked for most often, each in one statement: an embedding by its digest, and everything that has a hash."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ..model import Match
from .documents import document, documents_by_digest
from .lookup import SHORT, matches, plain, resolve

if TYPE_CHECKING:
    from sqlite_utils import Database

DIGEST = re.compile(r"(?:emb:)?([0-9a-f]{64})")
HEX = re.compile(r"[0-9a-f]{1,128}")
BY_DIGEST = "SELECT d.document FROM embeddings e JOIN documents d ON d.id = e.id WHERE e.digest = ? AND e.state = 'present'"
HIT = "SELECT h.kind, h.claim, h.file_id, d.document FROM hashes h CROSS JOIN documents d ON d.id = h.embedding_id WHERE h.value = ?"
DIGEST_AT = slice(11, 79)  # every document begins with its digest: {"digest":"emb:...
Found = list[tuple[Match, bytes]]


def shown(db: Database, ref: str) -> bytes:
    """The JSON of the embedding that is meant; `resolve` says what it raises."""
    digest = DIGEST.fullmatch(ref)
    row = db.execute(BY_DIGEST, (digest[1],)).fetchone() if digest else None
    if row is not None:
        found: bytes = row[0]
        return found
    return document(db, resolve(db, ref))


def matching(db: Database, value: str) -> Found:
    """`matches`, in its order, each with the JSON of its embedding."""
    bare = plain(value)
    if len(bare) in SHORT or not HEX.fullmatch(bare):
        some = matches(db, value)
        every = documents_by_digest(db, [match.digest for match in some])
        return [(match, every[match.digest]) for match in some if match.digest in every]
    best: dict[tuple[str, str, str | None], tuple[Match, bytes]] = {}
    for kind, claim, file_id, text in db.execute(HIT, (bare,)).fetchall():  # what was removed has no document
        digest = text[DIGEST_AT].decode()
        sha256 = bare if kind == "sha256" and not claim else sha256_of(db, file_id)
        known = best.get((digest, kind, sha256))
        if known is None or known[0].claim:  # what was computed outweighs the same as a claim
            best[digest, kind, sha256] = Match(kind=kind, claim=bool(claim), sha256=sha256, digest=digest), text
    row = db.execute(BY_DIGEST, (bare,)).fetchone() if len(bare) == 64 and not best else None  # no hash of a file is a digest too
    if row is not None:
        return [(Match(kind="digest", claim=False, sha256=None, digest=f"emb:{bare}"), row[0])]
    return sorted(best.values(), key=lambda each: (each[0].claim, each[0].kind, each[0].digest, each[0].sha256 or ""))


def sha256_of(db: Database, file_id: int) -> str | None:
    """The file of which a hash is, or that claims it."""
    row = db.execute("SELECT sha256 FROM files WHERE id = ?", (file_id,)).fetchone()
    return row[0] if row else None
