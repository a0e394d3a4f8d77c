"""Sends all images, so many at once or so many a second, and gathers their outcomes."""

from __future__ import annotations

import itertools
import queue
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dunlin_workload.outcome import Kind, Outcome
from dunlin_workload.send import Sender

#: What is sent of a folder. The old generators sent whatever lay there, `.DS_Store` too.
EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp")


@dataclass(frozen=True)
class Load:
    """How images are sent."""

    images: Sequence[Path]
    #: At once, at most.
    concurrency: int
    #: Begun in each second, whatever the answers do; None: the next when one is answered.
    rate: float | None = None


def find(folder: Path) -> list[Path]:
    """The images in a folder, by name."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in EXTENSIONS and path.is_file())


def choose(found: Sequence[Path], count: int | None, seed: int | None) -> list[Path]:
    """So many of the images: in order and round again, or by chance where there is a seed (no image twice, if there are
    enough).
    """
    wanted = len(found) if count is None else count
    if seed is None:
        return list(itertools.islice(itertools.cycle(found), wanted)) if found else []
    chance = random.Random(seed)  # noqa: S311
    chosen: list[Path] = []
    while found and len(chosen) < wanted:
        chosen += chance.sample(found, min(len(found), wanted - len(chosen)))
    return chosen


class Run:
    """One run. `go` gives as many outcomes as there are images, in their order, whatever happens."""

    def __init__(self, load: Load, sender: Sender, stop: threading.Event, tell: Callable[[Outcome], None]) -> None:
        self._load = load
        self._sender = sender
        self._stop = stop
        self._tell = tell
        self._outcomes: list[Outcome | None] = [None] * len(load.images)
        self._next: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._started = 0.0
        self.seconds = 0.0

    def go(self) -> list[Outcome]:
        """Sends everything and waits. Ctrl-C ends it: what is on its way is waited for, the rest is not sent."""
        for number in range(len(self._load.images)):
            self._next.put(number)
        self._started = time.monotonic()
        count = min(self._load.concurrency, len(self._load.images))
        threads = [threading.Thread(target=self._work, daemon=True) for _ in range(count)]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                thread.join()
        except KeyboardInterrupt:
            self._stop.set()
            for thread in threads:
                thread.join()
        self.seconds = time.monotonic() - self._started
        return [outcome or Outcome(path.name, Kind.NOT_SENT) for path, outcome in zip(self._load.images, self._outcomes)]

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                number = self._next.get_nowait()
            except queue.Empty:
                return
            since = time.monotonic()
            if self._load.rate is not None:
                # An image's time begins when it is due, also where no thread is free: a slow server cannot hide it.
                since = self._started + number / self._load.rate
                if self._stop.wait(max(0.0, since - time.monotonic())):
                    return
            path = self._load.images[number]
            at = since - self._started
            try:
                outcome = self._sender.send(path, at, since)
            except Exception as error:  # a fault here must not take an image out of the count
                took = time.monotonic() - since
                outcome = Outcome(path.name, Kind.FAILED, at, took, 1, reason=type(error).__name__, told=str(error))
            self._outcomes[number] = outcome
            self._tell(outcome)
