// Environments as the launchers make them.
#include "comm/launch_info.h"

#include <map>

#include "gtest/gtest.h"

namespace ds {
namespace {

LaunchInfo Detect(const std::map<std::string, std::string>& variables) {
  return DetectLaunch([&](const std::string& name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    if (found == variables.end()) return std::nullopt;
    return found->second;
  });
}

void ExpectLaunch(const LaunchInfo& info, int rank, int size, int local_size) {
  EXPECT_TRUE(info.launched);
  EXPECT_EQ(info.rank, rank);
  EXPECT_EQ(info.size, size);
  EXPECT_EQ(info.local_size, local_size);
}

void ExpectAlone(const LaunchInfo& info) {
  EXPECT_FALSE(info.launched);
  EXPECT_EQ(info.rank, 0);
  EXPECT_EQ(info.size, 1);
  EXPECT_EQ(info.local_size, 1);
}

TEST(DetectLaunch, NothingMeansAlone) { ExpectAlone(Detect({{"PATH", "/bin"}, {"HOME", "/"}})); }

TEST(DetectLaunch, OpenMpisMpirun) {
  ExpectLaunch(Detect({{"OMPI_COMM_WORLD_SIZE", "6"},
                       {"OMPI_COMM_WORLD_RANK", "4"},
                       {"OMPI_COMM_WORLD_LOCAL_SIZE", "3"},
                       {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                       {"PMIX_RANK", "4"}}),
               4, 6, 3);
}

TEST(DetectLaunch, HydraOfMpichAndIntelMpi) {
  ExpectLaunch(Detect({{"PMI_SIZE", "4"},
                       {"PMI_RANK", "3"},
                       {"MPI_LOCALNRANKS", "2"},
                       {"MPI_LOCALRANKID", "1"}}),
               3, 4, 2);
  ExpectLaunch(Detect({{"PMI_SIZE", "4"}, {"PMI_RANK", "3"}}), 3, 4, 1);
}

TEST(DetectLaunch, Mvapich) {
  ExpectLaunch(Detect({{"MV2_COMM_WORLD_SIZE", "8"},
                       {"MV2_COMM_WORLD_RANK", "7"},
                       {"MV2_COMM_WORLD_LOCAL_SIZE", "4"}}),
               7, 8, 4);
}

// Three nodes with 2, 2 and 1 tasks; the last task is on the last node.
const std::map<std::string, std::string> kSlurmStep = {
    {"SLURM_JOB_ID", "17"},        {"SLURM_NTASKS", "5"},
    {"SLURM_STEP_NUM_TASKS", "5"}, {"SLURM_STEP_TASKS_PER_NODE", "2(x2),1"},
    {"SLURM_PROCID", "4"},         {"SLURM_NODEID", "2"}};

std::map<std::string, std::string> With(std::map<std::string, std::string> base,
                                        const std::map<std::string, std::string>& more) {
  for (const auto& [name, value] : more) base[name] = value;
  return base;
}

TEST(DetectLaunch, SrunWithPmix) {
  ExpectLaunch(
      Detect(With(kSlurmStep, {{"PMIX_RANK", "4"}, {"PMIX_NAMESPACE", "slurm.pmix.17.0"}})), 4, 5,
      1);
  ExpectLaunch(Detect(With(kSlurmStep, {{"SLURM_PROCID", "2"}, {"SLURM_NODEID", "1"}})), 2, 5, 2);
}

TEST(DetectLaunch, SrunWithPmi2TakesTheLocalSizeFromSlurm) {
  ExpectLaunch(
      Detect(With(
          kSlurmStep,
          {{"PMI_SIZE", "5"}, {"PMI_RANK", "1"}, {"SLURM_PROCID", "1"}, {"SLURM_NODEID", "0"}})),
      1, 5, 2);
}

TEST(DetectLaunch, SrunOnOneNode) {
  ExpectLaunch(Detect({{"SLURM_STEP_NUM_TASKS", "4"},
                       {"SLURM_PROCID", "3"},
                       {"SLURM_STEP_TASKS_PER_NODE", "4"},
                       {"SLURM_NODEID", "0"}}),
               3, 4, 4);
  ExpectLaunch(
      Detect(
          {{"SLURM_STEP_NUM_TASKS", "4"}, {"SLURM_PROCID", "3"}, {"SLURM_NTASKS_PER_NODE", "2"}}),
      3, 4, 2);
}

TEST(DetectLaunch, AnMpirunWithinASlurmStepCounts) {
  ExpectLaunch(Detect(With(kSlurmStep, {{"SLURM_STEP_NUM_TASKS", "1"},
                                        {"SLURM_PROCID", "0"},
                                        {"SLURM_STEP_TASKS_PER_NODE", "1"},
                                        {"OMPI_COMM_WORLD_SIZE", "8"},
                                        {"OMPI_COMM_WORLD_RANK", "5"}})),
               5, 8, 1);
}

// A batch script or an allocation's shell describes what srun could start; the program itself was
// not started by it.
TEST(DetectLaunch, ASlurmAllocationIsNoLaunch) {
  ExpectAlone(Detect({{"SLURM_JOB_ID", "17"},
                      {"SLURM_NTASKS", "8"},
                      {"SLURM_PROCID", "0"},
                      {"SLURM_TASKS_PER_NODE", "4(x2)"}}));
}

TEST(DetectLaunch, BarePmixKnowsItsRankOnly) {
  ExpectLaunch(Detect({{"PMIX_RANK", "3"}, {"PMIX_NAMESPACE", "prterun-1"}}), 3, 0, 1);
}

TEST(DetectLaunch, NonsenseCountsAsUnset) {
  for (const char* nonsense : {"", "two", "-3", "0", "99999999999999", "4x"}) {
    SCOPED_TRACE(nonsense);
    ExpectAlone(Detect({{"OMPI_COMM_WORLD_SIZE", nonsense}}));
    ExpectLaunch(Detect({{"OMPI_COMM_WORLD_SIZE", nonsense}, {"PMI_SIZE", "2"}, {"PMI_RANK", "1"}}),
                 1, 2, 1);
  }
  for (const char* nonsense : {"", "4(x", "4(x2", "(x2)", "4(xtwo)", "0", "a,b", "4(x0)", "1,1"}) {
    SCOPED_TRACE(nonsense);
    ExpectLaunch(Detect(With(kSlurmStep, {{"SLURM_STEP_TASKS_PER_NODE", nonsense}})), 4, 5, 1);
  }
}

}  // namespace
}  // namespace ds
