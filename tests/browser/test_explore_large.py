"""A map of more clips than are drawn one by one: frames, a lasso, a search, a click, layouts on request."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serdemo.embeddings import embedding_map
from serdemo.experiments import page_map
from serdemo.inference.predictor import Predictor
from serdemo.ui import build

POINTS = 200_000
ZOOM = 0.92  # how much of the field the map fills when it is opened
FRAMES = 15
ALPHA = """([x, y]) => { const canvas = document.querySelector("#explore [data-part=points]");
  return canvas.getContext("2d").getImageData(x, y, 1, 1).data[3]; }"""


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / page_map.TABLE
    page_map.write_stand_in(path, POINTS)
    return path


@pytest.fixture(scope="module")
def address(tiny_checkpoint: Path, table: Path) -> Iterator[str]:
    """A page with that table under its data root."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SERDEMO_DATA", str(table.parent))
        served = build(lambda: Predictor(tiny_checkpoint, device="cpu"))
        _, address, _ = served.launch(prevent_thread_lock=True, quiet=True, server_name="127.0.0.1")
        yield address
        served.close()


def part(page: Any, name: str) -> Any:
    return page.locator(page_map.MAP.format(name))


def on_screen(page: Any, places: Any) -> Any:
    """Where the points of the whole map are drawn, (N, 2) from the corner of the field."""
    box = part(page, "field").bounding_box()
    low, high = places.min(axis=0), places.max(axis=0)
    scale = ZOOM * min(box["width"] / (high - low)[0], box["height"] / (high - low)[1])
    middle = (places - (low + high) / 2) * scale
    return np.stack([box["width"] / 2 + middle[:, 0], box["height"] / 2 - middle[:, 1]], axis=1)


def test_a_large_map_is_moved_encircled_searched_and_pointed_at(
    browser: Any, address: str, table: Path
) -> None:
    page, errors = browser.new_context(viewport=page_map.VIEWPORT).new_page(), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    found = embedding_map.read(table)
    small = len(embedding_map.read(embedding_map.default_path()).table)
    page.set_default_timeout(60_000)
    page.goto(address)
    page.get_by_role("tab", name="Explore").click()
    part(page, "count").filter(has_text=f"{small:,} of").wait_for()
    beside = page_map.frames_ms(page, "pan", FRAMES)  # markers of the shipped map
    page_map.open_map(page, address, table.name, POINTS)
    page.set_default_timeout(20_000)
    for act in ("pan", "zoom", "hover"):
        taken = page_map.frames_ms(page, act, FRAMES)
        assert taken["p50"] < max(100, 3 * beside["p50"]), act

    points = on_screen(page, found.positions["umap2"])
    box = part(page, "field").bounding_box()
    middle, radius = (box["width"] / 2, box["height"] / 2), 0.8 * box["height"] / 2
    seconds, selected = page_map.lasso(page, 0.8)
    away = np.hypot(*(points - middle).T)
    assert (away < radius - 1).sum() <= selected <= (away < radius + 1).sum()
    assert selected > POINTS / 4 and seconds < 5

    searched = [" ".join(words).lower() for words in zip(*found.table.text.values(), strict=True)]
    _, hits = page_map.search(page, "0012 SAD")
    assert hits == sum("0012" in words and "sad" in words for words in searched) > 10

    x, y = points[points[:, 1].argmin()].tolist()
    row = int(np.hypot(*(points - (x, y)).T).argmin())
    assert page.evaluate(ALPHA, [round(x - 0.5), round(y - 0.5)]) > 90
    part(page, "field").scroll_into_view_if_needed()
    box = part(page, "field").bounding_box()
    page.mouse.click(box["x"] + x, box["y"] + y)
    part(page, "clip").filter(has_text=found.table.text["clip"][row]).wait_for()

    assert part(page, "compute").is_visible()  # nothing is computed that nobody wants
    with page.expect_response(lambda response: "component_server" in response.url):
        page.get_by_label("Layout").select_option("pca2")
    page.wait_for_function(
        "() => document.querySelector('#explore [data-part=layout]').value === 'pca2'"
    )
    assert page.locator("#explore [data-part=layout] [value=umap3]").is_disabled()
    page.context.close()
    assert errors == []
