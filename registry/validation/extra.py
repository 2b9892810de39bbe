"""Are the libraries of the extra `render` here? And they are told to stay off the network and to keep quiet."""

from __future__ import annotations

import contextlib
import gc
import os
import warnings
from collections.abc import Iterator

from ..render_errors import MissingExtra

# What they read as they are imported; a registry that renders asks nobody for anything.
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "DIFFUSERS_VERBOSITY": "critical",   # it calls a missing accelerate an error; what is wrong rises as an exception
    "TRANSFORMERS_VERBOSITY": "critical",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "TOKENIZERS_PARALLELISM": "false",   # no threads of its own before a process is forked
    "USE_TF": "0",
    "USE_FLAX": "0",
}


def offline() -> None:
    """Before their import: no network, no notices."""
    os.environ.update(ENVIRONMENT)
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # on a busy CPU, threads that spin while they wait take three times as long
    for module in ("diffusers", "transformers", "huggingface_hub"):
        warnings.filterwarnings("ignore", module=rf"{module}\b")


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """For imports: to look for garbage among the hundred thousands of objects that these libraries make takes a seventh of the time."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()


def need() -> None:
    """Import them; MissingExtra names what is not here, or is and cannot be used."""
    offline()
    with uncollected():
        imported()


def imported() -> None:
    """The imports themselves."""
    try:
        import diffusers  # noqa: F401  # as the others: is it here?
        import safetensors  # noqa: F401
        import torch  # noqa: F401
        import transformers  # noqa: F401
    except ModuleNotFoundError as exc:
        raise MissingExtra(exc.name or "torch") from exc
    except (ImportError, OSError) as exc:  # OSError: a library of the system's that torch is linked with
        raise MissingExtra(getattr(exc, "name", None) or "torch", str(exc)) from exc
