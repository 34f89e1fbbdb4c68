"""A knob lives in one struct: two structs of options that share several fields, default and all, repeat each other.

One shared field is often chance (a seed, an on-off switch), two or more are not, but for the pairs below.

    options_test.py SOURCE_FOLDER
"""
import itertools
import pathlib
import re
import sys
import tempfile
import unittest

import source_tree

SOURCE = pathlib.Path(sys.argv[1]).resolve()
STRUCT = re.compile(r"^struct (\w*(?:Options|Config|Arguments|Quantizer|Pruning))\s*\{(.*?)^\};", re.MULTILINE | re.DOTALL)
FIELDS = re.compile(r"\s*[\w:]+(?:<[^>]*>)?[&*]?\s+(\w+\s*=.*)", re.DOTALL)
FIELD = re.compile(r"(\w+)\s*=\s*([^,]+)")

# Pairs that do share fields, and why.
APART = {
    ("DatasetOptions", "ModelOptions"): "what synthetic data is, and what a model takes, whoever trains it on what",
    ("PruningConfig", "QuantizationConfig"): "each mode and each start is of another thing",
    ("PruneJobOptions", "QuantizeJobOptions"): "two programs that have flags alike",
    ("CompressionOptions", "ReconstructionOptions"): "each method and each seed is of another thing",
    ("CompressedAllReduceOptions", "PowerSgdOptions"): "two compressors, each of use alone",
    ("CompressionOptions", "PowerSgdOptions"): "training passes its own on to whichever compressor it makes",
    ("QuantizerOptions", "WeightQuantOptions"): "a quantiser of weights is of use alone",
}


def defaults(text):
    """Of each struct of options its fields with a default, as pairs of name and value."""
    found = {}
    for struct in STRUCT.finditer(re.sub(r"//[^\n]*", "", text)):
        fields = found.setdefault(struct[1], set())
        for line in struct[2].split(";"):
            declaration = FIELDS.fullmatch(line)
            for field in FIELD.finditer(declaration[1]) if declaration else ():
                value = field[2].strip()
                if re.fullmatch(r"[-+.\de]+", value):
                    value = repr(float(value))
                fields.add((field[1], value))
    return found


def repeated(root):
    structs = {}
    for path in source_tree.cpp_files(root):
        if path.relative_to(root).parts[0] != "tests":
            structs.update(defaults(path.read_text()))
    found = []
    for one, other in itertools.combinations(sorted(structs), 2):
        shared = sorted(name for name, value in structs[one] & structs[other])
        if len(shared) > 1 and (one, other) not in APART:
            found.append(f"{one} and {other} both have {', '.join(shared)}, with the same defaults: let one hold the other")
    return structs, found


class Options(unittest.TestCase):
    def test_no_two_structs_repeat_each_other(self):
        structs, found = repeated(SOURCE)
        self.assertGreater(len(structs), 40, "hardly any struct of options was found")
        self.assertEqual([pair for pair in APART for name in pair if name not in structs], [], "these are no more")
        self.assertEqual(found, [], "\n".join(found))

    def test_finds_what_it_looks_for(self):
        with tempfile.TemporaryDirectory() as name:
            root = pathlib.Path(name)
            (root / "a.h").write_text("struct AOptions {\n  int rate = 1;  // x = 2\n  double height = 0.50, width = 2;\n};\n")
            (root / "b.h").write_text("struct BConfig {\n  int64_t rate = 1;\n  double width = 2.0;\n};\n")
            (root / "c.h").write_text("struct COptions {\n  int rate = 1;\n  double width = 3;\n};\n")
            self.assertEqual(repeated(root)[1],
                             ["AOptions and BConfig both have rate, width, with the same defaults: let one hold the other"])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
