"""Tables in the papers' layout, number by number."""

import pytest

from pushcut.evaluation.results import EvalResult, LedgerLine, load_result
from pushcut.evaluation.tables import Row, Table

SUITES = {"Spatial": ("s0", "s1"), "Object": ("o0",), "Goal": ("g0",), "Long": ("l0",)}


def result(repeats: int = 1, **solved: tuple[int, int]) -> EvalResult:
    """Task -> (solved, played) of each repeat."""
    lines = [
        LedgerLine(task, seed, seed < successes, 5, 5, repeat)
        for repeat in range(repeats)
        for task, (successes, episodes) in solved.items()
        for seed in range(episodes)
    ]
    return EvalResult("greedy", tuple(lines), 1.0, SUITES)


WHOLE = result(s0=(4, 10), s1=(6, 10), o0=(9, 10), g0=(5, 10), l0=(1, 10))


def rows_of(text: str) -> list[list[str]]:
    """The cells of a Markdown table."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_the_columns_are_those_of_the_papers():
    header, rule, row = rows_of(Table([Row("SFT", WHOLE)]).markdown())
    assert header == ["success in %", "Spatial", "Object", "Goal", "Long", "Avg"]
    assert set(rule) == {"---"}
    # Wilson of 10/20: 29.9 % to 70.1 %; of 9/10: 59.6 % to 98.2 %
    assert row[:3] == ["SFT", "50.0 [29.9, 70.1] (10/20)", "90.0 [59.6, 98.2] (9/10)"]
    # Avg: (50 + 90 + 50 + 10) / 4 = 50, not 25 of 50 episodes pooled only by chance
    assert row[5].startswith("50.0 [")
    assert row[5].endswith("(25/50)")


def test_the_average_counts_each_column_once_and_adds_their_intervals_as_squares():
    two = result(s0=(5, 10), s1=(5, 10), o0=(9, 10))
    cells = Table([Row("SFT", two)]).cells(Row("SFT", two))
    # (10/20 + 9/10) / 2 = 0.7, though 19 of 30 episodes are 63.3 %
    assert cells["Avg"]["success"] == pytest.approx(0.7)
    # below: √((0.5 - 0.299298)² + (0.9 - 0.595850)²) / 2 = 0.182200
    # above: √((0.700702 - 0.5)² + (0.982124 - 0.9)²) / 2 = 0.108426
    assert cells["Avg"]["interval"] == pytest.approx([0.5178, 0.808426], abs=1e-4)


def test_a_column_that_was_not_played_leaves_the_average_open():
    table = Table([Row("SFT", WHOLE), Row("GRPO", result(o0=(10, 10)))])
    grpo = rows_of(table.markdown())[3]
    assert grpo[:2] == ["GRPO", "–"]
    assert grpo[2] == "100.0 [72.2, 100.0] (10/10)"
    assert grpo[3:] == ["–", "–", "–"]


def test_a_column_of_which_not_all_tasks_were_played_says_so():
    (row,) = rows_of(Table([Row("SFT", result(s0=(4, 10)))]).markdown())[2:]
    assert row == ["SFT", "40.0 [16.8, 68.7] (4/10, 1 of 2 tasks)"]


def test_tasks_that_no_paper_has_a_column_for_are_other():
    other = EvalResult("greedy", WHOLE.ledger, 1.0)
    header, _, row = rows_of(Table([Row("SFT", other)]).markdown())
    assert header == ["success in %", "Other"]
    assert row[1].endswith("(25/50)")


def test_a_second_method_is_compared_on_the_same_episodes():
    better = result(s0=(8, 10), s1=(9, 10), o0=(9, 10), g0=(5, 10), l0=(1, 10))
    table = Table([Row("SFT", WHOLE), Row("GRPO", better)])
    difference = rows_of(table.markdown())[4]
    assert difference[0] == "GRPO − SFT"
    # Spatial: 17 against 10 of 20, 7 gained, none lost
    assert difference[1].startswith("+35.0 [")
    assert difference[2].startswith("+0.0 [-")
    # (35 + 0 + 0 + 0) / 4
    assert difference[5].startswith("+8.8 [")
    (content,) = table.to_json()["differences"]
    # McNemar: 7 of 7: 2 / 2⁷
    assert content["all"]["p_value"] == pytest.approx(0.015625)
    assert content["all"]["gained"] == content["cells"]["Spatial"]["gained"] == 7
    assert "7 initial states gained, 0 lost, McNemar's exact test p = 0.016" in table.markdown()


def test_other_episodes_are_shown_but_not_compared():
    table = Table([Row("SFT", WHOLE), Row("GRPO", result(s0=(8, 20), s1=(9, 20)))])
    assert len(rows_of(table.markdown())) == 4
    assert table.to_json()["differences"] == []


def test_a_result_from_before_there_were_columns_is_compared_in_those_of_the_other():
    old = EvalResult("greedy", WHOLE.ledger, 1.0)
    for table in (
        Table([Row("old", old), Row("new", WHOLE)]),
        Table([Row("new", WHOLE), Row("old", old)]),
    ):
        assert table.columns == ["Spatial", "Object", "Goal", "Long"]
        (difference,) = table.to_json()["differences"]
        assert set(difference["cells"]) == {*table.columns, "Avg"}


def test_tasks_without_a_column_make_one_column_after_saving_too(tmp_path):
    result = EvalResult("greedy", WHOLE.ledger, 1.0, {"Spatial": ("s0", "s1")})
    result.save(tmp_path / "it.json")
    assert Table([Row("SFT", load_result(tmp_path / "it.json")[0])]).columns == ["Spatial", "Other"]
    # As earlier versions wrote it.
    other = EvalResult("greedy", WHOLE.ledger, 1.0, {"Other": ()})
    assert Table([Row("SFT", other)]).columns == ["Other"]


def test_rows_of_other_environments_say_in_what_they_differ():
    short, long = ({task: {"max_steps": steps} for task in ("s0", "s1")} for steps in (240, 512))
    same = Table([Row("SFT", WHOLE, env=short), Row("GRPO", WHOLE, env=short), Row("?", WHOLE)])
    assert "differ:" not in same.markdown()
    text = Table([Row("SFT", WHOLE, env=short), Row("GRPO", WHOLE, env=long)]).markdown()
    assert "- The environments of GRPO and SFT differ: max_steps (512, 240)." in text


def test_repeats_carry_their_standard_deviation():
    lines = [
        LedgerLine("o0", seed, seed < solved, 5, 5, repeat)
        for repeat, solved in enumerate((8, 9, 10))
        for seed in range(10)
    ]
    table = Table([Row("SFT", EvalResult("sampled", tuple(lines), 1.0, SUITES))])
    # 0.8, 0.9, 1.0: mean 0.9, standard deviation 0.1
    cell = rows_of(table.markdown())[2][1]
    assert cell.startswith("90.0 ± 10.0 [")
    assert cell.endswith("] (27/30)")
    assert "SFT: sampled, 3 repeats" in table.markdown()


def test_the_papers_overlap_is_labelled():
    table = Table([Row("SFT", WHOLE), Row("GRPO", WHOLE, overlap=True)])
    text = table.markdown()
    assert [row[0] for row in rows_of(text)[2:]] == ["SFT", "GRPO*", "GRPO − SFT"]
    assert r"\* GRPO: trained on the evaluation's initial states." in text
    assert [row["trained_on_evaluation_states"] for row in table.to_json()["rows"]] == [False, True]


def test_a_bar_in_a_name_does_not_break_the_table():
    assert r"| a \| b |" in Table([Row("a | b", WHOLE)]).markdown()
