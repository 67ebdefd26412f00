"""Which cell is started when, and what its end means, until nothing more can be done."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from tedg.errors import CHECK, CONFIG, DIVERGED, FAILED, TedgError
from tedg.signals import StopFlag
from tedg.startup import EXIT_CODES
from tedg.store.rundir import owner
from tedg.sweep.cell import OPEN, Cell, State
from tedg.sweep.launcher import CANCELLED, NEVER_BEGAN, Ended, Launcher, Progress, Waits

TICK_SECONDS = 0.1
LOOK_SECONDS = 1.0  # between two looks at what another driver trains

Notice = Callable[[Cell, str], None]


class Scheduler:
    """Starts cells as there is room, starts lost ones again, and holds children back for their parents."""

    def __init__(self, cells: Sequence[Cell], launcher: Launcher, retries: int, notice: Notice) -> None:
        """`notice` is told of every change of a cell that a user may want to read."""
        self.cells, self._launcher, self._retries, self._notice = cells, launcher, retries, notice
        self._looked_at = 0.0
        self._asked_to_stop = False
        self._queue = list(cells)  # open ones in the order of their turn
        self._pruned: set[Cell] = set()  # that were asked to stop

    def add(self, cell: Cell) -> None:
        """Take in one more, which whoever keeps `cells` has appended to them."""
        self._queue.append(cell)

    def prune(self, cell: Cell) -> None:
        """Have one that runs stop for good, its state saved."""
        self._pruned.add(cell)
        self._launcher.stop_cell(cell)

    def run(self, stop: StopFlag, show: Callable[[], None]) -> None:
        """Until every cell is settled, or all are saved after `stop`; calls `show` at every turn."""
        while self.step(stop):
            show()
            time.sleep(TICK_SECONDS)
        show()

    def step(self, stop: StopFlag) -> bool:
        """One turn; False when there is no other."""
        for news in self._launcher.news():
            if isinstance(news, Progress):
                self._goes_on(news)
            elif isinstance(news, Waits):
                self._waits(news)
            else:
                self._judge(news, stop)
        if stop.save:
            stop.save = False
            self._launcher.save()
        if stop.requested:
            if not self._asked_to_stop:
                self._asked_to_stop = True
                self._launcher.stop()
            return not self._launcher.detached and any(cell.state is State.RUNNING for cell in self.cells)
        self._look_elsewhere()
        let_children_go(self.cells, self._notice)
        self._start()
        return any(cell.state in OPEN for cell in self.cells)

    def _start(self) -> None:
        for cell in [cell for cell in self._queue if cell.state is State.QUEUED]:
            if not self._launcher.has_room():
                return
            if _settled(cell):  # meanwhile, by another driver
                self._notice(cell, _end_of(cell))
                continue
            if not self._launcher.detached and (other := owner(cell.directory)) is not None:
                self._leave_to(cell, other)
                continue
            self._begin(cell)
        # Detached children wait for their parents by themselves: a chain goes on without this process.
        while self._launcher.detached and (ready := [cell for cell in self.cells if _follows(cell)]):
            for cell in ready:
                self._begin(cell)

    def _begin(self, cell: Cell) -> None:
        cell.attempts += 1
        if self._launcher.detached:
            cell.state = State.PENDING
        else:
            cell.state, cell.started = State.RUNNING, time.monotonic()
            self._notice(cell, "started" if cell.attempts == 1 else f"started again ({cell.reason})")
        self._launcher.start(cell)

    def _goes_on(self, news: Progress) -> None:
        cell = news.cell
        cell.fraction, cell.env_steps = news.fraction, news.env_steps
        cell.score = cell.score if news.score is None else news.score
        if cell.state is State.PENDING:
            cell.state, cell.started = State.RUNNING, time.monotonic()
            self._notice(cell, f"job {cell.job} runs")

    def _waits(self, news: Waits) -> None:
        cell = news.cell
        again = "is in the queue again, and will go on from its newest checkpoint"
        if text := news.notice or (again if cell.state is State.RUNNING else ""):
            self._notice(cell, text)
        cell.state = State.PENDING

    def _leave_to(self, cell: Cell, other: str) -> None:
        cell.state = State.ELSEWHERE
        cell.reason = f"trained by {other}"
        self._notice(cell, f"is being trained by {other}; waiting for it")

    def _look_elsewhere(self) -> None:
        """Take over what another driver has finished, or has let go of."""
        now = time.monotonic()
        if now - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = now
        for cell in self.cells:
            if cell.state is State.ELSEWHERE and owner(cell.directory) is None:
                if not _settled(cell):
                    cell.state, cell.reason = State.QUEUED, ""
                self._notice(cell, f"no longer trained elsewhere: {_end_of(cell)}")

    def _judge(self, end: Ended, stop: StopFlag) -> None:
        """What the end of a cell's process means: its result counts first, then how it ended."""
        cell = end.cell
        cell.seconds += end.seconds
        if end.kind == NEVER_BEGAN:
            cell.attempts -= 1
            cell.state = State.WAITING  # for what becomes of its parent: another attempt, or it is blocked
            return None
        if end.kind == "InUse":
            cell.attempts -= 1
            return self._leave_to(cell, owner(cell.directory) or "another process")
        if cell.take_result():
            if cell.state is State.DONE and end.code not in (0, CHECK):
                # Trained before; what it was started for this time, such as more games, went wrong.
                return self._ended_badly(end, stop)
            cell.check_failed = end.code == CHECK
            return self._notice(cell, _end_of(cell))
        return self._ended_badly(end, stop)

    def _ended_badly(self, end: Ended, stop: StopFlag) -> None:
        cell = end.cell
        if cell in self._pruned:
            cell.state = State.PRUNED
            return self._notice(cell, "pruned, its state is saved")
        if stop.requested and end.code in EXIT_CODES.values():
            cell.state = State.STOPPED
            return self._notice(cell, "stopped, its state is saved")
        answered = end.code in EXIT_CODES.values()  # somebody sent it a signal
        killed = (
            end.message or f"killed by {end.signal}"
            if end.code is None
            else f"ended by a signal (exit code {end.code})"
        )
        cell.state = State.LOST if end.code is None or answered else State.FAILED
        cell.reason = killed if cell.state is State.LOST else _reason(end)
        hopeless = end.kind == CANCELLED or (cell.state is State.FAILED and end.code == CONFIG)
        if stop.requested or hopeless or cell.attempts > self._retries:
            return self._notice(cell, f"{cell.state}: {cell.reason}")
        self._notice(cell, f"{cell.state}: {cell.reason}; it will go on from its newest checkpoint")
        cell.state = State.QUEUED
        self._queue.remove(cell)  # it waits for its turn again
        return self._queue.append(cell)


