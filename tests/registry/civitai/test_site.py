"""Which addresses are asked, by which name, and where a token comes from."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import httpcore
import httpx
import pytest

from embconv.registry.civitai.client import Client
from embconv.registry.civitai.errors import AddressRefused, BadToken, CivitaiUnreachable
from embconv.registry.civitai.site import HTTPS, Site, check_url, origin_of, refusal, resolved, same, shown, site
from embconv.registry.errors import BadParameter

PUBLIC = "93.184.215.14"
ONLY_HTTPS = frozenset({HTTPS})

PRIVATE = (
    "127.0.0.1", "127.255.255.254", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "::1", "fd00::1", "fc00::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:7f00:1",                      # IPv4-mapped
    "64:ff9b::7f00:1", "64:ff9b::10.0.0.1",                                      # NAT64
    "2002:7f00:1::", "2002:0a00:0001::1",                                        # 6to4
    "2001:0:4136:e378:8000:63bf:80ff:fffe",                                      # Teredo, of 127.0.0.1
)  # fmt: skip
NOBODYS = (
    "::127.0.0.1", "::ffff:0:7f00:1", "64:ff9b:1::7f00:1", "fec0::1", "5f00::1",  # what Python calls global, and is not
    "240.0.0.1", "255.255.255.255", "100.64.0.1", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "100::1",
)  # fmt: skip
NEVER = (
    "169.254.169.254", "169.254.0.1", "fe80::1", "fe80::1%eth0", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::",
    "0.0.0.0", "::", "224.0.0.1", "239.1.1.1", "ff02::1", "ff0e::1", "::ffff:0.0.0.0",
)  # fmt: skip
GLOBAL = (PUBLIC, "1.1.1.1", "8.8.8.8", "2606:4700:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101", "2002:101:101::1")


@pytest.mark.parametrize("address", [*PRIVATE, *NOBODYS, *NEVER, "localhost", "", "1.1.1", "0x7f000001", "127.1"])
def test_nothing_but_a_public_address_is_asked(address: str) -> None:
    assert refusal(address, HTTPS, private=False, ports=ONLY_HTTPS)


@pytest.mark.parametrize("address", GLOBAL)
def test_a_public_address_is_asked_at_the_port_of_https_alone(address: str) -> None:
    assert refusal(address, HTTPS, private=False, ports=ONLY_HTTPS) == ""
    for port in (80, 22, 8443, 6379):
        assert refusal(address, port, private=False, ports=ONLY_HTTPS)
        assert refusal(address, port, private=True, ports=ONLY_HTTPS)


@pytest.mark.parametrize("address", PRIVATE)
def test_with_private_ones_own_network_is_asked_at_any_port(address: str) -> None:
    assert refusal(address, 8000, private=True, ports=ONLY_HTTPS) == ""


@pytest.mark.parametrize("address", NEVER)
def test_link_local_stays_refused_in_every_form(address: str) -> None:
    assert "link-local" in refusal(address, HTTPS, private=True, ports=ONLY_HTTPS)


@pytest.mark.parametrize(
    "url",
    ["http://civitai.com/x", "ftp://civitai.com/x", "file:///etc/passwd", "gopher://civitai.com", "//civitai.com/x", "/etc/passwd", "", "https://",
     "https://user@civitai.com/", "https://user:secret@civitai.com/", "https://:secret@civitai.com/", "data:text/plain,x", "https://[::1"],
)  # fmt: skip
def test_an_address_that_is_not_plain_https_is_refused(url: str) -> None:
    with pytest.raises(AddressRefused) as refused:
        check_url(url, private=False)
    assert "secret" not in str(refused.value)
    assert refused.value.hint


def test_with_private_plain_http_is_asked() -> None:
    assert check_url("http://127.0.0.1:8000/x", private=True).host == "127.0.0.1"
    for url in ("ftp://127.0.0.1/", "http://user:secret@127.0.0.1/"):
        with pytest.raises(AddressRefused):
            check_url(url, private=True)


@pytest.mark.parametrize(
    ("typed", "origin"),
    [("https://civitai.com", "https://civitai.com"), ("civitai.red", "https://civitai.red"), (" https://civitai.com/ ", "https://civitai.com"),
     ("https://Civitai.COM:443", "https://civitai.com"), ("https://mirror.example:8443", "https://mirror.example:8443"),
     ("http://127.0.0.1:80", "http://127.0.0.1"), ("http://[::1]:8000", "http://[::1]:8000")],
)  # fmt: skip
def test_an_origin_is_scheme_host_and_port(typed: str, origin: str) -> None:
    assert origin_of(typed) == origin


@pytest.mark.parametrize("typed", ["https://civitai.com/api/v1", "https://civitai.com?x=1", "https://user@civitai.com", "https://", "http://[::1"])
def test_what_is_more_or_less_than_an_origin_is_refused(typed: str) -> None:
    with pytest.raises(BadParameter):
        origin_of(typed)


@pytest.mark.parametrize(
    "other",
    ["http://civitai.com", "https://civitai.com:8443", "https://www.civitai.com", "https://civitai.com.evil.example", "https://civitai.red", "https://civitai.com.",
     "https://evil-civitai.com"],
)  # fmt: skip
def test_only_the_very_origin_is_the_same(other: str) -> None:
    assert same(httpx.URL(other)) != "https://civitai.com"
    assert same(httpx.URL("https://CIVITAI.com:443/x?y")) == "https://civitai.com"


def test_an_address_is_shown_without_its_query() -> None:
    assert shown("https://r2.example/file?X-Amz-Signature=abc#frag") == "https://r2.example/file"
    assert shown("https://user:secret@r2.example/a@b//c") == "https://r2.example/a@b//c"
    assert shown("no address") == "no address"


# who is meant


def test_what_is_given_comes_before_the_environment_and_that_before_civitai() -> None:
    env = {"EMBCONV_CIVITAI_URL": "https://from.example"}
    assert site("https://given.example", environment=env).origin == "https://given.example"
    assert site(environment=env).origin == "https://from.example"
    assert site(environment={}).origin == "https://civitai.com"


def test_a_server_of_ones_own_needs_a_yes() -> None:
    with pytest.raises(AddressRefused, match="https"):
        site("http://127.0.0.1:8000", environment={})
    assert site("http://127.0.0.1:8000", environment={"EMBCONV_ALLOW_PRIVATE": "1"}).private
    with pytest.raises(BadParameter):
        site(environment={"EMBCONV_ALLOW_PRIVATE": "perhaps"})


# the token


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "civitai.token"
    made.write_text("from-file\n")
    made.chmod(0o600)
    return made


def test_the_environment_has_the_token_before_the_file(file: Path) -> None:
    home = os.fspath(file.parent)
    assert site(environment={"EMBCONV_CIVITAI_TOKEN": " from-env "}, home=home).token == "from-env"
    assert site(environment={}, home=home).token == "from-file"
    assert site(environment={}, token_file=os.fspath(file)).token == "from-file"
    assert site(environment={}).token is None


@pytest.mark.skipif(os.name == "nt", reason="modes are of POSIX")
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o666, 0o620])
def test_a_token_that_others_can_read_is_refused(file: Path, mode: int) -> None:
    file.chmod(mode)
    with pytest.raises(BadToken, match="chmod 600") as refused:
        site(environment={}, home=os.fspath(file.parent))
    assert "from-file" not in str(refused.value)


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_token_that_only_its_owner_can_read_is_taken(file: Path, mode: int) -> None:
    file.chmod(mode)
    assert site(environment={}, token_file=os.fspath(file)).token == "from-file"


def test_a_token_file_that_is_named_must_be_there_and_the_usual_one_need_not(tmp_path: Path) -> None:
    assert site(environment={}, home=os.fspath(tmp_path)).token is None
    with pytest.raises(BadToken, match="no token file"):
        site(environment={}, token_file=os.fspath(tmp_path / "none"))
    with pytest.raises(BadToken, match="cannot be read"):
        site(environment={}, token_file=os.fspath(tmp_path))


def test_an_empty_token_file_is_no_token(file: Path) -> None:
    file.write_text("\n")
    assert site(environment={}, token_file=os.fspath(file)).token is None


@pytest.mark.parametrize("token", ["two words", "line\nbreak", "café", "x" * 513, "tab\there", "nul\0"])
def test_what_no_token_can_be_is_refused_without_repeating_it(token: str) -> None:
    with pytest.raises(BadToken) as refused:
        site(environment={"EMBCONV_CIVITAI_TOKEN": token})
    assert token not in str(refused.value)


def test_a_token_stands_in_no_repr() -> None:
    assert "s3cret" not in repr(Site(token="s3cret"))


# names


class Dialled(Exception):
    """Carries which address was connected to."""


@pytest.fixture
def dialled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Connections that are not made: the addresses they would have gone to."""
    found: list[str] = []

    def connect(self: Any, host: str, port: int, *_: Any) -> httpcore.NetworkStream:
        found.append(host)
        raise httpcore.ConnectError("not here")

    monkeypatch.setattr(httpcore.SyncBackend, "connect_tcp", connect)
    return found


