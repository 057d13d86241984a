"""The published variants: how many episodes there are, what their numbers mean, what is said."""

import numpy as np
import pytest

from pushcut.envs.maniskill.put_on_plate.layouts import APART, CENTRE, FAR_APART, HALF_EDGE
from pushcut.envs.maniskill.put_on_plate.names import OBJECTS, RECEPTACLES
from pushcut.envs.maniskill.put_on_plate.starts import start_of
from pushcut.envs.maniskill.put_on_plate.variants import (
    FURTHER,
    MOVED_AFTER,
    VARIANTS,
    Episode,
    Variant,
)

MAIN, MULTI_TEST = VARIANTS["Main-v3-train"], VARIANTS["MultiCarrot-v1-test"]

PUBLISHED = {
    "Main-v3-train": 802_816,
    "Instruct-v1-test": 12_845_056,
    "VisionImage-v1-test": 250_880,
    "VisionTexture03-v1-test": 12_845_056,
    "VisionTexture05-v1-test": 12_845_056,
    "VisionWhole03-v1-test": 12_845_056,
    "VisionWhole05-v1-test": 12_845_056,
    "MultiCarrot-v1-test": 9_695_232,
    "MultiCarrot-v1-train": 32_317_440,
    "MultiPlate-v1-test": 678_666_240,
    "MultiPlate-v1-train": 45_244_416,
    "PositionChangeTo-v1-test": 2_154_496,
    "Position-v1-test": 643_072,
}
"""Start states with one plate, counted by the published environments."""


def whole(variant: Variant, receptacles: int = 1) -> Variant:
    return variant.sized(16, receptacles, 16)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_variant_has_as_many_episodes_as_the_published_one(name: str):
    assert whole(VARIANTS[name]).size == PUBLISHED[name]


def test_the_paper_counts_seventeen_receptacles():
    main = whole(MAIN, 17)
    # 16 objects x 17 receptacles x 16 tables, 784 pairs of places, 4 yaws.
    assert main.size == 4352 * 784 * 4 == 13_647_872
    assert len(main.instructions()) == 16 * 17


def test_digits_from_the_last_to_the_first():
    main = whole(MAIN, 17)
    number = (((5 * 17 + 3) * 16 + 7) * 784 + 100) * 4 + 2
    assert main.episode(number) == Episode(obj=5, receptacle=3, table=7, position=100, yaw=2)
    assert main.instruction(main.episode(number)) == f"put {OBJECTS[5]} on {RECEPTACLES[3]}"
    with pytest.raises(ValueError, match="from 0 to 13647871"):
        main.episode(main.size)


def test_the_extra_digit_stands_before_the_receptacle_or_after_it():
    instruct = whole(VARIANTS["Instruct-v1-test"], 17)
    number = ((((5 * 16 + 2) * 17 + 3) * 16 + 7) * 784 + 100) * 4 + 2
    episode = instruct.episode(number)
    assert (episode.obj, episode.extra, episode.receptacle) == (5, 3, 3)  # templates from 1 on
    assert instruct.instruction(episode) == "move the zuchinni to the newspaper"
    plates = whole(VARIANTS["MultiPlate-v1-test"])
    number = ((((5 * 16 + 2) * 15 + 4) * 21 + 20) * 2104 + 9) * 4
    episode = plates.episode(number)
    # Receptacles 1 to 16; the other one is 4 + 1 places further among these 16: 1 + (2 + 5) % 16.
    assert (episode.obj, episode.receptacle, episode.extra, episode.table) == (5, 3, 8, 20)


def test_two_different_receptacles_and_in_training_two_different_objects():
    rng = np.random.default_rng(0)
    for name in ("MultiPlate-v1-test", "MultiPlate-v1-train", "MultiCarrot-v1-train"):
        variant = whole(VARIANTS[name])
        for number in rng.integers(variant.size, size=300).tolist():
            episode = variant.episode(number)
            own = episode.obj if "Carrot" in name else episode.receptacle
            assert episode.extra != own


