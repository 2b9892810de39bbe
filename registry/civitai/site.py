"""Which Civitai is asked, with which token, and which addresses may be asked at all."""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import stat
from collections.abc import Callable, Iterable, Mapping

import httpcore
import httpx
from msgspec import Struct

from ..errors import BadParameter
from ..settings import NO, YES
from .errors import AddressRefused, BadToken

DEFAULT = "https://civitai.com"
URL, TOKEN, PRIVATE = "EMBCONV_CIVITAI_URL", "EMBCONV_CIVITAI_TOKEN", "EMBCONV_ALLOW_PRIVATE"
TOKEN_FILE = "civitai.token"  # noqa: S105  # a file's name, in the registry's folder
TOKEN_BYTES = 4_096
HTTPS = 443
NAT64 = ipaddress.ip_network("64:ff9b::/96")
UNICAST = ipaddress.ip_network("2000::/3")  # all public addresses of IPv6; what Python calls global is more
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Iterable[str]]  # a name and a port -> its addresses


class Site(Struct, frozen=True, kw_only=True):
    """A Civitai: `origin` is scheme, host and port. With `private` it may be one of one's own network, by plain http too."""

    origin: str = DEFAULT
    token: str | None = None
    private: bool = False

    @property
    def host(self) -> str:
        """As messages call it."""
        return self.origin.partition("://")[2]

    def __repr__(self) -> str:
        return f"Site({self.origin!r})"  # the token is to stand in no traceback


def site(
    api: str | None = None, *, home: str | None = None, token_file: str | None = None, environment: Mapping[str, str] | None = None
) -> Site:
    """The Civitai that is meant: what is given, then the environment, then civitai.com. BadParameter, BadToken, AddressRefused."""
    env = os.environ if environment is None else environment
    private = flag(env.get(PRIVATE, ""))
    origin = origin_of(api or env.get(URL) or DEFAULT)
    check_url(origin, private=private)
    return Site(origin=origin, token=token_of(env, home, token_file), private=private)


def flag(text: str) -> bool:
    """A yes or no of the environment."""
    if text.strip().lower() not in (*YES, *NO):
        raise BadParameter(PRIVATE, text, "1 or 0")
    return text.strip().lower() in YES


def origin_of(text: str) -> str:
    """`https://civitai.com` out of what somebody typed; BadParameter for what is more, or less."""
    try:
        url = httpx.URL(text.strip() if "://" in text else f"https://{text.strip()}")
    except (httpx.InvalidURL, TypeError) as exc:
        raise BadParameter("api", text, "an address such as https://civitai.com") from exc
    if not url.host or url.path not in ("", "/") or url.query or url.userinfo:
        raise BadParameter("api", text, "the address without a path, such as https://civitai.com")
    return same(url)


def same(url: httpx.URL) -> str:
    """Scheme, host and port of an address, by which it is decided who may see the token."""
    host = f"[{url.host}]" if ":" in url.host else url.host
    return f"{url.scheme}://{host}" + (f":{url.port}" if url.port is not None else "")


def token_of(env: Mapping[str, str], home: str | None, path: str | None) -> str | None:
    """The token of the environment, or of a file that nobody else can read."""
    given = env.get(TOKEN, "").strip()
    if not given:
        own = path or (os.path.join(home, TOKEN_FILE) if home else None)
        given = in_file(own, must_exist=path is not None) if own else ""
    if given and not re.fullmatch(r"[!-~]{1,512}", given):
        raise BadToken("The token for Civitai has spaces or characters that no token has.")
    return given or None


def in_file(path: str, *, must_exist: bool) -> str:
    """What a file of its owner's holds."""
    try:
        with open(path, "rb") as file:
            if os.name != "nt" and stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                raise BadToken(f"Others can read the token in {path}; run: chmod 600 {path}")
            return file.read(TOKEN_BYTES).decode("ascii", "replace").strip()
    except FileNotFoundError:
        if must_exist:
            raise BadToken(f"There is no token file {path}.") from None
        return ""
    except OSError as exc:
        raise BadToken(f"The token file {path} cannot be read: {exc.strerror or exc}.") from exc


def check_url(given: httpx.URL | str, *, private: bool) -> httpx.URL:
    """An address that may be asked, as far as it can be told without asking for its name; AddressRefused."""
    try:
        url = httpx.URL(given)
    except (httpx.InvalidURL, TypeError, ValueError) as exc:
        raise AddressRefused(shown(given), "it is no address") from exc
    if url.scheme != "https" and not (private and url.scheme == "http"):
        raise AddressRefused(shown(url), "it is not https")
    if not url.host or url.userinfo:
        raise AddressRefused(shown(url), "it has no host, or a password in it")
    return url


def shown(url: httpx.URL | str) -> str:
    """An address for messages, without its query, in which signatures and tokens stand, and without a password."""
    scheme, slashes, rest = str(url).partition("?")[0].partition("#")[0].partition("//")
    host, slash, path = rest.partition("/")
    return f"{scheme}{slashes}{host.rpartition('@')[2]}{slash}{path}"


def resolved(host: str, port: int) -> list[str]:
    """The addresses of a name, as the system gives them."""
    return list(dict.fromkeys(str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))


def inner(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for, where it does."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None) or address


def refusal(text: str, port: int, *, private: bool, ports: frozenset[int]) -> str:
    """Why an address is not asked; "" where it may be."""
    try:
        address = inner(ipaddress.ip_address(text.partition("%")[0]))
    except ValueError:
        return "it is no address"
    if address.is_link_local or address.is_multicast or address.is_unspecified:
        return "it is link-local or no single machine's"
    if address.is_global and (address.version == 4 or address in UNICAST):
        return "" if port in ports else f"port {port} is not that of https"
    return "" if private and (address.is_private or address.is_loopback) else "it is of a private network"


class Guarded(httpcore.SyncBackend):
    """Connections to addresses that may be asked: a name is looked up once, and what was looked at is what is connected to."""

    def __init__(self, site: Site, resolve: Resolve = resolved) -> None:
        port = httpx.URL(site.origin).port
        self._private, self._resolve = site.private, resolve
        self._ports = frozenset({HTTPS} if port is None else {HTTPS, port})

    def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, local_address: str | None = None, socket_options: object = None
    ) -> httpcore.NetworkStream:
        try:
            found = list(self._resolve(host, port))
        except (OSError, UnicodeError) as exc:  # the latter for a name that none may have
            raise httpcore.ConnectError(f"the name {host} is not known ({getattr(exc, 'strerror', None) or exc})") from exc
        reasons = {address: refusal(address, port, private=self._private, ports=self._ports) for address in found}
        allowed = [address for address, why in reasons.items() if not why]
        if not allowed:
            raise AddressRefused(host, next(iter(reasons.values()), "its name has no address"))
        for address in allowed[:-1]:
            try:
                return super().connect_tcp(address, port, timeout, local_address, socket_options)  # type: ignore[arg-type]  # as given
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return super().connect_tcp(allowed[-1], port, timeout, local_address, socket_options)  # type: ignore[arg-type]  # as given


def transport(site: Site, resolve: Resolve = resolved) -> httpx.HTTPTransport:
    """Connections for httpx that keep to it. No proxy of the environment is used, for it would look the names up itself."""
    made = httpx.HTTPTransport(limits=httpx.Limits(max_connections=64, max_keepalive_connections=32), retries=0)
    made._pool._network_backend = Guarded(site, resolve)  # httpx has no argument for it; tests see that it works
    return made
