"""DJL's `djl_python` as far as a `model.py` needs it, where DJL is absent; see handlers/formatters/scripts.py."""

from .inputs import Input
from .outputs import Output
from .pair_list import PairList

__all__ = ["Input", "Output", "PairList"]
