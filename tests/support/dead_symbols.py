"""Lists functions and data of ours that no program reaches: neither those of launch/ and bench/, nor the examples.

    tests/support/dead_symbols.py [BUILD_FOLDER]

Reads the object files of a finished build. From every main() and every static initialiser it follows relocations, function by function;
what is defined outside tests/ and never reached is printed with the tests' objects that use it. Static functions count as reached where
anything of their file is, and virtual ones where their vtable is; inline functions that nobody calls are in no object. So it is a place to
look, not a verdict: the public headers hold more than our own programs need.
"""
import collections
import pathlib
import struct
import subprocess
import sys

UNDEFINED, LOCAL, WEAK = 0, 0, 2
SYMTAB, RELA = 2, 4
ALLOCATED = 0x2  # a section that is loaded: code and data, not debugging information


class Object:
    """One relocatable ELF64 file: its symbols, and which other symbols each of them refers to."""

    def __init__(self, path):
        self.path, self.data = path, path.read_bytes()
        if self.data[:5] != b"\x7fELF\x02":
            raise ValueError(f"{path} is no 64-bit ELF object")
        offset, size, count, names = struct.unpack_from("<Q10xHHH", self.data, 0x28)
        self.sections = [struct.unpack_from("<IIQQQQIIQQ", self.data, offset + i * size) for i in range(count)]
        self.names = self.sections[names]
        self.defined, self.uses = {}, collections.defaultdict(set)
        self.twins = collections.defaultdict(set)  # names of one place: a constructor has two
        self._read()

    def _text(self, section, at):
        begin = section[4] + at
        return self.data[begin:self.data.index(b"\0", begin)].decode()

    def _read(self):
        table = next(s for s in self.sections if s[1] == SYMTAB)
        strings = self.sections[table[6]]
        symbols, inside = [], collections.defaultdict(list)
        for name, info, _, section, value, size in struct.iter_unpack("<IBBHQQ", self.data[table[4]:table[4] + table[5]]):
            kind, binding = info & 15, info >> 4
            text = self._text(strings, name)
            symbols.append((text, section, kind, binding, value))
            if section == UNDEFINED or section >= 0xff00 or kind not in (1, 2):
                continue
            key = text if binding != LOCAL else f"{text}@{self.path}"
            inside[section].append((value, value + max(1, size), key))
            if binding != LOCAL:
                self.defined[key] = binding
                self.twins[section, value].add(key)
        for spans in inside.values():
            spans.sort()
        for section in self.sections:
            if section[1] == RELA and self.sections[section[7]][2] & ALLOCATED \
                    and not self._text(self.names, self.sections[section[7]][0]).startswith((".eh_frame", ".note")):
                self._read_relocations(section, symbols, inside)

    def _read_relocations(self, section, symbols, inside):
        for at, info, addend in struct.iter_unpack("<QQq", self.data[section[4]:section[4] + section[5]]):
            text, home, kind, binding, value = symbols[info >> 32]
            if kind == 3 or binding == LOCAL and home != UNDEFINED:  # a place in a section of this object
                target = self._around(inside[home], value + addend + 4) or self._around(inside[home], value + addend)
            else:
                target = text
            if target:
                self.uses[self._user(inside[section[7]], at)].add(target)

    def _user(self, spans, at):
        found = self._around(spans, at)
        # Static functions are called without a relocation: theirs, and initialisers', are the whole file's.
        return found if found and "@" not in found else f"@{self.path}"

    @staticmethod
    def _around(spans, at):
        return next((key for begin, end, key in spans if begin <= at < end), None)


def demangled(names):
    return subprocess.run(["c++filt"], input="\n".join(names), capture_output=True, text=True, check=True).stdout.splitlines()


def reached(objects):
    users, definers = collections.defaultdict(set), collections.defaultdict(list)
    for one in objects:
        for names in one.twins.values():
            for name in names:
                users[name] |= names
        for user, targets in one.uses.items():
            users[user] |= targets
        for name in one.defined:
            definers[name].append(one)
    seen, open_names = set(), ["main"]
    while open_names:
        name = open_names.pop()
        if name in seen:
            continue
        seen.add(name)
        open_names += users[name]
        open_names += [f"@{one.path}" for one in definers[name]]
    return seen


def main():
    build = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "build")
    paths = [p for p in build.rglob("*.o") if "CompilerIdC" not in str(p)]
    tests = [p for p in paths if p.relative_to(build).parts[0] in ("tests", "fuzz")]
    product = [Object(p) for p in paths if p not in set(tests)]
    seen = reached(product)
    homes = {name: one for one in product for name, binding in one.defined.items() if binding != WEAK and name not in seen}
    by_test = collections.defaultdict(set)
    for path in tests:
        one = Object(path)
        for targets in one.uses.values():
            for name in targets & homes.keys():
                by_test[name].add(path.name.removesuffix(".o"))
    rows = sorted((str(homes[name].path.relative_to(build)), text, sorted(by_test[name]))
                  for name, text in zip(homes, demangled(homes)) if text.startswith("ds::"))
    for path, text, users in rows:
        print(f"{path}: {text}\n    {', '.join(users) or 'nobody'}")
    print(f"{len(rows)} symbols of ours are reached by no program")


if __name__ == "__main__":
    main()
