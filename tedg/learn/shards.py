"""Forward and backward passes of minibatches, shared among processes: one core each."""

from __future__ import annotations

import io
import mmap
import os
import pickle
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from tedg import scratch
from tedg.envs.observation import Observation
from tedg.heap import keep_freed_memory
from tedg.learn.objective import Evaluation
from tedg.learn.parameters import FlatParameters
from tedg.models.policy import MoEPolicy
from tedg.models.routing import Routing
from tedg.processes import (
    MESSAGE_BYTES,
    Child,
    ChildFailure,
    WorkerError,
    attach,
    end,
    launch,
    serving,
    split,
)
from tedg.shared_memory import Layout, part

MIN_SHARD = 64  # samples; smaller parts cost more in calls than a further core brings
ANSWER_SECONDS = 600
BEGIN, EVALUATE, BACKWARD = range(3)
_DOING = ("getting ready for", "evaluating", "differentiating")


@dataclass(frozen=True, slots=True)
class Inputs:
    """What the policy reads to evaluate samples, [N, ...] each."""

    observation: Observation
    action: Tensor
    temperature: Tensor

    def tensors(self) -> dict[str, Tensor]:
        """All of them by name."""
        observation = {f"observation.{name}": value for name, value in self.observation.items()}
        return {**observation, "action": self.action, "temperature": self.temperature}

    def __getitem__(self, index: Tensor) -> Inputs:
        """Those of some of the samples, whose numbers are given."""
        # index_select copies whole rows; indexing with a tensor goes element by element.
        return Inputs.of({name: value.index_select(0, index) for name, value in self.tensors().items()})

    @staticmethod
    def of(tensors: dict[str, Tensor]) -> Inputs:
        """What `tensors` gave."""
        observation = Observation(**part(tensors, "observation"))
        return Inputs(observation, tensors["action"], tensors["temperature"])


class Shard:
    """One part of each minibatch: its forward pass, and later its backward pass."""

    def __init__(self, policy: MoEPolicy) -> None:
        self._policy = policy
        self._parameters = [p for p in policy.parameters() if p.requires_grad]
        self._evaluation: Evaluation | None = None
        self._gradient = self._parameters[0].new_empty(sum(p.numel() for p in self._parameters))

    def evaluate(self, inputs: Inputs, index: Tensor, routing: Routing) -> tuple[Evaluation, Tensor | None]:
        """The policy on some samples, and the operators' scores, detached."""
        of = inputs[index]
        acted = self._policy.get_action_and_value(of.observation, routing, of.temperature, of.action)
        self._evaluation = Evaluation.of(acted)
        scores = acted.output.operator_scores
        return self._evaluation, None if scores is None else scores.detach()

    def backward(self, gradients: Mapping[str, Tensor]) -> Tensor:
        """Flat gradient of all parameters from those of the evaluation; valid until the next call."""
        assert self._evaluation is not None
        outputs, self._evaluation = self._evaluation.tensors(), None
        # Some outputs may be constants: the scores of a routing that reads nobody's, for one.
        live = {name: output for name, output in outputs.items() if output.requires_grad}
        parts = torch.autograd.grad(
            list(live.values()),
            self._parameters,
            [gradients[name] for name in live],
            allow_unused=True,
            materialize_grads=True,
        )
        # New memory of this size would come from the system page by page, in every minibatch.
        return torch.cat([gradient.flatten() for gradient in parts], out=self._gradient)


