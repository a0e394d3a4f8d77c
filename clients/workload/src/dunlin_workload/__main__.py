"""`python -m dunlin_workload`, or `dunlin-workload`."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from dunlin_workload import page, terminal
from dunlin_workload.measure import Summary, summary
from dunlin_workload.options import Options, parse
from dunlin_workload.outcome import Kind, Outcome
from dunlin_workload.run import Run
from dunlin_workload.send import Sender

#: As the `dunlin` program has them.
OK, FAILED, UNREACHABLE, INTERRUPTED = 0, 1, 69, 130


def main(arguments: list[str] | None = None) -> None:
    """Runs it and ends the program."""
    options = parse(arguments)
    stop = threading.Event()
    # Lines of many threads do not run into each other.
    printing = threading.Lock()

    def tell(outcome: Outcome) -> None:
        if not options.quiet:
            with printing:
                _print(terminal.line(outcome))

    run = Run(options.load, Sender(options.server, options.expected, stop), stop, tell)
    outcomes = run.go()
    numbers = summary(outcomes, run.seconds)
    _print(terminal.report(numbers, outcomes))
    written = _write(options, numbers, outcomes)
    sys.exit(_code(numbers, stop.is_set()) if written else FAILED)


def _code(numbers: Summary, interrupted: bool) -> int:
    if interrupted:
        return INTERRUPTED
    if not numbers.answered:
        return UNREACHABLE
    return OK if not numbers.counts[Kind.FAILED] and not numbers.counts[Kind.WRONG] else FAILED


def _write(options: Options, numbers: Summary, outcomes: Sequence[Outcome]) -> bool:
    files = []
    if options.report is not None:
        files.append((options.report, page.page(numbers, outcomes, options.server.url.geturl())))
    if options.json is not None:
        files.append((options.json, _json(numbers, outcomes)))
    for file, text in files:
        try:
            Path(file).write_text(text, encoding="utf-8", errors="replace")
        except OSError as error:
            print(f"cannot write {file}: {error}", file=sys.stderr)
            return False
    return True


def _json(numbers: Summary, outcomes: Sequence[Outcome]) -> str:
    told = {
        "total": numbers.total,
        **{kind.name.lower(): count for kind, count in numbers.counts.items()},
        "retried": numbers.retried,
        "attempts": numbers.attempts,
        "seconds": numbers.seconds,
        "answers_per_second": numbers.per_second,
        "reasons": numbers.reasons,
        "latency_seconds": {f"p{share}": numbers.percentile(share / 100) for share in (50, 95, 99, 100)},
        "images": [{**asdict(outcome), "kind": outcome.kind.name.lower()} for outcome in outcomes],
    }
    return json.dumps(told, indent=1) + "\n"


def _print(text: str) -> None:
    encoding = sys.stdout.encoding or "utf-8"
    try:
        print(text.encode(encoding, "replace").decode(encoding), flush=True)
    except BrokenPipeError:
        # `| head` has seen enough; the run goes on, and its files are written.
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (open until the end)


if __name__ == "__main__":
    main()
