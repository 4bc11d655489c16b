"""The files of the page without a server: a static Space as they stand."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

import yaml  # type: ignore[import-untyped]
from markupsafe import Markup

from serdemo.embeddings.html_map import COLOURS
from serdemo.nn.checkpoint_files import ANSWERING, SHIPPED, SMALLEST, bundled_checkpoint
from serdemo.nn.description import read_description
from serdemo.schema.errors import SerdemoError
from serdemo.schema.types import EMOTIONS
from serdemo.ui.browser import files as browser_files
from serdemo.ui.browser import map_files
from serdemo.ui.explore import tab as explore_tab
from serdemo.ui.hosting import folder
from serdemo.ui.languages import table
from serdemo.ui.live import tab as live_tab
from serdemo.ui.recognise import tab as recognise_tab
from serdemo.ui.shell import privacy, scripts, theme
from serdemo.ui.shell.examples import EXAMPLES, EXAMPLES_DIR, example_voices
from serdemo.ui.shell.page import unseen_recalls
from serdemo.ui.shell.templates import render

HERE = "static_space"
WORKER, PAGE, STYLE = "service_worker.js", "index.html", "theme.css"
VOICES = "examples/voices.s16"  # what Live plays aloud
# The folders of scripts that this page has a use for.
SCRIPTS = (
    *("shell/js/", "shell/page.js", "languages/", "recognise/", "live/", "explore/", "browser/"),
    f"{HERE}/",
)
AUDIO_MODULE = "shell/js/tap.js"  # no module of the page's
# Fetched when they are asked for, and there without a network from then on; all else after the first answer.
LATER = (
    *("README.md", folder.LIST, "licences/", f"checkpoints/{SMALLEST}/"),
    *(f"map/{name}" for name in (map_files.CSV, map_files.PARQUET, map_files.PAGE)),
)
# The browser itself sees to it that nothing is asked of anyone else.
POLICY = (
    "default-src 'none'; connect-src 'self' blob: data:; img-src 'self' blob: data:;"
    " media-src 'self' blob: data:; style-src 'self' 'unsafe-inline'; worker-src 'self' blob:;"
    " manifest-src 'self'; base-uri 'none'; form-action 'none';"
    " script-src 'self' 'wasm-unsafe-eval' '{digest}'"
)
INSTALL = "python -m pip install -r requirements.txt -e . && python app.py"
LICENCE_PAGE = "licences/index.html"
LICENCES = (  # what, where it is, its licence, and the files in `licences` that say so
    ("serdemo: the page and its scripts", "ui", "Apache-2.0", ("serdemo.txt",)),
    (
        "the weights of the models, and the map made with them",
        "checkpoints, map",
        "CC BY-NC-SA 4.0, for research only, because of the corpora that they were trained on",
        ("base.txt", "compact.txt", "speaker.txt"),
    ),
    ("the encoder of base, made from Whisper of OpenAI", "checkpoints/base", "MIT", ("base.txt",)),
    ("silero-vad, the speech detector", "checkpoints/silero-vad", "MIT", ("silero-vad.txt",)),
    (
        "ONNX Runtime Web, with the notices of what is in it",
        "ui/browser/onnxruntime",
        "MIT",
        ("onnxruntime-web.txt", "onnxruntime-notices.txt"),
    ),
)
FRONT_MATTER: dict[str, Any] = {
    "title": "serdemo in the browser",
    "emoji": "🎙️",
    "colorFrom": "blue",
    "colorTo": "yellow",
    "sdk": "static",
    "app_file": PAGE,
    "license": "cc-by-nc-sa-4.0",  # of the weights; the code's is Apache-2.0
    "short_description": "Emotion in speech, on your own machine",
    "tags": ["speech-emotion-recognition", "audio-classification", "speech", "onnx"],
    "custom_headers": {  # which give the page its threads
        "cross-origin-embedder-policy": "require-corp",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "cross-origin",
    },
}
# What a module imports of ours, at once or later, and the address of a worker.
_IMPORT = re.compile(r'(?:\bfrom|\bimport|\bimport\(|\bnew URL\()\s*"(\.{1,2}/[^"]+\.js)"')


def write(place: Path) -> list[str]:
    """Write the files into a folder; see `folder.write`."""
    return folder.write(place, contents())


@cache
def contents() -> dict[str, bytes]:
    """The content of each file by its path. Raises SerdemoError where a model or a licence is missing."""
    made = {
        **{f"ui/{path}": content for path, content in _scripts().items()},
        **{f"examples/{name}": (EXAMPLES_DIR / name).read_bytes() for name in EXAMPLES.values()},
        VOICES: example_voices().tobytes(),
        **_models(),
        **{
            f"map/{name}": content
            for name, content in map_files.MapFiles.of_shipped().contents().items()
        },
        **_licences(),
        "icon.svg": theme.asset("shell/icon.svg").encode(),
        STYLE: _style().encode(),
        PAGE: _page().encode(),
        "README.md": _card().encode(),
    }
    made[WORKER] = _service_worker(made).encode()
    return folder.with_list(made)


def first_files(content: dict[str, bytes]) -> list[str]:
    """Paths of what the page keeps once it has answered, so that all of it works without a network."""
    later = {path for path in content if path.startswith(LATER) or browser_files.GPU_BUILD in path}
    return sorted(content.keys() - later - {WORKER})


def _scripts() -> dict[str, bytes]:
    found = {p: content for p, content in scripts.modules().items() if p.startswith(SCRIPTS)}
    inlined = (f"{HERE}/{WORKER}", f"{HERE}/first.js", "languages/first.js")
    return {p: c for p, c in found.items() if p not in inlined}


def _models() -> dict[str, bytes]:
    """Descriptions, graphs and weights of the shipped models, and the speech detector."""
    return {
        f"{_folder(name)}/{file.name}": file.read_bytes()
        for name, files in browser_files.contents().items()
        for file in files
    }


def _folder(name: str) -> str:
    """Where a model's files are, the speech detector's, or the map's."""
    return name if name == browser_files.MAP else f"checkpoints/{name}"


