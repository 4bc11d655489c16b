"""What all tabs share: the page itself, its visitors, who of them sits at this machine."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import gradio as gr
from gradio.caching import CacheMissError
from markupsafe import Markup
from starlette.middleware import Middleware
from starlette.routing import Route

from serdemo.nn.checkpoint_files import ANSWERING, bundled_checkpoint
from serdemo.schema.errors import SerdemoError
from serdemo.ui.languages import table
from serdemo.ui.shell import (
    activity,
    calls_queue,
    gradio_settings,
    health,
    scripts,
    session,
    theme,
    upload_route,
)
from serdemo.ui.shell.call_errors import EXCEPTION_HANDLERS, NO_CALL, OneSentence
from serdemo.ui.shell.local_corpora import LocalCorpora
from serdemo.ui.shell.presence import Presence
from serdemo.ui.shell.request_limits import RequestLimits
from serdemo.ui.shell.root_path import RootPath
from serdemo.ui.shell.security_headers import SecurityHeaders
from serdemo.ui.shell.served_paths import ServedPaths
from serdemo.ui.shell.session import Visitors, WarmPredictor
from serdemo.ui.shell.templates import render
from serdemo.ui.shell.uploads import FAULT
from serdemo.ui.shell.visitor_store import registry_for

if TYPE_CHECKING:
    from gradio.block_function import BlockFunction
    from gradio.events import Dependency
    from gradio.state_holder import SessionState
    from starlette.requests import Request

    from serdemo.inference.predictor import Predictor
    from serdemo.runs.registry.store import Registry


class Page(gr.Blocks):
    """The page, the predictor behind it, and its visitors.

    `token` identifies a browser from visit to visit, from the event `identified` on; `chosen` is the key of the model that its visitor
    chose; `corpora` are those of this machine; `footer` names the model in use. `tab` is the tab that is being laid out. `extra_routes` are
    served beside gradio's own. `sweeps` are called each minute, to give up what belongs to sessions that are
    gone by `presence`; `forgets` with a session whose visitor wants to be forgotten.
    """

    token: gr.BrowserState
    identified: Dependency
    chosen: gr.BrowserState
    footer: gr.HTML
    tab: gr.Tab

    def __init__(
        self, model: WarmPredictor, *, extra_routes: Sequence[Route] = (), **options: Any
    ) -> None:
        # Uploads are deleted once read; this sweeps up those whose visitor left before that.
        with gradio_settings.replaced():
            super().__init__(
                title="serdemo: which emotion does a voice carry?",
                delete_cache=(60, 300),
                analytics_enabled=False,
                **options,
            )
        self.api_open = False  # no call of a program skips the queue
        self.model = model
        self.extra_routes = list(extra_routes)
        self.visitors = Visitors(model)
        self.presence = Presence()
        self.corpora = LocalCorpora()
        self.sweeps: list[Callable[[], object]] = []
        self.forgets: list[Callable[[str], object]] = []
        self._generating: WeakKeyDictionary[Any, activity.Request] = WeakKeyDictionary()

    def launch(self, *args: Any, **options: Any) -> Any:
        """Serve the page as `gr.Blocks.launch` does, with its theme, style sheets and scripts."""
        routes = [
            health.route(self.visitors),
            scripts.route(),
            upload_route.route(unlimited=self.is_local_program),
            *self.extra_routes,
        ]
        served = {
            "theme": theme.theme(),
            "css": theme.css(),
            "head": scripts.head("shell/page.js"),
            "i18n": table.i18n(self.blocks.values()),
            "app_kwargs": {
                "routes": routes,
                "exception_handlers": EXCEPTION_HANDLERS,
                "middleware": [
                    Middleware(SecurityHeaders),
                    Middleware(OneSentence),
                    Middleware(ServedPaths, own=routes),
                    Middleware(RequestLimits, unlimited=self.is_local_program),
                    Middleware(RootPath),
                ],
            },
        }
        return super().launch(*args, **{**served, **options})

    def queue(self, *args: Any, **options: Any) -> Any:
        """Set the queue of calls as `gr.Blocks.queue` does."""
        page = super().queue(*args, **options)
        calls_queue.harden(self._queue)
        return page

    def is_local_program(self, request: gr.Request | Request) -> bool:
        """Whether a browser or a program on this machine sent a request.

        gradio calls the page itself for an MCP client, wherever that is: such a call counts as remote.
        """
        through_mcp = request.headers.get("x-gradio-user") == "mcp"
        return not (self.share or through_mcp) and session.is_local(request, program=True)

    async def process_api(
        self,
        block_fn: BlockFunction | int,
        inputs: list[Any],
        state: SessionState | None = None,
        request: Any = None,
        iterator: Any = None,
        *args: Any,
        **options: Any,
    ) -> dict[str, Any]:
        """The output of a call, which counts as one request, a generator's once that has ended. Errors
        leave as sentences: gradio would print them with what the visitor sent."""
        function = self.fns[block_fn] if isinstance(block_fn, int) else block_fn
        begun = self._generating.pop(iterator, None) if iterator else None
        begun = begun or activity.begin(*activity.names(function.fn))
        output: dict[str, Any] = {}
        try:
            with activity.answering(begun):
                output = await super().process_api(
                    function, inputs, state, request, iterator, *args, **options
                )
        except CacheMissError:
            begun.outcome, begun.problem = "refused", None
            raise
        except gr.Error as problem:
            problem.print_exception = False
            raise
        except SerdemoError as problem:
            raise gr.Error(str(problem), print_exception=False) from problem
        except Exception as problem:
            raise gr.Error(FAULT, print_exception=False) from problem
        finally:
            if output.get("is_generating"):
                self._generating[output["iterator"]] = begun
            elif function.fn:
                self.visitors.activity.end(begun)
        return output

    async def preprocess_data(
        self,
        block_fn: BlockFunction,
        inputs: list[Any],
        state: SessionState | None,
        explicit_call: bool = False,
    ) -> list[Any]:
        """The arguments of a handler. Those of a program's call stay as they were sent, with the defaults
        of the last ones: gradio would fetch addresses among them, and hold them for a session."""
        if block_fn.api_visibility == "private":
            try:
                if block_fn.fn is None or any(map(_names_address, inputs)):
                    raise ValueError("for the browser alone, or gradio would fetch it")
                return await super().preprocess_data(block_fn, inputs, state, explicit_call)
            except Exception as problem:  # no page sends such arguments
                raise gr.Error(NO_CALL, print_exception=False) from problem
        missing = [getattr(block, "value", None) for block in block_fn.inputs[len(inputs) :]]
        if len(inputs) > len(block_fn.inputs) or None in missing:
            raise gr.Error(
                f"/{block_fn.api_name} takes {len(block_fn.inputs)} arguments, not {len(inputs)}:"
                " see the API page.",
                print_exception=False,
            )
        return [*inputs, *missing]

    def models(self, token: str, request: gr.Request) -> Registry:
        """The models that a visitor sees."""
        return registry_for(self.owner(token, request))

    def use(self, key: str, token: str, request: gr.Request) -> Predictor:
        """Answer a visitor by the model of that key from now on, in every tab; see `Visitors.choose`."""
        folder = self.models(token, request).get(key).folder
        return self.visitors.choose(request.session_hash, folder)

    def answering(self, key: str, token: str, request: gr.Request) -> Predictor:
        """The model that answers a new session: that of `key`, chosen on an earlier visit, or else the
        page's own. Raises SerdemoError when there is none."""
        if key:
            with suppress(SerdemoError):
                return self.use(key, token, request)
        return self.model.get()

    def answered_by(self, request: gr.Request) -> Path | None:
        """The folder of the model that answers a visitor; None where there is none."""
        with suppress(SerdemoError):
            return self.visitors.of(request.session_hash).get().folder
        return None

    def foot(self, request: gr.Request) -> str:
        """The footer as it is now for a visitor."""
        return footer_html(request.session_hash, self.visitors.of(request.session_hash).get())

    def owner(self, token: str, request: gr.Request) -> str | None:
        """Owner of what a request reaches: None (everything) for a local user, else the visitor's token,
        or "" (nothing) without one."""
        if not self.share and session.is_local(request):
            return None
        owner = token if isinstance(token, str) else ""  # what is sent may be anything, None too
        self.presence.note(getattr(request, "session_hash", None), owner)
        return owner


