"""What the request path and the container itself obey."""

from urllib.parse import urlsplit

from autoconfig.kinds import Kind
from autoconfig.options.option import Option, Spelling

GROUP = "Serving"


def _mebibytes(text: str) -> str:
    """`SAGEMAKER_MAX_PAYLOAD_IN_MB=6` -> max_request_size=6291456; what is no number the type check refuses."""
    return str(int(text) * 1024 * 1024) if text.strip().isdecimal() else text


def _port_of(address: str) -> str:
    """`inference_address=http://0.0.0.0:8080` -> 8080."""
    try:
        return str(urlsplit(address).port or address)
    except ValueError:
        return address


OPTIONS = (
    Option(
        "frontend",
        "What answers HTTP: direct (the worker itself) or djl (DJL Serving in front of it, where the image has it).",
        choices=("direct", "djl"),
        default="direct",
    ),
    Option(
        "bind_to_port",
        "Port of the one listener; its address is always 0.0.0.0.",
        kind=Kind.INT,
        default=8080,
        minimum=1,
        maximum=65535,
        overrides=(Spelling("SAGEMAKER_BIND_TO_PORT"),),
        server_keys=(Spelling("inference_address", _port_of),),
    ),
    Option(
        "safe_port_range",
        "Ports the other listeners (loopback only) are taken from, as 5000-5999.",
        overrides=(Spelling("SAGEMAKER_SAFE_PORT_RANGE"),),
    ),
    Option(
        "predict_timeout",
        "Seconds one request may take; then 504, or an error record inside the stream.",
        kind=Kind.FLOAT,
        default=240.0,
        minimum=0.001,
        overrides=(Spelling("SAGEMAKER_MODEL_SERVER_TIMEOUT_SECONDS"),),
        environment=(Spelling("PREDICT_TIMEOUT"),),
    ),
    Option(
        "model_loading_timeout",
        "Seconds from start to ready; then the container ends with exit code 5.",
        kind=Kind.FLOAT,
        default=1200.0,
        minimum=1,
        overrides=(Spelling("SAGEMAKER_STARTUP_TIMEOUT"),),
        environment=(Spelling("MODEL_LOADING_TIMEOUT"),),
    ),
    Option(
        "max_concurrent_requests",
        "Requests in flight at most; one more is answered 429 with Retry-After.",
        kind=Kind.INT,
        default=256,
        minimum=1,
        environment=(Spelling("MAX_CONCURRENT_REQUESTS"),),
        server_keys=(Spelling("job_queue_size"),),
    ),
    Option(
        "max_request_size",
        "Bytes of a request body at most; more is answered 413.",
        kind=Kind.HUMAN_INT,
        default=64 * 1024 * 1024,
        minimum=1,
        overrides=(Spelling("SAGEMAKER_MAX_REQUEST_SIZE"), Spelling("SAGEMAKER_MAX_PAYLOAD_IN_MB", _mebibytes)),
        server_keys=(Spelling("max_request_size"),),
    ),
    Option(
        "max_new_tokens",
        "Tokens an `inputs` request gets that names no limit, as in TGI and LMI.",
        kind=Kind.INT,
        default=30,
        minimum=1,
    ),
    Option(
        "output_formatter",
        "How streams are framed: auto (SSE for OpenAI bodies, JSON lines for `inputs`), json, jsonlines or sse.",
        choices=("auto", "json", "jsonlines", "sse"),
        default="auto",
    ),
    Option(
        "entrypoint",
        "Python file of your own in the model directory, with formatters or a handler (LMI: entryPoint). Default: "
        "model.py, where there is one. LMI's own handlers, djl_python.*, may be named and change nothing.",
        environment=(Spelling("DJL_ENTRY_POINT"),),
    ),
    Option("tgi_compat", "Answer `inputs` requests with a list, as TGI does.", kind=Kind.BOOL, default=False),
    Option("normalize", "Scale embeddings to length 1.", kind=Kind.BOOL, default=True),
    Option(
        "drain_timeout",
        "Seconds that requests in flight get after SIGTERM; SageMaker kills at 30, and the engine needs some to end.",
        kind=Kind.FLOAT,
        default=20.0,
        minimum=0,
        maximum=20,
    ),
    Option("log_format", "Log lines as text or as JSON.", choices=("text", "json"), default="text"),
    Option(
        "log_level",
        "vLLM's own log level.",
        choices=("debug", "info", "warning", "error", "critical"),
        spelled={name.upper(): name for name in ("debug", "info", "warning", "error", "critical")}
        | {"warn": "warning"},
        default="warning",
        environment=(Spelling("SM_VLLM_LOG_LEVEL"),),
    ),
    Option(
        "log_requests", "One log line per request: id, status, duration; never its text.", kind=Kind.BOOL, default=True
    ),
)
