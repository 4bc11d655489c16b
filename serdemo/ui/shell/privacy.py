"""Privacy on the page: who is recognised, what is stored and for how long, and the buttons to keep or forget it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gradio as gr
from markupsafe import Markup

from serdemo.runs.queue import JobQueue
from serdemo.schema import settings
from serdemo.schema.errors import UsageError
from serdemo.ui.shell import scripts, visitor_store
from serdemo.ui.shell.html import plain_html
from serdemo.ui.shell.rpc import Calls, Request, Response, field
from serdemo.ui.shell.templates import render
from serdemo.ui.shell.uploads import uploaded

if TYPE_CHECKING:
    from serdemo.ui.shell.page import Page

# What whoever is heard must learn at the latest when it happens: Article 50(3) of the EU's AI Act.
NOTICE = (
    "This page recognises emotions from voices automatically. Tell everyone who can be heard before you"
    " record or upload them."
)
READ = "A recording is deleted from the server as soon as it has been read."
STORED = (
    "Takes, uploaded clips, runs and models of yours are deleted within ten minutes of your leaving this"
    " page, or after a day if you press Keep for a day."
)
STORED_LOCALLY = (
    "This page runs on your own computer, where takes, runs and models stay until you delete them."
)
FORGOTTEN = "This page and this browser have forgotten your voice."
STAYS = "Takes, runs and models on this computer stay; delete them in Fine-tune and Models, if you wish."
NO_SESSION = "The page was started anew meanwhile, and has nothing of you any more; reload it."


def notice_html() -> Markup:
    """The notice at the head of the page, which cannot be put away."""
    return Markup('<p class="sd-notice" role="note">{}</p>').format(NOTICE)


class Privacy(Calls):
    """The calls about what a visitor has here."""

    def __init__(self, page: Page) -> None:
        super().__init__(page.visitors.activity)
        self._page = page

    def on_here(self, request: Request, visit: gr.Request) -> Response:
        """Note that the session `visitor` is here; gives whether the visitor is `local` and, in seconds since
        1970, until when all is `retained`, 0 where only till the visitor leaves."""
        self._page.presence.note(_session(request))
        local, owner = self._is_local(visit), self._owner(request)
        return {"local": local, "retained": visitor_store.retained_until(owner) if owner else 0}

    def on_keep(self, request: Request, visit: gr.Request) -> Response:
        """Keep what the visitor has here for a day; gives until when, as `retained`."""
        return {"retained": visitor_store.retain(self._known_owner(request))}

    def on_forget(self, request: Request, visit: gr.Request) -> Response:
        """Delete at once what the visitor has here, and the `uploads` that the page names; gives as `message`
        what that was. A local user's runs and models stay."""
        uploads = request.get("uploads")
        for path in uploads if isinstance(uploads, list) else []:
            uploaded({"name": "", "path": path}).forget()
        session = _session(request)
        for forget in self._page.forgets:
            forget(session)
        if self._is_local(visit):
            return {"message": f"{FORGOTTEN} {STAYS}"}
        owner = self._known_owner(request)
        jobs, folder = JobQueue(settings.runs_root()), visitor_store.folder_of(owner)
        own_runs = [jobs.path(job.name) for job in jobs.all(owner)]
        deleted = visitor_store.delete_all(owner, jobs)
        for path in (folder, *own_runs):
            self._page.visitors.forget(path)
        takes, models, runs = deleted
        counts = f"takes {takes}, models {models}, runs {runs}, and all uploads"
        return {"message": f"Deleted from the server: {counts}. {FORGOTTEN}"}

    def _is_local(self, visit: gr.Request) -> bool:
        return self._page.owner("", visit) is None

    def _owner(self, request: Request) -> str:
        return self._page.presence.owner_of(_session(request))

    def _known_owner(self, request: Request) -> str:
        if not (owner := self._owner(request)):
            raise UsageError(NO_SESSION)
        return owner


def _session(request: Request) -> str:
    return field(request, "visitor", str)


def build(page: Page) -> None:
    """Lay the line out inside the page, below the tabs."""
    calls = Privacy(page)

    def privacy(request: Any, visit: gr.Request) -> dict[str, Any]:
        return calls.call(request, visit)

    texts = {"read": READ, "stored": STORED, "stored_locally": STORED_LOCALLY}
    plain_html(
        html_template=str(render("shell/privacy.html", contact=settings.contact(), **texts)),
        js_on_load=scripts.on_load("shell/js/privacy.js"),
        server_functions=[privacy],
        elem_id="privacy",
    )
