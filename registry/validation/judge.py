"""The verdict on embeddings, many at a time: static, encoder, probe, renders; the cheap ones first, and no more than it takes."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from .. import verdicts
from ..errors import RegistryError
from ..render_errors import BadCheckpoint, DeviceFull, UnsoundCheckpoint
from ..verdicts import Calibration, Judged, Protocol
from .bench import draw, look, predict, read, strengthen, unsound
from .decide import Decision, fault, settled
from .encoders import most_skipped
from .engine import device_name_or_type, failures, is_out_of_memory, made_with
from .parts import Model, Subject
from .rulings import Court, case, concluded, exhibits, failure, unfit, verdict
from .static import static
from .subjects import declared, overflow, subject, trial_of
from .trials import Bench, Tally, Trial
from .words import among_words, nearest, untrained_copy

__all__ = ["judge", "subject"]

Layer = Callable[[Bench, Sequence[Trial]], None]

WINDOWS = (8, 32, 64)  # embeddings that are looked at together: few at first, so that the first verdict comes soon
WAITING = 64           # verdicts that are being written at once


def judge(
    model: Model, subjects: Iterable[Subject], protocol: Protocol, *, calibration: Calibration | None = None,
    heard: Callable[[int, int], None] | None = None, compiled: bool = False, rows: int | None = None,
) -> Iterator[Judged]:  # fmt: skip
    """A verdict on each, as soon as it is known; `subjects` may be endless. What is wrong with one never ends it for the others.

    `heard` is told how many pictures are drawn and how many were asked for. DeviceFailed rises; DeviceFull where not even ordinary words
    can be measured, while of an embedding that alone does not fit it is the verdict.
    """
    must_reach(model, protocol)
    bench = Bench(model, protocol, rows, compiled, Tally(heard) if heard else Tally())
    court = Court(bench, fitting(calibration, model, protocol), made_with(model))
    numbered = enumerate(subjects)
    with ThreadPoolExecutor(2, thread_name_prefix="verdicts") as pool:
        for size in itertools.chain(WINDOWS, itertools.repeat(WINDOWS[-1])):
            window = list(itertools.islice(numbered, size))
            if not window:
                return
            yield from of_window(court, window, pool)


def must_reach(model: Model, protocol: Protocol) -> None:
    """BadCheckpoint where its text encoders have not the layer that is asked for."""
    most = most_skipped(model)
    if protocol.clip_skip > most:
        why = f"has too few layers in its text encoders for --clip-skip {protocol.clip_skip + 1}"
        raise BadCheckpoint(model.checkpoint.path or model.checkpoint.name, why, f"Choose 1 to {most + 1}.")


def fitting(calibration: Calibration | None, model: Model, protocol: Protocol) -> Calibration | None:
    """The calibration, if it is one of this checkpoint and this measure."""
    if calibration is None or calibration.fingerprint != model.checkpoint.fingerprint or calibration.protocol != verdicts.measure(protocol):
        return None
    return calibration


def of_window(court: Court, numbered: Iterable[tuple[int, Subject]], pool: ThreadPoolExecutor) -> Iterator[Judged]:
    """The layers, one after the other, for some embeddings together; each leaves at the layer that settles it."""
    trials = []
    for number, each in numbered:
        trial = trial_of(number, each, court.bench.protocol)
        early = screened(court, trial)
        if early is None:
            trials.append(trial)
        else:
            yield early
    if not trials:
        return
    try:
        court.calibration(tuple(dict.fromkeys(side for trial in trials for side in trial.sides)))
    except UnsoundCheckpoint as exc:
        yield from (unfit(court, trial, exc) for trial in trials)
        return
    for layer in LAYERS:
        failed = attempted(court.bench, layer, trials)
        yield from (failure(court, trial, exc) for trial, exc in failed.items())
        trials = [trial for trial in trials if trial not in failed]
        over = [trial for trial in trials if finished(court, trial, layer)]
        yield from (concluded(court, trial) for trial in over)
        trials = [trial for trial in trials if trial not in over]
    yield from rendered(court, trials, pool)


# layers


def screened(court: Court, trial: Trial) -> Judged | None:
    """The static layer: the verdict of what its numbers alone settle."""
    try:
        findings, numbers, state = static(trial.subject, court.bench.model.base)
    except Exception as exc:  # noqa: BLE001  # one embedding's own
        return failure(court, trial, exc)
    if state is None and (too_large := overflow(trial.subject)):
        findings, state = [*findings, too_large], "broken"
    trial.findings += findings
    trial.known |= numbers
    if state is None:
        return None
    because = next((each.says for each in findings if each.severity == "error"), findings[0].says if findings else state)
    return verdict(court, trial, Decision(state=state, because=because, role=declared(trial.subject)))


def near(bench: Bench, trials: Sequence[Trial]) -> None:
    """The words nearest to it, and whether it is one of them."""
    for trial in trials:
        trial.known["near_words"] = nearest(bench.model, trial.subject.vectors)
        trial.known["vocabulary"] = among_words(bench.model, trial.subject.vectors)
        trial.copy = untrained_copy(bench.model, trial.subject.vectors) or ""


LAYERS = (read, near, predict, strengthen)


def attempted(bench: Bench, layer: Layer, trials: Sequence[Trial]) -> dict[Trial, Exception]:
    """Put trials through a layer; those that it fails with even alone. Memory that runs out for several may do for half of them."""
    if not trials:
        return {}
    try:
        with failures(bench.model.device):
            layer(bench, trials)
    except Exception as exc:  # noqa: BLE001  # whatever it is, it is not the others'
        stopped = bare(bench, exc)
    else:
        return {}
    if len(trials) == 1:
        return {trials[0]: stopped}
    middle = len(trials) // 2
    return attempted(bench, layer, trials[:middle]) | attempted(bench, layer, trials[middle:])


def bare(bench: Bench, exc: Exception) -> Exception:
    """What stopped some trials, without what it holds in memory; memory that ran out is DeviceFull. What no half of them can help rises."""
    if isinstance(exc, RegistryError) and not isinstance(exc, UnsoundCheckpoint | DeviceFull):
        raise exc
    if is_out_of_memory(exc):
        return DeviceFull(device_name_or_type(bench.model.device), bench.protocol.width, bench.protocol.height)
    exc.__traceback__ = exc.__cause__ = exc.__context__ = None
    return exc


def finished(court: Court, trial: Trial, layer: Layer) -> bool:
    """Is the verdict known after a layer? With a sheet that somebody asked for, all is drawn that can be."""
    if layer is predict and not trial.seeds and not trial.planned:
        return True
    if any(fault(numbers) for numbers in trial.numbers.values()):
        return True
    return not trial.planned and (bool(trial.copy) or settled(case(trial), court.calibration(trial.sides)))


def rendered(court: Court, trials: Sequence[Trial], pool: ThreadPoolExecutor) -> Iterator[Judged]:
    """The last layer. Pictures are measured and packed beside, while the next are drawn."""
    writing: deque[Future[Judged]] = deque()
    for trial, exc in drawn(court.bench, trials):
        writing.append(pool.submit(failure, court, trial, exc) if exc else pool.submit(seen, court, trial))
        while writing and (writing[0].done() or len(writing) > WAITING):
            yield writing.popleft().result()
    yield from (each.result() for each in writing)


def drawn(bench: Bench, trials: Sequence[Trial]) -> Iterator[tuple[Trial, Exception | None]]:
    """Trials as their pictures are done; where drawing fails, each half of the others is tried by itself."""
    left = dict.fromkeys(trials)
    try:
        with failures(bench.model.device):
            for trial in draw(bench, trials):
                del left[trial]
                yield trial, None
    except Exception as exc:  # noqa: BLE001  # as in `attempted`
        stopped = bare(bench, exc)
    else:
        return
    again = list(left)
    if len(trials) == 1:
        yield from ((trial, stopped) for trial in again)
        return
    for half in (again[: len(again) // 2], again[len(again) // 2 :]):
        yield from drawn(bench, half) if half else ()


def seen(court: Court, trial: Trial) -> Judged:
    """The verdict of what was drawn."""
    try:
        if why := unsound(court.bench, trial):
            return unfit(court, trial, UnsoundCheckpoint(court.bench.model.checkpoint.name, why))
        look(court.bench, trial)
        return concluded(court, trial, exhibits(court.bench, trial))
    except Exception as exc:  # noqa: BLE001  # as in `attempted`
        return failure(court, trial, exc)
    finally:
        trial.read, trial.shots, trial.maps = {}, {}, {}
