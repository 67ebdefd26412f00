"""The policy: two streams, a fusion, a router over experts, and a critic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from tedg.envs.observation import Observation
from tedg.errors import DivergedError
from tedg.models.experts import Experts, mlp
from tedg.models.fusion import Fusion
from tedg.models.logic import LogicEncoder, LogicOutput
from tedg.models.routing import Routing, Source, operator_membership
from tedg.models.vision import VisualEncoder

ILLEGAL_LOGIT = -1e9  # finite, so that a row's entropy and log-probabilities stay finite


@dataclass(frozen=True, slots=True)
class PolicyOutput:
    """Everything the policy computes for a batch of B observations (K experts)."""

    policy_logits: Float[Tensor, "batch actions"]  # before the legality mask
    value: Float[Tensor, " batch"]
    alpha: Float[Tensor, "batch experts"]  # mixture weights; may hold exact zeros
    router_logits: Float[Tensor, "batch experts"]  # already divided by the temperature
    context_vector: Float[Tensor, "batch context_dim"]
    attention_weights: Float[Tensor, "batch heads queries keys"] | None
    expert_logits: Float[Tensor, "batch experts actions"]
    h_logic: Float[Tensor, "batch logic_dim"]
    h_vis: Float[Tensor, "batch vision_dim"]
    operator_scores: Float[Tensor, "batch operators"] | None

    @property
    def soft_alpha(self) -> Float[Tensor, "batch experts"]:
        """Softmax of the router's logits, whatever the routing: the alpha that losses may use.

        A one-hot sparsemax row passes no gradient to its router; this one always does.
        """
        return torch.softmax(self.router_logits, dim=-1)

    def float(self) -> PolicyOutput:
        """The same in float32."""
        values: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        single: dict[str, Any] = {k: v if v is None else v.float() for k, v in values.items()}
        return PolicyOutput(**single)


@dataclass(frozen=True, slots=True)
class ActionAndValue:
    """What PPO needs of one forward pass."""

    action: Int[Tensor, " batch"]
    log_prob: Float[Tensor, " batch"]
    entropy: Float[Tensor, " batch"]  # nats, of the masked mixture policy
    output: PolicyOutput


class MoEPolicy(nn.Module):
    """Mixture-of-experts actor-critic over a fused context.

    policy logits = sum_k alpha_k * expert_logits_k. The parts are given ready-made; the policy knows
    their contracts only, never which fusion or encoder it holds.
    """

    operator_membership: Tensor | None  # [O, K] averages operators' scores per expert

    def __init__(
        self,
        vision: VisualEncoder,
        logic: LogicEncoder,
        fusion: Fusion,
        num_actions: int,
        num_experts: int,
        expert_input: str,
        router_hidden: Sequence[int],
        expert_hidden: Sequence[int],
        critic_hidden: Sequence[int],
        dropout: float = 0.0,
        with_router: bool = True,
    ) -> None:
        """`expert_input` is "context" or "vision" (h_vis); `with_router`: some routing will read it."""
        super().__init__()
        self.vision, self.logic, self.fusion = vision, logic, fusion
        self.expert_input = expert_input
        expert_dim = fusion.context_dim if expert_input == "context" else vision.vision_dim
        # A single expert leaves nothing to choose, so a router would get no gradient.
        self.router: nn.Module | None = None
        if with_router and num_experts > 1:
            self.router = mlp(fusion.context_dim, router_hidden, num_experts, output_gain=0.1)
        self.experts = Experts(num_experts, expert_dim, expert_hidden, num_actions, dropout)
        self.critic = mlp(fusion.context_dim, critic_hidden, 1, output_gain=1.0)
        # None where operators cannot speak for these experts; validation refuses a policy that would need it.
        operators, membership = logic.expert_of_operator, None
        if operators is not None and int(operators.max()) + 1 == num_experts:
            membership = operator_membership(operators, num_experts)
        self.register_buffer("operator_membership", membership, persistent=False)
        self.mixed_precision = False  # matrix products in bfloat16; weights and outputs stay as they are
        self.compiled = False

    def compile_parts(self) -> None:
        """Have torch compile the network, but for the graph, whose size differs from batch to batch."""
        self.compiled = True
        for part in (self.vision, self.fusion, self.router, self.experts, self.critic):
            if part is not None:
                part.compile()

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the observation fields that this policy reads."""
        parts = (self.vision, self.logic, self.fusion, self.experts)
        return tuple(dict.fromkeys((*(name for part in parts for name in part.inputs), "mask")))

    def forward(
        self,
        observation: Observation,
        routing: Routing,
        temperature: Float[Tensor, " batch"] | Float[Tensor, ""] | float,
    ) -> PolicyOutput:
        """All outputs for a batch. `routing` and `temperature` (scalar, or one per row) mix the experts."""
        if not self.mixed_precision:
            return self._forward(observation, routing, temperature)
        with torch.autocast(observation.mask.device.type, dtype=torch.bfloat16):
            return self._forward(observation, routing, temperature).float()

    def _forward(
        self,
        observation: Observation,
        routing: Routing,
        temperature: Float[Tensor, " batch"] | Float[Tensor, ""] | float,
    ) -> PolicyOutput:
        tokens, h_vis = self.vision(observation)
        logic = self.logic(observation)
        fused = self.fusion(tokens, h_vis, logic.h_logic, observation.noise)
        context = fused.context
        column = temperature
        if isinstance(temperature, Tensor) and temperature.ndim == 1:
            column = temperature.unsqueeze(1)
        router_logits = self._expert_scores(routing.source, context, logic) / column
        alpha = routing(router_logits)
        expert_input = context if self.expert_input == "context" else h_vis
        expert_logits = self.experts(expert_input, observation.noise)
        return PolicyOutput(
            policy_logits=(alpha.unsqueeze(2) * expert_logits).sum(dim=1),
            value=self.critic(context).squeeze(1),
            alpha=alpha,
            router_logits=router_logits,
            context_vector=context,
            attention_weights=fused.attention_weights,
            expert_logits=expert_logits,
            h_logic=logic.h_logic,
            h_vis=h_vis,
            operator_scores=logic.operator_scores,
        )

    def _expert_scores(
        self, source: Source, context: Tensor, logic: LogicOutput
    ) -> Float[Tensor, "batch experts"]:
        """The scores that routing reads."""
        if source == "operators":
            if logic.operator_scores is None or self.operator_membership is None:
                raise ValueError("this routing needs a hypergraph with an expert per expert of the policy")
            return logic.operator_scores @ self.operator_membership.to(logic.operator_scores.dtype)
        if source == "router" and self.router is not None:
            scores: Tensor = self.router(context)
            return scores
        return context.new_zeros(len(context), self.experts.num_experts)

    def race(self, batch: int, generator: torch.Generator) -> Float[Tensor, "batch actions"]:
        """Numbers to draw an action for each of `batch` states with."""
        like = next(self.parameters())
        return like.new_empty(batch, self.experts.num_actions).detach().exponential_(generator=generator)

    def get_action_and_value(
        self,
        observation: Observation,
        routing: Routing,
        temperature: Float[Tensor, " batch"] | Float[Tensor, ""] | float,
        action: Int[Tensor, " batch"] | None = None,
        race: Float[Tensor, "batch actions"] | None = None,
    ) -> ActionAndValue:
        """Score the given action, or the one that wins `race`, under the legality mask; PPO's entrance.

        `race` is of independent numbers from the exponential distribution of rate 1: the action with the
        largest probability / number is a draw from the policy. torch.multinomial draws so too, but has the
        host wait for the device. Where probabilities are not finite, neither is `log_prob`.
        """
        output = self(observation, routing, temperature)
        log_probs = masked_log_probs(output.policy_logits, observation.mask)
        probs = log_probs.exp()
        if action is None:
            if race is None:
                raise ValueError("an action or the numbers to draw one with are needed")
            action = (probs / race).argmax(dim=1)
        log_prob = log_probs.gather(1, action.unsqueeze(1)).squeeze(1)
        entropy = -(probs * log_probs).sum(dim=1)
        return ActionAndValue(action, log_prob, entropy, output)


def require_finite(log_prob: Tensor) -> None:
    """Raises DivergedError where actions were drawn from probabilities that are not finite."""
    if not bool(log_prob.isfinite().all()):
        raise DivergedError("the policy's action probabilities are not finite, so it cannot act")


def masked_log_probs(logits: Float[Tensor, "batch actions"], mask: Tensor) -> Float[Tensor, "batch actions"]:
    """Log-probabilities with illegal actions at probability zero. `mask` [batch, actions], True = legal."""
    return functional.log_softmax(logits.masked_fill(~mask, ILLEGAL_LOGIT), dim=-1)
