#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "deploy/engine/compile/passes/alone.h"
#include "deploy/engine/compile/passes/passes.h"

namespace ds::engine::compile {
namespace {

using file::OperatorKind;

// Readers of a tensor and of all that has its bytes under other dims, by the tensor; slices count,
// too.
std::vector<int> ReadersOfBytes(const Program& program) {
  const std::vector<int> each = Readers(program);
  std::vector<int> all(each.size(), 0);
  for (size_t i = 0; i < each.size(); ++i) all[RootOf(program, static_cast<int>(i))] += each[i];
  return all;
}

class Fuser {
 public:
  explicit Fuser(Program& program)
      : program_(program), readers_(ReadersOfBytes(program)), writers_(Writers(program)) {}

  void Run() {
    for (Step& step : program_.steps) {
      if (step.kind == OperatorKind::kMultiply8) Try(step);
    }
    std::erase_if(program_.steps, [](const Step& step) { return step.outputs.empty(); });
  }

 private:
  // The step that makes the tensor, under whatever dims it is read, for one reader alone; null
  // where it is not made so.
  Step* MakerOf(int tensor) {
    const int root = RootOf(program_, tensor);
    const bool whole = program_.tensors[tensor].first < 0;
    if (!whole || program_.tensors[root].place != file::Place::kArena || writers_[root] < 0)
      return nullptr;
    return readers_[root] == 1 ? &program_.steps[writers_[root]] : nullptr;
  }

  // A row an image in, a row an image out.
  bool IsProduct(const Step& step, int64_t images) const {
    if (step.kind != OperatorKind::kConv8 && step.kind != OperatorKind::kConv4) return false;
    const auto& conv = std::get<file::Conv8Parameters>(step.parameters);
    const Dims &in = program_.tensors[step.inputs[0]].dims,
               &out = program_.tensors[step.outputs[0]].dims;
    const file::Window& w = conv.window;
    return conv.has_sum == 0 && w.kernel_h == 1 && w.kernel_w == 1 && w.pad_top == 0 &&
           w.pad_left == 0 && w.groups == 1 && Elements(in) == images * in.back() &&
           Elements(out) == images * out.back();
  }
  bool AveragesWholeImages(const Step& step) const {
    if (step.kind != OperatorKind::kPool8) return false;
    const file::PoolF32Parameters& pool = std::get<file::Pool8Parameters>(step.parameters).pool;
    const Dims &in = program_.tensors[step.inputs[0]].dims,
               &out = program_.tensors[step.outputs[0]].dims;
    const file::Window& w = pool.window;
    return pool.way == static_cast<uint32_t>(file::PoolWay::kAverage) && in.size() == 4 &&
           w.kernel_h == in[1] && w.kernel_w == in[2] && w.dilation_h == 1 && w.dilation_w == 1 &&
           w.pad_top == 0 && w.pad_left == 0 && Elements(out) == in[0] * in[3];
  }

  void Try(Step& multiply) {
    const auto& parameters = std::get<file::Multiply8Parameters>(multiply.parameters);
    const Dims& image = program_.tensors[multiply.inputs[0]].dims;
    const Dims& gates = program_.tensors[multiply.inputs[1]].dims;
    if (parameters.spread == static_cast<uint32_t>(file::Spread::kSame) || image.size() != 4 ||
        Elements(gates) != image[0] * image[3]) {
      return;
    }
    Step* expand = MakerOf(multiply.inputs[1]);
    if (expand == nullptr || !IsProduct(*expand, image[0])) {
      multiply.stays = "its gates are not of a product of 1x1 made for it alone";
      return;
    }
    Step* reduce = MakerOf(expand->inputs[0]);
    if (reduce == nullptr || !IsProduct(*reduce, image[0])) {
      multiply.stays = absl::StrCat("what ", Told(*expand),
                                    " reads is not of a product of 1x1 made for it alone");
      return;
    }
    Step* pool = MakerOf(reduce->inputs[0]);
    if (pool == nullptr || !AveragesWholeImages(*pool) || pool->inputs[0] != multiply.inputs[0]) {
      multiply.stays = absl::StrCat("what ", Told(*reduce), " reads are not averages of ",
                                    TensorTold(program_, multiply.inputs[0]), " for it alone");
      return;
    }
    Fuse(*pool, *reduce, *expand, multiply);
  }

  // `multiply` becomes all four.
  static void Fuse(Step& pool, Step& reduce, Step& expand, Step& multiply) {
    for (Step* product : {&reduce, &expand}) {
      file::Window& window = std::get<file::Conv8Parameters>(product->parameters).window;
      window.stride_h = window.stride_w = window.dilation_h = window.dilation_w = 1;
    }
    Step whole;
    whole.kind = OperatorKind::kSqueezeExcite8;
    whole.name = multiply.name;
    whole.inputs = {multiply.inputs[0]};
    whole.outputs = {multiply.outputs[0], pool.outputs[0], reduce.outputs[0], expand.outputs[0]};
    for (Step* stage : {&pool, &reduce, &expand, &multiply}) {
      std::string text = absl::StrCat("stage ", Told(*stage));
      for (const std::string& part : stage->story) absl::StrAppend(&text, ", ", part);
      whole.story.push_back(std::move(text));
      whole.macs += stage->macs;
      whole.stages.push_back(std::move(*stage));
      *stage = Step();
    }
    multiply = std::move(whole);
  }

  Program& program_;
  const std::vector<int> readers_, writers_;
};

}  // namespace

void FuseSqueezeExcites(Program& program) { Fuser(program).Run(); }

}  // namespace ds::engine::compile
