"""Numbers from outcomes."""

from __future__ import annotations

import collections
import math
from collections.abc import Sequence
from dataclasses import dataclass

from dunlin_workload.outcome import Kind, Outcome

_BARS = 20


@dataclass(frozen=True)
class Bar:
    """One bar of a histogram: outcomes of `low` to under `high` seconds."""

    low: float
    high: float
    count: int


@dataclass(frozen=True)
class Summary:
    """A run in numbers. The counts of kinds add up to `total`."""

    total: int
    counts: dict[Kind, int]
    #: Images that needed more than one attempt, and attempts in all.
    retried: int
    attempts: int
    seconds: float
    #: Of those answered, in seconds.
    latencies: tuple[float, ...]
    reasons: dict[str, int]

    @property
    def answered(self) -> int:
        """Images with an answer."""
        return len(self.latencies)

    @property
    def per_second(self) -> float:
        """Answers a second over the whole run."""
        return self.answered / self.seconds if self.seconds > 0 else 0.0

    def percentile(self, share: float) -> float:
        """The latency that `share` (0 to 1) of the answers did not exceed; 0 without answers."""
        if not self.latencies:
            return 0.0
        return self.latencies[max(0, math.ceil(share * len(self.latencies)) - 1)]

    @property
    def mean(self) -> float:
        """The mean latency."""
        return sum(self.latencies) / len(self.latencies) if self.latencies else 0.0


def summary(outcomes: Sequence[Outcome], seconds: float) -> Summary:
    """Counts each outcome once."""
    counted = collections.Counter(outcome.kind for outcome in outcomes)
    reasons = collections.Counter(outcome.reason for outcome in outcomes if outcome.kind is Kind.FAILED)
    return Summary(
        total=len(outcomes),
        counts={kind: counted[kind] for kind in Kind},
        retried=sum(outcome.attempts > 1 for outcome in outcomes),
        attempts=sum(outcome.attempts for outcome in outcomes),
        seconds=seconds,
        latencies=tuple(sorted(outcome.seconds for outcome in outcomes if outcome.kind.ok)),
        reasons=dict(reasons.most_common()),
    )


def histogram(latencies: Sequence[float]) -> list[Bar]:
    """Up to 20 bars of equal width; what is over the 99th percentile by far goes into the last."""
    if not latencies:
        return []
    ordered = sorted(latencies)
    low = ordered[0]
    # One outlier must not press all others into one bar.
    high = min(ordered[-1], 1.5 * ordered[max(0, math.ceil(0.99 * len(ordered)) - 1)])
    width = max((high - low) / _BARS, 1e-6)
    counts = collections.Counter(min(int((one - low) / width), _BARS - 1) for one in ordered)
    bars = max(counts) + 1
    return [
        Bar(low + at * width, ordered[-1] if at == _BARS - 1 else low + (at + 1) * width, counts[at]) for at in range(bars)
    ]


def throughput(outcomes: Sequence[Outcome], seconds: float, parts: int) -> list[float]:
    """Answers a second in each of `parts` equal parts of the run."""
    if seconds <= 0 or parts < 1:
        return []
    counts = [0] * parts
    for outcome in outcomes:
        if outcome.kind.ok:
            counts[min(parts - 1, int((outcome.at + outcome.seconds) / seconds * parts))] += 1
    return [count * parts / seconds for count in counts]
