"""Sessions over HTTP and on disk: SageMaker's contract (sagemaker.md 1.7), expiry, limits, restarts, bad ids."""

import asyncio
import re
import resource
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from botocore.loaders import Loader

from autoconfig.settings import SessionSettings
from handlers.errors import RequestError, SessionsError
from handlers.exchange import Exchange
from handlers.sessions.registry import Sessions
from tests.handlers.asgi import Request, Response
from tests.timing import LONG_SECONDS

NEW, CLOSE, CHAT = {"requestType": "NEW_SESSION"}, {"requestType": "CLOSE"}, {"inputs": "Hi"}
START = 1_800_000_000.0


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


async def answered(sessions: Sessions, payload: dict[str, Any], name: str) -> Response:
    """Do what the application does with a body and the session's header."""
    request = Request(b"", complete=True)
    headers = [(b"x-amzn-sagemaker-session-id", name.encode("latin-1"))] if name else []
    scope = {"method": "POST", "path": "/invocations", "headers": headers}
    exchange = Exchange(scope, request.receive, request.send, lambda: 0.0)
    try:
        if sessions.opens_or_closes(payload):
            await sessions.manage(exchange, payload)
        else:
            session = await sessions.begin(exchange)
            await exchange.respond(200, session.encode())
    except RequestError as error:
        await exchange.fail(error)
    return request.response


def ask(sessions: Sessions, payload: dict[str, Any], name: str = "") -> Response:
    return asyncio.run(answered(sessions, payload, name))


def opened(sessions: Sessions) -> str:
    return ask(sessions, NEW).headers["x-amzn-sagemaker-session-id"].partition(";")[0]


def started(directory: Path, clock: Clock, **settings: Any) -> Sessions:
    return Sessions(SessionSettings(str(directory), **({"expiration_seconds": 100.0} | settings)), clock)


def statuses(sessions: Sessions, *names: str) -> list[int]:
    return [ask(sessions, CHAT, name).status for name in names]


async def kept(sessions: Sessions, done: Callable[[], bool] = lambda: True) -> None:
    """Run the background work until it has done something, and end it as a worker does."""
    task = asyncio.create_task(sessions.keep(0.01))
    async with asyncio.timeout(LONG_SECONDS):
        await asyncio.sleep(0)
        while not done():  # noqa: ASYNC110 - what is waited for is on the disk
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task])


@contextmanager
def running(sessions: Sessions) -> Iterator[None]:
    """Have what happened in the block written when it ends, as at the end of a worker."""
    yield
    asyncio.run(kept(sessions))


def test_a_new_session_is_told_in_both_headers_as_botocore_wants_it(tmp_path: Path) -> None:
    response = ask(started(tmp_path, Clock()), NEW)
    value = response.headers["x-amzn-sagemaker-new-session-id"]
    shapes = Loader().load_service_model("sagemaker-runtime", "service-2")["shapes"]
    shape = shapes["NewSessionResponseHeader"]
    assert re.fullmatch(shape["pattern"], value)
    assert len(value) <= shape["max"]
    assert response.headers["x-amzn-sagemaker-session-id"] == value
    name, _, expires = value.partition("; Expires=")
    assert expires == "2027-01-15T08:01:40Z"  # START + 100 s
    assert (response.status, response.json()) == (200, {"result": f"Session {name} created"})


def test_a_session_is_used_closed_and_gone(tmp_path: Path) -> None:
    sessions = started(tmp_path, Clock())
    name = opened(sessions)
    assert ask(sessions, CHAT, name).body.decode() == name
    closed = ask(sessions, CLOSE, name)
    assert (closed.status, closed.headers["x-amzn-sagemaker-closed-session-id"]) == (200, name)
    assert ask(sessions, CHAT, name).status == ask(sessions, CLOSE, name).status == 400
    assert ask(sessions, CHAT, name).message == "The session was closed; open a new one."
    assert "does not exist here" in ask(sessions, CHAT, name[::-1]).message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", "NEW_SESSION"])
def test_close_without_a_session_is_refused(tmp_path: Path, name: str) -> None:
    assert ask(started(tmp_path, Clock()), CLOSE, name).status == 400


