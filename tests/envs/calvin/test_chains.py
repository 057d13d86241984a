"""The benchmark's conditions, rules, chains and start states."""

from dataclasses import replace

import numpy as np
import pytest

from pushcut.envs.calvin.chains import chain_of, draw_by_trial, is_chain, possible_chains
from pushcut.envs.calvin.scenes import BUTTON_Y, SCENES, SURFACE_Z
from pushcut.envs.calvin.starts import CHAIN, conditions_for, letter_of, seed_of, start_of
from pushcut.envs.calvin.tasks import CONDITIONS, TASKS, Condition

FIRST = Condition(1, 1, "left", "open", "slider_left", "table", "slider_right")


def test_there_are_192_conditions_in_the_benchmarks_order():
    # 2 lights x 2 x 2 sides x 2 of the drawer = 16. Blocks: two on the table and one on the shelf,
    # 3 x 2 = 6; one on the table and the others on both halves, 3 x 2 = 6.
    assert len(CONDITIONS) == 16 * (6 + 6) == 192
    assert CONDITIONS[0].values == (
        0, 0, "right", "closed", "table", "table", "slider_right", 0,
    )  # fmt: skip
    assert CONDITIONS[-1].values[:4] == (1, 1, "left", "open")


def test_the_first_chain_is_the_benchmarks():
    assert chain_of(0) == (
        FIRST,
        (
            "rotate_blue_block_right", "move_slider_right", "lift_red_block_slider",
            "place_in_slider", "turn_off_lightbulb",
        ),
    )  # fmt: skip


def test_every_official_chain_keeps_the_rule_and_conditions_take_turns():
    chains = [chain_of(seed) for seed in range(1000)]
    assert all(is_chain(condition, names) for condition, names in chains)
    counts = [sum(condition == one for condition, _ in chains) for one in CONDITIONS]
    # 1,000 = 192 x 5 + 40.
    assert counts == [6] * 40 + [5] * 152


def test_the_official_rule_draws_the_chains_again():
    names = list(TASKS)
    drawn = {
        (CONDITIONS[place], tuple(names[i] for i in rest))
        for place in (0, 100)
        for _, *rest in draw_by_trial(place, 5)
    }
    official = {chain_of(seed) for seed in range(1000)}
    assert len(drawn) == 10
    assert drawn <= official


def test_what_is_enumerated_is_what_the_rule_accepts():
    rng = np.random.default_rng(0)
    chains = possible_chains(FIRST)
    assert len(set(chains)) == len(chains)
    assert all(is_chain(FIRST, chains[i]) for i in rng.integers(len(chains), size=100))
    assert not is_chain(FIRST, ("open_drawer", "close_drawer"))  # it is open
    assert not is_chain(FIRST, ("turn_off_led", "turn_off_lightbulb"))  # of one category
    assert is_chain(FIRST, ("turn_off_led", "close_drawer"))


def test_other_seeds_draw_other_chains():
    later = [chain_of(seed) for seed in (1000, 1001, 2**32 + 7)]
    assert len(set(later)) == 3
    assert all(is_chain(condition, names) for condition, names in later)
    assert chain_of(1000) == later[0]


def test_lifting_needs_the_open_half_of_the_shelf():
    task = TASKS["lift_red_block_slider"]
    (after,) = task.successors(replace(FIRST, slider="right"))
    assert (after.red, after.grasped) == ("grasped", 1)
    assert not task.successors(FIRST)


def test_a_conditions_seed_is_the_benchmarks():
    # FNV-1 from 0: the first byte of "d" in UTF-16-LE is 0x64, so the value after it is 0x64; then
    # times 0x01000193, xor 0x00, and so on. The whole was computed with pyhash 0.9.3.
    condition = Condition(0, 0, "left", "closed", "slider_left", "slider_right", "table")
    assert seed_of(condition) == 197863790


def test_a_start_is_the_benchmarks_in_d():
    condition = Condition(0, 0, "left", "closed", "slider_left", "slider_right", "table")
    seed = next(seed for seed in range(1000) if chain_of(seed)[0] == condition)
    start = start_of(CHAIN, "D", seed)
    assert start.scene_obs[:6] == (0.28, 0.0, 0.0, 0.0, 0.0, 0.0)
    assert start.scene_obs[6:12] == (
        -0.240851662, 0.0924044687, 0.460990009, 0.0, 0.0, 1.8546753363662392,
    )  # fmt: skip
    assert start.scene_obs[18:21] == (0.0500000896, -0.120000177, 0.459990009)
    assert not start.settle


@pytest.mark.parametrize("letter", "BC")
def test_blocks_start_in_their_own_regions_where_the_benchmarks_do_not_fit(letter: str):
    facts = SCENES[letter]
    for seed in range(30):
        condition, _ = chain_of(seed)
        start = start_of(CHAIN, letter, seed)
        assert start.scene_obs[0] in (0.0, facts.slide_limit)
        for colour, block in zip(("red", "blue", "pink"), start.blocks, strict=True):
            place = condition.block(colour)
            low, high = facts.table_x if place == "table" else facts.shelf_x(place)
            assert low < block[0] < high
        assert start.settle


def test_no_block_is_drawn_on_the_button():
    # In C alone it is where blocks may be: x -0.12 in -0.2 ... 0.35.
    starts = [start_of(CHAIN, "C", seed) for seed in range(200)]
    blocks = np.concatenate([start.blocks for start in starts])
    on_table = blocks[(blocks[:, 1] < 0) & (blocks[:, 2] == SURFACE_Z)]
    assert len(on_table) > 200
    assert np.hypot(on_table[:, 0] - SCENES["C"].button_x, on_table[:, 1] - BUTTON_Y).min() > 0.12


def test_sub_tasks_start_where_they_can_be_done():
    assert len(conditions_for("open_drawer")) == 96
    assert {one.grasped for one in conditions_for("place_in_drawer")} == {1}
    assert start_of("place_in_drawer", "D", 0).held
    assert not start_of("open_drawer", "D", 0).held
    assert start_of("open_drawer", "D", 5).scene_obs[1] == 0.0
    assert start_of("close_drawer", "D", 5).scene_obs[1] == 0.22


def test_seeds_take_turns_among_scenes():
    letters = [letter_of("ABC", seed) for seed in range(60)]
    assert set(letters) == {"A", "B", "C"}
    assert letter_of("D", 7) == "D"
