"""What can be said of vectors alone, before anything is computed with them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from embconv.converters import ENCODERS, Finding
from embconv.converters.encoders import BASES, fits, needs

from .tokens import MOST

if TYPE_CHECKING:
    from .parts import Floats, Subject

Said = tuple[list[Finding], dict[str, Any], str | None]


def static(subject: Subject, base: str) -> Said:
    """Findings, numbers, and the state where the vectors alone settle it for a checkpoint of `base`: broken, incompatible or no_effect."""
    numbers: dict[str, Any] = {"vectors": {key: len(rows) for key, rows in subject.vectors.items()}}
    for state, rule in SETTLING:
        found = list(rule(subject, base))
        if found:
            return found, numbers, state
    numbers["norms"] = {key: lengths(rows) for key, rows in subject.vectors.items()}
    return [each for rule in REMARKS for each in rule(subject, base)], numbers, None


def lengths(rows: Floats) -> dict[str, float]:
    """Least, mean and greatest Euclidean length."""
    found = np.linalg.norm(rows.astype(np.float64), axis=1)
    return {"min": float(found.min()), "mean": float(found.mean()), "max": float(found.max())}


# what settles it


def finite(subject: Subject, base: str) -> Iterator[Finding]:
    """Every number is a number."""
    for key, rows in subject.vectors.items():
        bad = int((~np.isfinite(rows)).any(axis=1).sum()) if rows.size else 0
        if bad:
            yield Finding("finite", "error", key, f"{bad} of its {len(rows)} vectors for {key} hold NaN or infinity.")


def fitting(subject: Subject, base: str) -> Iterator[Finding]:
    """The widths are those of the checkpoint's text encoders."""
    given = ", ".join(f"{key} {rows.shape[-1] if rows.ndim else 0}" for key, rows in sorted(subject.vectors.items())) or "no vectors"
    wanted = {key: ENCODERS[key].width for key in BASES[base].encoders}
    alike = all(rows.ndim == 2 and wanted.get(key) == rows.shape[1] for key, rows in subject.vectors.items())
    halved = subject.base == base and bool(subject.vectors) and set(subject.vectors) <= set(wanted)
    if not (alike and (halved or fits(base, set(subject.vectors)))):
        yield Finding("base", "error", "vectors", f"It has {given}; {BASES[base].title} wants {needs(base)}.")


def short(subject: Subject, base: str) -> Iterator[Finding]:
    """A prompt has room for it."""
    for key, rows in subject.vectors.items():
        if len(rows) > MOST:
            yield Finding("too_long", "error", key, f"It has {len(rows)} vectors; a prompt has room for {MOST}, and programs cut it off.")


def trained(subject: Subject, base: str) -> Iterator[Finding]:
    """It is not all zero, or nothing at all."""
    if not any(rows.any() for rows in subject.vectors.values()):
        yield Finding("zero", "error", "vectors", "All its vectors are zero: nothing was learned.")


SETTLING = (
    ("broken", finite),
    ("incompatible", fitting),
    ("incompatible", short),
    ("no_effect", trained),
)


# what there is to remark


def whole(subject: Subject, base: str) -> Iterator[Finding]:
    """There are vectors for every encoder."""
    for key in BASES[base].encoders:
        if key not in subject.vectors and key not in BASES[base].optional:
            yield Finding("half", "warning", key, f"It has no vectors for {key}: only the other encoder hears it, and A1111 ignores it.")


def zeros(subject: Subject, base: str) -> Iterator[Finding]:
    """No single vector is zero."""
    for key, rows in subject.vectors.items():
        empty = int((~rows.any(axis=1)).sum())
        if empty:
            yield Finding("zero", "warning", key, f"{empty} of its {len(rows)} vectors for {key} are zero.")


def repeated(subject: Subject, base: str) -> Iterator[Finding]:
    """No vector stands there twice."""
    for key, rows in subject.vectors.items():
        again = len(rows) - len({row.tobytes() for row in rows})
        if again:
            yield Finding("repeated", "warning", key, f"{again} of its {len(rows)} vectors for {key} stand there more than once.")


REMARKS = (whole, zeros, repeated)
