"""How a registry is run."""

import os
from pathlib import Path

import pytest

from embconv.registry.errors import BadParameter
from embconv.registry.settings import GIB, MIB, settings


def test_the_defaults_are_a_local_registry() -> None:
    found = settings(environment={})
    assert (found.host, found.port, found.workers, found.private, found.max_upload) == ("127.0.0.1", 8765, 1, False, 64 * MIB)
    assert found.home.endswith("embconv")


def test_flags_come_before_the_environment_and_that_before_the_defaults(tmp_path: Path) -> None:
    environment = {"EMBCONV_HOME": str(tmp_path / "a"), "EMBCONV_PORT": "9000", "EMBCONV_HOST": "0.0.0.0"}
    found = settings(environment=environment, home=str(tmp_path / "b"), host=None)
    assert (found.home, found.port, found.host) == (str(tmp_path / "b"), 9000, "0.0.0.0")


def test_an_empty_home_is_none() -> None:
    assert settings(environment={"EMBCONV_HOME": ""}).home == settings(environment={}).home


def test_home_is_absolute_and_knows_the_tilde() -> None:
    assert settings(environment={}, home="here").home == os.path.abspath("here")
    assert settings(environment={}, home="~/embs").home == os.path.expanduser("~/embs")


@pytest.mark.parametrize(
    ("name", "text", "field", "value"),
    [
        ("MAX_UPLOAD", "4096", "max_upload", 4096),
        ("MAX_UPLOAD", "2MiB", "max_upload", 2 * MIB),
        ("CACHE_BYTES", "3 g", "cache_bytes", 3 * GIB),
        ("PRIVATE", "yes", "private", True),
        ("PRIVATE", "0", "private", False),
        ("ALLOWED_HOSTS", "a.example, b.example", "allowed_hosts", ("a.example", "b.example")),
        ("WORKERS", "4", "workers", 4),
        ("LOG_LEVEL", "DEBUG", "log_level", "debug"),
        ("BUSY_SECONDS", "2.5", "busy_seconds", 2.5),
    ],
)
def test_the_environment_is_read(name: str, text: str, field: str, value: object) -> None:
    assert getattr(settings(environment={f"EMBCONV_{name}": text}), field) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [("PORT", "http"), ("PORT", "70000"), ("PORT", "-1"), ("WORKERS", "0"), ("MAX_UPLOAD", "many"), ("MAX_UPLOAD", "1 parsec"),
     ("PRIVATE", "perhaps"), ("LOG_LEVEL", "loud"), ("BUSY_SECONDS", "soon")],
)  # fmt: skip
def test_what_means_nothing_is_refused(name: str, text: str) -> None:
    with pytest.raises(BadParameter):
        settings(environment={f"EMBCONV_{name}": text})


def test_a_setting_that_nothing_reads_is_a_mistake() -> None:
    with pytest.raises(TypeError, match="prot"):
        settings(environment={}, prot=1)
