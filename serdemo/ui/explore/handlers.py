"""The calls about maps: each call of a visitor's browser is one method here."""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import gradio as gr

from serdemo.audio import waveform
from serdemo.audio.waveform import Clip, SoundFile
from serdemo.data.corpora.corpus import AUDIO_SUFFIXES
from serdemo.nn.checkpoint_files import bundled_checkpoint
from serdemo.schema.errors import SerdemoError, UsageError
from serdemo.ui.explore import payload, sources
from serdemo.ui.explore.open_maps import SHIPPED, MapSession, MapSessions
from serdemo.ui.explore.placement import ClipPlacer
from serdemo.ui.shell import permissions
from serdemo.ui.shell.examples import EXAMPLES_DIR
from serdemo.ui.shell.rpc import Calls, Request, Response, field, from_base64, to_base64
from serdemo.ui.shell.uploads import check_size, delete, uploaded

if TYPE_CHECKING:
    from serdemo.ui.shell.page import Page

MAX_CLIP_S = 60.0  # of a clip that is played or placed: an hour would keep others waiting
VOICE = "english-quick-high.flac"
ONLY_HERE = "Folders are read only for whoever sits at the computer that holds them."
NOT_HERE = "The sound of this clip is not on this computer: only its place on the map is known."
NOT_YOURS = "Clips are played only at the computer that holds them."
ENDINGS = (".parquet", ".csv", ".html")


