#!/usr/bin/python3
"""Counts single tests in what `meson test` left in build folders: cmocka cases, pytest cases, fuzzers.

usage: count.py [--failed-steps N] BUILD...
Prints each folder's count and, as the last line, `N passed, M failed, K skipped`. Exit 0 if M and K are 0.
"""

import argparse
import json
import os
import sys
import xml.etree.ElementTree as ET
from collections import Counter

LOGS = ["testlog", "faultlog"]  # as tests/run has them


def case_result(case):
    kinds = {child.tag for child in case}
    if kinds & {"failure", "error"}:
        return "failed"
    return "skipped" if "skipped" in kinds else "passed"


def pytest_cases(build, name):
    """Results of a pytest run's cases; one test with a failure and an error (in teardown) counts once."""
    try:
        root = ET.parse(os.path.join(build, "junit", name + ".xml")).getroot()
    except (OSError, ET.ParseError):
        return []
    results = {}
    for case in root.iter("testcase"):
        key = (case.get("classname"), case.get("name"))
        result = case_result(case)
        if results.get(key) != "failed":
            results[key] = result
    return list(results.values())


def tap_cases(suites, program):
    return [case_result(c) for s in suites if s.get("name", "").endswith("." + program) for c in s.iter("testcase")]


def count(build):
    """What `meson test` left under each name of a log that is there."""
    total = Counter()
    logs = os.path.join(build, "meson-logs")
    bases = [b for b in LOGS if os.path.exists(os.path.join(logs, b + ".json"))]
    if LOGS[0] not in bases:
        print(f"count: no results of {build}", file=sys.stderr)
        return Counter(failed=1)
    for base in bases:
        total.update(count_log(build, os.path.join(logs, base)))
    return total


def count_log(build, log):
    total = Counter()
    try:
        with open(log + ".json", encoding="utf-8") as f:
            programs = [json.loads(line) for line in f if line.strip()]
        suites = list(ET.parse(log + ".junit.xml").getroot().iter("testsuite"))
    except (OSError, ValueError, ET.ParseError) as e:
        print(f"count: no results in {log}: {e}", file=sys.stderr)
        return Counter(failed=1)
    for program in programs:
        suite, name = program["name"].split(" / ", 1) if " / " in program["name"] else ("", program["name"])
        of_pytest = suite.endswith((":mount", ":fault"))
        cases = pytest_cases(build, name) if of_pytest else tap_cases(suites, program["name"])
        whole = {"OK": "passed", "EXPECTEDFAIL": "passed", "SKIP": "skipped"}.get(program["result"], "failed")
        # A program that died, hung or never began to tell of cases is one test of its own.
        if not cases or (whole == "failed" and "failed" not in cases):
            cases = cases + [whole]
        total.update(cases)
    return total


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--failed-steps", type=int, default=0)
    parser.add_argument("builds", nargs="+")
    args = parser.parse_args()
    total = Counter()
    for build in args.builds:
        one = count(build)
        print(f"{build}: {one['passed']} passed, {one['failed']} failed, {one['skipped']} skipped")
        total.update(one)
    if args.failed_steps and not total["failed"]:
        total["failed"] = args.failed_steps
    sys.stdout.flush()
    print(f"{total['passed']} passed, {total['failed']} failed, {total['skipped']} skipped")
    return 0 if total["passed"] and not total["failed"] and not total["skipped"] else 1


if __name__ == "__main__":
    sys.exit(main())
