"""Draws the README's picture: episodes of a quickstart before and after RL, as an animation.

From the root of the repository, with the folder of a finished quickstart::

    python -m scripts.picture runs/quickstart --out docs/assets/before-after

writes before-after-light.webp and before-after-dark.webp. It plays the episodes once more, greedily
and as they were evaluated. Of each task it takes the first held-out start that RL turned from a
failure into a success. Where there is none, the first that is solved after RL, else the first.
The same folder gives the same bytes on one machine.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFont
from scipy import ndimage
from scripts.themes import themes

from pushcut.commands.evaluate import manifest_of, open_pool
from pushcut.config import QuickstartConfig
from pushcut.evaluation.evaluator import Evaluator
from pushcut.evaluation.films import Film
from pushcut.evaluation.intervals import Rate
from pushcut.evaluation.results import EvalResult, LedgerLine, load_result
from pushcut.learning.checkpoint import latest
from pushcut.rollout.episode_runner import EpisodeRunner
from pushcut.runs.config_json import from_stored, stored_config

CELL = (300, 225)
"""Width and height of one film, pixels."""
TOP = 0.06
"""Part of a square film above that is cut off."""
OVERSAMPLING = 2
"""Films are drawn so many times larger: the simulator's cheap style does not smooth edges."""
THIN = 11
"""What is black and no wider belongs to a robot, not to the sky; pixels of a film."""
GAP, CORNER, MARGIN = 16, 14, 24
TITLE, LABEL = 38, 28
"""Sizes of the text: a README shows the picture at two thirds of its width, a phone at a third."""
FRAME_MS, HOLD_MS = 90, 2600
"""Of a control step, and of the last image."""
TASKS = 4
"""Most columns that stay legible."""
QUALITIES = (60, 50, 42, 35, 28)
"""Of the lossy compression; the first that keeps to the limit is taken."""
LIMIT = 750_000
"""Bytes of one file: light and dark together stay under 1.5 MB."""
FAILED, SOLVED = "#4d5769", "#17834b"


@dataclass(frozen=True)
class Clip:
    """How one episode went."""

    frames: list[np.ndarray]
    """RGB images, the first one before the first step."""
    success: bool


@dataclass(frozen=True)
class Column:
    """One task: the same start before and after RL."""

    instruction: str
    clips: tuple[Clip, Clip]
    rates: tuple[Rate, Rate]
    """Of all held-out starts of the task."""


@dataclass(frozen=True)
class Story:
    """What the picture tells."""

    columns: list[Column]
    rates: tuple[Rate, Rate]
    """Of all tasks."""


def told_by(run: Path) -> Story:
    """Reads the evaluations of a quickstart and films what the picture shows."""
    config = from_stored(QuickstartConfig, stored_config(run), run / "config.json")
    policies = run / "sft" / "policy", latest(run / "rl" / "checkpoints") / "policy"
    results = [load_result(run / "eval" / f"{x}-greedy.json")[0] for x in ("before", "after")]
    starts = chosen(*results)
    films = [filmed(config, policy, starts) for policy in policies]
    before, after = results
    columns = [
        Column(
            config.eval.env.spec.tasks[start.task],
            (clip_of(was), clip_of(now)),
            (before.per_task[start.task], after.per_task[start.task]),
        )
        for start, was, now in zip(starts, *films, strict=True)
    ]
    return Story(columns, (before.total, after.total))


def chosen(before: EvalResult, after: EvalResult) -> list[LedgerLine]:
    """Of each task the first start that RL turned into a success, or what comes nearest."""
    earlier = {line.episode: line.success for line in before.ledger}
    best: dict[str, LedgerLine] = {}

    def merit(line: LedgerLine) -> tuple[bool, bool]:
        return line.success, not earlier[line.episode]

    for line in after.ledger:
        if line.task not in best or merit(line) > merit(best[line.task]):
            best[line.task] = line
    return list(best.values())[:TASKS]


