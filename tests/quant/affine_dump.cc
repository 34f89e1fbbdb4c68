// For affine_onnx_test.py: quantises what comes on standard input.
//
//   affine_dump BITS SIGNED AXIS GROUP EXTENT... <values,scales,zero points >codes,reals
//
// Raw little-endian arrays: float32 values of the shape, as many scales as it needs and int32 zero
// points; then int32 codes, and float32 reals that they stand for.
#include <cstdio>
#include <cstdlib>
#include <string>

#include "quant/affine.h"

namespace {

template <typename T>
bool Read(std::vector<T>& values) {
  return std::fread(values.data(), sizeof(T), values.size(), stdin) == values.size();
}

template <typename T>
bool Write(const std::vector<T>& values) {
  return std::fwrite(values.data(), sizeof(T), values.size(), stdout) == values.size();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) return 2;
  ds::QuantParams params;
  params.type = {.bits = std::atoi(argv[1]), .is_signed = std::atoi(argv[2]) != 0};
  params.axis = std::atoi(argv[3]);
  params.group = std::atoll(argv[4]);
  ds::Shape shape;
  for (int i = 5; i < argc; ++i) shape.push_back(std::atoll(argv[i]));
  const auto count = static_cast<size_t>(*ds::NumElements(shape));
  std::vector<float> values(count), reals(count);
  std::vector<int32_t> codes(count);
  params.scales.resize(static_cast<size_t>(*ds::NumElements(ds::ScaleShape(params, shape))));
  params.zero_points.resize(params.scales.size());
  if (!Read(values) || !Read(params.scales) || !Read(params.zero_points)) return 3;
  const absl::Status status = ds::CheckParams(params, shape);
  if (!status.ok()) {
    std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
    return 4;
  }
  ds::QuantizeValues(values, shape, params, absl::MakeSpan(codes));
  ds::DequantizeValues(codes, shape, params, absl::MakeSpan(reals));
  return Write(codes) && Write(reals) ? 0 : 5;
}
