"""Which files the cache's disk tier removes: its own, wherever they are from, and no others."""

from pathlib import Path

import pytest

from container.cache_disk import CacheDisk


def disk(folder: Path, fingerprint: str = "new") -> CacheDisk:
    return CacheDisk(folder / fingerprint, folder / ".lmi-cache")


def test_what_earlier_starts_left_is_removed_with_every_other_fingerprint(tmp_path: Path) -> None:
    folder = tmp_path / "not/there/lmi-cache"
    (folder / "old").mkdir(parents=True)
    (folder / "old/block").touch()
    (folder / ".lmi-cache").touch()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/kept").touch()
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    emptied = disk(folder)
    emptied.empty()
    assert sorted(path.name for path in folder.iterdir()) == [".lmi-cache", "new"]
    assert (tmp_path / "elsewhere/kept").exists()
    emptied.remove()


def test_a_folder_without_our_marker_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").touch()
    with pytest.raises(OSError, match="not ours to empty"):
        disk(tmp_path).empty()
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]


def test_a_link_to_somewhere_else_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    folder = tmp_path / "lmi-cache"
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="no directory of this user's own"):
        disk(folder).empty()


def test_two_servers_do_not_share_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "lmi-cache"
    first = disk(folder)
    first.empty()
    with pytest.raises(OSError, match="another server keeps its cache in"):
        disk(folder, "other").empty()
    first.empty()  # as often as it is started again
    first.remove()
    second = disk(folder, "other")
    second.empty()
    second.remove()
    assert [path.name for path in folder.iterdir()] == [".lmi-cache"]
