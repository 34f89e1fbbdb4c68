// Replays the fuzzer's corpus, and what the fuzzer is too slow to find: inputs of the largest size
// allowed.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "config/yaml_node.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace ds {
namespace {

namespace fs = std::filesystem;

void Feed(const std::string& text) {
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(text.data()), text.size());
}

TEST(YamlCorpus, EveryFileIsReadOrRefused) {
  int files = 0;
  for (const auto& entry :
       fs::directory_iterator(fs::path(DS_SOURCE_DIR) / "tests/fuzz/corpus/yaml")) {
    std::ifstream file(entry.path(), std::ios::binary);
    SCOPED_TRACE(entry.path().string());
    Feed(std::string((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>()));
    ++files;
  }
  EXPECT_GE(files, 20);
}

TEST(YamlCorpus, EveryCutAndEveryByteOfAConfigIsReadOrRefused) {
  const std::string text =
      "model: {name: \"lenet\"}\nrun:\n  seed: 5 # c\ndata:\n  mean: [0.5]\n  stddev: [1]\n";
  for (size_t i = 0; i <= text.size(); ++i) Feed(text.substr(0, i));
  for (size_t i = 0; i < text.size(); ++i) {
    for (const char c : {'\0', '\t', '\n', '"', '\'', '[', '{', '}', ':', '-', '?', '&', '*', '!',
                         '|', '%', '\x80'}) {
      std::string changed = text;
      changed[i] = c;
      Feed(changed);
    }
  }
}

TEST(YamlCorpus, TheLargestFilesOfOneKindAreRefusedInTime) {
  for (const char* piece :
       {"[",     "{",        "]",   "? ",    "- ",     "a: ",      "a:\n", "\n",
        " ",     "#",        "'",   "\"",    "&a ",    "*a ",      "!a ",  "--- ",
        "...\n", "%A\n",     "|\n", ">\n ",  "[a,",    "{a,",      "a ",   "a\n",
        ", ",    "\xC3\xBC", "\\",  "- a\n", "\"\\\n", "k: [1]\n", "\r",   "? a\n: b\n"}) {
    std::string text;
    while (text.size() < kMaxYamlBytes) text += piece;
    text.resize(kMaxYamlBytes);
    const auto start = std::chrono::steady_clock::now();
    static_cast<void>(ParseYaml(text, "large.yaml"));
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    EXPECT_LT(took.count(), 5.0) << "pieces of '" << piece << "'";
  }
}

}  // namespace
}  // namespace ds
