"""The gateway's ASGI application: routes, and what answers when none fits."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mulgil.door import pages
from mulgil.door.metrics import Metrics
from mulgil.door.pages import Check
from mulgil.door.routes import JSON_HEADERS, Desk, Recommendation, Turns, accepts_stream
from mulgil.door.stream import HEADERS
from mulgil.errors import InternalError, MethodNotAllowed, MulgilError, NotFound
from mulgil.flow.question import Kind

KINDS: tuple[Kind, ...] = ("base-info", "free-text")
_BY_STATUS: Mapping[int, type[MulgilError]] = {404: NotFound, 405: MethodNotAllowed}


def build_application(desk: Desk, metrics: Metrics, checks: Mapping[str, Check]) -> Starlette:
    """Return the application over this desk."""

    async def refuse(request: Request, error: Exception) -> Response:
        told = _told(error)
        if request.method == "GET" and accepts_stream(request.headers):
            stream = Response(desk.wire.refusal_frames(told), headers=_text(HEADERS))
            del stream.headers["content-length"]
            return stream
        status, body, extra = desk.wire.refusal(told)
        return Response(body, status, _text([*JSON_HEADERS, *extra]) | _allowed(error))

    turns = Route("/ai/chatbot/turns/{turn_id}", Turns(desk), methods=["DELETE"])
    application = Starlette(
        routes=[
            *(_recommendation(desk, kind) for kind in KINDS),
            turns,
            *pages.routes(desk.wire.domain, metrics, checks),
        ],
        exception_handlers={HTTPException: refuse, MulgilError: refuse, Exception: refuse},
    )
    application.router.redirect_slashes = False  # another path is an unknown path
    return application


def _recommendation(desk: Desk, kind: Kind) -> Route:
    return Route(f"/ai/chatbot/recommendation/{kind}", Recommendation(desk, kind), methods=["GET", "HEAD", "POST"])


def _told(error: Exception) -> MulgilError:
    if isinstance(error, MulgilError):
        return error
    if isinstance(error, HTTPException):
        return _BY_STATUS.get(error.status_code, InternalError)()
    return InternalError(type(error).__name__)


def _allowed(error: Exception) -> dict[str, str]:
    headers = getattr(error, "headers", None) or {}
    # Starlette joins a set: the order would be another in every process.
    return {name: ", ".join(sorted(value.split(", "))) for name, value in headers.items() if name == "Allow"}


def _text(headers: list[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in headers}
