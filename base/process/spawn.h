// Programs that run beside this one and end with it.
#pragma once

#include <sys/types.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace ds {

// Exit code of a process that could not become the program, as a shell says it.
constexpr int kNotStarted = 127;

struct SpawnOptions {
  std::vector<std::string> command;  // [0]: a path, or a name that PATH finds
  // Descriptors that become the program's own; -1: this process's. It gets no other that is
  // O_CLOEXEC.
  int input = -1, output = -1, errors = -1;
  std::vector<std::pair<std::string, std::string>> environment;  // beside this process's
};

// The process, to be reaped by the caller; it gets SIGTERM when this one ends. Whether the program
// could be started shows in how it ends (kNotStarted).
absl::StatusOr<pid_t> Spawn(const SpawnOptions& options);

// The folder of the running program, where its companions are.
std::string FolderOfThisProgram();
// `name` there if it can be run, else the bare name, which PATH finds.
std::string Beside(const std::string& name);

}  // namespace ds
