#include "deploy/engine/measure/program_output.h"

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

namespace ds::engine {
namespace {

using File = std::unique_ptr<std::FILE, decltype(&std::fclose)>;

[[noreturn]] void Become(const std::vector<std::string>& command,
                         const std::vector<std::pair<std::string, std::string>>& environment,
                         int output, int errors) {
  constexpr int kNotStarted = 127;
  for (const auto& [name, value] : environment) ::setenv(name.c_str(), value.c_str(), 1);
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  ::dup2(output, STDOUT_FILENO);
  ::dup2(errors, STDERR_FILENO);
  ::execvp(arguments[0], arguments.data());
  ::dprintf(STDERR_FILENO, "%s\n", std::strerror(errno));
  ::_exit(kNotStarted);
}

std::string All(std::FILE* file) {
  std::string text;
  std::array<char, 4096> part;
  std::rewind(file);
  while (const size_t count = std::fread(part.data(), 1, part.size(), file))
    text.append(part.data(), count);
  return text;
}

std::string LastLine(const std::string& text) {
  const size_t end = text.find_last_not_of("\n ");
  if (end == std::string::npos) return "it said nothing";
  const size_t begin = text.rfind('\n', end);
  return text.substr(begin == std::string::npos ? 0 : begin + 1, end - (begin + 1) + 1);
}

}  // namespace

Status ProgramOutput(const std::vector<std::string>& command,
                     const std::vector<std::pair<std::string, std::string>>& environment,
                     std::string& output) {
  // Files, not pipes: whatever is written, and how much, nobody waits for the other.
  const File out(std::tmpfile(), &std::fclose), errors(std::tmpfile(), &std::fclose);
  if (!out || !errors)
    return Status::Error(std::string("no temporary file can be made: ") + std::strerror(errno));
  const pid_t process = ::fork();
  if (process < 0)
    return Status::Error("'" + command[0] + "' cannot be started: " + std::strerror(errno));
  if (process == 0) Become(command, environment, ::fileno(out.get()), ::fileno(errors.get()));
  int status = 0;
  while (::waitpid(process, &status, 0) < 0 && errno == EINTR) {
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
    return Status::Error("'" + command[0] + "' failed: " + LastLine(All(errors.get())));
  output = All(out.get());
  return {};
}

}  // namespace ds::engine
