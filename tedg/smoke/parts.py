"""What `python -m tedg.smoke` tries: seven parts of the networks, and training by each variant."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path

import numpy as np
import torch
from rich.console import Console as Terminal
from rich.table import Table

from tedg import scratch
from tedg.config.compose import compose
from tedg.config.run_config import RunConfig
from tedg.envs.observation import Observation
from tedg.envs.players import make_player
from tedg.envs.vector import held_out_seeds
from tedg.learn.setup import make_env, make_hypergraph, make_policy
from tedg.learn.trainer import train
from tedg.models.build import parameters_per_part
from tedg.models.fusion import CrossAttentionFusion
from tedg.models.policy import MoEPolicy, PolicyOutput, masked_log_probs
from tedg.models.routing import Routing, Softmax, Sparsemax
from tedg.signals import StopFlag
from tedg.watch.console import QuietConsole

VARIANTS = ("concat", "cross_attn", "cross_attn_dense")
SMALL = ("preset=small", "env.num_envs=8", "ppo.num_steps=64", "eval.games=4", "device=cpu", "logger=none")
CPU = torch.device("cpu")


class BrokenPart(Exception):
    """A part does not work; the message says what is wrong."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What the parts are tried on: every variant's policy and real observations."""

    policies: dict[str, MoEPolicy]
    observation: Observation  # real states, many
    batch: Observation  # four of them


def try_all() -> int:
    """Try all parts; 0 if they work, 1 otherwise."""
    terminal = Terminal()
    table = Table("part", "result", "figures", title="tedg smoke test", show_lines=True)
    start = time.monotonic()
    failed = 0
    bench = make_bench()
    parts = [(name, partial(figures_of, bench)) for name, figures_of in NETWORK_PARTS]
    parts += [(f"two updates of {name} on NetHack", partial(updates, name)) for name in VARIANTS]
    for title, lines_of in parts:
        lines: list[str] = []
        try:
            lines.extend(lines_of())
            verdict = "[green]ok[/green]"
        except BrokenPart as fault:
            lines.append(str(fault))
            verdict, failed = "[red]FAILED[/red]", failed + 1
        table.add_row(title, verdict, "\n".join(lines))
    terminal.print(table)
    terminal.print(
        f"{len(parts) - failed} of {len(parts)} parts work, {time.monotonic() - start:.0f} s",
        style="red" if failed else "green",
    )
    return 1 if failed else 0


def make_bench() -> Bench:
    """Policies of all variants and 256 states that a random legal player meets."""
    policies = {}
    for name in VARIANTS:
        config = compose([f"fusion={name}", *SMALL]).config
        env = make_env(config, held_out_seeds(config.eval.first_seed, 8, 8))
        policies[name] = make_policy(config, env, make_hypergraph(config), CPU)
        if name == VARIANTS[-1]:
            states = _play_some(config, env)
        env.close()
    return Bench(policies, states, states[torch.tensor([0, 100, 180, 255])])


def _play_some(config: RunConfig, env) -> Observation:  # type: ignore[no-untyped-def]
    player = make_player("random_legal", env.num_envs, seed=0, spec=env.spec)
    observation = env.reset()
    rows = []
    for _ in range(32):
        rows.append(observation)
        observation = env.step(player.act(observation)).observation
    names = [name for name, _ in observation.items()]
    joined = {name: np.concatenate([getattr(row, name) for row in rows]) for name in names}
    return Observation(**joined).to(CPU)


def require(condition: bool, otherwise: str) -> None:
    """Raise BrokenPart unless `condition` holds."""
    if not condition:
        raise BrokenPart(otherwise)


def building(bench: Bench) -> Iterator[str]:
    """Every network is built and has parameters in the parts it should have."""
    for name, policy in bench.policies.items():
        parts = parameters_per_part(policy)
        require(parts["total"] > 0, f"{name}: no parameters")
        yield f"{name}: " + ", ".join(f"{part} {count:,}" for part, count in parts.items())


def shapes(bench: Bench) -> Iterator[str]:
    """Every field of PolicyOutput has the documented shape on a batch of four."""
    for name, policy in bench.policies.items():
        output = policy(bench.batch, Softmax(), 1.0)
        found = {
            f.name: None if (value := getattr(output, f.name)) is None else tuple(value.shape)
            for f in fields(PolicyOutput)
        }
        expected = {"policy_logits": (4, 23), "value": (4,), "alpha": (4, 4), "expert_logits": (4, 4, 23)}
        for field, shape in expected.items():
            require(found[field] == shape, f"{name}: {field} is {found[field]}, not {shape}")
        yield f"{name}: " + ", ".join(f"{field} {shape}" for field, shape in found.items())


def attention(bench: Bench) -> Iterator[str]:
    """Attention weights sum to 1 and the gate keeps the number of keys it promises."""
    for name, policy in bench.policies.items():
        weights = policy(bench.observation, Softmax(), 1.0).attention_weights
        if weights is None:
            require(name == "concat", f"{name}: no attention weights")
            continue
        assert isinstance(policy.fusion, CrossAttentionFusion)
        weights = weights.detach()
        keys = weights.shape[-1]
        kept = (weights > 0).sum(dim=-1)
        expected = policy.fusion.gate.num_kept(keys)
        require(bool((weights.sum(-1) - 1).abs().max() < 1e-5), f"{name}: weights do not sum to 1")
        require(bool((kept == expected).all()), f"{name}: kept {kept.unique().tolist()} keys, not {expected}")
        effective = float((1 / weights.square().sum(-1)).mean())
        spread = float(weights.std(dim=0).mean())
        require(spread > 0, f"{name}: attention is the same in every state")
        yield (
            f"{name}: keys {keys}, kept {expected}, effective {effective:.1f}, "
            f"deviation over states {spread:.1e}"
        )


