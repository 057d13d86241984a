"""An evaluation of several policies holds one of them in memory."""

import gc
import weakref
from dataclasses import replace

import pytest

from pushcut.commands import evaluate
from pushcut.commands.evaluate import play_sources
from pushcut.errors import UserError
from pushcut.policies.source import PolicySource, TokenPolicySource

pytestmark = pytest.mark.heavy


def test_policies_are_played_one_after_the_other_with_results_in_the_order_asked_for(
    smoke, finetuned, monkeypatch
):
    alive: list[weakref.ref] = []
    at_once: list[int] = []
    original = PolicySource.load_to_act

    def load(self, **named):
        gc.collect()
        at_once.append(sum(policy() is not None for policy in alive))
        policy = original(self, **named)
        assert not any(parameter.requires_grad for parameter in policy.parameters())
        alive.append(weakref.ref(policy))
        return policy

    monkeypatch.setattr(PolicySource, "load_to_act", load)
    rollout = replace(smoke.eval.rollout, slots=4, workers=1)
    config = replace(smoke.eval, episodes_per_task=2, rollout=rollout, device="cpu")
    sources = [TokenPolicySource(path=finetuned, temperature=t) for t in (1.0, 1.6, 2.0)]
    results = play_sources(config, sources, "sampled")
    assert list(results) == sources
    assert at_once == [0, 0, 0]


def test_a_policy_that_does_not_fit_is_refused_before_any_is_read(smoke, finetuned, monkeypatch):
    monkeypatch.setattr(PolicySource, "load_to_act", lambda *_, **__: pytest.fail("was read"))
    missing = TokenPolicySource(path=finetuned / "missing")
    with pytest.raises(UserError, match="no such folder"):
        play_sources(smoke.eval, [TokenPolicySource(path=finetuned), missing], "greedy")


def test_a_place_that_cannot_be_written_to_is_told_before_anything_is_played(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file cannot be written to: choose another place"):
        evaluate.check_writable(tmp_path / "file" / "eval" / "greedy.json")
    evaluate.check_writable(tmp_path / "new" / "eval" / "greedy.json")
