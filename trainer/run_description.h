// The part of a run's summary that its configuration and its objects tell.
#pragma once

#include "trainer/config/train_config.h"
#include "trainer/job_setup.h"
#include "trainer/report/summary.h"
#include "trainer/run_state.h"

namespace ds {

// What was trained, how far, and the best result so far; what is measured while it runs is left out.
RunSummary DescribeRun(const TrainConfig& config, const JobObjects& objects,
                       const RunProgress& progress, int world_size);

}  // namespace ds
