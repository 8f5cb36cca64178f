"""Each promise in promises.py holds here, and is noticed when it is broken."""

from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

import pytest

from tests.contract.promises import PROMISES, Broken, Promise
from tests.contract.sample import SOUND
from tests.contract.tree import Tree

ROOT = Path(__file__).resolve().parents[2]
NAMES = [promise.name for promise in PROMISES]


@pytest.mark.parametrize("promise", PROMISES, ids=NAMES)
def test_kept(promise: Promise):
    complaints = list(promise.check(Tree(ROOT)))
    assert not complaints, "\n".join([promise.check.__doc__ or promise.name, *complaints])


@pytest.mark.parametrize("promise", PROMISES, ids=NAMES)
def test_content_with_a_sound_collection(promise: Promise, tmp_path: Path):
    write(tmp_path, SOUND)
    assert list(promise.check(Tree(tmp_path))) == []


@pytest.mark.parametrize(
    ("promise", "broken"),
    [
        pytest.param(promise, broken, id=f"{promise.name}: {broken.complaint}")
        for promise in PROMISES
        for broken in promise.broken
    ],
)
def test_noticed_when_broken(promise: Promise, broken: Broken, tmp_path: Path):
    write(tmp_path, {**SOUND, **broken.files})
    assert broken.complaint in "\n".join(promise.check(Tree(tmp_path)))


def test_every_promise_has_a_sample_that_breaks_it():
    assert [promise.name for promise in PROMISES if not promise.broken] == []


def write(root: Path, files: Mapping[str, str | None]) -> None:
    for path, text in files.items():
        if text is not None:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(dedent(text))
