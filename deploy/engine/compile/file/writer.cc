#include "deploy/engine/compile/file/writer.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "deploy/engine/runtime/file_view.h"
#include "deploy/engine/runtime/hash.h"
#include "deploy/engine/runtime/kernels/args.h"

namespace ds::engine::file {
namespace {

uint64_t Up(uint64_t value, uint64_t unit) { return (value + unit - 1) / unit * unit; }

// A section while it grows.
struct Section {
  SectionKind kind;
  uint32_t record_bytes;
  std::string bytes;
};

template <typename T>
void Append(std::string& to, const T& value) {
  to.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

// Names and stories, each stored once in the order of first use.
class Strings {
 public:
  uint32_t Add(std::string_view text) {
    const size_t at = bytes_.find(text);
    if (at != std::string::npos) return static_cast<uint32_t>(at);
    bytes_.append(text);
    return static_cast<uint32_t>(bytes_.size() - text.size());
  }
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

Tensor Record(const FileWriter::TensorSpec& spec, Strings& strings) {
  Tensor tensor = {};
  tensor.name = strings.Add(spec.name);
  tensor.name_bytes = static_cast<uint32_t>(spec.name.size());
  tensor.type = static_cast<uint8_t>(spec.type);
  tensor.rank = static_cast<uint8_t>(spec.dims.size());
  tensor.place = static_cast<uint8_t>(spec.place);
  std::copy(spec.dims.begin(), spec.dims.end(), tensor.dims);
  uint64_t rows = 1;
  for (size_t i = 0; i + 1 < spec.dims.size(); ++i) rows *= spec.dims[i];
  const uint64_t row =
      static_cast<uint64_t>(ElementBytes(tensor.type)) * (spec.dims.empty() ? 1 : spec.dims.back());
  tensor.row_bytes = spec.row_bytes != 0 ? spec.row_bytes : static_cast<uint32_t>(row);
  tensor.bytes = rows == 0 ? 0 : (rows - 1) * tensor.row_bytes + row;
  tensor.view_of = spec.view_of;
  tensor.offset = spec.offset;
  tensor.scale = spec.scale;
  tensor.zero_point = spec.zero_point;
  return tensor;
}

// The tables of a file, as bytes.
struct Tables {
  std::string tensors, operators, references, parameters, interface, plans;
  Strings strings;
};

Operator Record(const FileWriter::OperatorSpec& spec, Tables& tables) {
  Operator op = {};
  op.kind = static_cast<uint16_t>(spec.kind);
  op.input_count = static_cast<uint16_t>(spec.inputs.size());
  op.output_count = static_cast<uint16_t>(spec.outputs.size());
  op.constant_count = static_cast<uint16_t>(spec.constants.size());
  op.name = tables.strings.Add(spec.name);
  op.name_bytes = static_cast<uint32_t>(spec.name.size());
  op.references = static_cast<uint32_t>(tables.references.size() / 4);
  op.parameters = static_cast<uint32_t>(tables.parameters.size());
  op.parameters_bytes = static_cast<uint32_t>(spec.parameters.size());
  op.story = tables.strings.Add(spec.story);
  op.story_bytes = static_cast<uint32_t>(spec.story.size());
  op.macs = spec.macs;
  return op;
}

std::string_view Chars(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Header, records and sections; their hash is still to come.
std::string Join(Header header, const std::vector<Section>& sections) {
  std::string joined;
  Append(joined, header);
  uint64_t at = sizeof(Header) + sections.size() * sizeof(SectionRecord);
  for (const Section& section : sections) {
    Append(joined, SectionRecord{static_cast<uint32_t>(section.kind), section.record_bytes, at,
                                 section.bytes.size() / section.record_bytes, 0});
    at = Up(at + section.bytes.size(), 8);
  }
  for (const Section& section : sections) {
    joined += section.bytes;
    joined.resize(Up(joined.size(), 8));
  }
  return joined;
}

}  // namespace

uint32_t FileWriter::AddTensor(TensorSpec tensor) {
  tensors_.push_back(std::move(tensor));
  return static_cast<uint32_t>(tensors_.size() - 1 - plans_.back().first_tensor);
}

uint32_t FileWriter::Store(std::vector<std::byte> bytes, uint32_t kernels, uint32_t next) {
  for (size_t i = 0; i < constants_.size(); ++i) {
    const ConstantSpec& other = constants_[i];
    if (other.kernels == kernels && other.next == next && other.bytes == bytes)
      return static_cast<uint32_t>(i);
  }
  constants_.push_back({std::move(bytes), kernels, next});
  return static_cast<uint32_t>(constants_.size() - 1);
}

uint32_t FileWriter::AddConstant(std::span<const std::byte> bytes, uint32_t kernels) {
  return Store({bytes.begin(), bytes.end()}, kernels, kNone);
}

// A chain points onwards in the file, so that every walk ends: its links go from one instruction
// set's constants to a later one's.
uint32_t FileWriter::AddPackings(std::vector<Packing> packings) {
  std::stable_sort(packings.begin(), packings.end(), [](const Packing& a, const Packing& b) {
    return std::countr_zero(a.kernels) < std::countr_zero(b.kernels);
  });
  uint32_t next = kNone;
  for (auto it = packings.rbegin(); it != packings.rend(); ++it)
    next = Store(std::move(it->bytes), it->kernels, next);
  return next;
}

void FileWriter::AddOperator(OperatorSpec op) { operators_.push_back(std::move(op)); }

void FileWriter::SetInterface(std::vector<uint32_t> inputs, std::vector<uint32_t> outputs) {
  plans_.back().inputs = std::move(inputs);
  plans_.back().outputs = std::move(outputs);
}

int FileWriter::GroupOf(uint32_t constant) const {
  const uint32_t kernels = constants_[constant].kernels;
  return kernels == kAllKernels ? -1 : std::countr_zero(kernels);
}

// Those of all instruction sets, then each set's, in the order in which operators first use them.
std::vector<uint32_t> FileWriter::FileOrder() const {
  std::vector<uint32_t> order;
  std::vector<bool> there(constants_.size(), false);
  const auto add = [&](uint32_t id) {
    for (; id != kNone; id = constants_[id].next) {
      if (!there[id]) order.push_back(id);
      there[id] = true;
    }
  };
  for (size_t i = 0; i < plans_.size(); ++i) {
    const size_t end = i + 1 < plans_.size() ? plans_[i + 1].first_operator : operators_.size();
    for (size_t op = plans_[i].first_operator; op < end; ++op) {
      for (const uint32_t id : operators_[op].inputs) {
        const TensorSpec& tensor = tensors_[plans_[i].first_tensor + id];
        if (tensor.place == Place::kConstant) add(static_cast<uint32_t>(tensor.offset));
      }
      for (const uint32_t id : operators_[op].constants) add(id);
    }
  }
  for (uint32_t id = 0; id < constants_.size(); ++id) add(id);
  std::stable_sort(order.begin(), order.end(),
                   [&](uint32_t a, uint32_t b) { return GroupOf(a) < GroupOf(b); });
  return order;
}

std::string FileWriter::Bytes() const {
  const std::vector<uint32_t> order = FileOrder();
  std::vector<uint32_t> numbers(order.size());
  for (size_t i = 0; i < order.size(); ++i) numbers[order[i]] = static_cast<uint32_t>(i);
  const auto number = [&](uint32_t id) { return id == kNone ? kNone : numbers[id]; };
  Tables tables;
  for (const TensorSpec& spec : tensors_) {
    Tensor tensor = Record(spec, tables.strings);
    if (spec.place == Place::kConstant) tensor.offset = number(static_cast<uint32_t>(spec.offset));
    Append(tables.tensors, tensor);
  }
  for (const OperatorSpec& spec : operators_) {
    Append(tables.operators, Record(spec, tables));
    for (const uint32_t id : spec.inputs) Append(tables.references, id);
    for (const uint32_t id : spec.outputs) Append(tables.references, id);
    for (const uint32_t id : spec.constants) Append(tables.references, number(id));
    tables.parameters += Chars(spec.parameters);
    tables.parameters.resize(Up(tables.parameters.size(), 8));
  }
  for (size_t i = 0; i < plans_.size(); ++i) {
    const PlanSpec& plan = plans_[i];
    for (const uint32_t id : plan.inputs) Append(tables.interface, id);
    for (const uint32_t id : plan.outputs) Append(tables.interface, id);
    const bool last = i + 1 == plans_.size();
    const size_t tensors_end = last ? tensors_.size() : plans_[i + 1].first_tensor;
    const size_t operators_end = last ? operators_.size() : plans_[i + 1].first_operator;
    const auto count = [](size_t value) { return static_cast<uint32_t>(value); };
    Append(tables.plans,
           Plan{count(plan.first_tensor), count(tensors_end - plan.first_tensor),
                count(plan.first_operator), count(operators_end - plan.first_operator),
                plan.arena.bytes, plan.arena.bound_bytes, plan.arena.unplanned_bytes});
  }
  std::vector<Section> sections = {
      {SectionKind::kPlans, sizeof(Plan), std::move(tables.plans)},
      {SectionKind::kTensors, sizeof(Tensor), std::move(tables.tensors)},
      {SectionKind::kOperators, sizeof(Operator), std::move(tables.operators)},
      {SectionKind::kReferences, 4, std::move(tables.references)},
      {SectionKind::kParameters, 1, std::move(tables.parameters)},
      {SectionKind::kInterface, 4, std::move(tables.interface)},
      {SectionKind::kStrings, 1, tables.strings.bytes()},
      {SectionKind::kConstants, sizeof(Constant),
       std::string(constants_.size() * sizeof(Constant), '\0')}};

  Header header = {};
  std::memcpy(header.magic, kMagic, sizeof(kMagic));
  header.version = kVersion;
  header.header_bytes = sizeof(Header);
  header.section_count = static_cast<uint32_t>(sections.size());
  header.input_count = static_cast<uint32_t>(plans_.front().inputs.size());
  header.output_count = static_cast<uint32_t>(plans_.front().outputs.size());
  header.tables_bytes = Join(header, sections).size();

  // Only now the weights' places are known.
  std::string file(Up(header.tables_bytes, kAlignment), '\0');
  sections.back().bytes.clear();
  for (size_t i = 0; i < order.size(); ++i) {
    // What one instruction set alone reads shares no page with what another one does.
    if (i > 0 && GroupOf(order[i - 1]) >= 0 && GroupOf(order[i]) != GroupOf(order[i - 1]))
      file.resize(Up(file.size(), kPage));
    const ConstantSpec& spec = constants_[order[i]];
    Append(sections.back().bytes,
           Constant{file.size(), spec.bytes.size(), spec.kernels, number(spec.next), 0});
    file += Chars(spec.bytes);
    file.resize(Up(file.size(), kAlignment));
  }
  file.resize(file.size() + kReadSlack);
  header.file_bytes = file.size();
  header.weights_hash =
      Hash64(file.data() + header.tables_bytes, file.size() - header.tables_bytes);
  std::string joined = Join(header, sections);
  header.tables_hash = TablesHash(std::as_bytes(std::span(joined)));
  std::memcpy(joined.data(), &header, sizeof(header));
  file.replace(0, joined.size(), joined);
  return file;
}

}  // namespace ds::engine::file