def test_one_test_episode_in_eight_has_no_distractor_as_published():
    variant = whole(MULTI_TEST)
    per_extra = variant.size // (9 * 8)
    episodes = [variant.episode((obj * 8 + e) * per_extra) for obj in range(9) for e in range(8)]
    assert {e.obj for e in episodes} == set(range(16, 25)) >= {e.extra for e in episodes}
    assert sum(e.obj == e.extra for e in episodes) == 9
    alone = next(e for e in episodes if e.obj == e.extra)
    start = start_of(variant, alone, settle=False)
    assert len(start.things) == 2
    assert start.things[0].position[2] == 1.0  # where the third thing would be


def test_places_lie_in_the_square_and_far_enough_apart():
    places = MAIN.positions(settle=False)
    assert places.shape == (784, 2, 3)
    assert (np.abs(places[..., :2] - CENTRE).max(), places[0, 0, 2]) == (
        pytest.approx(HALF_EDGE),
        0.90,
    )
    assert MAIN.positions(settle=True)[0, 0, 2] == 0.95
    gaps = np.linalg.norm(places[:, 0, :2] - places[:, 1, :2], axis=1)
    assert gaps.min() > APART
    three = VARIANTS["MultiPlate-v1-train"].positions(settle=False)
    gap = np.linalg.norm(three[:, :, None, :2] - three[:, None, :, :2], axis=3)
    assert gap[:, 0, 1].min() > APART < gap[:, 0, 2].min()
    assert gap[:, 1, 2].min() > FAR_APART  # the two receptacles
    assert three[0, :, 2].tolist() == [1.0, 0.92, 0.96]
    # Outside of the square: 1.2 of its edge from the other side.
    rim = VARIANTS["Position-v1-test"].positions(settle=False)
    assert len(rim) == 628
    assert np.abs(rim[..., :2] - CENTRE).max(2).min() == pytest.approx(1.4 * HALF_EDGE)


def test_the_object_is_moved_in_one_variant_alone():
    episode = Episode(0, 0, 0, 17, 1)
    start = start_of(whole(VARIANTS["PositionChangeTo-v1-test"]), episode, settle=False)
    assert start.moved_to is not None
    assert len(start.things) == 2
    assert MOVED_AFTER == 5
    # 45 degrees about the vertical: cos and sin of half of it.
    assert start.things[0].orientation == pytest.approx((0.92388, 0, 0, 0.38268), abs=1e-5)
    assert start_of(MAIN, episode, settle=False).moved_to is None


def test_a_subset_is_of_what_training_uses():
    small = MAIN.sized(4, 3, 2)
    assert small.size == 4 * 3 * 2 * 784 * 4
    assert MULTI_TEST.sized(4, 3, 2).objects.count == 9
    assert VARIANTS["VisionImage-v1-test"].sized(4, 3, 2).tables.count == 5
    two = VARIANTS["MultiCarrot-v1-train"].sized(2, 1, 1)
    assert {two.episode(n).extra for n in range(0, two.size, 2104 * 4)} == {0, 1}


def test_the_same_seed_draws_alike_everywhere_and_every_object_comes():
    main = whole(MAIN, 17)
    assert main.of_seed(5) == main.of_seed(5)
    assert {main.of_seed(seed).obj for seed in range(200)} == set(range(16))
    assert {FURTHER["Carrot-v1-test"].of_seed(s).obj for s in range(200)} == set(range(16, 25))


def test_what_a_variant_loads():
    objects, receptacles, tables = whole(VARIANTS["VisionTexture05-v1-test"]).used()
    assert (len(objects), receptacles, tables) == (16, {0}, set(range(17)))
    assert whole(VARIANTS["MultiPlate-v1-train"]).used()[1] == set(range(17))
    assert whole(VARIANTS["MultiPlate-v1-test"]).used()[1] == set(range(1, 17))
