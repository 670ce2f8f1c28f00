import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autoconfig.adapters import find
from autoconfig.errors import ConfigErrors
from autoconfig.host import HostFacts
from autoconfig.model import look
from autoconfig.resolve import Resolution, resolve
from autoconfig.settings import AdapterSettings, AdapterSource, WorkerPlan
from tests.autoconfig.adapter_files import MODULE, write_adapter, write_matrices, write_weights
from tests.autoconfig.configured import LLAMA_8B, directory_with, errors, launched, resolved
from tests.autoconfig.hosts import FOUR_GPUS, GIB, LAPTOP

WHOLE_LLAMA_8B = {**LLAMA_8B, "intermediate_size": 14336, "vocab_size": 128256}


def beside(model: Path, properties: Any = "", host: Any = FOUR_GPUS, **environ: str) -> Resolution:
    """Resolve what is configured for a model directory that is really there."""
    (model / "serving.properties").write_text("")
    return resolved(properties, host, look(model), **environ)


def told(resolution: Resolution) -> AdapterSettings:
    """Return what the worker learns of adapters."""
    settings = launched(resolution).plan.adapters
    assert settings
    return settings


def names(resolution: Resolution) -> list[str]:
    return [source.name for source in told(resolution).sources]


def test_check_77_an_adapter_in_another_data_source_is_named_by_its_directory(tmp_path: Path) -> None:
    source = write_adapter(tmp_path / "additional-model-data-sources" / "law")
    configured = resolved(OPTION_ADAPTERS=source)
    assert told(configured).sources == (AdapterSource("law", source),)
    assert "/opt/ml/additional-model-data-sources" in told(configured).roots
    assert "--enable-lora" in launched(configured).plan.engine_arguments


def test_without_adapters_lora_stays_off(tmp_path: Path) -> None:
    (tmp_path / "adapters").mkdir()
    plan = launched(beside(tmp_path)).plan
    assert plan.adapters is None
    assert not any("lora" in argument for argument in plan.engine_arguments)


def test_lora_may_be_on_before_there_is_any_adapter() -> None:
    settings = told(resolved(OPTION_ENABLE_LORA="true"))
    assert (settings.slots, settings.max_rank, settings.sources) == (4, 16, ())


def test_vllms_own_list_becomes_ours_and_is_not_handed_on(tmp_path: Path) -> None:
    one, other = write_adapter(tmp_path / "1"), write_adapter(tmp_path / "2")
    given = json.dumps([{"name": "a", "path": one, "base_model_name": "m"}, {"name": "b", "path": other}])
    for text in (given, f"a={one},b={other}"):
        for variable in ("OPTION_LORA_MODULES", "SM_VLLM_LORA_MODULES"):
            configured = resolved(**{variable: text})
            assert told(configured).sources == (AdapterSource("a", one, True), AdapterSource("b", other, True))
            assert not any("lora-modules" in argument for argument in launched(configured).plan.engine_arguments)


def test_what_is_in_the_folder_and_named_as_well_is_one_adapter(tmp_path: Path) -> None:
    write_adapter(tmp_path / "adapters" / "law")
    given = '[{"name": "law", "src": "adapters/law", "pin": true}]'
    source = AdapterSource("law", str(tmp_path / "adapters" / "law"), preload=True, pin=True)
    assert told(beside(tmp_path, OPTION_ADAPTERS=given)).sources == (source,)
    assert names(beside(tmp_path, OPTION_ADAPTERS="adapters")) == ["law"]


def test_an_adapter_in_the_folder_may_not_be_called_like_the_model(tmp_path: Path) -> None:
    write_adapter(tmp_path / "adapters" / "lmi")
    assert "has a name of the model itself" in errors("", FOUR_GPUS, look(tmp_path))


def test_adapters_beside_a_model_elsewhere_on_this_machine_are_found(tmp_path: Path) -> None:
    write_adapter(tmp_path / "model" / "adapters" / "law")
    assert names(resolved(OPTION_MODEL_ID=str(tmp_path / "model"))) == ["law"]


