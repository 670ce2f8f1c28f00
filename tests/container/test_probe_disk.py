"""What probing a directory's disk says, and that it leaves nothing, on real file systems."""

from pathlib import Path

from container.probe_disk import probe_disk
from tests.container.mounts import fill
from tests.timing import assert_within, seconds_of


def test_a_disk_is_measured_in_three_seconds_and_left_as_it_was(tmp_path: Path) -> None:
    assert_within(3.5, lambda: seconds_of(lambda: probe_disk(str(tmp_path))))
    probe = probe_disk(str(tmp_path))
    assert (probe.path, probe.writable, probe.reason) == (str(tmp_path), True, "")
    assert probe.read_bytes_per_second
    assert probe.write_bytes_per_second
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_is_not_there_yet_is_probed_above(tmp_path: Path) -> None:
    assert probe_disk(str(tmp_path / "to/be/made")).writable
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_says_why() -> None:
    probe = probe_disk("/proc/lmi")
    assert (probe.writable, probe.odirect) == (False, False)
    assert probe.reason.endswith(" in /proc")


def test_a_full_disk_is_survived(small_disk: Path) -> None:
    fill(small_disk)
    probe = probe_disk(str(small_disk))
    assert probe.read_bytes_per_second is None
    assert probe.reason
    assert [path.name for path in small_disk.iterdir()] == ["filler"]
