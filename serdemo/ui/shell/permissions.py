"""What a visitor may do on the owner's machine; a local user (owner None) may do everything."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import gradio as gr

from serdemo.schema import settings
from serdemo.schema.errors import UsageError
from serdemo.ui.shell.html import notice_html, plain_html

if TYPE_CHECKING:
    from serdemo.ui.shell.page import Page

NO_TRAINING = "The owner of this page has training switched off: install serdemo to train on your own computer."
NO_IMPORT = (
    "The owner of this page has imports switched off: install serdemo to use your own models and tables"
    " on your own computer."
)


def may_train(owner: str | None) -> bool:
    """Whether a user may train, and compare models on a corpus."""
    return owner is None or settings.visitors_may_train()


def may_import(owner: str | None) -> bool:
    """Whether a user may import models, and tables of embeddings."""
    return owner is None or settings.visitors_may_import()


@contextmanager
def section(page: Page, may: Callable[[str | None], bool], refusal: str) -> Iterator[None]:
    """Lay out a part of a tab for users who `may`; others read the `refusal` in its place."""
    notice = plain_html(notice_html(refusal), visible=False)
    with gr.Column() as part:
        yield

    def show(token: str, request: gr.Request) -> tuple[gr.HTML, gr.Column]:
        allowed = may(page.owner(token, request))
        return gr.HTML(visible=not allowed), gr.Column(visible=allowed)

    page.load(
        show,
        page.token,
        [notice, part],
        queue=False,
        show_progress="hidden",
        api_visibility="private",
    )


def require_training(owner: str | None) -> None:
    """Raise UsageError for a user who may not train."""
    if not may_train(owner):
        raise UsageError(NO_TRAINING)


def require_import(owner: str | None) -> None:
    """Raise UsageError for a user who may not import."""
    if not may_import(owner):
        raise UsageError(NO_IMPORT)