def test_a_directory_of_adapters_alone_is_not_taken_for_the_model(tmp_path: Path) -> None:
    write_adapter(tmp_path / "adapters" / "law")
    seen = look(tmp_path)
    assert (seen.path, seen.entered) == (tmp_path, None)
    assert names(resolved("option.model_id=org/base", directory=seen)) == ["law"]


def test_an_adapter_in_the_place_of_the_model_is_remarked_unless_it_is_named(tmp_path: Path) -> None:
    model = tmp_path / "model"
    write_adapter(model)
    assert resolved(directory=look(model)).notes == (
        f'{model} is an adapter itself, and not served unless it is named: option.adapters={{"name": "{model}"}}',
    )
    named = beside(model, "option.adapters=.")
    assert (names(named), named.notes) == (["model"], ())


def test_what_is_wrong_with_the_files_of_an_adapter_that_is_named_stops_the_start(tmp_path: Path) -> None:
    law, med = write_adapter(tmp_path / "law"), write_adapter(tmp_path / "med", use_dora=True)
    (tmp_path / "law" / "model.py").write_text("def broken(:")
    said = errors(OPTION_ADAPTERS=law, OPTION_LORA_MODULES=f"med={med}")
    dora = "it uses DoRA, which vLLM does not support"
    assert said.splitlines() == [
        f"option.adapters (OPTION_ADAPTERS): {law}: model.py:1: invalid syntax. Mend it, or leave it out.",
        f"option.lora_modules (OPTION_LORA_MODULES): {med}: {dora}. Mend it, or leave it out.",
    ]


def test_in_the_folder_it_is_remarked_and_the_worker_is_told_that_the_operator_knows(tmp_path: Path) -> None:
    write_adapter(tmp_path / "adapters" / "law")
    write_matrices(tmp_path / "adapters" / "law", rank=4)
    configured = beside(tmp_path)
    assert configured.notes[0].startswith(f"the adapter law ({tmp_path}/adapters/law) cannot be served: model.layers.0")
    assert told(configured).sources[0].problem.endswith("has ranks 4 and 4; its configuration says 8")


def test_an_adapter_is_held_against_the_model_where_that_is_on_this_machine(tmp_path: Path) -> None:
    model, law = tmp_path / "model", write_adapter(tmp_path / "law", size=8)
    model.mkdir()
    write_weights(model / "model.safetensors", {f"{MODULE}.weight": [4, 4]})
    assert "is 4x4 here, the adapter's 8x8" in errors(OPTION_ADAPTERS=law, OPTION_MODEL_ID=str(model))
    assert names(resolved(OPTION_ADAPTERS=law, OPTION_MODEL_ID="s3://models/llama")) == ["law"]
    (model / "model.safetensors.index.json").write_text(
        '{"weight_map": {"a": "model.safetensors", "b": "more.safetensors"}}'
    )
    assert names(resolved(OPTION_ADAPTERS=law, OPTION_MODEL_ID=str(model))) == ["law"]


def test_what_an_earlier_start_brought_here_is_planned_from(tmp_path: Path) -> None:
    law = write_adapter(tmp_path / "law", size=8)
    write_weights(tmp_path / "model.safetensors", {f"{MODULE}.weight": [4, 4]})
    (tmp_path / "config.json").write_text(json.dumps(WHOLE_LLAMA_8B))
    given = {"OPTION_ENABLE_LORA": "true", "HF_MODEL_ID": "org/llama"}
    configured = resolve(given, None, LAPTOP, at_hand=lambda _: tmp_path)
    assert "one of rank 16 takes 80.0 MiB at most" in configured.values["max_cpu_loras"].reason
    with pytest.raises(ConfigErrors, match="is 4x4 here, the adapter's 8x8"):
        resolve({**given, "OPTION_ADAPTERS": law}, None, LAPTOP, at_hand=lambda _: tmp_path)


