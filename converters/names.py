"""Which of the many names of an embedding is its trigger, by a rule that is stated and shown."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .encoders import BY_KEY
from .model import Names

# Keys that programs write for every embedding, so that they say nothing of this one.
LAYOUT_KEYS = frozenset({"*", "emb_params", "emp_params", "emp_params_out", "string_to_param.*", "emb", "emb2", *BY_KEY})
# File names that programs give to every embedding.
GENERIC_STEM = re.compile(
    r"(learned_embeds?|embeddings?|embeds?|emb|model|pytorch_model|data|archive|textual_inversion|initialize_emb|delta|v?\d+(\.\d+)*"
    r"|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})([-_ ]?(steps?|gs|epoch)?[-_ ]?\d+)?",
    re.IGNORECASE,
)
RESERVED = re.compile(r"^(con|prn|aux|nul|com\d|lpt\d)(?=\.|$)", re.IGNORECASE)  # on Windows, with any suffix
ROW_TOKENS = re.compile(r"(<s\d+>)+|step-\d+")


def trigger_claims(names: Names) -> Iterator[tuple[str, str]]:
    """Every usable name and where it stands, the best first: the rule by which a trigger is chosen.

    1. the header's own trigger phrase (or an image's name, which A1111 prefers to the file's);
    2. the token that is the dictionary key; 3. the file's stem, unless programs call every embedding so;
    4. the word of a sidecar; 5. the name inside; 6. the archive's root; 7. whatever the key or the stem is.
    """
    stem, key = names.file_stem, names.key
    generic = not stem or GENERIC_STEM.fullmatch(stem) is not None
    rows = key is not None and ROW_TOKENS.fullmatch(key) is not None
    claims = (
        ("header", names.header),
        ("key", None if key in LAYOUT_KEYS or rows else key),
        ("file_stem", None if generic else stem),
        ("sidecar", names.sidecar),
        ("inner_name", None if names.inner_name == "*" else names.inner_name),
        ("archive_root", None if not names.archive_root or GENERIC_STEM.fullmatch(names.archive_root) else names.archive_root),
        ("key", key if rows else None),
        ("file_stem", stem),
    )
    return ((text.strip(), where) for where, text in claims if text and text.strip())


def trigger_of(names: Names) -> str:
    """The word that calls this embedding; `embedding` where nothing in the file or about it has a name."""
    return next((text for text, _ in trigger_claims(names)), "embedding")


def in_unicode(text: str) -> str:
    """`text` as every encoder takes it: what Python keeps of a file name that is no UTF-8 becomes a replacement character."""
    return text.encode("utf-8", "replace").decode() if not text.isascii() else text


def safe_stem(name: str) -> str:
    """`name` as a file stem that every system takes: no separators, control characters or reserved names."""
    stem = re.sub(r'[<>:"/\\|?*\x00-\x1f\x7f]', "", in_unicode(name)).strip(" .")
    stem = RESERVED.sub(r"\1_", stem)
    while len(stem.encode()) > 200:
        stem = stem[:-1]
    return stem or "embedding"
