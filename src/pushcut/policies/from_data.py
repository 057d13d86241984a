"""Policies that are made from demonstrations alone: what the data decides, and their folder."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pushcut.errors import UserError
from pushcut.policies.base import Policy
from pushcut.policies.normalisation import ActionNormaliser, DataStats, read_small_stats
from pushcut.policies.pretrained import load_weights, save_checkpoint
from pushcut.policies.value_head import CriticConfig, make_value_head


@dataclass(frozen=True)
class PolicyConfig:
    """The base of the settings of a policy that is made from demonstrations."""

    cameras: tuple[str, ...] = ("corner2",)
    """Cameras it looks through; none for one that sees the state only."""
    image_size: int = 64
    """Height and width of its square images, in pixels."""
    chunk: int = 5
    """Steps of an action chunk."""
    use_state: bool = True
    """Whether it sees the proprioceptive state."""

    def __post_init__(self) -> None:
        if not self.cameras and not self.use_state:
            raise ValueError("without cameras it needs the state: use_state")


@dataclass(frozen=True)
class DataShape:
    """What the data decides about a small policy."""

    state_size: int
    action_size: int
    vocabulary: tuple[str, ...]
    """Known words; all others read as one unknown word."""
    max_words: int
    """Words of an instruction that are read; shorter ones are padded."""

    @staticmethod
    def of(
        statistics: DataStats, instructions: Collection[str], max_words: int | None
    ) -> DataShape:
        """Sizes and vocabulary of demonstrations; None reads whole instructions."""
        vocabulary = sorted({word for text in instructions for word in words(text)})
        longest = max(len(words(text)) for text in instructions)
        return DataShape(
            state_size=statistics["state"].size,
            action_size=statistics["action"].size,
            vocabulary=tuple(vocabulary),
            max_words=max_words or longest,
        )


def words(instruction: str) -> list[str]:
    """The lower-case words of an instruction."""
    return re.findall(r"[a-z0-9]+", instruction.lower())


Made = TypeVar("Made", bound="PolicyFromData")


class PolicyFromData(Policy):
    """A policy that is made from demonstrations; a subclass adds its network.

    It is registered by its class: ``@POLICIES.register("name")``.
    """

    config_type: ClassVar[type[PolicyConfig]]
    """The class of ``config``: what the command line can set."""
    source_type: ClassVar[Any] = None
    """The ``PolicySource`` with which it is trained; None: the plain one, without settings of
    exploration."""
    kind: ClassVar[str]
    """What config.json calls it; registration sets it."""
    config: Any

    def __init__(self, config: PolicyConfig, shape: DataShape, statistics: DataStats) -> None:
        super().__init__()
        self.config, self.shape, self.statistics = config, shape, statistics
        self.cameras, self.image_size = config.cameras, config.image_size
        self.chunk, self.action_size = config.chunk, shape.action_size
        self.state_size = shape.state_size if config.use_state else 0
        self.actions = ActionNormaliser(statistics["action"])

    @classmethod
    def shape_of(
        cls, config: Any, statistics: DataStats, instructions: Collection[str]
    ) -> DataShape:
        """What the data decides."""
        return DataShape.of(statistics, instructions, None)

    @classmethod
    def for_data(
        cls: type[Made], config: Any, *, statistics: DataStats, instructions: Collection[str]
    ) -> Made:
        """A fresh policy whose sizes and vocabulary come from demonstrations."""
        return cls(config, cls.shape_of(config, statistics, instructions), statistics)

    @classmethod
    def from_folder(cls: type[Made], path: Path, description: dict[str, Any]) -> Made:
        """The policy in a folder that ``save_pretrained`` wrote.

        Raises:
            UserError: In one line, where the folder does not fit.
        """
        statistics = read_small_stats(path / "statistics.json")
        try:
            config = cls.config_type(**_tuples(description["config"]))
            shape = DataShape(**_tuples(description["shape"]))
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{path / 'config.json'} does not describe a {cls.kind} policy: {error}"
            ) from None
        sizes = (statistics["state"].size, statistics["action"].size)
        if sizes != (shape.state_size, shape.action_size):
            raise UserError(
                f"{path / 'statistics.json'} is for state and action sizes {sizes}, the policy "
                f"has {(shape.state_size, shape.action_size)}: statistics of another dataset?"
            )
        policy = cls(config, shape, statistics)
        policy.load_weights(path)
        return policy

    def data_stats(self) -> DataStats:
        return self.statistics

    def load_weights(self, path: Path) -> None:
        load_weights(self, path)

    def save_pretrained(self, path: Path) -> None:
        """Writes config.json, model.safetensors and statistics.json, without training parts."""
        save_checkpoint(
            self, self.kind, self.config, self.shape, self.statistics, path, shared=self.sharing
        )

    critic_width: int | None = None
    """Size of the features that a critic sees; None where there is no place for one."""

    def add_critic(self, config: CriticConfig, *, seed: int) -> None:
        if self.critic_width is None:
            super().add_critic(config, seed=seed)
            return
        head = make_value_head(self.critic_width, config, seed=seed)
        self.training_parts["critic"] = head.to(self.device)


def _tuples(values: dict) -> dict:
    """JSON has no tuples."""
    return {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
