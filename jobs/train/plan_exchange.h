// One plan of quantisation for all ranks.
#pragma once

#include "absl/status/statusor.h"
#include "comm/communicator.h"
#include "quant/quant_plan.h"

namespace ds {

// Rank 0's plan, bit for bit, on every rank; what the others give is not looked at. Calibration is
// a measurement: ranks that each made a plan might round other values, with other steps.
// Collective.
absl::StatusOr<QuantPlan> PlanOfRankZero(const QuantPlan& mine, Communicator& communicator);

}  // namespace ds
