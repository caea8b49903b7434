"""What Prometheus reads at ``/metrics``: sessions, the queue, the caches, the uploads."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from streamlit import runtime

from viz.server.budget import BUDGET
from viz.server.queue import QUEUE
from viz.server.sessions import descriptor_limit, descriptors, session_ids
from viz.server.uploads import watched_uploads


class Server(Collector):
    """Reads the numbers of this process at the moment that they are asked for."""

    def collect(self) -> Iterable[Metric]:
        """Iterate over all families."""
        yield from _of_queue()
        yield from _of_budget()
        if runtime.exists():
            yield from _of_sessions()


def _of_queue() -> Iterable[Metric]:
    counts = QUEUE.counts
    yield _gauge("queue_length", "Pieces of work that wait", QUEUE.length)
    yield _gauge("queue_running", "Pieces of work that run", QUEUE.running)
    yield _gauge("queue_workers", "Pieces of work that can run at once", QUEUE.workers)
    yield _counter("queue_wait_seconds", "Seconds that work has waited", counts.waited)
    yield _counter("queue_joined", "Questions that joined equal ones", counts.joined)
    yield _counter("queue_abandoned", "Pieces of work whose askers went", counts.abandoned)
    yield _counter("queue_refused", "Pieces of work that could not fit", counts.refused)
    done = CounterMetricFamily("saccade_work_done", "Pieces of work done", labels=["kind"])
    seconds = CounterMetricFamily("saccade_work_seconds", "Seconds of work", labels=["kind"])
    for kind, number in list(counts.done.items()):
        done.add_metric([kind], number)
        seconds.add_metric([kind], counts.seconds[kind])
    yield from (done, seconds)


def _of_budget() -> Iterable[Metric]:
    yield _gauge("budget_limit_bytes", "Bytes for everything", BUDGET.limit)
    kept = GaugeMetricFamily("saccade_budget_bytes", "Bytes in use, by what", labels=["name"])
    for name, count in BUDGET.bytes_by_name().items():
        kept.add_metric([name], count)
    hits = CounterMetricFamily("saccade_cache_hits", "Results that were there", labels=["name"])
    misses = CounterMetricFamily("saccade_cache_misses", "Results that were not", labels=["name"])
    for cache in BUDGET.caches.values():
        hits.add_metric([cache.name], cache.hits)
        misses.add_metric([cache.name], cache.misses)
    yield from (kept, hits, misses)


def _of_sessions() -> Iterable[Metric]:
    connected, away = session_ids(runtime.get_instance())
    sessions = GaugeMetricFamily("saccade_sessions", "Sessions", labels=["state"])
    sessions.add_metric(["connected"], len(connected))
    sessions.add_metric(["away"], len(away))
    yield sessions
    yield _gauge("descriptors", "Open files and connections", descriptors())
    yield _gauge("descriptors_limit", "Most open files and connections", descriptor_limit())
    refused = CounterMetricFamily("saccade_uploads_refused", "Refused files", labels=["reason"])
    for reason, number in list(watched_uploads().refused.items()):
        refused.add_metric([reason], number)
    yield refused


def _gauge(name: str, what: str, value: float) -> Metric:
    return GaugeMetricFamily(f"saccade_{name}", what, value=value)


def _counter(name: str, what: str, value: float) -> Metric:
    return CounterMetricFamily(f"saccade_{name}", what, value=value)


REGISTRY = CollectorRegistry(auto_describe=False)
REGISTRY.register(Server())


async def show_metrics(request: Request) -> Response:
    """Answer with all numbers, as Prometheus reads them; to nobody who comes through a proxy."""
    if "x-forwarded-for" in request.headers:
        return Response("The numbers are for whoever runs this server.\n", 404)
    headers = {"Cache-Control": "no-store", "Content-Type": CONTENT_TYPE_LATEST}
    return Response(generate_latest(REGISTRY), headers=headers)


METRICS = Route("/metrics", show_metrics)
"""The route."""
