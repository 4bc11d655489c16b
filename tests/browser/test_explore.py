"""The map as a visitor meets it: look, point and hear, encircle, colour, place a voice, save."""

from __future__ import annotations

import csv
import json
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
from support.page_scripts import ASKING, FAINT_TEXTS

from serdemo.audio import waveform
from serdemo.data import corpora
from serdemo.data.array_cache import CacheOptions
from serdemo.embeddings import embedding_map
from serdemo.embeddings.cluster_study import study
from serdemo.embeddings.embedding_map import PROJECTIONS, EmbeddingMap
from serdemo.embeddings.extract import embed
from serdemo.embeddings.projection import pca
from serdemo.inference.predictor import Predictor
from serdemo.schema.palette import style_of
from serdemo.ui import build
from serdemo.ui.shell.examples import EXAMPLES, EXAMPLES_DIR

ZOOM = 0.92  # how much of the field the map fills when it is opened


@pytest.fixture(scope="module")
def own(
    tiny_checkpoint: Path, corpus_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, EmbeddingMap]:
    """The corpus `simple` as a finished map, and the file of it that a visitor opens."""
    folder = tmp_path_factory.mktemp("maps")
    utterances = corpora.load_many(str(corpus_root))
    options = CacheOptions(cache=str(folder / "cache"))
    table = embed(tiny_checkpoint, utterances, corpus_root.parent, options, device="cpu").table
    places = {name: pca(table.embedding, len(axes)) for name, axes in PROJECTIONS.items()}
    made = EmbeddingMap(table, places, *study(table))
    embedding_map.write(folder / "simple.parquet", made)
    return folder / "simple.parquet", made


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where that page keeps what visitors send."""
    return tmp_path_factory.mktemp("sent")


@pytest.fixture(scope="module")
def address(tiny_checkpoint: Path, corpus_root: Path, sent: Path) -> Iterator[str]:
    """A page on the tiny model, with the corpus `simple` under its data root."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SERDEMO_DATA", str(corpus_root.parent))
        patch.setenv("HOME", str(sent))
        patch.setenv("GRADIO_TEMP_DIR", str(sent))
        served = build(lambda: Predictor(tiny_checkpoint, device="cpu"))
        _, address, _ = served.launch(
            prevent_thread_lock=True,
            quiet=True,
            server_name="127.0.0.1",
        )
        yield address
        served.close()


@pytest.fixture
def visit_map(browser: Any, address: str) -> Iterator[Callable[..., Any]]:
    """A function that opens the tab Explore; `table` is opened in it. No page may raise an error."""
    contexts, errors = [], []

    def go(table: Path | None = None, width: int = 1280, height: int = 1000, **options: Any) -> Any:
        with_browser = options.pop("browser", browser)
        context = with_browser.new_context(
            viewport={"width": width, "height": height}, accept_downloads=True, **options
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address)
        page.get_by_role("tab", name="Explore").click()
        page.locator(".sd-map[data-state=open]").wait_for()
        if table is not None:
            page.get_by_text("A map of your own clips").click()
            page.set_input_files("[data-part=table-file]", str(table))
            part(page, "count").filter(has_text="24 of 24 clips shown").wait_for()
            field(page).scroll_into_view_if_needed()
        return page

    yield go
    for context in contexts:
        context.close()
    assert errors == []


def part(page: Any, name: str) -> Any:
    return page.locator(f"#explore [data-part={name}]")


def field(page: Any) -> Any:
    return part(page, "field")


def legend(page: Any) -> dict[str, str]:
    rows = part(page, "legend").locator("li").all()
    return {
        row.locator("label").inner_text().strip(): row.locator(".sd-number").inner_text()
        for row in rows
    }


def on_screen(page: Any, places: Any) -> Any:
    """Where the points of a flat map are drawn, (N, 2) from the corner of the field, reckoned from
    the table: the whole of them fills the field but for a rim."""
    box = field(page).bounding_box()
    low, high = places.min(axis=0), places.max(axis=0)
    unit = 2 / (high - low).max()
    spread = (high - low) * unit / 2
    scale = ZOOM / 2 * min(box["width"] / spread[0], box["height"] / spread[1])
    middle = (places - (low + high) / 2) * unit * scale
    found = np.stack([box["width"] / 2 + middle[:, 0], box["height"] / 2 - middle[:, 1]], axis=1)
    return found.astype(float)


