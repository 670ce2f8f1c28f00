import pytest

from autoconfig.masking import MASK, is_secret, masked


@pytest.mark.parametrize(
    "name", ["HF_TOKEN", "hf_hub_token", "AWS_SECRET_ACCESS_KEY", "apiKey", "option.custom.db_password"]
)
def test_names_that_speak_of_a_secret(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize(
    "name", ["TOKENIZERS_PARALLELISM", "max_new_tokens", "keyword", "monkey", "max_num_batched_tokens"]
)
def test_names_that_only_look_like_it(name: str) -> None:
    assert not is_secret(name)


def test_secrets_are_hidden_wherever_they_are_nested() -> None:
    config = {"connector": "x", "extra": {"access_key": "AKIA", "sizes": [1, 2]}, "list": [{"token": "t"}]}
    assert masked(config) == {
        "connector": "x",
        "extra": {"access_key": MASK, "sizes": [1, 2]},
        "list": [{"token": MASK}],
    }


def test_secrets_are_hidden_inside_text() -> None:
    assert masked('--x={"api_key": "abc", "n": 1}') == f'--x={{"api_key": "{MASK}", "n": 1}}'
    assert masked("A=1,DB_PASSWORD=abc,B=2") == f"A=1,DB_PASSWORD={MASK},B=2"
    assert masked("https://me:hunter2@proxy:3128/") == f"https://{MASK}@proxy:3128/"
