#!/usr/bin/env python3
"""Judge a JUnit file as a CI system would: usage: check_junit.py FILE...

Each FILE must be well-formed, valid by junit.xsd beside this script, readable by junitparser, and
its suites must count what they hold (a schema cannot say that). Prints one line a file,
`FILE: N tests, N failures, N errors, N skipped`, or the first faults; exits 1 if any file has one.
Runs in the test part `junit`.
"""
import pathlib
import sys

from junitparser import Error, Failure, JUnitXml, Skipped
from lxml import etree

FAULTS_SHOWN = 20  # more than that is one mistake made often


def schema_faults(path):
    """What is wrong with the text itself, by line."""
    schema = etree.XMLSchema(etree.parse(str(pathlib.Path(__file__).with_name("junit.xsd"))))
    try:
        document = etree.parse(path)
    except (etree.XMLSyntaxError, OSError) as cause:
        return [str(cause)]
    if schema.validate(document):
        return []
    return [f"line {fault.line}: {fault.message}" for fault in schema.error_log]


def tally(cases):
    """How many cases there are, and how many ended in each of the three ways."""
    def ended(kind):
        return sum(any(isinstance(result, kind) for result in case.result) for case in cases)
    return {"tests": len(cases), "failures": ended(Failure), "errors": ended(Error), "skipped": ended(Skipped)}


def suite_faults(suite, counted):
    """Where a suite's attributes and its content disagree. `skipped` is not always written."""
    for name, count in counted.items():
        stated = getattr(suite, name)
        if stated is not None and stated != count:
            yield f"suite `{suite.name}` says {name}={stated} and holds {count}"


def check(path):
    """The faults of one file, and its totals when there are none."""
    faults, totals = schema_faults(path), {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
    if faults:
        return faults, totals
    for suite in JUnitXml.fromfile(path):
        counted = tally(list(suite))
        faults.extend(suite_faults(suite, counted))
        totals = {name: totals[name] + count for name, count in counted.items()}
    return faults, totals


def main(paths):
    if not paths:
        sys.exit(__doc__)
    broken = False
    for path in paths:
        faults, totals = check(path)
        broken = broken or bool(faults)
        for fault in faults[:FAULTS_SHOWN]:
            print(f"{path}: {fault}", file=sys.stderr)
        if not faults:
            print(f"{path}: " + ", ".join(f"{count} {name}" for name, count in totals.items()))
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