class Shards:
    """Cuts minibatches into parts and has further processes compute all but the first.

    torch's own way to use several cores splits every single operation, and most operations of a
    minibatch are too small for that; threads would wait for each other's Python. Samples go through
    the network independently, so parts need nothing of each other: what needs all of a minibatch, the
    losses, is computed in between, here. Weights lie in memory that all processes map.

    How a minibatch is cut changes the order in which equal sums are rounded, and nothing else.
    """

    def __init__(
        self, policy: MoEPolicy, parameters: FlatParameters, minibatch_size: int, num_processes: int
    ) -> None:
        """Use up to `num_processes` processes, this one included, each with at least MIN_SHARD samples."""
        self._policy, self._parameters = policy, parameters
        self._minibatch_size = minibatch_size
        possible = num_processes if hasattr(os, "memfd_create") else 1
        self._num_parts = max(1, min(possible, minibatch_size // MIN_SHARD))
        self._own = Shard(policy)
        self._children: list[Child] = []
        self._shared: dict[str, Tensor] = {}
        self._inputs: Inputs | None = None
        self._routing: Routing | None = None
        self._cut: tuple[slice, ...] = ()
        # Runs at the latest when the interpreter ends, so that no process is left waiting.
        self.close = weakref.finalize(self, end, self._children)

    def restart(self) -> None:
        """After a WorkerError: the next `begin` starts new processes, with the weights as they are then."""
        self.close()
        self._children, self._shared = [], {}
        self.close = weakref.finalize(self, end, self._children)

    def begin(self, inputs: Inputs, routing: Routing) -> None:
        """Take the samples of one update. Raises WorkerError, as all other methods do."""
        self._inputs, self._routing = inputs, routing
        if self._num_parts == 1:
            return
        if not self.close.alive:
            raise WorkerError("the learner's processes are closed, or one of them was lost before")
        if not self._shared:
            self._start()
        for name, value in {**inputs.tensors(), **_statistics(self._policy)}.items():
            self._shared[name].copy_(value)
        self._tell(range(len(self._children)), BEGIN, routing)

    def evaluate(self, index: Tensor) -> tuple[Evaluation, Tensor | None]:
        """The policy on the minibatch, cut off from the network, and the operators' scores."""
        assert self._inputs is not None
        assert self._routing is not None
        parts = max(1, min(self._num_parts, len(index) // MIN_SHARD))
        self._cut = split(slice(0, len(index)), parts)
        if parts > 1:
            self._shared["index"][: len(index)] = index
        for child, rows in enumerate(self._cut[1:]):
            self._tell([child], EVALUATE, (rows.start, rows.stop))
        own, scores = self._own.evaluate(self._inputs, index[self._cut[0]], self._routing)
        self._wait(EVALUATE)
        rest = slice(self._cut[0].stop, len(index))
        whole = own.tensors()
        if parts > 1:
            others = part(self._shared, "output")
            whole = {name: torch.cat([output, others[name][rest]]) for name, output in whole.items()}
            if scores is not None:
                scores = torch.cat([scores, self._shared["scores"][rest]])
        return Evaluation(**{name: x.detach().requires_grad_() for name, x in whole.items()}), scores

    def backward(self, gradients: Mapping[str, Tensor]) -> list[Tensor]:
        """Flat gradients of the parameters, one per part, from those of the evaluation's tensors by name."""
        if len(self._cut) > 1:
            first = self._cut[0].stop
            for name, gradient in gradients.items():
                self._shared[f"gradient.{name}"][first : len(gradient)] = gradient[first:]
            self._tell(range(len(self._cut) - 1), BACKWARD, None)
        own = self._own.backward({name: gradient[self._cut[0]] for name, gradient in gradients.items()})
        self._wait(BACKWARD)
        return [own, *(self._shared["summands"][child] for child in range(len(self._cut) - 1))]

    def _tell(self, children: range | list[int], kind: int, content: object) -> None:
        for number in children:
            try:
                self._children[number].send(pickle.dumps((kind, content)))
            except OSError:
                self._receive(number, kind)  # tells what became of it
            if kind == BEGIN:
                self._receive(number, kind)

    def _wait(self, kind: int) -> None:
        for number in range(len(self._cut) - 1):
            self._receive(number, kind)

    def _receive(self, number: int, kind: int) -> None:
        child = self._children[number]
        try:
            child.receive(ANSWER_SECONDS)
        except ChildFailure as failure:
            for other in self._children:
                other.process.kill()
            self.close()
            name = f"learner process {number + 1} (process {child.process.pid})"
            details = f"\n\n{failure.details}" if failure.details else ""
            raise WorkerError(f"{name} {failure.manner} while {_DOING[kind]} samples{details}") from None

    def _start(self) -> None:
        assert self._inputs is not None
        tensors = {**self._inputs.tensors(), **_statistics(self._policy)}
        value = self._parameters.value.detach()
        experts, actions = self._policy.experts.num_experts, self._policy.experts.num_actions
        rows = self._minibatch_size
        for name, shape in Evaluation.shapes(rows, experts, actions).items():
            tensors[f"output.{name}"] = tensors[f"gradient.{name}"] = value.new_empty(shape)
        if (operators := self._policy.logic.expert_of_operator) is not None:
            tensors["scores"] = value.new_empty(rows, len(operators))
        tensors["index"] = torch.empty(rows, dtype=torch.int64)
        tensors["parameters"] = value
        tensors["summands"] = value.new_empty(self._num_parts - 1, len(value))
        layout = Layout.of({name: tensor.numpy() for name, tensor in tensors.items()})
        memory = os.memfd_create("tedg-learner")
        os.ftruncate(memory, layout.size)
        self._shared = _tensors(layout, memory)
        weights = io.BytesIO()
        torch.save(self._policy, weights)
        self._parameters.move(self._shared["parameters"])
        for number in range(self._num_parts - 1):
            setup = partial(_Setup, weights.getvalue(), layout, memory, number)
            self._children.append(launch(serve, setup, [memory]))
        os.close(memory)


@dataclass(frozen=True, slots=True)
class _Setup:
    """What a child reads first."""

    policy: bytes
    layout: Layout
    memory: int  # file
    number: int  # of the child
    channel: int  # socket


def _tensors(layout: Layout, memory: int) -> dict[str, Tensor]:
    """Tensors whose values lie in the file `memory`, for all processes that map it."""
    arrays = layout.over(mmap.mmap(memory, layout.size))
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def serve() -> None:
    """In a child: evaluate and differentiate parts of minibatches until the parent is gone."""
    setup: _Setup = attach()
    torch.set_num_threads(1)
    keep_freed_memory()
    with serving(setup.channel) as channel:
        shared = _tensors(setup.layout, setup.memory)
        os.close(setup.memory)
        # From the parent's pipe, not from a file: nobody else can have written it.
        with scratch.temporary_files():
            policy = torch.load(io.BytesIO(setup.policy), weights_only=False)
        FlatParameters(p for p in policy.parameters() if p.requires_grad).move(shared["parameters"])
        if policy.compiled:
            policy.compile_parts()
        shard, inputs, routing, rows = Shard(policy), Inputs.of(shared), None, slice(0)
        while message := channel.recv(MESSAGE_BYTES):
            kind, content = pickle.loads(message)
            if kind == BEGIN:
                routing = content
                for name, value in _statistics(policy).items():
                    value.copy_(shared[name])
            elif kind == EVALUATE:
                rows = slice(*content)
                assert routing is not None
                evaluation, scores = shard.evaluate(inputs, shared["index"][rows], routing)
                for name, value in evaluation.tensors().items():
                    shared[f"output.{name}"][rows] = value.detach()
                if scores is not None:
                    shared["scores"][rows] = scores
            else:
                gradients = {name: memory[rows] for name, memory in part(shared, "gradient").items()}
                shared["summands"][setup.number] = shard.backward(gradients)
            channel.send(bytes([kind]))


def _statistics(policy: nn.Module) -> dict[str, Tensor]:
    """Running statistics and the like: what an update changes besides parameters."""
    persistent = policy.state_dict()
    return {f"buffer.{name}": buffer for name, buffer in policy.named_buffers() if name in persistent}