def _style() -> str:
    return theme.variables() + theme.asset(f"{HERE}/{STYLE}") + theme.css()


def _page() -> str:
    first = _first_script()
    tabs = [
        {"key": title.lower(), "title": title, "lead": Markup(lead), "html": Markup(html)}
        for title, lead, html in (
            ("Recognise", recognise_tab.LEAD, ""),
            ("Live", live_tab.LEAD, theme.asset("live/live.html")),
            ("Explore", explore_tab.LEAD_WITHOUT_CLIPS, theme.asset("explore/explore.html")),
        )
    ]
    return render(
        f"{HERE}/{PAGE}",
        policy=_policy(first),
        first_script=first,
        settings=json.dumps(_settings(), sort_keys=True).replace("<", "\\u003c"),
        preloaded=sorted(_reached_from(f"ui/{HERE}/static_page.js") - {f"ui/{AUDIO_MODULE}"}),
        answering=[{"name": name, "size": _megabytes(name)} for name in ANSWERING],
        tabs=tabs,
        drop_zone=Markup(recognise_tab.DROP_ZONE),
        examples_title=Markup(recognise_tab.EXAMPLES_TITLE),
        examples=EXAMPLES,
        notice=privacy.notice_html(),
        waiting=Markup(theme.asset("recognise/waiting.html")),
        footer=_footer(SHIPPED),
        install=INSTALL,
        picker=Markup(table.picker()),
    )


def _first_script() -> str:
    return theme.asset("languages/first.js") + theme.asset(f"{HERE}/first.js")


def _settings() -> dict[str, Any]:
    """What the page's scripts get from Python."""
    return {
        "symbols": explore_tab.SYMBOLS,
        "labels": EMOTIONS,
        "colours": COLOURS,
        "examples": {label: f"examples/{name}" for label, name in EXAMPLES.items()},
        "footers": {name: _footer(name) for name in ANSWERING},
        "browser": {
            **browser_files.manifest(lambda name: f"../{_folder(name)}"),
            "example": {"url": f"../{VOICES}"},
        },
    }


def _footer(model: str) -> Markup:
    description = read_description(bundled_checkpoint(model))
    recalls = unseen_recalls(description.metrics.get("test", {}))
    names = {"model": model, "model_id": model, "in_browser": model}
    return render("shell/footer.html", visitor="", recalls=recalls, **names)


def _megabytes(model: str) -> str:
    size = sum(file.stat().st_size for file in browser_files.contents()[model])
    return f"{size / 1e6:.0f} MB"


def _policy(first_script: str) -> str:
    digest = base64.b64encode(hashlib.sha256(first_script.encode()).digest()).decode()
    return POLICY.format(digest=f"sha256-{digest}")


def _reached_from(entry: str) -> set[str]:
    """Paths of the modules that a module loads, directly or not, and its own."""
    sources = {
        f"ui/{path}": content.decode()
        for path, content in _scripts().items()
        if path.endswith(".js")
    }
    found, waiting = set[str](), [entry]
    while waiting:
        path = waiting.pop()
        if path in found or path not in sources:
            continue
        found.add(path)
        place = PurePosixPath(path).parent
        waiting += [_joined(place, name) for name in _IMPORT.findall(sources[path])]
    return found


def _joined(folder: PurePosixPath, relative: str) -> str:
    parts: list[str] = list(folder.parts)
    for part in PurePosixPath(relative).parts:
        parts = parts[:-1] if part == ".." else [*parts, part]
    return "/".join(parts)


def _service_worker(made: dict[str, bytes]) -> str:
    sums = {path: _sum(content) for path, content in sorted(made.items())}
    constants = {
        "POLICY": _policy(_first_script()),
        "FILES": sums,
        "FIRST": first_files(made),
    }
    lines = [f"const {name} = {json.dumps(value, indent=1)};" for name, value in constants.items()]
    return "\n".join([*lines, theme.asset(f"{HERE}/{WORKER}")])


def _sum(content: bytes) -> str:
    return base64.b64encode(hashlib.sha256(content).digest()).decode()


def _card() -> str:
    front = yaml.safe_dump(FRONT_MATTER, sort_keys=False, allow_unicode=True)
    body = render(f"{HERE}/card.md", licences=LICENCES)
    return f"---\n{front}---\n\n{body}"


def _licences() -> dict[str, bytes]:
    """The licences of all that the folder holds, and their list."""
    texts = {
        "serdemo.txt": folder.own_licence(),
        "silero-vad.txt": folder.licence_of("silero-vad"),
        **{
            f"{name}.txt": (bundled_checkpoint(name) / "README.md").read_bytes()
            for name in browser_files.MODELS
        },
        **_runtime_notices(),
    }
    page = render(f"{HERE}/licences.html", licences=LICENCES)
    return {f"licences/{name}": text for name, text in texts.items()} | {
        LICENCE_PAGE: page.encode()
    }


def _runtime_notices() -> dict[str, bytes]:
    runtime = scripts.UI / browser_files.RUNTIME
    names = {"LICENSE": "onnxruntime-web.txt", "ThirdPartyNotices.txt": "onnxruntime-notices.txt"}
    try:
        return {name: (runtime / file).read_bytes() for file, name in names.items()}
    except OSError as problem:
        raise SerdemoError(
            f"{problem.filename} is missing: install serdemo once more."
        ) from problem
