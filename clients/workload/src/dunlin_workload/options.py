"""The command line: all flags of the old generators, and ours."""

from __future__ import annotations

import argparse
import random
import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from dunlin_workload.answers import Expected
from dunlin_workload.run import Load, choose, find
from dunlin_workload.send import Server

#: What the generators of 2025 and later add to `--ip_addr`.
PORT = 8000

DESCRIPTION = """Sends images to a server as the course's workload generators did: a form, POSTed; status 200 and a label
is success. Counts each image exactly once, measures, and reports."""

EXAMPLES = """examples:
  %(prog)s --num_request 100 --ip_addr 127.0.0.1 --image_folder faces --prediction_file predictions.csv
  %(prog)s --num_request 50 --url http://127.0.0.1:8000/upload --image_folder faces --field myfile
  %(prog)s --url http://127.0.0.1:8000 --image_folder photos --rate 20 --report report.html

exit codes: 0 all answered, and right where it is known; 1 some were not; 2 wrong usage; 69 nothing answered;
130 interrupted"""


@dataclass(frozen=True)
class Options:
    """What was asked for, checked."""

    server: Server
    load: Load
    expected: Expected | None
    report: Path | None
    json: Path | None
    quiet: bool


def parse(arguments: list[str] | None = None) -> Options:
    """Reads the command line; wrong ones end the program with 2 and a sentence."""
    parser = _parser()
    given = parser.parse_args(arguments)
    url = _url(parser, given)
    folder: Path = given.image_folder
    if not folder.is_dir():
        parser.error(f"--image_folder {folder}: no such folder")
    images = find(folder)
    if not images:
        parser.error(f"--image_folder {folder}: no image in it (jpg, jpeg, png, webp, gif, bmp)")
    seed = given.seed if given.seed is not None else random.randrange(2**32) if given.random else None  # noqa: S311
    try:
        expected = Expected.read(given.prediction_file) if given.prediction_file else None
    except (OSError, UnicodeDecodeError) as error:
        parser.error(f"--prediction_file: {error}")
    if expected is not None and not len(expected):
        parser.error(f"--prediction_file {given.prediction_file}: no line with an image and its label")
    try:
        # Read now, so that a mistake is told before the first image.
        ssl.create_default_context(cafile=given.ca_file)
    except OSError as error:
        parser.error(f"--ca-file: {error}")
    server = Server(
        url, given.field, given.timeout, given.attempts, given.key, given.ca_file, keep_alive=not given.new_connections
    )
    load = Load(choose(images, given.num_request, seed), given.concurrency, given.rate)
    return Options(server, load, expected, given.report, given.json, given.quiet)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "dunlin-workload", description=DESCRIPTION, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    old = parser.add_argument_group("flags of the old generators (with - for _ too)")
    old.add_argument(
        "--num_request", "--num-request", type=_count, metavar="N", help="images to send; default: each in the folder once"
    )
    where = old.add_mutually_exclusive_group(required=True)
    where.add_argument("--url", help="where to POST them; any path")
    where.add_argument("--ip_addr", "--ip-addr", metavar="IP", help=f"the same as --url http://IP:{PORT}/")
    old.add_argument("--image_folder", "--image-folder", type=Path, required=True, metavar="FOLDER")
    old.add_argument(
        "--prediction_file", "--prediction-file", type=Path, metavar="CSV", help="the right labels: columns Image,Results"
    )
    ours = parser.add_argument_group("load")
    ours.add_argument(
        "--concurrency", type=_count, default=100, metavar="N", help="images at once, at most; default 100, as ever"
    )
    ours.add_argument(
        "--rate",
        type=_positive,
        metavar="R",
        help="begin R images a second whatever the answers do, and time each from when it was due",
    )
    ours.add_argument("--random", action="store_true", help="images by chance, as in 2026; none twice if there are enough")
    ours.add_argument("--seed", type=int, help="the same choice again; implies --random")
    sending = parser.add_argument_group("sending")
    sending.add_argument(
        "--field", default="inputFile", metavar="NAME", help="the form's field; 2021 to 2023: myfile; default inputFile"
    )
    sending.add_argument(
        "--timeout", type=_positive, default=300.0, metavar="SECONDS", help="for an image, repetitions included; default 300"
    )
    sending.add_argument(
        "--attempts",
        type=_count,
        default=4,
        metavar="N",
        help="for an image, when the connection breaks or the answer is 429, 502 or 503; 1: never again; default 4",
    )
    sending.add_argument(
        "--new-connections", action="store_true", help="a connection for each image, as the old generators did"
    )
    sending.add_argument("--key", help="sent as authorization: Bearer")
    sending.add_argument("--ca-file", metavar="PEM", help="certificates to trust, for https")
    telling = parser.add_argument_group("report")
    telling.add_argument("--report", type=Path, metavar="HTML", help="write a page with everything in it")
    telling.add_argument("--json", type=Path, metavar="FILE", help="write every outcome and the numbers")
    telling.add_argument("--quiet", action="store_true", help="no line for each image, the summary alone")
    return parser


def _url(parser: argparse.ArgumentParser, given: argparse.Namespace) -> SplitResult:
    text: str = given.url or f"http://{given.ip_addr}:{PORT}/"
    try:
        url = urlsplit(text)
        wrong = url.scheme not in ("http", "https") or not url.hostname or (url.port is not None and url.port < 1)
    except ValueError:
        wrong = True
    if wrong or any(sign.isspace() or not sign.isprintable() for sign in text):
        parser.error(f"{text!r} is no address: write http://HOST:PORT/PATH")
    return url


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError("must be over 0")
    return number
