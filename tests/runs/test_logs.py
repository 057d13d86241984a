"""log.txt holds what was said, what was warned of, and how it ended."""

import logging

import pytest

from pushcut.errors import UserError
from pushcut.runs.logs import log_to
from pushcut.system.progress import say


def test_what_is_said_and_warned_of_is_printed_and_logged_with_the_time(tmp_path, capsys):
    path = tmp_path / "log.txt"
    say("before")
    with log_to(path):
        say("\n=== 100 % done [bold]")
        say("")
        logging.getLogger("pushcut.pool").warning("worker %d replaced", 1)
    say("after")
    printed = capsys.readouterr()
    assert printed.out == "before\n\n=== 100 % done [bold]\n\nafter\n"
    assert printed.err == "worker 1 replaced\n"
    command, *lines = path.read_text().splitlines()
    assert " INFO command: " in command
    assert [line.split(" ", 2)[2] for line in lines] == [
        "INFO === 100 % done [bold]",
        "WARNING worker 1 replaced",
        "INFO done",
    ]


def test_what_a_user_can_mend_is_one_line_and_anything_else_has_a_traceback(tmp_path, capsys):
    expected, other = tmp_path / "a.txt", tmp_path / "b.txt"
    with pytest.raises(UserError), log_to(expected):
        raise UserError("the port is in use")
    with pytest.raises(ZeroDivisionError), log_to(other):
        print(1 / 0)
    assert expected.read_text().endswith("ERROR ended by UserError: the port is in use\n")
    assert "Traceback (most recent call last)" in other.read_text()
    assert capsys.readouterr().err == ""


def test_a_log_goes_on_where_it_ended_and_logs_may_be_inside_each_other(tmp_path):
    outer, inner = tmp_path / "outer.txt", tmp_path / "inner.txt"
    with log_to(outer):
        with log_to(inner):
            say("one")
        say("two")
    with log_to(inner):
        say("three")

    def said(path):
        lines = [line.split(" ", 3)[3] for line in path.read_text().splitlines()]
        return [line for line in lines if not line.startswith(("command", "done"))]

    assert said(outer) == ["one", "two"]
    assert said(inner) == ["one", "three"]
