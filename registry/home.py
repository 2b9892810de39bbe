"""What lies where in the folder of a registry."""

from __future__ import annotations

import os

DATABASE = "registry.db"


def database(home: str) -> str:
    """SQLite's file; its log stands beside it."""
    return os.path.join(os.path.abspath(home), DATABASE)


def blobs(home: str) -> str:
    """The folder of bytes: sha256/ab/<hex>, tmp for what is being written, rotten for what was set aside."""
    return os.path.join(os.path.abspath(home), "blobs")


def cache(home: str) -> str:
    """The folder of converted forms, which may be emptied at any time."""
    return os.path.join(os.path.abspath(home), "cache")


def has_bytes(home: str) -> bool:
    """Are there bytes already? Then a database that is only now made does not name them."""
    try:
        with os.scandir(os.path.join(blobs(home), "sha256")) as entries:
            return next(entries, None) is not None
    except OSError:
        return False
