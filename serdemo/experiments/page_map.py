"""A large map in Chromium: seconds until it is shown, frames while it is moved, a lasso, memory.

Chromium draws by its software, as on a machine without a graphics card.
"""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import psutil

from serdemo.cli.options import JSON, number_option, print_figures
from serdemo.embeddings import embedding_map
from serdemo.embeddings.embedding_map import EmbeddingMap
from serdemo.experiments.browser import chromium
from serdemo.experiments.page_client import served

VIEWPORT = {"width": 1280, "height": 900}
FRAMES = 60
TIMEOUT_MS = 180_000
TABLE = "points.parquet"
NOISE = 0.02  # of a stand-in's places, in standard deviations of all
MAP = "#explore [data-part={}]"
# In each frame something changes, and the next one shows it.
_FRAMES = """async ({ act, count }) => {
  const field = document.querySelector("#explore [data-part=field]");
  const box = field.getBoundingClientRect();
  const frame = () => new Promise(requestAnimationFrame);
  const [x, y] = [box.left + box.width / 2, box.top + box.height / 2];
  const times = [];
  let last = await frame();
  for (let i = 1; i <= count; i++) {
    const across = { clientX: x + 2 * (i % 50), clientY: y + (i % 50), pointerId: 1, cancelable: true };
    const deltaY = i % 40 < 20 ? -40 : 40;
    field.dispatchEvent(act === "zoom" ? new WheelEvent("wheel", { clientX: x, clientY: y, deltaY, cancelable: true })
      : new PointerEvent("pointermove", across));
    const now = await frame();
    times.push(now - last);
    last = now;
  }
  return times;
}"""
# A circle round the middle, `share` of the field's height across; seconds from its end to the picture with counts.
_LASSO = """async ({ share }) => {
  const field = document.querySelector("#explore [data-part=field]");
  const box = field.getBoundingClientRect();
  const frame = () => new Promise(requestAnimationFrame);
  const send = (type, i) => field.dispatchEvent(new PointerEvent(type, { pointerId: 1, shiftKey: true,
    clientX: box.left + box.width / 2 + (share * box.height / 2) * Math.cos((i * Math.PI) / 50),
    clientY: box.top + box.height / 2 + (share * box.height / 2) * Math.sin((i * Math.PI) / 50) }));
  for (let i = 0; i <= 100; i++) send("pointermove", i);
  await frame();
  const began = performance.now();
  send("pointerup", 0);
  await frame();
  await frame();
  return (performance.now() - began) / 1000;
}"""


def write_stand_in(path: Path, points: int) -> None:
    """Write a map of `points` clips: those of the shipped map again and again, with noise."""
    shipped = embedding_map.read(embedding_map.default_path())
    rng = np.random.default_rng(0)
    rows = np.arange(points) % len(shipped.table)
    table = shipped.table.take(rows)
    names = tuple(f"{n:07d}.wav" for n in range(points))
    places = {}
    for name in ("umap2", "pca"):
        at = shipped.positions[name][rows]
        noise = rng.standard_normal(at.shape) * NOISE * at.std(axis=0)
        places[name] = (at + noise).astype(np.float32)
    embedding_map.write(
        path, EmbeddingMap(replace(table, text={**table.text, "clip": names}), places)
    )


def open_map(page: Any, address: str, typed: str, points: int) -> float:
    """Open a map by its path in playwright's `page`; returns the seconds until it is shown."""
    page.set_default_timeout(TIMEOUT_MS)
    page.goto(address)
    page.get_by_role("tab", name="Explore").click()
    page.locator(".sd-map[data-state=open]").wait_for()
    page.get_by_text("A map of your own clips").click()
    page.get_by_label("A corpus, folder or table").fill(typed)
    began = time.perf_counter()
    page.get_by_role("button", name="Make a map").click()
    count = page.locator(MAP.format("count"))
    count.filter(has_text=f"{points:,} of {points:,} clips").wait_for()
    page.evaluate(
        "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
    )
    return time.perf_counter() - began


