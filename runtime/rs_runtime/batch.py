"""Do a task for many items, several at a time, in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from threading import Semaphore
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future

__all__ = ["in_order"]

# Tasks that are taken and not done, per worker: enough to keep it busy.  An item may be large.
_AT_WORK = 2
# One slow photo does not stop the others until this many results wait behind it, per worker.
_AHEAD = 8

Item = TypeVar("Item")
Found = TypeVar("Found")


def in_order(
    task: Callable[[Item], Found], items: Iterable[Item | None], workers: int
) -> Iterator[Found]:
    """Yield ``task(item)`` of each item, in the order of the items.

    An item that is None says that the next one may be long in coming: all results that wait are
    yielded first.

    Tasks run in ``workers`` threads, at least 1.  Items are taken in the caller's thread: at most
    2 for each worker that are not done yet, and 8 whose results are not yielded yet.  An error of
    the items is raised after the results of those before it.  What a task raises is raised in its
    place; then, or if the caller stops, tasks that run are waited for and the others left out.
    """
    # Costs 10 ms, which a command that classifies one photo does not pay.
    from concurrent.futures import ThreadPoolExecutor

    waiting: deque[Future[Found]] = deque()
    places = Semaphore(_AT_WORK * workers)
    pool = ThreadPoolExecutor(workers)
    ended: list[Exception] = []
    try:
        for item in _until_error(items, ended):
            if item is None:
                while waiting:
                    yield waiting.popleft().result()
                continue
            places.acquire()
            waiting.append(pool.submit(task, item))
            waiting[-1].add_done_callback(lambda _: places.release())
            while waiting and (waiting[0].done() or len(waiting) >= _AHEAD * workers):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
        if ended:
            raise ended[0]
    finally:
        pool.shutdown(cancel_futures=True)


def _until_error(items: Iterable[Item], ended: list[Exception]) -> Iterator[Item]:
    """Yield the items; append the error that ends them, if one does."""
    try:
        yield from items
    except Exception as error:
        ended.append(error)
