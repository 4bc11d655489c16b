"""Start of the page's server."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from serdemo.schema import logs, proxies, settings
from serdemo.ui.shell import connections, gradio_settings
from serdemo.ui.shell.address import Address, find_address, in_use
from serdemo.ui.shell.root_path import normalise

if TYPE_CHECKING:
    from serdemo.ui.shell.page import Page

log = logging.getLogger(__name__)


def serve(page: Page, port: int | None = None, share: bool = False, **options: Any) -> Address:
    """Serve the page in the background, and print its URL.

    `port` None takes the first free one that the settings allow. `options` are those of `Page.launch`.
    Raises UsageError for settings that name no address, and SerdemoError where no port is free.
    """
    address = find_address(port)
    share = share or settings.share_wanted()
    if fault := proxies.unusable():
        if share:
            raise fault
        log.warning("serdemo: %s (Until then the page reaches no other machine.)", fault)
    proxies.bypass([address.host])  # where gradio asks the page for its first answer
    try:
        with gradio_settings.replaced():
            page.launch(
                server_name=address.url_host,
                server_port=address.port,
                share=share,
                root_path=normalise(settings.root_path()),
                num_workers=0,  # of gradio's own, where uploads have no limit
                run_history=False,
                footer_links=["api"],
                enable_monitoring=False,
                show_error=True,
                ssr_mode=False,
                prevent_thread_lock=True,
                quiet=True,  # it would print an address that no browser opens
                **options,
            )
    except OSError as problem:  # taken since then
        raise in_use([address.port]) from problem
    connections.limit(page.server.config)
    if logs.as_json():
        log.info("serving", extra={"fields": {"url": address.url}})
    else:
        print(f"* Running on local URL:  {address.url}", flush=True)
    return address


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """Context manager in which SIGTERM, by which services and containers end a process, is like Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
