"""The shipped map as files, from which a page without a server answers what Explore asks."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from pathlib import Path

from serdemo.embeddings import embedding_map
from serdemo.embeddings.embedding_map import PROJECTIONS
from serdemo.embeddings.extract import checkpoint_digest
from serdemo.nn.checkpoint_files import bundled_checkpoint
from serdemo.schema.errors import SerdemoError
from serdemo.schema.files import make_folder
from serdemo.ui.explore import payload
from serdemo.ui.explore.open_maps import SHIPPED, MapSession, MapSessions

# `ui/browser/shipped_map.js` reads these: all that is drawn, then what places a newcomer, then what the
# map is saved as.
MAP, REFERENCE, CSV, PARQUET, PAGE = (
    *("map.json.gz", "reference.bin", "map.csv.gz"),
    *("map.parquet", "map.html.gz"),
)


@dataclass(frozen=True, slots=True)
class MapFiles:
    """The shipped map's `session`, and the folder of the `checkpoint` that places newcomers on it."""

    session: MapSession
    checkpoint: Path

    @classmethod
    def of_shipped(cls) -> MapFiles:
        """Those of the shipped map. Raises SerdemoError where it has parts that are missing, or was made
        by another version of its checkpoint."""
        session = MapSessions().get(SHIPPED)
        checkpoint = bundled_checkpoint(session.title)
        digest = session.mapped.table.about.get("digest")
        if (
            session.missing
            or session.mapped.basis is None
            or digest != checkpoint_digest(checkpoint)
        ):
            raise SerdemoError(
                f"The map of {session.title} is incomplete or of another version of this model: run"
                f" `python -m serdemo.embeddings.build_shipped {session.title}`."
            )
        return cls(session, checkpoint)

    def contents(self) -> dict[str, bytes]:
        """The content of each file by its name."""
        mapped, title = self.session.mapped, self.session.title
        return {
            **self.placing(),
            CSV: _packed(payload.as_csv(mapped)),
            PARQUET: embedding_map.default_path().read_bytes(),
            PAGE: _packed(payload.as_html(mapped, title)),
        }

    def placing(self) -> dict[str, bytes]:
        """Those by which the map is drawn and voices are placed on it."""
        return {
            MAP: _packed(json.dumps(self._described(), separators=(",", ":"))),
            REFERENCE: self._reference(),
        }

    def write(self, folder: Path) -> None:
        """Write the files into `folder`; raises SerdemoError where they cannot be written."""
        make_folder(folder)
        try:
            for name, content in self.contents().items():
                (folder / name).write_bytes(content)
        except OSError as problem:
            raise SerdemoError(f"{folder} could not be written: {problem.strerror}.") from problem

    def _described(self) -> payload.Json:
        """The answer to `open`, and how to read the reference: its sizes, and the projections in which a
        newcomer has a place, with their numbers of axes."""
        mapped = self.session.mapped
        assert mapped.basis is not None
        placed = [name for name in PROJECTIONS if name in mapped.positions and name != "own"]
        return {
            "open": payload.payload(self.session),
            "basis": list(mapped.basis.shape),
            "projections": {name: len(PROJECTIONS[name]) for name in placed},
            "saved": {
                ending: payload.file_name(self.session.title, ending)
                for ending in (".csv", ".parquet", ".html")
            },
        }

    def _reference(self) -> bytes:
        """The basis as float32, then the clips' embeddings, which hold no more than half precision."""
        mapped = self.session.mapped
        assert mapped.basis is not None
        return mapped.basis.astype("<f4").tobytes() + mapped.table.embedding.astype("<f2").tobytes()


def _packed(text: str) -> bytes:
    """The text as UTF-8, compressed, always to the same bytes."""
    return gzip.compress(text.encode(), compresslevel=9, mtime=0)
