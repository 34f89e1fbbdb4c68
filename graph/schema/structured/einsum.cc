// Einsum. Its equation is read as NumPy's einsum has it: letters name axes, "..." stands for any
// number of leading axes that broadcast, and without "->" the result has the letters that come
// once, in alphabetical order.
#include "graph/schema/structured/einsum.h"

#include <algorithm>
#include <climits>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/status.h"
#include "graph/schema/internal.h"

namespace ds::schema {

namespace {

struct Term {
  std::string before, after;  // letters on both sides of the ellipsis; all in `before` without one
  bool ellipsis = false;
};

absl::StatusOr<Term> ReadTerm(absl::string_view text) {
  Term term;
  const size_t dots = text.find("...");
  term.ellipsis = dots != absl::string_view::npos;
  term.before = std::string(text.substr(0, dots));
  if (term.ellipsis) term.after = std::string(text.substr(dots + 3));
  for (const char letter : term.before + term.after) {
    if (!absl::ascii_isalpha(static_cast<unsigned char>(letter))) {
      return absl::InvalidArgumentError(absl::StrCat("the equation's term '", std::string(text),
                                                     "' may hold letters and one '...' only"));
    }
  }
  return term;
}

absl::Status Bind(char letter, int64_t extent, std::map<char, int64_t>& extents) {
  auto [it, fresh] = extents.emplace(letter, extent);
  if (fresh || it->second == extent || IsDynamic(extent) || extent == 1) return absl::OkStatus();
  if (IsDynamic(it->second) || it->second == 1) {
    it->second = extent;
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat("the equation's axis '", std::string(1, letter),
                                                 "' has ", it->second, " and ", extent,
                                                 " elements"));
}

// Binds the letters of one input; its axes under the ellipsis broadcast into `leading`.
absl::Status BindInput(const Term& term, const Shape& shape, std::map<char, int64_t>& extents,
                       Shape& leading) {
  const size_t named = term.before.size() + term.after.size();
  if (shape.size() < named || (!term.ellipsis && shape.size() != named)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the equation names ", named, " axes of an input of shape ", ShapeString(shape)));
  }
  for (size_t i = 0; i < term.before.size(); ++i) {
    DS_RETURN_IF_ERROR(Bind(term.before[i], shape[i], extents));
  }
  const size_t tail = shape.size() - term.after.size();
  for (size_t i = 0; i < term.after.size(); ++i) {
    DS_RETURN_IF_ERROR(Bind(term.after[i], shape[tail + i], extents));
  }
  const auto middle =
      absl::MakeConstSpan(shape).subspan(term.before.size(), tail - term.before.size());
  DS_ASSIGN_OR_RETURN(leading, BroadcastShapes(leading, middle));
  return absl::OkStatus();
}

Term ImplicitResult(const std::vector<Term>& terms) {
  std::map<char, int> counts;
  Term result;
  for (const Term& term : terms) {
    for (const char letter : term.before + term.after) ++counts[letter];
    result.ellipsis = result.ellipsis || term.ellipsis;
  }
  std::string& letters = result.ellipsis ? result.after : result.before;
  for (const auto& [letter, count] : counts) {
    if (count == 1) letters += letter;
  }
  return result;
}

}  // namespace

absl::StatusOr<EinsumAxes> ReadEinsum(const InferenceContext& context) {
  std::string equation = context.node.GetString("equation", "");
  equation.erase(std::remove(equation.begin(), equation.end(), ' '), equation.end());
  const std::vector<std::string> sides = absl::StrSplit(equation, "->");
  const std::vector<std::string> inputs = absl::StrSplit(sides[0], ',');
  if (sides.size() > 2 || inputs.size() != context.node.inputs.size()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the equation has ", inputs.size(), " terms for ", context.node.inputs.size(), " inputs"));
  }
  std::vector<Term> terms;
  EinsumAxes axes;
  for (size_t i = 0; i < inputs.size(); ++i) {
    DS_ASSIGN_OR_RETURN(const Shape shape, context.InputShape(static_cast<int>(i)));
    DS_ASSIGN_OR_RETURN(Term term, ReadTerm(inputs[i]));
    DS_RETURN_IF_ERROR(BindInput(term, shape, axes.extents, axes.leading));
    terms.push_back(std::move(term));
  }
  Term result = ImplicitResult(terms);
  if (sides.size() == 2) {
    DS_ASSIGN_OR_RETURN(result, ReadTerm(sides[1]));
  }
  for (const std::string* letters : {&result.before, &result.after}) {
    if (letters == &result.after && result.ellipsis) {
      axes.output.insert(axes.output.end(), axes.leading.begin(), axes.leading.end());
    }
    for (const char letter : *letters) {
      const auto it = axes.extents.find(letter);
      if (it == axes.extents.end()) {
        return absl::InvalidArgumentError(absl::StrCat(
            "the equation's result names '", std::string(1, letter), "', which no input has"));
      }
      axes.output.push_back(it->second);
    }
  }
  return axes;
}

namespace {

Inferred InferEinsum(const InferenceContext& context) {
  DS_ASSIGN_OR_RETURN(EinsumAxes axes, ReadEinsum(context));
  return One(context.InputDType(0), std::move(axes.output));
}

}  // namespace

void AddEinsum(Table& table) {
  table.push_back(Op("Einsum", 1, INT_MAX, {Required(String("equation"))}, InferEinsum));
}

}  // namespace ds::schema
