"""How the verdicts of `embconv validate` are told: in words, or as JSON."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import click
import msgspec

from embconv.converters.display import printable, quoted
from embconv.registry.model import ROLES

from .app import as_json, json_lines
from .say import error_lines, shown, without_name

if TYPE_CHECKING:
    from embconv.converters.convert import Failure
    from embconv.registry.verdicts import Judged, Verdict

    from .validate_given import Given

STATES = ("pass", "weak", "no_effect", "broken", "incompatible", "error")
GOOD = ("pass", "weak")
WIDTH = 110
SHOWN = ("encoder", "probe", "attention", "latents", "pixels", "leaning")  # of the numbers
VECTORS, WORDS = 8, 5  # of the nearest words


class Told(NamedTuple):
    """What became of one: a verdict with the sheet that was written, or an error."""

    given: Given
    judged: Judged | None = None
    sheet: str = ""
    note: str = ""
    error: Failure | None = None

    @property
    def state(self) -> str:
        """The verdict's, or refused."""
        return self.judged.verdict.state if self.judged else "refused"


def report(told: Told) -> dict[str, Any]:
    """One of them as JSON."""
    if told.judged is None:
        return {"path": told.given.path, "error": msgspec.to_builtins(told.error or told.given.error)}
    made = {"path": told.given.path, "trigger": told.given.trigger, "digest": told.given.digest, **msgspec.to_builtins(told.judged.verdict)}
    return made | ({"sheet": told.sheet} if told.sheet else {}) | ({"error": msgspec.to_builtins(told.error)} if told.error else {})


def say_all(found: Sequence[Told], style: str) -> None:
    """Everything at the end: JSON, states, or the counts after what was said of each."""
    if style == "nl":
        click.echo(json_lines([report(told) for told in found]), nl=False)
    elif style == "json":
        reports = [report(told) for told in found]
        click.echo(as_json(reports[0] if len(reports) == 1 else reports, indent=2))
    elif style == "quiet":
        click.echo("\n".join(told.state for told in found))
    elif len(found) != 1:
        click.echo(counts([told.state for told in found]) or "Nothing to validate here.")


def counts(states: Sequence[str]) -> str:
    """How many of each."""
    return ", ".join(f"{states.count(state):,} {state.replace('_', ' ')}" for state in (*STATES, "refused") if state in states)


def say(told: Told, *, brief: bool) -> None:
    """One of them in words, as soon as it is known; refusals go to stderr. Of a single one the last line is its sheet, if there is one."""
    error = told.error or told.given.error
    if told.judged is not None:
        name = f"{printable(told.given.path)}  {quoted(told.given.trigger)}"
        click.echo("\n".join(brief_words(name, told.judged.verdict) if brief else words(name, told.judged.verdict)))
    if error:
        lines = refusal(told.given.path, error) if brief else error_lines(error)
        click.echo("\n".join(lines), err=True)
    elif told.note:
        click.echo(f"Note: {told.note}", err=True)
    elif told.sheet:
        click.echo(f"    {shown(told.sheet)}" if brief else shown(told.sheet))


def refusal(path: str, error: Failure) -> list[str]:
    """A refusal among many."""
    return [f"Refused {printable(path)}: {without_name(error.says, path)}  [{error.code}]", *([f"  {error.hint}"] if error.hint else [])]


def brief_words(name: str, verdict: Verdict) -> list[str]:
    """One of many: its state, its name, why, and what needs to be looked at."""
    weight = "" if verdict.suggested_weight in {None, 1.0} else f", suggested weight {verdict.suggested_weight:g}"
    told_too = (finding for finding in verdict.findings if finding.severity != "note" and finding.says != verdict.because)
    lines = [f"    {verdict.because}", *(f"    {finding.severity}: {finding.says}" for finding in told_too)]
    return [f"{verdict.state.replace('_', ' '):<13} {name}{weight}", *lines]


def words(name: str, verdict: Verdict) -> list[str]:
    """One by itself: everything."""
    protocol, checkpoint = verdict.protocol, verdict.checkpoint
    facts: dict[str, Any] = {
        "because": verdict.because,
        "role": verdict.role,
        "weight": f"{verdict.suggested_weight:g} is suggested" if verdict.suggested_weight is not None else "",
        "checkpoint": f"{checkpoint['name']} ({checkpoint['base']}, {checkpoint['fingerprint'][:12]})",
        "protocol": f"{protocol['name']} {protocol['id']}: {protocol['width']} x {protocol['height']}, {protocol['steps']} steps, "
                    f"{protocol['sampler']}, CFG {protocol['cfg']:g}, emphasis {protocol['emphasis']}",
        "made with": ", ".join(f"{name} {says}" for name, says in verdict.made_with.items()),
    }  # fmt: skip
    lines = [f"{verdict.state.replace('_', ' ')}  {name}"]
    for what, says in facts.items():
        lines += fact(what, str(says)) if says else []
    for what, numbers in measured(verdict.numbers):
        lines += fact(what, numbers)
    for finding in (finding for finding in verdict.findings if finding.says != verdict.because):
        lines += fact(finding.severity, f"{finding.where}: {finding.says}")
    return lines


def fact(name: str, says: str) -> list[str]:
    """A name and what is said, in lines that fit a terminal."""
    lines = textwrap.wrap(printable(says, 2000), WIDTH - 14, break_long_words=False, break_on_hyphens=False) or [""]
    return [f"  {name if not place else '':<11} {line}" for place, line in enumerate(lines)]


def measured(numbers: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The numbers that decide, as lines: on each side, at other weights, and the nearest words of each vector; --json has all of them."""
    for side in (side for side in ROLES if isinstance(numbers.get(side), Mapping)):
        shown = [f"{name} {numbers[side][name]:.2g}" for name in SHOWN if isinstance(numbers[side].get(name), (int, float))]
        curve = sorted((float(weight), effect) for weight, effect in numbers[side].get("curve", {}).items())
        if shown:
            yield side, ", ".join(shown)
        if curve:
            yield "", "probe by weight: " + ", ".join(f"{weight:g} {effect:.2g}" for weight, effect in curve)
    for encoder, vectors in numbers.get("near_words", {}).items():
        for place, near in enumerate(vectors[:VECTORS], 1):
            yield "near", f"{encoder} {place}: {', '.join(f'{quoted(word)} {cosine:.2f}' for word, cosine in near[:WORDS])}"
