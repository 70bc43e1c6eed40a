#!/usr/bin/env python3
"""A dask.distributed cluster of processes under load: cluster.py SECONDS. Prints one JSON line."""

import json
import os
import sys
import time


def work(seed):
    """Objects, cycles, and a sum that the client can check."""
    nodes = [{"n": (seed * 7919 + i) % 1000, "peer": None} for i in range(3000)]
    for i, node in enumerate(nodes):
        node["peer"] = nodes[i - 1]
    return sum(node["n"] for node in nodes)


def expected(seed):
    return sum((seed * 7919 + i) % 1000 for i in range(3000))


def add(parts):
    return sum(parts)


def main():
    from distributed import Client, LocalCluster
    seconds = float(sys.argv[1])
    answers = wrong = 0
    with LocalCluster(n_workers=3, threads_per_worker=2, processes=True, dashboard_address=None,
                      memory_limit=0) as cluster, Client(cluster) as client:
        end = time.monotonic() + seconds
        seed = 0
        while time.monotonic() < end:
            seeds = range(seed, seed + 60)
            parts = client.map(work, seeds, pure=False)
            total = client.submit(add, parts, pure=False).result(timeout=120)
            wrong += total != sum(map(expected, seeds))
            answers += len(seeds)
            seed += len(seeds)
        pids = client.run(os.getpid)       # each worker answers
    print(json.dumps({"answers": answers, "wrong": wrong, "workers": len(pids)}), flush=True)


if __name__ == "__main__":
    main()
