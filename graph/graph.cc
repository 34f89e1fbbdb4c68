#include "graph/graph.h"

#include <algorithm>
#include <climits>
#include <set>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "graph/schema/schema.h"

namespace ds {

namespace {

template <typename T>
T GetOr(const Node& node, const std::string& key, T fallback) {
  auto it = node.attributes.find(key);
  if (it == node.attributes.end()) return fallback;
  const T* held = std::get_if<T>(&it->second);
  DS_CHECK(held != nullptr) << "attribute " << key << " of node " << node.name << " (" << node.op
                            << ") has another type";
  return *held;
}

}  // namespace

int64_t Node::GetInt(const std::string& key, int64_t fallback) const {
  return GetOr<int64_t>(*this, key, fallback);
}

float Node::GetFloat(const std::string& key, float fallback) const {
  return GetOr<float>(*this, key, fallback);
}

std::string Node::GetString(const std::string& key, std::string fallback) const {
  return GetOr<std::string>(*this, key, std::move(fallback));
}

std::vector<int64_t> Node::GetInts(const std::string& key, std::vector<int64_t> fallback) const {
  return GetOr<std::vector<int64_t>>(*this, key, std::move(fallback));
}

ValueId Graph::AddValue(std::string name, DType dtype, std::optional<Shape> shape) {
  const auto id = static_cast<ValueId>(values_.size());
  if (name.empty() || by_name_.contains(name)) {
    const std::string stem = name.empty() ? "value" : name;
    // Starts at the id, so that a thousand values of one stem do not cost a million look-ups.
    for (int64_t suffix = id; name.empty() || by_name_.contains(name); ++suffix) {
      name = absl::StrCat(stem, "_", suffix);
    }
  }
  by_name_.emplace(name, id);
  values_.push_back({.name = std::move(name), .dtype = dtype, .shape = std::move(shape)});
  return id;
}

ValueId Graph::AddInput(std::string name, DType dtype, Shape shape) {
  const ValueId id = AddValue(std::move(name), dtype, std::move(shape));
  inputs_.push_back(id);
  return id;
}

ValueId Graph::AddInitializer(std::string name, Tensor data, bool trainable) {
  const ValueId id = AddValue(std::move(name), data.dtype(), data.shape());
  initializers_.emplace(id, Initializer{.data = std::move(data), .trainable = trainable});
  return id;
}

int Graph::AddNode(Node node) {
  nodes_.push_back(std::move(node));
  return static_cast<int>(nodes_.size()) - 1;
}

const Tensor* Graph::Constant(ValueId id) const {
  auto it = initializers_.find(id);
  return it == initializers_.end() ? nullptr : &it->second.data;
}

ValueId Graph::FindValue(absl::string_view name) const {
  auto it = by_name_.find(name);
  return it == by_name_.end() ? kNoValue : it->second;
}

int Graph::Producer(ValueId id) const {
  for (size_t i = 0; i < nodes_.size(); ++i) {
    const auto& outputs = nodes_[i].outputs;
    if (std::find(outputs.begin(), outputs.end(), id) != outputs.end()) return static_cast<int>(i);
  }
  return -1;
}

std::vector<int> Graph::Consumers(ValueId id) const {
  std::vector<int> consumers;
  for (size_t i = 0; i < nodes_.size(); ++i) {
    const auto& inputs = nodes_[i].inputs;
    if (std::find(inputs.begin(), inputs.end(), id) != inputs.end()) {
      consumers.push_back(static_cast<int>(i));
    }
  }
  return consumers;
}

void Graph::RenameValue(ValueId id, std::string name) {
  Value& value = mutable_value(id);
  if (value.name == name) return;
  DS_CHECK(!name.empty() && !by_name_.contains(name)) << "the name '" << name << "' is taken";
  by_name_.erase(value.name);
  by_name_.emplace(name, id);
  value.name = std::move(name);
}

void Graph::ReplaceUses(ValueId from, ValueId to) {
  for (Node& node : nodes_) std::replace(node.inputs.begin(), node.inputs.end(), from, to);
  std::replace(outputs_.begin(), outputs_.end(), from, to);
}

absl::Status Graph::SortTopologically() {
  const size_t count = nodes_.size();
  std::vector<int> producer(values_.size(), -1);
  for (size_t i = 0; i < count; ++i) {
    for (ValueId id : nodes_[i].outputs) {
      if (id >= 0 && static_cast<size_t>(id) < values_.size()) producer[id] = static_cast<int>(i);
    }
  }
  std::vector<std::vector<int>> users(count);
  std::vector<int> waiting(count, 0);
  for (size_t i = 0; i < count; ++i) {
    for (ValueId id : nodes_[i].inputs) {
      if (id < 0 || static_cast<size_t>(id) >= values_.size() || producer[id] < 0) continue;
      users[producer[id]].push_back(static_cast<int>(i));
      ++waiting[i];
    }
  }
  // The lowest index that is ready goes first: an order that is already right stays as it is.
  std::set<int> ready;
  for (size_t i = 0; i < count; ++i) {
    if (waiting[i] == 0) ready.insert(static_cast<int>(i));
  }
  std::vector<Node> sorted;
  sorted.reserve(count);
  std::vector<bool> done(count, false);
  std::vector<int> order;
  while (!ready.empty()) {
    const int next = *ready.begin();
    ready.erase(ready.begin());
    done[next] = true;
    order.push_back(next);
    for (int user : users[next]) {
      if (--waiting[user] == 0) ready.insert(user);
    }
  }
  if (order.size() != count) {
    const size_t stuck = std::find(done.begin(), done.end(), false) - done.begin();
    return absl::InvalidArgumentError(
        absl::StrCat("the graph '", name, "' has a cycle through node '", nodes_[stuck].name, "' (",
                     nodes_[stuck].op, "); a network must be acyclic, so unroll the loop"));
  }
  for (int index : order) sorted.push_back(std::move(nodes_[index]));
  nodes_ = std::move(sorted);
  return absl::OkStatus();
}

int64_t Graph::ParameterCount() const {
  int64_t count = 0;
  for (const auto& [id, initializer] : initializers_) {
    if (initializer.trainable) count += initializer.data.num_elements();
  }
  return count;
}

}  // namespace ds