class Explore(Calls):
    """The maps of one page and the calls about them."""

    def __init__(self, page: Page) -> None:
        super().__init__(page.visitors.activity)
        self._page = page
        self.maps = MapSessions()
        page.sweeps.append(lambda: self.maps.stop_departed(page.presence.is_here))
        page.forgets.append(self.maps.close)
        self._warm = threading.Event()
        self._placer = ClipPlacer(page.visitors)
        self._jobs = sources.EmbeddingJobs(self.maps)

    def _is_local(self, visit: gr.Request) -> bool:
        """Whether the visitor sits at this machine, so that its files are the visitor's."""
        return self._page.owner("", visit) is None

    def _map(self, request: Request) -> MapSession:
        return self.maps.get(field(request, "map", str))

    def on_open(self, request: Request, _: gr.Request) -> Response:
        """All of a map: of `map` if that is given, else of the shipped one."""
        if not self._warm.is_set():
            self._warm.set()
            threading.Thread(target=self._warm_up, name="explore", daemon=True).start()
        return payload.payload(self.maps.get(str(request.get("map") or SHIPPED)))

    def _warm_up(self) -> None:
        """Load what the first click and the first newcomer would wait for."""
        with suppress(SerdemoError):
            self._placer.place(self.maps.get(SHIPPED), example(), "")

    def on_here(self, _: Request, visit: gr.Request) -> Response:
        """The corpora that a visitor at this machine may choose from, and their folder; and the sentence
        `no_tables` for one who may open no tables."""
        local = self._is_local(visit)
        root = sources.known_root() if local else None
        corpora = sources.available_corpora(root) if root else []
        refusal = (
            "" if permissions.may_import(self._page.owner("", visit)) else permissions.NO_IMPORT
        )
        return {"local": local, "corpora": corpora, "root": str(root or ""), "no_tables": refusal}

    def on_folder(self, request: Request, visit: gr.Request) -> Response:
        """Start to embed the clips of `folder`, a corpus or a path under the data root, by the model of
        the shipped map; or to read the table of embeddings that lies there. Gives the job as `hearing`."""
        if not self._is_local(visit):
            raise UsageError(ONLY_HERE)
        typed = field(request, "folder", str)
        if table := sources.table_at(typed):
            return {"hearing": self._jobs.read(table, _visitor(request))}
        checkpoint = bundled_checkpoint(self.maps.get(SHIPPED).title)
        return {"hearing": self._jobs.begin(typed, checkpoint)}

    def on_hearing(self, request: Request, _: gr.Request) -> Response:
        """The progress of the job `hearing`: `done` of `total`, then the map; `stop` ends it."""
        job = self._jobs.get(field(request, "hearing", str))
        job.stopped = job.stopped or bool(request.get("stop"))
        if job.refusal:
            raise SerdemoError(job.refusal)
        if job.key:
            return payload.payload(self.maps.get(job.key))
        return {"done": job.done, "total": job.total}

    def on_table(self, request: Request, visit: gr.Request) -> Response:
        """The map of an uploaded Parquet table."""
        path, name = _sent(request, "The table")
        if not permissions.may_import(self._page.owner("", visit)):
            path.unlink(missing_ok=True)
            raise UsageError(permissions.NO_IMPORT)
        embedding_map, notes = sources.read_upload(path, name)
        title, root = Path(name).stem, sources.known_root()
        session = self.maps.add(title, embedding_map, root, notes, _visitor(request))
        return payload.payload(session)

    def on_progress(self, request: Request, _: gr.Request) -> Response:
        """The parts in `wanted` that are ready by now; see `payload.parts`. `start` has a large map's
        missing ones computed."""
        current = self._map(request)
        self.maps.progress(current, request.get("start") is True)
        wanted = request.get("wanted")
        names = [n for n in wanted if isinstance(n, str)] if isinstance(wanted, list) else []
        ready = payload.parts(current, names)
        return {**ready, "missing": current.missing, "working": current.working}

    def on_play(self, request: Request, visit: gr.Request) -> Response:
        """The sound of clip `row` as 16-bit `samples` in base64 at `rate` Hz, or the sentence `silent`
        why there is none."""
        current, row = self._map(request), field(request, "row", int)
        if not 0 <= row < len(current.mapped.table):
            raise UsageError("This clip is of another map: choose once more.")
        if not self._is_local(visit):
            return {"silent": NOT_YOURS}
        path = self._sound_file(current, current.mapped.table.text["clip"][row])
        if path is None:
            return {"silent": NOT_HERE}
        sound = waveform.to_int16(beginning(waveform.decode(path)).samples)
        return {"samples": to_base64(sound), "rate": waveform.SAMPLE_RATE}

    def _sound_file(self, current: MapSession, name: str) -> Path | None:
        """A clip's file where it exists and lies within the data root."""
        try:
            root = sources.root()
            path = ((current.base or root) / name).resolve()
            is_sound = path.suffix.lower() in AUDIO_SUFFIXES and path.is_file()
        except (UsageError, OSError, ValueError):
            return None
        return path if is_sound and path.is_relative_to(root) else None

    def on_save(self, request: Request, _: gr.Request) -> Response:
        """A file of `rows` (see `payload.rows_of`), or of all: its `path` on the server, to be fetched, by
        its `ending`."""
        current, ending = self._map(request), field(request, "ending", str)
        if ending not in ENDINGS:
            raise UsageError("A map is saved as .parquet, .csv or .html: reload the page.")
        if current.waits_for("umap2"):
            raise SerdemoError("UMAP is still being computed: save the map once it is there.")
        path = payload.save(current, payload.rows_of(current, request.get("rows")), ending)
        return {"path": path.as_posix(), "name": path.name}

    def on_place(self, request: Request, _: gr.Request) -> Response:
        """The place of an uploaded clip, which is deleted as soon as it is read."""
        current = self._map(request)
        path, name = _sent(request, "The clip")
        try:
            check_size(path, name)
            clip = waveform.decode(SoundFile(path, name, waveform.VISITOR))
        finally:
            delete(path)
        return self._placed(current, beginning(clip), request)

    def on_example(self, request: Request, _: gr.Request) -> Response:
        """The place of an example voice."""
        return self._placed(self._map(request), example(), request)

    def _placed(self, current: MapSession, clip: Clip, request: Request) -> Response:
        return self._placer.place(current, clip, _visitor(request)) | {"name": clip.name}

    def on_follow(self, request: Request, _: gr.Request) -> Response:
        """Begin to follow a live voice at `rate` Hz, or the `stream` of the tab Live."""
        rate, stream = field(request, "rate", int), str(request.get("stream", ""))
        return self._placer.follow(self._map(request), rate, _visitor(request), stream)

    def on_voice(self, request: Request, _: gr.Request) -> Response:
        """Add 16-bit `samples` to `voice`; its place now."""
        samples = from_base64(field(request, "samples", str))
        return self._placer.update(field(request, "voice", str), samples)

    def on_leave(self, request: Request, _: gr.Request) -> Response:
        """End `voice`; its place over all."""
        return self._placer.close(field(request, "voice", str))


def _visitor(request: Request) -> str:
    """The session's hash that a request names."""
    return str(request.get("visitor", ""))


def _sent(request: Request, name: str) -> tuple[Path, str]:
    """Path and name of an uploaded file, by default `name`; raises UsageError where it did not arrive."""
    file = uploaded({"name": name, **request})
    if file.path is None:
        raise UsageError(file.refusal)
    return file.path, file.name


def example() -> Clip:
    """The example voice."""
    return waveform.decode(EXAMPLES_DIR / VOICE, name="example voice")


def beginning(clip: Clip) -> Clip:
    """The first minute of a clip."""
    return replace(clip, samples=clip.samples[: round(MAX_CLIP_S * waveform.SAMPLE_RATE)])