def test_two_of_one_name_are_told_apart_where_they_got_it(tmp_path: Path) -> None:
    a, b = write_adapter(tmp_path / "1" / "law"), write_adapter(tmp_path / "2" / "law")
    rename = f'Two adapters are called law: {a} and {b}. Rename {b}, or name it apart with option.adapters={{"name"'
    assert errors(OPTION_ADAPTERS=f"{a},{b}").startswith(rename)
    again = f"Two adapters are called law: {a} and {b}. Give the one in {a} another name in option.adapters (OPTION_AD"
    given = json.dumps([{"name": "law", "src": a}, b])
    assert errors(OPTION_ADAPTERS=given).startswith(again)


@pytest.mark.parametrize("option", ["max_loras", "max_cpu_loras", "max_lora_rank"])
def test_what_only_adapters_need_is_remarked_and_not_handed_on_without_them(option: str) -> None:
    configured = resolved(f"option.{option}=8")
    assert configured.notes == (f"option.{option}=8 (serving.properties:1): no effect without option.enable_lora=true",)
    assert not any("lora" in argument for argument in launched(configured).plan.engine_arguments)


def test_a_rank_vllm_does_not_take_is_told_with_the_next_one() -> None:
    assert errors(OPTION_MAX_LORA_RANK="24").endswith("320, 512. Set 32.")
    assert errors(OPTION_MAX_LORA_RANK="600").endswith("320, 512. Set 512 at most.")


def test_a_directory_that_no_request_could_name_is_remarked_and_not_served(tmp_path: Path) -> None:
    latin = os.fsdecode(b"caf\xe9")
    for name in ("good", latin, "a\nb"):
        write_adapter(tmp_path / "adapters" / name)
    found = find({}, [tmp_path])
    assert [one.source.name for one in found.adapters] == ["good"]
    (note,) = found.notes
    assert note.startswith(f"{tmp_path}/adapters: not served, as an adapter's name is at most 256 characters")
    assert note.endswith(": 'a\\nb', 'caf\\udce9'")


def test_hidden_directories_and_files_are_no_adapters(tmp_path: Path) -> None:
    write_adapter(tmp_path / "adapters" / "law")
    write_adapter(tmp_path / "adapters" / ".cache")
    (tmp_path / "adapters" / "README.md").write_text("")
    assert names(beside(tmp_path)) == ["law"]


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("law", "a relative directory is below the model directory, and there is none"),
        ("hf://org/adapter", "adapters are not downloaded"),
        ("file://elsewhere/law", "adapters are not downloaded"),
        ("/nowhere/law", "there is no such directory"),
        (
            "law=/law",
            'an adapter is given a name as option.adapters={"law": "/law"}, or in option.lora_modules=law=/law',
        ),
        ('{"law": 3}', "3 is none of a directory, a list of them"),
        ('{"law": {"src": ""}}', 'src is text, not ""'),
        ('{"law": {"src": "/l", "pin": 1}}', "pin is true or false, not 1"),
        ('{"law": {"source": "/l"}}', "there is no source; an adapter has pin, preload, src"),
        ('[{"name": "law"}]', "does not say the adapter's directory"),
        ('[{"src": "/law"}]', "does not say the adapter's name"),
        ("[[]]", "[] is none of"),
        (
            '{"\\ud800": "/a"}',
            "'\\ud800' is no name; an adapter's is at most 256 characters",
        ),
        ('["/a\\nb"]', "'a\\nb' is no name"),
        ('{"law": "/a", "law": "/b"}', "law is there twice; give each adapter a name of its own"),
        ("[", "this is no JSON"),
    ],
)
def test_what_names_no_adapter_stops_the_start(given: str, problem: str) -> None:
    said = errors(OPTION_ADAPTERS=given)
    assert said.startswith("option.adapters (OPTION_ADAPTERS): ")
    assert problem in said


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("=/law", "is neither name=directory nor"),
        ('{"name": "law"}', "does not say the adapter's directory"),
        ('{"name": "law", "path": "/l", "is_3d_lora_weight": true}', "there is no is_3d_lora_weight"),
        ("law=org/law", "a relative directory is below the model directory"),
    ],
)
def test_what_is_none_of_vllms_forms_stops_the_start(given: str, problem: str) -> None:
    assert problem in errors(OPTION_LORA_MODULES=given)


