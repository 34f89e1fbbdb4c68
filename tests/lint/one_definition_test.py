"""No two headers of the product define a type of the same name in the same namespace: a program that links both has two definitions of one
thing, and calls the members of one on objects of the other. No linker says so.

    one_definition_test.py SOURCE_FOLDER
"""
import collections
import pathlib
import re
import sys
import unittest

import source_tree

SOURCE = pathlib.Path(sys.argv[1]).resolve()
NOT_PRODUCT = {"tests", "bench", "examples"}
LINE = re.compile(r"^namespace (?P<opened>[\w:]*) ?\{|^\}  // namespace (?P<closed>[\w:]*)"
                  r"|^(?:template <.*> ?)?(?:class|struct|enum class|enum)\b[^;(]*?\b(?P<type>\w+)(?: final)?(?: : [^;]*)?\s*\{", re.MULTILINE)


def types(text):
    """Names of the types that are defined at the left margin, with their namespaces."""
    inside = []
    for match in LINE.finditer(text):
        if match["opened"] is not None:
            inside.append(match["opened"])
        elif match["closed"] is not None:
            inside = inside[:-1]
        else:
            yield "::".join([*inside, match["type"]])


def faults(texts):
    """`texts`: name of a header -> what is in it."""
    where = collections.defaultdict(list)
    for name, text in texts.items():
        for defined in types(text):
            where[defined].append(name)
    return [f"{defined} is defined in {' and in '.join(names)}: rename one, or let both use one definition"
            for defined, names in where.items() if len(names) > 1]


class OneDefinition(unittest.TestCase):
    def test_every_type_is_defined_once(self):
        headers = [path for path in source_tree.cpp_files(SOURCE)
                   if path.suffix == ".h" and path.relative_to(SOURCE).parts[0] not in NOT_PRODUCT]
        found = faults({str(path.relative_to(SOURCE)): path.read_text() for path in headers})
        self.assertEqual(found, [], "\n".join(found))

    def test_finds_what_it_looks_for(self):
        first = "namespace ds::a {\nclass Lock;\nclass Lock final : public Base {\n};\nstruct Other {\n}; }  // x\n}  // namespace ds::a\n"
        elsewhere = "namespace ds {\nnamespace b {\nclass Lock {\n};\n}  // namespace b\nenum class Kind { kA };\n}  // namespace ds\n"
        self.assertEqual(list(types(first)), ["ds::a::Lock", "ds::a::Other"])
        self.assertEqual(list(types(elsewhere)), ["ds::b::Lock", "ds::Kind"])
        self.assertEqual(faults({"x.h": first, "y.h": elsewhere}), [])
        self.assertRegex(faults({"x.h": first, "y.h": first.replace("Other", "New")})[0], "ds::a::Lock is defined in x.h and in y.h")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
