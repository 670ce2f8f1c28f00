"""What can be wrong with an adapter, each in one line that its owner can act on."""


class UnusableAdapterError(Exception):
    """An adapter that cannot be served as it is; the text says why, as in "it has no adapter_config.json"."""


class HeaderError(Exception):
    """A file that is no whole safetensors file; the text says why, without naming it."""


class ElsewhereError(Exception):
    """A `src` that names no directory of this machine; the text is its scheme, as in `s3`."""
