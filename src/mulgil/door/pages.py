"""What is not a turn: the chat page and its data, health, metrics."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib.resources import files
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mulgil.domain.model import Domain
from mulgil.door.metrics import CONTENT_TYPE, Metrics
from mulgil.errors import MulgilError, NotFound

Check = Callable[[], Awaitable[None]]
"""Returns when a part answers; raises a `MulgilError` otherwise."""

_TYPES = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8"}
_PAGE_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


def routes(domain: Domain, metrics: Metrics, checks: Mapping[str, Check]) -> Sequence[Route]:
    """Return the routes; `checks` by the name of the part that each asks."""
    described = described_domain(domain)

    async def page(request: Request) -> Response:
        del request
        return Response(_asset("index.html"), media_type="text/html; charset=utf-8", headers=_PAGE_HEADERS)

    async def asset(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in {"page.css", "page.js"}:
            raise NotFound
        return Response(_asset(name), media_type=_TYPES[name.rpartition(".")[2]], headers=_PAGE_HEADERS)

    async def data(request: Request) -> Response:
        del request
        return JSONResponse(described, headers=_PAGE_HEADERS)

    async def live(request: Request) -> Response:
        del request
        return JSONResponse({"status": "live"})

    async def ready(request: Request) -> Response:
        del request
        for part, check in checks.items():
            try:
                await check()
            except MulgilError as error:
                return JSONResponse({"status": "not ready", "reason": f"{part}: {type(error).__name__}"}, 503)
        return JSONResponse({"status": "ready"})

    async def numbers(request: Request) -> Response:
        del request
        return Response(metrics.text(), headers={"content-type": CONTENT_TYPE.decode()})

    return [
        Route("/", page),
        Route("/assets/{name}", asset),
        Route("/domain.json", data),
        Route("/health/live", live),
        Route("/health/ready", ready),
        Route("/metrics", numbers),
    ]


def described_domain(domain: Domain) -> dict[str, Any]:
    """Return what the page must know of a domain."""
    return {
        "name": domain.name,
        "language": domain.language,
        "count": domain.count,
        "categoryField": domain.category_field,
        "fields": [{"name": each.name, "label": each.label, "options": list(each.options)} for each in domain.fields],
        "categories": [
            {"code": each.code, "label": each.label, "help": each.help} for each in domain.categories.values()
        ],
        "page": dict(domain.page),
    }


def _asset(name: str) -> bytes:
    return (files("mulgil") / "web" / name).read_bytes()
