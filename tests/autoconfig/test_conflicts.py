from tests.autoconfig.configured import errors, resolved, value

TWICE = "option.tensor_parallel_degree is given 2 times"


def test_two_names_for_one_option_in_the_environment_are_an_error_even_where_they_agree() -> None:
    assert errors(OPTION_TENSOR_PARALLEL_DEGREE="1", OPTION_TENSOR_PARALLEL_SIZE="1") == (
        f"{TWICE}: 1 (OPTION_TENSOR_PARALLEL_DEGREE) and 1 (OPTION_TENSOR_PARALLEL_SIZE). Keep one."
    )


def test_a_key_given_twice_names_both_lines() -> None:
    assert errors("option.dtype=fp16\n# later\noption.dtype=bf16\n") == (
        "option.dtype is given 2 times: fp16 (serving.properties:1) and bf16 (serving.properties:3). Keep one."
    )


def test_lmis_and_vllms_name_in_one_file_are_a_contradiction() -> None:
    assert "Keep one." in errors("option.max_rolling_batch_size=8\noption.max_num_seqs=8")


def test_aliases_that_agree_pass_and_aliases_that_differ_do_not() -> None:
    assert value("tensor_parallel_degree", SM_NUM_GPUS="1", TENSOR_PARALLEL_DEGREE="01") == 1
    assert errors(SM_NUM_GPUS="1", TENSOR_PARALLEL_DEGREE="2").startswith(TWICE)


def test_across_layers_the_loser_is_shown_and_not_an_error() -> None:
    won = resolved("option.max_num_seqs=8", OPTION_MAX_ROLLING_BATCH_SIZE="4").values["max_rolling_batch_size"]
    assert (won.value, [str(one.origin) for one in won.shadowed]) == (8, ["OPTION_MAX_ROLLING_BATCH_SIZE"])


def test_a_platform_variable_of_the_same_meaning_gives_way_as_in_lmi() -> None:
    won = resolved(SAGEMAKER_MAX_REQUEST_SIZE="1000", SAGEMAKER_MAX_PAYLOAD_IN_MB="6").values["max_request_size"]
    assert (won.value, [one.text for one in won.shadowed]) == (1000, ["6291456"])


def test_a_task_that_contradicts_the_runner_is_an_error() -> None:
    assert errors("option.task=text-embedding\noption.runner=generate") == (
        "option.task=text-embedding (serving.properties:1) means runner=pooling, and "
        "option.runner=generate (serving.properties:2) says otherwise. Keep one."
    )


def test_automatic_tool_choice_without_a_parser_is_told_so() -> None:
    assert errors(OPTION_ENABLE_AUTO_TOOL_CHOICE="true") == (
        "option.enable_auto_tool_choice=true (OPTION_ENABLE_AUTO_TOOL_CHOICE) needs option.tool_call_parser, "
        "such as hermes or llama3_json."
    )
