"""How a registry is run: flags before the environment (EMBCONV_HOME, EMBCONV_PORT ...) before defaults."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from .errors import BadParameter

MIB, GIB = 1 << 20, 1 << 30
LOG_LEVELS = ("debug", "info", "warning", "error")
PREFIX = "EMBCONV_"
UNITS = {"": 1, "b": 1, "k": 1 << 10, "kb": 1 << 10, "kib": 1 << 10, "m": MIB, "mb": MIB, "mib": MIB, "g": GIB, "gb": GIB, "gib": GIB}
SHARE = r"(100(\.0{1,6})?|[0-9]{1,2}(\.[0-9]{1,6})?)%|0(\.[0-9]{1,6})?|1(\.0{1,6})?"
YES, NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")


class Settings(Struct, frozen=True, kw_only=True):
    """One registry: where its data lies, how it is reached, and what it takes."""

    home: str
    host: str = "127.0.0.1"
    port: int = 8765
    workers: int = 1
    private: bool = False                   # reading needs a key too
    allowed_hosts: tuple[str, ...] = ()     # names beside localhost by which it may be called
    max_upload: int = 64 * MIB              # bytes of one file
    cache_bytes: int = GIB                  # of converted forms
    log_level: str = "info"
    busy_seconds: float = 10.0              # how long a writer waits for the others


def settings(*, environment: Mapping[str, str] | None = None, **given: Any) -> Settings:
    """The settings: what is `given` and not None, then EMBCONV_<NAME>, then the defaults."""
    env = os.environ if environment is None else environment
    unknown = given.keys() - READERS.keys()
    if unknown:
        raise TypeError(f"no such setting: {', '.join(sorted(unknown))}")
    told = {name: read(f"{PREFIX}{name.upper()}", env[f"{PREFIX}{name.upper()}"]) for name, read in READERS.items()
            if f"{PREFIX}{name.upper()}" in env}  # fmt: skip
    chosen: dict[str, Any] = {**told, **{name: value for name, value in given.items() if value is not None}}
    home = chosen.pop("home", None) or default_home()
    made = Settings(home=os.path.abspath(os.path.expanduser(home)), **chosen)
    _within("port", made.port, 0, 65_535)
    _within("workers", made.workers, 1, 256)
    return made


def default_home() -> str:
    """Where this system keeps a program's data."""
    from platformdirs import user_data_dir

    return user_data_dir("embconv", appauthor=False)


def size_of(name: str, text: str) -> int:
    """`64MiB`, `1g`, `4096` as bytes; a KB is 1,024 bytes."""
    match = re.fullmatch(r"\s*(\d{1,18})\s*([a-z]*)\s*", text.lower())
    if match is None or match[2] not in UNITS:
        raise BadParameter(name, text, "a number of bytes, such as 4096, 64MiB or 1g")
    return int(match[1]) * UNITS[match[2]]


def share_of(name: str, text: str) -> float:
    """`5%` or `0.05` as a share of all."""
    if not re.fullmatch(SHARE, text, re.ASCII):
        raise BadParameter(name, text, "a share, such as 5% or 0.05")
    return float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)


def _within(name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise BadParameter(name, str(value), f"from {least} to {most}")


def _text(name: str, value: str) -> str | None:  # as the other readers
    return value or None


def _number(name: str, value: str) -> int:
    if not re.fullmatch(r"\d{1,9}", value.strip()):
        raise BadParameter(name, value, "a whole number")
    return int(value)


def _seconds(name: str, value: str) -> float:
    if not re.fullmatch(r"\d{1,6}(\.\d{1,6})?", value.strip()):
        raise BadParameter(name, value, "a number of seconds")
    return float(value)


def _flag(name: str, value: str) -> bool:
    if value.strip().lower() not in (*YES, *NO):
        raise BadParameter(name, value, "yes or no", (*YES[:3], *NO[:3]))
    return value.strip().lower() in YES


def _words(name: str, value: str) -> tuple[str, ...]:  # as the other readers
    return tuple(word for word in re.split(r"[\s,]+", value) if word)


def _level(name: str, value: str) -> str:
    if value.strip().lower() not in LOG_LEVELS:
        raise BadParameter(name, value, "a log level", LOG_LEVELS)
    return value.strip().lower()


READERS = {
    "home": _text,
    "host": lambda name, value: value or "127.0.0.1",
    "port": _number,
    "workers": _number,
    "private": _flag,
    "allowed_hosts": _words,
    "max_upload": size_of,
    "cache_bytes": size_of,
    "log_level": _level,
    "busy_seconds": _seconds,
}
