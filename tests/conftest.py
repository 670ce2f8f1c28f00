"""Says at the end what a run lacked, so that a skipped test is never taken for a passed one.

`--strict-skips` (`make test STRICT=1`, as CI does) makes a run that lacked anything fail.
"""

import pytest
from hypothesis import settings

settings.load_profile("ci")  # the same examples everywhere, and no limit on how long one takes


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--strict-skips", action="store_true", help="fail when a test was skipped")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if exitstatus == pytest.ExitCode.OK and session.config.getoption("--strict-skips") and _lacked(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    lacked = _lacked(config)
    if lacked:
        verdict = "and STRICT allows no gap" if config.getoption("--strict-skips") else "STRICT=1 would fail"
        terminalreporter.section(f"not run here ({verdict})", yellow=True)
    for reason, count in sorted(lacked.items()):
        terminalreporter.line(f"{count} test{'s' if count > 1 else ''}: {reason}")


def _lacked(config: pytest.Config) -> dict[str, int]:
    """Count the skipped tests by the reason they give."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    skipped: list[pytest.TestReport | pytest.CollectReport] = reporter.stats.get("skipped", []) if reporter else []
    reasons = [report.longrepr[2] for report in skipped if isinstance(report.longrepr, tuple)]
    return {reason.removeprefix("Skipped: "): reasons.count(reason) for reason in reasons}
