#include <limits>

#include "harness/config/sections.h"

namespace kvrm {
namespace {

// content.h packs layer, head and dimension into one word; these stay inside its fields.
constexpr std::uint32_t kMaxLayers = 1024;
constexpr std::uint32_t kMaxHeads = 1023;
constexpr std::uint32_t kMaxHeadDim = 256;
constexpr std::uint32_t kMaxDim = 1U << 17;
constexpr std::uint32_t kMaxVocabulary = 1U << 20;

struct NamedShape {
  std::string name;
  ModelShape shape;
};

std::vector<NamedShape> presets() {
  ModelShape llama;  // Llama 3 8B, from its published configuration
  llama.layers = 32;
  llama.model_dim = 4096;
  llama.hidden_dim = 14336;
  llama.query_heads = 32;
  llama.kv_heads = 8;
  llama.head_dim = 128;
  llama.vocabulary = 128256;
  llama.rope_theta = 500000.0F;
  return {{"llama-3-8b", llama}};
}

// Keys of the shape are declared after the preset, so they override it.
Codec<ModelShape> preset_codec() {
  std::vector<std::string> names;
  for (const NamedShape& preset : presets()) names.push_back(preset.name);
  Codec<ModelShape> codec;
  codec.allowed = join_names(names) + ", or \"\" for none";
  codec.choices = names;
  codec.read = [](const ConfigNode& node) -> std::optional<ModelShape> {
    if (node.kind != ConfigNode::Kind::scalar) return std::nullopt;
    if (node.text.empty()) return ModelShape{};
    for (const NamedShape& preset : presets()) {
      if (preset.name == node.text) return preset.shape;
    }
    return std::nullopt;
  };
  codec.write = [](const ModelShape& /*none*/) { return std::string("\"\""); };
  return codec;
}

template <class Member>
void add_size(Section<ModelShape>& section, const char* name, const char* meaning, Member member,
              std::uint32_t max) {
  section.key({name, meaning, Presence::derived}, member, integer<std::uint32_t>(1, max));
}

Section<ModelShape> shape_section() {
  Section<ModelShape> section;
  add_size(section, "layers", "Layers.", &ModelShape::layers, kMaxLayers);
  add_size(section, "model_dim", "Width of the residual stream; `attention_only` does not use it.",
           &ModelShape::model_dim, kMaxDim);
  add_size(section, "hidden_dim",
           "Width of the feed-forward network; `attention_only` does not use it.",
           &ModelShape::hidden_dim, kMaxDim);
  add_size(section, "query_heads", "Query heads, a multiple of `kv_heads`.",
           &ModelShape::query_heads, kMaxHeads);
  add_size(section, "kv_heads", "Key and value heads.", &ModelShape::kv_heads, kMaxHeads);
  section.key({"head_dim", "Dimensions of a head, a multiple of 8.", Presence::derived},
              &ModelShape::head_dim, integer<std::uint32_t>(8, kMaxHeadDim));
  add_size(section, "vocabulary", "Tokens of the vocabulary; `attention_only` does not use it.",
           &ModelShape::vocabulary, kMaxVocabulary);
  section.key({"rope_theta", "Base of the rotary embedding.", Presence::derived},
              &ModelShape::rope_theta, number(1.0F, 1e9F));
  section.key({"norm_epsilon", "Added to the mean square in RMSNorm.", Presence::derived},
              &ModelShape::norm_epsilon, number(0.0F, 1.0F));
  return section;
}

const auto kShape = [](auto& spec) -> auto& { return spec.shape; };

}  // namespace

Section<ModelSpec> model_section() {
  const auto kind = [](auto& spec) -> auto& { return spec.shape.kind; };
  const auto weight_dtype = [](auto& spec) -> auto& { return spec.shape.weight_dtype; };
  const auto kv_dtype = [](auto& spec) -> auto& { return spec.shape.kv_dtype; };
  const auto tile_tokens = [](auto& spec) -> auto& { return spec.shape.tile_tokens; };
  const auto split_tiles = [](auto& spec) -> auto& { return spec.shape.split_tiles; };
  const auto dtypes =
      choice<DType>({{"f32", DType::f32}, {"f16", DType::f16}, {"bf16", DType::bf16}});
  const auto weight_dtypes = choice<DType>({{"f32", DType::f32}, {"bf16", DType::bf16}});
  Section<ModelSpec> section;
  section
      .apply({"preset", "Shape of a known model; keys of `shape` override its fields."},
             preset_codec(), ModelShape{},
             [](ModelSpec& spec, const ModelShape& preset) {
               const ModelKind kind_so_far = spec.shape.kind;
               spec.shape = preset;
               spec.shape.kind = kind_so_far;
             })
      .key({"kind", "`decoder` runs a whole Llama, `attention_only` its KV path alone."}, kind,
           choice<ModelKind>(
               {{"decoder", ModelKind::decoder}, {"attention_only", ModelKind::attention_only}}))
      .key({"checkpoint",
            "llama2.c checkpoint, which brings its own shape; empty: generated weights. Relative "
            "to the file that names it."},
           &ModelSpec::checkpoint, text())
      .key({"tokenizer", "llama2.c tokenizer; empty: none. Relative to the file that names it."},
           &ModelSpec::tokenizer, text())
      .map({"shape", "Shape of a model without a checkpoint.", Presence::derived}, kShape,
           shape_section())
      .key({"seed", "Seed of generated weights."}, &ModelSpec::seed,
           integer<std::uint64_t>(0, std::numeric_limits<std::uint64_t>::max()))
      .key({"weight_dtype", "Number type of the weights."}, weight_dtype, weight_dtypes)
      .key({"kv_dtype", "Number type of keys and values."}, kv_dtype, dtypes)
      .key({"tile_tokens", "Positions of one tile of the canonical order: 16, 32 or 64."},
           tile_tokens, integer<std::uint32_t>(16, 64))
      .key({"split_tiles", "Tiles of one chunk of the canonical order."}, split_tiles,
           integer<std::uint32_t>(1, 1024));
  return section;
}

}  // namespace kvrm
