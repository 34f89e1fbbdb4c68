// A second process that opens a file which the first has open: what memory it adds to the machine,
// the weights' pages being shared.
#pragma once

#include <sys/types.h>

#include <string>

#include "deploy/engine/runtime/model.h"
#include "deploy/engine/runtime/session.h"
#include "deploy/engine/runtime/status.h"

namespace ds::engine {

// Private memory and proportional share that opening, and running once, added to a process.
struct AddedMemory {
  double private_mib = 0, pss_mib = 0;
};

class SecondProcess {
 public:
  // Forks: call it before the first process has threads or memory of the model's.
  Status Start(const std::string& model, const ModelOptions& open, const SessionOptions& session);
  // Lets it open and run while this process has the model open and has run it.
  Status Measure(AddedMemory& added);
  SecondProcess() = default;
  ~SecondProcess();
  SecondProcess(const SecondProcess&) = delete;
  SecondProcess& operator=(const SecondProcess&) = delete;

 private:
  pid_t process_ = -1;
  int go_ = -1, answer_ = -1;  // pipes: the first's end of each
};

}  // namespace ds::engine
