"""LMI and DJL Serving options that are accepted and change nothing here, each with the reason."""

from autoconfig.kinds import Kind
from autoconfig.options.option import Option, Spelling

GROUP = "Accepted, without effect"

_BATCHING = "no effect: vLLM always batches continuously"
_ONE_HANDLER = "no effect: this container has one handler, and vLLM behind it"
_ONE_ENGINE = "no effect: one engine serves the whole container; option.data_parallel_size makes copies inside it"
_JAVA = "no effect without option.frontend=djl: there is no Java server in front"
_STATUSES = "no effect: every error carries the status it deserves"
_HEALTH = "no effect: /ping fails exactly when the engine cannot answer, and the container then ends"

# name under option., what it is in LMI, why it has no effect here
_MODEL_LEVEL = (
    ("pythonexecutable", "Python for the worker", "no effect: the worker runs under the container's own Python"),
    (
        "enable_venv",
        "Virtual environment for the model",
        "no effect: requirements.txt is installed with constraints instead",
    ),
    ("waiting_steps", "Decode steps between prefills", _BATCHING),
    ("async_mode", "Asynchronous handler", "no effect: always asynchronous"),
    ("mpi_mode", "Start workers with mpirun", "no effect: vLLM starts its own workers"),
    ("parallel_loading", "Load workers at the same time", _ONE_ENGINE),
    ("use_passive_workers", "Workers without a thread", _ONE_ENGINE),
    ("device_id", "GPU of the worker", "no effect: set CUDA_VISIBLE_DEVICES or option.device_ids"),
    ("enable_streaming", "Streaming, deprecated in LMI", 'no effect: the request\'s "stream" field decides'),
    (
        "enable_reasoning",
        "Reasoning output, deprecated in vLLM",
        "no effect: option.reasoning_parser alone turns it on",
    ),
    ("long_lora_scaling_factors", "Removed from vLLM", "no effect: vLLM removed long-context LoRA"),
    ("sessions_s3url", "Copy of the sessions in S3", "no effect: sessions live as long as this container"),
    ("log_request_metric", "Token metrics in the log", "no effect: they are always at /metrics"),
    ("metrics_aggregation", "Requests per metric line", "no effect: they are always at /metrics"),
    (
        "is_peft_model",
        "Base model is a PEFT directory",
        "no effect: use option.model_id for the base model and option.adapters for the adapter",
    ),
)

# DJL Serving's own keys: unprefixed in serving.properties, SERVING_<KEY> in the environment
_SERVER_LEVEL = (
    ("engine", "DJL engine", _ONE_HANDLER),
    ("batch_size", "Dynamic batch size", _BATCHING),
    ("max_batch_delay", "Milliseconds to wait for a batch", _BATCHING),
    ("retry_threshold", "Restarts before a model fails", _HEALTH),
    ("management_address", "Address of the management API", _JAVA),
    ("cluster_address", "Address of the cluster API", "no effect: one container is one node"),
    ("load_models", "Models to load", "no effect: one container serves one model; use option.model_id"),
    ("model_store", "Directory of models", "no effect: one container serves one model; use --model-dir"),
    (
        "wait_model_loading",
        "Open the port after loading",
        "no effect: /ping is 200 once the model answers, never before",
    ),
    ("allow_multi_status", "207 from /ping", "no effect: one model, one status"),
    ("number_of_netty_threads", "Netty threads", _JAVA),
    ("max_idle_time", "Seconds an idle worker stays", _ONE_ENGINE),
    ("min_workers", "Fewest workers", _ONE_ENGINE),
    ("max_workers", "Most workers", _ONE_ENGINE),
    ("minworkers", "Fewest workers", _ONE_ENGINE),
    ("maxworkers", "Most workers", _ONE_ENGINE),
    ("gpu.minworkers", "Fewest workers on a GPU", _ONE_ENGINE),
    ("gpu.maxworkers", "Most workers on a GPU", _ONE_ENGINE),
    ("cpu.minworkers", "Fewest workers on the CPU", _ONE_ENGINE),
    ("cpu.maxworkers", "Most workers on the CPU", _ONE_ENGINE),
    ("reserved_memory_mb", "Memory kept free", _JAVA),
    ("load_on_devices", "Devices to load on", "no effect: set CUDA_VISIBLE_DEVICES or option.device_ids"),
    ("chunked_read_timeout", "Seconds between chunks", "no effect: option.predict_timeout bounds the whole request"),
    ("error_rate_wlm", "Errors before /ping fails", _HEALTH),
    ("error_rate_server", "Errors before /ping fails", _HEALTH),
    ("error_rate_model", "Errors before /ping fails", _HEALTH),
    ("error_rate_any", "Errors before /ping fails", _HEALTH),
    ("bad_request_http_code", "Status of a bad request", _STATUSES),
    ("wlm_error_http_code", "Status of a work load manager error", _STATUSES),
    ("throttle_error_http_code", "Status when throttled", _STATUSES),
    ("timeout_http_code", "Status of a timeout", _STATUSES),
    ("server_error_http_code", "Status of a server error", _STATUSES),
    (
        "request_id_header_key",
        "Header of the request id",
        "no effect: X-Amzn-SageMaker-Inference-Id, else X-Request-Id",
    ),
    ("cors_allowed_origin", "CORS origin", "no effect: use option.allowed_origins"),
    ("cors_allowed_methods", "CORS methods", "no effect: use option.allowed_methods"),
    ("cors_allowed_headers", "CORS headers", "no effect: use option.allowed_headers"),
    ("model_url_pattern", "Models that requests may name", "no effect: requests cannot load models"),
    ("plugin_folder", "Directory of Java plugins", _JAVA),
    ("use_native_io", "Native transport", _JAVA),
    ("io_ratio", "Netty I/O ratio", _JAVA),
    ("prefer_direct_buffer", "Netty buffers", _JAVA),
    ("features", "Python engines of the image", _ONE_HANDLER),
    ("fail_fast", "Exit when a worker fails", _HEALTH),
    ("health_check_override", "Stay healthy without workers", "no effect: engine death ends this container"),
    ("prometheus", "Java metrics", "no effect: /metrics is always there"),
)

