// Whether a tensor is made by one step for one reader alone: what a pass that takes the reader into
// the maker asks first, and what --explain says where it is not so.
#pragma once

#include <string>
#include <vector>

#include "deploy/engine/compile/program.h"

namespace ds::engine::compile {

// Of a program as it was when this was made; steps must stay in their places.
class TensorUses {
 public:
  explicit TensorUses(const Program& program)
      : program_(program),
        readers_(Readers(program)),
        writers_(Writers(program)),
        viewed_(HaveViews(program)) {}

  // The step that writes it, or -1.
  int MakerOf(int tensor) const { return writers_[tensor]; }
  void SetMaker(int tensor, int step) { writers_[tensor] = step; }
  // Why it is not made so; empty where it is.
  std::string WhyShared(int tensor) const;

 private:
  const Program& program_;
  const std::vector<int> readers_;
  std::vector<int> writers_;
  const std::vector<bool> viewed_;
};

// "'conv1' (conv8)"
std::string Told(const Step& step);
// Of a tensor that may have no name of its own.
std::string TensorTold(const Program& program, int tensor);

}  // namespace ds::engine::compile
