// The structures of a .dsm file, as docs/dsm.md specifies them byte by byte: little-endian, plain
// old data, widths explicit, no padding that is not named. The compile half writes them; the
// runtime reads them in place from the mapped file, after file_view.h and check/ have verified
// every count, offset and overlap.
#pragma once

#include <bit>
#include <cstdint>

namespace ds::engine::file {

static_assert(std::endian::native == std::endian::little, "a .dsm file is read in place");

// A byte above 127, the name, and both line ends: a transfer that meddles with text is noticed.
inline constexpr uint8_t kMagic[8] = {0x8e, 'D', 'S', 'M', '\r', '\n', 0x1a, '\n'};
inline constexpr uint16_t kVersion = 2;
inline constexpr uint32_t kNone = 0xffffffffu;
inline constexpr uint64_t kPage = 4096;     // where weights of another instruction set begin
inline constexpr uint64_t kAlignment = 64;  // of each constant, and of each tensor in the arena
inline constexpr int kMaxRank = 6;
inline constexpr uint32_t kMaxSections = 16;
// What a reader makes of an operator is larger than its record: with so many at most, reading takes
// less memory than the file and 64 MiB, whatever it says.
inline constexpr uint32_t kMaxOperators = 65536;
inline constexpr uint32_t kMaxPlans = 256;

enum class SectionKind : uint32_t {
  kStrings = 1,     // bytes, not terminated
  kTensors = 2,     // Tensor
  kOperators = 3,   // Operator, in the order in which they run
  kReferences = 4,  // uint32_t: each operator's inputs, outputs and constants
  kParameters = 5,  // bytes: each operator's parameters (parameters.h), 8-byte aligned
  kConstants = 6,   // Constant
  kInterface = 7,   // uint32_t: for each plan the inputs' tensors, then the outputs'
  kPlans = 8,       // Plan
};
inline constexpr uint32_t kSectionKinds = 8;

struct Header {
  uint8_t magic[8];
  uint16_t version;
  uint16_t header_bytes;   // 128
  uint32_t section_count;  // SectionRecords that follow the header
  uint64_t file_bytes;
  uint64_t tables_bytes;  // the tables are [0, tables_bytes); weights follow
  uint64_t tables_hash;   // XXH64 of the tables, this field being 0
  uint64_t weights_hash;  // XXH64 of what follows the tables, padding included
  uint32_t input_count;   // of every plan
  uint32_t output_count;
  uint8_t reserved[72];  // 0
};
static_assert(sizeof(Header) == 128);

struct SectionRecord {
  uint32_t kind;
  uint32_t record_bytes;
  uint64_t offset;  // multiple of 8, within the tables
  uint64_t count;   // of records
  uint64_t reserved;
};
static_assert(sizeof(SectionRecord) == 32);

// The model for one shape of its inputs: its own tensors and operators, the weights shared with the
// other plans. References, views and the interface number a plan's tensors from 0. Plans' tensors
// and operators follow each other without gaps.
struct Plan {
  uint32_t first_tensor, tensor_count;
  uint32_t first_operator, operator_count;
  uint64_t arena_bytes;
  uint64_t arena_bound_bytes;  // no plan for this order of operators takes fewer
  uint64_t unplanned_bytes;    // all tensors of the arena, each in a buffer of its own
};
static_assert(sizeof(Plan) == 40);

enum class Type : uint8_t {
  kFloat32 = 1,
  kUint8 = 2,
  kInt32 = 3,
  kInt64 = 4,
  kInt8 = 5,
  kBool = 6
};
inline constexpr uint8_t kLastType = 6;

enum class Place : uint8_t {
  kArena = 1,     // `offset` bytes into the arena
  kInput = 2,     // a buffer of the caller's or the session's; `offset` is its number
  kOutput = 3,    // the same
  kConstant = 4,  // in the file; `offset` is the number of the constant
};

// One tensor. dims are in the order in which elements lie, the last one densest: an image
// [N, C, H, W] of the graph may lie here as [N, H, W, C].
struct Tensor {
  uint32_t name;  // first byte in the strings
  uint32_t name_bytes;
  uint8_t type;
  uint8_t rank;
  uint8_t place;
  uint8_t reserved;
  uint32_t dims[kMaxRank];  // those from `rank` on are 0
  // The tensor whose bytes this one has, or kNone: under other dims (a reshape, row_bytes that of
  // its last dim) or a slice of its last dim (row_bytes the other's). That one is no view itself.
  uint32_t view_of;
  uint64_t offset;
  uint64_t bytes;      // from its first byte to behind its last
  uint32_t row_bytes;  // from one row (the last dim) to the next
  float scale;         // of codes (kUint8): real = scale * (code - zero_point), for callers;
  int32_t zero_point;  // operators have their own
  uint32_t reserved2;
};
static_assert(sizeof(Tensor) == 72);

struct Operator {
  uint16_t kind;  // OperatorKind
  uint16_t input_count;
  uint16_t output_count;
  uint16_t constant_count;
  uint32_t name;
  uint32_t name_bytes;
  uint32_t references;  // first in the references: inputs, outputs, constants; operators in order
  uint32_t parameters;  // first byte in the parameters, a multiple of 8
  uint32_t parameters_bytes;  // as parameters.h has it for the kind
  uint32_t story;             // what was fused into it, as text
  uint32_t story_bytes;
  uint32_t reserved;
  uint64_t macs;  // multiply-accumulates, for the profile
};
static_assert(sizeof(Operator) == 48);

// Bytes that operators only read. The same weights may be there several times, packed for
// different instruction sets: the first whose `kernels` has the running set's bit is used.
struct Constant {
  uint64_t offset;  // in the file, a multiple of kAlignment, behind the tables
  uint64_t bytes;
  uint32_t kernels;  // bit i: for instruction set i (kernels' Isa); all ones: for all
  uint32_t next;     // another packing of the same, of a higher number, or kNone
  uint64_t reserved;
};
static_assert(sizeof(Constant) == 32);

}  // namespace ds::engine::file