def asks(resolve: Any, *, where: Site | None = None, url: str = "https://civitai.com/x") -> None:
    with Client(where or Site(), rate=0, resolve=resolve) as client, client.streaming("GET", url, headers={}):
        pass


def test_what_was_looked_at_is_what_is_connected_to(dialled: list[str]) -> None:
    """DNS that answers another the next time gains nothing: it is asked once."""
    answers = iter([[PUBLIC], ["127.0.0.1"]])
    with pytest.raises(CivitaiUnreachable):
        asks(lambda host, port: next(answers))
    assert dialled == [PUBLIC]


def test_a_name_that_flips_to_a_private_address_is_refused_at_the_next_connection(dialled: list[str]) -> None:
    answers = iter([[PUBLIC], ["127.0.0.1"], ["169.254.169.254"], ["::ffff:10.0.0.1"]])
    with Client(Site(), rate=0, resolve=lambda host, port: next(answers)) as client:
        with pytest.raises(CivitaiUnreachable), client.streaming("GET", "https://civitai.com/x", headers={}):
            pass
        for _ in range(3):
            with pytest.raises(AddressRefused), client.streaming("GET", "https://civitai.com/x", headers={}):
                pass
    assert dialled == [PUBLIC]


def test_of_several_addresses_only_the_public_ones_are_tried(dialled: list[str]) -> None:
    with pytest.raises(CivitaiUnreachable):
        asks(lambda host, port: ["127.0.0.1", PUBLIC, "10.0.0.1", "1.1.1.1"])
    assert dialled == [PUBLIC, "1.1.1.1"]


