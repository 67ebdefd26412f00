"""One timed run of tedg's own training loop, with V4, all losses on and rollouts as the peers have them."""

from __future__ import annotations

from importlib.metadata import version

import torch
from learning import Learnt
from work import CYCLE_STEPS, Timing, Window, run_parser

from tedg.bench.workbench import Workbench, workbench
from tedg.config.compose import compose
from tedg.config.run_config import RunConfig


def main() -> None:
    """Train until the window closes, and write down the timing."""
    parser = run_parser(__doc__)
    parser.add_argument("--vision", choices=("glyph", "state"), required=True)
    arguments = parser.parse_args()
    work = ["preset=default", "fusion=cross_attn", f"vision={arguments.vision}"]  # rollouts of CYCLE_STEPS
    config = compose([*work, "logger=none", "device=cpu"]).config
    time_training(config, Window(arguments.steps)).write(arguments.result)


def time_training(config: RunConfig, window: Window) -> Timing:
    """Train under `config`, whose rollouts are CYCLE_STEPS long, until `window` closes."""
    with workbench(config) as bench:
        before = _learnt(bench)
        while not window.closed:
            rollout = bench.collect()
            if rollout.num_samples != CYCLE_STEPS:
                raise ValueError(f"rollouts have {rollout.num_samples} steps, must have {CYCLE_STEPS}")
            bench.update(rollout)
            window.cycle_ended()
            if window.opens:
                before = _learnt(bench)
        after = _learnt(bench)
    return Timing(
        cycles=window.cycles,
        seconds=window.seconds,
        checked_cycles=window.cycles,
        gradient_steps=after.gradient_steps_since(before),
        parameters=len(after.parameters),
        settings={
            "envs": config.env["num_envs"],
            "workers": config.env.get("num_workers"),
            "torch threads": torch.get_num_threads(),
        },
        versions={name: version(name) for name in ("tedg", "torch", "numpy")},
    )


def _learnt(bench: Workbench) -> Learnt:
    parameters = (p for p in bench.policy.parameters() if p.requires_grad)
    return Learnt.of(parameters, bench.learner.optimizer.state_dict())


if __name__ == "__main__":
    main()
