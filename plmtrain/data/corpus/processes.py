"""Map a function over many items in several processes, with the results in the order of the items.

Each process has one item at a time and gets the next as soon as it is done, so that the pipes never fill up in both directions.
All end with their parent.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Generic, TypeVar

from plmtrain import child_processes
from plmtrain.errors import DistributedError
from plmtrain.stopping import safe_point

Common = TypeVar("Common")
Item = TypeVar("Item")
Result = TypeVar("Result")


@contextmanager
def ordered_map(
    function: Callable[[Common, Item], Result], common: Common, items: Iterable[Item], processes: int
) -> Iterator[Iterator[Result]]:
    """Yield ``function(common, item)`` for each item, in order; the processes end with the ``with``.

    Memory holds a few items for each process, however many there are.

    Args:
        function: a module-level function, so that other processes can import it.
        common: the first argument of each call; sent to each process once.
        items: what to process; read as the work goes on.
        processes: how many processes; with 1 this process does the work.

    Raises:
        Stopped: if a signal requested it.
        DistributedError: if a process was killed.
        Exception: whatever the function raised.
    """
    if processes == 1:
        yield _here(function, common, items)
        return
    with _Pool(function, common, processes) as pool:
        yield pool.map(items)


def _here(function: Callable[[Common, Item], Result], common: Common, items: Iterable[Item]) -> Iterator[Result]:
    for item in items:
        safe_point()
        yield function(common, item)


class _Pool(Generic[Common, Item, Result]):
    def __init__(self, function: Callable[[Common, Item], Result], common: Common, processes: int) -> None:
        self._function, self._common, self._count = function, common, processes
        # Spawned, since forking a process with threads (the tokenizer's, torch's) can hang the child.
        self._context = multiprocessing.get_context("spawn")
        self._processes: dict[Connection, SpawnProcess] = {}

    def __enter__(self) -> _Pool[Common, Item, Result]:
        return self

    def _start(self) -> Connection:
        """Start one more process, and return the connection to it."""
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_work, args=(os.getpid(), theirs, self._function, self._common), daemon=True)
        process.start()
        theirs.close()
        self._processes[ours] = process
        return ours

    def __exit__(self, *_: object) -> None:
        for connection, process in self._processes.items():
            connection.close()
            process.kill()
            process.join()

    def map(self, items: Iterable[Item]) -> Iterator[Result]:
        source = enumerate(items)
        idle, busy = list[Connection](), dict[Connection, int]()
        done: dict[int, Result] = {}
        wanted, more = 0, True
        while more or busy or done:
            # Only this far ahead of what is wanted: the results must not pile up behind a slow item.
            while more and len(busy) < self._count and len(busy) + len(done) < 4 * self._count:
                try:
                    number, item = next(source)
                except StopIteration:
                    more = False
                    break
                # Started as items come: many processes for few items would only take time and memory.
                connection = idle.pop() if idle else self._start()
                busy[connection] = number
                with self._alive(connection):
                    connection.send(item)
            safe_point()
            for ready in wait(list(busy), timeout=0.2):
                assert isinstance(ready, Connection)
                with self._alive(ready):
                    result, error = ready.recv()
                if error is not None:
                    raise error
                done[busy.pop(ready)] = result
                idle.append(ready)
            while wanted in done:
                yield done.pop(wanted)
                wanted += 1

    @contextmanager
    def _alive(self, connection: Connection) -> Iterator[None]:
        try:
            yield
        except (EOFError, OSError):
            safe_point()  # a signal to the whole group may have reached the process before it learnt to ignore it
            process = self._processes[connection]
            process.join(1)
            raise DistributedError(
                f"a process that prepares the text (process {process.pid}) ended with exit code {process.exitcode}",
                "its results are discarded",
                "start the same command again; if memory ran out, use fewer data.processes",
            ) from None


def _work(parent: int, connection: Connection, function: Callable[[Common, Item], Result], common: Common) -> None:
    # A signal to the whole group asks the parent to stop, and the parent ends this process.
    child_processes.serve(parent)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the cores are busy with the other processes
    with suppress(EOFError, OSError):
        while True:
            item = connection.recv()
            answer: tuple[Result | None, Exception | None]
            try:
                answer = function(common, item), None
            except Exception as error:
                answer = None, error
            connection.send(answer)
