"""The only package that knows SQL: SQLite through sqlite-utils, every fact of the registry in one file."""

from .arrivals import arrive
from .changes import add_origin, checked, edit, latest_revision, must_be_small, remove
from .documents import document, documents, documents_by_digest, rebuilt, refresh
from .inspection import batches, digests_of, files_with_digests, index_is_whole, integrity, present_files, rebuild_index, snapshot, stale
from .keys import add_key, key_by_hash, list_keys, revoke_key
from .logs import check_writable, counts, has_foreign_bytes, refusals, refuse
from .lookup import digest_of, file_of, files_of, known_file, matches, matches_many, resolve
from .meanings import translated
from .previews import add_preview, lose_preview, lose_render, present_previews, present_renders, preview_by_sha256, previews_of, unnamed
from .quick import matching, shown
from .store import Store
from .text import beginning, beginnings, called, facts_above, facts_since, names_after, names_of, pages_of, spoken_among, spoken_of

__all__ = [
    "Store",
    "add_key",
    "add_origin",
    "add_preview",
    "arrive",
    "batches",
    "beginning",
    "beginnings",
    "called",
    "check_writable",
    "checked",
    "counts",
    "digest_of",
    "digests_of",
    "document",
    "documents",
    "documents_by_digest",
    "edit",
    "facts_above",
    "facts_since",
    "file_of",
    "files_of",
    "files_with_digests",
    "has_foreign_bytes",
    "index_is_whole",
    "integrity",
    "key_by_hash",
    "known_file",
    "latest_revision",
    "list_keys",
    "lose_preview",
    "lose_render",
    "matches",
    "matches_many",
    "matching",
    "must_be_small",
    "names_after",
    "names_of",
    "pages_of",
    "present_files",
    "present_previews",
    "present_renders",
    "preview_by_sha256",
    "previews_of",
    "rebuild_index",
    "rebuilt",
    "refresh",
    "refusals",
    "refuse",
    "remove",
    "resolve",
    "revoke_key",
    "shown",
    "snapshot",
    "spoken_among",
    "spoken_of",
    "stale",
    "translated",
    "unnamed",
]
