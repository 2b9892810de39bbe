"""Moments as text: UTC, ISO 8601, to the millisecond, so that they sort as they follow each other."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


def now(seconds: float = 0.0) -> str:
    """The present moment, or one so many seconds after it: 2026-11-26T12:34:56.789Z."""
    return stamp(datetime.now(UTC) + timedelta(seconds=seconds))


def stamp(moment: datetime) -> str:
    """A moment as text."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
