#include "deploy/engine/compile/passes/alone.h"

#include "absl/strings/str_cat.h"
#include "deploy/engine/runtime/steps/step.h"

namespace ds::engine::compile {

std::string Told(const Step& step) {
  return absl::StrCat("'", step.name, "' (", KindName(static_cast<uint16_t>(step.kind)), ")");
}

std::string TensorTold(const Program& program, int tensor) {
  const std::string& name = program.tensors[tensor].name;
  return name.empty() ? "its operand" : absl::StrCat("'", name, "'");
}

std::string TensorUses::WhyShared(int tensor) const {
  const ProgramTensor& t = program_.tensors[tensor];
  const std::string name = TensorTold(program_, tensor);
  if (t.place == file::Place::kInput) return absl::StrCat(name, " is an input of the model");
  if (t.place == file::Place::kConstant) return absl::StrCat(name, " is a constant");
  if (t.view_of >= 0 || writers_[tensor] < 0)
    return absl::StrCat(name, " is a part of another tensor, or one under other dims");
  if (readers_[tensor] != 1) return absl::StrCat(name, " has ", readers_[tensor], " readers");
  if (viewed_[tensor]) return absl::StrCat(name, " is read in parts or under other dims, too");
  return "";
}

}  // namespace ds::engine::compile
