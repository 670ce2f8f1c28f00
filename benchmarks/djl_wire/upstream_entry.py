"""An entry point for djl_python's engine as its own vLLM handler streams: an Output for each token, headers and all."""

import asyncio
from collections.abc import AsyncIterator

from djl_python import Input, Output

from benchmarks.djl_wire.tokens import TOKEN, asked


async def handle(inputs: Input) -> Output | AsyncIterator[Output]:
    """Answer the empty call while the model loads, then stream."""
    if inputs.is_empty():
        return Output(200, "OK")
    return _stream(asked(bytes(inputs.get_as_bytes())))


async def _stream(count: int) -> AsyncIterator[Output]:
    text = TOKEN.decode()
    for number in range(count):
        yield _chunk(text, last=number == count - 1)
        await asyncio.sleep(0)  # other streams' turn


def _chunk(text: str, *, last: bool) -> Output:
    """Make a chunk as djl_python.async_utils.create_stream_chunk_output does."""
    output = Output()
    output.add_property("Content-Type", "application/jsonlines")
    return output.add(Output.binary_encode({"data": text, "last": last}))  # type: ignore[attr-defined]  # DJL's own has it
