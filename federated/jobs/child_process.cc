#include "federated/jobs/child_process.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/clock.h"
#include "base/file/file_system.h"

namespace ds::federated {
namespace {

constexpr int kNotStarted = 127;  // as a shell says it

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

// In the child: only what is allowed between fork and exec.
[[noreturn]] void Become(char* const* arguments, int connection, pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent) _exit(kNotStarted);  // it has ended already
  dup2(connection, STDIN_FILENO);
  dup2(connection, STDOUT_FILENO);
  execvp(arguments[0], arguments);
  _exit(kNotStarted);
}

}  // namespace

absl::StatusOr<std::unique_ptr<ChildProcess>> ChildProcess::Start(
    const std::vector<std::string>& command) {
  const absl::StatusOr<Ends> ends = Connect();
  if (!ends.ok()) return ends.status();
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  const pid_t parent = getpid();
  const pid_t process = fork();
  if (process == 0) Become(arguments.data(), ends->childs, parent);
  close(ends->childs);
  if (process < 0) {
    const absl::Status failed = ErrnoStatus(errno, absl::StrCat("cannot start ", command[0]));
    close(ends->ours);
    return failed;
  }
  return std::unique_ptr<ChildProcess>(new ChildProcess(command[0], process, ends->ours));
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
