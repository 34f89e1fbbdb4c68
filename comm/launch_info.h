// What started this process: the launchers' environment variables, read in this one place.
#pragma once

#include <functional>
#include <optional>
#include <string>

namespace ds {

struct LaunchInfo {
  bool launched = false;  // by mpirun, mpiexec, srun or another PMI launcher
  int rank = 0;
  int size = 1;        // 0: the launcher does not say
  int local_size = 1;  // ranks on this host; 1 where the launcher does not say
};

// The value of an environment variable, if it is set.
using Environment = std::function<std::optional<std::string>(const std::string& name)>;

// Of this process.
LaunchInfo DetectLaunch();
// Knows Open MPI (mpirun, also within a Slurm job), MPICH and Intel MPI (Hydra), MVAPICH2, srun
// with PMI2, PMIx or no MPI plugin at all, and bare PMIx. Where several are set, the one nearest to
// the process counts: an mpirun runs within a Slurm step, not around one. Values that are not such
// numbers are as if unset.
LaunchInfo DetectLaunch(const Environment& environment);

}  // namespace ds
