#include "deploy/engine/compile/compile.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <span>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/file/file.h"
#include "base/status.h"
#include "deploy/engine/compile/arrange.h"
#include "deploy/engine/compile/emit.h"
#include "deploy/engine/compile/file/writer.h"
#include "deploy/engine/compile/lower/lower.h"
#include "deploy/engine/compile/passes/passes.h"
#include "deploy/engine/compile/plan/buffers.h"
#include "deploy/engine/compile/prepare.h"
#include "deploy/engine/runtime/check/plan.h"
#include "deploy/engine/runtime/file_view.h"
#include "deploy/engine/runtime/model.h"
#include "deploy/engine/runtime/session.h"
#include "deploy/engine/runtime/steps/step.h"

namespace ds::engine::compile {
namespace {

void RunPasses(Program& program, const PassSwitches& passes) {
  DropUnread(program);
  if (passes.fuse_tables) FuseTables(program);
  if (passes.fuse_sums) FuseSums(program);
  // Bounds behind a sum that has become a convolution's last step.
  if (passes.fuse_tables && passes.fuse_sums) FuseTables(program);
  if (passes.fuse_activations) FuseActivations(program);
  if (passes.pack_four_bits) PackFourBits(program);
  if (passes.fuse_squeeze_excite) FuseSqueezeExcites(program);
  if (passes.join_without_copies) JoinWithoutCopies(program);
  NoteConversions(program);
}

// As the runtime does it on a device, with an instruction set that this machine has.
Status OpenAsRuntime(std::span<const std::byte> bytes, const std::vector<Isa>& isas) {
  const auto here =
      std::find_if(isas.begin(), isas.end(), [](Isa isa) { return KernelsFor(isa) != nullptr; });
  if (here == isas.end()) {
    FileView view;
    DS_ENGINE_RETURN_IF_ERROR(FileView::Open(bytes, view));
    return CheckPlan(view);
  }
  std::shared_ptr<const Model> model;
  DS_ENGINE_RETURN_IF_ERROR(Model::FromBytes(bytes, {.isa = IsaName(*here)}, model));
  std::unique_ptr<Session> session;
  DS_ENGINE_RETURN_IF_ERROR(Session::Create(model, {.most_bytes = INT64_MAX}, session));
  for (int i = 1; i < model->shape_count(); ++i) DS_ENGINE_RETURN_IF_ERROR(session->SelectShape(i));
  return {};
}

// A file that the runtime refuses must not leave this house.
absl::Status Check(const std::string& bytes, const std::vector<Isa>& isas) {
  struct alignas(64) Line {
    std::byte bytes[64];
  };
  std::vector<Line> lines(bytes.size() / sizeof(Line) + 1);
  std::memcpy(lines.data(), bytes.data(), bytes.size());
  const Status status = OpenAsRuntime(std::as_bytes(std::span(lines)).first(bytes.size()), isas);
  if (status.ok()) return absl::OkStatus();
  return absl::UnimplementedError(absl::StrCat(
      "the engine does not run this model: ", status.message(),
      "; nothing was written: run the model with ONNX Runtime, or change that operator"));
}

std::vector<OperatorStory> Stories(const Program& program) {
  std::vector<OperatorStory> stories;
  for (const Step& step : program.steps) {
    stories.push_back({KindName(static_cast<uint16_t>(step.kind)), step.name,
                       absl::StrJoin(step.story, "; "), step.stays, step.macs});
  }
  return stories;
}

std::string ShapeText(const Program& program) {
  return absl::StrJoin(program.inputs, ", ", [&](std::string* text, int id) {
    const ProgramTensor& tensor = program.tensors[id];
    absl::StrAppend(text, tensor.name, " [", absl::StrJoin(tensor.dims, ", "), "]");
  });
}

// Plans of one file, one after another.
class Compiler {
 public:
  explicit Compiler(const CompileOptions& options) : options_(options), isas_(options.isas) {
    if (!isas_.empty()) return;
    for (int i = 0; i < kIsaCount; ++i) isas_.push_back(static_cast<Isa>(i));
  }

