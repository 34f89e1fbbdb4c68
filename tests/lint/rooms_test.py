"""The table of rooms in docs/architecture.md, held against the code.

A room is a row: one folder or several that belong together. A source may include from its own room, from the rooms that
its row names and from the foreign libraries that its row names; the table has no cycle and no folder lacks a row. No
room holds more than a tenth of the product's lines, no folder more than 25 files.

    rooms_test.py SOURCE_FOLDER
"""
import collections
import pathlib
import re
import sys
import tempfile
import unittest

import compile_database
import source_tree

SOURCE = pathlib.Path(sys.argv[1]).resolve()
HEADING = "| room | what lives there | may depend on |"
ALL_ABOVE = "all above"
LARGEST_SHARE = 0.10
MOST_FILES = 25
NOT_ROOMS = {"tests", "examples"}
NOT_PRODUCT = {"bench"}
# Foreign headers that only some rooms may see. The C++ library, POSIX, Abseil and nlohmann-json are everyone's.
FOREIGN = {
    "LibTorch": r"(ATen|c10|torch)/", "MPI": r"mpi\.h$", "NCCL": r"nccl\.h$", "CUDA": r"(cuda\w*\.h$|cuda/|cub/)",
    "protobuf": r"(.*\.pb\.h$|google/protobuf/)", "gRPC": r"grpc(pp|\+\+)?/", "yaml-cpp": r"yaml-cpp/",
    "libjpeg": r"jpeglib\.h$", "libpng": r"png\.h$", "libwebp": r"webp/", "zlib": r"zlib\.h$",
    "OpenSSL": r"openssl/", "CLI11": r"CLI/",
    "prometheus-cpp": r"prometheus/",
}


class Table:
    """What the table says: which room a folder is in, and what each room may depend on."""

    def __init__(self, text):
        self.room_of, self.allowed, self.faults = {}, {}, []
        cells_of = {}
        for row in text.partition(HEADING)[2].lstrip("\n").splitlines()[1:]:  # without the line of dashes
            if not row.startswith("|"):
                break
            cells = [cell.strip() for cell in row.strip("|").split("|")]
            folders = re.findall(r"`([\w/]+)/`", cells[0])
            self.faults += [f"`{folder}/` has two rows" for folder in folders if folder in self.room_of]
            self.room_of.update(dict.fromkeys(folders, folders[0]))
            cells_of[folders[0]] = cells[-1]
        for room, cell in cells_of.items():
            self.allowed[room] = self._dependencies(room, cell)

    def _dependencies(self, room, cell):
        found = set()
        for name in cell.split(", ") if cell != "–" else []:
            folder = re.fullmatch(r"`([\w/]+)/`", name)
            if folder and folder[1] in self.room_of:
                found.add(self.room_of[folder[1]])
            elif name in FOREIGN:
                found.add(name)
            elif name == ALL_ABOVE:
                found.update(self.allowed)
            else:
                self.faults.append(f"the row of `{room}/` names {name}: neither a folder with a row nor one of "
                                   f"{', '.join([*FOREIGN, ALL_ABOVE])}")
        return found

    def cycle(self):
        """A way through the rooms that comes back to where it began; None where there is none."""
        finished = set()

        def visit(room, way):
            if room in way:
                return [*way[way.index(room):], room]
            for following in sorted(self.allowed.get(room, ())) if room not in finished else ():
                found = visit(following, [*way, room])
                if found:
                    return found
            finished.add(room)
            return None

        return next(filter(None, (visit(room, []) for room in self.allowed)), None)


def product_files(root):
    """Folder (a name from the root) -> its C++ files."""
    folders = collections.defaultdict(list)
    for path in source_tree.cpp_files(root):
        folder = path.parent.relative_to(root)
        if folder.parts and folder.parts[0] not in NOT_ROOMS:
            folders[str(folder)].append(path)
    return folders


def include_faults(root, table, folder, path):
    room = table.room_of[folder]
    for name in compile_database.included_names(path):
        if name.endswith(".pb.h"):
            target = "protobuf"
        elif (root / name).is_file():
            target = table.room_of.get(str(pathlib.PurePath(name).parent))
        else:
            target = next((library for library, pattern in FOREIGN.items() if re.match(pattern, name)), None)
        if target and target != room and target not in table.allowed[room]:
            yield (f"{path.relative_to(root)} includes {name}, but the row of `{room}/` does not name {target}: move the code, "
                   "or change the design and its table")


def faults(root, text):
    table = Table(text)
    found = list(table.faults)
    if not table.allowed:
        return [f"there is no table that begins with {HEADING}"]
    cycle = table.cycle()
    if cycle:
        found.append("the table goes round in a circle: " + " -> ".join(cycle))
    for folder, paths in sorted(product_files(root).items()):
        if folder not in table.room_of:
            found.append(f"{folder}/ has no row in the table of rooms")
            continue
        for path in paths:
            found += include_faults(root, table, folder, path)
    return found


