"""The example of the README, perf/examples/graph_index.py, in small: both sides count the same."""

import json
import os
import re
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))

import zgctest                                                          # noqa: E402

EXAMPLES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "perf", "examples")


class GraphIndex(unittest.TestCase):

    def run_index(self, folder, name, *arguments, **how):
        samples = os.path.join(folder, name + ".json")
        result = zgctest.run_command(
            [sys.executable, os.path.join(EXAMPLES, "graph_index.py"), "--vertices", "20000", "--seconds", "0.5",
             "--samples", samples, *arguments], **how)
        with open(samples, encoding="utf-8") as file:
            return result, json.load(file), samples

    def test_both_sides_and_their_plot(self):
        with tempfile.TemporaryDirectory() as folder:
            result, managed, first = self.run_index(folder, "managed", preload=True, options={"VERIFY": 1})
            self.assertRegex(result.out, r"\d+ young and [1-9]\d* full collections, longest pause")
            result, plain, second = self.run_index(folder, "plain", "--plain", preload=False)
            self.assertEqual(managed["checksum"], plain["checksum"])
            plot = zgctest.run_command([sys.executable, os.path.join(EXAMPLES, "plot_graph_index.py"),
                                        first, second], preload=False).out
            self.assertEqual(len(re.findall("<polyline", plot)), 4)


if __name__ == "__main__":
    unittest.main()
