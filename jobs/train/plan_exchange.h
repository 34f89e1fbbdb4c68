// One plan of quantisation for all ranks.
#pragma once

#include "absl/status/statusor.h"
#include "comm/communicator.h"
#include "quant/quant_plan.h"

namespace ds {

// Rank 0's plan, bit for bit, on every rank; what the others give is not looked at. Calibration is
// a measurement: ranks that each made a plan might round other values, with other steps. Rank 0's
// error comes back from it, Aborted with its words elsewhere. Collective.
absl::StatusOr<QuantPlan> PlanOfRankZero(const absl::StatusOr<QuantPlan>& mine,
                                         Communicator& communicator);

}  // namespace ds
