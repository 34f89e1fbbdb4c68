// Products of vectors and of other forms as products of matrices; Einsum as products, sums and
// transposes.
#include <algorithm>
#include <string>
#include <vector>

#include "deploy/engine/compile/decompose/rewriter.h"

namespace ds::engine::compile {
namespace {

bool MatMulOfVectors(Rewriter& to) {
  const Shape a = to.ShapeIn(0), b = to.ShapeIn(1);
  if (a.size() >= 2 && b.size() >= 2) return false;
  const ValueId first = a.size() == 1 ? to.Reshape(to.In(0), {1, a[0]}) : to.In(0);
  const ValueId second = b.size() == 1 ? to.Reshape(to.In(1), {b[0], 1}) : to.In(1);
  to.FinishReshape(to.Op("MatMul", {first, second}));
  return true;
}

// What is no product of rows with a constant matrix and one constant a column.
bool Gemm(Rewriter& to) {
  const Node node = to.node();
  const Shape result = to.ShapeOut();
  const int64_t addends = to.Has(2) ? Product(to.ShapeIn(2), 0, to.ShapeIn(2).size()) : 1;
  const bool a_column =
      !to.Has(2) || (to.IsWeight(2) &&
                     (addends == 1 || (addends == result[1] && to.ShapeIn(2).back() == addends)));
  if (node.GetInt("transA", 0) == 0 && to.IsWeight(1) && a_column) return false;
  const auto turned = [&](ValueId x, const char* flag) {
    if (node.GetInt(flag, 0) == 0) return x;
    return to.Op("Transpose", {x}, {{"perm", std::vector<int64_t>{1, 0}}});
  };
  ValueId y = to.Op("MatMul", {turned(to.In(0), "transA"), turned(to.In(1), "transB")});
  const float alpha = node.GetFloat("alpha", 1), beta = node.GetFloat("beta", 1);
  if (alpha != 1) y = to.Op("Mul", {y, to.Number(alpha)});
  if (to.Has(2)) {
    const ValueId addend = beta == 1 ? to.In(2) : to.Op("Mul", {to.In(2), to.Number(beta)});
    to.Finish("Add", {y, addend});
  } else {
    to.Finish("Identity", {y});
  }
  return true;
}

// An operand of an Einsum: its letters, one an axis.
struct Term {
  ValueId value;
  std::string letters;
  Shape extents;

  int64_t Extent(char letter) const { return extents[letters.find(letter)]; }
  bool Has(char letter) const { return letters.find(letter) != std::string::npos; }
};

void SumOut(Rewriter& to, Term& term, char letter) {
  const size_t axis = term.letters.find(letter);
  term.value = to.Op("ReduceSum", {term.value, to.Ints({static_cast<int64_t>(axis)})},
                     {{"keepdims", int64_t{0}}});
  term.letters.erase(axis, 1);
  term.extents.erase(term.extents.begin() + static_cast<int64_t>(axis));
}

void Arrange(Rewriter& to, Term& term, const std::string& letters) {
  if (term.letters == letters) return;
  std::vector<int64_t> order;
  Shape extents;
  for (const char letter : letters) {
    order.push_back(static_cast<int64_t>(term.letters.find(letter)));
    extents.push_back(term.Extent(letter));
  }
  term = {to.Op("Transpose", {term.value}, {{"perm", order}}), letters, extents};
}

int64_t Extents(const Term& term, const std::string& letters) {
  int64_t product = 1;
  for (const char letter : letters) product *= term.Extent(letter);
  return product;
}

Term Multiply(Rewriter& to, Term a, Term b, const std::string& needed) {
  std::string both, depth, left, right;
  for (const char letter : a.letters) {
    const bool kept = needed.find(letter) != std::string::npos;
    (b.Has(letter) ? (kept ? both : depth) : left) += letter;
  }
  for (const char letter : b.letters) {
    if (!a.Has(letter)) right += letter;
  }
  Arrange(to, a, both + left + depth);
  Arrange(to, b, both + depth + right);
  const int64_t batch = Extents(a, both), inner = Extents(a, depth);
  const ValueId product = to.Op("MatMul", {to.Reshape(a.value, {batch, Extents(a, left), inner}),
                                           to.Reshape(b.value, {batch, inner, Extents(b, right)})});
  Term result{kNoValue, both + left + right, {}};
  for (const char letter : both + left) result.extents.push_back(a.Extent(letter));
  for (const char letter : right) result.extents.push_back(b.Extent(letter));
  result.value = to.Reshape(product, result.extents);
  return result;
}

// Without repeated letters in a term; "..." only where all terms have as many axes under it.
bool Einsum(Rewriter& to) {
  std::string equation = to.node().GetString("equation", "");
  std::erase(equation, ' ');
  const size_t arrow = equation.find("->");
  std::vector<std::string> parts(1);
  for (const char c : equation.substr(0, arrow)) {
    if (c == ',') {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  if (parts.size() != to.node().inputs.size() || !to.ReadsFloats()) return false;
  std::string under;  // letters for what "..." stands for
  std::vector<Term> terms;
  for (size_t i = 0; i < parts.size(); ++i) {
    const Shape shape = to.ShapeIn(i);
    if (const size_t dots = parts[i].find("..."); dots != std::string::npos) {
      std::string letters;
      for (size_t n = parts[i].size() - 3; n < shape.size(); ++n) {
        letters += static_cast<char>('0' + letters.size());
      }
      if (!under.empty() && letters != under) return false;
      under = letters;
      parts[i].replace(dots, 3, letters);
    }
    if (parts[i].size() != shape.size()) return false;
    for (const char c : parts[i]) {
      if (std::count(parts[i].begin(), parts[i].end(), c) != 1) return false;
    }
    terms.push_back({to.In(i), parts[i], shape});
  }
  std::string result;
  if (arrow != std::string::npos) {
    result = equation.substr(arrow + 2);
    if (const size_t dots = result.find("..."); dots != std::string::npos) {
      result.replace(dots, 3, under);
    }
  } else {
    std::string all;
    for (const std::string& part : parts) all += part;
    for (char c = 'A'; c <= 'z'; ++c) {
      if (std::count(all.begin(), all.end(), c) == 1) result += c;
    }
    result = under + result;
  }
  // Equal letters of unlike extents would broadcast.
  for (const Term& a : terms) {
    for (const Term& b : terms) {
      for (const char c : a.letters) {
        if (b.Has(c) && a.Extent(c) != b.Extent(c)) return false;
      }
    }
  }
  for (size_t i = 0; i < terms.size(); ++i) {
    const std::string letters = terms[i].letters;
    for (const char c : letters) {
      bool needed = result.find(c) != std::string::npos;
      for (size_t j = 0; j < terms.size(); ++j) needed |= j != i && terms[j].Has(c);
      if (!needed) SumOut(to, terms[i], c);
    }
  }
  Term sum = terms[0];
  for (size_t i = 1; i < terms.size(); ++i) {
    std::string needed = result;
    for (size_t j = i + 1; j < terms.size(); ++j) needed += terms[j].letters;
    sum = Multiply(to, sum, terms[i], needed);
  }
  Arrange(to, sum, result);
  to.FinishReshape(sum.value);
  return true;
}

}  // namespace

bool DecomposeProduct(Rewriter& to) {
  const std::string& op = to.node().op;
  if (op == "MatMul") return MatMulOfVectors(to);
  if (op == "Gemm") return Gemm(to);
  if (op == "Einsum") return Einsum(to);
  return false;
}

}  // namespace ds::engine::compile
