#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "engines/decoder/checkpoint.h"
#include "engines/decoder/model_shape.h"
#include "harness/base/check.h"
#include "property_tests/fuzz/fuzz_input.h"

namespace kvrm {
namespace {

constexpr std::size_t kHeaderBytes = 28;
constexpr std::uint64_t kMostFloats = 1U << 18;  // beyond that files take long to make

// Floats behind the header, from the format's definition (llama2.c, memory_map_weights) in a number
// that cannot overflow; negative numbers make nonsense, which is for the reader to find.
long double promised_floats(const std::int32_t* raw) {
  const long double dim = raw[0];
  const long double hidden = raw[1];
  const long double layers = raw[2];
  const long double head = raw[3] == 0 ? 0 : std::floor(dim / raw[3]);
  const long double kv = raw[4] * head;
  const long double vocabulary = std::fabs(static_cast<long double>(raw[5]));
  const long double a_layer = 2 * dim + 2 * dim * dim + 2 * kv * dim + 3 * hidden * dim;
  return vocabulary * dim * (raw[5] < 0 ? 2 : 1) + layers * a_layer + dim + raw[6] * head;
}

// The input as it is, or made as long as its header promises.
std::string file_content(FuzzReader& reader) {
  const bool fitted = reader.take<std::uint8_t>() % 4 != 0;
  std::string content(as_text(reader.rest()));
  if (!fitted || content.size() < kHeaderBytes) return content;
  std::int32_t raw[7];
  std::memcpy(raw, content.data(), sizeof(raw));
  const long double floats = promised_floats(raw);
  if (!(floats >= 0) || floats > kMostFloats) return content;
  const std::size_t before = content.size();
  content.resize(kHeaderBytes + static_cast<std::size_t>(floats) * sizeof(float));
  for (std::size_t i = before; i < content.size(); ++i) content[i] = static_cast<char>(i * 7);
  return content;
}

// What the reader put where, against the file read in its own order.
class FileOrder {
 public:
  FileOrder(const std::string& content, std::span<const float> storage)
      : content_(content), storage_(storage), read_(storage.size()) {}

  void expect(Extent extent) {
    KVRM_CHECK_LE(at_ + extent.count * sizeof(float), content_.size());
    KVRM_CHECK(std::memcmp(storage_.data() + extent.first, content_.data() + at_,
                           extent.count * sizeof(float)) == 0);
    for (std::size_t i = 0; i < extent.count; ++i) read_[extent.first + i] = true;
    at_ += extent.count * sizeof(float);
  }
  void skip(std::size_t floats) { at_ += floats * sizeof(float); }
  void check_all_read() const {
    for (const bool read : read_) KVRM_CHECK(read);
  }
  std::size_t at() const { return at_; }

 private:
  const std::string& content_;
  std::span<const float> storage_;
  std::vector<bool> read_;
  std::size_t at_ = kHeaderBytes;
};

void check_weights(const std::string& content, const CheckpointHeader& header,
                   const WeightLayout& layout, std::span<const float> storage) {
  FileOrder file(content, storage);
  const auto expect_layers = [&](LayerTensor tensor) {
    for (std::uint32_t i = 0; i < header.shape.layers; ++i) file.expect(layout.layer(i, tensor));
  };
  file.expect(layout.embedding());
  for (const LayerTensor tensor :
       {LayerTensor::attention_norm, LayerTensor::query, LayerTensor::key, LayerTensor::value,
        LayerTensor::output, LayerTensor::ffn_norm, LayerTensor::gate, LayerTensor::down,
        LayerTensor::up}) {
    expect_layers(tensor);
  }
  file.expect(layout.final_norm());
  file.skip(std::size_t{header.shape.max_len} * header.shape.head_dim);
  if (header.separate_classifier) file.expect(layout.classifier());
  KVRM_CHECK_EQ(file.at(), content.size());
  file.check_all_read();
}

}  // namespace

FuzzOutcome fuzz_checkpoint(FuzzBytes input) {
  FuzzReader reader(input);
  const std::string content = file_content(reader);
  const MemoryFile file(content);
  const Result<CheckpointHeader> header = read_checkpoint_header(file.path());
  if (!header) {
    check_error_place(header.error(), file.path());
    return FuzzOutcome::refused;
  }
  KVRM_CHECK(check_model_shape(header->shape).has_value());
  const WeightLayout layout(header->shape, header->separate_classifier);
  KVRM_CHECK_LE(layout.total() * sizeof(float), content.size());
  std::vector<float> storage(layout.total(), std::numeric_limits<float>::quiet_NaN());
  KVRM_CHECK(read_checkpoint_weights(file.path(), *header, layout, storage).has_value());
  check_weights(content, *header, layout, storage);
  return FuzzOutcome::accepted;
}

}  // namespace kvrm
