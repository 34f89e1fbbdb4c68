#include "tests/deploy/engine/compile/reference.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <stdexcept>

#include "base/tensor/int_tensor.h"

namespace ds::testing {
namespace {

int64_t Count(const Shape& shape) {
  int64_t count = 1;
  for (const int64_t extent : shape) count *= extent;
  return count;
}

Numbers OfTensor(const Tensor& tensor) {
  Numbers result{tensor.shape(), {}};
  if (tensor.dtype() == DType::kInt64) {
    result.values.assign(tensor.span<int64_t>().begin(), tensor.span<int64_t>().end());
  } else if (const auto floats = tensor.ToFloat32(); floats.ok()) {
    result.values.assign(floats->span<float>().begin(), floats->span<float>().end());
  } else {
    const auto ints = IntValues(tensor);
    result.values.assign(ints->begin(), ints->end());
  }
  return result;
}

class Evaluator {
 public:
  explicit Evaluator(const Graph& graph) : graph_(graph) {
    for (const auto& [id, constant] : graph.initializers()) values_[id] = OfTensor(constant.data);
  }

  std::vector<Numbers> Run(const std::vector<Numbers>& inputs) {
    for (size_t i = 0; i < inputs.size(); ++i) values_[graph_.inputs()[i]] = inputs[i];
    for (const Node& node : graph_.nodes()) {
      const ValueId out = node.outputs[0];
      Numbers result{*graph_.value(out).shape, {}};
      result.values.resize(static_cast<size_t>(Count(result.shape)));
      Apply(node, result);
      if (graph_.value(out).dtype == DType::kFloat32) {
        for (double& value : result.values) value = static_cast<float>(value);
      }
      values_[out] = std::move(result);
    }
    std::vector<Numbers> results;
    for (const ValueId id : graph_.outputs()) results.push_back(values_.at(id));
    return results;
  }

 private:
  const Numbers& In(const Node& node, size_t i) const { return values_.at(node.inputs[i]); }
  bool Has(const Node& node, size_t i) const {
    return node.inputs.size() > i && node.inputs[i] != kNoValue;
  }

  void Apply(const Node& node, Numbers& out) {
    if (node.op == "QuantizeLinear") return Quantise(node, out);
    if (node.op == "DequantizeLinear") return Dequantise(node, out);
    if (node.op == "Conv") return Conv(node, out);
    if (node.op == "Gemm" || node.op == "MatMul") return Product(node, out);
    if (node.op == "BatchNormalization") return Norm(node, out);
    if (node.op == "Concat") return Concat(node, out);
    if (node.op == "MaxPool" || node.op == "AveragePool" || node.op == "GlobalAveragePool") {
      return Pool(node, out);
    }
    if (node.op == "Flatten" || node.op == "Reshape" || node.op == "Squeeze" ||
        node.op == "Unsqueeze" || node.op == "Identity") {
      out.values = In(node, 0).values;
      return;
    }
    if (node.op == "Transpose") return Transpose(node, out);
    if (node.op == "Softmax") return Softmax(node, out);
    if (node.op == "LayerNormalization") return LayerNorm(node, out);
    if (node.op == "ReduceMean") return Mean(node, out);
    if (node.op == "Gather") return Gather(node, out);
    if (node.op == "Split") return Split(node, out);
    if (Binary(node, out)) return;
    Unary(node, out);
  }

  // Which element of a scale or a zero point belongs to element i.
  size_t Along(const Node& node, const Shape& shape, size_t scales, size_t i) const {
    if (scales == 1) return 0;
    int64_t inner = 1;
    for (size_t a = static_cast<size_t>(node.GetInt("axis", 1)) + 1; a < shape.size(); ++a) {
      inner *= shape[a];
    }
    return i / static_cast<size_t>(inner) % scales;
  }

