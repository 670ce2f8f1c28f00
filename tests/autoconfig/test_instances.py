import pytest

from autoconfig.errors import ConfigErrors
from autoconfig.instances import instance, table
from tests.autoconfig.hosts import GIB


def test_the_families_that_serve_models_are_all_there() -> None:
    families = {name.split(".")[1] for name in table()}
    assert {"g4dn", "g5", "g6", "g6e", "g7e", "p4d", "p4de", "p5", "p5e", "p5en", "p6-b200"} <= families


@pytest.mark.parametrize("name", table())
def test_every_row_is_complete_and_says_where_it_is_from(name: str) -> None:
    row = table()[name]
    assert min(row.gpus, row.gpu_memory_mib, row.vcpu, row.ram_gib) > 0
    assert row.source
    host = row.host()
    assert len(host.gpus) == row.gpus
    assert host.ram_available_bytes < host.ram_total_bytes == row.ram_gib * GIB


def test_a_type_becomes_the_machine_a_container_would_see() -> None:
    host = instance("ml.p4de.24xlarge").host()
    assert (len(host.gpus), host.gpus[0].memory_bytes, host.cpus) == (8, 80 * GIB, 96)
    assert [(mount.path, mount.storage, mount.free_bytes) for mount in host.mounts] == [
        ("/tmp", "instance store", 8000 * 10**9)
    ]


def test_a_type_without_an_instance_store_has_no_disk_for_a_cache() -> None:
    assert [mount.storage for mount in instance("ml.p3.2xlarge").host().mounts] == ["EBS"]


def test_the_prefix_may_be_left_out() -> None:
    assert instance("g5.xlarge") is instance("ml.g5.xlarge")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("ml.p4d3.24xlarge", "Did you mean ml.p4d.24xlarge or ml.p4de.24xlarge?"),
        ("p5en.48xlagre", "Did you mean ml.p5en.48xlarge?"),
        ("g7.huge", "g7 comes as 2xlarge, 4xlarge, 8xlarge, 12xlarge, 24xlarge, 48xlarge."),
        ("p5", "p5 comes as 4xlarge, 48xlarge."),
    ],
)
def test_an_unknown_type_is_told_with_what_is_really_near(name: str, hint: str) -> None:
    with pytest.raises(ConfigErrors) as refused:
        instance(name)
    assert str(refused.value) == f"--instance {name}: not in the table of GPU instance types. {hint}"


@pytest.mark.parametrize("name", ["nope", "ml.m5.xlarge", "inf2.xlarge"])
def test_a_type_that_is_near_none_is_told_with_the_families(name: str) -> None:
    with pytest.raises(ConfigErrors, match=r"It holds these families: g4dn, g5, .*, p6e-gb200\.$"):
        instance(name)


def test_what_nobody_has_checked_is_said() -> None:
    assert instance("ml.p4de.24xlarge").provenance.startswith("verified against ")