# DJL Serving's own keys that it goes on obeying where it is in front
_IN_FRONT = frozenset(
    "management_address number_of_netty_threads reserved_memory_mb chunked_read_timeout error_rate_wlm "
    "error_rate_server error_rate_model error_rate_any bad_request_http_code wlm_error_http_code "
    "throttle_error_http_code timeout_http_code server_error_http_code request_id_header_key cors_allowed_origin "
    "cors_allowed_methods cors_allowed_headers model_url_pattern plugin_folder use_native_io io_ratio "
    "prefer_direct_buffer sagemaker_model_server_vmargs python_executable max_netty_buffer_size java_opts".split()
)

# variables that DJL Serving or its start script reads directly
_VARIABLES = (
    ("sagemaker_health_check_override", "/ping fails when workers are missing", "always so here"),
    ("sagemaker_num_model_workers", "Workers", _ONE_ENGINE),
    ("sagemaker_model_server_workers", "Workers", _ONE_ENGINE),
    ("sagemaker_default_invocations_accept", "Accept header when absent (scikit-learn)", _ONE_HANDLER),
    ("sagemaker_model_server_vmargs", "Arguments of the Java machine", _JAVA),
    ("model_server_home", "Home of DJL Serving", "no effect: it is in the run directory"),
    ("djl_cache_dir", "Cache of DJL", "no effect: set HF_HOME or option.download_directory"),
    ("engine_cache_dir", "Cache of DJL's Python engine", "no effect: it is in the run directory"),
    ("djl_offline", "No downloads by DJL", "no effect: set HF_HUB_OFFLINE=1"),
    ("djl_venv_dir", "Virtual environments of DJL", "no effect: the worker runs in the container's own"),
    ("python_executable", "Python for the worker", "no effect: the worker runs under the container's own Python"),
    ("max_netty_buffer_size", "Netty buffers", _JAVA),
    ("allow_request_handler_override", "Header that picks a handler", _ONE_HANDLER),
    ("opt_out_tracking", "No telemetry", "always so here"),
    ("java_opts", "Arguments of the Java machine", _JAVA),
)

# those whose value decides: most values change nothing, some would change what is answered
_BY_VALUE = (
    Option(
        "handler",
        "Function in the entry point",
        note=_ONE_HANDLER,
        refused="names another function; call it handle, and remove this",
        refused_when=lambda function: function != "handle",
    ),
    Option(
        "rolling_batch",
        "Rolling batch implementation",
        choices=("auto", "disable", "vllm", "lmi-dist", "scheduler"),
        note=_BATCHING,
    ),
    Option(
        "cluster_size",
        "Nodes",
        kind=Kind.INT,
        minimum=1,
        note="no effect: one container is one node",
        refused="needs several nodes; this container is one",
        refused_when=lambda nodes: nodes != 1,
    ),
)

OPTIONS = (
    *_BY_VALUE,
    *(Option(name, meaning, note=note) for name, meaning, note in _MODEL_LEVEL),
    # LMI takes the first four under option.* as well.
    *(
        Option(name, meaning, note=note, server_keys=(Spelling(name),), prefixed=place < 4, in_front=name in _IN_FRONT)
        for place, (name, meaning, note) in enumerate(_SERVER_LEVEL)
    ),
    *(
        Option(
            name,
            meaning,
            note=note,
            environment=(Spelling(name.upper()),),
            prefixed=False,
            in_front=name in _IN_FRONT,
        )
        for name, meaning, note in _VARIABLES
    ),
)
