"""No file names the host of a package registry, or a path that exists on one developer's machine only.

    committed_text_test.py SOURCE_FOLDER
"""
import pathlib
import re
import sys
import unittest

import source_tree

SOURCE = pathlib.Path(sys.argv[1]).resolve()
# Assembled from pieces, so that this file does not hold what it looks for.
HOSTS = ["pypi" + ".org", "python" + "hosted.org", "npmjs" + ".org", "crates" + ".io", "download." + "pytorch.org",
         "deb." + "debian.org", "conda" + ".anaconda.org"]
FAULTS = {
    "a package registry's host (its users' own configuration names it)": re.compile("|".join(map(re.escape, HOSTS))),
    "a path of one machine": re.compile(r"(?<![\w./$}-])/(work|root|home/\w+)/"),
}


def faults(text):
    for what, pattern in FAULTS.items():
        for match in pattern.finditer(text):
            yield text.count("\n", 0, match.start()) + 1, what, match[0]


class CommittedText(unittest.TestCase):
    def test_names_no_registry_and_no_machine(self):
        paths = source_tree.files(SOURCE)
        self.assertGreater(len(paths), 50, "hardly any file was found")
        found = []
        for path in paths:
            for line, what, match in faults(path.read_bytes().decode("utf-8", "replace")):
                found.append(f"{path.relative_to(SOURCE)}:{line}: {what}: {match}")
        self.assertEqual(found, [], "\n".join(found))

    def test_finds_what_it_looks_for(self):
        for text in ["see https://" + HOSTS[0] + "/simple", "cd /" + "work/main", "'/" + "root/x'", "=/" + "home/me/x"]:
            self.assertTrue(list(faults(text)), text)
        for text in ["/usr/share/datasets", "build/work/x", "$prefix/root/x", "https://example.com/home/me/"]:
            self.assertFalse(list(faults(text)), text)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
