"""A WorkerPlan into a running vLLM engine and vLLM's own OpenAI application, to be called in process.

The only module that imports vllm (0.32): when a release moves something, it is mended here.
"""

import asyncio
import contextlib
import copy
import functools
import logging
import pickle
import types
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import vllm
from starlette.types import ASGIApp
from vllm.config import VllmConfig
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.entrypoints.launchers.api_server.app_state import init_app_state
from vllm.entrypoints.launchers.app import build_app
from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
from vllm.entrypoints.launchers.launcher import validate_api_server_args
from vllm.exceptions import VLLMClientError
from vllm.lora.request import LoRARequest
from vllm.reasoning import ReasoningParserManager
from vllm.tool_parsers import ToolParserManager
from vllm.usage.usage_lib import UsageContext
from vllm.utils.argparse_utils import FlexibleArgumentParser
from vllm.utils.gc_utils import freeze_gc_heap
from vllm.utils.system_utils import set_ulimit
from vllm.v1.engine import EngineCoreRequest
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.exceptions import EngineDeadError

from autoconfig.settings import CacheSettings
from handlers import cache, hub_cache, salts
from handlers.adapters.read_ahead import read_ahead
from handlers.adapters.running import hold_to_latest
from handlers.engine_log import RequestTalk
from handlers.errors import AdapterRefusedError, EngineRefusedError, one_line

logger = logging.getLogger("lmi")
Seen = Callable[[list[int] | None, str | None], None]
"""What is told of a request: its prompt's tokens, None where they are not all of it, and its final cache salt."""
_ENDING_SECONDS = 30.0
"""How long a request whose caller has left may take to end within vLLM's application."""
_UTILITY_FAILED = "Call to add_lora method failed: "
"""What vLLM 0.32 puts before the words of an adapter's refusal."""


class _Parser(FlexibleArgumentParser):  # type: ignore[misc]  # vllm is untyped here
    """vLLM's parser, raising where argparse would print its usage and exit."""

    def error(self, message: str) -> NoReturn:
        raise EngineRefusedError(message)


def argument_parser() -> ArgumentParser:
    """Return the parser `vllm serve` uses, without prefix matching (it would accept `--max-model`)."""
    parser: ArgumentParser = make_arg_parser(_Parser(allow_abbrev=False))
    return parser


@dataclass(frozen=True)
class Engine:
    """One loaded model: vLLM's ASGI application and the few facts the request path needs."""

    app: ASGIApp
    client: AsyncLLM
    vocabulary_size: int
    tiers: CacheSettings | None
    """The KV cache tiers below the engine's own; None where it runs without."""
    version: str = vllm.__version__

    def dead(self) -> bool:
        """Tell whether the engine can never answer again (a child process died, or its output loop ended)."""
        return bool(self.client.errored)

    @functools.cached_property
    def tokenizer(self) -> Any:
        """The fast tokenizer (`tokenizers.Tokenizer`) the engine decodes with, or None where it has none."""
        return getattr(self.client.renderer.tokenizer, "_tokenizer", None)

    @functools.cached_property
    def formatting_tokenizer(self) -> Any:
        """A copy of the model's tokenizer for custom formatters: a fast one cannot be used by two threads at once."""
        try:
            return copy.deepcopy(self.client.renderer.tokenizer)
        except (TypeError, AttributeError, ValueError, RuntimeError, copy.Error, pickle.PickleError) as error:
            # A model's own class may hold what cannot be copied.
            logger.warning("custom formatters share the engine's tokenizer, which cannot be copied: %s", error)
            return self.client.renderer.tokenizer

    @functools.cached_property
    def weights_directory(self) -> Path | None:
        """Where the base model's files lie, which the engine has loaded."""
        model = self.client.model_config
        return hub_cache.directory_of(model.model, model.revision, self.client.vllm_config.load_config.download_dir)

    async def load_adapter(self, key: str, number: int, directory: str) -> None:
        """Read an adapter's weights; `key` is then a model of vLLM's application. See LoraEngine."""
        request = LoRARequest(lora_name=key, lora_int_id=number, lora_path=directory)
        await asyncio.to_thread(read_ahead, Path(directory))
        try:
            await self.client.add_lora(request)
        except EngineDeadError:  # which says nothing of the adapter
            raise
        except Exception as error:  # a remote call fails with a bare Exception that holds the engine's words
            await self.client.remove_lora(number)  # it may have failed halfway, with the weights in memory
            raise AdapterRefusedError(one_line(str(error)).removeprefix(_UTILITY_FAILED)) from error
        self._lora_requests[key] = request

    async def unload_adapter(self, key: str, number: int) -> None:
        """Forget an adapter and free its slot; vLLM's own unloading leaves the weights where they are (0.32).

        vLLM's application answers a caller who has left before it has ended that caller's request (0.32,
        with_cancellation). The engine would read an adapter it lacks for it again, and die where the files are gone.
        """
        self._lora_requests.pop(key, None)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_ENDING_SECONDS):
                while not self.dead() and self._serves(key):  # noqa: ASYNC110 - vLLM signals no end
                    await asyncio.sleep(0.01)
        await self.client.remove_lora(number)

    def _serves(self, key: str) -> bool:
        """Tell whether a request of an adapter has yet to end; vLLM tells its engine as it forgets one."""
        return any(state.lora_name == key for state in self.client.output_processor.request_states.values())

    @property
    def _lora_requests(self) -> dict[str, LoRARequest]:
        found: dict[str, LoRARequest] = self.app.state.openai_serving_models.lora_requests  # type: ignore[attr-defined]
        return found

    async def shutdown(self) -> None:
        """Stop the engine's processes; it blocks inside vLLM, hence the thread."""
        await asyncio.get_running_loop().run_in_executor(None, functools.partial(self.client.shutdown, timeout=0))


