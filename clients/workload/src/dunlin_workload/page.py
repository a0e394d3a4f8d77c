"""The run as one HTML page that needs nothing else: no script, no address."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from dunlin_workload.measure import Summary, histogram, throughput
from dunlin_workload.outcome import Kind, Outcome

_WIDTH, _HEIGHT = 900, 220
#: Rows of the table: a browser shows ten thousand without effort.
_ROWS_MAX = 10_000
#: Dots of the plot over time.
_DOTS_MAX = 5_000
_PARTS = 60

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2530; --paper: #fff; --soft: #5b6675; --line: #d5dae1; --bar: #1f6f8b; --bad: #b3261e; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6eaf0; --paper: #14181e; --soft: #9aa5b4; --line: #333b46; --bar: #5bb3d0; --bad: #ff8a80; }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 960px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2rem; } p, caption { color: var(--soft); }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 0.75rem; }
dt { color: var(--soft); font-size: 0.85rem; } dd { margin: 0; font-size: 1.35rem; font-variant-numeric: tabular-nums; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
th, td { text-align: left; padding: 0.25rem 0.5rem; border-bottom: 1px solid var(--line); vertical-align: top; }
svg { width: 100%; height: auto; } svg text { fill: var(--soft); font-size: 12px; } .bar { fill: var(--bar); } .bad { color: var(--bad); }
svg .bad { fill: var(--bad); } .axis { stroke: var(--line); }
"""


def page(numbers: Summary, outcomes: Sequence[Outcome], title: str) -> str:
    """The whole page."""
    sections = [
        _figures(numbers),
        _section("Latency", "How many images took how long", _latency(numbers)),
        _section("Over time", "Each image's latency, by when it was sent; failed ones in red", _dots(numbers, outcomes)),
        _section("Answers a second", "Over the run", _rates(numbers, outcomes)),
        _reasons(numbers),
        _images(outcomes),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<meta http-equiv=\"content-security-policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>Workload: {escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>Workload</h1>\n<p>{escape(title)}</p>\n" + "\n".join(sections) + "\n</main>\n</body>\n</html>\n"
    )


def _figures(numbers: Summary) -> str:
    counts = numbers.counts
    rows = [
        ("images", f"{numbers.total}"),
        ("right label", f"{counts[Kind.RIGHT]}"),
        ("wrong label", f"{counts[Kind.WRONG]}"),
        ("label not judged", f"{counts[Kind.ANSWERED]}"),
        ("failed", f"{counts[Kind.FAILED]}"),
        ("not sent", f"{counts[Kind.NOT_SENT]}"),
        ("repeated", f"{numbers.retried}"),
        ("duration", f"{numbers.seconds:.2f} s"),
        ("answers a second", f"{numbers.per_second:.1f}"),
        *((f"p{share}", _time(numbers.percentile(share / 100))) for share in (50, 95, 99)),
        ("most", _time(numbers.latencies[-1] if numbers.latencies else 0.0)),
    ]
    return "<dl>" + "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in rows) + "</dl>"


def _section(title: str, told: str, drawn: str) -> str:
    return f"<section><h2>{title}</h2>\n{drawn}\n<p>{told}.</p></section>" if drawn else ""


def _svg(label: str, inner: str) -> str:
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT + 24}" role="img" aria-label="{escape(label)}">{inner}</svg>'


def _latency(numbers: Summary) -> str:
    bars = histogram(numbers.latencies)
    if not bars:
        return ""
    most = max(bar.count for bar in bars)
    width = _WIDTH / len(bars)
    drawn = []
    for at, bar in enumerate(bars):
        high = bar.count / most * (_HEIGHT - 16)
        told = f"{_time(bar.low)} to {_time(bar.high)}: {bar.count}"
        drawn.append(
            f'<rect class="bar" x="{at * width + 1:.1f}" y="{_HEIGHT - high:.1f}" width="{width - 2:.1f}" height="{high:.1f}">'
            f"<title>{told}</title></rect>"
        )
        if at % 4 == 0:
            drawn.append(f'<text x="{at * width + 1:.1f}" y="{_HEIGHT + 16}">{_time(bar.low)}</text>')
        if bar.count:
            drawn.append(f'<text x="{at * width + 2:.1f}" y="{_HEIGHT - high - 3:.1f}">{bar.count}</text>')
    quantiles = ", ".join(f"p{share} {_time(numbers.percentile(share / 100))}" for share in (50, 95, 99))
    return _svg(f"Histogram of latencies: {quantiles}", "".join(drawn) + _axis())


