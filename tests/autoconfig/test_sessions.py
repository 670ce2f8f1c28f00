import pytest

from autoconfig.settings import SessionSettings
from tests.autoconfig.configured import errors, launched, resolved


def told(**environ: str) -> SessionSettings | None:
    """Return what the worker learns of sessions."""
    return launched(resolved(**environ)).plan.sessions


def test_sessions_are_off_unless_asked_for() -> None:
    assert told() is None
    assert told(OPTION_ENABLE_STATEFUL_SESSIONS="false") is None


@pytest.mark.parametrize("variable", ["OPTION_ENABLE_STATEFUL_SESSIONS", "SAGEMAKER_ENABLE_STATEFUL_SESSIONS"])
def test_either_name_turns_them_on_with_the_usual_life(variable: str) -> None:
    assert told(**{variable: "true"}) == SessionSettings("/run/lmi/sessions", 1200.0, sliding=False, limit=10_000)


def test_sagemakers_variables_beat_the_options() -> None:
    given = {
        "OPTION_ENABLE_STATEFUL_SESSIONS": "false", "SAGEMAKER_ENABLE_STATEFUL_SESSIONS": "true",
        "OPTION_SESSIONS_EXPIRATION": "60", "SAGEMAKER_SESSIONS_EXPIRATION": "90",
        "OPTION_SESSIONS_PATH": "/mnt/one", "SAGEMAKER_SESSIONS_PATH": "/mnt/other",
        "OPTION_SESSIONS_SLIDING": "true", "OPTION_MAX_SESSIONS": "7",
    }  # fmt: skip
    assert told(**given) == SessionSettings("/mnt/other", 90.0, sliding=True, limit=7)


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("SAGEMAKER_ENABLE_STATEFUL_SESSIONS", "maybe"),
        ("SAGEMAKER_SESSIONS_EXPIRATION", "0"),
        ("SAGEMAKER_SESSIONS_PATH", "sessions"),
        ("OPTION_MAX_SESSIONS", "0"),
        ("OPTION_SESSIONS_SLIDING", "2"),
    ],
)
def test_a_value_that_cannot_be_meant_stops_the_start(variable: str, text: str) -> None:
    assert f"({variable})" in errors(**{variable: text})


def test_what_is_set_while_sessions_are_off_is_remarked() -> None:
    notes = resolved(SAGEMAKER_SESSIONS_EXPIRATION="90", OPTION_SESSIONS_S3URL="s3://b/s").notes
    assert [note.partition(": ")[2] for note in notes] == [
        "no effect: sessions live as long as this container",
        "no effect without option.enable_stateful_sessions=true",
    ]
