"""Does pieces of work in several processes, and gives the results in order."""

import os
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import TypeVar

Work = TypeVar("Work")
Result = TypeVar("Result")


def in_order(
    function: Callable[[Work], Result], pieces: Iterable[Work], processes: int, lost: Callable[[Work], Result]
) -> Generator[Result, None, None]:
    """Give `function(piece)` for each piece, in order, whatever the number of processes.

    Few pieces are in flight at any time, so that memory does not grow with their number.

    Args:
        function: importable by name, as its process is started anew (spawned), and without a state.
        pieces: are drawn as they are needed.
        processes: 1 does the work in this process.
        lost: the result of a piece that ends its process, for instance because a decoder crashes.
    """
    if processes == 1:
        yield from map(function, pieces)
        return
    waiting = iter(pieces)
    while True:
        flight: deque[tuple[Work, Future[Result]]] = deque()
        with _pool(processes) as submit:
            try:
                for piece in waiting:
                    flight.append((piece, submit(function, piece)))
                    if len(flight) > 2 * processes:
                        yield flight[0][1].result()
                        flight.popleft()
                while flight:
                    yield flight[0][1].result()
                    flight.popleft()
                return
            except BrokenProcessPool:
                pass
        for piece, _ in flight:  # one of them is to blame: each gets a process of its own
            with _pool(1) as submit:
                try:
                    yield submit(function, piece).result()
                except BrokenProcessPool:
                    yield lost(piece)


@contextmanager
def _pool(processes: int) -> Iterator[Callable[..., Future[Result]]]:
    """Give a function that submits work to so many processes; an interruption waits for what is being done."""
    pool = ProcessPoolExecutor(processes, get_context("spawn"), initializer=_end_with_parent)

    def submit(function: Callable[[Work], Result], piece: Work) -> Future[Result]:
        # A process inherits the signals that are blocked when it is started: Ctrl-C is for this one alone.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return pool.submit(function, piece)
        except BrokenProcessPool as error:
            future: Future[Result] = Future()
            future.set_exception(error)
            return future
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    try:
        yield submit
    finally:
        pool.shutdown(cancel_futures=True)


def _end_with_parent() -> None:
    """End this process when the one that started it was killed: it would wait for work forever."""
    parent = parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    Thread(target=watch, daemon=True).start()
