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
#include "deploy/engine/compile/emit.h"
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
  return Session::Create(model, {.most_bytes = INT64_MAX}, session);
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

void Tell(const Program& program, const ProgramPlan& plan, const std::string& bytes,
          CompileReport& report) {
  report = {};
  for (const Step& step : program.steps) {
    report.operators.push_back({KindName(static_cast<uint16_t>(step.kind)), step.name,
                                absl::StrJoin(step.story, "; "), step.stays, step.macs});
  }
  file::Header header;
  std::memcpy(&header, bytes.data(), sizeof(header));
  report.file_bytes = static_cast<int64_t>(bytes.size());
  report.weight_bytes = report.file_bytes - static_cast<int64_t>(header.tables_bytes);
  report.arena_bytes = plan.arena.bytes;
  report.arena_bound_bytes = plan.arena.bound;
  report.unplanned_bytes = plan.arena.apart;
  report.plan = plan.arena.way;
}

}  // namespace

absl::StatusOr<std::string> CompileModel(const Graph& graph, const CompileOptions& options,
                                         CompileReport* report) {
  std::vector<Isa> isas = options.isas;
  for (int i = 0; options.isas.empty() && i < kIsaCount; ++i) isas.push_back(static_cast<Isa>(i));
  std::map<std::string, std::string> norms;
  DS_ASSIGN_OR_RETURN(const Graph prepared, Prepare(graph, options, norms));
  DS_ASSIGN_OR_RETURN(Program program, Lower(prepared, options));
  RunPasses(program, options.passes);
  for (Step& step : program.steps) {
    const auto norm = norms.find(step.name);
    if (norm != norms.end()) step.stays = norm->second;
  }
  const ProgramPlan plan = PlanProgram(program, options.passes.reuse_in_place);
  DS_ASSIGN_OR_RETURN(std::string bytes, Emit(program, plan, isas));
  DS_RETURN_IF_ERROR(Check(bytes, isas));
  if (report != nullptr) Tell(program, plan, bytes, *report);
  return bytes;
}

absl::Status WriteDsm(const Graph& graph, const std::string& path, const CompileOptions& options,
                      CompileReport* report) {
  DS_ASSIGN_OR_RETURN(const std::string bytes, CompileModel(graph, options, report));
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
  absl::StrAppendFormat(
      &text, "file %d bytes, of which weights %d; arena %d bytes (%s), at least %d, %d unplanned\n",
      report.file_bytes, report.weight_bytes, report.arena_bytes, report.plan,
      report.arena_bound_bytes, report.unplanned_bytes);
  return text;
}

}  // namespace ds::engine::compile
