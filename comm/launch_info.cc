#include "comm/launch_info.h"

#include <cstdlib>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"

namespace ds {
namespace {

// Names of one launcher's variables.
struct Family {
  const char* size;
  const char* rank;
  const char* local_size;
};

// Nearest to the process first.
constexpr Family kFamilies[] = {
    {"OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"},
    {"MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_LOCAL_SIZE"},
    {"PMI_SIZE", "PMI_RANK", "MPI_LOCALNRANKS"},
    {"SLURM_STEP_NUM_TASKS", "SLURM_PROCID", ""},
};
constexpr const char* kPmixRank = "PMIX_RANK";

std::optional<int> Number(const Environment& environment, const char* name, int least) {
  const std::optional<std::string> text = environment(name);
  int value = 0;
  if (!text.has_value() || !absl::SimpleAtoi(*text, &value) || value < least) return std::nullopt;
  return value;
}

// Slurm's tasks of node `node` in a list such as "4(x2),1": 4 on nodes 0 and 1, 1 on node 2.
std::optional<int> TasksOfNode(absl::string_view list, int node) {
  for (absl::string_view entry : absl::StrSplit(list, ',')) {
    int nodes = 1, tasks = 0;
    const size_t bracket = entry.find("(x");
    if (bracket != absl::string_view::npos) {
      absl::string_view repeat = entry.substr(bracket + 2);
      if (!absl::ConsumeSuffix(&repeat, ")") || !absl::SimpleAtoi(repeat, &nodes))
        return std::nullopt;
      entry = entry.substr(0, bracket);
    }
    if (!absl::SimpleAtoi(entry, &tasks) || tasks < 1 || nodes < 1) return std::nullopt;
    if (node < nodes) return tasks;
    node -= nodes;
  }
  return std::nullopt;
}

// For launchers that leave it to Slurm. Says nothing where the step is not this job's (an mpirun
// within it).
std::optional<int> SlurmLocalSize(const Environment& environment, int size) {
  if (Number(environment, "SLURM_STEP_NUM_TASKS", 1) != size) return std::nullopt;
  const std::optional<std::string> list = environment("SLURM_STEP_TASKS_PER_NODE");
  const std::optional<int> node = Number(environment, "SLURM_NODEID", 0);
  if (list.has_value() && node.has_value()) return TasksOfNode(*list, *node);
  return Number(environment, "SLURM_NTASKS_PER_NODE", 1);
}

}  // namespace

LaunchInfo DetectLaunch(const Environment& environment) {
  for (const Family& family : kFamilies) {
    const std::optional<int> size = Number(environment, family.size, 1);
    if (!size.has_value()) continue;
    LaunchInfo info = {.launched = true, .size = *size};
    info.rank = Number(environment, family.rank, 0).value_or(0);
    std::optional<int> local_size;
    if (*family.local_size != '\0') local_size = Number(environment, family.local_size, 1);
    if (!local_size.has_value()) local_size = SlurmLocalSize(environment, *size);
    info.local_size = local_size.value_or(1);
    return info;
  }
  if (const std::optional<int> rank = Number(environment, kPmixRank, 0)) {
    return {.launched = true, .rank = *rank, .size = 0};
  }
  return {};
}

LaunchInfo DetectLaunch() {
  return DetectLaunch([](const std::string& name) -> std::optional<std::string> {
    const char* value = std::getenv(name.c_str());
    if (value == nullptr) return std::nullopt;
    return value;
  });
}

}  // namespace ds
