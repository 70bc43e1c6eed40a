"""The examples of the README and of the pages in docs/, run as they stand there; and the links between the pages."""

import glob
import os
import re
import unittest

from zgctest import main, requires_active

TOP = os.path.join(os.path.dirname(__file__), "..", "..")
PAGES = ["README.md"] + sorted(os.path.relpath(path, TOP)
                               for path in glob.glob(os.path.join(TOP, "docs", "**", "*.md"), recursive=True))
MANAGED = os.path.join("docs", "managed-objects.md")


def examples(page):
    with open(os.path.join(TOP, page), encoding="utf-8") as file:
        return re.findall(r"^```python\n(.*?)^```", file.read(), re.M | re.S)


class Readme(unittest.TestCase):
    def test_there_are_examples(self):
        self.assertGreaterEqual(len(examples("README.md")), 2)
        self.assertGreaterEqual(len(examples(MANAGED)), 1)

    def test_the_readme_is_short(self):
        self.assertLessEqual(os.path.getsize(os.path.join(TOP, "README.md")), 8192)

    def test_links_lead_somewhere(self):
        for page in PAGES:
            folder = os.path.dirname(os.path.join(TOP, page))
            with open(os.path.join(TOP, page), encoding="utf-8") as file:
                links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", file.read())
            for link in links:
                with self.subTest(page, link=link):
                    self.assertTrue(os.path.exists(os.path.join(folder, link)))

    @requires_active
    def test_they_run(self):
        for page in PAGES:
            for code in examples(page):
                with self.subTest(page, code=code.splitlines()[0:3]):
                    exec(compile(code, page, "exec"), {"__name__": "readme"})


if __name__ == "__main__":
    main()
