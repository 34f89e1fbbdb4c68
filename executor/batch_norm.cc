#include "executor/batch_norm.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "ATen/Parallel.h"
#include "executor/kernels/bn_kernels.h"
#include "torch/csrc/autograd/custom_function.h"

namespace ds::executor {

namespace {

// Elements of a chunk: fits the second-level cache with its neighbours. Fixed, so that sums do not
// depend on the number of threads.
constexpr int64_t kChunkElements = 16384;

// Activations as [rows, channels] with channels innermost.
struct Rows {
  explicit Rows(const at::Tensor& x)
      : channels(x.size(1)),
        rows(x.numel() / std::max<int64_t>(channels, 1)),
        per_chunk(std::max<int64_t>(kChunkElements / std::max<int64_t>(channels, 1), 1)),
        chunks((rows + per_chunk - 1) / per_chunk),
        bf16(x.scalar_type() == at::kBFloat16) {}

  int64_t ByteOffset(int64_t row) const { return row * channels * (bf16 ? 2 : 4); }
  // body(chunk, first row, rows of the chunk), in parallel.
  template <typename Body>
  void ForChunks(const Body& body) const {
    at::parallel_for(0, chunks, 1, [&](int64_t begin, int64_t end) {
      for (int64_t chunk = begin; chunk < end; ++chunk) {
        const int64_t first = chunk * per_chunk;
        body(chunk, first, std::min(per_chunk, rows - first));
      }
    });
  }

