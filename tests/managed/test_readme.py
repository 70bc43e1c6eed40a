"""The examples of the README, and of the page on managed objects, run as they stand there."""

import os
import re
import unittest

from zgctest import main, requires_active

TOP = os.path.join(os.path.dirname(__file__), "..", "..")
PAGES = "README.md", os.path.join("docs", "managed-objects.md")


def examples(page):
    with open(os.path.join(TOP, page), encoding="utf-8") as file:
        return re.findall(r"^```python\n(.*?)^```", file.read(), re.M | re.S)


class Readme(unittest.TestCase):
    def test_there_are_examples(self):
        self.assertGreaterEqual(len(examples(PAGES[0])), 2)
        self.assertGreaterEqual(len(examples(PAGES[1])), 1)

    @requires_active
    def test_they_run(self):
        for page in PAGES:
            for code in examples(page):
                with self.subTest(page, code=code.splitlines()[0:3]):
                    exec(compile(code, page, "exec"), {"__name__": "readme"})


if __name__ == "__main__":
    main()