  void Quantise(const Node& node, Numbers& out) {
    const auto scale = static_cast<float>(In(node, 1).values[0]);
    const bool is_signed = graph_.value(node.outputs[0]).dtype == DType::kInt8;
    for (size_t i = 0; i < out.values.size(); ++i) {
      const double code =
          std::nearbyint(static_cast<float>(In(node, 0).values[i]) / scale) + In(node, 2).values[0];
      out.values[i] = std::clamp(code, is_signed ? -128.0 : 0.0, is_signed ? 127.0 : 255.0);
    }
  }
  void Dequantise(const Node& node, Numbers& out) {
    const auto &scale = In(node, 1).values, &x = In(node, 0).values;
    for (size_t i = 0; i < out.values.size(); ++i) {
      const size_t at = Along(node, out.shape, scale.size(), i);
      out.values[i] = (x[i] - (Has(node, 2) ? In(node, 2).values[at] : 0)) * scale[at];
    }
  }

  void Conv(const Node& node, Numbers& out) {
    const Numbers &x = In(node, 0), &w = In(node, 1);
    const auto strides = node.GetInts("strides", {1, 1}), pads = node.GetInts("pads", {0, 0, 0, 0});
    const auto dilations = node.GetInts("dilations", {1, 1});
    const int64_t per_group = w.shape[0] / node.GetInt("group", 1);
    size_t at = 0;
    for (int64_t n = 0; n < out.shape[0]; ++n) {
      for (int64_t o = 0; o < out.shape[1]; ++o) {
        for (int64_t p = 0; p < out.shape[2] * out.shape[3]; ++p, ++at) {
          double sum = Has(node, 2) ? In(node, 2).values[o] : 0;
          for (int64_t k = 0; k < w.shape[1] * w.shape[2] * w.shape[3]; ++k) {
            const int64_t c = o / per_group * w.shape[1] + k / (w.shape[2] * w.shape[3]);
            const int64_t y = p / out.shape[3] * strides[0] - pads[0] +
                              k / w.shape[3] % w.shape[2] * dilations[0];
            const int64_t z =
                p % out.shape[3] * strides[1] - pads[1] + k % w.shape[3] * dilations[1];
            if (y < 0 || z < 0 || y >= x.shape[2] || z >= x.shape[3]) continue;
            sum += x.values[((n * x.shape[1] + c) * x.shape[2] + y) * x.shape[3] + z] *
                   w.values[o * w.shape[1] * w.shape[2] * w.shape[3] + k];
          }
          out.values[at] = sum;
        }
      }
    }
  }

  void Product(const Node& node, Numbers& out) {
    const Numbers &a = In(node, 0), &b = In(node, 1);
    const bool turned = node.GetInt("transB", 0) != 0;
    const int64_t depth = a.shape.back(), columns = out.shape.back();
    const int64_t rows = out.shape.size() > 1 ? out.shape[out.shape.size() - 2] : 1;
    const bool one = b.shape.size() == 2;  // for all products
    for (size_t i = 0; i < out.values.size(); ++i) {
      const int64_t row = static_cast<int64_t>(i) / columns;
      const int64_t column = static_cast<int64_t>(i) % columns;
      const int64_t first = one ? 0 : row / rows * depth * columns;
      double sum = Has(node, 2) ? In(node, 2).values[column] : 0;
      for (int64_t k = 0; k < depth; ++k) {
        sum += a.values[row * depth + k] *
               b.values[first + (turned ? column * depth + k : k * columns + column)];
      }
      out.values[i] = sum;
    }
  }

  void LayerNorm(const Node& node, Numbers& out) {
    const auto columns = static_cast<size_t>(out.shape.back());
    for (size_t row = 0; row < out.values.size(); row += columns) {
      const auto* x = &In(node, 0).values[row];
      double mean = 0, variance = 0;
      for (size_t i = 0; i < columns; ++i) mean += x[i] / columns;
      for (size_t i = 0; i < columns; ++i) variance += (x[i] - mean) * (x[i] - mean) / columns;
      for (size_t i = 0; i < columns; ++i) {
        out.values[row + i] = (x[i] - mean) /
                                  std::sqrt(variance + node.GetFloat("epsilon", 1e-5f)) *
                                  In(node, 1).values[i] +
                              In(node, 2).values[i];
      }
    }
  }

