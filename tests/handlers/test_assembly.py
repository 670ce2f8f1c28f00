"""A plan and a loaded engine into the application: what a start needs, what fails it, and what runs beside it."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from autoconfig.settings import AdapterSettings, AdapterSource, ServingSettings, SessionSettings, WorkerPlan
from handlers.app import Application
from handlers.assembly import Preparation, assemble
from handlers.errors import ScriptError, SessionsError
from handlers.status import NOTICES
from tests.handlers.adapted import HEADER, AdaptedEngine, echoes
from tests.handlers.asgi import Response, in_progress
from tests.handlers.lora import write_adapter, write_base
from tests.handlers.scripted import written


def plan(root: Path, **given: Any) -> WorkerPlan:
    usual = {"host": "", "port": 0, "model": "org/tiny", "model_names": ("tiny",), "task": "generate"}
    of_engine = {"engine_arguments": (), "serving": ServingSettings(), "run_directory": str(root)}
    return WorkerPlan(**{**usual, **of_engine, **given})


def sources(root: Path, *names: str) -> tuple[AdapterSource, ...]:
    return tuple(AdapterSource(name, str(write_adapter(root / name)), preload=True) for name in names)


def assembled(
    plan: WorkerPlan, test: Callable[[Application], Awaitable[None]], engine: AdaptedEngine | None = None
) -> CollectorRegistry:
    """Run a test on what a plan is assembled into, and end it."""
    registry = CollectorRegistry()

    async def run() -> None:
        assembly = await assemble(plan, Preparation.of(plan), engine or echoes(), registry, tiers=False)
        await test(assembly.app)
        await assembly.close()
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(run())
    return registry


async def ask(app: Application, body: Any, path: str = "/invocations", **headers: str) -> Response:
    async with in_progress(app, body, path, "POST", True, **headers) as request:
        pass
    return request.response


def test_a_plan_of_nothing_but_a_model_is_served(tmp_path: Path) -> None:
    async def test(app: Application) -> None:
        assert (await ask(app, {"prompt": "x"})).json()["model"] == "tiny"
        assert (await ask(app, b"", "/adapters?name=a&src=/a")).status == 400
        assert (await ask(app, {"requestType": "NEW_SESSION"})).status == 400

    registry = assembled(plan(tmp_path), test)
    assert registry.get_sample_value("lmi_requests_in_flight") == 0
    assert registry.get_sample_value("lmi_adapters_registered") is None


def test_the_operators_adapters_are_loaded_before_the_first_request_and_a_bad_one_is_told(tmp_path: Path) -> None:
    given = (*sources(tmp_path, "a"), AdapterSource("bad", str(tmp_path / "absent"), preload=True))

    async def test(app: Application) -> None:
        assert engine.lora.count("load") == 1
        assert (await ask(app, {"prompt": "x"}, **{HEADER: "a"})).json()["model"] == "a"
        response = await ask(app, {"prompt": "x"}, **{HEADER: "bad"})
        assert (response.status, "does not exist" in response.message) == (400, True)
        assert engine.lora.count("load") == 1

    engine = echoes()
    registry = assembled(plan(tmp_path, adapters=AdapterSettings(2, 2, 16, (), given)), test, engine)
    told = [registry.get_sample_value(f"lmi_adapter{name}") for name in ("s_registered", "s_failed", "_loads_total")]
    assert told == [1, 1, 1]


def test_only_what_nobody_could_know_before_is_told_of_a_bad_adapter(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (write_adapter(tmp_path / "script") / "model.py").write_text("import nowhere")
    known = AdapterSource("known", str(tmp_path / "absent"), problem="there is no such directory")
    settings = AdapterSettings(2, 2, 16, (), (AdapterSource("script", str(tmp_path / "script"), preload=True), known))

    async def test(_app: Application) -> None: ...

    assembled(plan(tmp_path, adapters=settings), test)
    (told,) = [entry.getMessage() for entry in caplog.records if entry.name == NOTICES]
    assert told.startswith(f"the adapter script ({tmp_path}/script) cannot be loaded: model.py:1: ModuleNotFoundError")


def test_adapters_are_held_against_the_files_the_engine_has_loaded(tmp_path: Path) -> None:
    async def test(app: Application) -> None:
        response = await ask(app, {"prompt": "x"}, **{HEADER: "a"})
        assert (response.status, "made for another base model" in response.message) == (400, True)

    engine = echoes()
    engine.weights_directory = write_base(tmp_path / "base", hidden=16)
    assembled(plan(tmp_path, adapters=AdapterSettings(2, 2, 16, (), sources(tmp_path, "a"))), test, engine)


def test_a_handler_sees_the_options_of_the_configuration(tmp_path: Path) -> None:
    script = written(
        tmp_path / "model",
        """
        from djl_python import Output

        def handle(inputs):
            if inputs.is_empty():
                return None
            given = inputs.get_properties()
            return Output().add_as_json({name: given[name] for name in ("model_id", "model_dir", "rolling_batch")})
        """,
    )

    async def test(app: Application) -> None:
        assert (await ask(app, {"prompt": "x"})).json() == told

    told = {"model_id": "org/tiny", "model_dir": str(script.parent), "rolling_batch": "auto"}
    assembled(plan(tmp_path, script=str(script), script_options=told), test)


@pytest.mark.parametrize(
    ("text", "told"),
    [("import absent_module\n", r"model.py:1: ModuleNotFoundError"),
     ("def handle(inputs):\n    if inputs.is_empty():\n        raise ValueError('no')\n", r"model.py: handle failed")],
)  # fmt: skip
def test_a_base_script_that_cannot_be_used_fails_the_start(tmp_path: Path, text: str, told: str) -> None:
    async def test(_: Application) -> None:
        raise AssertionError

    script = written(tmp_path / "model", text)
    with pytest.raises(ScriptError, match=told):
        assembled(plan(tmp_path, script=str(script)), test)


def test_a_directory_of_sessions_that_cannot_be_used_fails_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SessionsError, match="sessions_path"):
        Preparation.of(plan(tmp_path, sessions=SessionSettings(str(tmp_path / "file"))))


def test_sessions_outlive_what_is_assembled(tmp_path: Path) -> None:
    given = plan(tmp_path, sessions=SessionSettings(str(tmp_path / "sessions")))
    names: list[str] = []

    async def first(app: Application) -> None:
        opened = await ask(app, {"requestType": "NEW_SESSION"})
        names.append(opened.headers["x-amzn-sagemaker-new-session-id"].partition(";")[0])

    async def second(app: Application) -> None:
        assert (await ask(app, {"prompt": "x"}, x_amzn_sagemaker_session_id=names[0])).status == 200

    assembled(given, first)
    assert assembled(given, second).get_sample_value("lmi_sessions") == 1


@pytest.mark.parametrize("kind", ["nothing", "script", "adapters"])
def test_the_tokenizer_of_formatters_is_made_at_the_start_and_only_where_there_may_be_some(
    tmp_path: Path, kind: str
) -> None:
    asked = []

    class Engine(AdaptedEngine):
        def __getattribute__(self, name: str) -> Any:
            asked.extend([name] if name == "formatting_tokenizer" else [])
            return super().__getattribute__(name)

    async def test(app: Application) -> None:
        before = len(asked)
        assert (await ask(app, {"prompt": "x"})).status == 200
        assert len(asked) == before == (kind != "nothing")

    script = written(tmp_path / "model", "def input_fn(body, kind):\n    return body\n")
    given: dict[str, dict[str, Any]] = {
        "nothing": {},
        "script": {"script": str(script)},
        "adapters": {"adapters": AdapterSettings(2, 2, 16, ())},
    }
    assembled(plan(tmp_path, **given[kind]), test, Engine(echoes().answer))