def parse(engine_arguments: tuple[str, ...]) -> Namespace:
    """Turn the plan's tokens into vLLM's Namespace, loading the user's parser plugins.

    Raises:
        EngineRefusedError: an argument or a combination that vLLM does not accept, in its own words.
    """
    try:
        namespace: Namespace = argument_parser().parse_args(list(engine_arguments))
        validate_parsed_serve_args(namespace)
        if namespace.tool_parser_plugin:
            ToolParserManager.import_tool_parser(namespace.tool_parser_plugin)
        if namespace.reasoning_parser_plugin:
            ReasoningParserManager.import_reasoning_parser(namespace.reasoning_parser_plugin)
        validate_api_server_args(namespace)
    except (ValueError, TypeError, KeyError, ImportError, OSError) as error:
        raise EngineRefusedError.because(error) from error
    return namespace


def without_tiers(namespace: Namespace, reason: str) -> None:
    """Have the engine built without its connection to the cache server, and say why."""
    logger.warning("no KV cache tiers below the engine's own: %s", reason)
    namespace.kv_transfer_config = None


async def start(namespace: Namespace, tiers: CacheSettings | None, seen: Seen | None = None) -> Engine:
    """Load the model, upon its KV cache tiers where it can, and build vLLM's application around it.

    `seen` is told of every request on its way into the engine.

    The same Namespace feeds the engine and the application, and the configuration is made first: it merges the
    reasoning parser into the Namespace.

    Raises:
        EngineRefusedError: the configuration contradicts the model or the host (vLLM's ValueError, OSError).
    """
    set_ulimit()
    config = _configuration(namespace)
    if tiers and (reason := cache.unfit(tiers, _kv_dtypes(config), config.cache_config.block_size)):
        without_tiers(namespace, reason)
        config, tiers = _configuration(namespace), None
    try:
        client = _client(namespace, config)
    except RuntimeError:
        # The engine's process ended. With the connector it does when the server is gone at that moment.
        if tiers is None or cache.read_status(tiers).state == "up":
            raise
        without_tiers(namespace, "the cache server went away while the model was loading")
        client, tiers = _client(namespace, _configuration(namespace)), None
    if config.lora_config or seen or (tiers and tiers.salt):
        salt_requests(client, tiers.salt if tiers else "", seen)
    if client.logger_manager:
        hold_to_latest(client.logger_manager.stat_loggers)
    talk = RequestTalk((VLLMClientError, ValueError, TypeError), (EngineDeadError,))
    for handler in logging.getLogger("vllm").handlers:
        handler.addFilter(talk)
    await client.reset_mm_cache()
    tasks = await client.get_supported_tasks()
    app = build_app(namespace, tasks, client.model_config)
    await init_app_state(client, app.state, namespace, tasks)
    # vLLM's error handlers set should_exit on the server they expect to find here (vLLM 0.32, error_handlers).
    app.state.server = types.SimpleNamespace(should_exit=False)
    freeze_gc_heap()
    return Engine(app, client, vocabulary_size=client.model_config.get_vocab_size(), tiers=tiers)


def _configuration(namespace: Namespace) -> VllmConfig:
    """Return the engine's configuration; OPENAI_API_SERVER selects the batch sizes `vllm serve` has."""
    try:
        return AsyncEngineArgs.from_cli_args(namespace).create_engine_config(UsageContext.OPENAI_API_SERVER)
    except (ValueError, TypeError, OSError, NotImplementedError) as error:
        raise EngineRefusedError.because(error) from error


def _client(namespace: Namespace, config: VllmConfig) -> AsyncLLM:
    return AsyncLLM.from_vllm_config(
        config,
        usage_context=UsageContext.OPENAI_API_SERVER,
        disable_log_stats=namespace.disable_log_stats,
        enable_log_requests=namespace.enable_log_requests,
    )


def salt_requests(client: AsyncLLM, tier_salt: str, seen: Seen | None = None) -> None:
    """Salt the KV cache entries of every request with its tiers' salt and its adapter, whatever route it came by.

    LMCache 0.5.6 has no adapter in its keys, so two would answer from each other's entries without.
    Done at the last gate before the engine, as sequences of n > 1 go past AsyncLLM's own methods (vLLM 0.32).
    """
    add_request = client.engine_core.add_request_async

    async def add_salted(request: EngineCoreRequest) -> None:
        adapter = request.lora_request.lora_name if request.lora_request else ""
        request.cache_salt = salts.combined(tier_salt, adapter, request.cache_salt)
        if seen:
            seen(None if request.mm_features else request.prompt_token_ids, request.cache_salt)
        await add_request(request)

    client.engine_core.add_request_async = add_salted


def _kv_dtypes(config: VllmConfig) -> tuple[str, ...]:
    """Return vLLM's names of what the engine keeps in its KV cache, the plainest last."""
    said = str(config.cache_config.cache_dtype)
    return (said, str(config.model_config.dtype).removeprefix("torch.")) if said == "auto" else (said,)
