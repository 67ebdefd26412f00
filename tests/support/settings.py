"""All sets of overrides that make runs small; each says what it is for."""

from __future__ import annotations

# On one thread of the CPU, and without TensorBoard.
ONE_THREAD = ("device=cpu", "logger=none", "threads=1")

# Narrow layers and short rollouts: what is tested with them does not depend on width.
NARROW = (
    "logic.output_dim=16",
    "vision.token_dim=8",
    "vision.head_dim=16",
    "policy.router_hidden=[16]",
    "policy.expert_hidden=[16]",
    "policy.critic_hidden=[16]",
    "ppo.num_steps=16",
    "ppo.num_epochs=1",
    "ppo.minibatch_size=32",
)

# A whole run on the toy, without a part that has a graph; for logic=none.
TINY_WITHOUT_GRAPH = (
    "env=fake",
    "env.num_envs=4",
    "env.max_episode_steps=10",
    *NARROW,
    "budget.env_steps=128",
    "eval.games=2",
    "eval.players=[random]",
    "checkpoint.every_updates=1",
    *ONE_THREAD,
)

# A whole run of a second on the toy: two updates with a checkpoint each, and two games of evaluation.
TINY = (*TINY_WITHOUT_GRAPH, "logic.embedding_dim=8")

# After TINY: the variant that is built and trained fastest.
FASTEST = ("fusion=concat", "vision=state")

# After TINY: NetHack instead of the toy, with workers, and no evaluation.
ON_NETHACK = (
    "env=nethack_score",
    "env.num_envs=4",
    "env.num_workers=2",
    "env.max_episode_steps=40",
    "eval.players=[]",
)

# After TINY: long enough for the check after a run to say something.
CHECKED = ("+experiment=check", "budget.env_steps=null", "eval.games=20", "eval.players=[random_legal]")

# Through all stages of the curriculum, with TensorBoard; what the next sets have in common.
_THROUGH_THE_STAGES = (
    "logic.embedding_dim=16",
    "logic.output_dim=32",
    "policy.expert_hidden=[32]",
    "policy.critic_hidden=[32]",
    "logger=tensorboard",
    "device=cpu",
    "init_from=none",
    "stage=curriculum",
)

# Runs that are long enough to be stopped or killed at many places, by the game that they play.
LONG_ENOUGH_TO_STOP = {
    "nethack": (
        "env=nethack_score",
        "env.num_envs=8",
        "env.num_workers=2",
        "env.max_episode_steps=80",
        "ppo.num_steps=32",
        "ppo.minibatch_size=128",
        "ppo.num_epochs=2",
        "threads=2",
        "budget.env_steps=10240",
        "checkpoint.every_updates=3",
        "eval.games=8",
        "eval.players=[random_legal]",
        *_THROUGH_THE_STAGES,
    ),
    "default": (  # the sizes of preset=default, on all cores
        "budget.env_steps=65536",
        "checkpoint.every_updates=3",
        "eval.games=8",
        "eval.players=[]",
        "logger=tensorboard",
        "device=cpu",
        "init_from=none",
        "stage=curriculum",
    ),
    "toy": (
        "env=fake",
        "env.num_envs=4",
        "env.max_episode_steps=10",
        "ppo.num_steps=16",
        "ppo.minibatch_size=32",
        "vision.head_dim=16",
        "vision.token_dim=8",
        "ppo.num_epochs=1",
        "threads=1",
        "budget.env_steps=640",
        "checkpoint.every_updates=2",
        "eval.games=4",
        "eval.players=[random]",
        *_THROUGH_THE_STAGES,
    ),
}

# A few updates of any cell at its real width, for tests/every_cell.py.
ONE_CELL = (
    "env.num_envs=8",
    "ppo.num_steps=8",
    "ppo.num_epochs=1",
    "ppo.minibatch_size=64",
    "eval.games=0",
    "eval.players=[]",
    *ONE_THREAD,
)

# A probe in seconds: narrow layers and a short horizon. Nothing here belongs to one fusion or encoder.
QUICK_PROBE = (
    *ONE_THREAD,
    "logic.output_dim=32",
    "vision.token_dim=16",
    "vision.head_dim=32",
    "policy.router_hidden=[32]",
    "policy.expert_hidden=[32]",
    "policy.critic_hidden=[64]",
    "stage.learning_rate=1e-3",
    "stage.entropy_coef=0.01",
    "env.num_envs=64",
    "ppo.num_steps=8",
    "ppo.minibatch_size=128",
    "ppo.gamma=0.9",
    "ppo.gae_lambda=0.95",
    "ppo.normalise_rewards=false",
)

# A probe with the network and the learning rate of a real run.
FULL_WIDTH_PROBE = (*ONE_THREAD, "ppo.num_steps=32", "stage.learning_rate=1e-3")

# For the contracts: settings of no part that is an option there, so that they hold for parts yet to come.
ANY_PART = (
    *ONE_THREAD,
    "stage.learning_rate=1e-3",
    "stage.entropy_coef=0.01",
    "ppo.num_steps=16",
    "ppo.minibatch_size=128",
    "ppo.gamma=0.9",
)
