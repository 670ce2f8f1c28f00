"""A user's `model.py` into the functions the request path calls: input and output formatters, and DJL's `handle`.

A file runs once in a process, as a module of its own: `a-b` and `a.b` share nothing. What it raises, even SystemExit,
becomes a ScriptError that names the line. Its siblings are imported relatively (`from . import sibling`).
"""

import hashlib
import importlib
import importlib.machinery
import importlib.util
import inspect
import logging
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from types import ModuleType
from typing import Any

from autoconfig import script_text
from handlers.errors import ScriptError
from handlers.formatters.user_functions import OFFERED, Function, told
from handlers.status import NOTICES

logger = logging.getLogger("lmi")
notices = logging.getLogger(NOTICES)
_THREADS = 32
"""Calls of one script's sync functions that run at once; the threads start when they are needed."""
_DECORATED = ("input_formatter", "output_formatter", "prediction_handler", "init_handler")
_SAGEMAKER = ("input_fn", "output_fn", "predict_fn", "model_fn")
_NEEDED = "is decorated with @input_formatter or @output_formatter, or is called input_fn, output_fn or handle"
_PACKAGE = Path(__file__).parents[1] / "djl_compat"
_loaded: dict[str, "Scripts"] = {}
_locks: dict[str, Lock] = {}


@dataclass(frozen=True, slots=True)
class Scripts:
    """What a `model.py` brings; None for what it does not."""

    input_formatter: Function | None = None
    output_formatter: Function | None = None
    handle: Function | None = None
    module: str = ""

    @property
    def idle(self) -> bool:
        """Tell whether nothing of it is ever called."""
        return not (self.input_formatter or self.output_formatter or self.handle)

    def over(self, base: "Scripts | None") -> "Scripts":
        """Return an adapter's functions upon the base model's: each of its own goes before the base's."""
        if base is None:
            return self
        return Scripts(
            self.input_formatter or base.input_formatter,
            self.output_formatter or base.output_formatter,
            self.handle or base.handle,
            self.module,
        )


def provide_djl_python() -> None:
    """Make `import djl_python` work in scripts; DJL's own package stays what it is where there is one."""
    if importlib.util.find_spec("djl_python") is None:
        sys.path.append(str(_PACKAGE))


def load_base(file: Path) -> Scripts:
    """Load the base model's script, whose siblings may be imported by their plain names, as in LMI.

    Of what its text offers the operator has been told when the start was planned.
    """
    directory = str(file.resolve().parent)
    if directory not in sys.path:
        sys.path.append(directory)
    return load(file, planned=True)


def load(file: Path, *, planned: bool = False) -> Scripts:
    """Execute a script, unless the same files have been already, and find its functions. Blocks; any thread may call.

    Raises:
        ScriptError: it cannot be read, it raised, or a function of it cannot be called as a formatter is.
    """
    file = file.resolve()
    name = _module_name(file)
    with _locks.setdefault(name, Lock()):
        if name not in _loaded:
            try:
                _loaded[name] = _scripts(_execute(name, file), file)
            except ScriptError:
                _drop(name)
                raise
            if _loaded[name].idle and not (planned and _offers_nothing(file)):
                notices.warning("%s has no effect: nothing in it %s", file, _NEEDED)
        return _loaded[name]


def forget(scripts: Scripts) -> None:
    """Drop a script's modules; who holds its functions can still call them. Loading it again executes it again."""
    if _loaded.pop(scripts.module, None) is not None:
        _drop(scripts.module)


def _module_name(file: Path) -> str:
    """Name a module by its path and by the text of every module beside it, so that a change makes another one."""
    digest = hashlib.sha256(str(file).encode())
    try:
        for source in sorted({file, *file.parent.glob("*.py")}):
            digest.update(source.name.encode() + b"\0" + source.read_bytes())
    except OSError as error:
        raise ScriptError(f"{file.name} cannot be read: {error.strerror}") from error
    return f"lmi_script_{digest.hexdigest()[:16]}"


