"""Policies: one protocol, and the registry of what can be made and loaded.

May import ``batch``, ``registry``, ``system`` and ``weights``; knows no environment. Promises that
what a policy drew is evaluated to the same log-probability before the first update
(policies/test_policy_contract.py).
"""

from __future__ import annotations

from pushcut.policies.kinds import POLICIES, PolicyKind, kind_of, load, new_policy
from pushcut.policies.released import (
    groot_loading,
    openvla_loading,
    pi0_fast_loading,
    pi0_loading,
    smolvla_loading,
)
from pushcut.policies.small import flow_vla, token_vla
from pushcut.policies.small.flow_vla import FlowPolicy
from pushcut.policies.small.token_vla import TinyPolicy
from pushcut.policies.source import FlowPolicySource, PolicySource, TokenPolicySource

__all__ = ["POLICIES", "PolicyKind", "PolicySource", "kind_of", "load", "new_policy"]

POLICIES.register("tiny", PolicyKind.of(TinyPolicy, TokenPolicySource, token_vla.FACTS))
POLICIES.register("flow", PolicyKind.of(FlowPolicy, FlowPolicySource, flow_vla.FACTS))
POLICIES.register(
    "pi0", PolicyKind(pi0_loading.load_pi0, FlowPolicySource, facts=pi0_loading.PI0_FACTS)
)
POLICIES.register(
    "pi05", PolicyKind(pi0_loading.load_pi0, FlowPolicySource, facts=pi0_loading.PI05_FACTS)
)
POLICIES.register("openpi", PolicyKind(pi0_loading.load_pi0, FlowPolicySource))
POLICIES.register(
    "pi0_fast",
    PolicyKind(pi0_fast_loading.load_pi0_fast, TokenPolicySource, facts=pi0_fast_loading.FACTS),
)
POLICIES.register(
    "smolvla",
    PolicyKind(smolvla_loading.load_smolvla, FlowPolicySource, facts=smolvla_loading.FACTS),
)
POLICIES.register(
    "gr00t_n1_5", PolicyKind(groot_loading.load_groot, FlowPolicySource, facts=groot_loading.FACTS)
)
POLICIES.register("groot", PolicyKind(groot_loading.load_groot, FlowPolicySource))
POLICIES.register(
    "openvla",
    PolicyKind(openvla_loading.load_openvla_oft, TokenPolicySource, facts=openvla_loading.FACTS),
)
