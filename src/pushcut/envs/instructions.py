"""Which sentences belong to which tasks: instructions from elsewhere, matched by name or words."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pushcut.envs.base import EnvConfig
from pushcut.errors import UserError

Told = Mapping[str, Sequence[str]]
"""A task's name, or a sentence that stands for the task -> its sentences."""

NAMED = 4
"""Tasks or sentences that a message names."""


@dataclass(frozen=True)
class Match:
    """What is known of each task's instruction, and what is left over."""

    sentences: Mapping[str, str]
    """Task -> sentence."""
    without: tuple[str, ...]
    """Tasks for which there is none."""
    unknown: tuple[str, ...]
    """Names or sentences that belong to no task of this environment, chosen or not."""
    several: tuple[str, ...]
    """Tasks that have several sentences, of which the first is taken."""


def match(told: Told, env: EnvConfig) -> Match:
    """Finds the sentence of each task of an environment.

    By the task's name; else by its own sentence, or a public one that is known for it. Case,
    spaces and a full stop at the end make no difference.
    """
    own = env.own_spec.tasks
    keys, names = _by_name(told, own), _names(env.all_tasks)
    # The sentence that is used is the one that is told, as it is written there.
    written: dict[str, str] = {}
    for text in (text for key, texts in told.items() if key not in names for text in texts):
        written.setdefault(plain(text), text)
    sentences: dict[str, str] = {}
    varied = env.own_spec.wordings
    for task, text in own.items():
        if task in varied:  # what says a task in its own words, or in several, does not change it
            alone = task in keys and task not in env.own_spec.stages
            texts = told[keys[task]] if alone else ()
            if len(texts) == 1 and texts[0] not in varied[task]:
                sentences[task] = texts[0]
        elif task in keys:
            sentences[task] = told[keys[task]][0]
        else:
            known = (text, *(x[task] for x in env.known_instructions.values() if task in x))
            if found := next((written[x] for x in map(plain, known) if x in written), None):
                sentences[task] = found
    return Match(
        sentences,
        tuple(task for task in own if task not in sentences and task not in varied),
        tuple(_unknown(told, env)),
        tuple(task for task, key in keys.items() if len(told[key]) > 1 and task not in varied),
    )


def plain(sentence: str) -> str:
    """What two ways of writing a sentence share."""
    return " ".join(sentence.replace("_", " ").split()).rstrip(". ").casefold()


def matched(told: Told, env: EnvConfig, source: str, *, named: bool) -> Match:
    """As ``match``; UserError where the instructions are not for this environment.

    Args:
        told: What was read.
        env: Whose tasks these are.
        source: Where it was read, for messages.
        named: Whether every key must be a task's name.
    """
    if not told:
        raise UserError(f"{source} holds no instructions")
    found = match(told, env)
    tasks = env.all_tasks
    if named and (wrong := [key for key in told if key not in _names(tasks)]):
        raise UserError(f"{source}: unknown task {wrong[0]!r}; {_close(wrong[0], tasks)}")
    if not found.sentences:
        texts = [text for texts in told.values() for text in texts]
        raise UserError(
            f"{source} has no instruction for any task here ({some(found.without)}); it has "
            f"{some(map(repr, texts))}: name the tasks in a JSON file {{task: sentence}}"
        )
    return found


def some(names: Iterable[str]) -> str:
    """The first of some names, and how many more there are."""
    listed = list(names)
    more = f" and {len(listed) - NAMED} more" if len(listed) > NAMED else ""
    return ", ".join(listed[:NAMED]) + more


def _by_name(told: Told, tasks: Iterable[str]) -> dict[str, str]:
    """Task -> the key that names it; in a mix also without the member's name."""
    keys = {}
    for task in tasks:
        for name in (task, task.partition("/")[2]):
            if name and name in told:
                keys[task] = name
                break
    return keys


def _names(tasks: Iterable[str]) -> set[str]:
    return {name for task in tasks for name in (task, task.partition("/")[2])}


def _unknown(told: Told, env: EnvConfig) -> Iterable[str]:
    names = _names(env.all_tasks)
    own = env.own_spec
    texts = {plain(text) for task in own.tasks for text in (own.tasks[task], *own.texts(task))}
    texts |= {plain(x) for known in env.known_instructions.values() for x in known.values()}
    for key, written in told.items():
        if key not in names and not texts & set(map(plain, written)):
            yield key


def _close(name: str, tasks: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, tasks, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(close)}?" if close else f"have {some(tasks)}"