def routing(bench: Bench) -> Iterator[str]:
    """Both kinds of routing give distributions; sparsemax gives exact zeros where softmax does not."""
    modes: dict[str, Routing] = {"softmax": Softmax(), "sparsemax": Sparsemax()}
    policy = bench.policies["cross_attn"]
    for name, mode in modes.items():
        for temperature in (1.0, 0.5, 0.01):
            alpha = policy(bench.observation, mode, temperature).alpha.detach()
            require(bool((alpha.sum(1) - 1).abs().max() < 1e-5), f"{name}: alpha does not sum to 1")
            require(bool((alpha >= 0).all()), f"{name}: negative share")
            entropy = float(-(alpha * alpha.clamp_min(1e-12).log()).sum(1).mean())
            zeros = float((alpha == 0).float().mean())
            if name == "sparsemax" and temperature == 0.01:
                require(zeros > 0, "sparsemax at temperature 0.01 gives no exact zero")
            yield f"{name}, T {temperature}: entropy {entropy:.3f}, exact zeros {zeros:.0%}"


def actions(bench: Bench) -> Iterator[str]:
    """Sampled actions are legal, and stored log-probabilities are found again."""
    for name, policy in bench.policies.items():
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            race = policy.race(len(bench.observation), generator)
            acted = policy.get_action_and_value(bench.observation, Softmax(), 1.0, race=race)
            again = policy.get_action_and_value(bench.observation, Softmax(), 1.0, acted.action)
        legal = bench.observation.mask.gather(1, acted.action.unsqueeze(1)).all()
        require(bool(legal), f"{name}: sampled an illegal action")
        log_probs = masked_log_probs(acted.output.policy_logits, bench.observation.mask)
        require(
            float(log_probs.exp()[~bench.observation.mask].sum()) == 0, f"{name}: illegal actions have weight"
        )
        difference = float((acted.log_prob - again.log_prob).abs().max())
        require(difference < 1e-5, f"{name}: log-probabilities differ by {difference:.1e}")
        share = float(bench.observation.mask.float().mean())
        entropy = float(acted.entropy.mean())
        yield f"{name}: legal actions {share:.0%}, policy entropy {entropy:.2f}, |log ratio| {difference:.1e}"


def gradients(bench: Bench) -> Iterator[str]:
    """A gradient reaches every parameter, those that steer attention included."""
    for name, policy in bench.policies.items():
        policy.zero_grad(set_to_none=True)
        acted = policy.get_action_and_value(
            bench.observation, Softmax(), 1.0, torch.zeros(len(bench.observation), dtype=torch.long)
        )
        loss = acted.output.policy_logits.square().mean() + acted.output.value.square().mean()
        loss.backward()  # type: ignore[no-untyped-call]
        norms = {
            path: 0.0 if p.grad is None else float(p.grad.norm()) for path, p in policy.named_parameters()
        }
        dead = [path for path, norm in norms.items() if norm == 0.0]
        require(not dead, f"{name}: no gradient in {', '.join(dead)}")
        steering = ", ".join(
            f"{label} {norms['fusion.' + path]:.1e}"
            for label, path in policy.fusion.attention_parameters.items()
        )
        yield f"{name}: {len(norms)} tensors, smallest {min(norms.values()):.1e}" + (
            f", {steering}" if steering else ""
        )


def side_by_side(bench: Bench) -> Iterator[str]:
    """V3 and V4: parameters, speed and the width of the context."""
    widths = {"concat": 512, "cross_attn": 256, "cross_attn_dense": 256}
    for name, policy in bench.policies.items():
        context = policy(bench.batch, Softmax(), 1.0).context_vector.shape[1]
        require(context == widths[name], f"{name}: context is {context} wide, not {widths[name]}")
        milliseconds = 1e3 * min(_time(policy, bench.observation) for _ in range(5))
        total = parameters_per_part(policy)["total"]
        yield (
            f"{name}: {total:,} parameters, context {context}, "
            f"forward and backward of 256 states {milliseconds:.0f} ms"
        )


def _time(policy: MoEPolicy, observation: Observation) -> float:
    start = time.monotonic()
    output = policy(observation, Softmax(), 1.0)
    (output.policy_logits.sum() + output.value.sum()).backward()
    return time.monotonic() - start


NETWORK_PARTS: tuple[tuple[str, Callable[[Bench], Iterator[str]]], ...] = (
    ("1 building", building),
    ("2 shapes", shapes),
    ("3 attention and gate", attention),
    ("4 routing", routing),
    ("5 actions and masks", actions),
    ("6 gradients", gradients),
    ("7 V3 and V4 side by side", side_by_side),
)


def updates(fusion: str) -> Iterator[str]:
    """Two updates on real NetHack change the weights and finish with a result."""
    with tempfile.TemporaryDirectory(dir=scratch.folder()) as folder:
        config = compose([f"fusion={fusion}", "budget.env_steps=1024", *SMALL]).config
        start = time.monotonic()
        result = train(config, Path(folder), None, QuietConsole(), StopFlag())
        seconds = time.monotonic() - start
        require(result["updates"] == 2, f"{result['updates']} updates instead of 2")
        yield (
            f"{result['env_steps']:,} env steps, {result['episodes']} episodes, "
            f"{seconds:.0f} s with evaluation, "
            f"held-out score {result['evaluation']['policy']['mean_score']:.1f} over 4 games"
        )
