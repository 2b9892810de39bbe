"""In which programs an embedding of the registry loads as it is, after an export, or never; and what is typed there."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from embconv.converters import EmbconvError, digest
from embconv.converters.forms import form_of
from embconv.converters.names import safe_stem
from embconv.converters.read import Input, examine
from embconv.converters.source import Source
from embconv.converters.targets import TARGETS, Form, Target, loads_in, refusal

from .export import prompt_for
from .folder_layouts import FOLDER_LAYOUTS, FolderLayout
from .model import Entry, FileEntry

LOOKED_AT = 16 << 20  # bytes of a file that is read for it
LAYOUT_OF = {layout.target.name: layout for layout in reversed(FOLDER_LAYOUTS)}


class Use(Struct, frozen=True, kw_only=True):
    """One program. `loads`: True where a file of it loads as it is, else why not; `export`: the layout that makes it load."""

    program: str
    title: str
    loads: bool | str
    export: str | None = None
    prompt: str | None = None


def uses(entry: Entry, read: Callable[[FileEntry], Input]) -> list[Use]:
    """For every program of the converters' table."""
    forms = [form for file in entry.files if file.size <= LOOKED_AT for form in forms_in(entry, file, read)]
    answers = [loads_in(form) for form in forms]
    return [use(entry, program, [answer[program.name] for answer in answers]) for program in TARGETS]


def forms_in(entry: Entry, file: FileEntry, read: Callable[[FileEntry], Input]) -> list[Form]:
    """How the file holds it; nothing where it cannot be read any more."""
    try:
        with Source(read(file), file.name) as opened:
            opened.path = opened.name
            reading = examine(opened, sidecars=False)
            return [form_of(reading, embedding) for embedding in reading.embeddings if digest(embedding) == entry.digest]
    except EmbconvError:
        return []


def use(entry: Entry, program: Target, answers: list[bool | str]) -> Use:
    """One program."""
    layout = LAYOUT_OF.get(program.name)
    stem = safe_stem(entry.trigger.strip("<>"))
    name = layout.part(stem) if layout else stem
    sizes = {key: (encoder.vectors, encoder.width) for key, encoder in entry.encoders.items()}
    never = refusal(program, sizes, name)[0].removeprefix(f"{program.title} cannot hold this embedding in any form: it ")
    loads = True if True in answers else never or next((str(answer) for answer in answers), "no file of it is here")
    prompt = None if never and loads is not True else prompt_in(entry, program, layout, name)
    return Use(program=program.name, title=program.title, loads=loads, prompt=prompt,
               export=layout.name if layout and not never and loads is not True else None)  # fmt: skip


def prompt_in(entry: Entry, program: Target, layout: FolderLayout | None, name: str) -> str:
    """What is typed in a prompt of that program."""
    return prompt_for(entry.trigger, (name,), layout) if layout else program.prompt.replace("NAME", name)
