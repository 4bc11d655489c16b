"""The calls about maps: each call of a visitor's browser is one function here."""

from __future__ import annotations

import threading
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
from serdemo.ui.shell.rpc import Call, Request, Response, dispatch, field, from_base64, to_base64
from serdemo.ui.shell.uploads import MAX_MB, uploaded

if TYPE_CHECKING:
    from serdemo.audio.waveform import Clip
    from serdemo.ui.shell.page import Page

MAX_CLIP_S = 60.0  # of a clip that is played or placed
VOICE = "english-quick-high.ogg"
ONLY_HERE = "Folders are read only for whoever sits at the computer that holds them."
NOT_HERE = "The sound of this clip is not on this computer: only its place on the map is known."
NOT_YOURS = "Clips are played only at the computer that holds them."
ENDINGS = (".parquet", ".csv", ".html")


class Explore:
    """The maps of one page and the calls about them."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self.maps = MapSessions()
        self._warm = threading.Event()
        self._placer = ClipPlacer(page.visitors)
        self._jobs = sources.EmbeddingJobs(self.maps)
        self._calls: dict[str, Call] = {
            "open": self._open,
            "here": self._here,
            "folder": self._folder,
            "hearing": self._job,
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

    def call(self, request: Any, visit: gr.Request) -> Response:
        """Answer a call, see `dispatch`."""
        return dispatch(self._calls, request, visit)

    def _is_local(self, request: Request, visit: gr.Request) -> bool:
        """Whether the visitor sits at this machine, so that its files are the visitor's."""
        token = str(request.get("token", ""))
        return self._page.owner(token, visit) is None and session.is_local(visit)

    def _map(self, request: Request) -> MapSession:
        return self.maps.get(field(request, "map", str))

    def _open(self, request: Request, _: gr.Request) -> Response:
        """All of a map: of `map` if that is given, else of the shipped one."""
        if not self._warm.is_set():
            self._warm.set()
            threading.Thread(target=self._warm_up, name="explore", daemon=True).start()
        return payload.payload(self.maps.get(str(request.get("map") or SHIPPED)))

    def _warm_up(self) -> None:
        """Load what the first click and the first newcomer would wait for."""
        with suppress(SerdemoError):
            self._placer.place(self.maps.shipped(), example(), "")

    def _here(self, request: Request, visit: gr.Request) -> Response:
        """The corpora that a visitor at this machine may choose from, and their folder."""
        local = self._is_local(request, visit)
        with suppress(UsageError):
            if local:
                root = str(sources.root())
                return {"local": True, "corpora": sources.available_corpora(), "root": root}
        return {"local": local, "corpora": [], "root": ""}

    def _folder(self, request: Request, visit: gr.Request) -> Response:
        """Start to embed the clips of `folder`, a corpus or a path under the data root.

        The model is that of the map that is shown first. Gives the job as `hearing`.
        """
        if not self._is_local(request, visit):
            raise UsageError(ONLY_HERE)
        checkpoint = bundled_checkpoint(self.maps.shipped().title)
        return {"hearing": self._jobs.begin(field(request, "folder", str), checkpoint)}

    def _job(self, request: Request, _: gr.Request) -> Response:
        """The progress of the job `hearing`: `done` of `total`, then the map; `stop` ends it."""
        job = self._jobs.get(field(request, "hearing", str))
        job.stopped = job.stopped or bool(request.get("stop"))
        if job.refusal:
            raise SerdemoError(job.refusal)
        if job.result:
            return payload.payload(job.result)
        return {"done": job.done, "total": job.total}

    def _table(self, request: Request, _: gr.Request) -> Response:
        """The map of an uploaded Parquet table."""
        file = uploaded({"name": "The table", **request})
        if file.path is None:
            raise UsageError(file.refusal)
        embedding_map, notes = sources.read_upload(file.path, file.name)
        base = None
        with suppress(UsageError):
            base = sources.root()
        return payload.payload(self.maps.add(Path(file.name).stem, embedding_map, base, notes))

    def _progress(self, request: Request, _: gr.Request) -> Response:
        """The parts in `wanted` that are ready by now; see `payload.parts`."""
        current = self._map(request)
        self.maps.progress(current)
        wanted = request.get("wanted")
        names = [n for n in wanted if isinstance(n, str)] if isinstance(wanted, list) else []
        ready = payload.parts(current, names)
        return {**ready, "missing": current.missing, "working": current.working}

    def _play(self, request: Request, visit: gr.Request) -> Response:
        """The sound of clip `row` as 16-bit `samples` in base64 at `rate` Hz, or the sentence `silent`
        why there is none."""
        current = self._map(request)
        row = payload.rows_of(current, [field(request, "row", int)])[0]
        if not self._is_local(request, visit):
            return {"silent": NOT_YOURS}
        path = self._sound_file(current, current.mapped.table.text["clip"][row])
        return {"silent": NOT_HERE} if path is None else beginning(path)

    def _sound_file(self, current: MapSession, name: str) -> Path | None:
        """A clip's file where it exists and lies within the data root."""
        from serdemo.data.corpora.corpus import AUDIO_SUFFIXES

        try:
            root = sources.root()
            path = ((current.base or root) / name).resolve()
            is_sound = path.suffix.lower() in AUDIO_SUFFIXES and path.is_file()
        except (UsageError, OSError, ValueError):
            return None
        return path if is_sound and path.is_relative_to(root) else None

    def _select(self, request: Request, _: gr.Request) -> Response:
        """Counts of names among `rows`; see `payload.counts`."""
        current = self._map(request)
        return payload.counts(current, payload.rows_of(current, request.get("rows")))

    def _save(self, request: Request, _: gr.Request) -> Response:
        """A file of `rows`, or of all: its `path` on the server, to be fetched, by its `ending`."""
        current, ending = self._map(request), field(request, "ending", str)
        if ending not in ENDINGS:
            raise UsageError("A map is saved as .parquet, .csv or .html: reload the page.")
        if current.waits_for("umap2"):
            raise SerdemoError("UMAP is still being computed: save the map once it is there.")
        path = payload.save(current, payload.rows_of(current, request.get("rows")), ending)
        return {"path": path.as_posix(), "name": path.name}

    def _place(self, request: Request, _: gr.Request) -> Response:
        """The place of an uploaded clip, which is deleted as soon as it is read."""
        from serdemo.audio import waveform

        current = self._map(request)
        file = uploaded({"name": "The clip", **request})
        if file.path is None:
            raise UsageError(file.refusal)
        try:
            if file.path.stat().st_size > MAX_MB * 1_000_000:
                raise UsageError(f"{file.name} is larger than {MAX_MB} MB: cut it.")
            clip = waveform.decode(file.path, name=file.name)
        except OSError as problem:
            raise SerdemoError(f"{file.name} could not be sent: drop it once more.") from problem
        finally:
            file.path.unlink(missing_ok=True)
        # A minute tells where a voice lies, and an hour would keep others waiting.
        samples = clip.samples[: round(MAX_CLIP_S * waveform.SAMPLE_RATE)]
        return self._placed(current, replace(clip, samples=samples), request)

    def _example(self, request: Request, _: gr.Request) -> Response:
        """The place of an example voice."""
        return self._placed(self._map(request), example(), request)

    def _placed(self, current: MapSession, clip: Clip, request: Request) -> Response:
        return self._placer.place(current, clip, _visitor(request)) | {"name": clip.name}

    def _follow(self, request: Request, _: gr.Request) -> Response:
        """Begin to follow a live voice at `rate` Hz, or the `stream` of the tab Live."""
        rate, stream = field(request, "rate", int), str(request.get("stream", ""))
        return self._placer.follow(self._map(request), rate, _visitor(request), stream)

    def _voice(self, request: Request, _: gr.Request) -> Response:
        """Add 16-bit `samples` to `voice`; its place now."""
        samples = from_base64(field(request, "samples", str))
        return self._placer.update(field(request, "voice", str), samples)

    def _leave(self, request: Request, _: gr.Request) -> Response:
        """End `voice`; its place over all."""
        return self._placer.close(field(request, "voice", str))


def _visitor(request: Request) -> str:
    """The session's hash that a request names."""
    return str(request.get("visitor", ""))


def example() -> Clip:
    """The example voice."""
    from serdemo.audio import waveform

    return waveform.decode(EXAMPLES_DIR / VOICE, name="example voice")


def beginning(path: Path) -> Response:
    """The first minute of a sound file, for the page; raises SerdemoError where it cannot be read."""
    from serdemo.audio import waveform

    samples = waveform.decode(path).samples[: round(MAX_CLIP_S * waveform.SAMPLE_RATE)]
    return {"samples": to_base64(waveform.to_int16(samples)), "rate": waveform.SAMPLE_RATE}
