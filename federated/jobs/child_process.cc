#include "federated/jobs/child_process.h"

#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/clock.h"
#include "base/file/descriptor.h"
#include "base/file/file_system.h"
#include "base/process/spawn.h"
#include "base/status.h"

namespace ds::federated {
namespace {

struct Ends {
  int ours = -1, childs = -1;
};

absl::StatusOr<Ends> Connect() {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
    return ErrnoStatus(errno, "cannot make a pair of sockets for a child process");
  }
  return Ends{pair[0], pair[1]};
}

}  // namespace

absl::StatusOr<std::unique_ptr<ChildProcess>> ChildProcess::Start(
    const std::vector<std::string>& command) {
  DS_ASSIGN_OR_RETURN(const Ends ends, Connect());
  const Descriptor childs(ends.childs);
  const absl::StatusOr<pid_t> process =
      Spawn({.command = command, .input = ends.childs, .output = ends.childs});
  if (!process.ok()) {
    close(ends.ours);
    return process.status();
  }
  return std::unique_ptr<ChildProcess>(new ChildProcess(command[0], *process, ends.ours));
}

ChildProcess::~ChildProcess() {
  shutdown(connection_, SHUT_WR);
  const Deadline deadline = Deadline::In(absl::Seconds(2));
  while (process_ > 0 && waitpid(process_, nullptr, WNOHANG) == 0) {
    if (deadline.IsPast()) kill(process_, SIGKILL);
    absl::SleepFor(absl::Milliseconds(5));
  }
  close(connection_);
}

absl::Status ChildProcess::Ended() {
  int how = 0;
  if (process_ > 0) waitpid(process_, &how, 0);
  process_ = 0;
  if (WIFEXITED(how) && WEXITSTATUS(how) == kNotStarted) {
    return absl::NotFoundError(absl::StrCat(
        name_,
        " cannot be started; it belongs beside this program (launch/build.sh ds_evaluator)"));
  }
  return absl::UnavailableError(
      absl::StrCat(name_,
                   WIFSIGNALED(how) ? absl::StrCat(" was ended by signal ", WTERMSIG(how))
                                    : absl::StrCat(" ended with ", WEXITSTATUS(how)),
                   "; its own words are above"));
}

absl::StatusOr<std::string> ChildProcess::Ask(absl::string_view line) {
  std::string sent = absl::StrCat(line, "\n");
  for (size_t done = 0; done < sent.size();) {
    const ssize_t wrote = send(connection_, sent.data() + done, sent.size() - done, MSG_NOSIGNAL);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote <= 0) return Ended();
    done += static_cast<size_t>(wrote);
  }
  for (;;) {
    const size_t end = read_.find('\n');
    if (end != std::string::npos) {
      std::string answer = read_.substr(0, end);
      read_.erase(0, end + 1);
      return answer;
    }
    char piece[4096];
    const ssize_t got = read(connection_, piece, sizeof piece);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return Ended();
    read_.append(piece, static_cast<size_t>(got));
  }
}

}  // namespace ds::federated
