// A rank of the kill tests (kill_test.py): waits while rank 1 works alone, or is that rank.
//
//   lone_work_rank FOLDER TIMEOUT_S WORK_S
//
// Writes FOLDER/RANK.ready (its process id) when the work is about to begin, and FOLDER/RANK.status
// when it is over: the status's code, how long this rank was in it in seconds, and the message.
// FOLDER/RANK.closed when the communicator is destroyed.
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/time/clock.h"
#include "base/clock.h"
#include "comm/mpi/mpi_communicator.h"
#include "comm/while_others_wait.h"

namespace ds {
namespace {

constexpr int kWorker = 1;

// Whole or not at all: the driver watches for it.
void WriteFile(const std::string& path, const std::string& text) {
  std::ofstream(path + ".part") << text;
  std::filesystem::rename(path + ".part", path);
}

int Run(const std::string& folder, absl::Duration timeout, absl::Duration work) {
  auto comm = CreateMpiCommunicator(timeout);
  if (!comm.ok() || !(*comm)->Barrier().ok()) return 1;
  const std::string name = folder + "/" + std::to_string((*comm)->rank());
  WriteFile(name + ".ready", std::to_string(getpid()));
  const absl::Duration start = SteadyTime();
  const absl::Status status = WhileOthersWait(**comm, kWorker, "work alone", [&] {
    absl::SleepFor(work);
    return absl::OkStatus();
  });
  const double seconds = absl::ToDoubleSeconds(SteadyTime() - start);
  WriteFile(name + ".status", std::string(absl::StatusCodeToString(status.code())) + " " +
                                  std::to_string(seconds) + "\n" + std::string(status.message()) +
                                  "\n");
  comm->reset();
  WriteFile(name + ".closed", "");
  return status.ok() ? 0 : 3;
}

}  // namespace
}  // namespace ds

int main(int argc, char** argv) {
  double timeout_s = 0, work_s = 0;
  if (argc != 4 || !absl::SimpleAtod(argv[2], &timeout_s) || !absl::SimpleAtod(argv[3], &work_s))
    return 64;
  return ds::Run(argv[1], absl::Seconds(timeout_s), absl::Seconds(work_s));
}
