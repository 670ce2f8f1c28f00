"""What can go wrong on the request path, and the one OpenAI-style object a caller is told it in.

HandlerError
├── RequestError         the caller's request cannot be served; carries the HTTP status
├── AdapterRefusedError  the engine cannot load an adapter; others are untouched
├── ScriptError          a model.py cannot be used; says which line
├── SessionsError        sessions cannot be kept; the start fails
└── EngineRefusedError   vLLM does not accept the configuration; the start fails

"""

import re
from collections.abc import Collection
from http import HTTPStatus
from typing import Any

import orjson

MESSAGE_LIMIT = 500
"""Characters of an error message: SageMaker wraps it into another object and truncates long ones."""

_TYPES = {
    400: "BadRequestError",
    401: "AuthenticationError",
    404: "NotFoundError",
    405: "MethodNotAllowedError",
    408: "TimeoutError",
    409: "ConflictError",
    413: "RequestTooLargeError",
    415: "UnsupportedMediaTypeError",
    422: "UnprocessableEntityError",
    429: "RateLimitError",
    503: "ServiceUnavailableError",
    504: "TimeoutError",
    507: "InsufficientStorageError",
}
_FILE_LINE = re.compile(r'\s*File "[^"]*", line \d+(, in \S+)?')
_PATH = re.compile(r"(?<![\w/:.<])/(?:[\w.@+-]+/)+[\w.@+-]+")
_POINTER = re.compile(r"\s*For further information visit \S+")
_SPACE = re.compile(r"\s+")
# vLLM 0.32 tells pydantic's findings as the text of a list of dicts (exception_handling/handlers/validation.py).
_FINDING = re.compile(r"""'loc': '(?:body\.)?([^']*)', 'msg': (?:'((?:[^'\\]|\\.)*)'|"([^"]*)")""")
_FINDINGS_SHOWN = 3


class HandlerError(Exception):
    """Root of the package's errors."""


class EngineRefusedError(HandlerError):
    """vLLM does not accept the configuration it was given; the text is one line for an operator."""

    @classmethod
    def because(cls, error: BaseException) -> "EngineRefusedError":
        """Wrap an exception of vLLM's in one line."""
        return cls(one_line(str(error)) or type(error).__name__)


class AdapterRefusedError(HandlerError):
    """An adapter the engine cannot load; the text is one line that says why."""


class ScriptError(HandlerError):
    """A `model.py` that cannot be used; the text names the line and what went wrong there."""


class SessionsError(HandlerError):
    """The directory of the sessions cannot be used; the text is one line for an operator."""


class RequestError(HandlerError):
    """A request that gets an error status instead of an answer."""

    def __init__(self, status: int, message: str, param: str | None = None, *, paths: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.paths = paths
        """What the message may name of this host: a path its reader wrote or may know, and this server's routes."""

    def body(self) -> bytes:
        """Return the error object a caller receives."""
        return error_body(self.status, self.message, self.param, paths=self.paths)


def retry_headers(status: int) -> tuple[tuple[bytes, bytes], ...]:
    """Return the header that tells a caller to come back, for the statuses where that helps."""
    return ((b"retry-after", b"1"),) if status in (429, 503) else ()


def one_line(text: str) -> str:
    """Fold a message into one line: no traceback lines, no links to a validator's documentation."""
    return _SPACE.sub(" ", _POINTER.sub("", _FILE_LINE.sub("", text))).strip()


def findings(text: str) -> str:
    """Tell a list of pydantic's findings as `field: what was expected; field: ...`; other text stays as it is."""
    found = _FINDING.findall(text)
    if not found:
        return text
    return "; ".join(f"{field}: {single or double}" for field, single, double in found[:_FINDINGS_SHOWN]) + "."


def public(text: str, paths: Collection[str] = ()) -> str:
    """Make a message fit for a caller: one line, short, without paths of this host but `paths` and what is below."""

    def told(path: re.Match[str]) -> str:
        # A path of a name with a space, or one that was cut short, is found in part.
        known = any(path[0].startswith(one) or one.startswith(path[0]) for one in paths)
        return path[0] if known else "<path>"

    text = _PATH.sub(told, one_line(text))
    return text if len(text) <= MESSAGE_LIMIT else text[: MESSAGE_LIMIT - 1] + "…"


def error_body(
    status: int, message: str, param: str | None = None, kind: str | None = None, paths: Collection[str] = ()
) -> bytes:
    """Return the one shape every error has: `{"error": {"message", "type", "param", "code"}}`."""
    kind = kind or _TYPES.get(status, "InternalServerError" if status >= 500 else "BadRequestError")
    return orjson.dumps(
        {"error": {"message": public(message, paths), "type": kind, "param": param, "code": status}},
    )


def status_of(body: bytes, default: int) -> int:
    """Return the HTTP status an error object of vLLM's names in its `code`."""
    try:
        code = orjson.loads(body)["error"]["code"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return default
    return code if isinstance(code, int) and 400 <= code < 600 else default


def from_engine(status: int, body: bytes) -> bytes:
    """Rewrite an error reply of vLLM's application (OpenAI object, FastAPI detail, or text) into that shape."""
    try:
        found: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        found = None
    error = found.get("error") if isinstance(found, dict) else None
    if isinstance(error, dict):
        message, param, kind = error.get("message"), error.get("param"), error.get("type")
    else:
        message = found.get("detail") if isinstance(found, dict) else None
        param = kind = None
    if not isinstance(message, str) or not message:
        message = HTTPStatus(status).phrase
    if "stack trace (above)" in message:  # EngineDeadError (vLLM 0.32) points at a log the caller cannot see
        message = "The engine failed; the container is restarting."
    if isinstance(param, str):
        param = param.removeprefix("body.")
    return error_body(status, findings(message), param if isinstance(param, str) else None, _TYPES.get(status, kind))
