"""One module for each kind of thing that is asked for; a route is its operation, one call, one answer."""

from __future__ import annotations

from litestar.handlers import HTTPRouteHandler

from . import admin, embeddings, files, hashes, schema, search, state, stateless

ROUTES: tuple[HTTPRouteHandler, ...] = (
    *embeddings.ROUTES, *search.ROUTES, *files.ROUTES, *hashes.ROUTES, *stateless.ROUTES, *state.ROUTES, *admin.ROUTES, *schema.ROUTES,
)  # fmt: skip
