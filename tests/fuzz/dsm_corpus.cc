// Writes the fuzz corpus's .dsm files anew, after a change of the format or of a packing:
//
//   dsm_corpus tests/fuzz/corpus/dsm            writes them
//   dsm_corpus --check tests/fuzz/corpus/dsm    fails where one is not what would be written
#include <cstdio>
#include <fstream>
#include <iterator>
#include <map>
#include <string>

#include "tests/deploy/engine/runtime/every_kind.h"
#include "tests/deploy/engine/runtime/general_kinds.h"
#include "tests/deploy/engine/runtime/small_files.h"

int main(int argc, char** argv) {
  const bool check = argc == 3 && std::string(argv[1]) == "--check";
  if (argc != 2 && !check) {
    std::fputs("usage: dsm_corpus [--check] FOLDER\n", stderr);
    return 2;
  }
  using namespace ds::engine::testing;
  const std::map<std::string, std::string> files = {
      {"every_kind.dsm", EveryKindFile()},
      {"general_kinds.dsm", GeneralKindsFile()},
      {"shapes.dsm", SmallNetwork().File({2, 1})},
      {"small.dsm", SmallNetwork().File()},
  };
  int stale = 0;
  for (const auto& [name, bytes] : files) {
    const std::string path = std::string(argv[argc - 1]) + "/" + name;
    if (!check) {
      std::ofstream(path, std::ios::binary) << bytes;
      continue;
    }
    std::ifstream stream(path, std::ios::binary);
    const std::string found{std::istreambuf_iterator<char>(stream), {}};
    if (found == bytes) continue;
    std::fprintf(stderr, "%s is not what the format is now: run dsm_corpus\n", path.c_str());
    ++stale;
  }
  return stale == 0 ? 0 : 1;
}
