"""What an evaluation writes besides its result: videos for people, events for analysis."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pushcut.before_loading import check_pictures
from pushcut.config import EvalConfig
from pushcut.demos.event_files import events_file, write_events
from pushcut.envs.events import no_events
from pushcut.errors import UserError
from pushcut.evaluation.evaluator import EpisodeEvents
from pushcut.evaluation.films import Film, save_films, videos_of
from pushcut.policies.source import PolicySource
from pushcut.system.progress import say


@dataclass
class Extras:
    """What an evaluation gives besides its result, as the config asks for it."""

    films: dict[PolicySource, list[Film]] = field(default_factory=dict)
    """Videos of each policy."""
    events: dict[PolicySource, EpisodeEvents] = field(default_factory=dict)
    """What happened in each episode of each policy."""


def check_extras(config: EvalConfig) -> None:
    """UserError where the environment could not draw or tell what the config asks for."""
    check_pictures(config.env, videos=config.videos)
    if config.events and not config.env.tells_events:
        raise UserError(f"--events: {no_events(config.env.title)}")


def save_extras(config: EvalConfig, source: PolicySource, result: Path, extras: Extras) -> None:
    """Writes the videos and events of a result beside it, and says so."""
    if films := extras.films.get(source):
        folder = videos_of(result)
        save_films(folder, films, spec=config.env.spec, mode=config.mode)
        say(f"videos: {folder}")
    if events := extras.events.get(source):
        path = events_file(result)
        written = write_events(path, events, control_hz=config.env.spec.control_hz)
        fits = "" if written == len(events) else f" (the first {written} of {len(events)} episodes)"
        say(f"events: {path}{fits}")
