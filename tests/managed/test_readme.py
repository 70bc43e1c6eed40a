"""The examples of the README, run as they stand there."""

import os
import re
import unittest

from zgctest import main, requires_active

README = os.path.join(os.path.dirname(__file__), "..", "..", "README.md")


def examples():
    with open(README, encoding="utf-8") as file:
        return re.findall(r"^```python\n(.*?)^```", file.read(), re.M | re.S)


class Readme(unittest.TestCase):
    def test_there_are_examples(self):
        self.assertGreaterEqual(len(examples()), 2)

    @requires_active
    def test_they_run(self):
        for code in examples():
            with self.subTest(code.splitlines()[0:3]):
                exec(compile(code, "README.md", "exec"), {"__name__": "readme"})


if __name__ == "__main__":
    main()
