// Where in one arena buffers lie that live from one step to a later one: as few bytes as can be
// found, never two live ones over each other. Finding the least is NP-hard (dynamic storage
// allocation); a portfolio of orders, each placing a buffer at the lowest gap or the smallest one
// that holds it, usually reaches the bound, and small cases are searched.
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
  std::string way;               // what found it
};

// Bytes are rounded up to the alignment. Time grows with the square of the buffers' number.
ArenaPlan PlanArena(const std::vector<PlanBuffer>& buffers, int64_t alignment);

}  // namespace ds::engine::compile
