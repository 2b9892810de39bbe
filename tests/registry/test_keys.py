"""API keys: shown once, kept as hashes, for a role and a time."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from embconv.registry import keys
from embconv.registry.errors import BadParameter, Forbidden, KeyExists, KeyNeeded, UnknownKey
from embconv.registry.keys import authenticate, create, key_of, must_be, revoke, until
from embconv.registry.store import Store, list_keys


def test_a_key_is_known_by_its_secret(store: Store) -> None:
    secret = create(store, "ci", "write")
    key = key_of(store.read, secret)
    assert key is not None
    assert (key.name, key.role, key.expires, key.revoked) == ("ci", "write", None, None)
    assert len(secret) > 40


def test_no_two_secrets_are_alike(store: Store) -> None:
    assert len({create(store, f"k{n}", "read") for n in range(20)}) == 20


def test_the_secret_is_kept_nowhere(store: Store, home: str) -> None:
    secret = create(store, "ci", "admin")
    store.write(lambda db: None)
    for path in Path(home).rglob("*"):
        if path.is_file():
            assert secret.encode() not in path.read_bytes()
    assert store.read.execute("SELECT hash FROM keys").fetchall() == [(hashlib.sha256(secret.encode()).hexdigest(),)]


@pytest.mark.parametrize("secret", ["", "embconv_", "x" * 10_000, "\udcff", "a\0b", "' OR 1=1 --"])
def test_other_words_are_no_key(store: Store, secret: str) -> None:
    create(store, "ci", "read")
    assert key_of(store.read, secret) is None
    with pytest.raises(KeyNeeded, match="not known"):
        authenticate(store.read, secret)


def test_a_revoked_key_ends_and_gives_its_name_back(store: Store) -> None:
    secret = create(store, "ci", "write")
    with pytest.raises(KeyExists):
        create(store, "ci", "read")
    revoke(store, "ci")
    revoke(store, "ci")
    with pytest.raises(KeyNeeded, match="revoked"):
        authenticate(store.read, secret)
    assert [key.revoked is not None for key in list_keys(store.read)] == [True]
    create(store, "ci", "read")
    assert key_of(store.read, secret) is None


def test_a_key_ends_at_its_time(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = create(store, "ci", "write", "90d")
    assert key_of(store.read, secret) is not None
    monkeypatch.setattr(keys, "now", lambda: "2999-01-01T00:00:00.000Z")
    with pytest.raises(KeyNeeded, match="expired"):
        authenticate(store.read, secret)


@pytest.mark.parametrize(
    ("text", "moment"),
    [("90d", "2026-04-01T12:00:00.000Z"), ("12h", "2026-01-02T00:00:00.000Z"), ("2 W", "2026-01-15T12:00:00.000Z"),
     ("2026-12-31", "2026-12-31T00:00:00.000Z"), ("2026-12-31T12:00:00+02:00", "2026-12-31T10:00:00.000Z")],
)  # fmt: skip
def test_a_time_is_a_span_or_a_moment(text: str, moment: str) -> None:
    assert until(text, datetime(2026, 1, 1, 12, tzinfo=UTC)) == moment


@pytest.mark.parametrize("text", ["", "soon", "90", "0d", "-1d", "2020-01-01", "9" * 30 + "d", "9999-12-31T23:59:59-14:00"])
def test_other_times_mean_nothing(text: str) -> None:
    with pytest.raises(BadParameter):
        until(text, datetime(2026, 1, 1, 12, tzinfo=UTC))


@pytest.mark.parametrize(
    ("name", "role"), [("", "read"), ("a b", "read"), ("x" * 65, "read"), ("-x", "read"), ("ci", "root"), ("ci", "Read")]
)
def test_names_and_roles_that_mean_nothing(store: Store, name: str, role: str) -> None:
    with pytest.raises(BadParameter):
        create(store, name, role)


def test_a_key_that_was_never_there_cannot_end(store: Store) -> None:
    with pytest.raises(UnknownKey):
        revoke(store, "nobody")


@pytest.mark.parametrize(("has", "needs", "good"), [("read", "read", True), ("read", "write", False), ("write", "read", True),
                                                    ("write", "admin", False), ("admin", "write", True)])  # fmt: skip
def test_each_role_may_do_what_those_before_it_may(store: Store, has: str, needs: str, good: bool) -> None:
    key = authenticate(store.read, create(store, "ci", has))
    if good:
        must_be(key, needs)
    else:
        with pytest.raises(Forbidden):
            must_be(key, needs)
