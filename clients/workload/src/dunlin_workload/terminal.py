"""The run on a terminal: a line for each image, the numbers, a plot."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from dunlin_workload.measure import Summary, histogram, throughput
from dunlin_workload.outcome import Kind, Outcome

_WIDTH = 40
#: Reasons and wrong labels that are listed; the page and the JSON have all.
_LISTED_MAX = 10


def line(outcome: Outcome) -> str:
    """One image's."""
    took = f"{outcome.seconds * 1000:.0f} ms"
    again = f", attempt {outcome.attempts}" if outcome.attempts > 1 else ""
    if outcome.kind is Kind.FAILED:
        return f"{outcome.name}: failed: {outcome.reason} {clean(outcome.told)} ({took}{again})"
    wrong = f", right is {outcome.expected!r}" if outcome.kind is Kind.WRONG else ""
    return f"{outcome.name}: {clean(outcome.label)} ({took}{again}{wrong})"


def clean(text: str) -> str:
    """What a server said, as one line that moves no cursor."""
    return "".join(sign if sign.isprintable() else " " for sign in text).strip()


def report(numbers: Summary, outcomes: Sequence[Outcome]) -> str:
    """The numbers and the plot."""
    counts = numbers.counts
    rows = [
        ("Total number of images", numbers.total),
        ("Total number of answered images", numbers.answered),
        ("  right label", counts[Kind.RIGHT]),
        ("  wrong label", counts[Kind.WRONG]),
        ("  label not known to be right or wrong", counts[Kind.ANSWERED]),
        ("Total number of failed images", counts[Kind.FAILED]),
        ("Images that were not sent", counts[Kind.NOT_SENT]),
        ("Images that needed a repetition", numbers.retried),
    ]
    told = [f"[Workload-gen] {name}: {value}" for name, value in rows]
    told.append(f"[Workload-gen] Total Test Duration: {numbers.seconds:.2f} s ({numbers.per_second:.1f} answers a second)")
    for reason, count in list(numbers.reasons.items())[:_LISTED_MAX]:
        told.append(f"  failed: {clean(reason)}: {count}")
    wrong = [outcome for outcome in outcomes if outcome.kind is Kind.WRONG]
    told += [f"  {one.name}: {clean(one.label)!r} and not {one.expected!r}" for one in wrong[:_LISTED_MAX]]
    if len(wrong) > _LISTED_MAX:
        told.append(f"  and {len(wrong) - _LISTED_MAX} more wrong labels")
    return "\n".join([*told, *plot(numbers, outcomes)])


def plot(numbers: Summary, outcomes: Sequence[Outcome]) -> list[str]:
    """The latencies as bars, and the answers a second over the run as a line."""
    bars = histogram(numbers.latencies)
    if not bars:
        return []
    quantiles = ", ".join(f"p{share:g} {_time(numbers.percentile(share / 100))}" for share in (50, 95, 99))
    told = ["", f"latency: {quantiles}, most {_time(numbers.latencies[-1])}"]
    most = max(bar.count for bar in bars)
    full, rest, levels = _signs()
    for bar in bars:
        eighths = round(bar.count / most * _WIDTH * 8)
        drawn = full * (eighths // 8) + (rest[eighths % 8] if eighths % 8 else "")
        told.append(f"  {_time(bar.low):>9} {drawn or ('.' if bar.count else '')} {bar.count or ''}".rstrip())
    parts = throughput(outcomes, numbers.seconds, 60)
    top = max(parts, default=0.0)
    if top:
        drawn = "".join(levels[min(len(levels) - 1, round(part / top * (len(levels) - 1)))] for part in parts)
        told += ["", f"answers a second, at most {top:.1f}:", f"  {drawn}"]
    return told


def _signs() -> tuple[str, str, str]:
    """Blocks where the terminal can show them."""
    try:
        "█▏▁".encode(sys.stdout.encoding or "ascii")
    except UnicodeError:
        return "#", "        ", " .:-=+*#"
    return "█", " ▏▎▍▌▋▊▉", " ▁▂▃▄▅▆▇█"


def _time(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"