def filmed(config: QuickstartConfig, policy: Path, starts: Sequence[LedgerLine]) -> list[Film]:
    """Plays the starts with a policy; the films' videos are raw RGB bytes."""
    source = replace(config.train.policy, path=policy)
    played = replace(config.eval, policy=source, mode="greedy")
    with open_pool(played) as pool:
        batch = played.rollout.inference_batch
        runner = EpisodeRunner(pool, seed=played.seed, inference_batch=batch)
        return Evaluator(runner, manifest_of(played)).film(
            source.load(), "greedy", starts, lambda frames, fps: frames.tobytes(), size=film_size()
        )


def film_size() -> int:
    """Height and width of the films, pixels."""
    return OVERSAMPLING * CELL[0]


def clip_of(film: Film) -> Clip:
    """The images of a film without those that hold its end."""
    size = film_size()
    frames = np.frombuffer(film.video, np.uint8).reshape(-1, size, size, 3)
    return Clip(list(frames[: film.length + 1]), film.success)


def cell(frame: np.ndarray, sky: str) -> Image.Image:
    """A film's image in its place: what the simulator leaves black behind all gets a colour."""
    black = (frame == 0).all(axis=-1)
    # Without the thin black rings of a robot.
    inner = ndimage.minimum_filter(black, THIN)
    coloured = np.where(
        ndimage.maximum_filter(inner, THIN)[..., None],
        np.array(ImageColor.getrgb(sky), np.uint8),
        frame,
    )
    height, width, _ = coloured.shape
    top = round(TOP * height)
    cut = coloured[top : top + round(width * CELL[1] / CELL[0])]
    return Image.fromarray(cut).resize(CELL, Image.Resampling.LANCZOS)


def drawn(story: Story, colours: dict[str, str]) -> list[Image.Image]:
    """The images of the animation; a film that is over stays and says how it ended."""
    page, places = laid_out(story, colours)
    corners = Image.new("L", CELL, 0)
    ImageDraw.Draw(corners).rounded_rectangle((0, 0, CELL[0] - 1, CELL[1] - 1), CORNER, 255)
    clips = [clip for column in story.columns for clip in column.clips]
    images: list[Image.Image] = []
    for step in range(max(len(clip.frames) for clip in clips)):
        image = (images[-1] if images else page).copy()
        for clip, place in zip(clips, places, strict=True):
            if step >= len(clip.frames):
                continue
            shown = cell(clip.frames[step], colours["pale"])
            if step == len(clip.frames) - 1:
                say_ending(shown, clip.success)
            image.paste(shown, place, corners)
        images.append(image)
    return images


