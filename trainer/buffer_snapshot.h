// A module's buffers (batch norms' running statistics) as they were before a step: a forward pass
// in training moves them before anybody knows whether the step will be taken. Kept and put back as
// bytes, which costs less than a thousandth of any forward pass.
#pragma once

#include <cstddef>
#include <vector>

#include "executor/graph_module.h"

namespace ds {

class BufferSnapshot {
 public:
  // The module's buffers, which are dense and on the host, are shared: it must outlive this.
  explicit BufferSnapshot(const GraphModule& module);

  void Take();
  // Puts back, bit for bit, what was there at the last Take().
  void Restore();
  // Whether a buffer of floats holds Inf or NaN now and held none at the last Take().
  bool LostFiniteness() const;

 private:
  const std::vector<NamedTensor>& buffers_;
  std::vector<std::byte> bytes_;  // of all buffers, one after the other
};

}  // namespace ds
