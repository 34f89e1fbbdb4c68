#include "deploy/engine/measure/second_process.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include "deploy/engine/measure/memory.h"

namespace ds::engine {
namespace {

Status SystemError(const char* what) {
  return Status::Error(std::string("the second process ") + what + ": " + std::strerror(errno));
}

bool OpenAndRun(const std::string& path, const ModelOptions& open, const SessionOptions& options,
                AddedMemory& added) {
  const ProcessMemory before = ReadProcessMemory();
  std::shared_ptr<const Model> model;
  std::unique_ptr<Session> session;
  if (!Model::Open(path, open, model).ok() || !Session::Create(model, options, session).ok())
    return false;
  session->Run();
  const ProcessMemory after = ReadProcessMemory();
  added = {after.private_mib - before.private_mib, after.pss_mib - before.pss_mib};
  return true;
}

}  // namespace

Status SecondProcess::Start(const std::string& model, const ModelOptions& open,
                            const SessionOptions& session) {
  int go[2], answer[2];
  if (::pipe(go) != 0) return SystemError("gets no pipe");
  if (::pipe(answer) != 0) {
    ::close(go[0]);
    ::close(go[1]);
    return SystemError("gets no pipe");
  }
  process_ = ::fork();
  if (process_ == 0) {
    ::close(go[1]);
    ::close(answer[0]);
    char word = 0;
    AddedMemory added;
    // The first process ended, or gave up, where nothing comes.
    const bool done = ::read(go[0], &word, 1) == 1 && OpenAndRun(model, open, session, added) &&
                      ::write(answer[1], &added, sizeof(added)) == sizeof(added);
    ::_exit(done ? 0 : 1);
  }
  ::close(go[0]);
  ::close(answer[1]);
  go_ = go[1];
  answer_ = answer[0];
  return process_ > 0 ? Status() : SystemError("cannot be started");
}

Status SecondProcess::Measure(AddedMemory& added) {
  const char word = 'g';
  if (::write(go_, &word, 1) != 1 || ::read(answer_, &added, sizeof(added)) != sizeof(added))
    return Status::Error("the second process could not open and run the model");
  return {};
}

SecondProcess::~SecondProcess() {
  if (go_ >= 0) ::close(go_);
  if (answer_ >= 0) ::close(answer_);
  if (process_ > 0) ::waitpid(process_, nullptr, 0);
}

}  // namespace ds::engine
