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


def tap_cases(suites, name):
    return [case_result(c) for s in suites if s.get("name", "").split(".")[-1] == name for c in s.iter("testcase")]


def count(build):
    total = Counter()
    logs = os.path.join(build, "meson-logs")
    try:
        with open(os.path.join(logs, "testlog.json"), encoding="utf-8") as f:
            programs = [json.loads(line) for line in f if line.strip()]
        suites = list(ET.parse(os.path.join(logs, "testlog.junit.xml")).getroot().iter("testsuite"))
    except (OSError, ValueError, ET.ParseError) as e:
        print(f"count: no results of {build}: {e}", file=sys.stderr)
        return Counter(failed=1)
    for program in programs:
        suite, name = program["name"].split(" / ", 1) if " / " in program["name"] else ("", program["name"])
        cases = pytest_cases(build, name) if suite.endswith(":mount") else tap_cases(suites, name)
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
