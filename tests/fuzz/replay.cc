// Feeds a fuzz target its corpus without a fuzzer: replay FOLDER FLIPS. Every file as it is, cut
// short, and with FLIPS deterministic mutations. A crash, a failed check or a sanitizer's report
// fails the test, and the last line then says which input it was; replay FOLDER FLIPS FILE CASE
// writes that input to standard output.
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "base/file/file.h"
#include "base/random.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

constexpr uint64_t kSeed = 20260101;
// Every length up to here is tried, where headers live; beyond, as many more at most, evenly
// spread.
constexpr size_t kCuts = 512;
// A long file gets fewer cuts and flips: this many bytes of each are enough.
constexpr size_t kBudgetBytes = 2 << 20;

// What is being fed, for the handler of a crash, which may not allocate.
char current[512] = "nothing";

void SayWhichInput(int signal_number) {
  for (const char* part : {"replay: crashed on ", static_cast<const char*>(current), "\n"}) {
    if (write(STDERR_FILENO, part, std::strlen(part)) < 0) break;
  }
  std::signal(signal_number, SIG_DFL);
  std::raise(signal_number);
}

std::vector<size_t> CutLengths(size_t size) {
  std::vector<size_t> lengths;
  for (size_t length = 0; length < std::min(size, kCuts); ++length) lengths.push_back(length);
  const size_t more = std::min(kCuts, kBudgetBytes / (size + 1) + 1);
  const size_t stride = size / more + 1;
  for (size_t length = kCuts; length < size; length += stride) lengths.push_back(length);
  return lengths;
}

// One to four places changed: a bit flipped, or a byte set to one that counts and lengths break at.
std::string Mutated(std::string bytes, const std::string& name, uint32_t number) {
  static constexpr unsigned char kBytes[] = {0x00, 0x01, 0x7f, 0x80, 0xff};
  if (bytes.empty()) return bytes;
  ds::CounterRandom random(kSeed, ds::StreamOf(name.data(), name.size()), number);
  const uint32_t changes = 1 + random.NextBelow(4);
  for (uint32_t i = 0; i < changes; ++i) {
    char& byte = bytes[random.NextBelow(static_cast<uint32_t>(bytes.size()))];
    if (random.NextBelow(2) == 0) {
      byte = static_cast<char>(byte ^ (1 << random.NextBelow(8)));
    } else {
      byte = static_cast<char>(kBytes[random.NextBelow(std::size(kBytes))]);
    }
  }
  return bytes;
}

// The inputs made of one file: first the file, then its cuts, then its mutations.
class Cases {
 public:
  Cases(std::string bytes, std::string name, size_t flips)
      : bytes_(std::move(bytes)),
        name_(std::move(name)),
        cuts_(CutLengths(bytes_.size())),
        flips_(std::min(flips, kBudgetBytes / (bytes_.size() + 1) + 1)) {}

  size_t size() const { return 1 + cuts_.size() + flips_; }
  std::string Get(size_t number) const {
    if (number == 0) return bytes_;
    if (number <= cuts_.size()) return bytes_.substr(0, cuts_[number - 1]);
    return Mutated(bytes_, name_, static_cast<uint32_t>(number - cuts_.size()));
  }

 private:
  std::string bytes_;
  std::string name_;
  std::vector<size_t> cuts_;
  size_t flips_;
};

void Feed(const std::string& input) {
  // A block of just this size, so that reading past its end is seen.
  std::vector<uint8_t> exact(input.begin(), input.end());
  exact.shrink_to_fit();
  LLVMFuzzerTestOneInput(exact.data(), exact.size());
}

}  // namespace

int main(int argc, char** argv) {
  size_t flips = 0, only_case = 0;
  if (argc < 3 || !absl::SimpleAtoi(argv[2], &flips) ||
      (argc == 5 && !absl::SimpleAtoi(argv[4], &only_case))) {
    std::fprintf(stderr, "usage: %s FOLDER FLIPS [FILE CASE]\n", argv[0]);
    return 2;
  }
  for (int signal_number : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL})
    std::signal(signal_number, SayWhichInput);
  std::error_code error;
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(argv[1], error))
    files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  size_t fed = 0;
  for (const std::filesystem::path& file : files) {
    const std::string name = file.filename().string();
    if (argc == 5 && name != argv[3]) continue;
    const auto bytes = ds::ReadFile(file.string());
    if (!bytes.ok()) {
      std::fprintf(stderr, "%s\n", std::string(bytes.status().message()).c_str());
      return 1;
    }
    const Cases cases(*bytes, name, flips);
    if (argc == 5) {
      const std::string input = cases.Get(only_case);
      return std::fwrite(input.data(), 1, input.size(), stdout) == input.size() ? 0 : 1;
    }
    for (size_t number = 0; number < cases.size(); ++number, ++fed) {
      std::snprintf(current, sizeof(current), "%s case %zu", name.c_str(), number);
      Feed(cases.Get(number));
    }
  }
  if (fed == 0) {
    std::fprintf(stderr, "replay: there is no corpus in %s\n", argv[1]);
    return 1;
  }
  std::printf("%zu inputs made of %zu files, seed %llu\n", fed, files.size(),
              static_cast<unsigned long long>(kSeed));
  return 0;
}
