"""Stock Firefox for Playwright, which drives it by WebDriver BiDi (its channel `moz-firefox`).

Playwright sends commands that not every Firefox has, such as one for a context's colour scheme, and stops at
the refusal; and it knows downloads by a name that stock Firefox does not give them. So it starts this file
in Firefox's place: it starts Firefox, passes the messages on, has commands succeed that Firefox does not
know, and names downloads.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

NAMES = ("firefox-esr", "firefox")
ADDRESS = re.compile(r"(WebDriver BiDi listening on )(ws://\S+)")
DOWNLOADS = ("browsingContext.downloadWillBegin", "browsingContext.downloadEnd")
PREFERENCES: dict[str, str | float | bool] = {
    "media.navigator.streams.fake": True,  # a microphone that plays a tone
    "media.navigator.permission.disabled": True,  # nobody is there to press "Allow"
    "media.autoplay.default": 0,
    "network.proxy.allow_hijacking_localhost": True,  # a proxy sees what this machine is asked for
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "data:,",
}


def firefox() -> str:
    """The program, from SERDEMO_FIREFOX or the PATH; the test is skipped where there is none."""
    given = os.environ.get("SERDEMO_FIREFOX")
    found = given or next(filter(None, map(shutil.which, NAMES)), None)
    if not found or not Path(found).exists():
        pytest.skip("needs Firefox: install it, or name it in SERDEMO_FIREFOX")
    return found


def launch(
    playwright: Any,
    folder: Path,
    proxy: str | None = None,
    environment: dict[str, str] | None = None,
) -> Any:
    """A browser of Playwright's. What starts it is written into `folder`; all requests pass the proxy;
    the environment is added to that of the test."""
    program = folder / "firefox"
    command = shlex.join([sys.executable, __file__, firefox()])
    program.write_text(f'#!/bin/sh\nexec {command} "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    return playwright.firefox.launch(
        channel="moz-firefox",
        executable_path=program,
        env={**os.environ, **(environment or {})},
        firefox_user_prefs={**PREFERENCES, **(through(proxy) if proxy else {})},
    )


def through(proxy: str) -> dict[str, str | float | bool]:
    """The preferences by which all requests pass a proxy."""
    address = urlsplit(proxy)
    named = {"http": address.hostname or "", "ssl": address.hostname or ""}
    hosts = {f"network.proxy.{kind}": host for kind, host in named.items()}
    ports = {f"network.proxy.{kind}_port": address.port or 80 for kind in named}
    return {"network.proxy.type": 1, "network.proxy.no_proxies_on": "", **hosts, **ports}


def with_download(text: str) -> str:
    """A message of Firefox's, in which a download has a name: its address, which is a new one each time."""
    if '"browsingContext.download' not in text:
        return text
    event = json.loads(text)
    if event.get("method") in DOWNLOADS:
        event["params"]["navigation"] = event["params"]["navigation"] or event["params"]["url"]
    return json.dumps(event)


def with_success(text: str) -> str:
    """A message of Firefox's, in which a command that it does not know has succeeded."""
    if '"unknown command"' not in text:
        return text
    answer = json.loads(text)
    if answer.get("error") != "unknown command":
        return text
    result = {
        "collector": "none"
    }  # of responses, which every page gets; other commands have no result
    return json.dumps({"type": "success", "id": answer["id"], "result": result})


async def run(program: str, *arguments: str) -> int:
    """Firefox behind a web socket of ours, whose address takes the place of its own in what it prints;
    returns its exit status."""
    from websockets.asyncio.client import connect
    from websockets.asyncio.server import serve

    process = await asyncio.create_subprocess_exec(
        program, *arguments, stderr=asyncio.subprocess.PIPE, limit=2**24
    )
    assert process.stderr
    theirs: list[str] = []

    async def serve_playwright(ours: Any) -> None:
        async with connect(theirs[0], max_size=None, proxy=None, ping_interval=None) as browser:

            async def pass_commands() -> None:
                async for text in ours:
                    await browser.send(text)

            async def pass_answers() -> None:
                async for text in browser:
                    await ours.send(with_success(with_download(text)))

            waiting = {asyncio.create_task(pass_commands()), asyncio.create_task(pass_answers())}
            _, left = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in left:
                task.cancel()
        with suppress(ProcessLookupError):
            process.terminate()

    async with serve(serve_playwright, "127.0.0.1", 0, max_size=None, ping_interval=None) as server:
        port = server.sockets[0].getsockname()[1]
        async for line in process.stderr:
            found = ADDRESS.search(text := line.decode(errors="replace"))
            if found:
                theirs.append(f"{found[2]}/session")
                text = f"{found[1]}ws://127.0.0.1:{port}\n"
            sys.stderr.write(text)
            sys.stderr.flush()
        return await process.wait()


if __name__ == "__main__":
    sys.exit(asyncio.run(run(*sys.argv[1:])))