  // Over one axis.
  void Mean(const Node& node, Numbers& out) {
    const Numbers& x = In(node, 0);
    const auto axes = node.GetInts("axes", {});
    const auto axis = static_cast<int64_t>(Has(node, 1) ? In(node, 1).values.at(0) : axes.at(0));
    int64_t inner = 1;
    for (size_t i = static_cast<size_t>(axis) + 1; i < x.shape.size(); ++i) inner *= x.shape[i];
    for (size_t i = 0; i < out.values.size(); ++i) {
      const int64_t at = static_cast<int64_t>(i);
      for (int64_t k = 0; k < x.shape[axis]; ++k) {
        out.values[i] += x.values[(at / inner * x.shape[axis] + k) * inner + at % inner] /
                         static_cast<double>(x.shape[axis]);
      }
    }
  }

  void Gather(const Node& node, Numbers& out) {
    const Numbers &table = In(node, 0), &index = In(node, 1);
    const size_t columns = table.values.size() / static_cast<size_t>(table.shape[0]);
    for (size_t i = 0; i < out.values.size(); ++i) {
      const double row =
          index.values[i / columns] + (index.values[i / columns] < 0 ? table.shape[0] : 0);
      out.values[i] = table.values[static_cast<size_t>(row) * columns + i % columns];
    }
  }

  // All parts; the first is `out`.
  void Split(const Node& node, Numbers& out) {
    const Numbers& x = In(node, 0);
    const auto axis =
        static_cast<size_t>((node.GetInt("axis", 0) + static_cast<int64_t>(x.shape.size())) %
                            static_cast<int64_t>(x.shape.size()));
    int64_t inner = 1, first = 0;
    for (size_t i = axis + 1; i < x.shape.size(); ++i) inner *= x.shape[i];
    for (const ValueId id : node.outputs) {
      Numbers part{*graph_.value(id).shape, {}};
      const int64_t run = part.shape[axis] * inner, whole = x.shape[axis] * inner;
      for (int64_t i = 0; i < Count(part.shape); ++i) {
        part.values.push_back(x.values[i / run * whole + first * inner + i % run]);
      }
      first += part.shape[axis];
      if (id == node.outputs[0]) out = part;
      values_[id] = std::move(part);
    }
  }

  void Norm(const Node& node, Numbers& out) {
    const int64_t inner = Count(out.shape) / out.shape[0] / out.shape[1];
    for (size_t i = 0; i < out.values.size(); ++i) {
      const size_t c = i / inner % out.shape[1];
      out.values[i] = (In(node, 0).values[i] - In(node, 3).values[c]) /
                          std::sqrt(In(node, 4).values[c] + node.GetFloat("epsilon", 1e-5f)) *
                          In(node, 1).values[c] +
                      In(node, 2).values[c];
    }
  }

  void Pool(const Node& node, Numbers& out) {
    const Numbers& x = In(node, 0);
    const bool all = node.op == "GlobalAveragePool", max = node.op == "MaxPool";
    const auto kernel = node.GetInts("kernel_shape", {x.shape[2], x.shape[3]});
    const auto strides = node.GetInts("strides", {1, 1}), pads = node.GetInts("pads", {0, 0, 0, 0});
    const bool count_all = node.GetInt("count_include_pad", 0) != 0 && !all;
    for (size_t i = 0; i < out.values.size(); ++i) {
      const int64_t at = static_cast<int64_t>(i);
      const int64_t plane = at / (out.shape[2] * out.shape[3]);
      double sum = 0, most = -INFINITY, count = 0;
      for (int64_t k = 0; k < kernel[0] * kernel[1]; ++k) {
        const int64_t y = at / out.shape[3] % out.shape[2] * strides[0] - pads[0] + k / kernel[1];
        const int64_t z = at % out.shape[3] * strides[1] - pads[1] + k % kernel[1];
        if (y < 0 || z < 0 || y >= x.shape[2] || z >= x.shape[3]) continue;
        const double value = x.values[(plane * x.shape[2] + y) * x.shape[3] + z];
        sum += value;
        most = std::max(most, value);
        ++count;
      }
      if (count_all) count = static_cast<double>(kernel[0] * kernel[1]);
      out.values[i] = max ? most : sum / count;
    }
  }

