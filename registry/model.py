"""The registry's values, as they stand in its JSON: facts without behaviour."""

from __future__ import annotations

from typing import Any

from msgspec import Raw, Struct

from embconv.converters import Finding, Hint, Names, SourceFile
from embconv.converters.convert import Failure

ROLES = ("positive", "negative", "unknown")
VERDICTS = ("pass", "weak", "no_effect", "broken", "incompatible", "error")
NSFW = ("pg", "pg13", "r", "x", "xxx")  # Civitai's levels, the mildest first; None is unrated
KEY_ROLES = ("read", "write", "admin")  # each may do what those before it may
# What a licence permits, as Civitai asks its creators; a licence with a name is that name in lower case.
PERMISSIONS = ("no_credit", "sell_images", "rent_on_civitai", "rent", "sell_models", "derivatives", "other_licence")


class EncoderEntry(Struct, frozen=True, kw_only=True):
    """The vectors for one text encoder: how many, how wide, in which kind of number they were first seen."""

    vectors: int
    width: int
    dtype: str


class Licence(Struct, frozen=True, kw_only=True):
    """What somebody claims may be done: `says` as it was written, `permits` as words, `source` who says it."""

    says: str
    permits: tuple[str, ...] = ()
    source: str = ""


class FileEntry(Struct, frozen=True, kw_only=True):
    """The exact bytes that somebody uploaded. `hashes` are those of converters.Hashes that there are, by name."""

    sha256: str
    name: str
    size: int
    container: str
    layout: str
    added: str
    hashes: dict[str, str]


class Origin(Struct, frozen=True, kw_only=True):
    """Where a file came from, by whose account and when it was seen; a later one adds a line and erases nothing.

    `source`: upload, folder, sidecar, header, civitai ... `state`: present, gone, ... `claims`: title, creator, base,
    trigger, role, licence, nsfw, tags, downloads, description and whatever else it said.
    """

    source: str
    id: str | None = None
    url: str | None = None
    seen: str
    state: str = "present"
    sha256: str | None = None
    claims: dict[str, Any] = {}


class Entry(Struct, frozen=True, kw_only=True):
    """One embedding as the registry knows it. Times are UTC, ISO 8601. `names`: kind of name -> what files called it."""

    digest: str
    name: str
    trigger: str
    base: str | None
    encoders: dict[str, EncoderEntry]
    output_encoders: dict[str, EncoderEntry] = {}
    vectors: int
    role: str
    tags: tuple[str, ...] = ()
    nsfw: str | None = None
    licence: Licence | None = None
    creators: tuple[str, ...] = ()
    verdict: str | None = None
    notes: str = ""
    downloads: int = 0
    added: str
    changed: str
    files: tuple[FileEntry, ...]
    origins: tuple[Origin, ...] = ()
    names: dict[str, tuple[str, ...]] = {}
    findings: tuple[Finding, ...] = ()


class PreparedEmbedding(Struct, frozen=True, kw_only=True):
    """One embedding of a file as its bytes and the files beside it tell of it; `base` is what the vectors say by themselves."""

    digest: str                         # 64 hex
    names: Names
    trigger: str
    base: str | None
    encoders: dict[str, EncoderEntry]
    output_encoders: dict[str, EncoderEntry] = {}
    vectors: int
    findings: tuple[Finding, ...] = ()
    hints: tuple[Hint, ...] = ()
    sources: tuple[SourceFile, ...] = ()
    checksums: tuple[str, ...] = ()     # A1111's, of the vectors of each encoder


class Prepared(Struct, frozen=True, kw_only=True):
    """All that is learned of a file without the store: it may be made in another process."""

    name: str
    size: int
    sha256: str
    container: str
    layout: str
    hashes: dict[str, str]
    embeddings: tuple[PreparedEmbedding, ...]


class Arrival(Struct, frozen=True, kw_only=True):
    """A file that is to be remembered, and what somebody says of it. `unblock` lets in what was removed for good."""

    prepared: Prepared
    origin: Origin | None = None
    name: str | None = None
    role: str | None = None
    tags: tuple[str, ...] = ()
    unblock: bool = False