def lonely(points: Any) -> int:
    """The point farthest from its nearest neighbour."""
    away = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(away, np.inf)
    return int(away.min(axis=1).argmax())


def press(page: Any, x: float, y: float) -> None:
    box = field(page).bounding_box()
    page.mouse.click(box["x"] + x, box["y"] + y)


def test_the_shipped_map_is_there_at_once(visit_map: Callable[..., Any]) -> None:
    page = visit_map()
    table = embedding_map.read(embedding_map.default_path()).table
    assert part(page, "count").inner_text() == f"{len(table):,} of {len(table):,} clips shown"
    counts = Counter(name or "unknown" for name in table.emotions)
    assert legend(page) == {name: f"{n:,} of {n:,}" for name, n in counts.items()}
    drawn = """() => { const c = document.querySelector("#explore [data-part=points]");
      const d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
      let n = 0; for (let i = 3; i < d.length; i += 4) n += d[i] > 0; return n / d.length * 4; }"""
    page.wait_for_function(f"({drawn})() > 0.02")
    metrics = part(page, "metrics").inner_text()
    assert "NMI" in metrics and "By chance" in metrics and "not on the picture" in metrics
    assert "are not distances" in part(page, "warning").inner_text()


def test_frames_stay_short_while_the_map_is_moved(visit_map: Callable[..., Any]) -> None:
    page = visit_map()
    page.evaluate("""() => { window.frames_ = []; let last;
      const step = (now) => { if (last) frames_.push(now - last); last = now;
        requestAnimationFrame(step); }; requestAnimationFrame(step); }""")
    box = field(page).bounding_box()
    page.mouse.move(box["x"] + 300, box["y"] + 300)
    page.mouse.down()
    page.evaluate("frames_.length = 0")
    page.mouse.move(box["x"] + 420, box["y"] + 340, steps=40)
    taken = page.evaluate("frames_")
    page.mouse.up()
    assert np.median(taken) < 200  # on a machine that does other things too


def test_a_click_tells_and_plays_the_clip(
    visit_map: Callable[..., Any], own: tuple[Path, EmbeddingMap]
) -> None:
    path, found = own
    page = visit_map(path)
    points = on_screen(page, found.positions["umap2"])
    row = lonely(points)
    x, y = points[row].tolist()
    box = field(page).bounding_box()
    page.mouse.move(box["x"] + x, box["y"] + y)
    words = {name: values[row] for name, values in found.table.text.items()}
    assert words["clip"] in part(page, "tip").inner_text()
    began = time.perf_counter()
    with page.expect_response(lambda r: called(r.request) == "play") as got:
        press(page, x, y)
    assert got.value.json()["rate"] == waveform.SAMPLE_RATE
    assert time.perf_counter() - began < 15
    part(page, "sound-status").filter(has_text="Play").wait_for()
    said = part(page, "clip").inner_text()
    assert words["clip"] in said and f"meant: {words['emotion']}" in said
    assert f"heard: {words['prediction']}" in said
    seconds = waveform.decode(EXAMPLES_DIR / EXAMPLES["Polish, even"]).duration_s  # another's
    length = page.evaluate("document.querySelector('#explore audio').duration")
    assert 0.3 < length < 1 and length != seconds
    page.get_by_role("button", name="Only this speaker").click()
    part(page, "count").filter(has_text="6 of 24").wait_for()
    assert part(page, "metrics").inner_text().count("cluster ") >= 3
    page.get_by_role("button", name="Show all").click()
    part(page, "count").filter(has_text="24 of 24").wait_for()


def test_a_clip_that_is_not_here_says_so(visit_map: Callable[..., Any]) -> None:
    page = visit_map()
    page.get_by_text("The same as a table").click()
    button = part(page, "rows").get_by_role("button").nth(3)
    button.focus()
    page.keyboard.press("Enter")
    part(page, "sound-status").filter(has_text="not on this computer").wait_for()
    assert button.inner_text() in part(page, "clip").inner_text()


