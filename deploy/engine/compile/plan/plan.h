// Where in one arena buffers lie that live from one step to a later one: as few bytes as can be
// found, never two live ones over each other. Finding the least is NP-hard (dynamic storage
// allocation). A portfolio of orders, each placing a buffer at the lowest gap or the smallest one
// that holds it, usually reaches the bound; where it does not, the best of them is changed at
// random as long as that helps, and then all plans are searched within a budget.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace ds::engine::compile {

struct PlanBuffer {
  int64_t bytes = 0;
  int first = 0, last = 0;  // steps, both included
};

struct ArenaPlan {
  std::vector<int64_t> offsets;  // multiples of `alignment`
  int64_t bytes = 0;             // to behind the last one
  int64_t bound = 0;             // the most that lives at one step: no plan takes less
  int64_t apart = 0;             // each in a place of its own
  bool least = false;            // proven: at the bound, or all others were searched
  std::string way;               // what found it
};

// Bytes are rounded up to the alignment. The same plan for the same buffers, always.
ArenaPlan PlanArena(const std::vector<PlanBuffer>& buffers, int64_t alignment);

}  // namespace ds::engine::compile
