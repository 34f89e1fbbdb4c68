// What the name of a stored tensor says of it.
#pragma once

#include "absl/strings/string_view.h"

namespace ds::onnx_io {

// True for a name that people gave a parameter ("block.0.weight", "cls_token", "bn1_gamma"), not
// for one that an exporter made up ("onnx::Mul_123", "/Constant_output_0", "val_7") and not for
// what models keep beside their parameters (masks, means, anchors, frequencies: IsBufferName).
// `is_scalar`: a tensor of one element, which counts only below a module and by a parameter's
// word ("act.alpha"), or as "logit_scale".
bool IsParameterName(absl::string_view name, bool is_scalar);

// True for names of constants that take part in what a model computes and do not train:
// "attn.mask", "pixel_mean", "rope.inv_freq".
bool IsBufferName(absl::string_view name);

// The narrower of the two, for what stands where a layer's weight does: "rope.inv_freq",
// "stft.forward_basis_buffer"; of modules, by the last word.
bool IsBufferOfModule(absl::string_view name);

// True for what the importer itself made (rewrite/emitter.h), also when our own file is read again.
bool IsEmittedName(absl::string_view name);

// True for names that exporters make up for constants.
bool IsMadeUpName(absl::string_view name);

}  // namespace ds::onnx_io
