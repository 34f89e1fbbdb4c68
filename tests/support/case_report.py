"""For test programs that are a list of cases: each runs whatever became of those before it, and the program ends with a count."""
import sys


class Report:
    """Counts cases, prints those that fail, and ends the program."""

    def __init__(self):
        self.passed, self.failed = 0, []

    def case(self, name, function):
        try:
            note = function()
            self.passed += 1
            print(f"ok   {name}{'' if note is None else f'  {note}'}", flush=True)
        except Exception as error:  # a test's failure must not hide the next one's
            self.failed.append(name)
            print(f"FAIL {name}: {type(error).__name__}: {error}", flush=True)

    def finish(self, at_least):
        print(f"{self.passed} passed, {len(self.failed)} failed")
        assert self.passed + len(self.failed) >= at_least, "fewer cases than expected"
        sys.exit(1 if self.failed else 0)
