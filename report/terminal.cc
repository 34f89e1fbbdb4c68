#include "report/terminal.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/types.h>
#include <termios.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace ds {
namespace {

constexpr int kDefaultWidth = 80;
constexpr int kNarrowest = 20;  // narrower is a terminal that was never told its size

std::string DescriptorPath(pid_t pid, int fd) { return absl::StrCat("/proc/", pid, "/fd/", fd); }

// What the descriptor of a process is ("/dev/pts/3", "pipe:[123]"); empty if it cannot be seen.
std::string DescriptorTarget(pid_t pid, int fd) {
  char buffer[256];
  const ssize_t length = readlink(DescriptorPath(pid, fd).c_str(), buffer, sizeof(buffer));
  return length > 0 ? std::string(buffer, static_cast<size_t>(length)) : std::string();
}

bool IsTerminalName(const std::string& target) {
  return absl::StartsWith(target, "/dev/pts/") || absl::StartsWith(target, "/dev/tty") ||
         target == "/dev/console";
}

// 0 for none.
pid_t ParentOf(pid_t pid) {
  std::ifstream file(absl::StrCat("/proc/", pid, "/stat"));
  std::string stat;
  std::getline(file, stat);
  // "pid (name) state ppid ...": the name may hold blanks and brackets.
  const size_t bracket = stat.rfind(')');
  if (bracket == std::string::npos || bracket + 4 >= stat.size()) return 0;
  return static_cast<pid_t>(std::atoi(stat.c_str() + bracket + 4));
}

// The process whose descriptor shows what we write to `fd`: us, or an ancestor; 0 if nobody looks.
pid_t WatchedProcess(int fd) {
  if (isatty(fd) != 1) return 0;
  // The terminal our session runs on: a shell's, `ssh -t`'s, `docker run -t`'s.
  if (tcgetsid(fd) == getsid(0)) return getpid();
  const std::string own = DescriptorTarget(getpid(), fd);
  for (pid_t pid = getppid(); pid > 0; pid = ParentOf(pid)) {
    const std::string target = DescriptorTarget(pid, fd);
    if (target != own) return IsTerminalName(target) ? pid : 0;
  }
  return 0;
}

}  // namespace

bool PersonIsLooking(int fd) { return WatchedProcess(fd) != 0; }

int TerminalWidth(int fd) {
  const pid_t pid = WatchedProcess(fd);
  if (pid == 0) return kDefaultWidth;
  const int terminal = open(DescriptorPath(pid, fd).c_str(), O_WRONLY | O_NOCTTY | O_CLOEXEC);
  if (terminal < 0) return kDefaultWidth;
  winsize size{};
  const bool known = ioctl(terminal, TIOCGWINSZ, &size) == 0 && size.ws_col >= kNarrowest;
  close(terminal);
  return known ? size.ws_col : kDefaultWidth;
}

}  // namespace ds
