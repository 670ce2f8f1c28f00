"""Whether an adapter's tensors fit together, and fit the base model, judged by names and shapes alone.

vLLM 0.32 copies a matrix that is too small, and skips a layer that is not there, without a word.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from autoconfig.lora import safetensors_header
from autoconfig.lora.errors import HeaderError, UnusableAdapterError
from autoconfig.lora.peft_config import PeftConfig
from autoconfig.lora.safetensors_header import Tensor

_FILES = "model.safetensors.index.json"
_LORA = re.compile(r"(?:base_model\.model\.)?(?P<module>.+)\.lora_(?P<kind>embedding_)?(?P<side>[AB])(?:\.weight)?")
# Embeddings PEFT saved as they are (vLLM 0.32 passes over them), and heads of a classifier.
_PASSED_OVER = re.compile(r".+\.(?:embed_tokens|lm_head)\.base_layer\.weight|.+\.(?:score|classifier)\.(?:weight|bias)")
_OUTER = re.compile(r"(?:(?:base_model|language_model|model|transformer)\.)*")
_INDEX = re.compile(r"(?<=\.)\d+(?=\.)")
_PLAIN = frozenset({"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"})


@dataclass(frozen=True, slots=True)
class BaseShapes:
    """The base model's matrices; empty where they are not known."""

    shapes: Mapping[str, tuple[int, ...] | None] = field(default_factory=dict)
    """By module, without the prefixes that differ between versions of transformers; None where it is quantised."""
    families: frozenset[str] = frozenset()
    """The modules, with the layer's number left open."""

    @classmethod
    def read(cls, directory: Path | None) -> "BaseShapes":
        """Read the headers of a model directory's safetensors files; what cannot be read is not known."""
        shapes: dict[str, tuple[int, ...] | None] = {}
        with suppress(OSError, HeaderError):
            for file in _weights(directory) if directory else ():
                # Mistral's own names, which no adapter uses.
                if file.name.startswith("consolidated"):
                    continue
                for name, tensor in safetensors_header.read(file).items():
                    module, _, part = name.rpartition(".")
                    if ".experts." not in name:
                        plain = part == "weight" and tensor.dtype in _PLAIN
                        shapes[_inner(module)] = tensor.shape if plain else shapes.get(_inner(module))
            return cls(shapes, frozenset(map(_family, shapes)))
        return cls()

    def check(self, module: str, shape: tuple[int, int], transposed: bool) -> None:
        """Refuse an adapter's module that this model does not have, or has in another size."""
        inner = _inner(module)
        if inner not in self.shapes:
            if _INDEX.search(inner) and _family(inner) in self.families:
                raise UnusableAdapterError(f"made for another base model: this one has no {module[:120]}")
            return
        known = self.shapes[inner]
        if known is not None and known != (shape[::-1] if transposed else shape):
            here, there = "x".join(map(str, known)), "x".join(map(str, shape))
            raise UnusableAdapterError(
                f"made for another base model: {module[:120]} is {here} here, the adapter's {there}"
            )


def check(tensors: Mapping[str, Tensor], config: PeftConfig, base: BaseShapes) -> None:
    """Refuse tensors that are not pairs of LoRA matrices of the configured ranks, or not for this base model.

    Raises:
        UnusableAdapterError: the text names the first module that does not fit.
    """
    pairs = _pairs(tensors)
    if not pairs:
        raise UnusableAdapterError("it holds no LoRA weights")
    for (module, embedding), sides in pairs.items():
        if sides.keys() != {"A", "B"}:
            raise UnusableAdapterError(f"{module[:120]} has no lora_{'A' if 'B' in sides else 'B'}")
        # The experts of a mixture lie in one matrix, or in one each, in ways that differ between models.
        if ".experts" in module:
            continue
        a, b = sides["A"].shape, sides["B"].shape
        if len(a) != 2 or len(b) != 2:
            raise UnusableAdapterError(f"{module[:120]} is not a pair of matrices")
        if a[0] != b[1] or a[0] not in config.ranks:
            ranks = ", ".join(map(str, sorted(config.ranks)))
            raise UnusableAdapterError(f"{module[:120]} has ranks {a[0]} and {b[1]}; its configuration says {ranks}")
        base.check(module, (a[1], b[0]) if embedding else (b[0], a[1]), config.fan_in_fan_out and not embedding)


def _weights(directory: Path) -> list[Path]:
    """Return a model's safetensors files; none where some that its index names are not there yet."""
    files = sorted(directory.glob("*.safetensors"))
    with suppress(orjson.JSONDecodeError, FileNotFoundError, AttributeError):
        index = orjson.loads((directory / _FILES).read_bytes())
        if not {str(name) for name in index.get("weight_map", {}).values()} <= {file.name for file in files}:
            return []
    return files


def _pairs(tensors: Mapping[str, Tensor]) -> dict[tuple[str, bool], dict[str, Tensor]]:
    pairs: dict[tuple[str, bool], dict[str, Tensor]] = {}
    for name in tensors:
        found = _LORA.fullmatch(name)
        if found and name.endswith(".weight") != bool(found["kind"]):
            pairs.setdefault((found["module"], bool(found["kind"])), {})[found["side"]] = tensors[name]
        elif not _PASSED_OVER.fullmatch(name):
            raise UnusableAdapterError(f"it holds {name[:120]}, which is not a LoRA weight")
    return pairs


def _inner(module: str) -> str:
    """Return a module's name without what transformers' versions put before the same layer."""
    return _OUTER.sub("", module, count=1)


def _family(module: str) -> str:
    return _INDEX.sub("#", module)
