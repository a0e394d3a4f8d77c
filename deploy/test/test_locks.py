"""What the tests install is pinned by hash, and from no host in particular."""

import json
import re

from conftest import DEPLOY


def test_every_python_package_is_pinned_by_hash():
    text = (DEPLOY / "test" / "requirements.txt").read_text()
    pins = re.findall(r"^([\w.-]+)==\S+ \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?(?:\n    #.*)?.*\n)+)", text, re.MULTILINE)
    named = re.findall(r"^([\w.-]+)==", text, re.MULTILINE)
    assert [name for name, _ in pins] == named and len(named) > 20
    assert "://" not in text and "--index-url" not in text


def test_every_node_package_is_pinned_by_hash():
    packages = json.loads((DEPLOY / "test" / "package-lock.json").read_text())["packages"]
    others = {name: package for name, package in packages.items() if name}
    assert len(others) > 20
    for name, package in others.items():
        assert package["integrity"].startswith("sha512-"), name
        assert "resolved" not in package, name
