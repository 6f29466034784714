"""What papers claim, what was expected of it here and what was measured: one table at the end of a run.

A test states a figure through the fixture `claim`, which asserts it and enters a row; a published test that
states none, or fails before it does, enters one by its outcome.
"""

import math

import pytest

KEY = "claim"
MARKERS = {"published", "slow"}
LEAST_WIDTHS = 50, 16


def written(value):
    """Return a number as the table has it: whole ones in full, others to four digits."""
    if isinstance(value, str) or not math.isfinite(value):
        return str(value)
    value = float(value)
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else f"{value:.4g}"


def expectation(bounds, exactly):
    """Return what is expected, in words."""
    if exactly is not None:
        return written(exactly)
    if {"at_least", "at_most"} == bounds.keys():
        return f"{written(bounds['at_least'])} to {written(bounds['at_most'])}"
    signs = {"at_least": ">=", "at_most": "<=", "above": ">", "below": "<"}
    return ", ".join(f"{signs[name]} {written(bound)}" for name, bound in bounds.items())


@pytest.fixture
def claim(request):
    """Return a function that enters a figure into the table and asserts it.

    ``claim(what, measured, at_least=, at_most=, above=, below=)`` or ``claim(what, measured, exactly=)``: the
    bounds are both what is written and what is asserted, so that the two cannot differ.
    """

    def state(what, measured, *, at_least=None, at_most=None, above=None, below=None, exactly=None):
        given = {"at_least": at_least, "at_most": at_most, "above": above, "below": below}
        bounds = {name: float(own) for name, own in given.items() if own is not None}
        if bool(bounds) == (exactly is not None):
            raise TypeError(f"a claim needs bounds or one exact value: {what!r}")
        if exactly is not None:
            holds = bool(measured == exactly)
        else:
            measured = float(measured)
            # What is not a number is within no bounds.
            holds = (
                bounds.get("at_least", -math.inf) <= measured <= bounds.get("at_most", math.inf)
                and not measured <= bounds.get("above", -math.inf)
                and not measured >= bounds.get("below", math.inf)
            )
        row = what, expectation(bounds, exactly), written(measured), holds
        request.node.user_properties.append((KEY, row))
        assert holds, f"{what}: expected {row[1]}, measured {row[2]}"

    return state


def rows_of(report):
    """Return the rows of one test: its claims, and its outcome where these do not tell it."""
    rows = [value for name, value in report.user_properties if name == KEY]
    failed_otherwise = report.failed and all(holds for *_, holds in rows)
    if failed_otherwise or not rows:
        name = report.nodeid.split("::")[-1].replace("_", " ").removeprefix("test ")
        rows.append((name, "passes", f"{report.outcome} ({report.when})", report.passed))
    return rows


def pytest_terminal_summary(terminalreporter):
    """Print the table file by file; within one, what failed comes after what passed."""
    rows = {}
    for outcome in ("passed", "failed", "error", "xfailed", "xpassed"):
        for report in terminalreporter.stats.get(outcome, []):
            if MARKERS & set(report.keywords) and (report.when == "call" or report.failed):
                rows.setdefault(report.nodeid.split("::")[0], []).extend(rows_of(report))
    if not rows:
        return
    every = [row for own in rows.values() for row in own]
    widths = [max(least, *(len(row[k]) for row in every)) for k, least in enumerate(LEAST_WIDTHS)]
    terminalreporter.section("published results")
    terminalreporter.line(f"{'claim':{widths[0] + 2}}  {'expected':{widths[1]}}  measured")
    for file in sorted(rows):
        terminalreporter.line(file)
        for what, expected, measured, holds in rows[file]:
            line = f"  {what:{widths[0]}}  {expected:{widths[1]}}  {measured}"
            terminalreporter.line(line if holds else f"{line}  <- NOT AS CLAIMED", red=not holds)
