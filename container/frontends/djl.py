"""DJL Serving as the front end: Java answers HTTP and starts the worker as its Python process."""

import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from container.children import Hosting
from container.frontends.djl_settings import model_properties, server_properties, written
from container.frontends.djl_start import MIB, DjlStart
from container.frontends.front_end import FrontEnd, Worker

THREADS_BEYOND = 64
MOST_THREADS = 32767
"""ForkJoinPool takes no more."""
MOST_SOCKET_BYTES = 107
"""A socket's path has at most as many (unix(7)). Java's is java.io.tmpdir/djl_sock.19000."""
LOG4J2 = Path(__file__).with_name("log4j2.xml")
FRAME_BYTES = 20 * MIB
"""Of a reply, at most as much in one frame; more, and Java restarts the engine (Connection.java)."""

# Read by Java or its start script; each would change what the files say, or load a second model (HF_MODEL_ID).
_NOT_FOR_JAVA = frozenset(
    "HF_MODEL_ID HF_REVISION HF_TASK SAGEMAKER_NUM_MODEL_WORKERS SAGEMAKER_STARTUP_TIMEOUT "
    "SAGEMAKER_MODEL_SERVER_TIMEOUT_SECONDS SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT SAGEMAKER_MAX_REQUEST_SIZE "
    "SAGEMAKER_MAX_PAYLOAD_IN_MB SAGEMAKER_MODEL_SERVER_VMARGS SAGEMAKER_MULTI_MODEL TENSOR_PARALLEL_DEGREE "
    "PIPELINE_PARALLEL_DEGREE PREDICT_TIMEOUT MODEL_LOADING_TIMEOUT DJL_ENTRY_POINT DJL_CLUSTER_SIZE DJL_VENV_DIR "
    "ALLOW_REQUEST_HANDLER_OVERRIDE JAVA_OPTS".split()
)


def djl(worker: Worker, start: DjlStart) -> FrontEnd:
    """Plan DJL Serving in front of the worker."""
    directory, plan = start.directory, worker.plan
    model, config = directory / "model", directory / "config.properties"
    keys = {name: text for name, text in start.given.items() if name not in _ELSEWHERE}
    settings = server_properties(plan, directory, keys)
    return FrontEnd(
        name="djl",
        description=f"DJL Serving of {start.serving.home}, its Python engine {_python(start)}",
        argv=(
            start.serving.java,
            *_java_options(worker, start),
            "ai.djl.serving.ModelServer",
            *("-f", str(config)),
            *("-s", str(model)),  # a relative one gives a server without a model, and /ping 200
        ),
        environment=_environment(worker, start),
        files={
            model / "serving.properties": written(model_properties(plan, worker.file, start.seconds)),
            config: written(settings),
        },
        directories=(directory, model, directory / "tmp", directory / "cache"),
        hosting=Hosting(directory / "status", plan.port),
        note=_open_to_all(settings),
        problem=start.serving.problem or _too_long(directory) or _no_socket(start, settings),
    )


# Given as variables, which are handed on as such or become arguments of Java.
_ELSEWHERE = frozenset({"java_opts", "sagemaker_model_server_vmargs", "python_executable", "max_netty_buffer_size"})


def _java_options(worker: Worker, start: DjlStart) -> Iterator[str]:
    temporary = start.directory / "tmp"
    threads = min(worker.plan.serving.max_concurrent_requests + THREADS_BEYOND, MOST_THREADS)
    yield f"-Xmx{start.heap_bytes // MIB}m"
    yield "-XX:+ExitOnOutOfMemoryError"
    yield "-XX:-UsePerfData"  # else it writes into /tmp
    # Each reply in progress holds a thread of this pool, and /ping waits for one (ModelManager.java).
    yield f"-Djava.util.concurrent.ForkJoinPool.common.parallelism={threads}"
    # Two DJLs that share one end each other's worker, by its djl_sock.19000.pid (Connection.java).
    yield f"-Djava.io.tmpdir={temporary}"
    yield f"-Djava.library.path={start.serving.home / 'native'}"
    yield f"-Dlog4j2.configurationFile={LOG4J2}"
    yield f"-Dlmi.log.level={'INFO' if start.log_level in ('debug', 'info') else 'WARN'}"
    for name in ("java_opts", "sagemaker_model_server_vmargs"):
        yield from shlex.split(start.given.get(name, ""))
    yield from ("-cp", f"{start.serving.home}/lib/*")


def _environment(worker: Worker, start: DjlStart) -> Mapping[str, str]:
    """Return Java's environment, which is the worker's too: Java hands it on."""
    directory = start.directory
    kept = {
        name: text
        for name, text in worker.environment.items()
        if name not in _NOT_FOR_JAVA and not name.startswith("ARGS_")
    }
    # Without a locale Java takes paths for ASCII.
    locale = {} if any(kept.get(name) for name in ("LC_ALL", "LC_CTYPE", "LANG")) else {"LC_CTYPE": "C.UTF-8"}
    return (
        kept
        | locale
        | {
            "APP_HOME": str(start.serving.home),
            "MODEL_SERVER_HOME": str(directory),
            "DJL_CACHE_DIR": str(directory / "cache"),
            "ENGINE_CACHE_DIR": str(directory / "cache"),
            "MAX_NETTY_BUFFER_SIZE": start.given.get("max_netty_buffer_size", str(FRAME_BYTES)),
            "OPT_OUT_TRACKING": "true",
            "PYTHON_EXECUTABLE": _python(start),
            "LMI_PYTHON": sys.executable,
            "LMI_STATUS_PIPE": str(directory / "status"),
        }
    )


def _python(start: DjlStart) -> str:
    return start.given.get("python_executable") or str(start.engine)


def _open_to_all(settings: Mapping[str, str]) -> str:
    if settings["management_address"] != settings["inference_address"]:
        return ""
    return (
        f"DJL Serving's management API is at {settings['inference_address']} beside /invocations: whoever reaches it "
        "can load and unload models, and run any program by it. /adapters comes with it; if nobody needs that, set "
        "SERVING_MANAGEMENT_ADDRESS=http://127.0.0.1:8081"
    )


def _too_long(directory: Path) -> str:
    socket = directory / "tmp" / "djl_sock.19000"
    if len(str(socket).encode()) <= MOST_SOCKET_BYTES:
        return ""
    return f"run directory {directory.parent}: too long a path for the sockets of DJL Serving; set LMI_RUN_DIR"


def _no_socket(start: DjlStart, settings: Mapping[str, str]) -> str:
    """Say why DJL Serving cannot listen at the unix socket it is given: that takes Netty's native library."""
    if not settings["management_address"].startswith("unix:"):
        return ""
    if settings.get("use_native_io", "true").lower() != "true":
        why = "use_native_io=false leaves"
    elif not start.native:
        why = f"run directory {start.run_directory}: mounted noexec, which leaves"
    else:
        return ""
    return f"{why} DJL Serving without unix sockets; set SERVING_MANAGEMENT_ADDRESS=http://127.0.0.1:8081"
