"""Machines that the tests plan for; none of them is the one the tests run on."""

from autoconfig.host import Gpu, HostFacts

GIB = 1 << 30

LAPTOP = HostFacts(
    cpus=4,
    ram_available_bytes=24 * GIB,
    ram_total_bytes=32 * GIB,
    cpu_flags=frozenset({"avx2", "avx512_bf16"}),
)
OLD_LAPTOP = HostFacts(cpus=4, ram_available_bytes=12 * GIB, ram_total_bytes=16 * GIB, cpu_flags=frozenset({"avx2"}))
FOUR_GPUS = HostFacts(
    gpus=(Gpu("NVIDIA L4", 24 * GIB),) * 4,
    cpus=48,
    ram_available_bytes=150 * GIB,
    ram_total_bytes=192 * GIB,
)