def laid_out(story: Story, colours: dict[str, str]) -> tuple[Image.Image, list[tuple[int, int]]]:
    """The page with all that does not move, and the places of before and after per column."""
    texts = [wrapped(column.instruction) for column in story.columns]
    line, title = round(1.25 * LABEL), round(1.5 * TITLE)
    top = MARGIN + (max(map(len, texts)) + 1) * line + GAP // 2
    rows = [top + title, top + title + CELL[1] + GAP // 2 + title]
    size = (len(texts) * (CELL[0] + GAP) - GAP + 2 * MARGIN, rows[1] + CELL[1] + MARGIN)
    # Opaque: an animation lays its images over each other, and soft edges would become hard.
    page = Image.new("RGB", size, colours["card"])
    draw = ImageDraw.Draw(page)
    ink, muted = colours["ink"], colours["muted"]
    for y, name, rate in zip(rows, ("Before RL", "After RL"), story.rates, strict=True):
        base = y - title + TITLE + 2
        end = written(draw, MARGIN, base, name, TITLE, ink)
        told = f"solves {percent(rate)} of {rate.episodes} new starts"
        written(draw, end + GAP, base, told, LABEL, muted)
    places = []
    for number, (column, lines) in enumerate(zip(story.columns, texts, strict=True)):
        x = MARGIN + number * (CELL[0] + GAP)
        for row, text in enumerate(lines):
            written(draw, x, MARGIN + LABEL + row * line, text, LABEL, ink)
        gain(draw, x, MARGIN + LABEL + len(lines) * line, column.rates, muted)
        places += [(x, y) for y in rows]
    return page, places


def gain(
    draw: ImageDraw.ImageDraw, x: float, base: int, rates: tuple[Rate, Rate], colour: str
) -> None:
    """Success before and after, with an arrow between them."""
    x = written(draw, x, base, percent(rates[0]), LABEL, colour) + 10
    y, end = base - 9, x + 30
    draw.line([(x, y), (end, y)], colour, 3)
    draw.line([(end - 9, y - 8), (end, y), (end - 9, y + 8)], colour, 3, joint="curve")
    written(draw, end + 10, base, percent(rates[1]), LABEL, colour)


def percent(rate: Rate) -> str:
    """A rate as it is written."""
    return f"{100 * rate.value:.0f} %"


def say_ending(image: Image.Image, success: bool) -> None:
    """Draws onto a film's last image how it ended, in a word, a sign and a colour."""
    draw = ImageDraw.Draw(image)
    word, colour = ("solved", SOLVED) if success else ("failed", FAILED)
    if success:
        draw.rounded_rectangle((0, 0, CELL[0] - 1, CELL[1] - 1), CORNER, None, colour, 5)
    left, bottom, height = 14, CELL[1] - 14, 42
    width = 58 + font(LABEL).getlength(word)
    draw.rounded_rectangle((left, bottom - height, left + width, bottom), height / 2, colour)
    x, y = left + 26, bottom - height / 2
    if success:
        draw.line([(x - 9, y), (x - 3, y + 7), (x + 9, y - 8)], "white", 4, joint="curve")
    else:
        draw.line([(x - 8, y - 8), (x + 8, y + 8)], "white", 4)
        draw.line([(x - 8, y + 8), (x + 8, y - 8)], "white", 4)
    written(draw, x + 16, bottom - 12, word, LABEL, "white")


def wrapped(text: str) -> list[str]:
    """The lines of an instruction in a column."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font(LABEL).getlength(longer) > CELL[0] and lines[-1]:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def written(
    draw: ImageDraw.ImageDraw, x: float, base: float, text: str, size: int, colour: str
) -> float:
    """Writes one line onto its base line; returns where it ends."""
    draw.text((x, base), text, colour, font(size), anchor="ls")
    return x + font(size).getlength(text)


def font(size: int) -> ImageFont.FreeTypeFont:
    """The font that Pillow brings along, the same on every machine."""
    found = ImageFont.load_default(size)
    assert isinstance(found, ImageFont.FreeTypeFont), "this Pillow was built without FreeType"
    return found


def save(path: Path, images: Sequence[Image.Image]) -> None:
    """Writes an animation that begins again and again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for quality in QUALITIES:
        images[0].save(
            path,
            save_all=True,
            append_images=images[1:],
            duration=[FRAME_MS] * (len(images) - 1) + [HOLD_MS],
            loop=0,
            quality=quality,
            method=4,
            minimize_size=True,
        )
        if path.stat().st_size <= LIMIT:
            return
    raise SystemExit(f"{path} has {path.stat().st_size:,} bytes, more than {LIMIT:,}")


def main() -> None:
    """Writes the picture in light and in dark."""
    parser = argparse.ArgumentParser(description="draws the README's picture")
    parser.add_argument("run", type=Path, help="folder of a finished quickstart")
    parser.add_argument("--out", type=Path, default=Path("docs/assets/before-after"))
    options = parser.parse_args()
    story = told_by(options.run)
    for name, colours in themes().items():
        path = options.out.with_name(f"{options.out.name}-{name}.webp")
        save(path, drawn(story, colours))
        print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
