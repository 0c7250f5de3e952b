"""Runs the steps of a client suite: one PASS or FAIL line with its time for each, one closing line of counts.

Environment: STEPS=a,b runs only steps whose title contains one of the words, TRACE=1 prints stack traces.
A step is a function without arguments; any exception it raises is a failure, and the next step runs all the same.
"""
import os
import sys
import time
import traceback

MESSAGE_CHARS_MAX = 600


class Steps:
    def __init__(self, name):
        self.name = name
        self.passed = 0
        self.failed = 0
        self.started = time.monotonic()
        self.only = [word for word in os.environ.get("STEPS", "").split(",") if word]

    def __call__(self, title, run):
        """Runs one step and answers whether it passed."""
        if self.only and not any(word in title for word in self.only):
            return True
        started = time.monotonic()
        try:
            run()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a client may fail with anything, SystemExit and native panics included
            self.failed += 1
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            text = " / ".join(lines[:4])[:MESSAGE_CHARS_MAX]
            place = traceback.extract_tb(error.__traceback__)
            here = [frame for frame in place if os.path.dirname(frame.filename) == os.path.dirname(os.path.abspath(__file__))]
            line = f" at {os.path.basename(here[-1].filename)}:{here[-1].lineno}" if here else ""
            print(f"FAIL {title} ({time.monotonic() - started:.1f} s) | {type(error).__name__}{line}: {text}", flush=True)
            if os.environ.get("TRACE"):
                traceback.print_exc()
            return False
        self.passed += 1
        print(f"PASS {title} ({time.monotonic() - started:.1f} s)", flush=True)
        return True

    def run(self, table):
        """Runs a list of (title, function) and leaves the process: 0 when all passed, else 1."""
        for title, function in table:
            self(title, function)
        self.close()

    def close(self):
        seconds = time.monotonic() - self.started
        print(f"{self.name}: {self.passed} passed, {self.failed} failed ({seconds:.0f} s)", flush=True)
        sys.stderr.flush()
        # Some native clients hang or crash in their exit handlers; the verdict is already printed.
        os._exit(0 if self.failed == 0 and self.passed > 0 else 1)


def eq(got, want, what="value"):
    assert got == want, f"{what}: got {short(got)}, want {short(want)}"


def short(value):
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}… ({len(text)} chars)"


def raises(expected, run):
    """Runs `run`, which must raise `expected`; answers the exception."""
    try:
        run()
    except expected as error:
        return error
    raise AssertionError(f"nothing raised, want {getattr(expected, '__name__', expected)}")