def _dots(numbers: Summary, outcomes: Sequence[Outcome]) -> str:
    sent = [outcome for outcome in outcomes if outcome.kind is not Kind.NOT_SENT]
    step = max(1, -(-len(sent) // _DOTS_MAX))
    most = max((outcome.seconds for outcome in sent), default=0.0)
    if most <= 0 or numbers.seconds <= 0:
        return ""
    drawn = []
    for outcome in sent[::step]:
        kind = "bar" if outcome.kind.ok else "bad"
        across = outcome.at / numbers.seconds * (_WIDTH - 8) + 4
        up = _HEIGHT - 4 - outcome.seconds / most * (_HEIGHT - 20)
        drawn.append(f'<circle class="{kind}" cx="{across:.1f}" cy="{up:.1f}" r="2.5"/>')
    drawn.append(f'<text x="4" y="12">{_time(most)}</text>')
    drawn.append(f'<text x="4" y="{_HEIGHT + 16}">0 s</text>')
    drawn.append(f'<text x="{_WIDTH}" y="{_HEIGHT + 16}" text-anchor="end">{numbers.seconds:.1f} s</text>')
    return _svg(f"Latency of {len(sent)} images by time of sending, at most {_time(most)}", "".join(drawn) + _axis())


def _rates(numbers: Summary, outcomes: Sequence[Outcome]) -> str:
    parts = throughput(outcomes, numbers.seconds, _PARTS)
    top = max(parts, default=0.0)
    if not top:
        return ""
    width = _WIDTH / len(parts)
    drawn = "".join(
        f'<rect class="bar" x="{at * width:.1f}" y="{_HEIGHT - part / top * (_HEIGHT - 16):.1f}" width="{width - 0.5:.1f}" '
        f'height="{part / top * (_HEIGHT - 16):.1f}"/>'
        for at, part in enumerate(parts)
    )
    drawn += f'<text x="4" y="12">{top:.1f}</text>'
    drawn += f'<text x="{_WIDTH}" y="{_HEIGHT + 16}" text-anchor="end">{numbers.seconds:.1f} s</text>'
    return _svg(f"Answers a second over the run, at most {top:.1f}", drawn + _axis())


def _axis() -> str:
    return f'<line class="axis" x1="0" y1="{_HEIGHT}" x2="{_WIDTH}" y2="{_HEIGHT}"/>'


def _reasons(numbers: Summary) -> str:
    if not numbers.reasons:
        return ""
    rows = "".join(f"<tr><td>{escape(reason)}</td><td>{count}</td></tr>" for reason, count in numbers.reasons.items())
    return (
        '<section><h2>Why images failed</h2><table><thead><tr><th scope="col">reason</th><th scope="col">images</th></tr>'
        f"</thead><tbody>{rows}</tbody></table></section>"
    )


def _images(outcomes: Sequence[Outcome]) -> str:
    # What went wrong first.
    order = [Kind.FAILED, Kind.WRONG, Kind.NOT_SENT, Kind.ANSWERED, Kind.RIGHT]
    ordered = sorted(outcomes, key=lambda outcome: order.index(outcome.kind))
    rows = []
    for outcome in ordered[:_ROWS_MAX]:
        kind = ' class="bad"' if outcome.kind in (Kind.FAILED, Kind.WRONG) else ""
        told = f"{outcome.reason} {outcome.told}" if outcome.kind is Kind.FAILED else outcome.label
        right = f" (right is {outcome.expected})" if outcome.kind is Kind.WRONG else ""
        rows.append(
            f"<tr><td>{escape(outcome.name)}</td><td{kind}>{outcome.kind.value}</td><td>{escape(told + right)}</td>"
            f"<td>{_time(outcome.seconds)}</td><td>{outcome.attempts}</td></tr>"
        )
    left = f"<p>and {len(ordered) - _ROWS_MAX} more</p>" if len(ordered) > _ROWS_MAX else ""
    heads = "".join(
        f'<th scope="col">{name}</th>' for name in ("image", "outcome", "label or reason", "latency", "attempts")
    )
    return f"<section><h2>Images</h2><table><thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>{left}</section>"


def _time(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"