class _Loader(importlib.machinery.SourceFileLoader):
    """Compiles from the source: a cached module is told from a new one by its second and size only (3.11)."""

    def get_code(self, fullname: str) -> Any:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def _execute(name: str, file: Path) -> ModuleType:
    importlib.invalidate_caches()  # a sibling written a moment ago is found
    loader = _Loader(name, str(file))
    siblings = [str(file.parent)]
    spec = importlib.util.spec_from_file_location(name, file, loader=loader, submodule_search_locations=siblings)
    if spec is None:
        raise ScriptError(f"{file.name} is no Python module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        loader.exec_module(module)
    except BaseException as error:  # whatever a user's code raises, SystemExit too: this server goes on
        raise ScriptError(told(error, file) + _hint(error, file)) from error
    return module


def _drop(name: str) -> None:
    for module in [found for found in sys.modules if found == name or found.startswith(f"{name}.")]:
        del sys.modules[module]


def _hint(error: BaseException, file: Path) -> str:
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    if missing and (file.parent / f"{missing}.py").exists():
        return f" (an adapter imports its own files with `from . import {missing}`)"
    return ""


def _scripts(module: ModuleType, file: Path) -> Scripts:
    """Find the functions by their decorators; SageMaker's names count only where nothing is decorated, as in LMI."""
    threads = ThreadPoolExecutor(_THREADS, thread_name_prefix=module.__name__)
    found: dict[str, Callable[..., Any]] = {}
    for call, mark in _decorated(module):
        if mark in found:
            both = f"{_name(found[mark])} and {_name(call)}"
            raise ScriptError(f"{file.name}: two functions are decorated with @{mark}: {both}")
        found[mark] = call
    names = _DECORATED if found else _SAGEMAKER
    if not found:
        found = {name: getattr(module, name) for name in _SAGEMAKER if callable(getattr(module, name, None))}
    for name in names[2:]:
        if name in found:
            logger.warning("%s: %s has no effect: vLLM loads and runs the model", file, name)
    sagemaker = names is _SAGEMAKER

    def function(name: str) -> Function | None:
        return _function(found[name], file, sagemaker, threads) if name in found else None

    handle = getattr(module, "handle", None)
    return Scripts(
        function(names[0]),
        function(names[1]),
        Function(handle, file, frozenset(), False, threads) if callable(handle) else None,
        module.__name__,
    )


def _offers_nothing(file: Path) -> bool:
    """Tell whether a script's text alone shows that nothing in it is called."""
    brings = script_text.read(file.read_bytes(), file)
    return not (brings.functions or brings.imports_more)


def _decorated(module: ModuleType) -> Iterator[tuple[Callable[..., Any], str]]:
    """Yield each decorated function of a module once, whatever names it goes by."""
    for value in {id(value): value for value in vars(module).values() if callable(value)}.values():
        for mark in _DECORATED:
            if getattr(value, f"is_{mark}", None) is True:
                yield value, mark


def _function(call: Callable[..., Any], file: Path, sagemaker: bool, threads: ThreadPoolExecutor) -> Function:
    """Look at how a function wants to be called; raise ScriptError where it asks for what nobody gives it."""
    positional = 2 if sagemaker else 1
    if inspect.isgeneratorfunction(call) or inspect.isasyncgenfunction(call):
        raise ScriptError(f"{_place(call, file)}: {_name(call)} must return its result, not yield it")
    try:
        signature = inspect.signature(call)
    except (TypeError, ValueError):  # written in C: it takes what it takes
        return Function(call, file, frozenset(), sagemaker, threads)
    parameters = list(signature.parameters.values())
    any_keyword = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    named = {p.name for p in parameters[positional:] if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    taken = frozenset() if sagemaker else frozenset(OFFERED if any_keyword else named.intersection(OFFERED))
    given = "the body and its content type, or the prediction and what is accepted" if sagemaker else "the data, and"
    try:
        signature.bind(*[None] * positional, **dict.fromkeys(taken))
    except TypeError as error:
        asked = "" if sagemaker else f" `{'` and `'.join(OFFERED)}` where it names them"
        raise ScriptError(f"{_place(call, file)}: {_name(call)}: {error}; it is called with {given}{asked}") from error
    return Function(call, file, taken, sagemaker, threads)


def _place(call: Callable[..., Any], file: Path) -> str:
    code = getattr(inspect.unwrap(call), "__code__", None)
    return f"{file.name}:{code.co_firstlineno}" if code else file.name


def _name(call: Callable[..., Any]) -> str:
    return getattr(call, "__name__", type(call).__name__)
