"""What is shown while something takes long, with and without a terminal."""

import pytest

from pushcut.system import progress
from pushcut.system.progress import bar, count


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_without_a_terminal_there_is_a_line_every_half_minute(clock, capsys):
    for minute, done in enumerate((0, 10, 20, 30, 40)):
        clock[0] = 20.0 * minute
        count("writing weights, MB", done, 50)
    clock[0] = 100.0
    count("writing weights, MB", 50, 50)
    assert capsys.readouterr().out.splitlines() == [
        "writing weights, MB: 20/50 (60 s left)",
        "writing weights, MB: 40/50 (20 s left)",
    ]


def test_what_is_over_soon_is_not_shown_and_begins_anew(clock, capsys):
    for start in (0.0, 100.0):
        for done in range(4):
            clock[0] = start + done
            count("episodes played", done, 3)
    assert capsys.readouterr().out == ""


def test_with_a_terminal_it_is_a_bar_below_the_open_one(clock, monkeypatch):
    monkeypatch.setattr(progress.console, "_force_terminal", True)
    with bar("training", 3) as training:
        count("episodes played", 1, 4)
        rich = training._rich
        assert [task.description for task in rich.tasks] == ["training"]
        clock[0] = 3.0
        count("episodes played", 2, 4)
        assert [task.description for task in rich.tasks] == ["training", "  episodes played"]
        assert (rich.tasks[1].completed, rich.tasks[1].total) == (2, 4)
        with bar("evaluating", 2) as inner:
            inner.advance()
            assert len(rich.tasks) == 3
        count("episodes played", 4, 4)
        assert [task.description for task in rich.tasks] == ["training"]
    with bar("again", 1):
        pass
