// A program of ours that runs beside this one, its output in a file, ended with it at the latest.
#pragma once

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace ds::federated {

struct ProcessOptions {
  std::vector<std::string> command;  // [0]: a path, or a name that PATH finds
  std::string log;                   // file of its stdout and stderr
  bool own_stdout = false;           // its stdout is this process's; only stderr goes to `log`
  std::vector<std::pair<std::string, std::string>> environment;  // beside this process's
};

// Not thread-safe.
class Process {
 public:
  // NotFound where the program cannot be started.
  static absl::StatusOr<std::unique_ptr<Process>> Start(const ProcessOptions& options);
  // Stops it.
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  // Its exit code (128 + the signal that ended it), nothing while it runs.
  std::optional<int> Poll();
  // The same once it has ended; nothing after `patience`.
  std::optional<int> Wait(absl::Duration patience);
  // SIGTERM, and after `patience` SIGKILL.
  void Stop(absl::Duration patience);
  // The last line of its log that says something; empty: none.
  std::string LastWords() const;
  pid_t id() const { return id_; }

 private:
  Process(pid_t id, std::string log) : id_(id), log_(std::move(log)) {}

  const pid_t id_;
  const std::string log_;
  std::optional<int> code_;
};

// A TCP port of the loopback device that nobody listens at now.
absl::StatusOr<int> FreePort();

}  // namespace ds::federated
