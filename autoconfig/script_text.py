"""A user's `model.py` into what this server would use of it, from its text alone: nothing of it is executed.

The worker, which executes it, decides likewise (handlers/formatters/scripts.py).
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_DECORATORS = ("input_formatter", "output_formatter")
_SAGEMAKER = ("input_fn", "output_fn")
_HANDLER = "handle"


class NotPythonError(Exception):
    """A file that cannot be compiled; the text names it and the line, as in `model.py:2: invalid syntax`."""


@dataclass(frozen=True, slots=True)
class ScriptText:
    """What a script offers a server."""

    functions: tuple[str, ...]
    """By the names of their decorators, or their own."""
    imports_more: bool = False
    """It imports from files beside it, which may offer more."""

    def __str__(self) -> str:
        if self.functions:
            *others, last = self.functions
            return f"{', '.join(others)} and {last} are used" if others else f"{last} is used"
        if self.imports_more:
            return "what it imports is used where it is a formatter or a handler"
        wanted = " or ".join(f"@{name}" for name in _DECORATORS)
        return f"nothing in it is used: no function has {wanted}, or is called {', '.join(_SAGEMAKER)} or {_HANDLER}"


def read(text: bytes, file: Path) -> ScriptText:
    """Compile the text of a file and look for what a server calls by name.

    Raises:
        NotPythonError: it is no Python.
    """
    try:
        tree = ast.parse(text, file.name)
        compile(tree, file.name, "exec", dont_inherit=True)
    except SyntaxError as error:
        raise NotPythonError(f"{file.name}:{error.lineno or 1}: {error.msg}") from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise NotPythonError(f"{file.name} cannot be compiled: {error}") from None
    used, bound = set(_used(tree)), set(_bound(tree))
    found = [name for name in _DECORATORS if name in used] or [name for name in _SAGEMAKER if name in bound]
    return ScriptText((*found, *({_HANDLER} & bound)), any(_imports_beside(node, file) for node in ast.walk(tree)))


def _used(tree: ast.Module) -> Iterator[str]:
    """Yield the decorators that are used, whatever they were imported as; `@module.decorator` counts too."""
    known = {name: name for name in _DECORATORS}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            known |= {one.asname: one.name for one in node.names if one.asname and one.name in _DECORATORS}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in known:
            yield known[node.id]
        elif isinstance(node, ast.Attribute) and node.attr in _DECORATORS:
            yield node.attr


def _bound(tree: ast.Module) -> Iterator[str]:
    """Yield the names that the module's own level defines, assigns or imports."""
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from (one.asname or one.name for one in node.names)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        else:
            waiting.extend(ast.iter_child_nodes(node))


def _imports_beside(node: ast.AST, file: Path) -> bool:
    if isinstance(node, ast.ImportFrom):
        return node.level > 0 or _is_beside(node.module or "", file) or any(one.name == "*" for one in node.names)
    return isinstance(node, ast.Import) and any(_is_beside(one.name, file) for one in node.names)


def _is_beside(module: str, file: Path) -> bool:
    first = file.with_name(module.partition(".")[0])
    return first.with_suffix(".py").is_file() or first.is_dir()
