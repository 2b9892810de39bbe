"""API keys: made once and shown once, kept as hashes, for a role and a time."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from . import store as rows
from .errors import BadParameter, Forbidden, KeyNeeded
from .model import KEY_ROLES, Key
from .store import Store
from .times import now, stamp

if TYPE_CHECKING:
    from sqlite_utils import Database

BEGINNING = "embconv_"  # so that people, and programs that look for leaked secrets, know one when they see it
BYTES = 32
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
SPAN = re.compile(r"(\d{1,5})\s*([smhdw])")
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def create_key(db: Database, name: str, role: str, expires: str | None = None) -> str:
    """Make a key and return its secret, which is kept nowhere. `expires`: a span such as 90d, or a moment. Within a write.

    Raises KeyExists, or BadParameter for a name, a role or a time that means nothing.
    """
    if not NAME.fullmatch(name):
        raise BadParameter("name", name, "1 to 64 letters, digits and . _ @ -")
    if role not in KEY_ROLES:
        raise BadParameter("role", role, f"one of {', '.join(KEY_ROLES)}", KEY_ROLES)
    secret = BEGINNING + secrets.token_urlsafe(BYTES)
    key = Key(name=name, role=role, created=now(), expires=until(expires) if expires is not None else None)
    rows.add_key(db, key, hash_of(secret))
    return secret


def hash_of(secret: str) -> str:
    """What is kept of a secret. It is 256 random bits, so that one round of SHA-256 is as good as many."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def until(expires: str, at: datetime | None = None) -> str:
    """The moment that `90d`, `12h`, `2026-12-31` or `2026-12-31T12:00:00Z` means; BadParameter for others and for the past."""
    start = at or datetime.now(UTC)
    span = SPAN.fullmatch(expires.strip().lower())
    try:
        if span:
            moment = start + timedelta(seconds=int(span[1]) * UNITS[span[2]])
        else:
            moment = datetime.fromisoformat(expires.strip())
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        moment = moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise BadParameter("expires", expires, "a span such as 90d or 12h, or a day such as 2030-12-31") from None
    if moment <= start:
        raise BadParameter("expires", expires, "a time that is still to come")
    return stamp(moment)


def key_of(db: Database, secret: str) -> Key | None:
    """The key with this secret, if it may be used now."""
    try:
        return authenticate(db, secret)
    except KeyNeeded:
        return None


def authenticate(db: Database, secret: str) -> Key:
    """The key with this secret; KeyNeeded says why it may not be used. What is looked for is a hash, so that time tells nothing."""
    hashed = hash_of(secret)
    found = rows.key_by_hash(db, hashed)
    if found is None or not hmac.compare_digest(found[1], hashed):
        raise KeyNeeded("This key is not known here.")
    key = found[0]
    if key.revoked is not None:
        raise KeyNeeded("This key was revoked.")
    if key.expires is not None and key.expires <= now():
        raise KeyNeeded("This key has expired.")
    return key


def must_be(key: Key, role: str) -> None:
    """Forbidden for a key whose role does not include this one."""
    if KEY_ROLES.index(key.role) < KEY_ROLES.index(role):
        raise Forbidden(role, key.role)


def create(store: Store, name: str, role: str, expires: str | None = None) -> str:
    """`create_key` in a write of its own."""
    return store.write(partial(create_key, name=name, role=role, expires=expires))


def revoke(store: Store, name: str) -> None:
    """End a key; UnknownKey where there is none of that name."""
    store.write(lambda db: rows.revoke_key(db, name, now()))
