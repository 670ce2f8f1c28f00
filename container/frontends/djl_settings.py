"""What DJL Serving is told in its own files: every key it would otherwise guess, look up or ask Hugging Face for.

Read in 0.36: wlm/ModelInfo.java, wlm/LmiUtils.java, serving/util/ConfigManager.java, python/engine/PyModel.java.
"""

from collections.abc import Mapping
from math import ceil
from pathlib import Path

import javaproperties

from autoconfig.settings import WorkerPlan

CHUNK_SECONDS_BEYOND = 60
"""The worker ends a request at its deadline and says so; Java, which would cut the connection, waits that much more."""
LOADING_SECONDS_BEYOND = 60
FEWEST_JOBS = 1000


def model_properties(plan: WorkerPlan, launch_plan: Path, start_seconds: float) -> dict[str, str]:
    """Return the model's serving.properties.

    There is no `option.model_id`: Java would ask Hugging Face for its config.json, and choose by it what is said here.
    """
    return {
        "engine": "Python",
        "minWorkers": "1",
        "maxWorkers": "1",
        "batch_size": "1",
        "job_queue_size": str(max(FEWEST_JOBS, 4 * plan.serving.max_concurrent_requests)),
        # The worker sees to its GPUs itself: with a device of its own Java would cut CUDA_VISIBLE_DEVICES.
        "load_on_devices": "-1",
        "reserved_memory_mb": "0",
        "option.entryPoint": "handlers.djl",
        "option.handler": "handle",
        "option.async_mode": "true",
        "option.rolling_batch": "disable",
        "option.mpi_mode": "false",
        "option.enable_venv": "false",
        "option.parallel_loading": "false",
        "option.tensor_parallel_degree": "1",
        "option.pipeline_parallel_degree": "1",
        "option.predict_timeout": str(ceil(plan.serving.predict_timeout_seconds)),
        "option.model_loading_timeout": str(ceil(start_seconds) + LOADING_SECONDS_BEYOND),
        # Java refuses adapters without it.
        "option.enable_lora": "true" if plan.adapters else "false",
        # A worker that died ends the container, so /ping may fail from that moment on.
        "option.retry_threshold": "0",
        "option.launch_plan": str(launch_plan),
    }


def server_properties(plan: WorkerPlan, directory: Path, given: Mapping[str, str]) -> dict[str, str]:
    """Return config.properties, with what the operator gave on top.

    Whoever reaches the management API can load any model, which is to run any program, so it listens on a socket of
    `directory`; where there are adapters it cannot, for DJL Serving has /adapters beside it alone (ServerInitializer).
    """
    address = f"http://{plan.host}:{plan.port}"
    return {
        "inference_address": address,
        "management_address": address if plan.adapters else f"unix:{directory / 'management'}",
        "cluster_address": "http://127.0.0.1:8888",
        "model_store": str(directory / "model"),
        "load_models": "ALL",
        "wait_model_loading": "true",
        "allow_multi_status": "false",
        "max_request_size": str(plan.serving.max_request_bytes),
        "chunked_read_timeout": str(ceil(plan.serving.predict_timeout_seconds) + CHUNK_SECONDS_BEYOND),
        "max_idle_time": "60",
        **given,
    }


def written(properties: Mapping[str, str]) -> str:
    """Return a .properties file in ASCII, as Java reads it whatever its encoding."""
    return str(javaproperties.dumps(properties, timestamp=None))
