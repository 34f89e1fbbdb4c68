#include "federated/demo/process.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "base/clock.h"

extern char** environ;

namespace ds::federated {
namespace {

constexpr int kCannotStart = 127;
constexpr absl::Duration kLookEvery = absl::Milliseconds(20);

// Between fork and exec: nothing that allocates.
[[noreturn]] void Become(char* const* arguments, char* const* environment, int log,
                         bool own_stdout) {
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  const int nothing = open("/dev/null", O_RDONLY);
  if (nothing >= 0) dup2(nothing, STDIN_FILENO);
  if (!own_stdout) dup2(log, STDOUT_FILENO);
  dup2(log, STDERR_FILENO);
  execvpe(arguments[0], arguments, environment);
  _exit(kCannotStart);
}

std::vector<char*> Pointers(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

std::vector<std::string> Environment(const ProcessOptions& options) {
  std::vector<std::string> all;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    bool replaced = false;
    for (const auto& [name, value] : options.environment)
      replaced |= text.rfind(absl::StrCat(name, "="), 0) == 0;
    if (!replaced) all.push_back(text);
  }
  for (const auto& [name, value] : options.environment)
    all.push_back(absl::StrCat(name, "=", value));
  return all;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Process>> Process::Start(const ProcessOptions& options) {
  const int log = open(options.log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (log < 0) {
    return absl::UnavailableError(
        absl::StrCat(options.log, " cannot be written: ", strerror(errno)));
  }
  const absl::Cleanup close_log = [log] { close(log); };
  std::vector<std::string> command = options.command, environment = Environment(options);
  const std::vector<char*> arguments = Pointers(command), variables = Pointers(environment);
  const bool is_path = command[0].find('/') != std::string::npos;
  if (is_path && access(command[0].c_str(), X_OK) != 0) {
    return absl::NotFoundError(absl::StrCat(command[0], " cannot be started: ", strerror(errno),
                                            "; build it, or install all programs in one folder"));
  }
  const pid_t id = fork();
  if (id < 0) return absl::UnavailableError(absl::StrCat("fork: ", strerror(errno)));
  if (id == 0) Become(arguments.data(), variables.data(), log, options.own_stdout);
  return std::unique_ptr<Process>(new Process(id, options.log));
}

Process::~Process() { Stop(absl::Seconds(2)); }

std::optional<int> Process::Poll() {
  if (code_.has_value()) return code_;
  int status = 0;
  if (waitpid(id_, &status, WNOHANG) != id_) return std::nullopt;
  constexpr int kSignals = 128;
  code_ = WIFEXITED(status) ? WEXITSTATUS(status) : kSignals + WTERMSIG(status);
  return code_;
}

std::optional<int> Process::Wait(absl::Duration patience) {
  const Deadline deadline = Deadline::In(patience);
  while (!Poll().has_value() && !deadline.IsPast()) absl::SleepFor(kLookEvery);
  return code_;
}

void Process::Stop(absl::Duration patience) {
  if (Poll().has_value()) return;
  kill(id_, SIGTERM);
  if (Wait(patience).has_value()) return;
  kill(id_, SIGKILL);
  Wait(absl::InfiniteDuration());
}

std::string Process::LastWords() const {
  std::ifstream file(log_);
  std::string last;
  for (std::string line; std::getline(file, line);) {
    if (line.find_first_not_of(" \t\r") != std::string::npos) last = line;
  }
  return last;
}

std::string FolderOfThisProgram() {
  std::error_code error;
  const std::filesystem::path path = std::filesystem::read_symlink("/proc/self/exe", error);
  return error ? "." : path.parent_path().string();
}

absl::StatusOr<int> FreePort() {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (listener < 0) return absl::UnavailableError(absl::StrCat("socket: ", strerror(errno)));
  const absl::Cleanup close_listener = [listener] { close(listener); };
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  sockaddr* const any = reinterpret_cast<sockaddr*>(&address);
  if (bind(listener, any, size) != 0 || getsockname(listener, any, &size) != 0)
    return absl::UnavailableError(absl::StrCat("no free port on loopback: ", strerror(errno)));
  return ntohs(address.sin_port);
}

}  // namespace ds::federated
