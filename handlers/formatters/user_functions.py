"""One function of a user's `model.py`, and how it is called without harm to others.

A coroutine function runs on the event loop, any other in a thread of its script's own, so that a slow one keeps only
those waiting who asked for it. What it raises, even SystemExit, becomes a FunctionFailedError.
"""

import asyncio
import contextvars
import functools
import inspect
import logging
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from handlers.errors import HandlerError, one_line

logger = logging.getLogger("lmi")
OFFERED = ("tokenizer", "request")
"""What a formatter may take beside the data, by these names."""
_REMEMBERED = 100
"""Kinds of failures of one function that are told with their traceback; after that, none is."""
T = TypeVar("T")
_Before = Callable[[Any], tuple[Any, ...]]
_After = Callable[[tuple[Any, ...], Any], T]


class FunctionFailedError(HandlerError):
    """A user's function raised, or returned what it must not; the text is its own, without a line of code."""


@dataclass(frozen=True, eq=False)
class Function:
    """A user's function; calling it runs it where it belongs."""

    call: Callable[..., Any]
    file: Path
    keywords: frozenset[str]
    """Of OFFERED, what it takes."""
    sagemaker: bool
    """It has SageMaker's signature: `input_fn(body, content_type)`, `output_fn(prediction, accept)`."""
    threads: ThreadPoolExecutor
    _told: set[str] = field(default_factory=set, repr=False)

    @functools.cached_property
    def asynchronous(self) -> bool:
        """Tell whether it is a coroutine function."""
        return inspect.iscoroutinefunction(self.call) or inspect.iscoroutinefunction(
            getattr(self.call, "__call__", None)  # noqa: B004  # an object whose method is the coroutine function
        )

    async def __call__(self, *positional: Any, **keywords: Any) -> Any:
        """Call it once."""
        return (await self.each([positional], lambda arguments: arguments, lambda _, result: result, **keywords))[0]

    async def each(
        self,
        items: list[Any],
        before: _Before,
        after: "_After[T]",
        **keywords: Any,
    ) -> list[T]:
        """Call it for each item in order, in one go: `before` makes its arguments, `after` reads its result.

        Raises:
            FunctionFailedError: at the first that fails; `after` may raise it too.
        """

        async def on_loop() -> list[T]:
            results = []
            for item in items:
                arguments = before(item)
                results.append(after(arguments, await self.call(*arguments, **keywords)))
            return results

        def in_thread() -> list[T]:
            results = []
            for item in items:
                arguments = before(item)
                result = self.call(*arguments, **keywords)
                if inspect.iscoroutine(result):  # a coroutine function under a decorator that hides it
                    result = asyncio.run_coroutine_threadsafe(result, loop).result()
                results.append(after(arguments, result))
            return results

        loop = asyncio.get_running_loop()
        found: list[T] = await self.run(on_loop if self.asynchronous else in_thread)
        return found

    async def run(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """Run code of the script's, where it belongs; raise FunctionFailedError where it fails."""
        if not inspect.iscoroutinefunction(call):
            context, loop = contextvars.copy_context(), asyncio.get_running_loop()
            return await loop.run_in_executor(self.threads, context.run, self._in_thread, call, *arguments)
        try:
            return await call(*arguments)
        except BaseException as error:
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise
            raise self._failed(error) from error

    def _in_thread(self, call: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return call(*arguments)
        except BaseException as error:  # a future must not carry SystemExit: it would end the loop
            raise self._failed(error) from error

    def _failed(self, error: BaseException) -> FunctionFailedError:
        """Log a failure, with its traceback the first time it happens at its line, and return what callers get."""
        if isinstance(error, FunctionFailedError):
            text = f"{self.file.name}: {getattr(self.call, '__name__', '?')} {error}"
        else:
            text = told(error, self.file)
        kind = text.partition(" ")[0]
        if kind not in self._told and len(self._told) < _REMEMBERED:
            self._told.add(kind)
            logger.error("%s", text, exc_info=error)
        else:
            logger.debug("%s", text)
        return error if isinstance(error, FunctionFailedError) else FunctionFailedError(_words(error))


def told(error: BaseException, file: Path) -> str:
    """Tell an exception as `model.py:12: NameError: ...`, by the innermost line that is the script's own."""
    place = file.name
    if isinstance(error, SyntaxError) and error.filename and Path(error.filename).parent == file.parent:
        place = f"{Path(error.filename).name}:{error.lineno}"
        return f"{place}: {type(error).__name__}: {error.msg}"
    for frame in traceback.extract_tb(error.__traceback__):
        if Path(frame.filename).parent == file.parent:
            place = f"{Path(frame.filename).name}:{frame.lineno}"
    return f"{place}: {_words(error)}"


def _words(error: BaseException) -> str:
    text = one_line(str(error))
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
