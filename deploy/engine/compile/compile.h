// From a graph to a .dsm file, ahead of time: lowering to the engine's operators, passes, packing
// of weights for each instruction set, and the plan of the arena.
//
// Takes float graphs, and quantised ones as ds_quantize and ONNX Runtime's quantize_static write
// them: QuantizeLinear and DequantizeLinear around the operators, activations of 8 bits with one
// scale a tensor, weights of 2 to 8 bits, symmetric, with one scale a tensor or an output channel,
// biases of 32 bits. An operator between codes that no integer kernel computes, or whose weights
// are none of these, is computed in float between a dequantisation and a quantisation.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "deploy/engine/runtime/kernels/kernels.h"
#include "graph/graph.h"

namespace ds::engine::compile {

// Each can be switched off; results then differ by roundings at most.
struct PassSwitches {
  bool fold_batch_norms = true;     // and constants a channel, into weights
  bool fold_chains = true;          // element-wise chains of several codes as one table
  bool fuse_tables = true;          // tables and clamps into what makes their codes
  bool fuse_sums = true;            // residual additions into convolutions
  bool fuse_norms = true;           // layer norms between codes, their floats a row at a time
  bool fuse_activations = true;     // float activations into what makes their input
  bool fuse_squeeze_excite = true;  // averages, two products and the gate they make, as one
  bool fuse_chains = true;          // convolutions behind each other, where that saves memory
  bool pack_four_bits = true;       // weights that fit 4 bits are stored in 4
  bool join_without_copies = true;  // concatenated tensors are written where they belong
  bool join_moves = true;           // moves of moves are one, or none
  bool reuse_in_place = true;       // an element-wise result lies on its dying operand
  bool reorder_steps = true;        // where another order takes a smaller arena
};

struct CompileOptions {
  std::vector<int64_t> batches = {1};  // for graphs that leave it open; a plan for each
  // Of an image between two convolutions from which on they become a chain. Unset: as
  // ArrangeSteps() chooses.
  std::optional<int64_t> chain_bytes;
  std::vector<Isa> isas;  // that weights are packed for; empty: all
  PassSwitches passes;
};

struct OperatorStory {
  std::string kind, name, story;
  std::string stays;  // why it is a step of its own, where a pass looked at it
  int64_t macs = 0;
};

// The memory of one shape.
struct PlanStory {
  std::string shape;  // the inputs, as Model::ShapesText() has it
  std::string way;    // which heuristic made the plan
  int64_t arena_bytes = 0, arena_bound_bytes = 0, unplanned_bytes = 0;
  bool least = false;  // no plan of this order of steps takes less
};

struct CompileReport {
  std::vector<OperatorStory> operators;  // of the first shape, in the order in which they run
  std::vector<PlanStory> plans;          // a shape, in the order of the file
  int64_t file_bytes = 0, weight_bytes = 0;
};

// The file's bytes, with a plan for each of `graphs` (the same model for inputs of other extents)
// in each batch; weights are there once. InvalidArgument for a graph whose extents stay open, for
// two equal shapes, and for none; Unimplemented for an operator without a kernel: names the node,
// what it does and how to go on.
absl::StatusOr<std::string> CompileModel(std::span<const Graph> graphs,
                                         const CompileOptions& options = {},
                                         CompileReport* report = nullptr);
absl::StatusOr<std::string> CompileModel(const Graph& graph, const CompileOptions& options = {},
                                         CompileReport* report = nullptr);

// Written beside its final name and renamed.
absl::Status WriteDsm(std::span<const Graph> graphs, const std::string& path,
                      const CompileOptions& options = {}, CompileReport* report = nullptr);

// A line an operator, below it what was fused into it and why it was not fused itself; and the
// memory of each shape.
std::string Explain(const CompileReport& report);

}  // namespace ds::engine::compile
