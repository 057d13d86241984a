"""The pages in a real browser: errors, videos, phone width, keyboard, dark and light.

Skipped where there is neither Chromium nor Chrome; $PUSHCUT_BROWSER names another program.
"""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pushcut.commands.serve import bound
from pushcut.commands.watch import watching
from pushcut.reporting.comparison import Comparison, Configuration, NamedRun, comparison_page
from pushcut.reporting.efficiency import Efficiency
from pushcut.reporting.facts import Changes
from pushcut.reporting.page import write_page
from pushcut.reporting.report import Report, report_page
from pushcut.reporting.scenes import Clip, Scene, SideBySide
from pushcut.reporting.video import write_mp4
from tests.commands.runs import run
from tests.reporting.browser import Tab, a_tab
from tests.reporting.pages import evaluation

pytestmark = pytest.mark.heavy

PHONE, DESK = 390, 1280
H264 = 'video/mp4; codecs="avc1.64001f"'
TASKS = {"button_press_topdown_from_behind_the_wall": 20, "door_close": 45}

OPEN_ALL = "document.querySelectorAll('details').forEach((x) => { x.open = true; })"
BEYOND_THE_EDGE = """
(() => {
  const scrolls = (x) => x && (x.matches(".scroll, .wide, svg") || scrolls(x.parentElement));
  const page = document.documentElement;
  const beyond = (x) => x.getBoundingClientRect().right > page.clientWidth + 0.5;
  const wide = [...document.body.querySelectorAll("*")].filter(
    (x) => beyond(x) && !scrolls(x.parentElement));
  return [page.scrollWidth - page.clientWidth, wide.map((x) => x.outerHTML.slice(0, 120))];
})()
"""
FRAMES = """
Promise.all([...document.querySelectorAll("video")].map(async (video) => {
  await video.play();
  for (let tries = 0; tries < 200 && video.currentTime === 0; tries++)
    await new Promise((done) => setTimeout(done, 50));
  return [video.readyState >= 2, video.currentTime > 0, video.videoWidth];
}))
"""
PLACES = 'summary, video[controls], a[href], button, [tabindex="0"]'
SHOWN = """
((places) => [...document.querySelectorAll(places)].flatMap(
  (x, number) => x.getClientRects().length ? [number] : []))
"""
FOCUSED = """
((places) => {
  const x = document.activeElement, style = getComputedStyle(x);
  const seen = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
  return x === document.body ? null : [[...document.querySelectorAll(places)].indexOf(x), seen];
})
"""
FAINT = """
(() => {
  const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => {
    const [r, g, b] = parts(colour).map((x) => (x /= 255) <= 0.04045
      ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (x) => {
    const colour = getComputedStyle(x).backgroundColor;
    return (parts(colour)[3] ?? 1) === 0 ? behind(x.parentElement) : colour;
  };
  const faint = {};
  for (const x of document.body.querySelectorAll("*")) {
    const text = [...x.childNodes].some((y) => y.nodeType === 3 && y.data.trim());
    if (!text || !x.getClientRects().length) continue;
    const style = getComputedStyle(x), drawn = x.closest("svg") ? style.fill : style.color;
    const [a, b] = [light(drawn), light(behind(x))].sort((p, q) => q - p);
    const large = parseFloat(style.fontSize) >= 18.66 && style.fontWeight >= 700;
    const contrast = (a + 0.05) / (b + 0.05);
    if (contrast < (large ? 3 : 4.5)) faint[`${drawn} on ${behind(x)}`] = contrast;
  }
  return faint;
})()
"""


