"""The benchmarks: which workload, with what arguments, and what its numbers should be.

A target belongs to one metric: the preloaded value at most so much (at_most), at most so many
times the stock value of the same round (ratio), at most so much more than it (more_by), or both (ratio_and).
`options` are ZGC_ variables of the preloaded side ({folder} in one is a directory that goes with the
run); `scaled_by` names the sizes a workload takes. Where `base` is given, the other side is not
stock: it is preloaded too, with these options.
"""

import itertools
from typing import NamedTuple, Optional


class Target(NamedTuple):
    kind: str
    limit: float
    more: float = 0.0

    def __str__(self):
        return {"at_most": "<= {:g}", "ratio": "<= {:g} x", "more_by": "<= stock + {:g}",
                "ratio_and": "<= {:g} x + {:g}"}[self.kind].format(self.limit, self.more)

    def met(self, stock, preload, ratio):
        """Whether the medians meet this target; None where that cannot be said."""
        if self.kind == "at_most":
            return None if preload is None else preload <= self.limit
        if self.kind == "ratio":
            return None if ratio is None else ratio <= self.limit
        if stock is None or preload is None:
            return None
        if self.kind == "ratio_and":
            return preload <= stock * self.limit + self.more
        return preload - stock <= self.limit


class Row(NamedTuple):
    metric: str
    target: Optional[Target] = None


class Bench(NamedTuple):
    name: str
    workload: str
    about: str
    rows: tuple
    arguments: tuple = ()
    options: dict = {}
    scaled_by: tuple = ("objects", "seconds", "steps")
    base: Optional[dict] = None


def at_most(limit):
    return Target("at_most", limit)


def ratio(limit):
    return Target("ratio", limit)


def more_by(limit):
    return Target("more_by", limit)


def steps(*targeted, **targets):
    """The rows of a workload made of steps; `targets` says which have one, and what."""
    targets.setdefault("peak_rss_mb", ratio(1.05))
    metrics = ["gc_pause_max_ms", "gc_pause_max_cpu_ms", "young_pause_max_ms", "step_max_ms",
               "step_p9999_ms", "step_p999_ms", "steps_per_s", "gc_total_ms", "gc_off_ms",
               "young_total_ms", "full_collections", "collected", "uncollected_max",
               "peak_rss_mb", *targeted]
    return tuple(Row(metric, targets.get(metric)) for metric in metrics)


LIVE = steps(gc_pause_max_ms=at_most(1.0))
GARBAGE = steps(gc_pause_max_ms=at_most(2.0), uncollected_max=ratio(1.25))

# All repetitions count: the fastest one of each row would be one without a sample.
PROFILE = ((Row("all_cpu_s", ratio(1.03)), Row("blocks_ns"), Row("builds_ns")),
           (), {"ZGC_PROFILE": "{folder}/heap.pb.gz"}, ())

MANAGED_PAUSES = (Row("managed_pause_p99_ms", at_most(0.2)), Row("managed_pause_max_ms", at_most(1.0)),
                  Row("managed_pauses"), Row("managed_young"), Row("managed_full"), Row("managed_handles"),
                  Row("step_max_ms"), Row("step_p999_ms"), Row("steps_per_s"), Row("peak_rss_mb"))

# The sweep: ordinary programs of every kind. (kinds, lifetimes, heaps); a name is sweep-KIND-LIFETIME-HEAP.
ALL_KINDS = ("int_tuple", "list_pair", "record", "slots", "instance", "ring", "tree", "closure", "generator",
             "iterator", "text", "bytes_300", "bytes_70k", "set", "deque", "exception")
PATTERNS = (
    (ALL_KINDS, ("dropped", "keep", "fifo_4k", "replaced"), ("some",)),
    (("int_tuple", "list_pair", "record", "ring", "tree", "set"),
     ("comprehended", "by_key", "fifo_20k", "batches"), ("some",)),
    (("int_tuple", "list_pair", "ring", "text"), ("keep", "fifo_4k"), ("empty", "old", "frozen")),
)
SWEEP_ROWS = (Row("wall_s", ratio(1.10)), Row("cpu_s", ratio(1.15)),
              Row("peak_rss_mb", Target("ratio_and", 1.10, 2.0)), Row("gc_pause_max_cpu_ms"))


def sweep():
    for kinds, lifetimes, heaps in PATTERNS:
        for kind, lifetime, heap in itertools.product(kinds, lifetimes, heaps):
            yield Bench(f"sweep-{kind}-{lifetime}-{heap}", "pattern",
                        f"{kind}, {lifetime}, beside a heap that is {heap}", SWEEP_ROWS,
                        ("--kind", kind, "--lifetime", lifetime, "--heap", heap), scaled_by=())


