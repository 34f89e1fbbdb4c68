// Codecs by the short names of command lines and result tables.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "codec/codec.h"

namespace ds {

// "fp32" (no codec: null), "fp16", "bf16", "u1" to "u8" (uniform), "sign", "topk:DENSITY". `base`
// gives bucket, scale, rounding and rotation. InvalidArgument names what is allowed.
absl::StatusOr<std::shared_ptr<const Codec>> CodecByName(const std::string& name,
                                                         const CodecOptions& base);

}  // namespace ds
