"""What one inference request is on its way to the engine, for whoever works on it in turn."""

from typing import Any, NamedTuple

from starlette.types import Scope

from handlers.errors import RequestError
from handlers.routes import Route


class Request(NamedTuple):
    """One request: its body as it came, parsed and as JSON text, and whose conversation it belongs to."""

    route: Route
    scope: Scope
    body: bytes
    payload: dict[str, Any]
    text: bytes
    refusal: RequestError | None = None
    """Why the body is no JSON object; a script may know what to do with it all the same."""
    session: str = ""