@pytest.mark.parametrize("found", [[], ["127.0.0.1"], ["::1", "10.0.0.1"], ["rubbish"]])
def test_a_name_without_a_public_address_is_refused(found: list[str], dialled: list[str]) -> None:
    with pytest.raises(AddressRefused):
        asks(lambda host, port: found)
    assert dialled == []


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "169.254.169.254", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]"])
def test_an_address_in_place_of_a_name_is_looked_at_too(host: str, dialled: list[str]) -> None:
    with pytest.raises((AddressRefused, CivitaiUnreachable)):
        asks(resolved, url=f"https://{host}/x")
    assert dialled == []


def test_link_local_is_refused_with_private_too(dialled: list[str]) -> None:
    with pytest.raises(AddressRefused, match="link-local"):
        asks(lambda host, port: ["169.254.169.254"], where=Site(origin="http://127.0.0.1:8000", private=True), url="http://metadata/latest")
    assert dialled == []


def test_a_port_is_that_of_https_or_of_the_site(dialled: list[str]) -> None:
    public = lambda host, port: [PUBLIC]  # noqa: E731  # it is one
    with pytest.raises(AddressRefused, match="port 22"):
        asks(public, url="https://civitai.com:22/x")
    assert dialled == []
    with pytest.raises(CivitaiUnreachable):
        asks(public, where=Site(origin="https://mirror.example:8443"), url="https://mirror.example:8443/x")
    assert dialled == [PUBLIC]


@pytest.mark.parametrize("error", [socket.gaierror(-2, "Name or service not known"), UnicodeError("label too long"), OSError("no network")])
def test_a_name_that_nobody_knows_is_unreachable(error: Exception) -> None:
    def unknown(host: str, port: int) -> list[str]:
        raise error

    with pytest.raises(CivitaiUnreachable, match="not known"):
        asks(unknown)


def test_no_proxy_of_the_environment_looks_names_up_instead_of_us(dialled: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://203.0.113.9:3128")
    with pytest.raises(CivitaiUnreachable):
        asks(lambda host, port: [PUBLIC])
    assert dialled == [PUBLIC]
