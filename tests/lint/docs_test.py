"""Every page under docs/ is in README's table, every relative link of a page leads to a file that exists, and no page has a section twice.

    docs_test.py SOURCE_FOLDER
"""
import pathlib
import re
import sys
import tempfile
import unittest

SOURCE = pathlib.Path(sys.argv[1]).resolve()
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"^```.*?^```|^(?: {4}|\t).*?$|`[^`\n]*`", re.MULTILINE | re.DOTALL)
# `folder/name.ext` in backticks: a file of ours by its path from the root.
NAMED = r"`((?:%s)/[\w./-]+\.(?:h|cc|cu|py|sh|yaml|md|cmake))`"


# `name.ext` alone: a source of ours, in whatever folder.
ALONE = re.compile(r"`([\w-]+\.(?:h|cc|cu|py))`")
GENERATED = re.compile(r"\.|build|runs")  # how folders begin that hold no sources


def links(text):
    """Relative targets, without the part behind #."""
    for match in LINK.finditer(CODE.sub("", text)):
        target = match[1].split("#")[0]
        if target and not re.match(r"[a-z]+:", target):
            yield target


def pages(root):
    return sorted(p for p in [root / "README.md", *root.glob("docs/**/*.md"), *root.glob("examples/**/*.md")] if p.is_file())


def broken_links(root):
    return [f"{page.relative_to(root)}: {target} is not there"
            for page in pages(root) for target in links(page.read_text()) if not (page.parent / target).exists()]


def unlinked_pages(root):
    linked = {(root / target).resolve() for target in links((root / "README.md").read_text())}
    return [f"README.md has no link to {page.relative_to(root)}"
            for page in sorted(root.glob("docs/**/*.md")) if page.resolve() not in linked]


def missing_files(root):
    """Files that a page names by a path, or by a name alone, which does not exist, as after a move."""
    folders = [p for p in root.iterdir() if p.is_dir() and not GENERATED.match(p.name)]
    named = re.compile(NAMED % "|".join(sorted(re.escape(p.name) for p in folders)))
    names = {path.name for folder in folders for path in folder.rglob("*.*")}
    return [f"{page.relative_to(root)}: there is no {match[1]}"
            for page in pages(root) for pattern in (named, ALONE) for match in pattern.finditer(page.read_text())
            if match[1] not in names and not (root / match[1]).exists()]


def repeated_sections(root):
    """Headings of a page's sections that stand there twice, as after a merge that kept both sides."""
    found = []
    for page in pages(root):
        headings = re.findall(r"^## .*$", CODE.sub("", page.read_text()), re.MULTILINE)
        found += [f"{page.relative_to(root)}: {heading} stands there twice" for heading in sorted({h for h in headings if headings.count(h) > 1})]
    return found


class Docs(unittest.TestCase):
    def test_every_page_is_linked(self):
        self.assertEqual(unlinked_pages(SOURCE), [])

    def test_every_link_and_every_path_exists(self):
        self.assertGreater(len(pages(SOURCE)), 10, "hardly any page was found")
        found = broken_links(SOURCE) + missing_files(SOURCE)
        self.assertEqual(found, [], "\n".join(found))

    def test_no_section_stands_there_twice(self):
        self.assertEqual(repeated_sections(SOURCE), [])

    def test_finds_what_it_looks_for(self):
        with tempfile.TemporaryDirectory() as name:
            root = pathlib.Path(name)
            (root / "docs").mkdir()
            (root / "README.md").write_text("[a](docs/a.md) [gone](docs/gone.md) [web](https://example.com/x) `[x](no.md)`\n")
            (root / "docs/a.md").write_text("[up](../README.md#top) `docs/old/place.h` `docs/b.md` `gone.h`\n")
            (root / "docs/b.md").write_text("    [in code](nowhere.md)\n")
            self.assertEqual(broken_links(root), ["README.md: docs/gone.md is not there"])
            (root / "docs/c.md").write_text("## One\n## Two\n    ## Two\n## One\n")
            self.assertEqual(repeated_sections(root), ["docs/c.md: ## One stands there twice"])
            (root / "docs/c.md").unlink()
            self.assertEqual(unlinked_pages(root), ["README.md has no link to docs/b.md"])
            self.assertEqual(missing_files(root), ["docs/a.md: there is no docs/old/place.h", "docs/a.md: there is no gone.h"])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
