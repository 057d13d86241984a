"""Policies: one protocol, and the registry of what can be made and loaded.

May import ``batch``, ``registry``, ``system`` and ``weights``; knows no environment. Promises that
what a policy drew is evaluated to the same log-probability before the first update
(policies/test_policy_contract.py).
"""

from __future__ import annotations

from pushcut.policies.kinds import POLICIES, PolicyKind, load, new_policy
from pushcut.policies.places import kind_of
from pushcut.policies.released.groot_loading import load_groot
from pushcut.policies.released.openvla_loading import load_openvla_oft
from pushcut.policies.released.pi0_loading import load_pi0
from pushcut.policies.small.flow_vla import FlowPolicy
from pushcut.policies.small.token_vla import TinyPolicy
from pushcut.policies.source import FlowPolicySource, PolicySource, TokenPolicySource

__all__ = ["POLICIES", "PolicyKind", "PolicySource", "kind_of", "load", "new_policy"]

POLICIES.register("tiny", PolicyKind.of(TinyPolicy, TokenPolicySource))
POLICIES.register("flow", PolicyKind.of(FlowPolicy, FlowPolicySource))
POLICIES.register("pi0", PolicyKind(load_pi0, FlowPolicySource))
POLICIES.register("pi05", PolicyKind(load_pi0, FlowPolicySource))
POLICIES.register("openpi", PolicyKind(load_pi0, FlowPolicySource))
POLICIES.register("gr00t_n1_5", PolicyKind(load_groot, FlowPolicySource))
POLICIES.register("groot", PolicyKind(load_groot, FlowPolicySource))
POLICIES.register("openvla", PolicyKind(load_openvla_oft, TokenPolicySource))
