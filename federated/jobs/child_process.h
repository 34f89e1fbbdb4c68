// A helper program of ours that answers lines with lines: started once, asked as often as is
// wanted, ended with its owner. Not thread-safe.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace ds::federated {

class ChildProcess {
 public:
  // `command[0]` is a path, or a name that PATH finds. The child's stderr is ours; it gets no other
  // descriptor, and SIGTERM when this process ends. Whether the program could be started shows in
  // the first answer.
  static absl::StatusOr<std::unique_ptr<ChildProcess>> Start(
      const std::vector<std::string>& command);
  // Ends it: its input closes, and a moment later it is killed.
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  // Sends `line` (without '\n') and waits for the answer's line. Unavailable, with how it ended,
  // where the child is no more; NotFound where the program could not be started.
  absl::StatusOr<std::string> Ask(absl::string_view line);

 private:
  ChildProcess(std::string name, pid_t process, int connection)
      : name_(std::move(name)), process_(process), connection_(connection) {}
  absl::Status Ended();

  const std::string name_;
  pid_t process_;  // 0: reaped
  const int connection_;
  std::string read_;  // behind the last line
};

}  // namespace ds::federated
