"""What ordinary words do in an embedding's place, and how much two renders of one thing differ: the bars by which all is judged."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec.structs import replace

from .. import verdicts
from ..render_errors import DeviceFull, UnsoundCheckpoint
from ..times import now
from ..verdicts import Calibration, Protocol
from .bench import draw, look, predict, read, unsound
from .controls import counts_of
from .decide import SIDES
from .encoders import inner
from .engine import device_name_or_type, failures, is_out_of_memory
from .measure import percentiles, rounded
from .parts import Subject
from .trials import Bench, Tally, Trial

if TYPE_CHECKING:
    from .parts import Floats, Model

MEASURED = ("encoder", "reach", "probe", "latents", "pixels", "leaning")
WORD = re.compile(r"[a-z]{3,}</w>")  # a token that is a word by itself
DRAWN = 4       # one word in so many is rendered, the others are only probed
REPEATS = 3     # how often nothing is measured against itself
WINDOW = 64     # trials at a time
QUICK, QUICK_DRAWN = 16, 4  # words where nobody has calibrated


def calibrate(
    model: Model, protocol: Protocol, *, words: int = 200, heard: Callable[[int, int], None] | None = None, rows: int | None = None,
    compiled: bool = False,
) -> Calibration:  # fmt: skip
    """The calibration of a checkpoint for one way of measuring. UnsoundCheckpoint where it draws nothing by itself."""
    bench = Bench(model, protocol, rows, compiled, Tally(heard) if heard else Tally())
    return measured(bench, words, drawn=-(-words // DRAWN), seeds=protocol.seeds, sides=SIDES, leans=True)


def quick(bench: Bench, sides: Iterable[str]) -> Calibration:
    """One from a few words, made where there is none and kept with the model; its pictures are of the first seed alone."""
    kept = bench.model.kept
    made: list[Calibration] = []
    for side in sides:
        key = ("quick", verdicts.measure(bench.protocol), side)
        if key not in kept:
            kept[key] = measured(bench, QUICK, drawn=QUICK_DRAWN, seeds=bench.protocol.seeds[:1], sides=(side,), leans=False)
        made.append(kept[key])
    return replace(
        made[0],
        percentiles={name: found for each in made for name, found in each.percentiles.items()},
        noise={name: found for each in made for name, found in each.noise.items()},
    )


def measured(bench: Bench, words: int, *, drawn: int, seeds: tuple[int, ...], sides: tuple[str, ...], leans: bool) -> Calibration:
    """Random words, always the same, and nothing itself between them, through everything that an embedding goes through."""
    chosen = ordinary(bench.model, words)
    given = {word: vectors_of(bench.model, word) for word in chosen}
    nothing = bench.controls.nothing(counts_of(next(iter(given.values()))))
    spread = max(1, drawn // REPEATS)
    trials: list[Trial] = []
    for place, (word, vectors) in enumerate(given.items()):
        shown = seeds if place < drawn else ()
        if place % spread == 0 and place // spread < REPEATS:
            trials.append(trial_of(len(trials), "", nothing, sides, seeds))
        trials.append(trial_of(len(trials), word, vectors, sides, shown, leans=leans and "positive" in sides and bool(shown)))
    for first in range(0, len(trials), WINDOW):
        run(bench, trials[first : first + WINDOW])
    return Calibration(
        fingerprint=bench.model.checkpoint.fingerprint, protocol=verdicts.measure(bench.protocol), words=len(chosen), made=now(),
        percentiles={name: percentiles(values) for name, values in collected(trials, word=True).items()},
        noise={name: rounded(max(values)) for name, values in collected(trials, word=False).items() if not name.endswith("reach")},
    )  # fmt: skip


def run(bench: Bench, trials: Sequence[Trial]) -> None:
    """Measure some trials; where memory runs out, each half of them by itself."""
    device, told = bench.model.device, bench.protocol
    try:
        with failures(device):
            through(bench, trials)
    except (RuntimeError, MemoryError) as exc:
        if not is_out_of_memory(exc):
            raise
        if len(trials) == 1:
            raise DeviceFull(device_name_or_type(device), told.width, told.height) from exc
    else:
        return
    for half in (trials[: len(trials) // 2], trials[len(trials) // 2 :]):
        run(bench, half)


def through(bench: Bench, trials: Sequence[Trial]) -> None:
    """Put trials through all layers; what they took is let go, their numbers stay."""
    read(bench, trials)
    predict(bench, trials, attention=False)
    for trial in draw(bench, [trial for trial in trials if trial.seeds]):
        if why := unsound(bench, trial):
            raise UnsoundCheckpoint(bench.model.checkpoint.name, why)
        look(bench, trial)
    for trial in trials:
        trial.read, trial.shots = {}, {}


def trial_of(
    number: int, word: str, vectors: Mapping[str, Floats], sides: tuple[str, ...], seeds: tuple[int, ...], *, leans: bool = False
) -> Trial:
    """A word in an embedding's place, or nothing, which has no name."""
    return Trial(number, Subject(digest="", name=word, trigger=word, vectors=dict(vectors)), sides, seeds, leans)


def collected(trials: Iterable[Trial], *, word: bool) -> dict[str, list[float]]:
    """side.number -> what it was; a change has no direction here."""
    found: dict[str, list[float]] = {}
    for trial in trials:
        for side, number, value in numbers_of(trial):
            if bool(trial.subject.name) is word:
                found.setdefault(f"{side}.{number}", []).append(abs(value))
    return found


def numbers_of(trial: Trial) -> Iterator[tuple[str, str, float]]:
    """The numbers that are calibrated."""
    for side, numbers in trial.numbers.items():
        yield from ((side, number, numbers[number]) for number in MEASURED if numbers.get(number) is not None)


def ordinary(model: Model, count: int) -> list[str]:
    """Random words that are one token for each encoder; all of them where there are no more."""
    known = [encoder.tokenizer.get_vocab() for encoder in model.encoders]
    words = sorted(token for token in known[0] if WORD.fullmatch(token) and all(token in vocabulary for vocabulary in known))
    chosen = np.random.default_rng(0).permutation(len(words))[:count]
    return [words[place] for place in chosen]


def vectors_of(model: Model, token: str) -> dict[str, Floats]:
    """A token's own vectors: with them it is as if the word were typed."""
    found: dict[str, Any] = {}
    for encoder in model.encoders:
        row = inner(encoder).embeddings.token_embedding.weight[encoder.tokenizer.get_vocab()[token]]
        found[encoder.key] = row.detach().float().cpu().numpy()[None]
    return found
