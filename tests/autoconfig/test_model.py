import json
from pathlib import Path
from typing import Any

import pytest

from autoconfig.model import ModelConfig, ModelFacts, look
from tests.autoconfig.configured import LLAMA_8B, errors, resolved


def model_in(directory: Path, *names: str, **config: object) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(LLAMA_8B | config))
    for name in (*names, "model.safetensors"):
        (directory / name).write_bytes(b"1234")
    return directory


def test_weights_and_what_is_beside_them_are_seen(tmp_path: Path) -> None:
    seen = look(model_in(tmp_path, "requirements.txt", "serving.properties", "model.py", ".hidden"))
    assert seen.has_weights
    assert seen.has_code
    assert (seen.weight_bytes, seen.requirements, seen.properties) == (
        4,
        tmp_path / "requirements.txt",
        tmp_path / "serving.properties",
    )
    assert ".hidden" not in seen.files


def test_the_one_visible_directory_is_entered_as_in_lmi(tmp_path: Path) -> None:
    (tmp_path / ".cache").mkdir()
    seen = look(model_in(tmp_path / "checkpoint").parent)
    assert (seen.path, seen.entered, seen.has_weights) == (tmp_path / "checkpoint", "checkpoint", True)
    assert "holds nothing but checkpoint/" in resolved(directory=seen).notes[0]


def test_a_directory_beside_a_file_is_not_entered(tmp_path: Path) -> None:
    model_in(tmp_path / "checkpoint")
    (tmp_path / "serving.properties").write_text("option.model_id=checkpoint")
    seen = look(tmp_path)
    assert (seen.path, seen.has_weights) == (tmp_path, False)
    assert resolved("option.model_id=checkpoint", directory=seen).settings.model == str(tmp_path / "checkpoint")


def test_a_directory_that_is_missing_or_empty_holds_nothing(tmp_path: Path) -> None:
    assert not look(tmp_path / "nowhere").has_weights
    assert not look(tmp_path).has_weights


@pytest.mark.parametrize("broken", ["{", "[1]", "\ud800"])
def test_a_config_that_cannot_be_read_is_remarked(tmp_path: Path, broken: str) -> None:
    model_in(tmp_path).joinpath("config.json").write_bytes(broken.encode("utf-8", "surrogatepass"))
    seen = look(tmp_path)
    assert seen.config is None
    assert "config.json in the model directory cannot be read" in " ".join(resolved(directory=seen).notes)


def test_key_value_bytes_are_read_at_two_bytes_a_number() -> None:
    assert ModelConfig.read(LLAMA_8B).kv_bytes_per_token == 131072
    assert ModelConfig.read({**LLAMA_8B, "kv_lora_rank": 512}).kv_bytes_per_token == 32 * 512 * 2
    assert ModelConfig.read({**LLAMA_8B, "sliding_window": 4096}).kv_bytes_per_token is None
    assert ModelConfig.read({"text_config": LLAMA_8B}).kv_bytes_per_token == 131072
    assert ModelConfig.read({}).kv_bytes_per_token is None


def test_of_one_model_in_several_formats_a_single_one_is_counted(tmp_path: Path) -> None:
    names = ("model-2.safetensors", "consolidated.safetensors", "pytorch_model.bin")
    seen = look(model_in(tmp_path, *names))
    assert (seen.weight_bytes, seen.largest_file_bytes) == (8, 4)


def facts_in(directory: Path) -> ModelFacts:
    facts = look(directory).facts
    assert facts is not None
    return facts


def test_weights_not_here_yet_are_known_from_their_index(tmp_path: Path) -> None:
    model_in(tmp_path).joinpath("model.safetensors.index.json").write_text('{"metadata": {"total_size": 1000}}')
    assert (facts_in(tmp_path).weight_bytes, facts_in(tmp_path).weights_from) == (1000, "index")
    (tmp_path / "model-2.safetensors").write_bytes(b"1" * 1000)
    assert (facts_in(tmp_path).weight_bytes, facts_in(tmp_path).weights_from) == (1004, "files")


def test_without_files_and_index_weights_are_estimated_or_unknown(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(LLAMA_8B))
    assert facts_in(tmp_path).weight_bytes is None
    whole = {**LLAMA_8B, "vocab_size": 128256, "intermediate_size": 14336}
    (tmp_path / "config.json").write_text(json.dumps(whole))
    assert facts_in(tmp_path).weight_bytes == pytest.approx(2 * 8.03e9, rel=0.01)
    assert facts_in(tmp_path).weights_from == "estimate"


def test_mistrals_own_file_is_read_where_there_is_no_other(tmp_path: Path) -> None:
    (tmp_path / "params.json").write_text('{"dim": 4096, "n_layers": 32, "n_heads": 32, "n_kv_heads": 8}')
    assert facts_in(tmp_path).kv.node_bytes(2) == 131072


def test_a_model_whose_cache_is_not_declared_has_no_facts(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"architectures": ["BertModel"]}')
    assert look(tmp_path).facts is None
    assert look(tmp_path / "nowhere").facts is None


def test_a_stretched_context_is_left_to_vllm() -> None:
    assert ModelConfig.read({**LLAMA_8B, "rope_scaling": {"factor": 4}}).max_position_embeddings is None


def chosen(directory: Any = None, properties: Any = "", **environ: str) -> tuple[str | None, str]:
    settings = resolved(properties, directory=look(directory) if directory else None, **environ).settings
    return settings.model, settings.model_origin


def test_the_model_is_chosen_in_the_designs_order(tmp_path: Path) -> None:
    weights = model_in(tmp_path / "m")
    everywhere = {"OPTION_MODEL_ID": "a/option", "SM_VLLM_MODEL": "a/vllm", "HF_MODEL_ID": "a/hub"}
    assert chosen(weights, "option.model_id=a/file", **everywhere) == ("a/file", "serving.properties:1")
    assert chosen(weights, **everywhere) == ("a/option", "OPTION_MODEL_ID")
    del everywhere["OPTION_MODEL_ID"]
    assert chosen(weights, **everywhere) == ("a/vllm", "SM_VLLM_MODEL")
    del everywhere["SM_VLLM_MODEL"]
    assert chosen(weights, **everywhere) == (str(weights), "weights in the model directory")
    assert chosen(**everywhere) == ("a/hub", "HF_MODEL_ID")
    assert chosen() == (None, "embedded")


def test_the_models_that_lost_are_shown(tmp_path: Path) -> None:
    value = resolved(directory=look(model_in(tmp_path)), OPTION_MODEL_ID="a/b", HF_MODEL_ID="c/d").values["model_id"]
    assert [str(one.origin) for one in value.shadowed] == ["weights in the model directory", "HF_MODEL_ID"]


def test_a_relative_model_is_found_in_the_model_directory_as_in_lmi(tmp_path: Path) -> None:
    weights = model_in(tmp_path)
    assert chosen(weights, "option.model_id=.")[0] == str(weights)


def test_facts_of_the_directory_do_not_speak_for_another_model(tmp_path: Path) -> None:
    other = resolved("option.model_id=org/other", directory=look(model_in(tmp_path, num_attention_heads=9)))
    assert "9 attention heads" not in str(other.values)
    assert "djl://" in errors(OPTION_MODEL_ID="djl://ai.djl/x")
