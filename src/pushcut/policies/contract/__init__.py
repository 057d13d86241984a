"""What every policy promises, each promise a function that looks at one policy.

``pushcut check-policy`` and tests/policies/test_policy_contract.py go through ``PROMISES``, those
of ``policies.base.Policy``. May import the rest of ``policies``; knows no environment. Promises
that a broken promise is told with what was found and how to mend it.
"""

from __future__ import annotations

from pushcut.policies.contract import acting, learning
from pushcut.policies.contract.case import PolicyCase
from pushcut.promises import Promise

FITS = (acting.samples_fit_the_protocol,)
RATIO = (*FITS, acting.the_log_ratio_is_zero_before_the_first_update)

PROMISES: tuple[Promise[PolicyCase], ...] = (
    Promise(acting.samples_fit_the_protocol),
    Promise(acting.the_log_ratio_is_zero_before_the_first_update, needs=FITS),
    Promise(acting.samples_follow_their_noise, needs=FITS),
    Promise(acting.a_row_does_not_depend_on_its_batch, needs=(acting.samples_follow_their_noise,)),
    Promise(
        acting.another_batch_size_is_rounding_only,
        needs=(*RATIO, acting.a_row_does_not_depend_on_its_batch),
    ),
    Promise(acting.actions_stay_within_their_bounds, needs=FITS),
    Promise(acting.a_saved_policy_acts_the_same, needs=FITS),
    Promise(learning.gradients_reach_the_trained_weights, needs=FITS),
    Promise(learning.a_critic_says_the_same_twice, needs=FITS),
    Promise(learning.cloning_ignores_steps_that_did_not_happen),
    Promise(learning.cloning_lowers_its_loss),
)
"""In the order in which they are looked at: what others stand on comes first."""
