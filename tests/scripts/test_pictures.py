"""The README's picture and plot, from the folder of a small quickstart."""

import json
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence
from scripts.themes import themes

from pushcut.commands.quickstart import run_quickstart
from pushcut.evaluation.intervals import Rate
from pushcut.evaluation.results import EvalResult, LedgerLine
from scripts import picture, results_plot
from tests.commands.recipes import small


def played(*successes: bool) -> EvalResult:
    lines = tuple(LedgerLine("a", seed, x, 9, 9) for seed, x in enumerate(successes))
    return EvalResult("greedy", lines, 1.0)


def start(before: list[bool], after: list[bool]) -> int:
    (line,) = picture.chosen(played(*before), played(*after))
    return line.init_seed


def test_the_first_start_that_rl_solved_is_shown():
    assert start([False, True, False, False], [False, True, True, True]) == 2
    assert start([True, True, False], [False, True, False]) == 1  # none: one that is solved
    assert start([False, True], [False, False]) == 0


def test_the_colours_are_those_of_the_report():
    light, dark = themes()["light"], themes()["dark"]
    assert (light["ink"], light["after"]) == ("#1c2230", "#1668d6")
    assert (dark["ink"], dark["after"]) == ("#e6eaf1", "#5c9dff")


def test_the_sky_gets_a_colour_and_a_robots_black_ring_keeps_its_own():
    frame = np.zeros((600, 600, 3), np.uint8)
    frame[300:] = 200
    frame[300:, 296:304] = 0
    shown = np.asarray(picture.cell(frame, "#e3e7ee"))
    assert shown[10, 10].tolist() == [0xE3, 0xE7, 0xEE]
    assert shown[200, 10].tolist() == [200, 200, 200]
    assert shown[200, 150].max() < 10


def test_a_film_that_is_over_waits_and_says_how_it_ended():
    def clip(steps: int, success: bool) -> picture.Clip:
        return picture.Clip([np.full((600, 600, 3), 120, np.uint8)] * steps, success)

    rates = Rate(1, 4), Rate(3, 4)
    column = picture.Column("open the lid", (clip(4, False), clip(2, True)), rates)
    images = picture.drawn(picture.Story([column], rates), themes()["light"])
    assert len(images) == 4
    width, height = images[0].size
    assert width == 300 + 2 * 24
    border = [image.getpixel((174, height - 26)) for image in images]
    solved = (0x17, 0x83, 0x4B)
    assert border == [(120, 120, 120), solved, solved, solved]
    assert images[0].getpixel((24, height - 25)) == (255, 255, 255)  # round corners


def write_seed(run: Path, seed: int, before: int, after: int) -> Path:
    for stage, count in (("before", before), ("after", after)):
        played(*(x < count for x in range(20))).save(run / "eval" / f"{stage}-greedy.json")
    (run / "rl").mkdir()
    rows = [{"iteration": x, "success_rate_sampled": 0.1 * x} for x in range(5)]
    (run / "rl" / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (run / "config.json").write_text(json.dumps({"config": {"seed": seed}}))
    return run


def test_the_plot_shows_each_seed_and_their_mean_and_is_always_the_same(tmp_path, monkeypatch):
    runs = [write_seed(tmp_path / "b", 7, 4, 12), write_seed(tmp_path / "a", 3, 8, 20)]
    for out in ("one", "two"):
        command = ["results_plot", *map(str, runs), "--out", str(tmp_path / out)]
        monkeypatch.setattr(sys, "argv", command)
        results_plot.main()
    for name in ("light", "dark"):
        svg = (tmp_path / f"one-{name}.svg").read_text()
        assert svg == (tmp_path / f"two-{name}.svg").read_text()
        assert len(svg) < 100_000
        texts = [x.text for x in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]
        assert texts.index("seed 3") < texts.index("seed 7")
        # before (4 + 8) / 40, after (12 + 20) / 40
        assert {"30 %", "80 %", "before RL", "after RL"} <= set(texts)
        assert themes()[name]["after"] in svg


@pytest.mark.heavy
def test_one_command_draws_a_quickstart_in_light_and_in_dark(smoke, tmp_path, monkeypatch):
    config = small(smoke, tmp_path / "run")
    run_quickstart(config)
    out = tmp_path / "assets" / "it"
    monkeypatch.setattr(sys, "argv", ["picture", str(config.out), "--out", str(out)])
    picture.main()
    for name in ("light", "dark"):
        with Image.open(f"{out}-{name}.webp") as image:
            assert image.size[0] == 2 * 300 + 16 + 2 * 24  # two tasks
            assert image.get_format_mimetype() == "image/webp"
            assert len(list(ImageSequence.Iterator(image))) > 1
            assert image.info["loop"] == 0
