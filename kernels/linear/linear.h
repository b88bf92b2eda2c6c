// Row-invariant matrix products y = x W^T: rows always run in fixed tiles of 16 through one oneDNN
// primitive on packed weight panels, so a row's result depends neither on the other rows nor on
// their number or on the workers.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "harness/contract/model.h"

namespace kvrm {

inline constexpr std::uint32_t kRowTile = 16;

// The widest input: a tile of it and a panel's output fill a worker's scratch.
inline constexpr std::uint32_t kMaxLinearInputs = 15'360;

// A weight matrix packed once into column panels, with the primitives that multiply by it.
// Shareable between engines and workers; immutable. `bf16` multiplies in bf16 where the target can,
// in f32 of the same values where it cannot.
class PackedLinear {
 public:
  // weights [outputs, inputs], row-major, values of `dtype` (f32 or bf16). They must outlive this
  // object: the reference kernel reads them where they lie. CHECKs inputs <= kMaxLinearInputs.
  PackedLinear(std::span<const float> weights, std::uint32_t outputs, std::uint32_t inputs,
               DType dtype);
  ~PackedLinear();
  PackedLinear(const PackedLinear&) = delete;
  PackedLinear& operator=(const PackedLinear&) = delete;
  PackedLinear(PackedLinear&&) noexcept;
  PackedLinear& operator=(PackedLinear&&) noexcept;

  std::uint32_t inputs() const;
  std::uint32_t outputs() const;
  std::uint32_t panels() const;
  std::uint64_t bytes() const;  // of the packed panels
  // Of a row of x as the product multiplies it (LinearArgs::prepared); 0: as it lies, in f32.
  std::uint32_t prepared_row_bytes() const;
  struct State;
  const State& state() const { return *state_; }

 private:
  std::unique_ptr<State> state_;
};

// Rounds rows of x to what the product multiplies, once for all panels: x to prepared, of which
// whole row tiles are readable. Weights whose prepared_row_bytes() is not 0. One item per row.
struct LinearInputArgs {
  const PackedLinear* weights = nullptr;
  const float* x = nullptr;       // [rows, x_stride]
  std::byte* prepared = nullptr;  // [row tiles * 16, prepared_row_bytes()]
  std::uint32_t x_stride = 0;     // floats
  std::uint32_t reserved = 0;
};

// One item per (row tile, panel): item = panel * row_tiles + row_tile, row_tiles = ceil(rows /
// kRowTile). x and y are readable and writable up to a whole number of row tiles.
struct LinearArgs {
  const PackedLinear* weights = nullptr;
  const float* x = nullptr;  // [row tiles * 16, x_stride]
  float* y = nullptr;        // [row tiles * 16, y_stride]
  std::uint32_t rows = 0;
  std::uint32_t x_stride = 0;  // floats; inputs() when dense
  std::uint32_t y_stride = 0;
  // The same rows from LinearInputArgs; null: each item prepares its own. It changes no result.
  const std::byte* prepared = nullptr;
};
constexpr std::uint32_t linear_row_tiles(std::uint32_t rows) {
  return (rows + kRowTile - 1) / kRowTile;
}

}  // namespace kvrm
