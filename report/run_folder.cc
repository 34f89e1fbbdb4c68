#include "report/run_folder.h"

#include <sys/utsname.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <system_error>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "base/file/file.h"
#include "base/status.h"
#include "report/table.h"

namespace ds {
namespace {

namespace fs = std::filesystem;

constexpr int kMostRuns = 100000;

struct KnownFile {
  const char* name;
  const char* meaning;
};

constexpr KnownFile kKnownFiles[] = {
    {"config.yaml", "the resolved configuration; ds_train --config takes it back"},
    {"command.txt", "the command line"},
    {"versions.txt", "what it ran on"},
    {"metrics.csv", "loss, accuracy, speed and times, step by step"},
    {"events", "the same for TensorBoard: tensorboard --logdir"},
    {"summary.json", "the results"},
    {"trace.json", "compute and exchange over time: ui.perfetto.dev"},
    {"checkpoints", "what --resume starts from"},
    {"model.safetensors", "weights of the best evaluation"},
    {"model.onnx", "the same as a network that ONNX Runtime runs"},
};

std::string Numbered(const std::string& output, const std::string& name, int number) {
  const std::string base = (fs::path(output) / name).string();
  return number == 1 ? base : absl::StrCat(base, "-", number);
}

// The numbers of the folders of that name, the highest first; 1 is the one without.
std::vector<int> Numbers(const std::string& output, const std::string& name) {
  std::vector<int> numbers;
  if (IsFolder(Numbered(output, name, 1))) numbers.push_back(1);
  const std::string prefix = name + "-";
  const absl::StatusOr<std::vector<FileSystem::Entry>> entries = FileSystem::Default().List(output);
  if (!entries.ok()) return numbers;
  for (const FileSystem::Entry& entry : *entries) {
    int number = 0;
    // As Numbered writes it: "t-02" and "t-20261128" are somebody else's.
    if (absl::StartsWith(entry.name, prefix) &&
        absl::SimpleAtoi(absl::string_view(entry.name).substr(prefix.size()), &number) &&
        number > 1 && number < kMostRuns && entry.name == absl::StrCat(prefix, number) &&
        IsFolder(Numbered(output, name, number))) {
      numbers.push_back(number);
    }
  }
  std::sort(numbers.rbegin(), numbers.rend());
  return numbers;
}

std::string ProcessorName() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const size_t colon = line.find(": ");
    if (line.compare(0, 10, "model name") == 0 && colon != std::string::npos) {
      return line.substr(colon + 2);
    }
  }
  return "unknown";
}

}  // namespace

absl::StatusOr<RunFolder> RunFolder::Create(const std::string& output, const std::string& name) {
  constexpr absl::string_view kMend =
      "the run's folder (set 'run.output' to a folder that can be written)";
  absl::Status status = MakeFolders(output);
  if (!status.ok()) return Annotate(status, kMend);
  const std::vector<int> taken = Numbers(output, name);
  // Another process may take a number first.
  for (int number = taken.empty() ? 1 : taken.front() + 1; number <= kMostRuns; ++number) {
    const std::string path = Numbered(output, name, number);
    FileSystem& files = FileSystem::Default();
    std::error_code ignored;
    if (fs::exists(path, ignored)) continue;  // a file of that name is passed by, too
    const absl::StatusOr<bool> made = files.MakeFolder(path);
    status = made.status();
    if (made.ok() && !*made) continue;
    if (made.ok()) status = files.SyncFolder(output);
    if (!status.ok()) return Annotate(status, kMend);
    return RunFolder(path);
  }
  return absl::ResourceExhaustedError(absl::StrCat(Numbered(output, name, kMostRuns),
                                                   " is the last that can be; set another "
                                                   "'run.name', or rename or remove that folder"));
}

absl::StatusOr<RunFolder> RunFolder::Resume(const std::string& output, const std::string& name,
                                            IsOfName is_of_name) {
  for (const int number : Numbers(output, name)) {
    const RunFolder folder(Numbered(output, name, number));
    if (number == 1 || is_of_name(folder)) return folder;
  }
  return absl::NotFoundError(absl::StrCat("nothing to resume: there is no folder ",
                                          Numbered(output, name, 1),
                                          " (start without --resume, or set 'run.output' and "
                                          "'run.name' as they were)"));
}

absl::Status RunFolder::Describe(const std::string& config_yaml,
                                 const std::vector<std::string>& command,
                                 const Versions& versions) const {
  DS_RETURN_IF_ERROR(WriteFileAtomically(config(), config_yaml));
  std::string commands;
  {
    std::ifstream earlier(File("command.txt"), std::ios::binary);
    commands.assign(std::istreambuf_iterator<char>(earlier), std::istreambuf_iterator<char>());
  }
  absl::StrAppend(&commands,
                  absl::StrJoin(command, " ",
                                [](std::string* out, const std::string& word) {
                                  absl::StrAppend(out, ShellQuote(word));
                                }),
                  "\n");
  DS_RETURN_IF_ERROR(WriteFileAtomically(File("command.txt"), commands));
  std::string lines;
  for (const auto& [name, version] : versions) absl::StrAppend(&lines, name, ": ", version, "\n");
  return WriteFileAtomically(File("versions.txt"), lines);
}

std::string RunFolder::Contents() const {
  TextTable table({{path_}, {"what it is"}});
  for (const KnownFile& known : kKnownFiles) {
    std::error_code error;
    if (fs::exists(File(known.name), error)) table.AddRow({known.name, known.meaning});
  }
  return table.ToString();
}

Versions HostVersions() {
  Versions versions = {{"downstream", DS_VERSION}, {"compiler", __VERSION__}};
  utsname system{};
  if (uname(&system) == 0) {
    versions.emplace_back("system",
                          absl::StrCat(system.sysname, " ", system.release, " ", system.machine));
  }
  versions.emplace_back("processor", ProcessorName());
  return versions;
}

std::string ShellQuote(const std::string& word) {
  static constexpr absl::string_view kPlain = "_-./=:,+@%";
  bool plain = !word.empty();
  for (const char c : word) plain &= absl::ascii_isalnum(c) || kPlain.find(c) != kPlain.npos;
  return plain ? word : absl::StrCat("'", absl::StrReplaceAll(word, {{"'", "'\\''"}}), "'");
}

}  // namespace ds
