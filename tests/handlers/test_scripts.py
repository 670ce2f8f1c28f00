import asyncio
import json
import logging
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from handlers.errors import ScriptError
from handlers.formatters import scripts
from handlers.formatters.scripts import Scripts
from handlers.status import NOTICES, Notices, Status
from tests.handlers.scripted import loaded, written

scripts.provide_djl_python()
ROOT = Path(__file__).parent.parent.parent
FORMATTER = """
from djl_python.output_formatter import output_formatter
NAME = {name!r}

@output_formatter
def shown(data):
    return NAME
"""


def told(script: Scripts) -> object:
    assert script.output_formatter is not None
    return asyncio.run(script.output_formatter({}))


def test_a_script_runs_once_however_often_and_from_wherever_it_is_loaded(tmp_path: Path) -> None:
    counter = tmp_path / "runs"
    file = written(tmp_path / "model", f"with open({str(counter)!r}, 'a') as file:\n    file.write('x')")
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(scripts.load, [file] * 16))
    assert counter.read_text(encoding="utf-8") == "x"
    assert all(script is found[0] for script in found)


def test_directories_whose_names_differ_in_punctuation_share_nothing(tmp_path: Path) -> None:
    both = [loaded(tmp_path / name, FORMATTER.format(name=name)) for name in ("a-b", "a.b")]
    assert [told(script) for script in both] == ["a-b", "a.b"]


def test_a_changed_file_is_another_module_even_within_the_second(tmp_path: Path) -> None:
    for name in ("one", "two", "six"):
        assert told(loaded(tmp_path, FORMATTER.format(name=name))) == name
    assert list(tmp_path.iterdir()) == [tmp_path / "model.py"]


def test_siblings_of_two_adapters_with_one_name_do_not_meet(tmp_path: Path) -> None:
    for name in ("a", "b"):
        written(tmp_path / name, "").with_name("words.py").write_text(f"NAME = {name!r}", encoding="utf-8")
    text = FORMATTER.format(name="").replace("NAME = ''", "from .words import NAME")
    assert [told(loaded(tmp_path / name, text)) for name in ("a", "b")] == ["a", "b"]


def test_an_adapter_that_imports_its_sibling_by_its_plain_name_is_told_how(tmp_path: Path) -> None:
    (tmp_path / "my_words.py").write_text("", encoding="utf-8")
    with pytest.raises(ScriptError, match=r"model.py:1: .*my_words.*`from . import my_words`"):
        loaded(tmp_path, "import my_words")


def test_the_base_model_imports_its_siblings_by_their_plain_names(tmp_path: Path) -> None:
    (tmp_path / "base_words.py").write_text("NAME = 'base'", encoding="utf-8")
    text = FORMATTER.format(name="").replace("NAME = ''", "from base_words import NAME")
    assert told(scripts.load_base(written(tmp_path, text))) == "base"


def test_what_a_script_defines_can_be_pickled(tmp_path: Path) -> None:
    text = """
        import dataclasses

        @dataclasses.dataclass
        class Point:
            x: int

        def handle(inputs):
            return Point(3)
    """
    script = loaded(tmp_path, text)
    assert script.handle is not None
    point = asyncio.run(script.handle(None))
    assert pickle.loads(pickle.dumps(point)) == point


def test_a_forgotten_script_leaves_no_module_and_runs_again_when_it_comes_back(tmp_path: Path) -> None:
    (tmp_path / "words.py").write_text("NAME = 'x'", encoding="utf-8")
    text = FORMATTER.format(name="").replace("NAME = ''", "from .words import NAME")
    script = loaded(tmp_path, text)
    scripts.forget(script)
    assert not [name for name in sys.modules if name.startswith(script.module)]
    assert told(script) == "x"
    assert loaded(tmp_path, text) is not script


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = 1\nb = x\n", "model.py:2: NameError: name 'x' is not defined"),
        ("def f():\n    return 1 / 0\n\nf()\n", "model.py:2: ZeroDivisionError: division by zero"),
        ("import nothing_of_this_name\n", "model.py:1: ModuleNotFoundError: No module named 'nothing_of_this_name'"),
        ("a = 1\nb = = 2\n", "model.py:2: SyntaxError: invalid syntax"),
        ("import sys\nsys.exit(3)\n", "model.py:2: SystemExit: 3"),
        ("raise KeyboardInterrupt\n", "model.py:1: KeyboardInterrupt"),
        ("import json\n\njson.loads('{')\n", "model.py:3: JSONDecodeError: Expecting property name enclosed in double"),
    ],
)
def test_a_script_that_cannot_run_is_told_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ScriptError) as refused:
        loaded(tmp_path, text)
    assert str(refused.value).startswith(message)
    assert not [module for module in sys.modules.values() if str(tmp_path) in str(getattr(module, "__file__", ""))]


