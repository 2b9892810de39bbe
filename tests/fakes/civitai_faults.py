"""What can go wrong with the fake Civitai, as switches that a test turns while it runs; and what it was asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, unquote

from msgspec import Struct, field, json


class Seen(Struct, frozen=True):
    """One request, as it came in."""

    host: str  # "api" or "storage"
    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]  # names in lower case
    body: bytes = b""

    def one(self, name: str) -> str | None:
        return self.query.get(name, [None])[0]  # type: ignore[list-item]

    @property
    def token(self) -> str | None:
        """The header wins, whatever its scheme: contract 1.0."""
        if "authorization" in self.headers:
            return [*self.headers["authorization"].split(" "), ""][1]
        return self.one("token")

    @property
    def browser(self) -> bool:
        agent = self.headers.get("user-agent", "").lower()
        return any(word in agent for word in ("mozilla", "chrome", "safari", "firefox", "opera", "edge"))


def seen_of(scope: Any, host: str, body: bytes = b"") -> Seen:
    """The request of an ASGI scope; parameters keep their order."""
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    path = unquote(scope.get("raw_path", scope["path"].encode()).decode("latin-1").partition("?")[0])
    return Seen(host, scope["method"], path, query, headers, body)


class Reply(Struct, frozen=True):
    """What goes back; a body that is no bytes is sent as JSON."""

    status: int = 200
    body: Any = b""
    headers: dict[str, str] = {}
    media: str = "application/json; charset=utf-8"

    def data(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.encode(self.body)


def error(status: int, text: Any, **headers: str) -> Reply:
    """The commonest of the contract's bodies for an error."""
    return Reply(status, {"error": text}, {name.replace("_", "-"): value for name, value in headers.items()})


def html(status: int, text: str, headers: dict[str, str] | None = None) -> Reply:
    page = f"<!DOCTYPE html><html><head><title>{text}</title></head><body><h1>{text}</h1></body></html>"
    return Reply(status, page.encode(), headers or {}, "text/html; charset=utf-8")


class Log:
    """Every request that came in, oldest first."""

    def __init__(self) -> None:
        self.requests: list[Seen] = []

    def of(self, path: str = "", host: str | None = None) -> list[Seen]:
        return [seen for seen in list(self.requests) if path in seen.path and host in {None, seen.host}]

    def count(self, path: str = "", host: str | None = None) -> int:
        return len(self.of(path, host))

    def with_token(self, host: str | None = None) -> list[Seen]:
        return [seen for seen in self.of(host=host) if "authorization" in seen.headers or "token" in seen.query]

    def clear(self) -> None:
        self.requests.clear()


Switch = bool | int | Callable[[Seen], bool]


def always(path: str = "") -> Callable[[Seen], bool]:
    """Each request whose path has this in it."""
    return lambda seen: path in seen.path


def first(times: int, path: str = "", *, each: bool = False) -> Callable[[Seen], bool]:
    """The first requests whose path has this in it; with `each`, of every path and query anew."""
    return after(0, path, times=times, each=each)


def after(skipped: int, path: str = "", *, times: int | None = None, each: bool = False) -> Callable[[Seen], bool]:
    """Let this many through, then fire: for ever, or so many times."""
    counts: dict[str, int] = {}

    def fires(seen: Seen) -> bool:
        if path not in seen.path:
            return False
        key = f"{seen.host}{seen.path}{seen.query}" if each else ""
        counts[key] = counts.get(key, 0) + 1
        return skipped < counts[key] and (times is None or counts[key] <= skipped + times)

    return fires


class Account(Struct, frozen=True):
    """Who a token belongs to, and which versions in early access they bought."""

    username: str = "sample_user"
    id: int = 7
    bought: frozenset[int] = frozenset()
    status: str = "active"


class Faults(Struct):
    """Switches, all off. A Switch is True, a number (the next so many), or `always()`, `first()`, `after()` or any `Seen -> bool`."""

    # any path of the API
    html_503: Switch = False
    html_status: int = 503  # what html_503 answers: 502, 520 .. too
    html_403: Switch = False
    html_404: Switch = False
    maintenance_text_200: Switch = False
    rate_429: Switch = False
    retry_after: str | None = None  # sent with rate_429 and json_503
    json_503: Switch = False
    error_500: Switch = False
    region_451: Switch = False
    api_slow: Switch = False
    api_seconds: float = 0.2
    api_invalid_json: Switch = False
    api_cut: Switch = False  # half of the right body, as a whole answer
    api_drops: Switch = False  # half of the right body, then the connection closes
    api_gzip_bomb: Switch = False
    bomb_bytes: int = 256 << 20  # what a bomb unpacks to
    api_huge: Switch = False
    huge_bytes: int = 64 << 20
    # the list
    search_503: Switch = False
    page_short: Switch = False
    page_empty_with_cursor: Switch = False
    cursor_stuck: Switch = False
    cursor_number: Switch = False
    cursor_endless: Switch = False
    next_page_other_host: Switch = False
    other_host: str = "https://elsewhere.invalid"
    commercial_use_form: str | None = None  # list, string, literal, null or alternate; None: as each model says
    omitted: set[int] = field(default_factory=set)
    omitted_from_ids: set[int] = field(default_factory=set)
    missing_by_id: set[int] = field(default_factory=set)
    vanished: set[int] = field(default_factory=set)
    # hashes, links, accounts
    by_hash_sticky_404: bool = False
    canonical_url: str | None = None  # the origin of links in /models/{id}; None: the API itself
    tokens: dict[str, Account] = field(default_factory=lambda: {"good": Account()})
    site_login: bool = False
    # downloads, at the API
    forbidden_403: Switch = False
    download_counter_429: Switch = False
    download_404: Switch = False
    download_500: Switch = False
    redirect_to: str | Callable[[str], str] | None = None
    redirect_loop: Switch = False
    redirect_to_private: Switch = False
    private_location: str = "http://169.254.169.254/latest/meta-data/"
    redirect_to_login: Switch = False
    redirect_hops: int = 0
    signature_seconds: float = 86400
    # the second host
    storage_html_200: Switch = False
    storage_500: Switch = False
    storage_404: Switch = False
    storage_expired: Switch = False
    storage_expired_after: int | None = None  # each signature is good for so many requests
    storage_truncates: Switch = False
    storage_truncate_at: int = 1000
    storage_drops: Switch = False
    storage_drop_at: int = 1000
    storage_ignores_range: Switch = False
    storage_416: Switch = False
    storage_gzip_bomb: Switch = False
    storage_gzipped: Switch = False  # the right bytes, packed though nobody asked
    storage_wrong_bytes: Switch = False
    storage_bigger_than_said: Switch = False
    extra_bytes: int = 1 << 20
    storage_no_length: Switch = False
    storage_endless: Switch = False
    storage_new_etag: Switch = False
    storage_no_disposition: Switch = False
    storage_slow: Switch = False
    storage_seconds: float = 0.05  # the pause before each piece of a slow answer
    storage_piece: int = 1024

    def fires(self, name: str, seen: Seen) -> bool:
        """Whether this switch is on for this request; a number counts down."""
        switch = getattr(self, name)
        if switch is False:
            return False
        if isinstance(switch, bool):
            return True
        if isinstance(switch, int):
            setattr(self, name, max(switch - 1, 0))
            return switch > 0
        return bool(switch(seen))
