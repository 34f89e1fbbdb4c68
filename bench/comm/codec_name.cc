#include "bench/comm/codec_name.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/status.h"

namespace ds {

absl::StatusOr<std::shared_ptr<const Codec>> CodecByName(const std::string& name,
                                                         const CodecOptions& base) {
  if (name == "fp32") return nullptr;
  CodecOptions options = base;
  absl::string_view rest = name;
  if (name == "fp16") {
    options.kind = CodecKind::kFloat16;
  } else if (name == "bf16") {
    options.kind = CodecKind::kBFloat16;
  } else if (name == "sign") {
    options.kind = CodecKind::kSign;
  } else if (absl::ConsumePrefix(&rest, "topk:") && absl::SimpleAtod(rest, &options.density)) {
    options.kind = CodecKind::kTopK;
  } else if (absl::ConsumePrefix(&rest, "u") && absl::SimpleAtoi(rest, &options.bits)) {
    options.kind = CodecKind::kUniform;
  } else {
    return absl::InvalidArgumentError(
        absl::StrCat("unknown codec '", name,
                     "'; it is fp32, fp16, bf16, u1 to u8, sign or topk:DENSITY (topk:0.01)"));
  }
  options.rotate = base.rotate && options.kind == CodecKind::kUniform && options.bits <= 3;
  DS_ASSIGN_OR_RETURN(std::unique_ptr<Codec> codec, Codec::Create(options));
  return codec;
}

}  // namespace ds
