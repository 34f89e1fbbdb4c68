// The part of a run's summary that its configuration and its objects tell.
#pragma once

#include "jobs/config/train_config.h"
#include "jobs/job_setup.h"
#include "report/summary.h"
#include "trainer/state/run_state.h"

namespace ds {

// What was trained, how far, and the best result so far; what is measured while it runs is left
// out.
RunSummary DescribeRun(const TrainConfig& config, const JobObjects& objects,
                       const RunProgress& progress, int world_size);

}  // namespace ds
