"""Puts known mistakes back into a copy of the package, one at a time, and checks that a test notices each.

Run it as `python tests/mutants.py`; a name or part of one as argument runs those mutants only. It ends
with exit code 1 if a mutant survives or its place is not found, or if a test fails without any mutant.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from queue import Queue
from typing import NamedTuple

REPOSITORY = Path(__file__).resolve().parent.parent
COPIED = ("tedg", "hydra_plugins", "conf", "tests", "tools", "pyproject.toml", "requirements.lock")
TESTS = "tests/test_earlier_mistakes.py"
FAILED = 1  # pytest's exit code where tests ran and some failed; anything above is no verdict


class Mutant(NamedTuple):
    """One mistake: `old`, which must be in `file` exactly once, becomes `new`, and `test` must go red.

    `test` is one of TESTS, or has its file before it.
    """

    name: str
    file: str
    old: str
    new: str
    test: str


MUTANTS = (
    Mutant(
        "01 atoms of the last step for all",
        "tedg/learn/ppo.py",
        "        inputs = Inputs(",
        "        last = rollout.observation.atoms[-1].clone()\n"
        "        rollout.observation.atoms[:] = last\n"
        "        inputs = Inputs(",
        "test_01_the_update_sees_the_atoms_that_were_acted_on",
    ),
    Mutant(
        "01 no atoms in the update",
        "tedg/learn/ppo.py",
        "        inputs = Inputs(",
        "        rollout.observation.atoms.zero_()\n        inputs = Inputs(",
        "test_01_the_update_sees_the_atoms_that_were_acted_on",
    ),
    Mutant(
        "01 no gradient to the graph network",
        "tedg/models/policy.py",
        "        logic = self.logic(observation)\n",
        "        with torch.no_grad():\n            logic = self.logic(observation)\n",
        "test_01_the_graph_network_learns",
    ),
    Mutant(
        "02a advantages over shuffled steps",
        "tedg/learn/rollout.py",
        "    for t in range(len(delta) - 1, -1, -1):",
        "    for t in torch.randperm(len(delta), generator=torch.Generator().manual_seed(0)).tolist():",
        "test_02a_advantages_follow_time_order",
    ),
    Mutant(
        "02b last value 0",
        "tedg/learn/rollout.py",
        "self._valuer.value(self._observation, settings).unsqueeze(0)",
        "torch.zeros_like(value[:1])",
        "test_02b_the_last_value_is_bootstrapped",
    ),
    Mutant(
        "02c truncation is death",
        "tedg/learn/rollout.py",
        "            next_value[index[:, 0], index[:, 1]] = self._valuer.value(final, settings)\n",
        "            next_value[index[:, 0], index[:, 1]] = 0.0\n",
        "test_02c_truncation_is_not_death",
    ),
    Mutant(
        "03 no mask in the update",
        "tedg/models/policy.py",
        "        log_probs = masked_log_probs(output.policy_logits, observation.mask)\n",
        "        mask = observation.mask if action is None else torch.ones_like(observation.mask)\n"
        "        log_probs = masked_log_probs(output.policy_logits, mask)\n",
        "test_03_the_mask_holds_in_the_update",
    ),
    Mutant(
        "04 alignment skipped silently",
        "tedg/learn/ppo.py",
        "        # The running average must see scores before",
        "        if self._probe.operator_scores is None:\n"
        "            self.alignment = None\n"
        "        # The running average must see scores before",
        "test_04_missing_atoms_are_an_error",
    ),
    Mutant(
        "05a a scheduler's learning rate",
        "tedg/learn/ppo.py",
        "        self.optimizer.step()\n",
        "        self.optimizer.step()\n        self.optimizer.param_groups[0]['lr'] = 2.5e-4\n",
        "test_05a_the_stages_learning_rate_survives_updates",
    ),
    Mutant(
        "05b temperature not passed on",
        "tedg/models/policy.py",
        "        router_logits = self._expert_scores(routing.source, context, logic) / column\n",
        "        router_logits = self._expert_scores(routing.source, context, logic)\n",
        "test_05b_the_annealed_temperature_reaches_the_router",
    ),
    Mutant(
        "06a top-2 softmax as sparsemax",
        "tedg/models/routing.py",
        "        return sparsemax(z)\n",
        "        top = z.topk(2, dim=-1)\n"
        "        return torch.zeros_like(z).scatter(-1, top.indices, torch.softmax(top.values, dim=-1))\n",
        "test_06a_sparsemax_is_the_projection_onto_the_simplex",
    ),
    Mutant(
        "06b softmax over heads, one kept",
        "tedg/models/fusion.py",
        "        weights = self.gate(tokens.scores(folded), noise)\n",
        "        scores = tokens.scores(folded)\n"
        "        best = scores.max(dim=1, keepdim=True).values\n"
        "        scores = scores.masked_fill(scores < best, -torch.inf)\n"
        "        weights = torch.softmax(scores, dim=1).nan_to_num()\n",
        "test_06b_attention_chooses_between_keys",
    ),
    Mutant(
        "06c no map in the encoder",
        "tedg/models/vision.py",
        "distinct(crop, ",
        "distinct(torch.full_like(crop, STONE), ",
        "test_06c_the_visual_encoder_reads_the_map",
    ),
    Mutant(
        "06c an MLP on cells, no convolution",
        "tedg/models/vision.py",
        "near.weight, near.bias, ",
        "near.weight * torch.eye(3)[1].outer(torch.eye(3)[1]), near.bias, ",
        "test_06c_the_visual_encoder_reads_the_map",
    ),
    Mutant(
        "07 log-softmax of probabilities",
        "tedg/learn/objective.py",
        "        log_alpha=log_alpha,\n",
        "        log_alpha=soft_alpha.log_softmax(dim=-1),\n",
        "test_07_alignment_is_a_divergence_between_the_two_distributions",
    ),
    Mutant(
        "07 log-softmax in the loss itself",
        "tedg/learn/losses.py",
        "    return functional.kl_div(log_alpha, target.detach(),",
        "    return functional.kl_div(functional.log_softmax(log_alpha.exp(), dim=-1), target.detach(),",
        "test_07_alignment_is_a_divergence_between_the_two_distributions",
    ),
    Mutant(
        "07 scores are norms",
        "tedg/models/logic.py",
        "self.score(table).squeeze(1) + self.pair_log_satisfied[pairs].to(table.dtype)",
        "table.norm(dim=1)",
        "test_07_an_operators_score_depends_on_its_preconditions",
    ),
    Mutant(
        "08 dropout in the ratio",
        "tedg/models/experts.py",
        "nn.Identity()]",
        "nn.Dropout(0.1)]",
        "test_08_the_forward_pass_is_the_same_while_acting_and_while_learning",
    ),
    Mutant(
        "09a hunger in turns",
        "tedg/envs/atoms.py",
        "    a[ATOM.hungry] = hunger == 2\n",
        "    a[ATOM.hungry] = hunger < 150\n",
        "test_09a_hunger_is_an_enumeration",
    ),
    Mutant(
        "09b other numbers for walls",
        "tedg/envs/glyphs.py",
        '    ("WALL", 2360, 2370),\n',
        '    ("WALL", 2359, 2365),\n',
        "test_09b_glyph_numbers_are_nles",
    ),
    Mutant(
        "09b other numbers for objects",
        "tedg/envs/glyphs.py",
        '    ("OBJ", 1906, 2358),\n',
        '    ("OBJ", 400, 800),\n',
        "test_09b_glyph_numbers_are_nles",
    ),
    Mutant(
        "09c the hero counts as a monster",
        "tedg/envs/mapscan.py",
        "            if glyph == STONE or (y == y0 and x == x0):\n",
        "            if glyph == STONE:\n",
        "test_09c_the_hero_is_not_a_monster_beside_itself",
    ),
    Mutant(
        "10a checkpoints written in place",
        "tedg/store/checkpoint.py",
        '    unfinished = directory / f"{final.name}.tmp-{os.getpid()}"\n    try:',
        "    unfinished = final\n    try:",
        "test_10a_a_checkpoint_is_whole_or_absent",
    ),
    Mutant(
        "10b pickles are loaded",
        "tedg/store/checkpoint.py",
        "                tensors[group[1]] = safetensors.torch.load(content)\n",
        "                import io, torch\n"
        "                tensors[group[1]] = torch.load(io.BytesIO(content), weights_only=False)\n",
        "test_10b_nothing_is_ever_unpickled",
    ),
    Mutant(
        "10c the optimiser is not rolled back",
        "tedg/learn/ppo.py",
        "            part.load_state_dict(state[name])",
        '            name == "optim" or part.load_state_dict(state[name])',
        "test_10c_a_rollback_takes_the_optimiser_back",
    ),
    Mutant(
        "part: attention looks everywhere",
        "tedg/models/fusion.py",
        "        weights = self.gate(tokens.scores(folded), noise)\n",
        "        weights = self.gate(0 * tokens.scores(folded), noise)\n",
        "tests/test_fusion.py::test_equals_textbook_attention",
    ),
    Mutant(
        "part: the gate drops nothing",
        "tedg/models/largest.py",
        "    if k >= scores.shape[-1]:\n        return torch.softmax(scores, dim=-1)\n",
        "    if True:\n        return torch.softmax(scores, dim=-1)\n",
        "tests/test_fusion.py::test_the_gate_drops_keys_of_every_head",
    ),
    Mutant(
        "part: the random gate looks at scores",
        "tedg/models/gate.py",
        "by=order",
        "by=scores",
        "tests/test_gate.py::test_a_random_set_is_the_states_own_and_has_nothing_to_do_with_scores",
    ),
    Mutant(
        "part: no average in the alignment target",
        "tedg/learn/losses.py",
        "torch.softmax((means - self.average) / temperature, dim=1)",
        "torch.softmax(means / temperature, dim=1)",
        "tests/test_losses.py::test_an_always_available_expert_does_not_win",
    ),
    Mutant(
        "part: temporal loss across episodes",
        "tedg/learn/losses.py",
        "    return squared.where(continues, 0).sum()",
        "    return squared.sum()",
        "tests/test_losses.py::test_temporal",
    ),
    Mutant(
        "part: no smallest norm of an expert",
        "tedg/learn/losses.py",
        "    defined = squared > _MIN_NORM**2\n",
        "    defined = squared >= 0\n",
        "tests/test_losses.py::test_an_expert_without_preference_gives_zero_and_no_nan",
    ),
    Mutant(
        "part: no epsilon under the advantages' deviation",
        "tedg/learn/objective.py",
        "(advantage.std(correction=0) + 1e-8)",
        "advantage.std(correction=0)",
        "tests/test_learner.py::test_equal_advantages_do_no_harm",
    ),
    Mutant(
        "part: routing ignores the annealed exponent",
        "tedg/learn/stages.py",
        "            routing=self.routing.at(self.name, progress),\n",
        "            routing=self.routing.at(self.name, 0.0),\n",
        "tests/test_stages.py::test_entmax_moves_from_softmax_to_sparsemax_over_the_curriculum",
    ),
    Mutant(
        "part: dropout draws new masks",
        "tedg/models/experts.py",
        "                kept = uniform(noise, Salt.DROPOUT + layer, units) >= self.dropout\n",
        "                kept = torch.rand(len(noise), *units) >= self.dropout\n",
        "tests/test_noise.py::test_dropout_leaves_out_the_same_units_again_and_none_in_evaluation",
    ),
    Mutant(
        "lost: a checkpoint written in place",
        "tedg/store/checkpoint.py",
        '    unfinished = directory / f"{final.name}.tmp-{os.getpid()}"\n',
        "    unfinished = final\n",
        "tests/test_checkpoint.py::test_a_crash_or_full_disk_at_any_operation_leaves_a_whole_checkpoint",
    ),
    Mutant(
        "lost: renamed before the manifest",
        "tedg/store/checkpoint.py",
        "        _write(unfinished / _MANIFEST, _manifest(step, files, meta or {}, quality))\n"
        "        _sync_directory(unfinished)\n"
        "        os.rename(unfinished, final)\n",
        "        os.rename(unfinished, final)\n"
        "        _write(final / _MANIFEST, _manifest(step, files, meta or {}, quality))\n",
        "tests/test_checkpoint.py::test_a_crash_or_full_disk_at_any_operation_leaves_a_whole_checkpoint",
    ),
    Mutant(
        "lost: a file's hash ignored",
        "tedg/store/checkpoint.py",
        '            if _digest(content) != expected["sha256"]:\n',
        "            if False:\n",
        "tests/test_checkpoint.py::test_every_single_bit_flip_of_a_weight_is_noticed",
    ),
    Mutant(
        "lost: a random generator forgotten",
        "tedg/learn/trainer.py",
        '{"sampling": self.sampling, "minibatches": minibatches}',
        '{"sampling": self.sampling}',
        "tests/test_resume.py::test_stopped_after_every_update_it_ends_as_if_never_stopped[plain]",
    ),
    Mutant(
        "lost: the optimiser skipped in rollback",
        "tedg/learn/ppo.py",
        "            part.load_state_dict(state[name])",
        '            name == "optim" or part.load_state_dict(state[name])',
        "tests/test_faults.py::test_gradients_that_are_not_numbers_change_nothing",
    ),
    Mutant(
        "lost: a game's digest ignored",
        "tedg/envs/digests.py",
        "if position.digest is not None and position.digest != self._digest_like(position.digest, env)",
        "if False",
        "tests/test_resuming_games.py::test_a_game_that_strays_is_given_up_and_the_next_begins[nethack]",
    ),
    Mutant(
        "lost: games begun anew",
        "tedg/learn/snapshot.py",
        'bytes.fromhex(place["actions"])',
        'b""',
        "tests/test_resume.py::test_stopped_after_every_update_it_ends_as_if_never_stopped[plain]",
    ),
    Mutant(
        "lost: training waits for a tracker",
        "tedg/store/trackers.py",
        "self._rows.put_nowait(row)",
        "self._rows.put(row, timeout=0.05)",
        "tests/test_trackers.py::test_a_tracker_that_hangs_is_waited_for_at_the_end_and_for_so_long[made]",
    ),
    Mutant(
        "lost: rows after the checkpoint kept",
        "tedg/store/runlog.py",
        "            log.truncate_after(update)\n",
        "            pass\n",
        "tests/test_resume.py::test_torn_and_late_rows_are_dropped_and_written_again[row]",
    ),
    Mutant(
        "lost: worker's games called dead",
        "tedg/envs/vector.py",
        "        memory.terminated[row], memory.truncated[row] = False, True\n",
        "        memory.terminated[row], memory.truncated[row] = True, False\n",
        "tests/test_lost_workers.py::test_its_games_are_cut_off_and_the_others_go_on[out of memory]",
    ),
    Mutant(
        "statistics: no correction by Holm",
        "tedg/statistics/sign_flip.py",
        "values[order] * np.arange(len(values), 0, -1)",
        "values[order]",
        "tests/test_verdict.py::test_more_contrasts_take_more_evidence",
    ),
    Mutant(
        "statistics: a one-sided p",
        "tedg/statistics/sign_flip.py",
        "min(1.0, 2 * _share_reaching(d, threshold))",
        "_share_reaching(d, threshold)",
        "tests/test_verdict.py::test_five_seeds_decide_nothing_and_six_do",
    ),
    Mutant(
        "statistics: lambda knows the current sign",
        "tedg/statistics/anytime.py",
        "np.cumsum(d * d, axis=-1)",
        "np.cumsum(np.where(d > 0, 0.5, 1) * d * d, axis=-1)",
        "tests/test_anytime.py::test_over_all_signs_it_is_a_martingale",
    ),
    Mutant(
        "statistics: pairs enter as they finish",
        "tedg/statistics/verdict.py",
        "else contrast.pairs.prefix(rules.planned)",
        "else contrast.pairs",
        "tests/test_verdict.py::test_at_any_time_the_pairs_after_a_gap_wait",
    ),
    Mutant(
        "compare: an early look has a verdict",
        "tedg/compare/judging.py",
        "    elif early is not None:\n        reasons",
        "    elif False:\n        reasons",
        "tests/test_compare_refusals.py::test_unfinished_runs_are_looked_at_only_by_peeking_and_decide_nothing",
    ),
    Mutant(
        "compare: what is unknown is dead",
        "tedg/compare/liveness.py",
        "return None if found is None else bool(found == value)",
        "return bool((found or 0) == value)",
        "tests/test_compare_liveness.py::test_figures_that_are_missing_are_unknown_and_not_dead",
    ),
    Mutant(
        "compare: a contrast that is refused leaves its family",
        "tedg/compare/judging.py",
        "looked = [_look(one, study, arms, by) for one in own]",
        "looked = [one for one in (_look(one, study, arms, by) for one in own) if not one.refused]",
        "tests/test_compare_plan.py::test_a_family_is_corrected_for_itself_and_keeps_what_is_missing",
    ),
    Mutant(
        "compare: the stages before a run do not count",
        "tedg/compare/unlike.py",
        "if pair[0] != pair[1]]:",
        "if False]:",
        "tests/test_compare_refusals.py::test_a_bad_study_has_its_sentence_and_no_verdict",
    ),
    Mutant(
        "sweep: cells outlive their driver",
        "tedg/sweep/child.py",
        "    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT)\n",
        "",
        "tests/test_sweeps.py::test_cells_save_and_end_when_their_driver_is_killed",
    ),
    Mutant(
        "sweep: children of a failed parent begin",
        "tedg/sweep/scheduler.py",
        "            if cell.parent.state is not State.DONE:\n",
        "            if cell.parent.state is State.BLOCKED:\n",
        "tests/test_sweep_scheduler.py::test_children_of_a_parent_that_failed_wait_and_say_so",
    ),
    Mutant(
        "capture: numbers stay as they were recorded",
        "tedg/learn/held.py",
        "            self._numbers[name].fill_(value)\n",
        "            self._numbers[name].any() or self._numbers[name].fill_(value)\n",
        "tests/test_capture.py::test_an_annealed_exponent_is_read_anew",
    ),
    Mutant(
        "capture: tensors of the update before are still held",
        "tedg/learn/held.py",
        "            self.tensors = dict(tensors)\n",
        "            self.tensors |= tensors\n",
        "test_04_missing_atoms_are_an_error",
    ),
    Mutant(
        "capture: a rollback gives the optimiser other memory",
        "tedg/learn/adam.py",
        "tensor.copy_(given[name])\n",
        "own.update({name: given[name].clone()})\n",
        "tests/test_capture.py::test_a_fault_rolls_a_captured_update_back",
    ),
    Mutant(
        "capture: embeddings are looked up in other memory",
        "tedg/models/logic.py",
        "                kept.copy_(table)\n",
        "                pass\n            self._tables = tables\n",
        "tests/test_capture.py::test_replayed_updates_equal_plain_ones",
    ),
    Mutant(
        "acting: every step has the same draws",
        "tedg/learn/acting.py",
        "        self._race.exponential_(generator=self._generator)\n",
        "            self._race.exponential_(generator=self._generator)\n",
        "tests/test_capture.py::test_every_step_has_draws_of_its_own",
    ),
    Mutant(
        "sweep: an end without a result is done",
        "tedg/sweep/scheduler.py",
        "(cell.state is State.FAILED and end.code == CONFIG)\n",
        "(cell.state is State.FAILED and end.code in (0, CONFIG))\n",
        "tests/test_sweep_scheduler.py::test_every_end_has_its_state_and_the_sweep_its_exit_code",
    ),
    Mutant(
        "kept: a result of another run counts",
        "tedg/store/kept.py",
        '        if result.get("run_id") != run_id:\n',
        "        if False:\n",
        "tests/test_kept.py::test_damaged_files_are_named_and_never_count[of another run]",
    ),
    Mutant(
        "kept: another result is written over",
        "tedg/study/keep.py",
        "    old, new = read_kept(target), json.loads(result)\n",
        '    return ""\n    old, new = read_kept(target), json.loads(result)\n',
        "tests/test_kept.py::test_keep_overwrites_no_other_result_and_says_what_it_does",
    ),
    Mutant(
        "kept: parents without weights begun from",
        "tedg/sweep/scheduler.py",
        "    _train_needed_anew(cells)\n",
        "",
        "tests/test_kept.py::test_a_parent_is_trained_again_only_for_a_child_that_needs_its_weights",
    ),
    Mutant(
        "totals: of the parent alone",
        "tedg/run/totals.py",
        'result.get("total_env_steps", own.get("env_steps"))',
        'result.get("env_steps")',
        "tests/test_totals.py::test_a_chain_counts_from_its_first_stage",
    ),
    Mutant(
        "slurm: a task requeues its whole array",
        "tedg/slurm.py",
        '    return job if job is None or array is None or task is None else f"{array}_{task}"\n',
        "    return job\n",
        "tests/test_slurm_launcher.py::test_a_task_of_an_array_requeues_itself_alone",
    ),
    Mutant(
        "slurm: a second command submits again",
        "tedg/sweep/slurm_launcher.py",
        "            self._adopted.add(cell)\n            self._jobs[cell] = job\n",
        "            pass\n",
        "tests/test_slurm_launcher.py::test_jobs_are_submitted_once_by_any_number_of_commands",
    ),
    Mutant(
        "slurm: a child begins with fresh weights",
        "tedg/sweep/slurm_job.py",
        "    if errand.parent is not None and not is_finished(errand.parent):\n",
        "    if errand.parent is not None and is_finished(errand.parent):\n",
        "tests/test_slurm_launcher.py::test_a_child_does_not_begin_without_its_parents_weights",
    ),
)


def main(wanted: list[str]) -> int:
    """Print a table of mutants and what became of each; returns the exit code."""
    mutants = [m for m in MUTANTS if not wanted or any(part in m.name for part in wanted)]
    start, survived = time.monotonic(), 0
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(cores) as pool:
        copies = Copies(Path(folder), cores)
        code, reason = _check_unchanged(copies, sorted({m.test for m in mutants}))
        if code != 0:
            print(f"the tests fail without any mutant; repair them first\n{reason}")
            return 1
        verdicts = pool.map(partial(_try, copies), mutants)
        for mutant, (verdict, reason) in zip(mutants, verdicts, strict=True):
            survived += verdict != "red"
            print(f"{mutant.name:<36} {verdict:<8} {mutant.test}\n{'':<45} {reason}", flush=True)
    print(f"{len(mutants)} mutants, {survived} not noticed, {time.monotonic() - start:.0f} s")
    return int(survived > 0)


class Copies:
    """Folders for copies of all that the tests need; each is used again and again, by one at a time.

    Compiled kernels are kept by the path of their source, so only a mutant of theirs has to wait for them.
    """

    def __init__(self, root: Path, count: int) -> None:
        self.kernels = root / "kernels"
        self._free: Queue[Path] = Queue()
        for number in range(count):
            self._free.put(root / f"copy-{number}")

    @contextmanager
    def fresh(self) -> Iterator[Path]:
        """A copy of the repository as it is."""
        folder = self._free.get()
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name in COPIED:
            source, target = REPOSITORY / name, folder / name
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(source, target)
        yield folder
        self._free.put(folder)

    def environment(self, copy: Path) -> dict[str, str]:
        """Variables for a process that is to import the copy."""
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("TEDG_")},
            "PYTHONPATH": str(copy),
            "PYTHONDONTWRITEBYTECODE": "1",
            "NUMBA_CACHE_DIR": str(self.kernels),
            "OMP_NUM_THREADS": "1",
        }


def _check_unchanged(copies: Copies, tests: list[str]) -> tuple[int, str]:
    """What `_run` says of a copy without any mutant."""
    with copies.fresh() as copy:
        command = [sys.executable, "-c", "import tedg; print(tedg.__file__)"]
        found = subprocess.check_output(command, cwd=copy, env=copies.environment(copy), text=True).strip()
        # An installed checkout must not hide the copy, or every mutant would survive.
        assert Path(found).is_relative_to(copy), f"{found} is not inside {copy}"
        return _run(copies, copy, tests)


def _try(copies: Copies, mutant: Mutant) -> tuple[str, str]:
    """(verdict, why): the verdict is "red" where the test fails as it should."""
    with copies.fresh() as copy:
        path = copy / mutant.file
        text = path.read_text()
        if text.count(mutant.old) != 1:
            return "NO PLACE", f"its text is {text.count(mutant.old)} times in {mutant.file}"
        path.write_text(text.replace(mutant.old, mutant.new))
        code, reason = _run(copies, copy, [mutant.test])
        return {0: "GREEN", FAILED: "red"}.get(code, "BROKEN"), reason


def _run(copies: Copies, copy: Path, tests: list[str]) -> tuple[int, str]:
    """pytest's exit code, and the first line that explains a failure."""
    ids = [test if "::" in test else f"{TESTS}::{test}" for test in tests]
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *ids]
    done = subprocess.run(command, cwd=copy, env=copies.environment(copy), capture_output=True, text=True)
    reasons = [line[1:].strip() for line in done.stdout.splitlines() if line.startswith("E ")]
    return done.returncode, reasons[0][:100] if reasons else ""


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description="Puts mistakes back into a copy of the code; each must be noticed."
    )
    parser.add_argument("names", nargs="*", help="parts of the names of those to try; none: all")
    sys.exit(main(parser.parse_args().names))
