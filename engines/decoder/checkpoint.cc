#include "engines/decoder/checkpoint.h"

#include <fmt/core.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string_view>

#include "engines/decoder/model_shape.h"

namespace kvrm {
namespace {

namespace fs = std::filesystem;

// The header's fields in the file's order.
enum Field : std::size_t { kDim, kHiddenDim, kLayers, kHeads, kKvHeads, kVocabulary, kSequence };
constexpr std::size_t kFields = 7;
using RawHeader = std::array<std::int32_t, kFields>;
constexpr std::array<std::string_view, kFields> kFieldNames = {
    "dim", "hidden_dim", "n_layers", "n_heads", "n_kv_heads", "vocab_size", "seq_len"};

// Tensors of every layer, in the file's order.
constexpr LayerTensor kFileOrderBeforeFfn[] = {LayerTensor::attention_norm, LayerTensor::query,
                                               LayerTensor::key, LayerTensor::value,
                                               LayerTensor::output};
constexpr LayerTensor kFileOrderFfn[] = {LayerTensor::ffn_norm, LayerTensor::gate,
                                         LayerTensor::down, LayerTensor::up};

tl::unexpected<Error> bad_file(const std::string& file, std::string_view what) {
  return bad_input(fmt::format("{}: {}", file, what));
}

Result<std::uint64_t> size_of_file(const std::string& file) {
  std::error_code error;
  const fs::file_status status = fs::status(file, error);
  if (!fs::exists(status)) return bad_file(file, "no such checkpoint");
  if (!fs::is_regular_file(status)) return bad_file(file, "is not a file");
  const std::uint64_t bytes = fs::file_size(file, error);
  if (error) return bad_file(file, error.message());
  if (bytes < sizeof(RawHeader)) {
    return bad_file(file, fmt::format("is {} bytes, a checkpoint's header alone is {}", bytes,
                                      sizeof(RawHeader)));
  }
  return bytes;
}

Result<CheckpointHeader> parse_header(const std::string& file, const RawHeader& raw) {
  for (std::size_t i = 0; i < kFields; ++i) {
    const bool may_be_negative = i == kVocabulary && raw[i] != INT32_MIN;
    if (raw[i] > 0 || (may_be_negative && raw[i] < 0)) continue;
    return bad_file(file,
                    fmt::format("header: {} is {}, must be positive", kFieldNames[i], raw[i]));
  }
  if (raw[kDim] % raw[kHeads] != 0) {
    return bad_file(
        file, fmt::format("header: dim {} does not divide by n_heads {}", raw[kDim], raw[kHeads]));
  }
  CheckpointHeader header;
  ModelShape& shape = header.shape;
  shape.layers = static_cast<std::uint32_t>(raw[kLayers]);
  shape.model_dim = static_cast<std::uint32_t>(raw[kDim]);
  shape.hidden_dim = static_cast<std::uint32_t>(raw[kHiddenDim]);
  shape.query_heads = static_cast<std::uint32_t>(raw[kHeads]);
  shape.kv_heads = static_cast<std::uint32_t>(raw[kKvHeads]);
  shape.head_dim = shape.model_dim / shape.query_heads;
  shape.vocabulary = static_cast<std::uint32_t>(std::abs(raw[kVocabulary]));
  shape.max_len = static_cast<std::uint32_t>(raw[kSequence]);
  header.separate_classifier = raw[kVocabulary] < 0;
  const Status checked = check_model_shape(shape);
  if (!checked) return bad_file(file, "header: " + checked.error().message);
  return header;
}

// Floats of the two rotary tables that old versions wrote; they are computed anew, not read.
std::uint64_t legacy_rotary_floats(const ModelShape& shape) {
  return std::uint64_t{shape.max_len} * shape.head_dim;
}

std::uint64_t promised_bytes(const CheckpointHeader& header) {
  const WeightLayout layout(header.shape, header.separate_classifier);
  return sizeof(RawHeader) + (layout.total() + legacy_rotary_floats(header.shape)) * sizeof(float);
}

void read_floats(std::ifstream& in, std::span<float> storage, Extent extent) {
  in.read(reinterpret_cast<char*>(storage.data() + extent.first),
          static_cast<std::streamsize>(extent.count * sizeof(float)));
}

}  // namespace

Result<CheckpointHeader> read_checkpoint_header(const std::string& file) {
  const Result<std::uint64_t> bytes = size_of_file(file);
  if (!bytes) return tl::unexpected<Error>(bytes.error());
  RawHeader raw{};
  std::ifstream in(file, std::ios::binary);
  in.read(reinterpret_cast<char*>(raw.data()), sizeof(raw));
  if (!in) return bad_file(file, std::strerror(errno));
  Result<CheckpointHeader> header = parse_header(file, raw);
  if (!header) return header;
  const std::uint64_t promised = promised_bytes(*header);
  if (*bytes != promised) {
    return bad_file(file, fmt::format("is {} bytes, header promises {}", *bytes, promised));
  }
  return header;
}

Status read_checkpoint_weights(const std::string& file, const CheckpointHeader& header,
                               const WeightLayout& layout, std::span<float> storage) {
  std::ifstream in(file, std::ios::binary);
  in.seekg(sizeof(RawHeader));
  const auto read_layers = [&](std::span<const LayerTensor> tensors) {
    for (const LayerTensor tensor : tensors) {
      for (std::uint32_t layer = 0; layer < header.shape.layers; ++layer) {
        read_floats(in, storage, layout.layer(layer, tensor));
      }
    }
  };
  read_floats(in, storage, layout.embedding());
  read_layers(kFileOrderBeforeFfn);
  read_layers(kFileOrderFfn);
  read_floats(in, storage, layout.final_norm());
  if (header.separate_classifier) {
    in.seekg(static_cast<std::streamoff>(legacy_rotary_floats(header.shape) * sizeof(float)),
             std::ios::cur);
    read_floats(in, storage, layout.classifier());
  }
  if (!in) return bad_file(file, "could not be read to its end");
  return {};
}

}  // namespace kvrm
