"""compile_commands.json, read for questions about include paths."""
import dataclasses
import json
import pathlib
import re
import shlex
import sys

INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Command:
    source: pathlib.Path
    arguments: tuple
    folders: tuple  # on the include path, in the order searched

    def flags(self):
        """The command without its output, its input, and what it would write beside them."""
        dropped, kept, skip_next = {"-c", "-MD"}, [], False
        for argument in self.arguments:
            if skip_next:
                skip_next = False
            elif argument in {"-o", "-MF", "-MT"}:
                skip_next = True
            elif argument not in dropped and not same_file(argument, self.source):
                kept.append(argument)
        return kept


def same_file(argument, source):
    return argument.endswith(source.name) and pathlib.Path(argument).name == source.name


def include_folders(arguments, directory):
    folders = []
    for index, argument in enumerate(arguments):
        for flag in ("-isystem", "-iquote", "-idirafter", "-I"):
            if argument == flag and index + 1 < len(arguments):
                folders.append(arguments[index + 1])
            elif argument.startswith(flag) and argument != flag:
                folders.append(argument[len(flag):])
    return tuple((pathlib.Path(directory) / folder).resolve() for folder in folders)


def read(binary_folder):
    path = pathlib.Path(binary_folder) / "compile_commands.json"
    if not path.exists():
        print(f"SKIPPED: {path} is not there; only Ninja and Makefile builds write it")
        sys.exit(77)
    commands = []
    for entry in json.loads(path.read_text()):
        arguments = shlex.split(entry["command"]) if "command" in entry else entry["arguments"]
        source = (pathlib.Path(entry["directory"]) / entry["file"]).resolve()
        commands.append(Command(source, tuple(arguments), include_folders(arguments, entry["directory"])))
    return commands


def included_names(path):
    return INCLUDE.findall(path.read_text(errors="replace"))
