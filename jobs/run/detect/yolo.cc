#include "jobs/run/detect/yolo.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/status.h"

namespace ds {
namespace {

constexpr int64_t kBoxNumbers = 4;
constexpr int64_t kWithObjectness = 5;

std::vector<std::vector<float>> DefaultAnchors() {
  return {{10, 13, 16, 30, 33, 23}, {30, 61, 62, 45, 59, 119}, {116, 90, 156, 198, 373, 326}};
}

float Sigmoid(float x) { return 1 / (1 + std::exp(-x)); }

// The numbers of one box, `stride` elements apart.
struct Cell {
  const float* first;
  int64_t stride;
  float operator[](int64_t i) const { return first[i * stride]; }
};

// The best of `count` class scores from `first` on; of equal ones the first.
std::pair<int64_t, float> Best(Cell cell, int64_t first, int64_t count) {
  std::pair<int64_t, float> best{0, cell[first]};
  for (int64_t c = 1; c < count; ++c) {
    if (cell[first + c] > best.second) best = {c, cell[first + c]};
  }
  return best;
}

void Add(float x, float y, float width, float height, float score, int64_t label, float least,
         std::vector<Box>& boxes) {
  const Box box{x - width / 2, y - height / 2, x + width / 2, y + height / 2, score, label};
  const bool finite = std::isfinite(box.x0) && std::isfinite(box.y0) && std::isfinite(box.x1) &&
                      std::isfinite(box.y1);
  if (score > least && finite) boxes.push_back(box);
}

absl::Status NotOfForm(absl::Span<const YoloOutput> outputs, absl::string_view expected) {
  std::vector<std::string> shapes;
  for (const YoloOutput& output : outputs)
    shapes.push_back(absl::StrCat("[", absl::StrJoin(output.dims, ", "), "]"));
  return absl::InvalidArgumentError(
      absl::StrCat("the model's outputs are ", absl::StrJoin(shapes, ", "), "; ", expected));
}

bool IsHead(const YoloOutput& output) { return output.dims.size() == 4 || output.dims.size() == 5; }

absl::StatusOr<YoloForm> FormOf(absl::Span<const YoloOutput> outputs) {
  const YoloOutput& first = outputs.front();
  if (first.dims.size() == 3 && first.dims[1] != first.dims[2])
    return first.dims[1] < first.dims[2] ? YoloForm::kYolov8 : YoloForm::kYolov5;
  if (std::all_of(outputs.begin(), outputs.end(), IsHead)) return YoloForm::kYolov5Heads;
  return NotOfForm(outputs,
                   "a detector's are [1, N, 5 + C], [1, 4 + C, N], or [1, A, H, W, 5 + C] or "
                   "[1, A * (5 + C), H, W] for each grid; where they are ambiguous, give "
                   "--detector");
}

absl::StatusOr<std::vector<Box>> DecodeRows(absl::Span<const YoloOutput> outputs,
                                            const YoloOptions& options, bool objectness) {
  const YoloOutput& output = outputs.front();
  const int64_t numbers = objectness ? kWithObjectness : kBoxNumbers;
  const bool three = output.dims.size() == 3 && output.dims[0] == 1;
  const int64_t extent = three ? output.dims[objectness ? 2 : 1] : 0;
  if (extent <= numbers) {
    return NotOfForm(outputs,
                     objectness ? "yolov5's first one is [1, N, 5 + C]: centre, size, objectness, "
                                  "at least one class"
                                : "yolov8's first one is [1, 4 + C, N]: centre, size, at least one "
                                  "class");
  }
  const int64_t boxes = output.dims[objectness ? 1 : 2];
  std::vector<Box> found;
  for (int64_t i = 0; i < boxes; ++i) {
    const Cell cell = objectness ? Cell{&output.values[static_cast<size_t>(i * extent)], 1}
                                 : Cell{&output.values[static_cast<size_t>(i)], boxes};
    const float object = objectness ? cell[kBoxNumbers] : 1;
    if (!(object > options.least_score)) continue;
    const auto [label, score] = Best(cell, numbers, extent - numbers);
    Add(cell[0], cell[1], cell[2], cell[3], object * score, label, options.least_score, found);
  }
  return found;
}

// One output of a stride, its numbers by anchor, number and cell.
struct Grid {
  int64_t anchors, numbers, height, width;
  int64_t anchor_stride, number_stride, cell_stride;
  const float* values;
};

absl::StatusOr<Grid> GridOf(absl::Span<const YoloOutput> outputs, size_t index, int64_t anchors) {
  const YoloOutput& output = outputs[index];
  const auto& d = output.dims;
  if (d.size() == 5 && d[0] == 1 && d[1] == anchors && d[4] > kWithObjectness)
    return Grid{d[1], d[4], d[2], d[3], d[2] * d[3] * d[4], 1, d[4], output.values.data()};
  if (d.size() == 4 && d[0] == 1 && d[1] % anchors == 0 && d[1] / anchors > kWithObjectness) {
    const int64_t area = d[2] * d[3], numbers = d[1] / anchors;
    return Grid{anchors, numbers, d[2], d[3], numbers * area, area, 1, output.values.data()};
  }
  return NotOfForm(outputs, absl::StrCat("with ", anchors, " anchors a grid they would be [1, ",
                                         anchors, ", H, W, 5 + C] or [1, ", anchors,
                                         " * (5 + C), H, W], with at least one class"));
}

void DecodeGrid(const Grid& grid, absl::Span<const float> anchors, const ImageSize& input,
                const YoloOptions& options, std::vector<Box>& found) {
  const auto step_y = static_cast<float>(input.height) / static_cast<float>(grid.height);
  const auto step_x = static_cast<float>(input.width) / static_cast<float>(grid.width);
  for (int64_t a = 0; a < grid.anchors; ++a) {
    for (int64_t at = 0; at < grid.height * grid.width; ++at) {
      const Cell cell{grid.values + a * grid.anchor_stride + at * grid.cell_stride,
                      grid.number_stride};
      const float object = Sigmoid(cell[kBoxNumbers]);
      if (!(object > options.least_score)) continue;
      const auto [label, logit] = Best(cell, kWithObjectness, grid.numbers - kWithObjectness);
      const auto column = static_cast<float>(at % grid.width);
      const auto row = static_cast<float>(at / grid.width);
      const float width = 2 * Sigmoid(cell[2]), height = 2 * Sigmoid(cell[3]);
      Add((2 * Sigmoid(cell[0]) - 0.5F + column) * step_x,
          (2 * Sigmoid(cell[1]) - 0.5F + row) * step_y,
          width * width * anchors[static_cast<size_t>(2 * a)],
          height * height * anchors[static_cast<size_t>(2 * a + 1)], object * Sigmoid(logit), label,
          options.least_score, found);
    }
  }
}

absl::StatusOr<std::vector<Box>> DecodeHeads(absl::Span<const YoloOutput> outputs,
                                             const ImageSize& input, const YoloOptions& options) {
  const auto anchors = options.anchors.empty() ? DefaultAnchors() : options.anchors;
  if (outputs.size() != anchors.size()) {
    return NotOfForm(outputs, absl::StrCat("anchors are there for ", anchors.size(),
                                           " grids: give those of the model with --anchors"));
  }
  std::vector<std::pair<Grid, size_t>> grids;
  for (size_t i = 0; i < outputs.size(); ++i) {
    DS_ASSIGN_OR_RETURN(const Grid grid,
                        GridOf(outputs, i, static_cast<int64_t>(anchors[i].size() / 2)));
    grids.emplace_back(grid, i);
  }
  std::stable_sort(grids.begin(), grids.end(), [](const auto& a, const auto& b) {
    return a.first.height * a.first.width > b.first.height * b.first.width;
  });
  std::vector<Box> found;
  for (size_t i = 0; i < grids.size(); ++i) {
    if (static_cast<size_t>(grids[i].first.anchors) * 2 != anchors[i].size()) {
      return NotOfForm(outputs, "each grid has as many anchors as the list for its stride");
    }
    DecodeGrid(grids[i].first, anchors[i], input, options, found);
  }
  return found;
}

}  // namespace

absl::StatusOr<std::vector<Box>> DecodeYolo(absl::Span<const YoloOutput> outputs,
                                            const ImageSize& input, const YoloOptions& options) {
  if (outputs.empty()) return absl::InvalidArgumentError("the model has no outputs");
  for (const YoloOutput& output : outputs) {
    const int64_t count =
        std::accumulate(output.dims.begin(), output.dims.end(), int64_t{1}, std::multiplies<>());
    if (count != static_cast<int64_t>(output.values.size()))
      return absl::InternalError("an output's values are not as many as its dims say");
  }
  YoloForm form = options.form;
  if (form == YoloForm::kAuto) {
    DS_ASSIGN_OR_RETURN(form, FormOf(outputs));
  }
  if (form == YoloForm::kYolov5Heads) return DecodeHeads(outputs, input, options);
  return DecodeRows(outputs, options, form == YoloForm::kYolov5);
}

absl::StatusOr<std::vector<std::vector<float>>> ParseAnchors(absl::string_view text) {
  std::vector<std::vector<float>> grids;
  for (const absl::string_view grid : absl::StrSplit(text, ';')) {
    std::vector<float>& numbers = grids.emplace_back();
    for (const absl::string_view word : absl::StrSplit(grid, ',')) {
      float number = 0;
      if (!absl::SimpleAtof(word, &number) || !(number > 0) || !std::isfinite(number)) {
        return absl::InvalidArgumentError(
            absl::StrCat("--anchors has '", word, "': give positive pixels, for instance ",
                         "10,13,16,30,33,23;30,61,62,45,59,119;116,90,156,198,373,326"));
      }
      numbers.push_back(number);
    }
    if (numbers.size() % 2 != 0) {
      return absl::InvalidArgumentError(absl::StrCat("--anchors has ", numbers.size(),
                                                     " numbers in '", grid,
                                                     "': give width and height of each"));
    }
  }
  return grids;
}

}  // namespace ds
