"""Counts what ctest ran and says why tests were skipped, those inside test programs included.

    python3 launch/test_summary.py RESULTS.xml      (ctest --output-junit RESULTS.xml)
"""
import re
import sys
import xml.etree.ElementTree as ElementTree


def skips_inside(output):
    """(test, reason) of each test that GoogleTest or unittest skipped within one program."""
    reason, expect_reason = "no reason given", False
    for line in output.splitlines():
        if line.startswith("[ RUN      ]"):
            reason, expect_reason = "no reason given", False
        elif re.search(r":\d+: Skipped$", line):
            expect_reason = True
        elif expect_reason:
            reason, expect_reason = line.strip() or reason, False
        elif match := re.match(r"\[  SKIPPED \] (\S+) \(\d+ ms\)", line):
            yield match[1], reason
        elif match := re.match(r"(\w+) \(.*\) \.\.\. skipped '(.*)'$", line):
            yield match[1], match[2]


def reason_of_program(output):
    """A program that skips as a whole says why in its last line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return re.sub(r"^skipped: *", "", lines[-1], flags=re.IGNORECASE) if lines else "no reason given"


def folded(skipped):
    """Lines for (program, test or None, reason): what a program skips for one reason is one line."""
    groups = {}
    for program, test, reason in skipped:
        groups.setdefault((program, reason), []).append(test)
    for (program, reason), tests in groups.items():
        which = "" if tests == [None] else f": {tests[0]}" if len(tests) == 1 else f": {len(tests)} tests, {tests[0]} the first"
        yield f"{program}{which}: {reason}"


def main():
    try:
        suite = ElementTree.parse(sys.argv[1]).getroot()
    except (OSError, ElementTree.ParseError) as error:
        sys.exit(f"no results of tests: {error}")
    passed, failed, skipped = [], [], []
    for case in suite.iter("testcase"):
        name, output = case.get("name"), case.findtext("system-out") or ""
        skip = case.find("skipped")
        if skip is not None and not skip.get("message", "").startswith("SKIP_"):
            failed.append(f"{name}: {output.strip()}")  # not built, say
        elif skip is not None:
            skipped.append((name, None, reason_of_program(output)))
        elif case.get("status") == "fail":
            failed.append(name)
        elif case.get("status") == "run":
            passed.append(name)
            skipped += [(name, test, reason) for test, reason in skips_inside(output)]
    print(f"\nTest programs passed: {len(passed)}, failed: {len(failed)}; skipped programs and tests inside them: {len(skipped)}")
    for name in failed:
        print(f"  failed   {name}")
    for line in folded(skipped):
        print(f"  skipped  {line}")


if __name__ == "__main__":
    main()
