#include "federated/demo/process.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/clock.h"
#include "base/file/descriptor.h"
#include "base/process/spawn.h"
#include "base/status.h"

namespace ds::federated {
namespace {

constexpr absl::Duration kLookEvery = absl::Milliseconds(20);

}  // namespace

absl::StatusOr<std::unique_ptr<Process>> Process::Start(const ProcessOptions& options) {
  const int log = open(options.log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (log < 0) {
    return absl::UnavailableError(
        absl::StrCat(options.log, " cannot be written: ", strerror(errno)));
  }
  const Descriptor close_log(log), nothing(open("/dev/null", O_RDONLY | O_CLOEXEC));
  const std::string& program = options.command[0];
  const bool is_path = program.find('/') != std::string::npos;
  if (is_path && access(program.c_str(), X_OK) != 0) {
    return absl::NotFoundError(absl::StrCat(program, " cannot be started: ", strerror(errno),
                                            "; build it, or install all programs in one folder"));
  }
  DS_ASSIGN_OR_RETURN(const pid_t id, Spawn({.command = options.command,
                                             .input = nothing.get(),
                                             .output = options.own_stdout ? -1 : log,
                                             .errors = log,
                                             .environment = options.environment}));
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

absl::StatusOr<int> FreePort() {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (listener < 0) return absl::UnavailableError(absl::StrCat("socket: ", strerror(errno)));
  const Descriptor close_listener(listener);
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
