"""A page's figures for Prometheus, on a port of their own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from gradio.utils import get_upload_folder
from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.registry import Collector

from serdemo import __version__
from serdemo.runs.job import OVER, State
from serdemo.runs.queue import JobQueue
from serdemo.schema import settings
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.ui.shell.address import MAX_PORT

if TYPE_CHECKING:
    from wsgiref.simple_server import WSGIServer

    from prometheus_client.metrics_core import Metric

    from serdemo.schema.histogram import Histogram
    from serdemo.ui.shell.page import Page

OTHER_ADDRESS = "set SERDEMO_METRICS_NAME and SERDEMO_METRICS_PORT to an address that is free."
ACTIVE = sorted(set(get_args(State)) - OVER)


class PageCollector(Collector):
    """The figures of a page, read whenever Prometheus asks for them."""

    def __init__(self, page: Page, runs: Path) -> None:
        self._page = page
        self._jobs = JobQueue(runs)

    def describe(self) -> list[Metric]:
        """Nothing: the names are known once they are collected."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All figures as they are now."""
        yield InfoMetricFamily("serdemo_build", "The version.", {"version": __version__})
        yield from self._requests()
        yield from self._live()
        yield from self._stored()

    def _requests(self) -> Iterator[Metric]:
        activity = self._page.visitors.activity
        counts = CounterMetricFamily(
            "serdemo_requests", "Requests that ended.", labels=["tab", "call", "outcome"]
        )
        for (tab, call, outcome), count in sorted(activity.outcomes.items()):
            counts.add_metric([tab, call, outcome], count)
        yield counts
        times = HistogramMetricFamily(
            "serdemo_request_duration_seconds", "How long they took.", labels=["tab", "call"]
        )
        for (tab, call), histogram in sorted(activity.durations_s.items()):
            times.add_metric([tab, call], _buckets(histogram), histogram.sum)
        yield times
        waiting = self._page._queue.get_status().queue_size
        yield GaugeMetricFamily("serdemo_requests_waiting", "Requests in the queue.", waiting)

    def _live(self) -> Iterator[Metric]:
        services = self._page.visitors.live_services
        totals = services.totals
        for name, text, value in (
            ("streams", "Live streams that are open.", len(services)),
            ("places", "Live streams that may be open at once.", services.max_streams),
            ("waiting_seconds", "Live sound that is not scored yet.", services.waiting_s),
        ):
            yield GaugeMetricFamily(f"serdemo_live_{name}", text, value)
        for name, text, value in (
            ("samples", "Samples received.", totals.received_samples),
            ("lost_pieces", "Pieces that never came.", totals.lost_pieces),
            ("refused_streams", "Streams for which there was no place.", totals.n_refused),
        ):
            yield CounterMetricFamily(f"serdemo_live_{name}", text, value)
        windows = CounterMetricFamily(
            "serdemo_live_windows",
            "Windows, by what became of them: skipped ones came too late.",
            labels=["outcome"],
        )
        windows.add_metric(["scored"], totals.n_scored)
        windows.add_metric(["silent"], totals.n_silent)
        windows.add_metric(["skipped"], totals.n_skipped)
        yield windows
        delays = totals.delays_s
        yield HistogramMetricFamily(
            "serdemo_live_delay_seconds",
            "From the end of a window being spoken to its scores.",
            _buckets(delays),
            delays.sum,
        )

    def _stored(self) -> Iterator[Metric]:
        visitors = self._page.visitors
        ready = GaugeMetricFamily("serdemo_model_ready", "Whether the page's model is loaded.")
        ready.add_metric([], visitors.own.is_loaded)
        yield ready
        yield GaugeMetricFamily("serdemo_models_loaded", "Models in memory.", visitors.n_loaded)
        runs = GaugeMetricFamily(
            "serdemo_runs", "Training runs that are not over.", labels=["state"]
        )
        states = Counter(state for _, state in self._jobs.states())
        for state in ACTIVE:
            runs.add_metric([state], states[state])
        yield runs
        size = _size(Path(get_upload_folder()))
        yield GaugeMetricFamily("serdemo_uploads_bytes", "Size of the uploads on disk.", size)


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    names = [*map(str, histogram.bounds), "+Inf"]
    return list(zip(names, histogram.cumulated, strict=True))


def _size(folder: Path) -> int:
    size = 0
    for path in folder.rglob("*"):
        with suppress(OSError):  # it may be deleted meanwhile
            size += path.stat().st_size if path.is_file() else 0
    return size


def registry(page: Page) -> CollectorRegistry:
    """What is served for a page: its figures, and those of this process where the system has them."""
    collected = CollectorRegistry()
    collected.register(PageCollector(page, settings.runs_root()))
    ProcessCollector(registry=collected)
    return collected


def serve(page: Page) -> WSGIServer:
    """Serve a page's metrics in the background at SERDEMO_METRICS_PORT, 0 for any that is free. Raises
    UsageError for what is no port, SerdemoError where nothing can be served."""
    port = settings.metrics_port()
    if not (port.isdecimal() and int(port) <= MAX_PORT):
        raise UsageError(
            f"SERDEMO_METRICS_PORT is {port!r}: set it to a number from 0 to {MAX_PORT}, or unset it."
        )
    host = settings.metrics_name()
    try:
        server, _ = start_http_server(int(port), host, registry(page))
    except (OSError, UnicodeError) as problem:
        reason = getattr(problem, "strerror", None) or "no such name"
        raise SerdemoError(
            f"Metrics cannot be served on {host}, port {port} ({reason}): {OTHER_ADDRESS}"
        ) from problem
    return server