def test_a_lasso_counts_what_it_holds_and_gives_it_away(
    visit_map: Callable[..., Any], own: tuple[Path, EmbeddingMap], tmp_path: Path
) -> None:
    path, found = own
    page = visit_map(path)
    points = on_screen(page, found.positions["umap2"])
    box = field(page).bounding_box()
    half = float(np.median(points[:, 0]))
    inside = points[:, 0] < half - 0.5
    corners = [(half, 20), (half, box["height"] - 4), (20, box["height"] - 20), (20, 20)]
    page.get_by_role("button", name="Lasso").click()
    box = field(page).bounding_box()
    page.mouse.move(box["x"] + corners[-1][0], box["y"] + corners[-1][1])
    page.mouse.down()
    for x, y in corners:
        page.mouse.move(box["x"] + x, box["y"] + y, steps=4)
    page.mouse.up()
    selection = part(page, "selection")
    selection.get_by_text("selected").first.wait_for()
    assert selection.get_by_role("heading").inner_text() == f"{inside.sum()} clips selected"
    emotions = np.array(found.table.emotions)
    for name, n in Counter(emotions[inside].tolist()).items():
        cell = selection.locator("table").first.locator("tr", has_text=name).locator("td")
        assert cell.inner_text() == f"{n} of {(emotions == name).sum()}"
    with page.expect_download() as coming:
        selection.get_by_role("button", name="Table (CSV)").click()
    coming.value.save_as(tmp_path / "selected.csv")
    with (tmp_path / "selected.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    clips = np.array(found.table.text["clip"])
    assert sorted(row["clip"] for row in rows) == sorted(clips[inside].tolist())
    page.get_by_text("The same as a table").click()
    part(page, "table-caption").filter(has_text=f"1 to 12 of {inside.sum()}").wait_for()
    selection.get_by_role("button", name="Clear").click()
    selection.get_by_text("Press Lasso").wait_for()


def test_the_whole_map_is_saved_for_other_tools(
    visit_map: Callable[..., Any], own: tuple[Path, EmbeddingMap], tmp_path: Path
) -> None:
    path, found = own
    page = visit_map(path)
    page.get_by_text("Save the map").click()
    for name, ending in (("Table (Parquet)", ".parquet"), ("Page that stands alone", ".html")):
        with page.expect_download() as coming:
            part(page, "save-box").get_by_role("button", name=name).click()
        coming.value.save_as(tmp_path / f"map{ending}")
        assert coming.value.suggested_filename == f"simple{ending}"
    saved = pq.read_table(tmp_path / "map.parquet").to_pandas()
    np.testing.assert_array_equal(saved[["x", "y"]].to_numpy(), found.positions["umap2"])
    alone = page.context.new_page()
    alone.goto((tmp_path / "map.html").as_uri())
    alone.get_by_text("angry (8)").first.wait_for()


def test_colours_and_filters_say_what_the_table_says(
    visit_map: Callable[..., Any], own: tuple[Path, EmbeddingMap]
) -> None:
    path, found = own
    page = visit_map(path)
    points = on_screen(page, found.positions["umap2"])
    row = lonely(points)
    at = [round(float(value)) for value in points[row]]
    colour = """([x, y]) => [...document.querySelector("#explore [data-part=points]")
      .getContext("2d").getImageData(x, y, 1, 1).data].slice(0, 3)"""

    def shown() -> str:
        page.wait_for_timeout(200)
        return "#" + "".join(f"{value:02X}" for value in page.evaluate(colour, at))

    def near(wanted: str, seen: str) -> bool:
        pairs = zip(bytes.fromhex(wanted[1:]), bytes.fromhex(seen[1:]), strict=True)
        return all(abs(a - b) < 12 for a, b in pairs)

    assert near(style_of(found.table.emotions[row]).colour, shown())
    select = page.get_by_label("Colour by")
    select.select_option("prediction")
    assert near(style_of(found.table.text["prediction"][row]).colour, shown())
    for kind, names in (
        ("speaker", found.table.speakers),
        (
            "error",
            [
                "right" if a == b else "wrong"
                for a, b in zip(found.table.emotions, found.table.text["prediction"], strict=True)
            ],
        ),
        ("cluster", [f"cluster {n + 1}" for n in np.asarray(found.clusters).tolist()]),
    ):
        select.select_option(kind)
        counts = sorted(f"{n} of {n}" for n in Counter(names).values())
        assert sorted(legend(page).values()) == counts
    select.select_option("emotion")
    part(page, "legend").get_by_label("sad").uncheck()
    part(page, "count").filter(has_text="16 of 24").wait_for()
    assert legend(page)["sad"] == "0 of 8"
    page.get_by_label("Search").fill("dora")
    part(page, "count").filter(has_text="4 of 24").wait_for()
    assert legend(page)["angry"] == "2 of 8"
    page.get_by_label("Search").fill("nobody at all")
    part(page, "count").filter(has_text="0 of 24").wait_for()
    page.get_by_role("button", name="Show all").click()
    part(page, "count").filter(has_text="24 of 24").wait_for()
    for layout in ("umap3", "pca2", "pca3"):
        page.get_by_label("Layout").select_option(layout)
        assert near(style_of(found.table.emotions[row]).colour, shown()) or layout != "pca2"


def test_a_layout_that_is_chosen_stays_when_umap_comes(
    visit_map: Callable[..., Any], own: tuple[Path, EmbeddingMap], tmp_path: Path
) -> None:
    bare = tmp_path / "bare.parquet"
    embedding_map.write(bare, embedding_map.pca_only(own[1].table))
    page = visit_map(bare)
    layout = page.get_by_label("Layout")
    layout.select_option("pca3")
    page.wait_for_function(
        "() => !document.querySelector('#explore [data-part=layout] [value=umap2]').disabled",
        timeout=90_000,
    )
    page.wait_for_timeout(300)
    assert layout.input_value() == "pca3"


def test_a_new_clip_lies_beside_those_like_it(
    visit_map: Callable[..., Any], own: tuple[Path, EmbeddingMap], corpus_root: Path, sent: Path
) -> None:
    path, found = own
    page = visit_map(path)
    name = found.table.text["clip"][9]
    page.set_input_files("[data-part=clip-file]", str(corpus_root.parent / name))
    part(page, "you").filter(has_text="nearest clips are").wait_for()
    near = part(page, "near").locator("li")
    assert name in near.first.inner_text() and "alike 1.00" in near.first.inner_text()
    assert f"sounds {found.table.text['prediction'][9]}" in part(page, "you").inner_text()
    near.first.get_by_role("button").click()
    part(page, "sound-status").filter(has_text="Play").wait_for()
    assert not list(sent.rglob(Path(name).name))  # it is deleted once it is read


def test_a_live_voice_is_followed(
    launch: Callable[..., Any],
    visit_map: Callable[..., Any],
    own: tuple[Path, EmbeddingMap],
    tmp_path: Path,
) -> None:
    spoken = waveform.decode(EXAMPLES_DIR / EXAMPLES["English, quick and high"])
    microphone = tmp_path / "microphone.wav"
    soundfile.write(microphone, spoken.samples, waveform.SAMPLE_RATE, subtype="PCM_16")
    page = visit_map(own[0], browser=launch(microphone), permissions=["microphone"])
    page.get_by_role("button", name="Speak", exact=True).click()
    part(page, "near").locator("li").first.wait_for()
    over = "() => document.querySelector('#explore [data-part=over]').toDataURL()"
    one = page.evaluate(over)
    page.wait_for_function(f"(before) => ({over})() !== before", arg=one)  # it moves
    page.get_by_role("button", name="Stop", exact=True).first.click()
    part(page, "you").filter(has_text="Your voice as a whole: sounds").wait_for()
    page.get_by_role("button", name="Speak", exact=True).wait_for()


def test_what_live_hears_moves_over_the_map(
    visit_map: Callable[..., Any], own: tuple[Path, EmbeddingMap]
) -> None:
    page = visit_map(own[0])
    page.get_by_role("tab", name="Live").click()
    page.get_by_role("button", name="Watch an example voice").click()
    page.locator(".sd-live[data-state=live]").wait_for()
    page.get_by_role("tab", name="Explore").click()
    part(page, "near").locator("li").first.wait_for()
    assert (
        part(page, "you").inner_text()
        == "Speak: the ring is your voice now, the line where it was."
    )
    page.get_by_role("tab", name="Live").click()
    page.get_by_role("button", name="Stop", exact=True).click()
    page.get_by_role("tab", name="Explore").click()
    part(page, "you").filter(has_text="Your voice as a whole: sounds").wait_for()


def test_without_a_microphone_it_says_what_to_do(
    launch: Callable[..., Any], visit_map: Callable[..., Any]
) -> None:
    page = visit_map(browser=launch(allowed=False))
    page.get_by_role("button", name="Speak", exact=True).click()
    part(page, "you").filter(has_text="The microphone is not allowed here").wait_for()


def test_a_folder_is_heard_and_mapped(visit_map: Callable[..., Any]) -> None:
    page = visit_map()
    page.get_by_text("A map of your own clips").click()
    typed = page.get_by_label("A corpus, folder or table")
    for wrong, words in (("..", "outside the data folder"), ("absent", "There is no corpus")):
        typed.fill(wrong)
        page.get_by_role("button", name="Make a map").click()
        part(page, "own-status").filter(has_text=words).wait_for()
    typed.fill("simple")
    page.get_by_role("button", name="Make a map").click()
    part(page, "count").filter(has_text="24 of 24").wait_for(timeout=120_000)
    part(page, "note").filter(has_text="UMAP is computed").wait_for()
    assert legend(page)["angry"] == "8 of 8"
    page.get_by_role("button", name="Back to the shipped map").click()
    part(page, "back").wait_for(state="hidden")


def test_what_is_no_table_is_one_sentence(visit_map: Callable[..., Any], tmp_path: Path) -> None:
    page = visit_map()
    (tmp_path / "bad.parquet").write_bytes(b"no")
    page.get_by_text("A map of your own clips").click()
    page.set_input_files("[data-part=table-file]", str(tmp_path / "bad.parquet"))
    part(page, "own-status").filter(has_text="bad.parquet is no Parquet table").wait_for()
    assert part(page, "count").inner_text().endswith("clips shown")  # the map before stays


def test_the_keyboard_moves_the_map(visit_map: Callable[..., Any]) -> None:
    page = visit_map()
    field(page).focus()
    seen = "() => document.querySelector('#explore [data-part=points]').toDataURL()"
    for key in ("ArrowLeft", "+", "-", "0"):
        before = page.evaluate(seen)
        page.keyboard.press(key)
        page.wait_for_function(f"(before) => ({seen})() !== before", arg=before)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_is_legible_and_fits_a_phone(
    visit_map: Callable[..., Any], own: tuple[Path, EmbeddingMap], scheme: str
) -> None:
    page = visit_map(own[0], width=390, height=844, color_scheme=scheme)
    for box in ("table-box", "save-box"):
        part(page, box).locator("summary").click()
    part(page, "speaker").select_option(index=1)
    page.get_by_role("button", name="Example").click()
    part(page, "near").locator("li").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    found = page.evaluate(FAINT_TEXTS)
    assert found["seen"] > 40 and found["faint"] == []


# What comes late, or not at all

# A browser that asks for the microphone, and is allowed it only when the test says so.
CALLS = "**/component_server/**"


def called(request: Any) -> str:
    """Which call about a map a request is, if it is one."""
    told = request.post_data_json if "component_server" in request.url else None
    return str(told["data"]["call"]) if told and told["fn_name"] == "explore" else ""


def test_a_microphone_allowed_too_late_is_let_go(visit_map: Callable[..., Any]) -> None:
    page = visit_map(permissions=["microphone"])
    page.evaluate(ASKING)
    page.get_by_role("button", name="Speak", exact=True).click()
    page.get_by_role("button", name="Stop", exact=True).first.click()
    page.evaluate("allow()")
    page.wait_for_function("tracks.length === 1 && tracks[0].readyState === 'ended'")
    assert part(page, "you").inner_text().startswith("Press Speak")


def test_who_stops_or_goes_is_forgotten_by_the_server(
    visit_map: Callable[..., Any], own: tuple[Path, EmbeddingMap], address: str
) -> None:
    page = visit_map(own[0], permissions=["microphone"])
    page.evaluate("""() => { window.last = [];
      const real = navigator.sendBeacon.bind(navigator);
      navigator.sendBeacon = (url, body) => {
        body.text().then((text) => last.push(text));
        return real(url, body); }; }""")

    def forgotten() -> None:
        page.wait_for_function("last.length")
        body = json.loads(page.evaluate("last.pop()"))
        assert body["data"]["call"] == "leave"
        body["data"] |= {"call": "voice", "samples": ""}  # a call that itself forgets nothing
        asked = urllib.request.Request(
            f"{address}gradio_api/component_server/",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        deadline = time.monotonic() + 20  # the page's own call is on its way
        while True:
            with urllib.request.urlopen(asked, timeout=20) as reply:
                if "no longer followed" in json.load(reply).get("refused", ""):
                    return
            assert time.monotonic() < deadline
            page.wait_for_timeout(50)

    held: list[Any] = []
    page.route(
        CALLS,
        lambda route: (
            held.append(route) if called(route.request) == "follow" else route.continue_()
        ),
    )
    page.get_by_role("button", name="Speak", exact=True).click()
    while not held:
        page.wait_for_timeout(50)
    page.get_by_role("button", name="Stop", exact=True).first.click()
    held[0].continue_()
    forgotten()
    page.unroute(CALLS)
    page.get_by_role("button", name="Speak", exact=True).click()
    part(page, "you").filter(has_text="the ring is your voice").wait_for()
    page.evaluate("dispatchEvent(new Event('pagehide'))")
    forgotten()


def test_an_answer_about_another_map_is_not_shown(
    visit_map: Callable[..., Any], own: tuple[Path, EmbeddingMap], corpus_root: Path
) -> None:
    page = visit_map(own[0])
    held: list[Any] = []
    page.route(
        CALLS,
        lambda route: (
            held.append(route) if called(route.request) in ("place", "play") else route.continue_()
        ),
    )
    clip = str(corpus_root.parent / own[1].table.text["clip"][9])
    page.set_input_files("[data-part=clip-file]", clip)
    while not held:
        page.wait_for_timeout(50)
    page.get_by_role("button", name="Example").click()
    part(page, "you").filter(has_text="example voice: ").wait_for()
    said = part(page, "you").inner_text()
    held.pop().continue_()
    page.wait_for_timeout(1000)
    assert part(page, "you").inner_text() == said  # the later wish counts
    part(page, "near").get_by_role("button").first.click()
    page.set_input_files("[data-part=clip-file]", clip)
    while len(held) < 2:
        page.wait_for_timeout(50)
    page.get_by_role("button", name="Back to the shipped map").click()
    part(page, "you").filter(has_text="Press Speak").wait_for()
    for one in held:
        one.continue_()
    page.wait_for_timeout(1000)
    assert part(page, "you").inner_text().startswith("Press Speak")
    assert not part(page, "near").is_visible() and not part(page, "clip").is_visible()
    assert page.evaluate("document.querySelector('#explore audio').paused")


def test_a_map_of_an_absent_model_is_not_asked_again_and_again(
    visit_map: Callable[..., Any], own: tuple[Path, EmbeddingMap], tmp_path: Path
) -> None:
    made = replace(own[1].table, about={"checkpoint": "other", "digest": "0" * 64})
    embedding_map.write(tmp_path / "other.parquet", replace(own[1], table=made))
    page = visit_map(tmp_path / "other.parquet")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(called(request)))
    page.get_by_role("tab", name="Live").click()
    page.get_by_role("button", name="Watch an example voice").click()
    page.locator(".sd-live[data-state=live]").wait_for()
    page.get_by_role("tab", name="Explore").click()
    part(page, "you").filter(has_text="made by other").wait_for()
    page.wait_for_timeout(2000)
    assert asked.count("follow") == 1
    assert "made by other" in part(page, "you").inner_text()


def test_a_lost_connection_does_not_end_what_is_awaited(
    visit_map: Callable[..., Any], own: tuple[Path, EmbeddingMap], tmp_path: Path
) -> None:
    bare = tmp_path / "bare.parquet"
    embedding_map.write(bare, embedding_map.pca_only(own[1].table))
    page = visit_map()
    lost: list[str] = []

    def lose(route: Any) -> None:
        name = called(route.request)
        if name != "progress" or lost.count(name) == 3:
            return route.continue_()
        lost.append(name)
        return route.abort()

    page.route(CALLS, lose)
    page.get_by_text("A map of your own clips").click()
    page.set_input_files("[data-part=table-file]", str(bare))
    page.wait_for_function(
        "() => !document.querySelector('#explore [data-part=layout] [value=umap2]').disabled"
        " && document.querySelector('#explore [data-part=count]').textContent.startsWith('24')",
        timeout=120_000,
    )
    assert len(lost) == 3 and part(page, "note").inner_text() == ""


def test_a_map_that_did_not_open_is_tried_again(browser: Any, address: str) -> None:
    context = browser.new_context()
    page = context.new_page()
    refused: list[str] = []

    def refuse(route: Any) -> None:
        if called(route.request) != "open" or refused:
            return route.continue_()
        refused.append("open")
        return route.fulfill(json={"refused": "It is not there."})

    page.route(CALLS, refuse)
    page.goto(address)
    page.get_by_role("tab", name="Explore").click()
    page.locator(".sd-map[data-state=refused]").wait_for()
    assert "It is not there." in part(page, "wait").inner_text()
    part(page, "wait").get_by_role("button", name="Try again").click()
    page.locator(".sd-map[data-state=open]").wait_for()
    context.close()


def test_clips_are_sent_without_https_too(
    visit_map: Callable[..., Any], own: tuple[Path, EmbeddingMap], corpus_root: Path
) -> None:
    page = visit_map(own[0])
    page.evaluate("delete Crypto.prototype.randomUUID")  # as browsers do there
    clip = str(corpus_root.parent / own[1].table.text["clip"][9])
    page.set_input_files("[data-part=clip-file]", clip)
    part(page, "you").filter(has_text="nearest clips are").wait_for()
    page.get_by_role("tab", name="Recognise").click()
    page.set_input_files("#recognise-drop input", clip)
    page.locator(".sd-detail:not(.sd-waiting) .sd-file", has_text=Path(clip).name).wait_for()


def test_very_many_speakers_and_strange_names_are_drawn_soon(
    visit_map: Callable[..., Any], own: tuple[Path, EmbeddingMap], tmp_path: Path
) -> None:
    count = 3000
    words = {name: ("",) * count for name in own[1].table.text}
    words["speaker"] = tuple(f"s{n}" for n in range(count))
    words["emotion"] = ("constructor", "sad", "toString") * (count // 3)
    rng = np.random.default_rng(0)
    table = replace(
        own[1].table,
        text=words,
        embedding=rng.standard_normal((count, 8)).astype(np.float32),
        probabilities=np.full((count, len(own[1].table.labels)), 0.25, np.float32),
    )
    places = {
        name: rng.random((count, len(axes)), np.float32) for name, axes in PROJECTIONS.items()
    }
    embedding_map.write(
        tmp_path / "many.parquet", EmbeddingMap(table, places, np.zeros(count, np.int32))
    )
    page = visit_map()
    page.get_by_text("A map of your own clips").click()
    page.set_input_files("[data-part=table-file]", str(tmp_path / "many.parquet"))
    part(page, "count").filter(has_text="3,000 of 3,000").wait_for()
    assert legend_counts(page) == ["1,000 of 1,000"] * 3
    page.evaluate("""() => { window.made = 0; const make = document.createElement.bind(document);
      document.createElement = (name) => { made += name === "canvas"; return make(name); }; }""")
    page.get_by_label("Colour by").select_option("speaker")
    part(page, "legend").get_by_text("and 2,800 more").wait_for()
    assert part(page, "legend").locator("input").count() == 200
    assert 0 < page.evaluate("made") <= 16 * 8 * 6  # colours, symbols, and each near, far or faint


def legend_counts(page: Any) -> list[str]:
    return [str(text) for text in part(page, "legend").locator(".sd-number").all_inner_texts()]


# By keyboard


def test_a_clip_that_plays_can_be_stopped(
    visit_map: Callable[..., Any], own: tuple[Path, EmbeddingMap]
) -> None:
    path, found = own
    page = visit_map(path)
    points = on_screen(page, found.positions["umap2"])
    x, y = points[lonely(points)].tolist()
    sound = "document.querySelector('#explore audio')"
    page.evaluate(f"{sound}.loop = true")

    def plays() -> None:
        page.wait_for_function(f"!{sound}.paused")

    press(page, x, y)
    plays()
    page.get_by_role("button", name="Stop playing").click()
    page.wait_for_function(f"{sound}.paused")
    page.get_by_role("button", name="Play again").click()
    plays()
    page.keyboard.press("Escape")
    page.wait_for_function(f"{sound}.paused")
    press(page, x, y)
    plays()
    press(page, 3, 3)  # beside all points
    page.wait_for_function(f"{sound}.paused")
    assert not part(page, "clip").is_visible()


def test_the_keyboard_keeps_its_place_and_knows_its_keys(visit_map: Callable[..., Any]) -> None:
    page = visit_map()
    assert not page.locator("#sd-map-hint").is_visible()
    page.get_by_label("Layout").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    assert "0 shows all" in page.locator("#sd-map-hint").inner_text()
    assert page.locator("#sd-map-hint").is_visible()
    assert "sd-map-hint" in field(page).get_attribute("aria-describedby")
    page.get_by_text("The same as a table").click()
    part(page, "rows").get_by_role("button").nth(3).focus()
    page.keyboard.press("Enter")
    part(page, "sound-status").filter(has_text="not on this computer").wait_for()
    chosen = part(page, "rows").locator("[aria-pressed=true]")
    assert chosen.evaluate("(node) => node === document.activeElement")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert part(page, "rows").locator("button:focus").count() == 1
