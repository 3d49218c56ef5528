"""The Python of docs/python.md runs."""

import pathlib
import re
import unittest

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "python.md"


class Documentation(unittest.TestCase):
    def test_snippets(self):
        snippets = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
        self.assertGreaterEqual(len(snippets), 1)
        for snippet in snippets:
            exec(compile(snippet, str(PAGE), "exec"), {})


if __name__ == "__main__":
    unittest.main()