@pytest.mark.parametrize(
    ("host", "model", "held"),
    [
        (LAPTOP, WHOLE_LLAMA_8B, 15),
        (FOUR_GPUS, WHOLE_LLAMA_8B, 24),
        (replace(FOUR_GPUS, ram_available_bytes=1 << 40), WHOLE_LLAMA_8B, 32),
        (replace(LAPTOP, ram_available_bytes=4 * GIB), WHOLE_LLAMA_8B, 4),
        (replace(FOUR_GPUS, ram_available_bytes=1 << 40), LLAMA_8B, 25),
    ],
    ids=["laptop", "four processes", "no more than 32", "no less than a batch", "shapes unknown"],
)
def test_ram_holds_more_adapters_than_a_batch_where_it_has_room(
    host: HostFacts, model: dict[str, Any], held: int
) -> None:
    value = resolved("option.enable_lora=true", host, directory_with(model)).values["max_cpu_loras"]
    assert value.value == held
    assert "1/20 of" in value.reason


def test_a_place_in_ram_for_each_adapter_is_shown_before_vllm_asks_for_it() -> None:
    configured = resolved("option.enable_lora=true\noption.max_cpu_loras=2")
    assert told(configured).slots == told(configured).cpu_slots == 2
    assert "as many as option.max_cpu_loras holds" in configured.values["max_loras"].reason
    assert told(resolved("option.enable_lora=true\noption.max_cpu_loras=None\noption.max_loras=3")).cpu_slots == 3


def test_pins_leave_a_place_for_others(tmp_path: Path) -> None:
    given = json.dumps({name: {"src": write_adapter(tmp_path / name), "pin": True} for name in "ab"})
    assert told(resolved(OPTION_ADAPTERS=given, OPTION_MAX_LORAS="3")).slots == 3
    assert "2 adapters are pinned (a, b)" in errors(OPTION_ADAPTERS=given, OPTION_MAX_LORAS="2")
    assert "1 adapter is pinned (a)" in errors(
        OPTION_ADAPTERS=json.dumps([{"name": "a", "src": f"{tmp_path}/a", "pin": True}]), OPTION_MAX_LORAS="1"
    )


def test_what_vllm_holds_itself_is_not_given_out_twice() -> None:
    given = {"OPTION_ENABLE_LORA": "true", "OPTION_DEFAULT_MM_LORAS": '{"image": "/a", "audio": "/b"}'}
    configured = resolved(**given)
    assert (configured.values["max_loras"].value, told(configured).slots) == (6, 4)
    assert told(resolved(**given, OPTION_MAX_LORAS="3", OPTION_MAX_CPU_LORAS="9")).cpu_slots == 7
    assert "leaves no place beside those of option.default_mm_loras" in errors(**given, OPTION_MAX_LORAS="2")


def test_vllms_switch_for_adapters_at_run_time_is_not_needed() -> None:
    assert "POST /adapters works without it" in resolved(VLLM_ALLOW_RUNTIME_LORA_UPDATING="True").notes[0]


def test_more_adapters_loaded_at_the_start_than_have_a_place_are_remarked(tmp_path: Path) -> None:
    given = ",".join(f"{name}={write_adapter(tmp_path / name)}" for name in "abcdef")
    notes = resolved(OPTION_LORA_MODULES=given, OPTION_MAX_CPU_LORAS="4").notes
    assert notes == ("6 adapters are loaded at the start, and 4 have a place in RAM: those loaded last keep it",)


def test_what_the_worker_is_told_survives_the_file_it_travels_in(tmp_path: Path) -> None:
    given = json.dumps({"law": {"src": write_adapter(tmp_path / "law"), "pin": True}})
    plan = launched(resolved(OPTION_ADAPTERS=given, SAGEMAKER_ENABLE_STATEFUL_SESSIONS="true")).plan
    file = tmp_path / "launch-plan.json"
    file.write_text(json.dumps({"worker": plan.to_json()}))
    assert WorkerPlan.read(file) == plan