def settle_known(cells: Sequence[Cell], notice: Notice) -> None:
    """Take over what earlier commands have finished, before anything is started."""
    for cell in cells:
        # A child that is done needs no parent any more.
        if _settled(cell) if cell.parent is None else cell.has_nothing_to_do():
            notice(cell, _end_of(cell))
    _train_needed_anew(cells)
    let_children_go(cells, notice)


def _train_needed_anew(cells: Sequence[Cell]) -> None:
    """Parents whose results alone are kept are trained where a child needs their weights, and theirs too."""
    while needing := [cell for cell in cells if cell.state in OPEN and _has_kept_parent(cell)]:
        for cell in needing:
            parent = cell.parent
            if parent is None or parent.kept is None:
                continue  # another child has asked for it
            try:
                parent.train_anew(cell)
            except TedgError as error:
                parent.state, parent.reason = State.FAILED, str(error)


def _has_kept_parent(cell: Cell) -> bool:
    parent = cell.parent
    return parent is not None and parent.state is State.DONE and parent.kept is not None


def let_children_go(cells: Sequence[Cell], notice: Notice) -> None:
    """Queue, settle or block those whose parents are settled; a child may stand before its parent."""
    while ready := [
        cell
        for cell in cells
        if cell.state is State.WAITING and cell.parent is not None and cell.parent.state not in OPEN
    ]:
        for cell in ready:
            assert cell.parent is not None
            if cell.parent.state is not State.DONE:
                cell.state = State.BLOCKED
                cell.reason = f"its parent {cell.parent.label} is {cell.parent.state}"
                notice(cell, f"cannot begin: {cell.reason}")
                continue
            cell.state = State.QUEUED
            if _settled(cell):
                notice(cell, _end_of(cell))


def _follows(cell: Cell) -> bool:
    """Whether a cell waits for a parent that has a job."""
    return (
        cell.state is State.WAITING
        and cell.parent is not None
        and cell.parent.state in (State.PENDING, State.RUNNING)
    )


def _settled(cell: Cell) -> bool:
    """Whether there is nothing to do for a cell, or nothing that can be done."""
    try:
        cell.settle()
    except TedgError as error:
        cell.state, cell.reason = State.FAILED, str(error)
        return True
    return cell.has_nothing_to_do()


def _end_of(cell: Cell) -> str:
    checked = ", but its check failed" if cell.check_failed else ""
    return f"{cell.state}{checked}" + (f": {cell.reason}" if cell.reason else "")


def exit_code(cells: Sequence[Cell]) -> int:
    """The exit code of a sweep that was not stopped: the worst that one of its cells asks for.

    A cell that waits for a parent in vain adds nothing to what its parent says.
    """
    return next(_codes(cells), 0)


def _codes(cells: Sequence[Cell]) -> Iterator[int]:
    states = {cell.state for cell in cells}
    if states & {State.FAILED, State.LOST, State.STOPPED}:
        yield FAILED
    if State.DIVERGED in states:
        yield DIVERGED
    if any(cell.check_failed for cell in cells):
        yield CHECK


def _reason(end: Ended) -> str:
    if end.message:
        return end.message if end.code != 0 else f"{end.message}, without a result"
    return f"ended with exit code {end.code}" + (", without a result" if end.code == 0 else "")
