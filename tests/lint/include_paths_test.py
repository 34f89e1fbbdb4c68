"""No source that compiles protobuf or gRPC may have LibTorch's include folder on its path.

LibTorch's folder holds an old protobuf, and merely having it on the path picks the wrong one. A source compiles protobuf
when it, or a header of ours that it includes, however deep, includes *.pb.h, google/protobuf or grpc.

    include_paths_test.py SOURCE_FOLDER BINARY_FOLDER
"""
import functools
import pathlib
import re
import sys
import tempfile
import unittest

import compile_database

SOURCE, BINARY = (pathlib.Path(argument).resolve() for argument in sys.argv[1:3])
PROTOBUF = re.compile(r"\.pb\.h$|^google/protobuf/|^grpc(pp|\+\+)?/")


def torch_folder(command):
    for folder in command.folders:
        if (folder / "ATen" / "ATen.h").exists() or (folder / "torch" / "all.h").exists():
            return folder
    return None


@functools.lru_cache(maxsize=None)
def protobuf_chain(path, root):
    """The way from `path` to a protobuf header through our own files, or None."""
    return search(path, root, set())


def search(path, root, seen):
    seen.add(path)
    for name in compile_database.included_names(path):
        if PROTOBUF.search(name):
            return (path, name)
        for candidate in (path.parent / name, root / name):
            if candidate.is_file() and candidate.resolve() not in seen:
                chain = search(candidate.resolve(), root, seen)
                if chain:
                    return (path, *chain)
    return None


def faults(commands, root):
    found = []
    for command in commands:
        torch = torch_folder(command)
        if torch is None or not command.source.exists():
            continue
        chain = (command.source,) if PROTOBUF.search(command.source.name.replace(".pb.cc", ".pb.h")) else None
        chain = chain or protobuf_chain(command.source, root)
        if chain:
            found.append(" -> ".join(map(str, chain)) + f", with {torch} on its include path")
    return found


class IncludePaths(unittest.TestCase):
    def test_no_source_has_both(self):
        commands = compile_database.read(BINARY)
        self.assertGreater(len(commands), 10, "compile_commands.json lists next to nothing")
        found = faults(commands, SOURCE)
        self.assertEqual(found, [], "give the source a target without LibTorch and a header without protobuf")

    def test_some_source_compiles_protobuf_or_there_is_none(self):
        """So that the rule above is known to see what it looks for."""
        proto = SOURCE / "graph/onnx/import.cc"
        if any(command.source == proto for command in compile_database.read(BINARY)):
            self.assertIsNotNone(protobuf_chain(proto, SOURCE), "import.cc was not recognised as protobuf's user")

    def test_a_source_with_both_is_found(self):
        with tempfile.TemporaryDirectory() as name:
            root = pathlib.Path(name).resolve()
            (root / "torch" / "ATen").mkdir(parents=True)
            (root / "torch" / "ATen" / "ATen.h").touch()
            (root / "a.cc").write_text('#include "lib/b.h"\n')
            (root / "lib").mkdir()
            (root / "lib" / "b.h").write_text('#include "b.h"\n  #  include <google/protobuf/message.h>\n')
            (root / "clean.cc").write_text('#include "lib/none.h"\n')
            arguments = ("c++", "-isystem", str(root / "torch"), f"-I{root}", "-c", "a.cc")
            folders = compile_database.include_folders(arguments, root)
            command = functools.partial(compile_database.Command, arguments=arguments)
            self.assertEqual(len(faults([command(root / "a.cc", folders=folders)], root)), 1)
            self.assertEqual(faults([command(root / "a.cc", folders=(root,))], root), [])
            self.assertEqual(faults([command(root / "clean.cc", folders=folders)], root), [])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