@pytest.mark.parametrize(
    "name",
    ["../x", "..", "/etc/passwd", "a/b", "a_b", "-a", "a-", "a b", "a" * 65, "%2e%2e", "x\x00y", "é", ".", "*"],
)
def test_a_malformed_id_is_refused_and_no_file_is_looked_for(tmp_path: Path, name: str) -> None:
    directory = tmp_path / "sessions"
    sessions = started(directory, Clock())
    (tmp_path / "x.json").write_text('{"expires_at": 9e9}')
    directory.rename(tmp_path / "away")
    for payload in (CHAT, CLOSE):
        response = ask(sessions, payload, name)
        assert (response.status, response.message[:31]) == (400, "The session id is malformed: it")
    assert not directory.exists()
    assert (tmp_path / "x.json").exists()


def test_a_new_sessions_whole_header_sent_back_is_told_which_part_is_the_id(tmp_path: Path) -> None:
    sessions = started(tmp_path, Clock())
    response = ask(sessions, CHAT, ask(sessions, NEW).headers["x-amzn-sagemaker-new-session-id"])
    assert (response.status, response.message) == (400, "The session id is malformed: send what is before the `;`.")


@pytest.mark.parametrize("kind", [NEW, CLOSE])
@pytest.mark.parametrize("asked", [{"messages": [{"role": "user", "content": "Hi"}]}, {"prompt": "Hi"}, CHAT])
def test_a_prompt_beside_a_request_type_is_refused_and_not_dropped(
    tmp_path: Path, kind: dict[str, Any], asked: dict[str, Any]
) -> None:
    sessions = started(tmp_path, Clock())
    name = opened(sessions)
    response = ask(sessions, kind | asked, name)
    assert (response.status, f"{next(iter(asked))} is not answered" in response.message) == (400, True)
    assert (len(sessions), statuses(sessions, name)) == (1, [200])
    assert ask(sessions, NEW | {"inputs": "", "model": "lmi"}).status == 200


def test_the_first_use_after_the_lifetime_is_refused(tmp_path: Path) -> None:
    clock = Clock()
    sessions = started(tmp_path, clock)
    name = opened(sessions)
    clock.now += 99
    assert statuses(sessions, name) == [200]
    clock.now += 1
    assert "has expired" in ask(sessions, CHAT, name).message
    assert "has expired" in ask(sessions, CLOSE, name).message


def test_a_sliding_lifetime_begins_afresh_with_each_use(tmp_path: Path) -> None:
    clock = Clock()
    sessions = started(tmp_path, clock, sliding=True)
    name = opened(sessions)
    for _ in range(3):
        clock.now += 99
        assert statuses(sessions, name) == [200]
    clock.now += 100
    assert statuses(sessions, name) == [400]


@pytest.mark.parametrize("sliding", [False, True])
def test_a_restart_keeps_sessions_for_as_long_as_they_had(tmp_path: Path, sliding: bool) -> None:
    clock = Clock()
    sessions = started(tmp_path, clock, sliding=sliding)
    with running(sessions):
        used, unused, closed = opened(sessions), opened(sessions), opened(sessions)
        clock.now += 60
        assert statuses(sessions, used) == [200]
        ask(sessions, CLOSE, closed)
    sessions = started(tmp_path, clock, sliding=sliding)
    assert statuses(sessions, closed) == [400]
    assert [sessions.alive(name) for name in (used, unused)] == [True, True]
    clock.now += 40
    assert [sessions.alive(name) for name in (used, unused)] == [sliding, False]
    sessions = started(tmp_path, clock, sliding=sliding)
    assert [file.stem for file in tmp_path.iterdir()] == [used] * sliding


def test_the_session_not_used_for_longest_gives_way_also_after_a_restart(tmp_path: Path) -> None:
    clock = Clock()
    sessions = started(tmp_path, clock, limit=2)
    names = []
    with running(sessions):
        for _ in range(2):
            clock.now += 1
            names.append(opened(sessions))
        clock.now += 1
        ask(sessions, CHAT, names[0])
    sessions = started(tmp_path, clock, limit=2)
    with running(sessions):
        newest = opened(sessions)
        assert statuses(sessions, names[0], names[1], newest) == [200, 400, 200]
        assert "gave way to newer ones" in ask(sessions, CHAT, names[1]).message
    assert {file.stem for file in tmp_path.iterdir()} == {names[0], newest}


def test_expired_sessions_leave_the_disk_without_anybody_asking(tmp_path: Path) -> None:
    clock = Clock()
    sessions = started(tmp_path, clock)
    opened(sessions)
    clock.now += 100
    asyncio.run(kept(sessions, lambda: list(tmp_path.iterdir()) == []))


