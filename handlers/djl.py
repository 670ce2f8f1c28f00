"""The entry point for DJL Serving (`option.entryPoint=handlers.djl`): a handler for any Python engine of DJL's.

DJL's own engine calls the functions below with djl_python's Input and takes Outputs; ours finds `service`.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from handlers.djl_engine import wire
from handlers.djl_engine.wire import Call, Frame
from handlers.djl_service import Service, load_plan
from handlers.status import Status

if TYPE_CHECKING:
    from djl_python import Input, Output


class Handler:
    """A service behind djl_python's classes; each method is what DJL calls a handler function."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def handle(self, inputs: "Input") -> "Output | AsyncIterator[Output]":
        """Load the model at the first call, answer a request at each other."""
        from djl_python import Output  # which is there when this is called

        if self._service.loaded:
            return self._outputs("handle", inputs)
        code, message = await self._service.start(_call(inputs).properties)
        return Output(code, message)

    async def register_adapter(self, inputs: "Input") -> "AsyncIterator[Output]":
        """Register a LoRA adapter."""
        return self._outputs("register_adapter", inputs)

    async def update_adapter(self, inputs: "Input") -> "AsyncIterator[Output]":
        """Update a LoRA adapter."""
        return self._outputs("update_adapter", inputs)

    async def unregister_adapter(self, inputs: "Input") -> "AsyncIterator[Output]":
        """Remove a LoRA adapter."""
        return self._outputs("unregister_adapter", inputs)

    async def _outputs(self, function: str, inputs: "Input") -> "AsyncIterator[Output]":
        """Yield the reply; nothing is raised here, or the caller would wait until it gives up."""
        from djl_python import Output

        frames: asyncio.Queue[Frame] = asyncio.Queue()
        answering = asyncio.create_task(self._service.answer(function, _call(inputs), frames.put))
        last = False
        while not last:
            frame = await frames.get()
            last = frame.last
            output = Output()
            for name, value in frame.headers:
                output.add_property(name, value)
            yield output.add(wire.content(frame))
        await answering


def _call(inputs: "Input") -> Call:
    """Return what djl_python read; it adds properties of its own, some of which are no text."""
    properties = {name: value for name, value in inputs.get_properties().items() if isinstance(value, str)}
    content = inputs.get_content()
    pairs = zip(content.get_keys(), content.get_values(), strict=True)
    return Call(properties, [(key, bytes(value)) for key, value in pairs])


service = Service(load_plan, Status.of(os.environ))
_handler = Handler(service)
handle = _handler.handle
register_adapter = _handler.register_adapter
update_adapter = _handler.update_adapter
unregister_adapter = _handler.unregister_adapter
