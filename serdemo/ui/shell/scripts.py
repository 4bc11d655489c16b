"""The page's scripts: ES modules, the tables of its languages and the runtime of networks, served with the hash of all of them in the
address, and nothing else."""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from functools import cache
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from serdemo.ui.languages import table

UI = Path(__file__).parent.parent
ADDRESS = "serdemo-js"
CACHE = "public, max-age=31536000, immutable"  # the address changes with the content
_SCRIPTS = {".js": "text/javascript", ".mjs": "text/javascript", ".gz": "application/gzip"}
MEDIA_TYPES = {**_SCRIPTS, ".json": "application/json"}
# Loaded when they are needed: modules of the audio thread, and what answers without a server.
_ON_DEMAND = (
    *("shell/js/tap.js", "browser/", "recognise/in_browser/", "static_space/", "languages/"),
    "shell/js/loading_timer.js",
)

# The page's own address without what gradio adds. Behind a proxy gradio may not know the port and
# protocol that the browser uses.
_BASE = """
const root = new URL(window.gradio_config.root, location.href);
const origin = root.hostname === location.hostname ? location.origin : root.origin;
const base = `${{origin}}${{root.pathname.replace(/\\/$/, "")}}/{folder}/`;
"""
_MOUNT = "import(`${{base}}{path}`).then((module) => module.mount({arguments}));"
_IMPORT = re.compile(rb'^(?:import|export)\b[^;]*?\bfrom "([.][^"]+)"', re.MULTILINE)
_PRELOAD = """
for (const path of {paths}) {{
  document.head.append(Object.assign(document.createElement("link"),
    {{ rel: "modulepreload", href: `${{base}}${{path}}` }}));
}}
"""


@cache
def modules() -> dict[str, bytes]:
    """Content of each script by its path below `serdemo/ui`, such as "live/live.js"."""
    files = sorted(path for path in UI.rglob("*") if path.suffix in _SCRIPTS)
    read = {path.relative_to(UI).as_posix(): path.read_bytes() for path in files}
    return read | table.files()


@cache
def digest() -> str:
    """Hash of all scripts."""
    whole = hashlib.sha256()
    for path, content in modules().items():
        whole.update(path.encode() + b"\0" + content + b"\0")
    return whole.hexdigest()[:16]


def route() -> Route:
    """The route of the scripts: only the paths in `modules` exist below it."""

    async def serve(request: Request) -> Response:
        path = request.path_params["path"]
        content = modules().get(path)
        if content is None or request.path_params["digest"] != digest():
            return Response(status_code=404)
        media_type = MEDIA_TYPES[Path(path).suffix]
        return Response(content, media_type=media_type, headers={"Cache-Control": CACHE})

    return Route(f"/{ADDRESS}/{{digest}}/{{path:path}}", serve)


def on_load(path: str, **constants: Any) -> str:
    """A component's `js_on_load`: calls `mount` of the module at `path`.

    `mount` gets one object with gradio's `element`, `trigger`, `props`, `server`, `upload` and `watch`,
    and with the `constants`, which are passed as JSON.
    """
    arguments = f"{{ element, trigger, props, server, upload, watch, ...{json.dumps(constants)} }}"
    return _base() + _mount(path, arguments)


def head(path: str) -> str:
    """HTML for the head of the page: loads the tabs' modules at once, and calls `mount` of that at `path`."""
    paths = preloaded()
    script = _base() + _PRELOAD.format(paths=json.dumps(paths)) + _mount(path, "")
    return f'<script type="module">{script}</script>'


@cache
def early() -> str:
    """HTML that runs before gradio: it lets gradio's timers rest, chooses the language and has the page
    translated."""
    script = _base() + _mount("shell/js/translate.js", "")
    first = [
        modules()[path].decode() for path in ("shell/js/loading_timer.js", "languages/first.js")
    ]
    return f'<script>{"".join(first)}</script>\n<script type="module">{script}</script>'


@cache
def preloaded() -> list[str]:
    """The modules that the tabs import: what answers in the browser is loaded when it is switched on."""
    waiting = [name for name in modules() if not name.startswith(_ON_DEMAND)]
    found: dict[str, None] = {}
    while waiting:
        if (name := waiting.pop()) in found:
            continue
        found[name] = None
        folder = posixpath.dirname(name)
        waiting += [
            posixpath.normpath(posixpath.join(folder, imported.decode()))
            for imported in _IMPORT.findall(modules()[name])
        ]
    return sorted(found)


def _base() -> str:
    return _BASE.format(folder=f"{ADDRESS}/{digest()}")


def _mount(path: str, arguments: str) -> str:
    if path not in modules():
        raise KeyError(path)
    return _MOUNT.format(path=path, arguments=arguments)