  int64_t channels;
  int64_t rows;
  int64_t per_chunk;
  int64_t chunks;
  bool bf16;
};

const std::byte* Bytes(const at::Tensor& tensor) {
  return tensor.defined() ? static_cast<const std::byte*>(tensor.const_data_ptr()) : nullptr;
}
std::byte* MutableBytes(const at::Tensor& tensor) {
  return tensor.defined() ? static_cast<std::byte*>(tensor.mutable_data_ptr()) : nullptr;
}
template <typename T>
T* At(T* base, int64_t offset) {
  return base == nullptr ? nullptr : base + offset;
}
float* Floats(const at::Tensor& tensor) { return tensor.mutable_data_ptr<float>(); }

const BnKernels& Kernels(bool bf16) {
  static const BnInstructions best = BestBnInstructions();
  return GetBnKernels(best, bf16);
}

struct Moments {
  std::vector<double> mean;
  std::vector<double> square;  // sum of squared deviations from the mean
};

// Every chunk sums around its own first row, so that fp32 loses nothing when the mean is far from
// zero; chunks are combined in double (Chan, Golub, LeVeque 1979).
Moments BatchMoments(const at::Tensor& x) {
  const Rows shape(x);
  const size_t channels = static_cast<size_t>(shape.channels);
  std::vector<float> partial(static_cast<size_t>(shape.chunks) * channels * 3);
  shape.ForChunks([&](int64_t chunk, int64_t first, int64_t count) {
    float* shift = partial.data() + static_cast<size_t>(chunk) * channels * 3;
    const std::byte* data = Bytes(x) + shape.ByteOffset(first);
    for (size_t c = 0; c < channels; ++c) {
      shift[c] = shape.bf16 ? static_cast<float>(reinterpret_cast<const at::BFloat16*>(data)[c])
                            : reinterpret_cast<const float*>(data)[c];
    }
    Kernels(shape.bf16)
        .statistics(data, count, shape.channels, shift, shift + channels, shift + 2 * channels);
  });
  Moments moments{std::vector<double>(channels), std::vector<double>(channels)};
  const auto rows_of = [&](int64_t chunk) {
    return static_cast<double>(std::min(shape.per_chunk, shape.rows - chunk * shape.per_chunk));
  };
  for (int64_t chunk = 0; chunk < shape.chunks; ++chunk) {
    const float* shift = partial.data() + static_cast<size_t>(chunk) * channels * 3;
    for (size_t c = 0; c < channels; ++c) {
      moments.mean[c] += rows_of(chunk) * shift[c] + shift[channels + c];
    }
  }
  for (double& mean : moments.mean) mean /= static_cast<double>(shape.rows);
  for (int64_t chunk = 0; chunk < shape.chunks; ++chunk) {
    const float* shift = partial.data() + static_cast<size_t>(chunk) * channels * 3;
    const double n = rows_of(chunk);
    for (size_t c = 0; c < channels; ++c) {
      const double offset = shift[channels + c] / n;
      const double between = shift[c] + offset - moments.mean[c];
      moments.square[c] += shift[2 * channels + c] - n * offset * offset + n * between * between;
    }
  }
  return moments;
}

struct Coefficients {
  at::Tensor mean;
  at::Tensor inverse;  // 1 / sqrt(variance + epsilon)
};

// Statistics of the batch, which also move the running ones.
Coefficients TrainingStatistics(const BatchNormInputs& in, const BatchNormOptions& options) {
  const Moments moments = BatchMoments(in.x);
  const double rows = static_cast<double>(in.x.numel()) / static_cast<double>(in.x.size(1));
  Coefficients out{at::empty_like(in.mean), at::empty_like(in.mean)};
  for (size_t c = 0; c < moments.mean.size(); ++c) {
    const double square = std::max(moments.square[c], 0.0);
    Floats(out.mean)[c] = static_cast<float>(moments.mean[c]);
    Floats(out.inverse)[c] = static_cast<float>(1.0 / std::sqrt(square / rows + options.epsilon));
    float& mean = Floats(in.mean)[c];
    float& variance = Floats(in.variance)[c];
    mean = static_cast<float>(mean + options.momentum * (moments.mean[c] - mean));
    variance = static_cast<float>(variance + options.momentum * (square / (rows - 1) - variance));
    // NaN would have been lost in max().
    if (std::isnan(moments.square[c])) Floats(out.inverse)[c] = variance = std::nanf("");
  }
  return out;
}

at::Tensor Apply(const BatchNormInputs& in, const at::Tensor& residual,
                 const BatchNormOptions& options, const Coefficients& statistics) {
  const Rows shape(in.x);
  at::Tensor y = at::empty_like(in.x);
  const at::Tensor scale = in.scale * statistics.inverse;
  const BnAffine affine{Floats(statistics.mean), Floats(scale), in.bias.const_data_ptr<float>(),
                        static_cast<float>(options.low), static_cast<float>(options.high)};
  std::byte* out = MutableBytes(y);
  shape.ForChunks([&](int64_t, int64_t first, int64_t count) {
    const int64_t at = shape.ByteOffset(first);
    Kernels(shape.bf16)
        .apply(Bytes(in.x) + at, At(Bytes(residual), at), out + at, count, shape.channels, affine);
  });
  return y;
}

struct Gradients {
  at::Tensor x, scale, bias, residual;
};

// dx = scale * inverse * (g - mean(g) - xhat * mean(g * xhat)), with xhat = (x - mean) * inverse.
Gradients Backward(const at::Tensor& gradient, const at::Tensor& x, const at::Tensor& y,
                   const at::Tensor& scale, const Coefficients& statistics, float low, float high,
                   bool wants_residual) {
  const Rows shape(x);
  const size_t channels = static_cast<size_t>(shape.channels);
  Gradients out;
  // The masked gradient is the residual's; without a mask it is the gradient itself.
  const bool masks = y.defined();
  if (wants_residual) out.residual = masks ? at::empty_like(x) : gradient;
  std::byte* masked = masks ? MutableBytes(out.residual) : nullptr;
  std::vector<float> partial(static_cast<size_t>(shape.chunks) * channels * 2);
  shape.ForChunks([&](int64_t chunk, int64_t first, int64_t count) {
    const int64_t at = shape.ByteOffset(first);
    float* sums = partial.data() + static_cast<size_t>(chunk) * channels * 2;
    Kernels(shape.bf16)
        .reduce(Bytes(gradient) + at, At(Bytes(y), at), Bytes(x) + at, At(masked, at), count,
                shape.channels, Floats(statistics.mean), low, high, sums, sums + channels);
  });
  std::vector<double> sum(2 * channels);
  for (int64_t chunk = 0; chunk < shape.chunks; ++chunk) {
    const float* sums = partial.data() + static_cast<size_t>(chunk) * channels * 2;
    for (size_t c = 0; c < 2 * channels; ++c) sum[c] += sums[c];
  }
  out.scale = at::empty_like(statistics.mean);
  out.bias = at::empty_like(statistics.mean);
  std::vector<float> k(3 * channels);
  for (size_t c = 0; c < channels; ++c) {
    const double inverse = Floats(statistics.inverse)[c];
    const double product = sum[channels + c] * inverse;
    const double factor = scale.const_data_ptr<float>()[c] * inverse;
    Floats(out.bias)[c] = static_cast<float>(sum[c]);
    Floats(out.scale)[c] = static_cast<float>(product);
    const double rows = static_cast<double>(shape.rows);
    k[c] = static_cast<float>(factor);
    k[channels + c] = static_cast<float>(-factor * inverse * product / rows);
    k[2 * channels + c] = static_cast<float>(-factor * sum[c] / rows);
  }
  const BnInputGradient coefficients{Floats(statistics.mean), k.data(), k.data() + channels,
                                     k.data() + 2 * channels, low,      high};
  out.x = at::empty_like(x);
  std::byte* dx = MutableBytes(out.x);
  const std::byte* from = masked != nullptr ? masked : Bytes(gradient);
  const std::byte* mask = masked != nullptr ? nullptr : Bytes(y);
  shape.ForChunks([&](int64_t, int64_t first, int64_t count) {
    const int64_t at = shape.ByteOffset(first);
    Kernels(shape.bf16)
        .input_gradient(from + at, At(mask, at), Bytes(x) + at, dx + at, count, shape.channels,
                        coefficients);
  });
  return out;
}

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct FusedBatchNorm : torch::autograd::Function<FusedBatchNorm> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& scale,
                            const at::Tensor& bias, const std::optional<at::Tensor>& maybe_residual,
                            const at::Tensor& mean, const at::Tensor& variance,
                            const BatchNormOptions& options) {
    const at::Tensor residual = maybe_residual.value_or(at::Tensor());
    const BatchNormInputs in{x, scale, bias, mean, variance};
    const Coefficients statistics = TrainingStatistics(in, options);
    at::Tensor y = Apply(in, residual, options, statistics);
    // The output says where the clamp let values through; without a clamp it is not needed.
    context->save_for_backward(
        {x, options.clamps() ? y : at::Tensor(), scale, statistics.mean, statistics.inverse});
    context->saved_data["low"] = options.low;
    context->saved_data["high"] = options.high;
    context->saved_data["residual"] = residual.defined();
    return y;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor& x = saved[0];
    at::Tensor gradient = gradients[0].to(x.scalar_type());
    if (gradient.strides() != x.strides()) gradient = at::empty_like(x).copy_(gradient);
    const Gradients out = Backward(gradient, x, saved[1], saved[2], {saved[3], saved[4]},
                                   static_cast<float>(context->saved_data["low"].toDouble()),
                                   static_cast<float>(context->saved_data["high"].toDouble()),
                                   context->saved_data["residual"].toBool());
    return {out.x, out.scale, out.bias, out.residual, {}, {}, {}};
  }
};