  absl::Status Add(const Graph& graph, int64_t batch) {
    std::map<std::string, std::string> norms;
    DS_ASSIGN_OR_RETURN(const Graph prepared, Prepare(graph, batch, options_.passes, norms));
    DS_ASSIGN_OR_RETURN(Program program, Lower(prepared, options_));
    RunPasses(program, options_.passes);
    for (Step& step : program.steps) {
      const auto norm = norms.find(step.name);
      if (norm != norms.end()) step.stays = norm->second;
    }
    const std::string shape = ShapeText(program);
    for (const PlanStory& other : report_.plans) {
      if (other.shape != shape) continue;
      return absl::InvalidArgumentError(absl::StrCat(
          "two of the file's shapes are ", shape,
          ": give each once; a batch is only open where the model, or --input-shape with ?, leaves "
          "it open"));
    }
    const ProgramPlan plan = ArrangeSteps(program, options_);
    if (report_.plans.empty()) {
      report_.operators = Stories(program);
    } else {
      writer_.NextPlan();
    }
    report_.plans.push_back({shape, plan.arena.way, plan.arena.bytes, plan.arena.bound,
                             plan.arena.apart, plan.arena.least});
    return Emit(program, plan, isas_, writer_);
  }

  absl::StatusOr<std::string> Finish() {
    std::string bytes = writer_.Bytes();
    DS_RETURN_IF_ERROR(Check(bytes, isas_));
    file::Header header;
    std::memcpy(&header, bytes.data(), sizeof(header));
    report_.file_bytes = static_cast<int64_t>(bytes.size());
    report_.weight_bytes = report_.file_bytes - static_cast<int64_t>(header.tables_bytes);
    return bytes;
  }
  CompileReport& report() { return report_; }

 private:
  const CompileOptions& options_;
  std::vector<Isa> isas_;
  file::FileWriter writer_;
  CompileReport report_;
};

}  // namespace

absl::StatusOr<std::string> CompileModel(std::span<const Graph> graphs,
                                         const CompileOptions& options, CompileReport* report) {
  const size_t shapes = graphs.size() * options.batches.size();
  if (shapes == 0 || shapes > file::kMaxPlans) {
    return absl::InvalidArgumentError(
        absl::StrCat("the file would have ", shapes, " shapes; it takes 1 to ", file::kMaxPlans));
  }
  Compiler compiler(options);
  for (const Graph& graph : graphs) {
    for (const int64_t batch : options.batches) DS_RETURN_IF_ERROR(compiler.Add(graph, batch));
  }
  DS_ASSIGN_OR_RETURN(std::string bytes, compiler.Finish());
  if (report != nullptr) *report = std::move(compiler.report());
  return bytes;
}

absl::StatusOr<std::string> CompileModel(const Graph& graph, const CompileOptions& options,
                                         CompileReport* report) {
  return CompileModel(std::span(&graph, 1), options, report);
}

absl::Status WriteDsm(std::span<const Graph> graphs, const std::string& path,
                      const CompileOptions& options, CompileReport* report) {
  DS_ASSIGN_OR_RETURN(const std::string bytes, CompileModel(graphs, options, report));
  return WriteFileAtomically(path, bytes);
}

std::string Explain(const CompileReport& report) {
  std::string text;
  for (size_t i = 0; i < report.operators.size(); ++i) {
    const OperatorStory& op = report.operators[i];
    absl::StrAppendFormat(&text, "%4d  %-14s %s", i, op.kind, op.name);
    if (op.macs > 0)
      absl::StrAppendFormat(&text, "  %.2f MMAC", static_cast<double>(op.macs) / 1e6);
    absl::StrAppend(&text, "\n");
    if (!op.story.empty()) absl::StrAppend(&text, "      with ", op.story, "\n");
    if (!op.stays.empty()) absl::StrAppend(&text, "      stays: ", op.stays, "\n");
  }
  absl::StrAppendFormat(&text, "file %d bytes, of which weights %d\n", report.file_bytes,
                        report.weight_bytes);
  for (const PlanStory& plan : report.plans) {
    absl::StrAppendFormat(&text, "%s: arena %d bytes (%s), at least %d, %d unplanned\n", plan.shape,
                          plan.arena_bytes, plan.way, plan.arena_bound_bytes, plan.unplanned_bytes);
  }
  return text;
}

}  // namespace ds::engine::compile
