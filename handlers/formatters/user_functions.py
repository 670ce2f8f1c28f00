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
"""Places of failures of one function that are told with their traceback; after that, none is."""
_REMEDY = "(told once; a mended script runs after a restart, an adapter's once it is registered again)"
T = TypeVar("T")
_Before = Callable[[Any], tuple[Any, ...]]
_After = Callable[[tuple[Any, ...], Any], T]


class FunctionFailedError(HandlerError):
    """A user's function raised, or returned what it must not; the text is its own, without a line of code."""

    logged = False
    """The operator has been told."""


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

    def report(self, error: FunctionFailedError) -> None:
        """Log what was wrong with a result of this function's."""
        if not error.logged:
            self._failed(error)

    def _failed(self, error: BaseException) -> FunctionFailedError:
        """Log a failure, with its traceback the first time it happens at its line, and return what callers get."""
        name = getattr(self.call, "__name__", type(self.call).__name__)
        if isinstance(error, FunctionFailedError):
            failure, trace, place = error, None, self.defined
        else:
            failure, trace, place = FunctionFailedError(_words(error)), error, _place(error, self.file)
        failure.logged = True
        if place not in self._told and len(self._told) < _REMEMBERED:
            self._told.add(place)
            logger.error("%s: %s: %s %s", place, name, failure, _REMEDY, exc_info=trace)
        else:
            logger.debug("%s: %s: %s", place, name, failure)
        return failure

    @property
    def defined(self) -> str:
        """Where the function begins."""
        code = getattr(inspect.unwrap(self.call), "__code__", None)
        return f"{self.file}:{code.co_firstlineno}" if code else str(self.file)


def told(error: BaseException, file: Path) -> str:
    """Tell an exception as `model.py:12: NameError: ...`, by the innermost line that is the script's own."""
    return f"{_place(error, file).removeprefix(f'{file.parent}/')}: {_words(error)}"


def _place(error: BaseException, file: Path) -> str:
    """Return the file and line to blame: the script's own, or those of one beside it."""
    if isinstance(error, SyntaxError) and error.filename and Path(error.filename).parent == file.parent:
        return f"{error.filename}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).parent == file.parent]
    return f"{own[-1].filename}:{own[-1].lineno}" if own else str(file)


def _words(error: BaseException) -> str:
    text = one_line(error.msg if isinstance(error, SyntaxError) else str(error))
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
