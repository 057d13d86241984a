"""Which of several ranks' failures says why a run on a cluster ended."""

from pushcut.cluster.on_ray import _cause
from pushcut.errors import ProcessLostError, RankLostError, UserError


def test_a_rank_that_is_gone_explains_whatever_the_others_raise():
    gone, other = ProcessLostError("gone"), RuntimeError("connection closed")
    assert _cause([other, RankLostError("no answer"), gone]) is gone


def test_a_mistake_explains_why_others_wait_in_vain():
    mistake = UserError("no policy at x")
    assert _cause([RankLostError("no answer"), mistake]) is mistake
