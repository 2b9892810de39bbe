"""Names that are ours, and headers that say whose request it is. What answers to them over HTTP: routes/test_access.py."""

from __future__ import annotations

from typing import Any

import pytest

from embconv.registry.errors import Forbidden, HostNotAllowed, KeyNeeded, OriginNotAllowed
from embconv.registry.guards import Access, Hosts, Told, bracketed, check_host, check_origin, loopback, must, secret_of, wildcard
from embconv.registry.keys import create
from embconv.registry.settings import Settings
from embconv.registry.store import Store

SETTINGS = Settings(home="nowhere")


def allowed(host: str, said: dict[str, Any]) -> bool:
    hosts = Hosts(Settings(home="nowhere", **said))
    try:
        check_host(hosts, Told([(b"host", host.encode())]))
    except HostNotAllowed:
        return False
    return True


NAMES = [  # Host, settings, is it ours
    ("localhost:8765", {}, True), ("[::1]:8765", {}, True), ("localhost", {}, False), ("localhost:80", {}, False),
    ("localhost", {"port": 80}, True), ("127.0.0.1", {"port": 80}, True), ("127.0.0.1:80", {"port": 80}, True),
    ("192.168.1.5:8765", {"host": "192.168.1.5"}, True), ("192.168.1.6:8765", {"host": "192.168.1.5"}, False),
    ("192.168.1.5:8765", {"host": "0.0.0.0"}, False), ("0.0.0.0:8765", {"host": "0.0.0.0"}, False), ("127.0.0.1:8765", {"host": "0.0.0.0"}, True),
    ("[2001:db8::5]:8765", {"host": "2001:db8::5"}, True), ("[::]:8765", {"host": "::"}, False),
    ("embs.example", {"allowed_hosts": ("embs.example",)}, True), ("embs.example:8765", {"allowed_hosts": ("embs.example",)}, True),
    ("embs.example:443", {"allowed_hosts": ("embs.example",)}, False), ("embs.example:443", {"allowed_hosts": ("embs.example:443",)}, True),
    ("embs.example", {"allowed_hosts": ("embs.example:443",)}, False), ("a.embs.example", {"allowed_hosts": ("embs.example",)}, False),
    ("embs-example", {"allowed_hosts": ("embs.example",)}, False), ("EMBS.Example", {"allowed_hosts": ("embs.EXAMPLE",)}, True),
    ("[2001:db8::7]", {"allowed_hosts": ("[2001:db8::7]",)}, True),
]  # fmt: skip


@pytest.mark.parametrize(("host", "said", "ours"), NAMES, ids=str)
def test_a_host_is_ours(host: str, said: dict[str, Any], ours: bool) -> None:
    assert allowed(host, said) is ours


@pytest.mark.parametrize("headers", [[], [(b"host", b"localhost:8765"), (b"host", b"localhost:8765")], [(b"host", b"localhost:8765"), (b"host", b"evil")]])
def test_a_host_is_sent_once(headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(HostNotAllowed):
        check_host(Hosts(SETTINGS), Told(headers))


def test_hundreds_of_headers_are_no_way_around() -> None:
    with pytest.raises(HostNotAllowed):
        check_host(Hosts(SETTINGS), Told([(b"host", b"evil"), *[(b"x%d" % place, b"") for place in range(300)], (b"host", b"localhost:8765")]))


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "BREW"])
def test_every_method_but_the_safe_ones_asks_for_the_origin(method: str) -> None:
    with pytest.raises(OriginNotAllowed):
        check_origin(method, b"localhost:8765", Told([(b"origin", b"http://evil.example")]))


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_reading_does_not(method: str) -> None:
    check_origin(method, b"localhost:8765", Told([(b"origin", b"http://evil.example"), (b"sec-fetch-site", b"cross-site")]))


def test_an_origin_is_sent_once() -> None:
    with pytest.raises(OriginNotAllowed):
        check_origin("POST", b"localhost:8765", Told([(b"origin", b"http://evil.example"), (b"origin", b"http://localhost:8765")]))


@pytest.mark.parametrize(("host", "is_loopback"), [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("[::1]", True), ("localhost", True),
                                                  ("0.0.0.0", False), ("::", False), ("10.0.0.1", False), ("example.org", False), ("", False)])  # fmt: skip
def test_loopback(host: str, is_loopback: bool) -> None:
    assert loopback(host) is is_loopback


def test_addresses_in_urls() -> None:
    assert (bracketed("::1"), bracketed("[::1]"), bracketed("127.0.0.1")) == ("[::1]", "[::1]", "127.0.0.1")
    assert [wildcard(host) for host in ("", "*", "0.0.0.0", "::", "127.0.0.1")] == [True, True, True, True, False]


@pytest.mark.parametrize("text", ["Bearer abc", "bearer abc", "BEARER  abc "])
def test_a_key_is_sent_as_a_bearer(text: str) -> None:
    assert secret_of(Told([(b"authorization", text.encode())])) == "abc"


@pytest.mark.parametrize("headers", [[(b"authorization", b"Basic abc")], [(b"authorization", b"Bearer " + b"x" * 300)], [(b"authorization", b"")],
                                     [(b"authorization", b"Bearer a"), (b"authorization", b"Bearer b")]])  # fmt: skip
def test_anything_else_is_no_key(headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(KeyNeeded):
        secret_of(Told(headers))


def test_this_machine_needs_no_key_but_one_that_is_given_counts(store: Store, home: str) -> None:
    hosts = Hosts(Settings(home=home, allowed_hosts=("embs.example",)))
    access, secret = Access(Settings(home=home), hosts, store), create(store, "reader", "read")
    told = Told([(b"authorization", f"Bearer {secret}".encode())])
    assert access.role(b"localhost:8765", Told([]), "admin") == "admin"
    assert access.role(b"localhost:8765", told, "read") == "read"
    with pytest.raises(Forbidden):
        access.role(b"localhost:8765", told, "write")


def test_who_calls_by_another_name_is_from_elsewhere(store: Store, home: str) -> None:
    """A proxy on this machine speaks for others: the name tells."""
    hosts = Hosts(Settings(home=home, allowed_hosts=("embs.example",)))
    access = Access(Settings(home=home), hosts, store)
    assert access.role(b"embs.example", Told([]), "read") == "anyone"
    for needed in ("write", "admin"):
        with pytest.raises(KeyNeeded):
            access.role(b"embs.example", Told([]), needed)


@pytest.mark.parametrize(("role", "needed", "error"), [("anyone", "admin", KeyNeeded), ("read", "admin", Forbidden), ("write", "admin", Forbidden)])
def test_what_goes_beyond_a_role(role: str, needed: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        must(role, needed)
    must("admin", needed)
