"""Which checks DJL Serving cannot pass, and why; `LMI_TEST_FRONTEND=djl` expects these, and only these, to fail."""

import os
from collections.abc import Mapping

FRONT_END = os.environ.get("LMI_TEST_FRONTEND", "direct")
"""What answers in the tests; `djl` needs DJL Serving, which LMI_DJL_SERVING names."""
DJL = FRONT_END == "djl"
NO_METRICS = "it looks at /metrics, which DJL Serving does not route"
_ROUTES = "of the application's routes DJL Serving knows /invocations and /v1/chat/completions alone"
_OWN = "DJL Serving answers it itself, in a form of its own"
_METHODS = "DJL Serving takes any method"
_CLOSE = "DJL Serving closes no connection because it is asked to, and speaks HTTP/1.0 as 1.1"
_HEADERS = "DJL Serving obeys the header X-Synchronous, and refuses one called handler"
_CONTINUE = "DJL Serving sends no 100-continue to a caller who waits for the reply's end"
_BODY = "Java makes the body of an error out of its message and status"
_EARLY = "DJL Serving tells 200 for an adapter before the worker has answered, and 409 for a name it knows"
_LISTED = "what is told of adapters is what DJL Serving remembers of the calls it has passed on"
_NAMES = "DJL Serving takes a slash in an adapter's name for one of the path, and knows the model as `model`"
_LEAVES = "DJL Serving does not tell of callers who have left; theirs take the place of others"
_RESET = "Java's end resets connections, after the last record has been sent"

CANNOT: Mapping[str, Mapping[str, str]] = {
    "test_health.py": {
        "check_02_ping_answers_200_with_an_empty_body": _OWN,
    },
    "test_http.py": {
        "check_14_two_requests_share_one_connection": _CLOSE,
        "check_14_an_http_1_0_stream_ends_with_the_connection": _CLOSE,
        "check_28_unknown_headers_change_nothing": _HEADERS,
        "bodies_beyond_max_request_size_are_413": "DJL Serving's 413 has no body",
        "check_33_other_methods_on_invocations_are_405_in_json": _METHODS,
        "check_33_unknown_paths_are_404_in_json": _OWN,
        "check_41_expect_100_continue_is_answered_before_the_body": _CONTINUE,
        "check_83_multi_model_endpoints_are_not_pretended": _OWN,
    },
    "test_errors.py": {
        "check_24_a_body_that_is_no_json_object_is_400": _ROUTES,
        "bytes_that_are_no_http_leave_the_server_well": _RESET,
    },
    "test_openai_routes.py": {
        "usage_counts_are_exact": _ROUTES,
        "the_paths_of_lmi_are_aliases_of_invocations": _NAMES,
        "the_paths_of_lmi_know_no_other_model": _OWN,
        "a_responses_body_is_answered_on_its_route": _ROUTES,
        "version_and_health_are_told": _ROUTES,
        "routes_that_manage_the_engine_are_not_reachable": _OWN,
        "check_37_another_model_name_is_404_and_never_answered": _ROUTES,
        "check_43_the_served_names_and_the_model_id_are_accepted_and_others_are_404": _ROUTES,
    },
    "test_clients.py": {
        "the_official_openai_client_streams_a_completion_with_an_empty_model_name": _ROUTES,
    },
    "test_tgi.py": {
        "decoder_input_details_tell_the_prompt": _ROUTES,
        "truncate_keeps_the_last_tokens_of_the_prompt": _ROUTES,
        "a_stream_has_one_record_per_token_as_json_lines_or_sse": _ROUTES,
    },
    "test_limits.py": {
        "check_35_a_request_past_its_deadline_is_504_or_an_error_record": _BODY,
    },
    "test_observability.py": {
        "check_74_metrics_are_prometheus_text_with_what_sagemakers_dashboard_queries": NO_METRICS,
        "check_74_metrics_are_quick_under_load": NO_METRICS,
        "check_74_requests_add_no_series_of_their_own": NO_METRICS,
    },
    "test_fuzz.py": {
        "odd_bodies_on_other_routes_are_answered_or_refused": _ROUTES,
    },
    "test_soak.py": {
        "check_82_resources_stay_stable_under_mixed_traffic": _LEAVES,
    },
    "test_embeddings.py": {
        "an_openai_embeddings_body_is_answered_on_both_routes": _ROUTES,
    },
    "test_stopping.py": {
        "check_10_sigterm_lets_a_stream_in_flight_finish_and_exits_0": _RESET,
        "checks_8_and_36_an_engine_that_dies_ends_streams_with_an_error_and_the_process_with_4": _RESET,
    },
    "test_adapters.py": {
        "check_47_an_adapter_is_chosen_on_every_route_in_every_way": _ROUTES,
        "check_49_an_adapter_is_registered_by_a_json_body": "DJL Serving reads name and src in the query",
        "check_50_the_reply_names_the_alias": _EARLY,
        "check_52_a_deleted_adapter_is_gone": _EARLY,
        "check_53_new_weights_give_new_answers": _EARLY,
        "check_54_an_unknown_adapter_is_404_and_names_nobody_elses": _BODY,
        "vllms_metric_of_running_adapters_tells_those_that_run_as_their_descriptions_do": _LISTED,
        "check_56_the_same_registration_again_is_200": _EARLY,
        "check_63_adapters_are_listed_page_by_page": _LISTED,
        "check_63_the_routes_are_there_under_the_model_too": _NAMES,
    },
    "test_adapters_trained.py": {
        "check_53_an_update_of_an_adapter_changes_what_it_says": _EARLY,
    },
    "test_adapters_cache.py": {
        "a_body_that_says_adapter_for_adapters_does_not_get_the_base_model": _BODY,
    },
    "test_adapters_refused.py": {
        "": _EARLY,
    },
    "test_adapters_traffic.py": {
        "must_show_2_a_thousand_adapters_are_registered_in_ten_seconds": _LISTED,
        "row_08_an_adapter_that_is_not_preloaded_is_loaded_by_its_first_request": _LISTED,
        "an_adapter_that_has_failed_tells_everyone_why_and_is_tried_again_when_its_files_change": _LISTED,
        "row_09_a_registration_that_fails_says_so_itself": _EARLY,
        "a_pinned_adapter_stays_loaded_and_the_others_share_the_slots": _EARLY,
    },
    "test_formatters.py": {
        "an_adapter_whose_script_cannot_run_is_failed_with_the_line_and_can_be_mended": _LISTED,
        "a_changed_script_of_an_adapter_is_used_once_it_is_told": _EARLY,
        "row_21_the_script_of_an_adapter_that_is_refused_is_not_run": _EARLY,
    },
    "test_sessions.py": {
        "a_request_type_beside_a_prompt_or_of_no_kind_is_refused": _BODY,
        "a_session_is_checked_on_every_route_of_inference": _ROUTES,
    },
}
"""By file and test without `test_`, an empty one for all of the file: the reason."""


def reason(file: str, test: str) -> str:
    """Return why a test cannot pass behind DJL Serving, empty where it can."""
    known = CANNOT.get(file, {})
    return known.get(test.removeprefix("test_")) or known.get("", "")
