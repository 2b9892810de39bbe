"""Who may ask for what: names by which this registry answers, pages that may change something, keys and their roles."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from .errors import Forbidden, HostNotAllowed, KeyNeeded, OriginNotAllowed
from .keys import authenticate, must_be
from .model import KEY_ROLES
from .settings import Settings

if TYPE_CHECKING:
    from .store import Store

LOCAL = ("localhost", "127.0.0.1", "[::1]")
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
SAME = (b"same-origin", b"none")  # Sec-Fetch-Site of our own pages, and of what a person typed
ALL = KEY_ROLES[-1]
ANYONE = "anyone"  # the role of a request without a key from elsewhere
BEARER = "bearer "
SECRET = 200  # characters of a key; ours have 51
MANY = 200    # headers

Headers = list[tuple[bytes, bytes]]


class Hosts:
    """The names in a Host header that are ours, as bytes in lower case. `local` are those of a caller on this machine.

    A page of elsewhere can have its own name lead here (DNS rebinding), but cannot have the browser send another one.
    Headers in which a proxy tells of another host are never looked at.
    """

    def __init__(self, settings: Settings) -> None:
        port, own = settings.port, () if wildcard(settings.host) else (bracketed(settings.host.lower()),)
        self.loopback = loopback(settings.host)
        self.local = frozenset(names(LOCAL, port)) if self.loopback else frozenset()
        given = [name.lower() for name in settings.allowed_hosts]
        other = [bytes(form, "utf-8") for name in given for form in ((name,) if has_port(name) else (name, f"{name}:{port}"))]
        self.allowed = frozenset({*names((*LOCAL, *own), port), *other})


def names(hosts: tuple[str, ...], port: int) -> list[bytes]:
    """The hosts with our port; without, where that is the port of http itself."""
    return [bytes(f"{host}:{port}", "utf-8") for host in hosts] + ([bytes(host, "utf-8") for host in hosts] if port == 80 else [])


def has_port(name: str) -> bool:
    """`name:8080`, `[::1]:8080`."""
    return name.rpartition("]")[2].rpartition(":")[1] == ":"


def bracketed(host: str) -> str:
    """An IPv6 address as it stands in a URL."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def wildcard(host: str) -> bool:
    """Every address of this machine."""
    return host in ("", "*", "0.0.0.0", "::", "[::]")  # noqa: S104  # it is compared, not bound


def loopback(host: str) -> bool:
    """Does a server bound there answer this machine only?"""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


class Told:
    """The headers of a request by name, and the names that came more than once, which for some of them is a trick."""

    __slots__ = ("get", "twice")

    def __init__(self, headers: Headers) -> None:
        by_name = dict(headers)
        self.get = by_name.get
        self.twice = frozenset[bytes]() if len(by_name) == len(headers) else repeated(headers)


def repeated(headers: Headers) -> frozenset[bytes]:
    """Names that stand there more than once."""
    names_ = [name for name, _ in headers]
    return frozenset(name for name in names_ if names_.count(name) > 1) if len(names_) <= MANY else frozenset(names_)


def check_host(hosts: Hosts, told: Told) -> bytes:
    """The Host header, which must be one of ours, once; HostNotAllowed."""
    given = told.get(b"host", b"")
    host = given.lower()
    if host not in hosts.allowed or b"host" in told.twice:
        raise HostNotAllowed(given.decode("latin-1"))
    return host


def check_origin(method: str, host: bytes, told: Told) -> None:
    """Only our own pages may change anything, and programs, which send no Origin; OriginNotAllowed."""
    if method in SAFE:
        return
    origin, site = told.get(b"origin"), told.get(b"sec-fetch-site")
    if origin is not None and (origin.lower() not in (b"http://" + host, b"https://" + host) or b"origin" in told.twice):
        raise OriginNotAllowed(origin.decode("latin-1"))
    if site is not None and (site.lower() not in SAME or b"sec-fetch-site" in told.twice):
        raise OriginNotAllowed(f"another site ({site.decode('latin-1')})")


class Access:
    """What a request may do. On this machine everything; from elsewhere reading, unless private; the rest needs a key."""

    def __init__(self, settings: Settings, hosts: Hosts, store: Store) -> None:
        self._private, self._hosts, self._store = settings.private, hosts, store

    def role(self, host: bytes, told: Told, needed: str) -> str:
        """The role that the request has: that of its key, or what everybody has here. KeyNeeded or Forbidden where `needed` is more.

        A key that is given must be good, even where none is needed.
        """
        secret = secret_of(told)
        if secret is not None:
            key = authenticate(self._store.read, secret)
            if needed:
                must_be(key, needed)
            return key.role
        if host in self._hosts.local:
            return ALL
        if needed and (needed != "read" or self._private):
            raise KeyNeeded
        return ANYONE


def secret_of(told: Told) -> str | None:
    """The key that is given; None where none is. KeyNeeded for another scheme."""
    given = told.get(b"authorization")
    if given is None:
        return None
    text = given.decode("latin-1")
    if b"authorization" in told.twice or not text.lower().startswith(BEARER) or len(text) > SECRET:
        raise KeyNeeded("The Authorization header is not that of a key.")
    return text[len(BEARER) :].strip()


def must(role: str, needed: str) -> None:
    """Forbidden, or KeyNeeded where there was no key, for what goes beyond a role."""
    if role not in KEY_ROLES:
        raise KeyNeeded
    if KEY_ROLES.index(role) < KEY_ROLES.index(needed):
        raise Forbidden(needed, role)
