"""What an adapter's directory is refused for, in the words its owner reads, before any of it is loaded."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoconfig.lora import files as adapter_files
from autoconfig.lora.errors import UnusableAdapterError
from autoconfig.lora.files import AdapterFiles, Demands
from autoconfig.lora.shapes import BaseShapes
from autoconfig.lora.source import ANYWHERE, Roots
from handlers.adapters.source import locate
from handlers.errors import RequestError
from tests.handlers.lora import HIDDEN, MODULE, write_adapter, write_base, write_weights
from tests.timing import assert_within, seconds_of

Q_PROJ = MODULE.format(layer=0)
PREFIX = f"base_model.model.{Q_PROJ}"
OUTSIDE = "src is outside the directories of adapters (option.adapter_roots adds to them): {root}."


def check(directory: Path, base: Path | None = None, max_rank: int = 16, roots: Roots = ANYWHERE) -> AdapterFiles:
    return Demands(max_rank, BaseShapes.read(base)).check(str(directory), roots)


def refusal(directory: Path, base: Path | None = None) -> str:
    with pytest.raises(UnusableAdapterError) as refused:
        check(directory, base)
    return str(refused.value)


def pair(rank: int = 4, rows: int = HIDDEN, columns: int = HIDDEN) -> dict[str, Any]:
    return {
        f"{PREFIX}.lora_A.weight": np.zeros((rank, columns), np.float32),
        f"{PREFIX}.lora_B.weight": np.zeros((rows, rank), np.float32),
    }


def lora_b(*shape: int) -> dict[str, Any]:
    return {f"{PREFIX}.lora_B.weight": np.zeros(shape, np.float32)}


def test_an_adapter_as_peft_writes_it_is_accepted(tmp_path: Path) -> None:
    files = check(write_adapter(tmp_path / "a"), write_base(tmp_path / "base"))
    assert (files.directory, files.rank, files.script) == (str(tmp_path / "a"), 4, "")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"peft_type": "PREFIX_TUNING"}, "its peft_type is PREFIX_TUNING; only LORA is supported"),
        ({"r": 64}, "its rank is 64, above option.max_lora_rank=16"),
        ({"rank_pattern": {"q_proj": 32}}, "its rank is 32, above option.max_lora_rank=16"),
        ({"r": 0}, "adapter_config.json needs positive integers as r and in rank_pattern"),
        ({"r": None}, "adapter_config.json needs positive integers as r and in rank_pattern"),
        ({"rank_pattern": {"q_proj": True}}, "adapter_config.json needs positive integers as r and in rank_pattern"),
        ({"lora_alpha": None}, "adapter_config.json has no number as lora_alpha"),
        ({"target_modules": 5}, "adapter_config.json names no target_modules"),
        ({"use_dora": True}, "it uses DoRA, which vLLM does not support"),
        ({"lora_bias": True}, "it uses a bias of LoRA's own (lora_bias), which vLLM does not support"),
        ({"bias": "all"}, "its bias is all; vLLM supports only none"),
        (
            {"alora_invocation_tokens": [1]},
            "it uses Activated LoRA (alora_invocation_tokens), which vLLM does not support",
        ),
        ({"layer_replication": [[0, 1]]}, "it uses layer_replication, which vLLM does not support"),
        ({"use_bdlora": {"a": 1}}, "it uses block-diagonal LoRA (use_bdlora), which vLLM does not support"),
        ({"use_qalora": True}, "it uses QALoRA (use_qalora), which vLLM does not support"),
        (
            {"modules_to_save": ["lm_head"]},
            "modules_to_save holds ['lm_head']; vLLM supports only classifier and score",
        ),
    ],
)
def test_a_kind_of_adapter_vllm_does_not_run_is_named(tmp_path: Path, config: dict[str, Any], message: str) -> None:
    assert refusal(write_adapter(tmp_path / "a", **config)) == message


@pytest.mark.parametrize("init", ["pissa", "pissa_niter_16", "olora", "corda", "loftq"])
def test_an_adapter_that_changes_the_base_model_is_refused_with_a_way_out(tmp_path: Path, init: str) -> None:
    message = refusal(write_adapter(tmp_path / "a", init_lora_weights=init))
    assert message.startswith(f"init_lora_weights={init} changes the base model's weights")
    assert "path_initial_model_for_weight_conversion" in message


@pytest.mark.parametrize("init", [True, False, "gaussian", "eva", "orthogonal", "MiCA"])
def test_other_ways_to_begin_training_are_accepted(tmp_path: Path, init: object) -> None:
    assert check(write_adapter(tmp_path / "a", init_lora_weights=init, modules_to_save=["score"])).rank == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "adapter_config.json is not valid JSON"), ("[]", "adapter_config.json is not a JSON object")],
)
def test_a_configuration_that_cannot_be_read_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (write_adapter(tmp_path / "a") / "adapter_config.json").write_text(text)
    assert refusal(tmp_path / "a").startswith(message)


def test_files_that_are_not_there_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert refusal(tmp_path / "empty") == "it has no adapter_config.json"
    (write_adapter(tmp_path / "a") / "adapter_model.safetensors").unlink()
    assert refusal(tmp_path / "a") == "it has no adapter_model.safetensors"
    (tmp_path / "a" / "adapter_model.bin").write_bytes(b"")
    assert refusal(tmp_path / "a").startswith("adapter_model.bin is a pickle")


@pytest.mark.parametrize("kept", [0, 5, 60, -1])
def test_a_file_that_was_cut_short_is_noticed(tmp_path: Path, kept: int) -> None:
    file = write_adapter(tmp_path / "a") / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:kept])
    assert refusal(tmp_path / "a").startswith("adapter_model.safetensors cannot be read: it ")


@pytest.mark.parametrize(
    "header",
    [
        b"[]",
        b"{ ",
        b'{"a":1}',
        b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}',
        b'{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}',
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[9,4]}}',
    ],
)
def test_a_header_that_contradicts_itself_is_refused(tmp_path: Path, header: bytes) -> None:
    file = write_adapter(tmp_path / "a") / "adapter_model.safetensors"
    file.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    assert refusal(tmp_path / "a") == "adapter_model.safetensors cannot be read: its header is damaged"


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({}, "it holds no LoRA weights"),
        ({"weight": np.zeros(1)}, "it holds weight, which is not a LoRA weight"),
        ({"a.lora_magnitude_vector": np.zeros(1)}, "it holds a.lora_magnitude_vector, which is not a LoRA weight"),
        ({f"{PREFIX}.lora_B.weight": np.zeros((8, 4))}, f"{Q_PROJ} has no lora_A"),
        (pair(rank=2), f"{Q_PROJ} has ranks 2 and 2; its configuration says 4"),
        (pair() | lora_b(8, 3), f"{Q_PROJ} has ranks 4 and 3; its configuration says 4"),
        (pair() | lora_b(8), f"{Q_PROJ} is not a pair of matrices"),
    ],
)
def test_tensors_that_do_not_fit_together_are_refused(tmp_path: Path, tensors: dict[str, Any], message: str) -> None:
    write_weights(write_adapter(tmp_path / "a"), tensors)
    assert refusal(tmp_path / "a") == message


def test_an_adapter_of_a_larger_model_is_refused_with_both_sizes(tmp_path: Path) -> None:
    message = refusal(write_adapter(tmp_path / "a", hidden=16), write_base(tmp_path / "base"))
    assert message == "made for another base model: model.layers.0.self_attn.q_proj is 8x8 here, the adapter's 16x16"


def test_an_adapter_of_a_deeper_model_is_refused(tmp_path: Path) -> None:
    message = refusal(write_adapter(tmp_path / "a", layers=3), write_base(tmp_path / "base", layers=2))
    assert message == "made for another base model: this one has no model.layers.2.self_attn.q_proj"


def test_what_cannot_be_known_of_the_base_model_is_not_held_against_an_adapter(tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "a", hidden=16, layers=3)
    quantised = {MODULE.format(layer=layer) + ".qweight": np.zeros((1, 8), np.int32) for layer in range(3)}
    (tmp_path / "quantised").mkdir()
    write_weights(tmp_path / "quantised", quantised)
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "model.safetensors").write_bytes(b"x")
    for base in (None, tmp_path / "absent", tmp_path / "quantised", tmp_path / "damaged"):
        assert check(adapter, base).rank == 4


def test_prefixes_that_differ_between_versions_of_transformers_name_the_same_layer(tmp_path: Path) -> None:
    write_weights(
        write_adapter(tmp_path / "a"),
        {
            name.replace(".model.layers", ".model.language_model.layers"): tensor
            for name, tensor in pair(rows=9).items()
        },
    )
    assert "is 8x8 here, the adapter's 9x8" in refusal(tmp_path / "a", write_base(tmp_path / "base"))


def test_the_ranks_of_single_modules_may_differ(tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "a", rank_pattern={"q_proj": 12})
    write_weights(adapter, pair(rank=12))
    assert check(adapter, write_base(tmp_path / "base")).rank == 12


def test_a_transposed_base_model_and_an_embedding_are_compared_as_they_lie(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    base = {"h.0.c_attn.weight": np.zeros((8, 24), np.float32), "wte.weight": np.zeros((50, 8), np.float32)}
    write_weights(tmp_path / "base", base)
    adapter = write_adapter(tmp_path / "a", fan_in_fan_out=True)
    write_weights(
        adapter,
        {
            "base_model.model.transformer.h.0.c_attn.lora_A.weight": np.zeros((4, 8), np.float32),
            "base_model.model.transformer.h.0.c_attn.lora_B.weight": np.zeros((24, 4), np.float32),
            "base_model.model.transformer.wte.lora_embedding_A": np.zeros((4, 50), np.float32),
            "base_model.model.transformer.wte.lora_embedding_B": np.zeros((8, 4), np.float32),
        },
    )
    assert check(adapter, tmp_path / "base").rank == 4


def test_a_script_that_is_not_python_is_told_with_its_line(tmp_path: Path) -> None:
    script = write_adapter(tmp_path / "a") / "model.py"
    script.write_text("x = 1\n")
    assert check(tmp_path / "a").script == str(script)
    script.write_text("x = 1\ndef f(:\n")
    assert refusal(tmp_path / "a") == "model.py:2: invalid syntax"
    script.write_text("return 1\n")
    assert refusal(tmp_path / "a") == "model.py:1: 'return' outside function"
    script.write_bytes(b"x = '\0'\n")
    assert refusal(tmp_path / "a").startswith("model.py")


def test_the_signature_tells_every_change_of_a_file_and_the_digest_only_those_of_content(tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "a")
    files = check(adapter)
    digest = adapter_files.digest(files)
    write_adapter(adapter)
    assert adapter_files.signature(str(adapter)) != files.signature
    assert adapter_files.digest(files) == digest
    (adapter / "model.py").write_text("")
    assert adapter_files.digest(files) == digest
    write_adapter(adapter, value=1)
    assert adapter_files.digest(files) != digest


def test_a_directory_is_found_by_path_and_by_file_url(tmp_path: Path) -> None:
    adapter, roots = write_adapter(tmp_path / "a b"), Roots((str(tmp_path),))
    url = f"{tmp_path}/a%20b"
    for src in (str(adapter), f"{adapter}/", f"file://{url}", f"file://localhost{url}", f"{tmp_path}/x/../a b"):
        assert locate(src, roots) == str(adapter)


@pytest.mark.parametrize(
    ("src", "status", "message"),
    [
        ("s3://bucket/a", 400, "A src of s3: is not fetched; give a local directory."),
        ("https://host/a", 400, "A src of https: is not fetched; give a local directory."),
        ("file://host/a", 400, "A src of file: is not fetched; give a local directory."),
        ("hf:a", 400, "A src of hf: is not fetched; give a local directory."),
        ("file:///tmp%00", 400, "src must not hold a NUL byte."),
        ("http://[", 400, "src is not a valid URL."),
        ("", 400, "src must be a directory's path of 1 to 4096 bytes."),
        ("/a\0b", 400, "src must be a directory's path of 1 to 4096 bytes."),
        ("/" + "a" * 4096, 400, "src must be a directory's path of 1 to 4096 bytes."),
        ("adapters/a", 400, "src `adapters/a` is not an absolute path."),
        ("/etc", 400, OUTSIDE),
        ("{root}/../..", 400, OUTSIDE),
        ("{root}-beside", 400, OUTSIDE),
        ("{root}/escape/a", 400, OUTSIDE),
        ("{root}/loop", 404, "src `{root}/loop` does not exist."),
        ("{root}/absent", 404, "src `{root}/absent` does not exist."),
        ("{root}/" + "n" * 300, 404, "src `{root}/" + "n" * 300),
        ("{root}/file", 400, "src `{root}/file` is not a directory."),
    ],
)
def test_a_src_that_may_not_be_read_is_refused(tmp_path: Path, src: str, status: int, message: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    write_adapter(tmp_path / "outside" / "a")
    write_adapter(tmp_path / "root-beside")
    (root / "escape").symlink_to(tmp_path / "outside")
    (root / "loop").symlink_to(root / "loop")
    (root / "file").touch()
    with pytest.raises(RequestError) as refused:
        locate(src.replace("{root}", str(root)), Roots((str(root),)))
    assert refused.value.status == status
    assert refused.value.message.startswith(message.replace("{root}", str(root))[:150])


def test_a_root_that_is_a_link_itself_is_a_root_under_both_names(tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "real" / "a")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    roots = Roots((str(tmp_path / "link"),))
    assert locate(str(tmp_path / "link" / "a"), roots) == locate(str(adapter), roots) == str(adapter)


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors", "model.py"])
def test_a_file_that_is_a_link_to_outside_is_not_read(tmp_path: Path, name: str) -> None:
    adapter, outside = write_adapter(tmp_path / "root" / "a"), write_adapter(tmp_path / "outside")
    (outside / "model.py").touch()
    (adapter / name).unlink(missing_ok=True)
    (adapter / name).symlink_to(outside / name)
    with pytest.raises(UnusableAdapterError) as refused:
        check(adapter, roots=Roots((str(tmp_path / "root"),)))
    assert str(refused.value) == f"{name} is a link to outside the directories of adapters"
    assert check(adapter).rank == 4


def test_a_pipe_in_the_place_of_a_file_does_not_hold_anybody_up(tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "a")
    (adapter / "adapter_config.json").unlink()
    os.mkfifo(adapter / "adapter_config.json")
    assert refusal(adapter) == "adapter_config.json is not a file"


def test_looking_at_an_adapter_of_a_gigabyte_takes_milliseconds(tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "a")
    size = 2**30
    header = {
        f"{PREFIX}.lora_A.weight": {"dtype": "F32", "shape": [4, 8], "data_offsets": [0, 128]},
        f"{PREFIX}.lora_B.weight": {"dtype": "F32", "shape": [size // 16, 4], "data_offsets": [128, 128 + size]},
    }
    text = json.dumps(header).encode()
    with (adapter / "adapter_model.safetensors").open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        stream.truncate(8 + len(text) + 128 + size)
    assert check(adapter).rank == 4
    assert_within(0.5, lambda: seconds_of(lambda: check(adapter)))