bool KernelsApply(const BatchNormInputs& in, const at::Tensor& residual) {
  const at::ScalarType type = in.x.scalar_type();
  if (type != at::kFloat && type != at::kBFloat16) return false;
  if (in.x.dim() != 2 && in.x.dim() != 4) return false;
  for (const at::Tensor* vector : {&in.scale, &in.bias, &in.mean, &in.variance}) {
    if (vector->scalar_type() != at::kFloat || !vector->is_contiguous()) return false;
  }
  if (!in.x.device().is_cpu() || in.x.numel() == 0) return false;
  return !residual.defined() ||
         (residual.sizes() == in.x.sizes() && residual.scalar_type() == type);
}

// Channels innermost, with LibTorch's own strides for it even where an extent of 1 leaves a choice.
at::Tensor ChannelsInnermost(const at::Tensor& x) {
  if (!x.defined() || x.dim() == 2) return x.defined() ? x.contiguous() : x;
  return x.contiguous(at::MemoryFormat::ChannelsLast);
}

}  // namespace

BatchNormOptions ReadBatchNormOptions(const Node& node) {
  BatchNormOptions options;
  options.epsilon = node.GetFloat("epsilon", 1e-5f);
  options.momentum = 1.0 - node.GetFloat("momentum", 0.9f);
  return options;
}

at::Tensor BatchNormUnfused(const BatchNormInputs& in, const at::Tensor& residual,
                            const BatchNormOptions& options, bool training) {
  at::Tensor y = at::batch_norm(in.x, in.scale, in.bias, in.mean, in.variance, training,
                                options.momentum, options.epsilon, /*cudnn_enabled=*/false);
  if (residual.defined()) y = y + residual;
  if (!options.clamps()) return y;
  if (options.low == 0 && std::isinf(options.high)) return at::relu(y);
  return at::clamp(y, options.low, options.high);
}

at::Tensor BatchNorm(const BatchNormInputs& inputs, const at::Tensor& residual,
                     const BatchNormOptions& options, bool training) {
  TORCH_CHECK(
      !training || inputs.x.numel() > inputs.x.size(1),
      "batch normalisation needs more than one value a channel in training, but the input is ",
      inputs.x.sizes(), "; take a larger batch");
  const bool no_gradient = !at::GradMode::is_enabled();
  if (!KernelsApply(inputs, residual) || (!training && !no_gradient)) {
    return BatchNormUnfused(inputs, residual, options, training);
  }
  BatchNormInputs in = inputs;
  in.x = ChannelsInnermost(inputs.x);
  const at::Tensor extra = ChannelsInnermost(residual);
  if (!training) {
    return Apply(in, extra, options, {in.mean, at::rsqrt(in.variance + options.epsilon)});
  }
  const std::optional<at::Tensor> addend = extra.defined() ? std::optional(extra) : std::nullopt;
  return FusedBatchNorm::apply(in.x, in.scale, in.bias, addend, in.mean, in.variance, options);
}

}  // namespace ds::executor
