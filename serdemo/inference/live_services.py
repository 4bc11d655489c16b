"""Live inference with several models: which service has a stream, and whether a model keeps up."""

from __future__ import annotations

import logging
import threading
from functools import cache

from serdemo.inference import speed
from serdemo.inference.live_service import CLOSED, MAX_STREAMS, LiveService
from serdemo.inference.live_totals import LiveTotals
from serdemo.inference.predictor import Embedder
from serdemo.inference.stream import HOP_S
from serdemo.nn.checkpoint_files import bundled_checkpoint
from serdemo.schema.errors import SerdemoError

MAX_SERVICES = 4  # models with a worker
SPEAKER_MODEL = "speaker"  # shipped

log = logging.getLogger(__name__)


def load_speaker_model() -> Embedder | None:
    """The shipped model that tells voices apart; None where it cannot be read."""
    try:
        return Embedder(bundled_checkpoint(SPEAKER_MODEL), by_graph=True)
    except SerdemoError as problem:
        log.warning("%s", problem)
        return None


class LiveServices:
    """The live services of several models, one each, so that all streams of a model share a batch.

    With more than `max_services`, those without a stream are shut down. They have `max_streams` places
    together.
    """

    def __init__(self, max_services: int = MAX_SERVICES, max_streams: int = MAX_STREAMS) -> None:
        self.totals = LiveTotals()
        self.max_streams, self._max_services = max_streams, max_services
        self._speaker_model = cache(load_speaker_model)
        self._lock = threading.Lock()
        self._services: dict[Embedder, LiveService] = {}

    def __contains__(self, handle: str) -> bool:
        return any(handle in service for service in list(self._services.values()))

    def __len__(self) -> int:
        return sum(map(len, list(self._services.values())))

    @property
    def is_working(self) -> bool:
        """Whether the streams of all models are answered."""
        return all(service.is_working for service in list(self._services.values()))

    @property
    def waiting_s(self) -> float:
        """Seconds of sound of all streams that is not scored yet."""
        return sum(service.waiting_s for service in list(self._services.values()))

    def of(self, model: Embedder) -> LiveService:
        """The service of a loaded model, started when there is none."""
        with self._lock:
            if model not in self._services:
                for other, service in list(self._services.items()):
                    if len(self._services) >= self._max_services and not len(service):
                        self._services.pop(other).shutdown()
                self._services[model] = LiveService(
                    model,
                    self.max_streams,
                    speaker_model=self._speaker_model,
                    totals=self.totals,
                    count_streams=self.__len__,
                )
            return self._services[model]

    def keeps_up(self, model: Embedder) -> bool:
        """Whether one more stream of a model would be answered within `speed.MAX_DELAY_S` on average,
        beside the streams that are open."""
        cost_s = self.of(model).window_cost_s
        busy_s = sum(len(s) * s.window_cost_s for s in list(self._services.values()) if len(s))
        return speed.expected_delay_s(cost_s, (busy_s + cost_s) / HOP_S) <= speed.MAX_DELAY_S

    def find(self, handle: str) -> LiveService:
        """The service that has the stream; raises SerdemoError when it is closed."""
        for service in list(self._services.values()):
            if handle in service:
                return service
        raise SerdemoError(CLOSED)

    def shutdown(self) -> None:
        """Shut all services down."""
        with self._lock:
            for service in self._services.values():
                service.shutdown()
            self._services.clear()
