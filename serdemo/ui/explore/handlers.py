"""What the page's scripts ask of a map: each call of a visitor's browser is one function here."""

from __future__ import annotations

import base64
import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from serdemo.nn.checkpoint_files import bundled_checkpoint
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.ui.explore import payload, sources
from serdemo.ui.explore.open_maps import SHIPPED, MapSession, MapSessions
from serdemo.ui.explore.placement import ClipPlacer
from serdemo.ui.shell import session
from serdemo.ui.shell.examples import EXAMPLES_DIR
from serdemo.ui.shell.rpc import Request, field, from_base64
from serdemo.ui.shell.uploads import FAULT, MOST_MB, uploaded

if TYPE_CHECKING:
    from serdemo.audio.waveform import Clip
    from serdemo.ui.shell.page import Page

MOST_HEARD_S = 60.0  # of a clip that is played or placed
VOICE = "english-quick-high.ogg"
ONLY_HERE = "Folders are read only for whoever sits at the computer that holds them."
NOT_HERE = "The sound of this clip is not on this computer: only its place on the map is known."
NOT_YOURS = "Clips are played only at the computer that holds them."
ENDINGS = (".parquet", ".csv", ".html")

Answer = dict[str, Any]

log = logging.getLogger(__name__)


class Explore:
    """The maps of one page and the calls about them."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self.atlas = MapSessions()
        self._warm = threading.Event()
        self._ears = ClipPlacer(page.visitors)
        self._hearings = sources.EmbeddingJobs(self.atlas)
        self._calls: dict[str, Callable[[Request, gr.Request], Answer]] = {
            "open": self._open,
            "here": self._here,
            "folder": self._folder,
            "hearing": self._hearing,
            "table": self._table,
            "progress": self._progress,
            "play": self._play,
            "select": self._select,
            "save": self._save,
            "place": self._place,
            "example": self._example,
            "follow": self._follow,
            "voice": self._voice,
            "leave": self._leave,
        }

    def call(self, asked: Any, request: gr.Request) -> Answer:
        """Answer the call that `asked["call"]` names; a failure is the sentence `refused`."""
        try:
            name = field(asked, "call", str)
            if name not in self._calls:
                raise UsageError(f"There is no call {name!r}: reload the page.")
            return self._calls[name](asked, request)
        except SerdemoError as problem:
            return {"refused": str(problem)}
        except Exception:
            log.exception("a call about a map failed")
            return {"refused": FAULT}

    def _is_local(self, asked: Request, request: gr.Request) -> bool:
        """Whether the visitor sits at this machine, so that its files are the visitor's."""
        token = str(asked.get("token", ""))
        return self._page.owner(token, request) is None and session.is_local(request)

    def _map(self, asked: Request) -> MapSession:
        return self.atlas.get(field(asked, "map", str))

    def _open(self, asked: Request, _: gr.Request) -> Answer:
        """All of a map: of `map` if that is given, else of the shipped one."""
        if not self._warm.is_set():
            self._warm.set()
            threading.Thread(target=self._warm_up, name="explore", daemon=True).start()
        return payload.payload(self.atlas.get(str(asked.get("map") or SHIPPED)))

    def _warm_up(self) -> None:
        """Have ready what the first click and the first newcomer would wait for."""
        with suppress(SerdemoError):
            self._placed(self.atlas.shipped(), example(), {})

    def _here(self, asked: Request, request: gr.Request) -> Answer:
        """The corpora that a visitor at this machine may choose from, and where they lie."""
        if not self._is_local(asked, request):
            return {"local": False, "corpora": [], "root": ""}
        with suppress(UsageError):
            return {"local": True, "corpora": sources.found_here(), "root": str(sources.root())}
        return {"local": True, "corpora": [], "root": ""}

    def _folder(self, asked: Request, request: gr.Request) -> Answer:
        """Start to hear the clips of `folder`, a corpus or a path under the data root."""
        if not self._is_local(asked, request):
            raise UsageError(ONLY_HERE)
        folder = bundled_checkpoint(
            self.atlas.shipped().title
        )  # the model of the map that is shown first
        return {"hearing": self._hearings.begin(field(asked, "folder", str), folder)}

    def _hearing(self, asked: Request, _: gr.Request) -> Answer:
        """How far `hearing` is: `done` of `total`, then the map; `stop` ends it."""
        hearing = self._hearings.get(field(asked, "hearing", str))
        hearing.stopped = hearing.stopped or bool(asked.get("stop"))
        if hearing.refused:
            raise SerdemoError(hearing.refused)
        if hearing.made:
            return payload.payload(hearing.made)
        return {"done": hearing.done, "total": hearing.total}

    def _table(self, asked: Request, _: gr.Request) -> Answer:
        """The map of an uploaded Parquet table."""
        file = uploaded({"name": "The table", **asked})
        if file.path is None:
            raise UsageError(file.refusal)
        found, notes = sources.sent(file.path, file.name)
        title = Path(file.name).stem
        base = None
        with suppress(UsageError):
            base = sources.root()
        return payload.payload(self.atlas.add(title, found, base, notes))

    def _progress(self, asked: Request, _: gr.Request) -> Answer:
        """The parts of a map that the page does not have yet and that are made; see `parts`."""
        one = self._map(asked)
        self.atlas.progress(one)
        wanted = asked.get("wanted")
        asks = (
            [name for name in wanted if isinstance(name, str)] if isinstance(wanted, list) else []
        )
        return {**payload.parts(one, asks), "missing": one.missing, "working": one.working}

    def _play(self, asked: Request, request: gr.Request) -> Answer:
        """The sound of clip `row` as 16-bit `samples` in base64 at `rate` Hz, or the sentence `silent`
        why there is none."""
        one = self._map(asked)
        row = payload.rows_of(one, [field(asked, "row", int)])[0]
        if not self._is_local(asked, request):
            return {"silent": NOT_YOURS}
        path = self._sound_file(one, one.mapped.table.text["clip"][row])
        if path is None:
            return {"silent": NOT_HERE}
        return beginning(path)

    def _sound_file(self, one: MapSession, name: str) -> Path | None:
        """A clip's file where it is there and lies within the data root."""
        from serdemo.data.corpora.corpus import AUDIO_SUFFIXES

        try:
            root = sources.root()
            path = ((one.base or root) / name).resolve()
            sound = path.suffix.lower() in AUDIO_SUFFIXES and path.is_file()
        except (UsageError, OSError, ValueError):
            return None
        return path if sound and path.is_relative_to(root) else None

    def _select(self, asked: Request, _: gr.Request) -> Answer:
        """What is in a selection of `rows`; see `counts`."""
        one = self._map(asked)
        return payload.counts(one, payload.rows_of(one, asked.get("rows")))

    def _save(self, asked: Request, _: gr.Request) -> Answer:
        """A file of `rows`, or of all: its `path` on the server, to be fetched, by its `ending`."""
        one, ending = self._map(asked), field(asked, "ending", str)
        if ending not in ENDINGS:
            raise UsageError("A map is saved as .parquet, .csv or .html: reload the page.")
        if one.waits_for("umap2"):
            raise SerdemoError("UMAP is still being computed: save the map once it is there.")
        path = payload.save(one, payload.rows_of(one, asked.get("rows")), ending)
        return {"path": path.as_posix(), "name": path.name}

    def _place(self, asked: Request, _: gr.Request) -> Answer:
        """Where an uploaded clip lies, which is deleted as soon as it is read."""
        from serdemo.audio import waveform

        one = self._map(asked)
        file = uploaded({"name": "The clip", **asked})
        if file.path is None:
            raise UsageError(file.refusal)
        try:
            if file.path.stat().st_size > MOST_MB * 1_000_000:
                raise UsageError(f"{file.name} is larger than {MOST_MB} MB: cut it.")
            clip = waveform.decode(file.path, name=file.name)
        except OSError as problem:
            raise SerdemoError(f"{file.name} could not be sent: drop it once more.") from problem
        finally:
            file.path.unlink(missing_ok=True)
        # A minute tells where a voice lies, and an hour would keep others waiting.
        whole = clip.samples[: round(MOST_HEARD_S * waveform.SAMPLE_RATE)]
        return self._placed(one, replace(clip, samples=whole), asked)

    def _example(self, asked: Request, _: gr.Request) -> Answer:
        """Where an example voice lies."""
        return self._placed(self._map(asked), example(), asked)

    def _placed(self, one: MapSession, clip: Clip, asked: Request) -> Answer:
        return self._ears.place(one, clip, self._visitor(asked)) | {"name": clip.name}

    def _follow(self, asked: Request, _: gr.Request) -> Answer:
        """Begin to follow a live voice at `rate` Hz: gives its handle as `voice`."""
        one = self._map(asked)
        return {"voice": self._ears.open(one, field(asked, "rate", int), self._visitor(asked))}

    def _voice(self, asked: Request, _: gr.Request) -> Answer:
        """Take 16-bit `samples` of `voice`; where it is now."""
        samples = from_base64(field(asked, "samples", str))
        return self._ears.follow(field(asked, "voice", str), samples)

    def _leave(self, asked: Request, _: gr.Request) -> Answer:
        """The end of `voice`: where it was over all."""
        return self._ears.close(field(asked, "voice", str))

    @staticmethod
    def _visitor(asked: Request) -> str:
        return str(asked.get("visitor", ""))


def example() -> Clip:
    """The example voice."""
    from serdemo.audio import waveform

    return waveform.decode(EXAMPLES_DIR / VOICE, name="example voice")


def beginning(path: Path) -> Answer:
    """The first minute of a sound file, for the page; raises SerdemoError where it cannot be read."""
    from serdemo.audio import waveform

    samples = waveform.decode(path).samples[: round(MOST_HEARD_S * waveform.SAMPLE_RATE)]
    coded = base64.b64encode(waveform.to_int16(samples).tobytes()).decode()
    return {"samples": coded, "rate": waveform.SAMPLE_RATE}