def test_an_ordinary_body_under_new_session_is_answered_in_a_session_of_its_own(tmp_path: Path) -> None:
    sessions = started(tmp_path, Clock())
    response = ask(sessions, CHAT, "NEW_SESSION")
    name = response.body.decode()
    assert response.headers["x-amzn-sagemaker-new-session-id"].startswith(f"{name}; Expires=")
    assert statuses(sessions, name) == [200]


@pytest.mark.parametrize("payload", [NEW, CLOSE])
def test_where_sessions_are_off_asking_for_one_says_so(payload: dict[str, Any]) -> None:
    response = ask(Sessions(None), payload)
    assert response.status == 400
    assert "option.enable_stateful_sessions=true" in response.message


@pytest.mark.parametrize("name", ["", "NEW_SESSION", "abc", "../x"])
def test_where_sessions_are_off_the_header_means_nothing(name: str) -> None:
    response = ask(Sessions(None), CHAT, name)
    assert (response.status, response.body) == (200, b"")
    assert set(response.headers) == {"content-type", "content-length"}
    asyncio.run(Sessions(None).keep())


def test_files_are_private_and_so_is_a_directory_we_make(tmp_path: Path) -> None:
    directory = tmp_path / "made" / "here"
    opened(started(directory, Clock()))
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert [stat.S_IMODE(file.stat().st_mode) for file in directory.iterdir()] == [0o600]


def test_files_of_others_are_left_alone_and_give_nobody_a_session(tmp_path: Path) -> None:
    name = "0b7b2a4e-5c3d-4e5f-8a9b-0c1d2e3f4a5b"
    contents = {"notes.txt": "mine", f"{name}.json": "not ours", "abc.json": '{"expires_at": 9e9}', ".x.json": "mine"}
    for file, text in contents.items():
        (tmp_path / file).write_text(text)
    (tmp_path / f"1{name[1:]}.json").symlink_to(tmp_path / "abc.json")
    (tmp_path / f"2{name[1:]}.json").mkdir()
    sessions = started(tmp_path, Clock())
    assert statuses(sessions, name, "abc", f"1{name[1:]}", f"2{name[1:]}") == [400] * 4
    assert {file: (tmp_path / file).read_text() for file in contents} == contents


def test_what_a_killed_process_left_half_written_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".0b7b2a4e-5c3d-4e5f-8a9b-0c1d2e3f4a5b.json").write_text("{")
    started(tmp_path, Clock())
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_cannot_be_used_fails_the_start_and_names_the_option(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SessionsError, match=r"sessions cannot be kept in .*option\.sessions_path"):
        started(tmp_path / "file" / "sessions", Clock())


def test_a_disk_that_refuses_opens_no_session_and_ends_none(tmp_path: Path) -> None:
    directory = tmp_path / "sessions"
    sessions = started(directory, Clock())
    with running(sessions):
        name = opened(sessions)
        directory.rename(tmp_path / "away")
        assert ask(sessions, NEW).status == 503
        assert statuses(sessions, name) == [200]


def test_a_disk_that_is_full_is_left_without_files_of_sessions_that_could_not_be_opened(tmp_path: Path) -> None:
    sessions = started(tmp_path, Clock())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))  # a file can be made, and nothing written into it
    try:
        status = ask(sessions, NEW).status
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (status, list(tmp_path.iterdir()), len(sessions)) == (503, [], 0)


def test_a_session_closed_while_the_disk_refuses_does_not_come_back(tmp_path: Path) -> None:
    directory = tmp_path / "sessions"
    sessions = started(directory, Clock())
    with running(sessions):
        name = opened(sessions)
        directory.rename(tmp_path / "away")
        directory.touch()
        assert ask(sessions, CLOSE, name).status == 200
        directory.unlink()
        (tmp_path / "away").rename(directory)
    assert statuses(started(directory, Clock()), name) == [400]


def test_sessions_opened_together_are_all_different_and_all_alive(tmp_path: Path) -> None:
    sessions = started(tmp_path, Clock())

    async def run() -> list[Response]:
        return await asyncio.gather(*(answered(sessions, NEW, "") for _ in range(50)))

    names = {response.headers["x-amzn-sagemaker-session-id"].partition(";")[0] for response in asyncio.run(run())}
    assert len(names) == len(list(tmp_path.iterdir())) == 50
    assert all(sessions.alive(name) for name in names)
