#include "deploy/engine/runtime/file_view.h"

#include <cstring>
#include <string>

#include "deploy/engine/runtime/hash.h"
#include "deploy/engine/runtime/kernels/args.h"

namespace ds::engine {
namespace {

using file::Header;
using file::SectionKind;
using file::SectionRecord;

std::string Number(uint64_t value) { return std::to_string(value); }

Status CheckHeader(std::span<const std::byte> bytes) {
  if (bytes.size() < sizeof(Header)) {
    return Status::Error("the file has " + Number(bytes.size()) + " bytes; its header alone has " +
                         Number(sizeof(Header)));
  }
  const auto& header = *reinterpret_cast<const Header*>(bytes.data());
  if (std::memcmp(header.magic, file::kMagic, sizeof(file::kMagic)) != 0) {
    return Status::Error("this is no .dsm file: its first bytes are not the format's");
  }
  if (header.version != file::kVersion) {
    return Status::Error("the file is of format version " + Number(header.version) +
                         "; this engine reads version " + Number(file::kVersion) +
                         ": write it again with this build's ds_export");
  }
  if (header.header_bytes != sizeof(Header)) return Status::Error("header_bytes is not 128");
  if (header.file_bytes != bytes.size()) {
    return Status::Error("the header says " + Number(header.file_bytes) + " bytes, the file has " +
                         Number(bytes.size()) + ": it was cut off or added to");
  }
  if (header.section_count > file::kMaxSections) {
    return Status::Error("section_count is " + Number(header.section_count) + "; at most " +
                         Number(file::kMaxSections) + " are allowed");
  }
  const uint64_t least = sizeof(Header) + header.section_count * sizeof(SectionRecord);
  if (header.tables_bytes < least || header.tables_bytes > bytes.size()) {
    return Status::Error("tables_bytes is " + Number(header.tables_bytes) +
                         ", outside the file or smaller than its first tables");
  }
  for (const uint8_t byte : header.reserved) {
    if (byte != 0) return Status::Error("a reserved byte of the header is not 0");
  }
  if (TablesHash(bytes.first(header.tables_bytes)) != header.tables_hash) {
    return Status::Error("the tables' hash is wrong: the file is damaged; copy it again");
  }
  return {};
}

constexpr uint32_t kRecordBytes[file::kSectionKinds + 1] = {0,
                                                            1,
                                                            sizeof(file::Tensor),
                                                            sizeof(file::Operator),
                                                            4,
                                                            1,
                                                            sizeof(file::Constant),
                                                            4,
                                                            sizeof(file::Plan)};

// Finds each kind exactly once, in order and without overlap.
Status FindSections(std::span<const std::byte> bytes, const Header& header,
                    const SectionRecord** found) {
  const auto* records = reinterpret_cast<const SectionRecord*>(bytes.data() + sizeof(Header));
  uint64_t end = sizeof(Header) + header.section_count * sizeof(SectionRecord);
  for (uint32_t i = 0; i < header.section_count; ++i) {
    const SectionRecord& record = records[i];
    const std::string name = "section " + Number(i);
    if (record.kind == 0 || record.kind > file::kSectionKinds || record.reserved != 0) {
      return Status::Error(name + " is of a kind that the format does not have");
    }
    if (found[record.kind] != nullptr) return Status::Error(name + " is there twice");
    if (record.record_bytes != kRecordBytes[record.kind]) {
      return Status::Error(name + " has records of " + Number(record.record_bytes) +
                           " bytes, not " + Number(kRecordBytes[record.kind]));
    }
    if (record.offset % 8 != 0 || record.offset < end || record.offset > header.tables_bytes) {
      return Status::Error(name + " begins at " + Number(record.offset) +
                           ": unaligned, over another one or outside the tables");
    }
    if (record.count > (header.tables_bytes - record.offset) / record.record_bytes ||
        record.count > file::kNone) {
      return Status::Error(name + " has " + Number(record.count) +
                           " records: it leaves the tables");
    }
    end = record.offset + record.count * record.record_bytes;
    found[record.kind] = &record;
  }
  for (uint32_t kind = 1; kind <= file::kSectionKinds; ++kind) {
    if (found[kind] == nullptr)
      return Status::Error("section kind " + Number(kind) + " is missing");
  }
  return {};
}

template <typename T>
std::span<const T> Records(std::span<const std::byte> bytes, const SectionRecord* const* found,
                           SectionKind kind) {
  const SectionRecord& record = *found[static_cast<uint32_t>(kind)];
  return {reinterpret_cast<const T*>(bytes.data() + record.offset), record.count};
}

bool Inside(uint64_t begin, uint64_t count, uint64_t size) {
  return begin <= size && count <= size - begin;
}

Status CheckTensor(const FileView& view, const file::Tensor& tensor, const std::string& name) {
  if (!Inside(tensor.name, tensor.name_bytes, view.strings.size())) {
    return Status::Error(name + ": its name leaves the strings");
  }
  const int64_t element = ElementBytes(tensor.type);
  if (element == 0) return Status::Error(name + ": unknown element type");
  if (tensor.rank > file::kMaxRank) return Status::Error(name + ": more than six dims");
  if (tensor.reserved != 0 || tensor.reserved2 != 0) {
    return Status::Error(name + ": a reserved field is not 0");
  }
  // What callers may have and operators never see: they count on an element.
  const bool may_be_empty = (tensor.place == static_cast<uint8_t>(file::Place::kInput) ||
                             tensor.place == static_cast<uint8_t>(file::Place::kOutput)) &&
                            tensor.view_of == file::kNone;
  uint64_t rows = 1;
  for (int i = 0; i < file::kMaxRank; ++i) {
    const uint64_t dim = tensor.dims[i];
    if (i >= tensor.rank ? dim != 0 : (dim == 0 && !may_be_empty) || dim > INT32_MAX) {
      return Status::Error(name + ": dim " + Number(i) + " is " + Number(dim));
    }
    if (i + 1 < tensor.rank) rows *= dim;
    if (rows > INT32_MAX) return Status::Error(name + ": it has too many elements");
  }
  const uint64_t last = tensor.rank == 0 ? 1 : tensor.dims[tensor.rank - 1];
  const uint64_t row = last * element;
  if (rows * last > INT32_MAX || row > tensor.row_bytes) {
    return Status::Error(name + ": too many elements, or row_bytes too small");
  }
  const uint64_t bytes = rows == 0 ? 0 : (rows - 1) * tensor.row_bytes + row;
  if (tensor.bytes != bytes || tensor.bytes > INT64_MAX / 4) {
    return Status::Error(name + ": bytes is " + Number(tensor.bytes) + ", which its dims are not");
  }
  if (tensor.view_of == file::kNone && tensor.row_bytes != row) {
    return Status::Error(name + ": row_bytes is " + Number(tensor.row_bytes) + ", not its row's");
  }
  return {};
}

Status CheckPlace(const FileView& view, const file::Tensor& tensor, const std::string& name) {
  switch (static_cast<file::Place>(tensor.place)) {
    case file::Place::kArena:
      if (!Inside(tensor.offset, tensor.bytes, view.plan->arena_bytes)) {
        return Status::Error(name + ": it leaves the arena");
      }
      if (tensor.view_of == file::kNone && tensor.offset % file::kAlignment != 0) {
        return Status::Error(name + ": unaligned in the arena");
      }
      return {};
    case file::Place::kInput:
      if (tensor.offset < view.inputs.size()) return {};
      break;
    case file::Place::kOutput:
      if (tensor.offset < view.outputs.size()) return {};
      break;
    case file::Place::kConstant:
      if (tensor.offset < view.constants.size() && tensor.view_of == file::kNone &&
          view.constants[tensor.offset].bytes >= tensor.bytes) {
        return {};
      }
      break;
  }
  return Status::Error(name + ": its place is none that there is");
}

// The offset of a slice of an input or output is its tensor's number: only reshapes lie there.
Status CheckView(const FileView& view, const file::Tensor& tensor, const std::string& name) {
  if (tensor.view_of >= view.tensors.size()) return Status::Error(name + ": a view of no tensor");
  const file::Tensor& base = view.tensors[tensor.view_of];
  const int64_t element = ElementBytes(tensor.type);
  if (base.view_of != file::kNone || base.place != tensor.place || base.type != tensor.type) {
    return Status::Error(name + ": a view of what is a view, elsewhere or of another type");
  }
  const uint64_t row = element * (tensor.rank == 0 ? 1 : tensor.dims[tensor.rank - 1]);
  if (tensor.row_bytes == row && base.bytes == tensor.bytes && base.offset == tensor.offset) {
    return {};  // a reshape
  }
  bool slice = tensor.place == static_cast<uint8_t>(file::Place::kArena) &&
               tensor.rank == base.rank && tensor.rank > 0 && tensor.row_bytes == base.row_bytes &&
               tensor.offset >= base.offset &&
               (tensor.offset - base.offset) % static_cast<uint64_t>(element) == 0 &&
               Inside(tensor.offset - base.offset, row, base.row_bytes);
  for (int i = 0; slice && i + 1 < tensor.rank; ++i) slice = tensor.dims[i] == base.dims[i];
  return slice ? Status() : Status::Error(name + ": a view that is neither reshape nor slice");
}

Status CheckConstants(const FileView& view) {
  for (size_t i = 0; i < view.constants.size(); ++i) {
    const file::Constant& constant = view.constants[i];
    const std::string name = "constant " + Number(i);
    if (constant.offset % file::kAlignment != 0 || constant.offset < view.header->tables_bytes ||
        !Inside(constant.offset, constant.bytes, view.bytes.size()) ||
        view.bytes.size() - constant.offset - constant.bytes < static_cast<uint64_t>(kReadSlack)) {
      return Status::Error(name + ": unaligned, or not inside the weights");
    }
    // Only onwards: a chain ends.
    if (constant.next != file::kNone &&
        (constant.next <= i || constant.next >= view.constants.size())) {
      return Status::Error(name + ": its next packing is none");
    }
    if (constant.reserved != 0) return Status::Error(name + ": a reserved field is not 0");
  }
  return {};
}

Status CheckReferences(const FileView& view, const file::Operator& op, const std::string& name) {
  const uint64_t count = uint64_t{op.input_count} + op.output_count + op.constant_count;
  if (!Inside(op.references, count, view.references.size())) {
    return Status::Error(name + ": its references leave the table");
  }
  for (const uint32_t id : view.Inputs(op)) {
    if (id >= view.tensors.size()) return Status::Error(name + ": an input is no tensor");
    if (view.tensors[id].bytes == 0) return Status::Error(name + ": an input has no elements");
  }
  for (const uint32_t id : view.Outputs(op)) {
    if (id >= view.tensors.size()) return Status::Error(name + ": an output is no tensor");
    if (view.tensors[id].bytes == 0) return Status::Error(name + ": an output has no elements");
  }
  for (const uint32_t id : view.Constants(op)) {
    if (id >= view.constants.size()) return Status::Error(name + ": a constant is none");
  }
  return {};
}

// What operators have of the tables so far.
struct Read {
  uint64_t references = 0, parameters = 0;
};

// Each has references and parameters of its own, one after another in all plans: all of them
// together bound what reading them costs.
Status CheckOperators(const FileView& view, Read& read) {
  for (size_t i = 0; i < view.operators.size(); ++i) {
    const file::Operator& op = view.operators[i];
    const std::string name = "operator " + Number(i);
    if (!Inside(op.name, op.name_bytes, view.strings.size()) ||
        !Inside(op.story, op.story_bytes, view.strings.size())) {
      return Status::Error(name + ": its name or story leaves the strings");
    }
    if (op.parameters % 8 != 0 ||
        !Inside(op.parameters, op.parameters_bytes, view.parameters.size())) {
      return Status::Error(name + ": its parameters are unaligned or leave their table");
    }
    if (op.parameters < read.parameters) {
      return Status::Error(name + ": its parameters are another operator's, too");
    }
    read.parameters = uint64_t{op.parameters} + op.parameters_bytes;
    if (op.reserved != 0) return Status::Error(name + ": a reserved field is not 0");
    if (op.references != read.references) {
      return Status::Error(name + ": its references do not follow those before it");
    }
    DS_ENGINE_RETURN_IF_ERROR(CheckReferences(view, op, name));
    read.references += uint64_t{op.input_count} + op.output_count + op.constant_count;
  }
  return {};
}

Status CheckInterface(const FileView& view) {
  const auto check = [&](std::span<const uint32_t> ids, file::Place place, const char* what) {
    for (size_t i = 0; i < ids.size(); ++i) {
      const std::string name = what + Number(i);
      if (ids[i] >= view.tensors.size()) return Status::Error(name + " is no tensor");
      const file::Tensor& tensor = view.tensors[ids[i]];
      if (tensor.place != static_cast<uint8_t>(place) || tensor.offset != i ||
          tensor.view_of != file::kNone) {
        return Status::Error(name + " is a tensor that lies elsewhere");
      }
    }
    return Status();
  };
  DS_ENGINE_RETURN_IF_ERROR(check(view.inputs, file::Place::kInput, "input "));
  return check(view.outputs, file::Place::kOutput, "output ");
}

// Of all tensors that lie in one input or output only one is no view.
Status CheckTensors(const FileView& view) {
  for (size_t i = 0; i < view.tensors.size(); ++i) {
    const file::Tensor& tensor = view.tensors[i];
    const std::string name = "tensor " + Number(i);
    DS_ENGINE_RETURN_IF_ERROR(CheckTensor(view, tensor, name));
    DS_ENGINE_RETURN_IF_ERROR(CheckPlace(view, tensor, name));
    if (tensor.view_of != file::kNone) {
      DS_ENGINE_RETURN_IF_ERROR(CheckView(view, tensor, name));
      continue;
    }
    const auto place = static_cast<file::Place>(tensor.place);
    if ((place == file::Place::kInput && view.inputs[tensor.offset] != i) ||
        (place == file::Place::kOutput && view.outputs[tensor.offset] != i)) {
      return Status::Error(name + ": lies in another one's input or output");
    }
  }
  return {};
}

// They follow each other, and cover the tables.
Status CheckPlanRecords(const FileView& view) {
  if (view.plans.empty() || view.plans.size() > file::kMaxPlans) {
    return Status::Error("the file has " + Number(view.plans.size()) + " plans; 1 to " +
                         Number(file::kMaxPlans) + " are allowed");
  }
  if (view.all_operators.size() > file::kMaxOperators) {
    return Status::Error("the file has " + Number(view.all_operators.size()) +
                         " operators; at most " + Number(file::kMaxOperators) + " are allowed");
  }
  uint64_t tensors = 0, operators = 0;
  for (size_t i = 0; i < view.plans.size(); ++i) {
    const file::Plan& plan = view.plans[i];
    if (plan.first_tensor != tensors || plan.first_operator != operators) {
      return Status::Error("plan " + Number(i) + " does not follow the one before it");
    }
    tensors += plan.tensor_count;
    operators += plan.operator_count;
    // As many elements as a tensor may have, for each: what a plan can need at most.
    if (plan.arena_bytes > INT64_MAX / 4) {
      return Status::Error("plan " + Number(i) + ": arena_bytes is out of range");
    }
  }
  if (tensors != view.all_tensors.size() || operators != view.all_operators.size()) {
    return Status::Error("the plans do not have the tensors and operators that there are");
  }
  const uint64_t ports = uint64_t{view.header->input_count} + view.header->output_count;
  if (ports * view.plans.size() != view.interface.size()) {
    return Status::Error("the interface has " + Number(view.interface.size()) +
                         " entries, not the header's inputs and outputs for each plan");
  }
  return {};
}

Status CheckTables(const FileView& view, Read& read) {
  DS_ENGINE_RETURN_IF_ERROR(CheckTensors(view));
  DS_ENGINE_RETURN_IF_ERROR(CheckOperators(view, read));
  return CheckInterface(view);
}

// Inputs and outputs differ in their extents alone.
Status CheckAlike(const FileView& first, const FileView& view) {
  const auto check = [&](std::span<const uint32_t> a, std::span<const uint32_t> b,
                         const char* what) {
    for (size_t i = 0; i < a.size(); ++i) {
      const file::Tensor &one = first.tensors[a[i]], &other = view.tensors[b[i]];
      if (view.Name(one) != view.Name(other) || one.type != other.type || one.rank != other.rank) {
        return Status::Error(what + Number(i) + " has another name, type or rank than in plan 0");
      }
    }
    return Status();
  };
  DS_ENGINE_RETURN_IF_ERROR(check(first.inputs, view.inputs, "input "));
  return check(first.outputs, view.outputs, "output ");
}

}  // namespace

uint64_t TablesHash(std::span<const std::byte> tables) {
  file::Header header;
  std::memcpy(&header, tables.data(), sizeof(header));
  header.tables_hash = 0;
  const uint64_t head = Hash64(&header, sizeof(header));
  return Hash64(tables.data() + sizeof(header), tables.size() - sizeof(header), head);
}

FileView FileView::Of(size_t number) const {
  FileView view = *this;
  view.plan = &plans[number];
  view.tensors = all_tensors.subspan(view.plan->first_tensor, view.plan->tensor_count);
  view.operators = all_operators.subspan(view.plan->first_operator, view.plan->operator_count);
  const size_t ports = size_t{header->input_count} + header->output_count;
  view.inputs = interface.subspan(number * ports, header->input_count);
  view.outputs = interface.subspan(number * ports + header->input_count, header->output_count);
  return view;
}

Status FileView::Open(std::span<const std::byte> bytes, FileView& view) {
  DS_ENGINE_RETURN_IF_ERROR(CheckHeader(bytes));
  view.bytes = bytes;
  view.header = reinterpret_cast<const Header*>(bytes.data());
  const SectionRecord* found[file::kSectionKinds + 1] = {};
  DS_ENGINE_RETURN_IF_ERROR(FindSections(bytes, *view.header, found));
  const auto strings = Records<char>(bytes, found, SectionKind::kStrings);
  view.strings = {strings.data(), strings.size()};
  view.all_tensors = Records<file::Tensor>(bytes, found, SectionKind::kTensors);
  view.all_operators = Records<file::Operator>(bytes, found, SectionKind::kOperators);
  view.references = Records<uint32_t>(bytes, found, SectionKind::kReferences);
  view.parameters = Records<std::byte>(bytes, found, SectionKind::kParameters);
  view.constants = Records<file::Constant>(bytes, found, SectionKind::kConstants);
  view.interface = Records<uint32_t>(bytes, found, SectionKind::kInterface);
  view.plans = Records<file::Plan>(bytes, found, SectionKind::kPlans);
  DS_ENGINE_RETURN_IF_ERROR(CheckPlanRecords(view));
  DS_ENGINE_RETURN_IF_ERROR(CheckConstants(view));
  const FileView first = view.Of(0);
  Read read;
  for (size_t i = 0; i < view.plans.size(); ++i) {
    const FileView plan = view.Of(i);
    Status status = CheckTables(plan, read);
    if (status.ok() && i > 0) status = CheckAlike(first, plan);
    if (!status.ok()) {
      return view.plans.size() == 1 ? status
                                    : Status::Error("plan " + Number(i) + ": " + status.message());
    }
  }
  view = first;
  return {};
}

}  // namespace ds::engine
