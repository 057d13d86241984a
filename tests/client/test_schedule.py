"""Observations are sent as late as answers allow, or every so many steps."""

from pushcut.client.schedule import REMEMBERED, Schedule

CHUNK = 6


def asked(schedule: Schedule, *, steps: int, answer_steps: int) -> list[int]:
    """Steps that asked, at 10 Hz; an answer is there so many steps after its question."""
    schedule.begin()
    questions: list[int] = []
    observed, ends = 0, 0
    for step in range(steps):
        if questions and step == questions[-1] + answer_steps:
            observed, ends = questions[-1], questions[-1] + CHUNK
            schedule.answered(answer_steps / 10 - 0.01, first=observed == 0)
        if must := schedule.must_ask(max(0, ends - step)):
            questions.append(step)
        schedule.step(asked=must)
    return questions


def test_a_question_goes_out_so_early_that_its_answer_comes_when_the_chunk_ends():
    # Chunks of 6 begin at their questions: a fast answer is asked for with 1 step left, every 5.
    assert asked(Schedule(10.0), steps=17, answer_steps=1) == [0, 5, 10, 15]
    # 0.19 s are 2 steps at 10 Hz: with 2 left, every 4.
    assert asked(Schedule(10.0), steps=17, answer_steps=2) == [0, 4, 8, 12, 16]


def test_receding_horizon_asks_every_so_many_steps():
    assert asked(Schedule(10.0, execute=2), steps=8, answer_steps=1) == [0, 2, 4, 6]


def test_no_second_question_while_the_first_is_not_answered():
    schedule = Schedule(10.0)
    schedule.step(asked=True)
    assert not schedule.must_ask(0)
    schedule.answered(0.05, first=True)
    assert schedule.must_ask(1)
    assert not schedule.must_ask(2)


def test_slow_answers_are_remembered_for_a_while_and_a_slow_first_one_only_until_the_second():
    schedule = Schedule(10.0)
    schedule.answered(2.0, first=True)
    assert schedule.early == 21
    schedule.answered(0.25, first=False)
    assert schedule.early == 3
    for _ in range(REMEMBERED - 1):
        schedule.answered(0.05, first=False)
    assert schedule.early == 3
    schedule.answered(0.05, first=False)
    assert schedule.early == 1
