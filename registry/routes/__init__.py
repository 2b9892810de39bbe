"""One module for each kind of thing that is asked for; a route is its operation, one call, one answer."""

from __future__ import annotations

from litestar.handlers import HTTPRouteHandler

from . import (
    admin,
    civitai,
    civitai_files,
    embeddings,
    files,
    hashes,
    horde,
    huggingface,
    previews,
    renders,
    schema,
    search,
    state,
    stateless,
    syncs,
    validations,
)

ROUTES: tuple[HTTPRouteHandler, ...] = (
    *embeddings.ROUTES, *search.ROUTES, *files.ROUTES, *hashes.ROUTES, *stateless.ROUTES, *state.ROUTES, *admin.ROUTES, *huggingface.ROUTES,
    *civitai.ROUTES, *civitai_files.ROUTES, *horde.ROUTES, *previews.ROUTES, *syncs.ROUTES, *validations.ROUTES,
    *renders.ROUTES, *schema.ROUTES,
)  # fmt: skip
