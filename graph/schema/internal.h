// Shared by the schema_*.cc files only: the families that make up the table, and the small steps
// that shape inference functions repeat.
#pragma once

#include <climits>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "graph/schema/schema.h"

namespace ds::schema {

using Table = std::vector<OpSchema>;
using Inferred = absl::StatusOr<std::vector<InferredValue>>;
using InferFunction = Inferred (*)(const InferenceContext&);

// Each file adds its family of operators.
void AddActivations(Table& table);
void AddArithmetic(Table& table);
void AddLinear(Table& table);
void AddNormalization(Table& table);
void AddPooling(Table& table);
void AddReductions(Table& table);
void AddLogic(Table& table);
void AddGroupNormalization(Table& table);
void AddArrangement(Table& table);
void AddReshaping(Table& table);
void AddIndexing(Table& table);
void AddSpatial(Table& table);
void AddResize(Table& table);
void AddConstants(Table& table);
void AddQuantization(Table& table);
void AddRecurrent(Table& table);
void AddConvTranspose(Table& table);
void AddScatter(Table& table);
void AddEinsum(Table& table);
void AddDetection(Table& table);

inline AttributeSchema Int(std::string name) { return {std::move(name), AttributeType::kInt}; }
inline AttributeSchema Float(std::string name) { return {std::move(name), AttributeType::kFloat}; }
inline AttributeSchema String(std::string name) {
  return {std::move(name), AttributeType::kString};
}
inline AttributeSchema Ints(std::string name) { return {std::move(name), AttributeType::kInts}; }
inline AttributeSchema Required(AttributeSchema attribute) {
  attribute.required = true;
  return attribute;
}

// An operator of one output.
OpSchema Op(std::string name, int min_inputs, int max_inputs,
            std::vector<AttributeSchema> attributes, InferFunction infer);

// One output of `dtype` and `shape`.
Inferred One(DType dtype, Shape shape);
// Type and shape of input 0.
Inferred SameAsInput(const InferenceContext& context);

// InvalidArgument listing `choices` where the string attribute is none of them.
absl::Status CheckChoice(const Node& node, const std::string& key, const std::string& fallback,
                         const std::vector<std::string>& choices);
// `axis` in [0, rank); InvalidArgument outside [-rank, rank).
absl::StatusOr<int64_t> NormalizeAxis(int64_t axis, int64_t rank);
// The same for each of `axes`; InvalidArgument if one comes twice.
absl::StatusOr<std::vector<int64_t>> NormalizeAxes(std::vector<int64_t> axes, int64_t rank);
// Elements of integer input i as far as known; nullopt if nothing is, not even how many there are.
std::optional<std::vector<int64_t>> PartlyKnown(const InferenceContext& context, int i);
// The same where every element is known.
std::optional<std::vector<int64_t>> AllKnown(const InferenceContext& context, int i);
// How many elements integer input i has; FailedPrecondition naming `what` where not even that is
// known.
absl::StatusOr<int64_t> KnownCount(const InferenceContext& context, int i, absl::string_view what);
// All elements of integer input i; FailedPrecondition naming `what` if one is not known.
absl::StatusOr<std::vector<int64_t>> FullyKnown(const InferenceContext& context, int i,
                                                absl::string_view what);
// The constant that input i is (an initialiser or a Constant node), or nullptr.
const Tensor* ConstantInput(const InferenceContext& context, int i);
// Elements of an integer tensor; nullopt for another type.
std::optional<std::vector<int64_t>> IntElements(const Tensor& tensor);

inline bool IsDynamic(int64_t extent) { return extent == kDynamicDim; }
// Extents that are both known must be equal.
inline bool MayEqual(int64_t a, int64_t b) { return IsDynamic(a) || IsDynamic(b) || a == b; }
// Product of known extents; nullopt if one is dynamic or the product overflows.
std::optional<int64_t> KnownProduct(absl::Span<const int64_t> extents);

}  // namespace ds::schema