def _names_address(value: Any) -> bool:
    """Whether there is a file among sent values whose path is an address."""
    if isinstance(value, dict):
        path = value.get("path")
        is_address = isinstance(path, str) and path.startswith(("http:", "https:"))
        return is_address or any(map(_names_address, value.values()))
    return isinstance(value, list) and any(map(_names_address, value))


def footer_html(visitor: str | None = None, predictor: Predictor | None = None) -> Markup:
    """The footer: the model that answers, its recall, and what it is not for.

    The page's scripts read the session's hash, a digest of the model's folder, and the name of the model
    in browsers from it.
    """
    values: dict[str, Any] = {"visitor": visitor or "", "recalls": {}}
    values |= dict.fromkeys(("model", "model_id", "in_browser"), "")
    if predictor:
        values["model"] = predictor.name
        shipped = {bundled_checkpoint(name): name for name in ANSWERING}
        values["in_browser"] = shipped.get(predictor.folder, "")
        values["model_id"] = hashlib.sha256(str(predictor.folder).encode()).hexdigest()[:16]
        values["recalls"] = unseen_recalls(predictor.description.metrics.get("test", {}))
    return render("shell/footer.html", **values)


def unseen_recalls(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Unweighted average recall for each corpus in `metrics` that was tested on unseen speakers."""
    return {
        corpus: figures["uar"]
        for corpus, figures in metrics.items()
        if isinstance(figures, dict) and figures.get("unseen_speakers") and "uar" in figures
    }
