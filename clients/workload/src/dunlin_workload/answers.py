"""What a server's answer says about an image."""

from __future__ import annotations

import csv
import json
from pathlib import Path


class WrongAnswer(Exception):  # noqa: N818
    """Status 200, and yet not an answer for this image."""


def stem(name: str) -> str:
    """A file's name up to its first dot, as the generators of 2024 and later cut it."""
    return name.split(".", 1)[0] or name


def label(body: str, content_type: str, name: str) -> str:
    """The label in an answer: `label`, `name:label`, `(name,label)`, `name,label` or JSON."""
    text = body.strip()
    if not text:
        raise WrongAnswer("empty answer")
    if content_type.split(";")[0].strip() == "application/json":
        return _json(text)
    names = {name, stem(name), stem(name).replace(":", "_")}
    if text.startswith("(") and text.endswith(")") and "," in text:
        return _after(text[1:-1], ",", names)
    before, colon, after = text.partition(":")
    if colon:
        # A label may hold one too; then what stands before it is nobody's name.
        if before.strip() in names:
            return after.strip()
        if _is_name(before.strip()):
            raise WrongAnswer(f"answer names {before.strip()!r}")
    before, comma, after = text.partition(",")
    if comma and before.strip() in names:
        return after.strip()
    return text


def _after(text: str, sign: str, names: set[str]) -> str:
    before, _, after = text.partition(sign)
    if before.strip() not in names:
        raise WrongAnswer(f"answer names {before.strip()!r}")
    return after.strip()


def _is_name(text: str) -> bool:
    """Whether it looks as the course's images are called: test_00."""
    return text.rpartition("_")[2].isdigit()


def _json(text: str) -> str:
    try:
        found = json.loads(text)
        classes = found.get("classifications") or [found]
        return str(classes[0]["label"])
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise WrongAnswer("JSON without a label") from error


class Expected:
    """The right labels, by image, from a file with the columns `Image,Results`."""

    def __init__(self, labels: dict[str, str]) -> None:
        self._labels = labels

    @classmethod
    def read(cls, file: Path) -> Expected:
        """Takes the first two columns; names count without their extension."""
        labels = {}
        with file.open(encoding="utf-8-sig", newline="") as lines:
            for number, row in enumerate(csv.reader(lines)):
                # The head: the generators' files have one.
                if len(row) >= 2 and not (number == 0 and row[0].strip().lower() in ("image", "images", "name", "file")):
                    labels[stem(row[0].strip())] = row[1].strip()
        return cls(labels)

    def of(self, name: str) -> str | None:
        """The right label, or None if the file says nothing about the image."""
        return self._labels.get(stem(name))

    def __len__(self) -> int:
        return len(self._labels)