def test_a_line_of_a_sibling_is_told_as_the_siblings(tmp_path: Path) -> None:
    (tmp_path / "words.py").write_text("\n\nraise ValueError('no words')", encoding="utf-8")
    with pytest.raises(ScriptError, match=r"^words.py:3: ValueError: no words$"):
        loaded(tmp_path, "from . import words")


def test_a_script_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ScriptError, match=r"model.py cannot be read: No such file"):
        scripts.load(tmp_path / "model.py")


INPUT = "from djl_python.input_parser import input_formatter\n@input_formatter\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def f(data, requests):\n    return data\n", "model.py:2: f: missing a required argument: 'requests'"),
        ("def f():\n    return {}\n", "model.py:2: f: too many positional arguments"),
        ("def f(data):\n    yield data\n", "model.py:2: f must return its result, not yield it"),
        ("def f(data):\n    return data\n\n@input_formatter\ndef g(data):\n    return data\n",
         "model.py: two functions are decorated with @input_formatter: f and g"),
    ],
)  # fmt: skip
def test_a_formatter_that_cannot_be_called_is_an_error_when_it_is_loaded(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(ScriptError) as refused:
        loaded(tmp_path, INPUT + text)
    assert str(refused.value).startswith(message)


def test_one_formatter_under_two_names_is_one(tmp_path: Path) -> None:
    script = loaded(tmp_path, INPUT + "def f(data):\n    return data\n\ng = f\n")
    assert script.input_formatter is not None


def test_sagemakers_names_count_only_where_nothing_is_decorated(tmp_path: Path) -> None:
    plain = "def input_fn(body, content_type):\n    return {}\n\ndef output_fn(prediction, accept):\n    return ''\n"
    assert loaded(tmp_path / "a", plain).output_formatter is not None
    assert loaded(tmp_path / "b", plain + INPUT + "def f(data):\n    return data\n").output_formatter is None


@pytest.mark.parametrize(
    "text",
    ["", "x = 1", "def input_formatter(payload):\n    return payload\n", "handle = 3",
     "def model_fn(model_dir):\n    return None\n\ndef predict_fn(data, model):\n    return data\n"],
)  # fmt: skip
def test_a_script_without_a_function_that_is_ever_called_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    file = written(tmp_path, text)
    for _ in range(2):
        assert scripts.load(file).idle
    (told,) = [entry.getMessage() for entry in caplog.records if entry.name == NOTICES]
    assert told.startswith(f"{file} has no effect: nothing in it is decorated with @input_formatter")


@pytest.mark.parametrize(
    ("text", "told"),
    [("x = 1", 0), ("def handler(inputs): ...", 0), ("handle = 3", 1), ("from . import mine", 1)],
)
def test_a_base_script_without_effect_is_told_where_its_text_did_not_show_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str, told: int
) -> None:
    written(tmp_path, text).with_name("mine.py").write_text("")
    assert scripts.load_base(tmp_path / "model.py").idle
    assert len([entry for entry in caplog.records if entry.name == NOTICES]) == told


def test_the_supervisor_is_told_of_a_script_without_effect_while_the_model_starts(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    relay = Notices(Status(writing))
    logging.getLogger(NOTICES).addHandler(relay)
    try:
        loaded(tmp_path, "x = 1")
    finally:
        logging.getLogger(NOTICES).removeHandler(relay)
        os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as lines:
        (event,) = map(json.loads, lines)
    assert (event["event"], event["text"].split(":")[0]) == ("notice", f"{tmp_path}/model.py has no effect")


@pytest.mark.parametrize("function", ["input_fn(a, b)", "output_fn(a, b)", "handle(inputs)"])
def test_one_function_is_enough_to_have_an_effect(tmp_path: Path, function: str) -> None:
    assert not loaded(tmp_path, f"def {function}:\n    return None\n").idle


def test_each_function_of_an_adapter_goes_before_the_bases(tmp_path: Path) -> None:
    base = loaded(tmp_path / "base", FORMATTER.format(name="base") + INPUT + "def f(data):\n    return data\n")
    adapter = loaded(tmp_path / "adapter", FORMATTER.format(name="adapter"))
    over = adapter.over(base)
    assert (over.input_formatter, over.output_formatter) == (base.input_formatter, adapter.output_formatter)
    assert adapter.over(None) is adapter


def test_djls_own_package_stays_where_there_is_one(tmp_path: Path) -> None:
    (tmp_path / "djl_python").mkdir()
    (tmp_path / "djl_python" / "__init__.py").write_text("MINE = False", encoding="utf-8")
    provide = "from handlers.formatters import scripts; scripts.provide_djl_python()"
    code = f"{provide}; import djl_python; print(djl_python.MINE)"
    paths = f"{ROOT}:{tmp_path}"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env={"PYTHONPATH": paths}, capture_output=True, text=True, check=False)
    assert done.stdout == "False\n", done.stderr
