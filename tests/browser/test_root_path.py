"""The page behind a proxy that offers it below a path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support import path_proxy
from support.app_server import App

TABS = ("Live", "Explore", "Fine-tune", "Models", "Recognise")
PATH = "/some/path"
# Loads a model into the browser by the scripts that the page has named.
LOAD = """async () => {
  const script = document.querySelector("link[rel=modulepreload][href$='shell/js/rpc.js']").href;
  const { pageModels } = await import(new URL("../../browser/page_models.js", script));
  const models = await pageModels();
  const { costs } = await models.load(["compact"]);
  models.end();
  return costs.compact;
}"""


@pytest.mark.parametrize("announced", [False, True])
def test_nothing_is_asked_for_outside_of_the_path(
    browser: Any, tmp_path: Path, announced: bool
) -> None:
    """By the setting, which is one for all proxies, or by the header that some proxies send."""
    app = App(tmp_path, {} if announced else {"GRADIO_ROOT_PATH": PATH})
    context = browser.new_context(permissions=["microphone"])
    errors, urls = [], []
    try:
        app.wait()
        with path_proxy.serving(app.address, PATH, announced=announced) as proxy:
            page = context.new_page()
            page.set_default_timeout(60_000)
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.on("request", lambda request: urls.append(request.url))
            page.goto(proxy.address)
            page.wait_for_selector(".sd-says")
            for tab in TABS:
                page.get_by_role("tab", name=tab).click()
                page.wait_for_timeout(1500)
                if tab == "Live":
                    page.locator(".sd-live [data-part=start]").click()
                    page.wait_for_selector(".sd-live[data-state=live]")
                    page.wait_for_timeout(2000)
                    assert page.locator(".sd-live [data-part=now]").inner_text() != "0:00.0"
                    page.locator(".sd-live [data-part=start]").click()
                    page.wait_for_selector(".sd-live[data-state=idle]")
            manifest = page.locator("link[rel=manifest]").get_attribute("href")
            assert page.request.get(f"{proxy.address}{manifest}").ok
            assert page.evaluate(LOAD) > 0
            context.close()
            assert proxy.outside == []
            assert any("serdemo-models" in path for path in proxy.inside)
            assert any("serdemo-js" in path for path in proxy.inside)
            assert [
                url for url in urls if not url.startswith((proxy.address, "data:", "blob:"))
            ] == []
    finally:
        app.end()
    assert errors == []
