"""Files of events: what is read is what was written."""

import numpy as np
import pytest

from pushcut.demos.event_files import read_events, write_events
from pushcut.errors import UserError
from tests.envs.events import events_of

LIFTED = events_of(height=[0.0, 0.1, 0.2], touch=[np.nan, 5.0, 6.0], fingers=[0, 2, 2])
STILL = events_of(height=[0.0] * 4).stirred()


def test_what_is_read_is_what_was_written(tmp_path):
    file = tmp_path / "greedy.events.parquet"
    told = {("lift", 7, 0): LIFTED, ("lift", 7, 1): STILL}
    assert write_events(file, told, control_hz=20.0) == 2
    found, hz = read_events(file)
    assert hz == 20 and list(found) == list(told)
    assert all(found[key].same_as(told[key]) for key in told)
    # Nothing moved and nothing was touched: no object is kept.
    assert found["lift", 7, 1].objects == ()
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_a_file_has_a_bound(tmp_path):
    file = tmp_path / "events.parquet"
    told = {("lift", seed, 0): LIFTED for seed in range(50)}
    written = write_events(file, told, control_hz=20.0, most_mb=0.05)
    assert 0 < written < 50
    assert list(read_events(file)[0]) == list(told)[:written]


def test_a_missing_or_foreign_file_is_told_in_one_line(tmp_path):
    with pytest.raises(UserError, match="evaluate with --events"):
        read_events(tmp_path / "greedy.events.parquet")
    (tmp_path / "other.parquet").write_text("no parquet")
    with pytest.raises(UserError, match=r"other.parquet is corrupted, truncated or not"):
        read_events(tmp_path / "other.parquet")
