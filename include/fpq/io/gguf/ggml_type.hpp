// SPDX-License-Identifier: Apache-2.0
// Floor 5. The tensor types of GGUF files: number, name, values and bytes of a block.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string_view>

namespace fpq {

// g++ 12 says that a scoped enumerator shadows a type of the same name; it does not hide it.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
/// Those that fpq writes; a file may have others of ggml_types.
enum class ggml_type : std::uint32_t {
    f32 = 0,
    f16 = 1,
    q4_0 = 2,
    q8_0 = 8,
    bf16 = 30,
    mxfp4 = 39,
    nvfp4 = 40
};
#pragma GCC diagnostic pop

/// One row of the table. A row of a tensor is a whole number of blocks.
struct ggml_type_facts {
    ggml_type type;
    std::string_view name;
    std::uint64_t block;  ///< values
    std::uint64_t bytes;  ///< of a block
};

/// Types that files hold, by number.
inline constexpr auto ggml_types = std::to_array<ggml_type_facts>({
    {ggml_type{0}, "F32", 1, 4},         {ggml_type{1}, "F16", 1, 2},
    {ggml_type{2}, "Q4_0", 32, 18},      {ggml_type{3}, "Q4_1", 32, 20},
    {ggml_type{6}, "Q5_0", 32, 22},      {ggml_type{7}, "Q5_1", 32, 24},
    {ggml_type{8}, "Q8_0", 32, 34},      {ggml_type{10}, "Q2_K", 256, 84},
    {ggml_type{11}, "Q3_K", 256, 110},   {ggml_type{12}, "Q4_K", 256, 144},
    {ggml_type{13}, "Q5_K", 256, 176},   {ggml_type{14}, "Q6_K", 256, 210},
    {ggml_type{16}, "IQ2_XXS", 256, 66}, {ggml_type{17}, "IQ2_XS", 256, 74},
    {ggml_type{18}, "IQ3_XXS", 256, 98}, {ggml_type{19}, "IQ1_S", 256, 50},
    {ggml_type{20}, "IQ4_NL", 32, 18},   {ggml_type{21}, "IQ3_S", 256, 110},
    {ggml_type{22}, "IQ2_S", 256, 82},   {ggml_type{23}, "IQ4_XS", 256, 136},
    {ggml_type{24}, "I8", 1, 1},         {ggml_type{25}, "I16", 1, 2},
    {ggml_type{26}, "I32", 1, 4},        {ggml_type{27}, "I64", 1, 8},
    {ggml_type{28}, "F64", 1, 8},        {ggml_type{29}, "IQ1_M", 256, 56},
    {ggml_type{30}, "BF16", 1, 2},       {ggml_type{34}, "TQ1_0", 256, 54},
    {ggml_type{35}, "TQ2_0", 256, 66},   {ggml_type{39}, "MXFP4", 32, 17},
    {ggml_type{40}, "NVFP4", 64, 36},    {ggml_type{41}, "Q1_0", 128, 18},
});

/// Null for a number that is not in the table.
constexpr ggml_type_facts const* find_ggml_type(std::uint32_t number) noexcept {
    for (ggml_type_facts const& row : ggml_types) {
        if (static_cast<std::uint32_t>(row.type) == number) {
            return &row;
        }
    }
    return nullptr;
}

/// Of a type of the table.
constexpr ggml_type_facts const& facts_of(ggml_type type) noexcept {
    return *find_ggml_type(static_cast<std::uint32_t>(type));
}
constexpr std::string_view ggml_type_name(ggml_type type) noexcept { return facts_of(type).name; }

/// Bytes of a tensor; `dims` are fastest first, as the file has them. Empty when the first is no
/// whole number of blocks or the number does not fit 63 bits.
constexpr std::optional<std::uint64_t> ggml_byte_count(
    ggml_type type, std::span<std::uint64_t const> dims) noexcept {
    ggml_type_facts const& facts = facts_of(type);
    std::uint64_t const width = dims.empty() ? 1 : dims.front();
    if (width % facts.block != 0) {
        return std::nullopt;
    }
    constexpr std::uint64_t most = std::numeric_limits<std::int64_t>::max();
    std::uint64_t bytes = facts.bytes;
    std::uint64_t values = 1;  // clients count them in 63 bits, too
    for (std::size_t i = 0; i < dims.size(); ++i) {
        std::uint64_t const factor = i == 0 ? width / facts.block : dims[i];
        if ((factor != 0 && bytes > most / factor) || (dims[i] != 0 && values > most / dims[i])) {
            return std::nullopt;
        }
        bytes *= factor;
        values *= dims[i];
    }
    return dims.empty() && facts.block != 1 ? std::nullopt : std::optional(bytes);
}

}  // namespace fpq
