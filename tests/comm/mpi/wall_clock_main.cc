// Under mpirun, two ranks: rank 0's wall clock is stepped by ten minutes, to and fro, while it
// waits in MPI for rank 1, and while it waits for nobody until its deadline.
#include <cstdio>
#include <thread>

#include "absl/time/clock.h"
#include "comm/mpi/mpi_communicator.h"
#include "tests/support/wall_clock.h"

namespace ds {
namespace {

constexpr absl::Duration kPause = absl::Milliseconds(200);

int Fault(const char* what, const absl::Status& status) {
  std::fprintf(stderr, "%s: %s\n", what, std::string(status.message()).c_str());
  return 1;
}

int Check() {
  auto comm = CreateMpiCommunicator(absl::Seconds(60));
  if (!comm.ok()) return Fault("set-up", comm.status());
  const bool first = (*comm)->rank() == 0;
  for (const absl::Duration step : {absl::Minutes(10), absl::Minutes(-10)}) {
    std::thread steps([&] {
      absl::SleepFor(kPause);
      if (first) StepWallClock(step);
    });
    if (!first) absl::SleepFor(2 * kPause);
    const absl::Status status = (*comm)->Barrier();
    steps.join();
    if (!status.ok()) return Fault("a step of the clock ended a wait", status);
  }
  return 0;
}

}  // namespace
}  // namespace ds

int main() { return ds::Check(); }
