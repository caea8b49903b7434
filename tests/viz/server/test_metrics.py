"""What Prometheus reads."""

from prometheus_client.parser import text_string_to_metric_families
from starlette.requests import Request

from tests.finish import finish
from viz.server.budget import BUDGET
from viz.server.metrics import show_metrics
from viz.server.queue import QUEUE


def values() -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """What the route answers, read by Prometheus's own parser."""
    body = finish(show_metrics(Request({"type": "http", "headers": []}))).body.decode()
    return {
        (sample.name, tuple(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(body)
        for sample in family.samples
    }


def test_the_queue_and_the_caches_are_counted():
    before = values()
    cache = BUDGET.cache("metrics test", size=len)
    QUEUE.run(("metrics test", object()), lambda: cache.update(a="xyz"))
    assert cache["a"] == "xyz" and cache.get("b") is None
    after = values()
    label = (("kind", "metrics test"),)
    name = (("name", "metrics test"),)
    done = "saccade_work_done_total"
    assert after[done, label] == before.get((done, label), 0) + 1
    assert after["saccade_budget_bytes", name] == 3
    assert after["saccade_cache_hits_total", name] == 1
    assert after["saccade_cache_misses_total", name] == 1
    assert after["saccade_queue_length", ()] == 0
    assert after["saccade_budget_limit_bytes", ()] == BUDGET.limit


def test_nobody_who_comes_through_a_proxy_sees_them():
    request = Request({"type": "http", "headers": [(b"x-forwarded-for", b"203.0.113.7")]})
    assert finish(show_metrics(request)).status_code == 404
