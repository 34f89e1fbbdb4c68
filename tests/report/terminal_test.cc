// Who sees what: pipes, terminals, and pseudo-terminals that are only pipes in disguise, as
// mpirun's are.
#include "report/terminal.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>

namespace ds {
namespace {

// In a child: puts `descriptor` in the place of standard output.
void UseAsOutput(int descriptor) { dup2(descriptor, STDOUT_FILENO); }

// What a child exits with (in it, no gtest), or -1.
int RunInChild(const std::function<int()>& body) {
  const pid_t pid = fork();
  if (pid == 0) _exit(body());
  int status = 0;
  return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// A pseudo-terminal that is nobody's controlling terminal.
struct Pty {
  Pty() {
    winsize size{};
    size.ws_col = 123;
    size.ws_row = 40;
    ok = openpty(&master, &slave, nullptr, nullptr, &size) == 0;
  }
  ~Pty() {
    close(master);
    close(slave);
  }
  int master = -1, slave = -1;
  bool ok = false;
};

TEST(PersonIsLooking, NotAtAPipe) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  EXPECT_FALSE(PersonIsLooking(ends[1]));
  EXPECT_EQ(TerminalWidth(ends[1]), 80);
  close(ends[0]);
  close(ends[1]);
}

TEST(PersonIsLooking, NotAtAClosedDescriptor) { EXPECT_FALSE(PersonIsLooking(999)); }

TEST(PersonIsLooking, AtTheTerminalOfTheSession) {
  int master = -1;
  winsize size{};
  size.ws_col = 111;
  size.ws_row = 40;
  const pid_t pid = forkpty(&master, nullptr, nullptr, &size);
  ASSERT_GE(pid, 0);
  if (pid == 0) _exit(PersonIsLooking(STDOUT_FILENO) ? TerminalWidth(STDOUT_FILENO) : 1);
  int status = 0;
  ASSERT_EQ(waitpid(pid, &status, 0), pid);
  close(master);
  EXPECT_EQ(WEXITSTATUS(status), 111);
}

// launcher: its own output is `outside`; the rank's is a terminal that the launcher made, as under
// mpirun.
int LookUnderALauncher(int outside) {
  return RunInChild([outside] {
    UseAsOutput(outside);
    Pty inner;
    return RunInChild([&inner] {
      UseAsOutput(inner.slave);
      return PersonIsLooking(STDOUT_FILENO) ? TerminalWidth(STDOUT_FILENO) : 1;
    });
  });
}

TEST(PersonIsLooking, NotUnderALauncherThatWritesToAFile) {
  const int file = open("/dev/null", O_WRONLY);
  EXPECT_EQ(LookUnderALauncher(file), 1);
  close(file);
}

TEST(PersonIsLooking, UnderALauncherThatWritesToATerminalWhoseWidthCounts) {
  const Pty outer;
  ASSERT_TRUE(outer.ok);
  EXPECT_EQ(LookUnderALauncher(outer.slave), 123);
}

TEST(PersonIsLooking, AWrapperBetweenLauncherAndRankChangesNothing) {
  const int file = open("/dev/null", O_WRONLY);
  const int looking = RunInChild([file] {
    UseAsOutput(file);
    Pty inner;
    return RunInChild([&inner] {
      UseAsOutput(inner.slave);  // the wrapper's output is the rank's
      return RunInChild([] { return PersonIsLooking(STDOUT_FILENO) ? 2 : 1; });
    });
  });
  EXPECT_EQ(looking, 1);
  close(file);
}

}  // namespace
}  // namespace ds
