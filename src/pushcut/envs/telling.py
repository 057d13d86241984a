"""Events of simulators that have a reader of contacts; see ``envs.events.TellsEvents``."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from pushcut.envs.episodes import EpisodicEnv
from pushcut.envs.events import Events


@runtime_checkable
class ContactReader(Protocol):
    """Takes marks of a simulator and reads them."""

    def mark(self, *, start: bool) -> Any:
        """A copy of this moment; contacts of a ``start`` may be another episode's: none."""
        ...

    def read(self, marks: Sequence[Any]) -> Events:
        """The events of an episode, without actions."""
        ...


class TellingEnv(EpisodicEnv):
    """Episodes in simulators that know what touches what."""

    @property
    @abstractmethod
    def _contacts(self) -> ContactReader:
        """The present episode's."""

    def mark(self, *, start: bool) -> Any:
        """A copy of this moment for ``read_marks``."""
        return self._contacts.mark(start=start)

    def read_marks(self, marks: Sequence[Any]) -> Events:
        """The events of an episode of the present task, without actions."""
        return self._contacts.read(marks)
