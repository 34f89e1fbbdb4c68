#include "graph/onnx/rewrite/trained/own_names.h"

#include <algorithm>
#include <cctype>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace ds::onnx_io {
namespace {

// Behind the last "." or "/", in lower case, without TensorFlow's ":0".
std::string LastPart(absl::string_view name) {
  const size_t colon = name.rfind(':');
  if (colon != absl::string_view::npos && colon > 0 && name[colon - 1] != ':' &&
      std::all_of(name.begin() + static_cast<std::ptrdiff_t>(colon) + 1, name.end(),
                  absl::ascii_isdigit)) {
    name = name.substr(0, colon);
  }
  const size_t cut = name.find_last_of("./");
  return absl::AsciiStrToLower(cut == absl::string_view::npos ? name : name.substr(cut + 1));
}

std::vector<std::string> Words(const std::string& part) {
  return absl::StrSplit(part, absl::ByAnyChar("_- 0123456789"), absl::SkipEmpty());
}

template <size_t kCount>
bool AnyWordOf(const std::vector<std::string>& words, const char* const (&known)[kCount]) {
  return std::any_of(words.begin(), words.end(), [&known](const std::string& word) {
    return std::find(std::begin(known), std::end(known), word) != std::end(known);
  });
}

}  // namespace

bool IsEmittedName(absl::string_view name) { return absl::StartsWith(name, "const:"); }

bool IsMadeUpName(absl::string_view name) {
  std::string lower = absl::AsciiStrToLower(name);
  if (absl::StartsWith(lower, "/") || absl::StartsWith(lower, "p2o.") ||
      absl::StartsWith(lower, "node_") || absl::StartsWith(lower, "auto.")) {
    return true;
  }
  for (const char* mark : {"onnx::", "_output_", "const_fold", "constant", "const:", "const__",
                           "lifted_tensor", "scalar_tensor"}) {
    if (absl::StrContains(lower, mark)) return true;
  }
  // PyTorch's newer exporter: val_7.
  if (absl::StartsWith(lower, "val_")) lower.erase(0, 4);
  return std::none_of(lower.begin(), lower.end(), absl::ascii_isalpha);
}

bool IsBufferName(absl::string_view name) {
  static constexpr const char* kBuffers[] = {
      "mask",       "masks",   "mean",    "std",   "stddev", "var",    "variance",
      "running",    "anchor",  "anchors", "grid",  "grids",  "freq",   "freqs",
      "stride",     "strides", "pe",      "cos",   "sin",    "buffer", "window",
      "filterbank", "mel",     "rope",    "coord", "coords"};
  const std::vector<std::string> words = Words(LastPart(name));
  // "pos_embed_mean" of statistics and "mask_token" of parameters both exist: the last word tells.
  static constexpr const char* kParameters[] = {"token", "tokens",    "weight",    "bias",
                                                "embed", "embedding", "embeddings"};
  if (!words.empty() && AnyWordOf({words.back()}, kParameters)) return false;
  return AnyWordOf(words, kBuffers);
}

bool IsBufferOfModule(absl::string_view name) {
  if (IsMadeUpName(name) || name.find_last_of("./") == absl::string_view::npos) return false;
  static constexpr const char* kLastWords[] = {"freq",   "freqs",  "mask",
                                               "buffer", "window", "filterbank"};
  const std::vector<std::string> words = Words(LastPart(name));
  return !words.empty() && AnyWordOf({words.back()}, kLastWords);
}

bool IsParameterName(absl::string_view name, bool is_scalar) {
  if (IsMadeUpName(name) || IsBufferName(name)) return false;
  // Variables of TensorFlow and parameters of a module.
  if (absl::StrContains(name, "ReadVariableOp")) return true;
  const std::string part = LastPart(name);
  if (part == "logit_scale") return true;
  const size_t dot = name.rfind('.');
  const bool below_module = dot != absl::string_view::npos && dot > 0 && dot + 1 < name.size();
  if (below_module && !is_scalar) return true;
  if (is_scalar && !below_module) return false;
  static constexpr const char* kWords[] = {
      "weight",    "weights",    "bias",    "biases",    "gamma",      "beta",   "kernel",
      "token",     "tokens",     "embed",   "embedding", "embeddings", "pos",    "position",
      "positions", "positional", "param",   "parameter", "table",      "prompt", "query",
      "queries",   "latent",     "latents", "alpha",     "slope",      "gain",   "temperature"};
  return AnyWordOf(Words(part), kWords);
}

}  // namespace ds::onnx_io