def full_report(folder: Path) -> Report:
    """A page with one of everything."""
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 255, (10, 48, 64, 3), dtype=np.uint8)
    clips = {
        stage: Clip(write_mp4(folder / f"{stage}.mp4", frames, fps=5), success, 40)
        for stage, success in (("before", False), ("after", True))
    }
    strip = folder / "strip.png"
    from PIL import Image

    Image.fromarray(np.concatenate(frames, 1)).save(strip)
    ends = [("expert", clips["after"]), ("SFT", clips["before"]), ("RL", clips["after"])]
    names = [name.replace("_", "-") for name in TASKS]
    phases = {"seconds_rollout": 30.0, "seconds_update": 20.0}
    return Report(
        title="pushcut run with-a-name-that-is-long-and-has-nowhere-to-break-the-line",
        metrics=[
            {
                "iteration": i,
                "success_rate_sampled": i / 10,
                "loss": 0.1,
                **phases,
                **{f"success_rate_sampled/{name}": i / 10 for name in names},
            }
            for i in range(5)
        ],
        sft_metrics=[{"step": 50 * i, "loss": 2.0 / (i + 1)} for i in range(4)],
        efficiency=Efficiency(),
        evaluations={
            f"{stage}-{mode}": evaluation(mode, **{name: x + gain for name, x in TASKS.items()})
            for stage, gain in (("before", -10), ("after", 5))
            for mode in ("greedy", "sampled")
        },
        films=[SideBySide(names[0], "press it", "start 3", ends, clips["after"].path, strip, 0.2)],
        videos=[Scene(names[0], "press the button", "start 3", clips)],
        facts={"seconds: sft": "100", "seconds: rl": "400", "command": "pushcut train " + "x" * 90},
        settings=[(f"a.setting.of.some.depth.number.{i}", "/a/path" * 9) for i in range(3)],
        beyond_preset=Changes("quickstart", [("learner.lr", "0.0001", "0.5" + "5" * 60)]),
        text="| demonstrations | few |\n" + "x" * 200,
    )


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Name -> address of a page."""
    folder = tmp_path_factory.mktemp("pages")
    report = full_report(folder)
    runs = [NamedRun(name, report) for name in ("a", "b")]
    seeds = [Configuration("A", runs), Configuration("B", [NamedRun("other-run", report)])]
    rows: list[Any] = [("learner.lr", ["0.0001", "0.0003"])]
    pages = {
        "one run": report_page(report),
        "several runs": comparison_page(Comparison(seeds, rows, rows)),
    }
    return {
        name: write_page(folder / f"{name.replace(' ', '-')}.html", page).as_uri()
        for name, page in pages.items()
    }


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    """One browser for all tests."""
    pytest.importorskip("websockets")
    with a_tab(tmp_path_factory.mktemp("browser")) as found:
        yield found


EACH_PAGE = pytest.mark.parametrize("name", ["one run", "several runs"])
EACH_SCHEME = pytest.mark.parametrize("scheme", ["light", "dark"])


@EACH_PAGE
@pytest.mark.parametrize("width", [PHONE, DESK])
def test_nothing_is_wider_than_the_window_and_the_console_is_silent(tab, pages, name, width):
    tab.open(pages[name], width=width)
    tab.run(OPEN_ALL)
    assert tab.run(BEYOND_THE_EDGE) == [0, []]
    assert tab.errors == []


def test_every_video_plays(tab, pages):
    tab.open(pages["one run"], width=DESK)
    if not tab.run(
        "document.createElement('video').canPlayType('video/mp4; codecs=\"avc1.64001f\"')"
    ):
        pytest.skip("this browser was built without H.264")
    assert tab.run(FRAMES) == [[True, True, 64]] * 3
    assert tab.errors == []


@EACH_PAGE
def test_the_keyboard_reaches_everything_and_shows_where_it_is(tab, pages, name):
    tab.open(pages[name], width=PHONE)
    tab.run(OPEN_ALL)
    there = tab.run(f"{SHOWN}('{PLACES}')")
    outlined: dict[int, bool] = {}
    for _ in range(20 * len(there)):  # a video has buttons of its own
        tab.press_tab()
        found = tab.run(f"{FOCUSED}('{PLACES}')")
        if found is None:  # past the last one
            break
        number, seen = found
        outlined[number] = outlined.get(number, False) or seen
    assert len(there) > 3
    assert outlined == dict.fromkeys(there, True)


@EACH_PAGE
@EACH_SCHEME
def test_text_stands_out_from_what_is_behind_it(tab, pages, name, scheme):
    """Contrasts of WCAG 2.1, level AA."""
    tab.open(pages[name], width=DESK, scheme=scheme)
    tab.run(OPEN_ALL)
    assert tab.run(FAINT) == {}
    dark = tab.run("getComputedStyle(document.body).backgroundColor") == "rgb(18, 22, 29)"
    assert dark == (scheme == "dark")


@EACH_PAGE
def test_a_screen_reader_has_words_for_everything_that_is_seen(tab, pages, name):
    tab.open(pages[name], width=DESK)
    tab.run(OPEN_ALL)
    seen: dict[str, list[str]] = {}
    for node in tab.call("Accessibility.getFullAXTree")["nodes"]:
        if not node["ignored"]:
            seen.setdefault(node["role"]["value"], []).append(node.get("name", {}).get("value"))
    pictures = [seen.get(role, []) for role in ("image", "Video", "region", "SvgRoot")]
    assert any(pictures)
    assert all(words for found in pictures for words in found)


def test_the_page_of_watch_keeps_to_what_its_server_allows(tab, tmp_path):
    folder = run(tmp_path / "rl", {"success_rate_sampled": 0.5}, algorithm={"type": "GRPO"})
    with bound("127.0.0.1", 0) as listening, watching([folder], listening) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        tab.open(f"http://127.0.0.1:{listening.getsockname()[1]}/", width=PHONE)
        assert tab.run("document.querySelector('h1').textContent") == "pushcut run rl"
        assert tab.run("getComputedStyle(document.querySelector('.card')).borderRadius") == "10px"
        assert tab.errors == []
        server.shutdown()
        thread.join()
