"""How check.py reads what pytest reports: nothing that did not run may look green."""

from pathlib import Path

import pytest

from tests.check import counts

REPORT = (
    '<testsuites><testsuite tests="{tests}" failures="{failures}" errors="{errors}" skipped="{skipped}"/></testsuites>'
)


@pytest.mark.parametrize(
    ("tests", "failures", "errors", "skipped", "succeeded", "expected"),
    [
        pytest.param(5, 0, 0, 0, True, (5, 0, 0), id="all passed"),
        pytest.param(5, 1, 1, 1, False, (2, 2, 1), id="each is counted as what it was"),
        pytest.param(5, 0, 0, 0, False, (5, 1, 0), id="tests passed, but something around them failed"),
        pytest.param(0, 0, 0, 0, True, (0, 1, 0), id="no test ran"),
        pytest.param(2, 0, 0, 2, True, (0, 1, 2), id="every test was skipped"),
    ],
)
def test_counts(tmp_path: Path, tests, failures, errors, skipped, succeeded, expected):
    report = tmp_path / "report.xml"
    report.write_text(REPORT.format(tests=tests, failures=failures, errors=errors, skipped=skipped))
    assert counts(report, succeeded) == expected


@pytest.mark.parametrize("succeeded", [True, False])
def test_no_report_at_all_is_a_failure(tmp_path: Path, succeeded: bool):
    assert counts(tmp_path / "none.xml", succeeded) == (0, 1, 0)
