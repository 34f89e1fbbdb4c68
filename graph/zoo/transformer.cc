// vit_tiny and gpt_nano: pre-norm transformer blocks over images and over bytes.
#include <cmath>
#include <string>

#include "absl/strings/str_cat.h"
#include "graph/builder.h"
#include "graph/initialization.h"
#include "graph/zoo/builtin.h"

namespace ds::zoo {

namespace {

struct Dimensions {
  int64_t tokens;
  int64_t width;
  int64_t heads;
  int blocks;
  double dropout;
};

// Masked attention adds this to what must not be seen: exp() of it is 0 in fp32, and fp16 can hold
// it.
constexpr float kMasked = -10000.0f;

// [N, T, width] -> [N, T, width]. `mask` ([1, 1, T, T], added to the scores) may be kNoValue.
ValueId Attention(Builder& b, ValueId x, const std::string& name, const Dimensions& d, ValueId mask,
                  double out_deviation) {
  const int64_t head = d.width / d.heads;
  const ValueId qkv = b.TokenLinear(x, name + ".qkv", 3 * d.width);
  const std::vector<ValueId> parts = b.MultiOp("Split", {qkv, b.Ints({d.width, d.width, d.width})},
                                               3, {{"axis", int64_t{-1}}}, name + ".split");
  auto heads = [&](ValueId part, std::vector<int64_t> perm) {
    return b.Transpose(b.Reshape(part, {0, d.tokens, d.heads, head}), std::move(perm));
  };
  const ValueId q = heads(parts[0], {0, 2, 1, 3});
  const ValueId k = heads(parts[1], {0, 2, 3, 1});
  const ValueId v = heads(parts[2], {0, 2, 1, 3});
  ValueId scores = b.Op("MatMul", {q, k}, {}, name + ".scores");
  scores = b.Mul(scores, b.Scalar(1.0f / std::sqrt(static_cast<float>(head))));
  if (mask != kNoValue) scores = b.Add(scores, mask);
  const ValueId weights =
      b.Dropout(b.Op("Softmax", {scores}, {{"axis", int64_t{-1}}}, name + ".softmax"), d.dropout);
  ValueId y = b.Op("MatMul", {weights, v}, {}, name + ".mix");
  y = b.Reshape(b.Transpose(y, {0, 2, 1, 3}), {0, d.tokens, d.width});
  return b.TokenLinear(y, name + ".proj", d.width, out_deviation);
}

ValueId Blocks(Builder& b, ValueId x, const Dimensions& d, ValueId mask, double out_deviation) {
  for (int i = 0; i < d.blocks; ++i) {
    const std::string name = absl::StrCat("blocks.", i);
    ValueId y = b.LayerNorm(x, name + ".norm1");
    y = Attention(b, y, name + ".attn", d, mask, out_deviation);
    x = b.Add(x, b.Dropout(y, d.dropout));
    y = b.TokenLinear(b.LayerNorm(x, name + ".norm2"), name + ".mlp.fc1", 4 * d.width);
    y = b.Op("Gelu", {y}, {{"approximate", std::string("none")}});
    y = b.TokenLinear(y, name + ".mlp.fc2", d.width, out_deviation);
    x = b.Add(x, b.Dropout(y, d.dropout));
  }
  return b.LayerNorm(x, "norm");
}

ValueId CausalMask(Builder& b, int64_t tokens) {
  Tensor mask(DType::kFloat32, {1, 1, tokens, tokens});
  auto elements = mask.mutable_span<float>();
  for (int64_t row = 0; row < tokens; ++row) {
    for (int64_t column = row + 1; column < tokens; ++column) {
      elements[row * tokens + column] = kMasked;
    }
  }
  return b.Constant("causal_mask", std::move(mask));
}

ValueId Positions(Builder& b, const Dimensions& d) {
  return b.Parameter("position_embedding",
                     NormalWeights({1, d.tokens, d.width}, 0.02, b.seed(), "position_embedding"));
}

}  // namespace

absl::StatusOr<Graph> VitTiny(const ModelOptions& options) {
  const int64_t patch = options.height <= 64 ? 4 : 16;
  if (options.height % patch != 0 || options.width % patch != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "vit_tiny cuts images of ", options.height, "x", options.width, " pixels into ", patch, "x",
        patch, " patches; make height and width multiples of ", patch));
  }
  const Dimensions d{.tokens = options.height / patch * (options.width / patch),
                     .width = 192,
                     .heads = 3,
                     .blocks = 12,
                     .dropout = options.dropout};
  Builder b("vit_tiny", options.seed);
  ValueId x = b.Input("input", DType::kFloat32,
                      {kDynamicDim, options.channels, options.height, options.width});
  x = b.Conv(x, "patch_embedding",
             {.channels = d.width, .kernel = patch, .stride = patch, .padding = 0, .bias = true});
  x = b.Transpose(b.Reshape(x, {0, d.width, d.tokens}), {0, 2, 1});
  x = b.Dropout(b.Add(x, Positions(b, d)), d.dropout);
  x = Blocks(b, x, d, kNoValue, 0.02);
  x = b.Op("ReduceMean", {x}, {{"axes", std::vector<int64_t>{1}}, {"keepdims", int64_t{0}}});
  b.Output(b.Linear(x, "head", options.classes), "logits");
  return b.Finish();
}

absl::StatusOr<Graph> GptNano(const ModelOptions& options) {
  if (options.sequence_length > 4096) {
    return absl::InvalidArgumentError(
        absl::StrCat("gpt_nano keeps a mask of sequence_length^2 numbers; ",
                     options.sequence_length, " is too long, use at most 4096"));
  }
  const Dimensions d{.tokens = options.sequence_length,
                     .width = 128,
                     .heads = 4,
                     .blocks = 4,
                     .dropout = options.dropout};
  Builder b("gpt_nano", options.seed);
  const ValueId tokens = b.Input("input", DType::kInt64, {kDynamicDim, d.tokens});
  const ValueId table =
      b.Parameter("token_embedding",
                  NormalWeights({options.classes, d.width}, 0.02, options.seed, "token_embedding"));
  ValueId x = b.Op("Gather", {table, tokens}, {{"axis", int64_t{0}}}, "embed");
  x = b.Dropout(b.Add(x, Positions(b, d)), d.dropout);
  // Radford et al. 2019, section 2.3: what adds to the residual stream starts smaller, by its
  // depth.
  x = Blocks(b, x, d, CausalMask(b, d.tokens), 0.02 / std::sqrt(2.0 * d.blocks));
  b.Output(b.TokenLinear(x, "head", options.classes), "logits");
  return b.Finish();
}

}  // namespace ds::zoo