BENCHES = {bench.name: bench for bench in (
    Bench("live-3m", "live_heap", "3 M live objects, no garbage, random links",
          LIVE, ("--objects", "3M")),
    Bench("live-10m", "live_heap", "10 M live objects, no garbage, random links",
          LIVE, ("--objects", "10M")),
    Bench("live-30m", "live_heap", "30 M live objects, no garbage, random links (4 GB)",
          LIVE, ("--objects", "30M")),
    Bench("live-near", "live_heap", "10 M live objects, no garbage, well laid out",
          LIVE, ("--objects", "10M", "--links", "near")),
    Bench("young", "promote_then_die", "objects grow old, then die by reference count",
          steps(young_pause_max_ms=at_most(1.0), step_p999_ms=at_most(0.5),
                young_total_ms=ratio(1.0))),
    Bench("big-young", "big_young", "2 M objects built with the collector disabled",
          steps(gc_pause_max_ms=at_most(1.0))),
    Bench("small-cycles", "small_cycles", "steady small cycles that die young", GARBAGE),
    Bench("lru", "lru_graphs", "a cache of graphs of 40 objects", GARBAGE),
    Bench("lru-5000", "lru_graphs", "a cache of graphs of 5,000 objects", GARBAGE,
          ("--graph-size", "5000")),
    Bench("queue", "cycle_queue", "a queue of small cycles", GARBAGE),
    Bench("moved", "moved_graphs", "live graphs moved about, a few dropped", GARBAGE),
    Bench("server", "server", "the server of the demo", GARBAGE),
    Bench("huge-cycle", "huge_cycle", "one cycle of 1 M objects is dropped",
          steps("reclaim_s", "reclaimed_all", gc_pause_max_ms=ratio(0.5))),
    Bench("slowdown", "slowdown", "the program's speed while a collection runs",
          (Row("slowdown_pct", at_most(5.0)), Row("quiet_steps_per_s"),
           Row("collecting_steps_per_s"), Row("peak_rss_mb", ratio(1.05))),
          # Quiet slices must stay quiet.
          options={"ZGC_TRIGGER": "1000"}, scaled_by=("objects",)),
    Bench("cpu", "collection_cpu", "CPU of one full collection, all threads",
          (Row("full_cpu_ms", ratio(1.0)), Row("full_wall_ms"), Row("explicit_cpu_ms"),
           Row("explicit_wall_ms"), Row("peak_rss_mb", ratio(1.05))),
          scaled_by=("objects",)),
    Bench("alloc", "alloc_micro", "malloc and free of 16..512 bytes; building lists and the like",
          (Row("blocks_ns", ratio(1.0)), Row("builds_ns", ratio(1.0)))
          + tuple(Row(f"block_{size}_{how}_ns") for size in (16, 64, 512)
                  for how in ("at_once", "batch", "random"))
          + tuple(Row(f"{what}_batch_ns", ratio(1.0)) for what in ("list", "dict", "instance")),
          scaled_by=()),
    Bench("profile", "alloc_micro", "the allocation profile, on and off", *PROFILE, {}),
    Bench("profile-table", "alloc_micro", "... off with the same binding, where libpython is shared",
          *PROFILE, {"ZGC_BINDING": "table"}),
    Bench("startup", "startup", "python -c pass",
          (Row("startup_ms", more_by(3.0)), Row("startup_rss_mb", more_by(2.0))),
          scaled_by=()),
    Bench("containers", "containers", "containers and cycles created and dropped",
          (Row("lists_s", ratio(0.95)), Row("nested_s", ratio(0.95)), Row("rings_s", ratio(0.95)),
           Row("small_rings_s", ratio(0.95)), Row("peak_rss_mb", ratio(1.05))), scaled_by=()),
    Bench("machine", "machine", "gaps that the machine makes, whatever runs on it",
          (Row("gap_max_ms"), Row("gaps_over_100_us"), Row("gaps_over_1_ms")), scaled_by=("seconds",)),
    Bench("fragmentation", "fragmentation", "2 GB of mixed objects, of which nine tenths are dropped at random",
          (Row("rss_later_mb", ratio(0.9)), Row("rss_at_once_mb"), Row("rss_full_mb"), Row("gc_pause_max_ms"),
           Row("step_p999_ms"), Row("step_max_ms"), Row("build_s")), scaled_by=("seconds",)),
    Bench("exit", "exit", "end of an interpreter with 5 M live objects",
          (Row("exit_ms", ratio(1.0)),), ("--objects", "5M"), scaled_by=("objects",)),
    Bench("managed-tree", "managed_tree", "5 M managed nodes against objects with __slots__",
          (Row("tree_build_s", ratio(1.0)), Row("bytes_per_node", ratio(0.45)),
           Row("read_number_ns", ratio(2.0)), Row("follow_ns", ratio(3.0)),
           Row("follow_new_handle_ns"), Row("loop_ns"), Row("gc_full_ms", ratio(0.01))),
          scaled_by=("objects",)),
    Bench("managed-gc", "managed_tree", "CPython's full collection beside 10 M managed nodes",
          (Row("gc_full_ms", ratio(0.01)), Row("bytes_per_node", ratio(0.45))),
          ("--objects", "10M"), scaled_by=("objects",)),
    *(Bench(f"managed-pauses-{n.lower()}", "managed_pauses",
            f"pauses with {n} managed nodes and up to 1 M handles", MANAGED_PAUSES, ("--objects", n))
      for n in ("1M", "10M", "30M")),
    Bench("managed-drop", "managed_drop", "nine of ten managed nodes dropped at random",
          (Row("rss_left_mb", ratio(0.25)), Row("rss_full_mb"), Row("managed_pause_max_ms", at_most(1.0)),
           Row("step_max_ms"), Row("step_p999_ms"))),
    Bench("managed-slowdown", "managed_slowdown", "speed while managed nodes are marked and moved",
          (Row("slowdown_pct", at_most(15.0)), Row("slowdown_cpu_pct", at_most(15.0)),
           Row("quiet_steps_per_s"), Row("collecting_steps_per_s")),
          scaled_by=("objects",)),
    *sweep(),
)}

# A name that is the beginning of many.
GROUPS = {"sweep": [name for name in BENCHES if name.startswith("sweep-")]}
