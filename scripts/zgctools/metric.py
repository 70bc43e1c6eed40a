"""What a comparison measures: one row per metric, walked by every report."""

from . import units


class Metric:
    def __init__(self, key, label, show, higher=False, why=''):
        self.key = key
        self.label = label
        self.show = show            # number -> text
        self.higher = higher        # more is better
        self.why = why              # how it was measured, for the report


PAUSES = [
    Metric('pause_max', 'longest GC pause', units.duration,
           why='gc.callbacks, start to stop, every Python process of the run; with the preload the '
               "library's own figure if that is longer"),
    Metric('pause_p999', 'p99.9 GC pause', units.duration,
           why='of all collections of the run, young ones included; below 1,000 of them the '
               'longest'),
    Metric('pause_total', 'all GC pauses', units.duration, why='sum of the same'),
]

RUN = [
    Metric('wall', 'wall time', units.duration, why='fork to exit'),
    Metric('cpu', 'CPU time', units.duration, why='user and system, all threads and waited-for '
                                                  'children'),
    Metric('rss', 'peak RSS', units.size, why='largest process of the run (wait4)'),
    Metric('tree_rss', 'peak RSS, all processes', units.size,
           why='sum over the process tree, sampled; shared memory counts once per process'),
] + PAUSES + [
    Metric('waits', 'waits (voluntary switches)', units.count, why='wait4'),
    Metric('preemptions', 'preemptions', units.count, why='involuntary context switches, wait4'),
    Metric('minor_faults', 'minor page faults', units.count, why='wait4'),
    Metric('major_faults', 'major page faults', units.count, why='wait4'),
]

SERVE = [
    Metric('requests_per_second', 'requests per second', units.count, higher=True, why='wrk'),
    Metric('latency_p50', 'latency p50', units.duration, why='wrk'),
    Metric('latency_p90', 'latency p90', units.duration, why='wrk'),
    Metric('latency_p99', 'latency p99', units.duration, why='wrk'),
    Metric('latency_p999', 'latency p99.9', units.duration, why='wrk'),
    Metric('latency_max', 'latency max', units.duration, why='wrk'),
    Metric('errors', 'failed requests', units.count, why='socket errors and status 4xx, 5xx'),
    Metric('cpu_per_request', 'CPU per request', units.duration,
           why='process tree of the server during the load'),
    Metric('start', 'time until ready', units.duration, why='start to first answer'),
    Metric('rss_sum', 'RSS after load', units.size,
           why='sum over the process tree; shared memory counts once per process'),
    Metric('pss', 'PSS after load', units.size, why='sum over the process tree; shared memory '
                                                    'counts once'),
    Metric('rss', 'peak RSS, largest process', units.size, why='wait4'),
] + PAUSES + [
    Metric('waits', 'waits (voluntary switches)', units.count, why='/proc, during the load'),
    Metric('preemptions', 'preemptions', units.count, why='/proc, during the load'),
    Metric('minor_faults', 'minor page faults', units.count, why='/proc, during the load'),
    Metric('major_faults', 'major page faults', units.count, why='/proc, during the load'),
]
