"""`embconv keys`: made once, shown once, listed without secrets, ended; here and through a server alike."""

from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Said

Run = Callable[..., Said]


def test_a_key_is_on_the_last_line_and_nowhere_else(folder: Path, embconv: Run, place: str, home: Path) -> None:
    said = embconv("keys", "create", "uploader", "--role", "write", "--expires", "90d")
    assert said.code == 0
    (secret,) = said.lines
    assert secret.startswith("embconv_")
    assert "write" in said.err
    assert all(secret.encode() not in path.read_bytes() for path in home.rglob("*") if path.is_file())
    listed = embconv("keys", "list")
    assert secret not in listed.out
    assert listed.lines[0].split()[:2] == ["uploader", "write"]
    assert listed.lines[0].endswith("good")


def test_keys_as_json(folder: Path, embconv: Run, place: str) -> None:
    made = embconv("keys", "create", "reader", "--role", "read", "--json").document
    assert (made["key"]["name"], made["key"]["expires"]) == ("reader", None)
    assert made["secret"].startswith("embconv_")
    assert [key["name"] for key in embconv("keys", "list", "--json").document["keys"]] == ["reader"]
    assert [key["role"] for key in embconv("keys", "list", "--nl").documents] == ["read"]


def test_a_revoked_key_stays_in_the_list(folder: Path, embconv: Run, place: str) -> None:
    embconv("keys", "create", "old", "--role", "read")
    assert embconv("keys", "revoke", "old").lines == ["revoked: old"]
    assert embconv("keys", "list").lines[0].endswith("revoked")
    assert embconv("keys", "list", "-q").out == ""
    said = embconv("keys", "revoke", "nobody")
    assert said.code == 1
    assert "[unknown_key]" in said.err


def test_a_name_is_taken_once(folder: Path, embconv: Run, place: str) -> None:
    embconv("keys", "create", "one", "--role", "read")
    said = embconv("keys", "create", "one", "--role", "read")
    assert said.code == 1
    assert "[key_exists]" in said.err


@pytest.mark.parametrize(
    "arguments", [["a b", "--role", "read"], ["x", "--role", "king"], ["x"], ["x", "--role", "read", "--expires", "soon"]], ids=" ".join
)
def test_what_means_nothing_is_a_usage_error(folder: Path, embconv: Run, arguments: list[str]) -> None:
    assert embconv("keys", "create", *arguments).code == 2


def test_no_key_yet_says_how_one_is_made(samples: Path, embconv: Run, place: str) -> None:
    embconv("add", "moonpaper.pt")
    said = embconv("keys", "list")
    assert said.out == ""
    assert "embconv keys create NAME" in said.err
