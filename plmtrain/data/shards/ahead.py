"""The process that prepares shards ahead of training, in the order in which they will be read, as far as the cache holds them.

It prepares the next shard as soon as there is room for it, and makes room by removing the shards whose next turn comes latest: in
a long run those that were just read. Removed shards are prepared again when their turn comes again.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from plmtrain import child_processes, stopping
from plmtrain.console import counted, warn
from plmtrain.data.corpus.store import mapped
from plmtrain.data.shards.shard_cache import ShardCache, ShardFacts, ShardRecord, ended, write_failure
from plmtrain.data.shards.shard_order import shards_in_turn
from plmtrain.data.shards.shard_preparation import NoRoom, facts_in, prepare_shard
from plmtrain.errors import DataError, DistributedError, PlmtrainError, Stopped, understood
from plmtrain.files import FolderLock, clear_leftovers, make_folder, remove_folder, size_in_words

if TYPE_CHECKING:
    from plmtrain.text.tokenizer import Tokenizer


_NICENESS = 10
"""Training has precedence on a core that both need: it waits for the slowest of its threads."""


_GRACE = 1.0
"""Seconds in which the process may end by itself, when it is told to. It listens between two chunks of text; what it leaves when
it is killed, the next one clears."""

_MANY = 0.01
"""A share of the lines of a file: if more cannot be read, a user is told of this file, not only of the sum."""


class Turns(NamedTuple):
    """The turns of the order that training reads now: earlier ones are done."""

    first: int
    last: int


@dataclass(frozen=True)
class AheadPlan:
    """The work of the process.

    Args:
        cache: of the run.
        seed: of the run.
        tokenizer: encodes the text.
        held_out: the file with the hashes of held-out documents.
        limit: the most bytes of the cache.
        processes: how many encode a shard.
    """

    cache: ShardCache
    seed: int
    tokenizer: Tokenizer
    held_out: Path
    limit: int
    processes: int


class Ahead:
    """The process, seen from the one that trains.

    Args:
        plan: what it prepares.
        alone: whether no other process trains.
    """

    def __init__(self, plan: AheadPlan, *, alone: bool = True) -> None:
        self._folder, self._alone = plan.cache.folder, alone
        make_folder(plan.cache.folder)
        plan.cache.failure_path.unlink(missing_ok=True)
        # Spawned, since forking a process with threads can hang the child. No daemon, which could not start processes itself.
        context = multiprocessing.get_context("spawn")
        self._turns, theirs = context.Pipe()
        self._sent: Turns | Exception | None = None
        self._owner = os.getpid()
        self._first: int | None = None  # unknown until the turns before the first step are counted
        self._process = context.Process(target=_serve, args=(os.getpid(), theirs, plan), name="ahead")
        with stopping.held():
            self._process.start()
        theirs.close()
        atexit.register(self.end)  # before multiprocessing's own hook, which would wait for it

    def reach(self, turns: Turns) -> None:
        """Tell which turns training reads now."""
        self._first = turns.first
        self._send(turns)

    def ask(self, turn: int) -> None:
        """Tell that the next step cannot be found before a turn is counted, nor read before it is prepared."""
        self._send(Turns(turn if self._first is None else self._first, turn))

    def in_vain(self) -> PlmtrainError | None:
        """Return why no shard will be prepared any more; None if it may be. For whoever waits for one.

        A stop ends the wait. Of several processes that train none may end it alone, while another begins the step: they ask the
        one that prepares, and after its answer, which all read, no shard comes that only some of them saw.
        """
        if os.getpid() != self._owner:
            return None
        if stopping.requested() is not None:
            if self._alone:
                return stopping.stopped()
            if not isinstance(self._sent, Stopped):
                self._send(stopping.stopped())
        lives = self._process.is_alive()  # before the last look for an answer
        with suppress(EOFError, OSError):
            if self._turns.poll():
                answer = self._turns.recv()
                assert isinstance(answer, PlmtrainError)
                return answer
        return None if lives else ended(str(self._folder))

    def _send(self, told: Turns | Exception) -> None:
        """Send turns, or why to end; not from a forked process that loads rows, which is ahead of training."""
        if told != self._sent and os.getpid() == self._owner:
            self._sent = told
            with suppress(OSError):  # it ended: who waits for a shard hears why
                self._turns.send(told)

    def end(self) -> None:
        """End the process, and let it remove what is incomplete, if that takes no longer than a chunk of text."""
        atexit.unregister(self.end)
        self._send(EOFError())  # a process that was forked since holds the pipe open
        self._turns.close()
        self._process.join(_GRACE)
        self._process.kill()
        self._process.join()


def _serve(parent: int, turns: Connection, plan: AheadPlan) -> None:
    child_processes.serve(parent)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the cores are busy with training
    os.nice(_NICENESS)
    try:
        with FolderLock(plan.cache.lock_path), suppress(EOFError):
            Filling(plan).run(turns)
    except Exception as error:
        told = understood(error) or DistributedError(
            f"the process that prepares text ahead of training failed: {type(error).__name__}: {error}",
            str(plan.cache.folder),
            "start the same command again",
        )
        assert isinstance(told, PlmtrainError)
        with suppress(PlmtrainError, OSError, ValueError):  # on a full disk only the process that started this one hears why
            write_failure(plan.cache.failure_path, told)
        with suppress(OSError):
            turns.send(told)
    os._exit(0)  # its own processes are ended, and nothing is left to write


def _hear(turns: Connection) -> Turns:
    """Receive the turns that are read now.

    Raises:
        EOFError: if there is nothing more to prepare.
        Stopped: if the processes that train wait for a shard, and are to stop.
    """
    told = turns.recv()
    if isinstance(told, Exception):
        raise told
    return Turns(*told)


class Filling:
    """Fills the cache of a run, which no other process changes.

    Args:
        plan: what is prepared.
    """

    def __init__(self, plan: AheadPlan) -> None:
        self._plan, self._cache, self._record = plan, plan.cache, ShardRecord(plan.cache.record_path)
        self._held_out: NDArray[np.uint64] = mapped(plan.held_out)
        self._sizes: dict[int, int] = {}  # bytes of each shard in the cache
        self._outgrown: dict[int, int] = {}  # more bytes than these, of shards for which there was no room
        self._growth = 0.0  # the most prepared bytes of a byte of text so far
        self._between_chunks: Callable[[], None] = lambda: None
        clear_leftovers(self._cache.folder)
        wanted = {self._cache.place(number).name: number for number in range(len(self._cache.files))}
        for folder in sorted(path for path in self._cache.folder.iterdir() if path.is_dir()):
            if folder.name in wanted and (facts := facts_in(folder)) is not None:
                self._keep(wanted[folder.name], facts)
            else:
                remove_folder(folder)  # damaged, or of a file that was written anew since

    @property
    def size(self) -> int:
        """The bytes of all shards in the cache."""
        return sum(self._sizes.values())

    def run(self, turns: Connection) -> None:
        """Prepare shards until the other end is closed.

        Raises:
            EOFError: then.
            Stopped: if training stops while it waits.
            DataError: if a shard cannot be read, or the cache cannot hold the shards that a step needs.
        """
        heard = deque([_hear(turns)], maxlen=1)

        def listen() -> None:
            while turns.poll():
                heard.append(_hear(turns))

        self._between_chunks = listen
        while True:
            listen()
            if not self.advance(heard[0]):
                heard.append(_hear(turns))

    def advance(self, reading: Turns) -> bool:
        """Prepare the next shard, or make room for it; return whether there was anything to do.

        Args:
            reading: the turns that are read now.
        """
        shards = len(self._cache.files)
        # An epoch is in a keyed order, so that within two of them each shard has its turn.
        upcoming = shards_in_turn(self._plan.seed, shards, reading.first, 2 * shards)
        next_turns = {shard: turn for turn, shard in reversed(list(enumerate(upcoming, start=reading.first)))}
        latest_first = sorted(self._sizes, key=lambda kept: -next_turns[kept])
        if self.size > self._plan.limit and next_turns[latest_first[0]] > reading.last:
            self._remove(latest_first[0])  # the bound was lowered since
            return True
        missing = [shard for shard in next_turns if shard not in self._sizes]
        if not missing:
            return False
        shard = min(missing, key=lambda missed: next_turns[missed])
        removable = [kept for kept in latest_first if next_turns[kept] > next_turns[shard]]
        needed = next_turns[shard] <= reading.last or not self._sizes
        if self.size + self._expected(shard) <= self._plan.limit or (needed and not removable):
            return self._prepared(shard, needed=needed, removable=removable)
        return self._made_room(removable)

    def _made_room(self, removable: list[int]) -> bool:
        """Remove the shard that is read last of some; return whether there was one."""
        if removable:
            self._remove(removable[0])
        return bool(removable)

    def _prepared(self, shard: int, *, needed: bool, removable: list[int]) -> bool:
        """Prepare a shard in the room that there is; if it is too small, make more, or wait until training has read on.

        Args:
            shard: the shard.
            needed: whether training waits for it.
            removable: shards that are read later, the last one first.
        """
        room = self._plan.limit - self.size
        try:
            facts = prepare_shard(
                self._cache,
                shard,
                self._plan.tokenizer,
                self._held_out,
                known=self._record.of(self._cache.key(shard)),
                room=room,
                processes=self._plan.processes,
                between_chunks=self._between_chunks,
            )
        except NoRoom:
            if needed and not removable:
                raise self._too_small(shard, room) from None
            self._outgrown[shard] = room + 1
            return self._made_room(removable)
        self._keep(shard, facts)
        return True

    def _keep(self, shard: int, facts: ShardFacts) -> None:
        """Count a shard that is prepared."""
        self._sizes[shard] = facts.bytes
        self._growth = max(self._growth, facts.bytes / max(1, self._cache.files.text_bytes(shard)))
        if self._record.of(facts.key) is None:
            self._record.add(facts)
            if facts.skipped > _MANY * (facts.documents + facts.dropped + facts.skipped):
                lines = counted(facts.skipped, "line")
                warn(f"{lines} of {self._cache.files.paths[shard].name} could not be read and are skipped: {facts.first_skipped}")

    def _remove(self, shard: int) -> None:
        remove_folder(self._cache.place(shard))
        del self._sizes[shard]

    def _expected(self, shard: int) -> int:
        """Return the bytes that a shard took before, or else about those that it will take."""
        if (known := self._record.of(self._cache.key(shard))) is not None:
            return known.bytes
        return max(int((self._growth or 1.0) * self._cache.files.text_bytes(shard)), self._outgrown.get(shard, 0))

    def _too_small(self, shard: int, room: int) -> DataError:
        files, others = self._cache.files, len(self._sizes)
        beside = f" beside the {counted(others, 'file')} that the step reads, too" if others else ""
        return DataError(
            f"the cache has no room for a file that a step needs: it takes more than {size_in_words(room)}{beside}",
            f"data.cache_gb={self._plan.limit / 1e9:g}, {files.paths[shard]}",
            "raise data.cache_gb, or divide the files into smaller ones",
        )