def size_faults(root, table):
    """Rooms and folders that have grown too large to be one."""
    folders, lines = product_files(root), collections.Counter()
    for folder, paths in folders.items():
        if folder.split("/")[0] not in NOT_PRODUCT:
            lines[table.room_of.get(folder, folder)] += sum(path.read_bytes().count(b"\n") for path in paths)
    total = sum(lines.values())
    found = [f"{name}/ holds {count} of {total} lines, more than {LARGEST_SHARE:.0%}: it is several rooms"
             for name, count in lines.items() if count > LARGEST_SHARE * total]
    counts = collections.Counter(str(path.parent.relative_to(root)) for path in source_tree.files(root))
    return found + [f"{folder}/ has {counts[folder]} files, more than {MOST_FILES}: give a group of them a folder of its own"
                    for folder in sorted(folders) if counts[folder] > MOST_FILES]


def table_of(*rows):
    return "\n".join([HEADING, "| --- | --- | --- |", *(f"| {a} | {b} | {c} |" for a, b, c in rows), "", "more"])


class Rooms(unittest.TestCase):
    def test_every_include_is_in_the_table(self):
        found = faults(SOURCE, (SOURCE / "docs/architecture.md").read_text())
        self.assertEqual(found, [], "\n".join(found))

    def test_no_room_is_too_large(self):
        found = size_faults(SOURCE, Table((SOURCE / "docs/architecture.md").read_text()))
        self.assertEqual(found, [], "\n".join(found))


class RoomsOfAMadeUpTree(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        self.write("base/a.h", "")
        self.write("comm/b.h", '#include "base/a.h"\n#include "comm/inner/c.h"\n#include <vector>\n')
        self.write("comm/inner/c.h", '#include "comm/b.h"\n')
        self.write("launch/main.cc", '#include "comm/b.h"\n#include <ATen/ATen.h>\n')
        self.write("tests/comm/b_test.cc", '#include "launch/main.cc"\n')

    def write(self, name, text):
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        (self.root / name).write_text(text)

    def faults(self, base="–", comm="`base/`", inner="`comm/inner/`"):
        return faults(self.root, table_of(("`base/`", "numbers", base), (f"`comm/` {inner}", "messages", comm),
                                          ("`launch/`", "programs", "all above, LibTorch")))

    def test_what_the_table_allows_passes(self):
        self.assertEqual(self.faults(), [])

    def test_an_include_that_no_row_allows(self):
        self.write("base/d.cc", '#include "comm/b.h"\n')
        self.assertRegex("\n".join(self.faults()), r"^base/d.cc includes comm/b.h, but the row of `base/` does not name comm")
        self.assertRegex("\n".join(self.faults(comm="–")), "comm/b.h includes base/a.h")

    def test_a_foreign_library_that_no_row_allows(self):
        self.write("comm/e.cc", "  #  include <torch/csrc/autograd/variable.h>\n")
        self.assertRegex("\n".join(self.faults()), "comm/e.cc includes torch/.* does not name LibTorch")
        self.assertEqual(self.faults(comm="`base/`, LibTorch"), [])

    def test_a_folder_without_a_row(self):
        self.assertIn("comm/inner/ has no row in the table of rooms", self.faults(inner=""))

    def test_a_circle(self):
        self.assertIn("the table goes round in a circle: base -> comm -> base", self.faults(base="`comm/`"))

    def test_a_name_that_is_nothing(self):
        self.assertRegex("\n".join(self.faults(comm="`base/`, `bse/`")), "names `bse/`: neither a folder with a row")

    def test_a_document_without_the_table(self):
        self.assertRegex("\n".join(faults(self.root, "# nothing")), "there is no table")

    def test_rooms_and_folders_that_grew_too_large(self):
        # Two folders of one room count together; those of a folder's different rooms do not.
        table = Table(table_of(("`a/` `a/inner/`", "", "–"), ("`a/other/`", "", "–")))
        for number in range(20):
            self.write(f"room{number}/one.cc", "\n" * 10)
        self.write("a/one.cc", "\n" * 10)
        self.write("a/other/one.cc", "\n" * 10)
        self.assertEqual(size_faults(self.root, table), [])
        self.write("a/inner/one.cc", "\n" * 20)
        for number in range(MOST_FILES):
            self.write(f"comm/inner/{number}.h", "")
        self.assertEqual([fault.split(",")[0] for fault in size_faults(self.root, table)],
                         ["a/ holds 30 of 246 lines", "comm/inner/ has 26 files"])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
