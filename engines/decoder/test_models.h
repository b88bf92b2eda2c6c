// Small models and the shared test data, for the tests of every engine. Header-only, tests only.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>

#include "engines/decoder/decoder_model.h"
#include "harness/device/cpu_device.h"
#include "harness/device/device.h"
#include "kernels/dispatch/kernel_set.h"

namespace kvrm::testing_models {

template <class T>
T take(Result<T> result) {
  if (!result) ADD_FAILURE() << result.error().message;
  return std::move(result).value();
}

// Several layers, grouped queries, and chunks of 32 positions, so that histories of a few dozen
// tokens cross tile, block and chunk boundaries.
inline ModelSpec tiny_spec(ModelKind kind, DType kv_dtype = DType::f32) {
  ModelSpec spec;
  ModelShape& shape = spec.shape;
  shape.kind = kind;
  shape.layers = 3;
  shape.model_dim = 48;
  shape.hidden_dim = 80;
  shape.query_heads = 6;
  shape.kv_heads = 2;
  shape.head_dim = 8;
  shape.vocabulary = 97;
  shape.max_len = 200;
  shape.kv_dtype = kv_dtype;
  shape.tile_tokens = 16;
  shape.split_tiles = 2;
  spec.seed = 7;
  return spec;
}

inline std::unique_ptr<DecoderModel> tiny_model(ModelKind kind, DType kv_dtype = DType::f32) {
  return take(DecoderModel::load(tiny_spec(kind, kv_dtype)));
}

inline std::unique_ptr<Device> cpu(std::uint32_t workers = 2) {
  return take(make_cpu_device({workers, "test", 0}));
}

// KVRM_DATA_DIR, or shared/data beside the source tree (KVRM_SOURCE_DIR of kvrm_test()). Data is
// not part of the project, so a test that wants it skips where it is not there.
inline std::filesystem::path data_directory(const std::string& source_directory) {
  const char* given = std::getenv("KVRM_DATA_DIR");
  return given != nullptr ? std::filesystem::path(given)
                          : std::filesystem::path(source_directory) / "../shared/data";
}

}  // namespace kvrm::testing_models