  void Concat(const Node& node, Numbers& out) {
    const auto axis = static_cast<size_t>(node.GetInt("axis", 0));
    int64_t outer = 1;
    for (size_t i = 0; i < axis; ++i) outer *= out.shape[i];
    size_t at = 0;
    for (int64_t row = 0; row < outer; ++row) {
      for (size_t i = 0; i < node.inputs.size(); ++i) {
        const Numbers& part = In(node, i);
        const int64_t columns = Count(part.shape) / outer;
        for (int64_t c = 0; c < columns; ++c) out.values[at++] = part.values[row * columns + c];
      }
    }
  }

  void Transpose(const Node& node, Numbers& out) {
    const Numbers& x = In(node, 0);
    const auto order = node.GetInts("perm", {});
    Shape strides(order.size(), 1);
    for (size_t i = order.size() - 1; i-- > 0;) strides[i] = strides[i + 1] * x.shape[i + 1];
    for (size_t i = 0; i < out.values.size(); ++i) {
      int64_t left = static_cast<int64_t>(i), place = 0;
      for (size_t axis = order.size(); axis-- > 0;) {
        place += left % out.shape[axis] * strides[order[axis]];
        left /= out.shape[axis];
      }
      out.values[i] = x.values[place];
    }
  }

  void Softmax(const Node& node, Numbers& out) {
    const auto columns = static_cast<size_t>(out.shape.back());
    for (size_t row = 0; row < out.values.size(); row += columns) {
      const auto* x = &In(node, 0).values[row];
      const double most = *std::max_element(x, x + columns);
      double sum = 0;
      for (size_t i = 0; i < columns; ++i) sum += std::exp(x[i] - most);
      for (size_t i = 0; i < columns; ++i) out.values[row + i] = std::exp(x[i] - most) / sum;
    }
  }

  // With numpy's broadcasting.
  bool Binary(const Node& node, Numbers& out) {
    static const std::map<std::string, std::function<double(double, double)>> kOperations = {
        {"Add", std::plus<double>()},
        {"Sub", std::minus<double>()},
        {"Mul", std::multiplies<double>()},
        {"Div", std::divides<double>()},
        {"Pow", [](double x, double y) { return std::pow(x, y); }}};
    const auto operation = kOperations.find(node.op);
    if (operation == kOperations.end()) return false;
    const auto place = [&](const Numbers& from, int64_t i) {
      int64_t at = 0, stride = 1;
      for (size_t axis = 0; axis < from.shape.size(); ++axis) {
        const size_t back = from.shape.size() - 1 - axis;
        const int64_t extent = out.shape[out.shape.size() - 1 - axis];
        if (from.shape[back] > 1) at += i % extent * stride;
        i /= extent;
        stride *= from.shape[back];
      }
      return static_cast<size_t>(at);
    };
    for (size_t i = 0; i < out.values.size(); ++i) {
      const auto at = static_cast<int64_t>(i);
      out.values[i] = operation->second(In(node, 0).values[place(In(node, 0), at)],
                                        In(node, 1).values[place(In(node, 1), at)]);
    }
    return true;
  }

  void Unary(const Node& node, Numbers& out) {
    for (size_t i = 0; i < out.values.size(); ++i) {
      const double x = In(node, 0).values[i];
      double& y = out.values[i];
      if (node.op == "Relu") {
        y = x > 0 ? x : 0;
      } else if (node.op == "Sigmoid") {
        y = 1 / (1 + std::exp(-x));
      } else if (node.op == "SiLU") {
        y = x / (1 + std::exp(-x));
      } else if (node.op == "HardSigmoid") {
        y = std::clamp(node.GetFloat("alpha", 0.2f) * x + node.GetFloat("beta", 0.5f), 0.0, 1.0);
      } else if (node.op == "Gelu") {
        y = 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
      } else if (node.op == "HardSwish") {
        y = x * std::clamp(x / 6 + 0.5, 0.0, 1.0);
      } else if (node.op == "Clip") {
        y = std::clamp(x, In(node, 1).values[0], In(node, 2).values[0]);
      } else {
        throw std::runtime_error("the reference knows no " + node.op);
      }
    }
  }

  const Graph& graph_;
  std::map<ValueId, Numbers> values_;
};

}  // namespace

std::vector<Numbers> Evaluate(const Graph& graph, const std::vector<Numbers>& inputs) {
  return Evaluator(graph).Run(inputs);
}

}  // namespace ds::testing