class Addition(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one path of many. `status`: added, known, refused (the file), failed (the disk) or passed_over (just a picture)."""

    path: str
    status: str
    digests: tuple[str, ...] = ()       # with emb:
    triggers: tuple[str, ...] = ()
    sha256: str | None = None
    error: Failure | None = None


class Arrived(Struct, frozen=True, kw_only=True):
    """What became of an arrival: its embeddings by id, and which of it is new here."""

    ids: tuple[int, ...]
    added: int
    new_file: bool


class Facts(Struct, frozen=True, array_like=True):
    """What a search filters an embedding by and its row does not say: text encoders, layouts, creators, tags, permits, sources."""

    encoders: tuple[str, ...] = ()
    layouts: tuple[str, ...] = ()
    creators: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    permits: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()


class Ingested(Struct, frozen=True, kw_only=True):
    """What an upload came to. `status`: added where at least one embedding is new, else known.

    `new_file`: these bytes were not here before. `embeddings` are JSON of Entry each.
    """

    status: str
    embeddings: tuple[Raw, ...]
    file: FileEntry
    new_file: bool = False


class Match(Struct, frozen=True, kw_only=True):
    """One answer to a hash: which kind of hash it is, whether that is a claim or was computed here, and of what."""

    kind: str
    claim: bool
    sha256: str | None
    digest: str


class Refusal(Struct, frozen=True, kw_only=True):
    """A file that was not taken: its hash and size, the name somebody gave it, and why."""

    at: str
    sha256: str
    name: str
    size: int
    code: str
    says: str
    source: str


class Key(Struct, frozen=True, kw_only=True):
    """An API key without its secret."""

    name: str
    role: str
    created: str
    expires: str | None = None
    revoked: str | None = None


class Job(Struct, frozen=True, kw_only=True):
    """Long work. `state`: waiting, running, done, stopped, failed, interrupted; `input` is what was asked, `result` what it came to.

    `attempt`: how often a worker began it, and `key` what names the question, where it is one that workers lease.
    """

    id: int
    kind: str
    ref: str
    state: str
    created: str
    changed: str
    input: Any = None
    result: Any = None
    attempt: int = 0
    key: str | None = None


class Preview(Struct, frozen=True, kw_only=True):
    """A picture of an embedding: the blob it lies in, and where it came from (`source`: an address or a file's name).

    `recipe`: what it was made with, as somebody told it. `nsfw` is its level, None where nobody rated it.
    """

    sha256: str
    source: str
    width: int
    height: int
    nsfw: str | None = None
    recipe: dict[str, Any] = {}
    added: str


class Offer(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A file as Civitai offers it: what is known of it before it is fetched. `kind` is Civitai's type of the file.

    `gate`: until when it has to be paid for; "never" where that has no end, "" where it is free. `level`: the highest; None is unrated.
    """

    id: int
    model_id: int
    version_id: int
    title: str
    version: str = ""
    creator: str = ""
    name: str
    kind: str = ""
    size: int | None = None
    sha256: str | None = None
    base: str = ""
    level: str | None = None
    mode: str = ""
    gate: str = ""
    published: str = ""


class Offered(Struct, frozen=True, kw_only=True):
    """An offer, and what has become of it here. `state`: waiting, held, unverified, skipped or failed."""

    offer: Offer
    state: str
    reason: str = ""
    says: str = ""
    again: str = ""
    got: str | None = None


class FacetValue(Struct, frozen=True, kw_only=True):
    """One value of a facet: how many of all that was found have it, and whether the search asks for it."""

    value: str
    count: int
    selected: bool
    toggle_url: str = ""


class Facet(Struct, frozen=True, kw_only=True):
    """The commonest values of one field; `truncated` where there are more."""

    results: tuple[FacetValue, ...]
    truncated: bool = False


class Page(Struct, frozen=True, kw_only=True):
    """A part of what was found; `items` are JSON of Entry each, `next` leads to the part after it."""

    items: tuple[Raw, ...]
    total: int
    next: str | None
    facets: dict[str, Facet] = {}
