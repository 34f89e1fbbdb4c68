#include "base/process/spawn.h"

#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/file/file_system.h"

extern char** environ;

namespace ds {
namespace {

// Between fork and exec: nothing that allocates.
[[noreturn]] void Become(char* const* arguments, char* const* environment,
                         const SpawnOptions& options, pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent) _exit(kNotStarted);  // it has ended already
  if (options.input >= 0) dup2(options.input, STDIN_FILENO);
  if (options.output >= 0) dup2(options.output, STDOUT_FILENO);
  if (options.errors >= 0) dup2(options.errors, STDERR_FILENO);
  execvpe(arguments[0], arguments, environment);
  _exit(kNotStarted);
}

std::vector<char*> Pointers(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

std::vector<std::string> Environment(const SpawnOptions& options) {
  std::vector<std::string> all;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const absl::string_view text = *entry;
    bool replaced = false;
    for (const auto& [name, value] : options.environment)
      replaced |= absl::StartsWith(text, absl::StrCat(name, "="));
    if (!replaced) all.emplace_back(text);
  }
  for (const auto& [name, value] : options.environment)
    all.push_back(absl::StrCat(name, "=", value));
  return all;
}

}  // namespace

absl::StatusOr<pid_t> Spawn(const SpawnOptions& options) {
  std::vector<std::string> command = options.command, environment = Environment(options);
  const std::vector<char*> arguments = Pointers(command), variables = Pointers(environment);
  const pid_t parent = getpid();
  const pid_t process = fork();
  if (process == 0) Become(arguments.data(), variables.data(), options, parent);
  if (process < 0) return ErrnoStatus(errno, absl::StrCat("cannot start ", options.command[0]));
  return process;
}

std::string FolderOfThisProgram() {
  std::error_code error;
  const std::filesystem::path path = std::filesystem::read_symlink("/proc/self/exe", error);
  return error ? "." : path.parent_path().string();
}

std::string Beside(const std::string& name) {
  const std::string beside = absl::StrCat(FolderOfThisProgram(), "/", name);
  return access(beside.c_str(), X_OK) == 0 ? beside : name;
}

}  // namespace ds