def frames_ms(page: Any, act: str, count: int = FRAMES) -> dict[str, float]:
    """Median and 95th percentile of the milliseconds of a frame while the open map is moved (`pan`),
    zoomed (`zoom`) or pointed at (`hover`)."""
    box = _middle(page)
    page.mouse.move(*box)
    if act == "pan":
        page.mouse.down()
    taken = page.evaluate(_FRAMES, {"act": act, "count": count})
    page.mouse.up()
    page.get_by_role("button", name="Whole map").click()
    return {name: round(float(np.quantile(taken, q))) for name, q in (("p50", 0.5), ("p95", 0.95))}


def lasso(page: Any, share: float = 0.5) -> tuple[float, int]:
    """Draw a circle round the middle of the open map, `share` of its height across; returns the seconds
    until its clips are counted and drawn, and their number."""
    page.keyboard.down("Shift")
    page.mouse.move(*_middle(page))
    page.mouse.down()
    seconds = float(page.evaluate(_LASSO, {"share": share}))
    page.mouse.up()
    page.keyboard.up("Shift")
    selected = page.locator(MAP.format("selection")).locator("h2").inner_text()
    page.get_by_role("button", name="Clear").click()
    return seconds, int(selected.split()[0].replace(",", ""))


def search(page: Any, words: str) -> tuple[float, int]:
    """Search the open map; returns the seconds until the clips found are drawn, and their number."""
    count = page.locator(MAP.format("count"))
    before = count.inner_text()
    began = time.perf_counter()
    page.get_by_label("Search").fill(words)
    page.wait_for_function(
        "([path, before]) => document.querySelector(path).textContent !== before",
        arg=[MAP.format("count"), before],
    )
    seconds = time.perf_counter() - began
    found = int(count.inner_text().split()[0].replace(",", ""))
    page.get_by_role("button", name="Show all").click()
    return seconds, found


def _middle(page: Any) -> tuple[float, float]:
    field = page.locator(MAP.format("field"))
    field.scroll_into_view_if_needed()
    box = field.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def measure(browser: Any, table: Path, points: int) -> dict[str, Any]:
    """Figures of a table of `points` clips, opened in a `browser` of playwright on a page started here."""
    with served(SERDEMO_DATA=str(table.parent.resolve())) as (address, process):
        page = browser.new_context(viewport=VIEWPORT).new_page()
        open_s = open_map(page, address, table.name, points)
        moved = {f"{act}_ms": frames_ms(page, act) for act in ("pan", "zoom", "hover")}
        lasso_s, selected = lasso(page)
        search_s, found = search(page, "0001 sad")
        assert process is not None
        memory = {
            "server_mb": _memory_mb([psutil.Process(process)]),
            "browser_mb": _memory_mb(
                [
                    child
                    for child in psutil.Process().children(recursive=True)
                    if "chrom" in child.name()
                ]
            ),
        }
    return {
        "points": points,
        "open_s": round(open_s, 1),
        **moved,
        "lasso_s": round(lasso_s, 2),
        "lasso_points": selected,
        "search_s": round(search_s, 2),
        "search_points": found,
        **memory,
        "cores": os.cpu_count(),
    }


def _memory_mb(processes: list[psutil.Process]) -> int:
    """Memory that the processes share with no others, in MB."""
    return round(sum(process.memory_full_info().uss for process in processes) / 1e6)


@click.command("explore")
@number_option(
    "--points", 1_000_000, 1000, 5_000_000, "Clips of the map, made from the shipped one."
)
@click.option(
    "--table",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A map to measure in its place.",
)
@JSON
def command(points: int, table: Path | None, as_json: bool) -> None:
    """Frames, lasso, search and memory of a large map in Chromium."""
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        if table is None:
            table = Path(folder) / TABLE
            write_stand_in(table, points)
        else:
            points = len(embedding_map.read(table).table)
        figures = measure(browser, table, points)
    print_figures(figures, as_json)
