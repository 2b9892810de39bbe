"""What the Hub answers, as it stands in its JSON, and a file of a repository as git and LFS know it."""

from __future__ import annotations

import hashlib
from typing import Any

from msgspec import Struct, field

from .hub_card import LIBRARY, TASK

OWNER = "embs"
CARD = "README.md"
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize {}\n"


class Made(Struct, frozen=True, kw_only=True):
    """One file of a repository: the card lies in git, all others in LFS, as on the Hub."""

    name: str
    data: bytes

    @property
    def sha256(self) -> str:
        """The hash of its bytes."""
        return hashlib.sha256(self.data).hexdigest()

    @property
    def pointer(self) -> str:
        """What git has of it where LFS has the rest."""
        return "" if self.name == CARD else POINTER.format(self.sha256, len(self.data))

    @property
    def oid(self) -> str:
        """What git calls it."""
        data = self.pointer.encode() or self.data
        return hashlib.sha1(b"blob %d\0%s" % (len(data), data), usedforsecurity=False).hexdigest()

    @property
    def tag(self) -> bytes:
        """Its ETag, which is also how a client calls it on its disk."""
        return b'"%s"' % (self.oid if self.name == CARD else self.sha256).encode("ascii")


class Stored(Struct, frozen=True, kw_only=True, rename="camel"):
    """What LFS has of a file."""

    sha256: str
    size: int
    pointer_size: int


class Sibling(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A file in what is told of a model; all but its name only where it is asked for."""

    rfilename: str
    size: int | None = None
    blob_id: str | None = None
    lfs: Stored | None = None


class Pointed(Struct, frozen=True, kw_only=True, rename="camel"):
    """What LFS has of a file, in a tree."""

    oid: str
    size: int
    pointer_size: int


class Leaf(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="file", tag_field="type"):
    """A file in a tree."""

    path: str
    size: int
    oid: str
    lfs: Pointed | None = None


class ModelInfo(Struct, frozen=True, kw_only=True):
    """What the Hub tells of a model."""

    id: str
    model_id: str = field(name="modelId")
    author: str = OWNER
    sha: str
    last_modified: str = field(name="lastModified")
    created_at: str = field(name="createdAt")
    private: bool = False
    gated: bool = False
    disabled: bool = False
    downloads: int
    likes: int = 0
    library_name: str = LIBRARY
    pipeline_tag: str = TASK
    tags: list[str]
    card_data: dict[str, Any] = field(name="cardData")
    siblings: list[Sibling]


def leaf(file: Made) -> Leaf:
    """A file in a tree."""
    lfs = Pointed(oid=file.sha256, size=len(file.data), pointer_size=len(file.pointer)) if file.pointer else None
    return Leaf(path=file.name, size=len(file.data), oid=file.oid, lfs=lfs)


def sibling(file: Made) -> Sibling:
    """A file in what is told of a model."""
    lfs = Stored(sha256=file.sha256, size=len(file.data), pointer_size=len(file.pointer)) if file.pointer else None
    return Sibling(rfilename=file.name, size=len(file.data), blob_id=file.oid, lfs=lfs)
