from pathlib import Path

import pytest

from handlers.hub_cache import directory_of


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache of the hub's with two revisions of one model."""
    model = tmp_path / "models--org--tiny"
    (model / "refs").mkdir(parents=True)
    for revision, commit in (("main", "a" * 40), ("v2", "b" * 40)):
        (model / "snapshots" / commit).mkdir(parents=True)
        (model / "refs" / revision).write_text(commit)
    return tmp_path


@pytest.mark.parametrize(("revision", "commit"), [(None, "a" * 40), ("v2", "b" * 40), ("b" * 40, "b" * 40)])
def test_a_model_of_the_hubs_is_found_in_its_cache(cache: Path, revision: str | None, commit: str) -> None:
    found = directory_of("org/tiny", revision, str(cache))
    assert found == cache / "models--org--tiny" / "snapshots" / commit


@pytest.mark.parametrize(("model", "revision"), [("org/absent", None), ("org/tiny", "v3"), ("no//name", None)])
def test_what_is_not_on_this_machine_is_not_asked_for_elsewhere(cache: Path, model: str, revision: str | None) -> None:
    assert directory_of(model, revision, str(cache)) is None


def test_a_directory_is_itself(tmp_path: Path) -> None:
    assert directory_of(str(tmp_path), None, None) == tmp_path
