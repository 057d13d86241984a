"""Events of the environments in SAPIEN."""

from __future__ import annotations

from pushcut.envs.telling import ContactReader, TellingEnv


class SapienEnv(TellingEnv):
    """Episodes in scenes with a ``control`` of the arm, which knows what touches what."""

    @property
    def _contacts(self) -> ContactReader:
        return self._now.now.control.contacts
