"""Stateful sessions, as SageMaker's sticky routing asks for them."""

from autoconfig.kinds import Kind
from autoconfig.options.option import Option, Spelling

GROUP = "Session options"

OPTIONS = (
    Option(
        "enable_stateful_sessions",
        "Open and close sessions, and check the session a request names.",
        kind=Kind.BOOL,
        default=False,
        overrides=(Spelling("SAGEMAKER_ENABLE_STATEFUL_SESSIONS"),),
    ),
    Option(
        "sessions_expiration",
        "Seconds a session lives.",
        kind=Kind.FLOAT,
        default=1200.0,
        minimum=1,
        overrides=(Spelling("SAGEMAKER_SESSIONS_EXPIRATION"),),
    ),
    Option(
        "sessions_path",
        "Absolute directory of the sessions. Default: in the run directory.",
        overrides=(Spelling("SAGEMAKER_SESSIONS_PATH"),),
    ),
    Option("sessions_sliding", "Every use of a session starts its life afresh.", kind=Kind.BOOL, default=False),
    Option(
        "max_sessions",
        "Sessions at once; one more ends the one not used for longest.",
        kind=Kind.INT,
        default=10_000,
        minimum=1,
    ),
)
