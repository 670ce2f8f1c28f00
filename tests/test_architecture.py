"""Holds the code to DESIGN's rules: who may import whom, who reads the environment, how long a file may be.

A rule here is one a linter does not know; each test names the files that break it.
"""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
OURS = ("autoconfig", "benchmarks", "container", "handlers")
SOURCES = [path for package in OURS for path in sorted((ROOT / package).rglob("*.py"))]

# Which of our own modules a package may import beside itself.
MAY_IMPORT = {
    "autoconfig": (),
    "benchmarks": (),
    "container": ("autoconfig",),
    "handlers": ("autoconfig.lora", "autoconfig.script_text", "autoconfig.settings"),
}
# One file that is loaded by the process a benchmark measures.
MAY_ALSO_IMPORT = {"benchmarks/djl_wire/our_entry.py": ("handlers",)}
# Which files may import a library that only they should depend on.
ONLY_IN = {
    "boto3": ("container/",),
    "botocore": ("container/",),
    "vllm": ("handlers/engine.py", "handlers/engine_arguments.py", "handlers/cpu_worker.py", "benchmarks/vllm_cli.py"),
    "djl_python": ("handlers/djl.py", "handlers/formatters/custom_handle.py", "benchmarks/djl_wire/upstream_entry.py"),
    # In processes of its own, and in the engine's through vLLM.
    "lmcache": ("tests/",),
}
ENVIRONMENT_READERS = (
    "container/__main__.py",
    "container/cache_store.py",
    "container/healthcheck.py",
    "handlers/djl.py",
    "handlers/server.py",
    "benchmarks/",
)
LINES_PER_FILE = 250

# Every shape of a package index's or mirror's address, and this workplace's folders; spelled so as not to match here.
ADDRESSES = re.compile(rb"pypi[.]org|pythonhosted|files[.]python|npmjs|crates[.]io|maven[.]org|deb[.]debian")
MACHINE_PATHS = re.compile(rb"(?<![\w.])/(?:work/(?!dir)|tmp/exp|root/|home/\w+/)")


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(path: Path) -> Iterator[str]:
    """Yield the full name of every module a file imports, wherever in the file it does."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = path.relative_to(ROOT).parts[: -node.level] if node.level else ()
            module = ".".join([*package, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def within(name: str, module: str) -> bool:
    return name == module or name.startswith(f"{module}.")


def test_packages_import_only_what_the_design_allows() -> None:
    broken = [
        f"{relative(path)} imports {name}"
        for path in SOURCES
        for package in [path.relative_to(ROOT).parts[0]]
        for name in imports(path)
        if name.partition(".")[0] in (*OURS, "tests")
        if not any(
            within(name, allowed)
            for allowed in (package, *MAY_IMPORT[package], *MAY_ALSO_IMPORT.get(relative(path), ()))
        )
    ]
    assert broken == []


def test_heavy_or_narrow_libraries_are_imported_in_their_one_place() -> None:
    broken = [
        f"{relative(path)} imports {name}"
        for path in SOURCES
        for name in imports(path)
        for places in [ONLY_IN.get(name.partition(".")[0])]
        if places and not relative(path).startswith(places)
    ]
    assert broken == []


def test_the_environment_is_read_at_the_entry_points_and_written_nowhere() -> None:
    broken = [
        f"{relative(path)}:{node.lineno}"
        for path in SOURCES
        if not relative(path).startswith(ENVIRONMENT_READERS)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "environb", "getenv", "putenv", "unsetenv")
        if isinstance(node.value, ast.Name) and node.value.id == "os"
    ]
    written = [
        f"{relative(path)}: {line.strip()}"
        for path in SOURCES
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(r"os\.environ(\[[^]]*\]\s*=[^=]|\.(setdefault|update|pop|clear)\()|del os\.environ", line)
    ]
    assert broken + written == []


def test_a_file_of_code_stays_short_enough_to_read_at_once() -> None:
    long = {relative(path): len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    assert {name: lines for name, lines in long.items() if lines > LINES_PER_FILE} == {}


def test_explain_imports_neither_the_engine_nor_any_other_slow_library() -> None:
    slow = {"boto3", "huggingface_hub", "numpy", "pydantic", "torch", "transformers", "vllm", "yaml"}
    files = (path.relative_to(ROOT).with_suffix("") for path in (ROOT / "autoconfig").rglob("*.py"))
    autoconfig = [".".join(file.parts) for file in files if file.name != "__init__"]
    code = f"import sys, container.__main__, container.prepare, {', '.join(autoconfig)}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert slow & set(done.stdout.split()) == set()


def test_tracked_files_name_no_package_index_and_no_machine() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    files = [ROOT / name.decode() for name in listed.split(b"\0") if name]
    broken = [
        f"{relative(path)}: {found.group().decode()}"
        for path in files
        if path.is_file() and path != Path(__file__)
        for found in [ADDRESSES.search(path.read_bytes()) or MACHINE_PATHS.search(path.read_bytes())]
        if found
    ]
    assert broken == []


def test_every_ignored_lint_rule_says_why() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    lint = tomllib.loads(text)["tool"]["ruff"]["lint"]
    rules = [*lint["ignore"], *(rule for rules in lint["per-file-ignores"].values() for rule in rules)]
    assert [rule for rule in rules if not re.search(rf'"{rule}"[],]*\s+# ', text)] == []


def test_every_suppression_in_the_code_names_its_rule() -> None:
    bare = re.compile(r"#\s*noqa(?!:)|#\s*type:\s*ignore(?!\[)")
    files = [*SOURCES, *(path for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__))]
    assert [relative(path) for path in files if bare.search(path.read_text(encoding="utf-8"))] == []


def test_tests_replace_nothing_of_what_they_test() -> None:
    replaced = re.compile(r"unittest[.]mock|pytest_mock|monkeypatch[.](setattr|setitem)")
    files = [path for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__)]
    assert [relative(path) for path in files if replaced.search(path.read_text(encoding="utf-8"))] == []
