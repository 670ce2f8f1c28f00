"""The KV cache below the engine's own: LMCache's tiers in RAM and on disk."""

from autoconfig.kinds import Kind
from autoconfig.options.option import Option, Spelling

GROUP = "KV cache options"

OPTIONS = (
    Option(
        "lmcache_auto_config",
        "Keep KV cache in RAM and on NVMe with LMCache, sized from this host and model. `explain` shows the plan and "
        "every reason for it.",
        kind=Kind.BOOL,
        default=False,
    ),
    Option(
        "lmcache_config_file",
        "Keep KV cache as this YAML says, in LMCache's documented schema; an absolute path, or a file beside the "
        "model. Sizes in it are for the whole container.",
        environment=(Spelling("LMCACHE_CONFIG_FILE"),),
    ),
    Option(
        "lmcache_min_cpu_gb",
        "GiB of RAM from which on the cache is worth having. Default: judged from the model's context and the engine's "
        "own cache.",
        kind=Kind.GIB,
        minimum=0,
    ),
    Option("lmcache_max_cpu_gb", "GiB of RAM the cache may take at most.", kind=Kind.GIB, minimum=0.1),
    Option("lmcache_max_disk_gb", "GiB of disk the cache may take at most; 0 is none.", kind=Kind.GIB, minimum=0),
    Option(
        "lmcache_force_disk",
        "Use the disk even where it is EBS, or too small to be worth it.",
        kind=Kind.BOOL,
        default=False,
    ),
    Option(
        "lmcache_disk_path",
        "Directory of the cache on disk. Default: /tmp; a `local_disk` elsewhere in your own YAML has to be below it.",
    ),
)
