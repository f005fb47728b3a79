// SPDX-License-Identifier: Apache-2.0
// Floor 8. The words of flags and recipe files: one list for each enumeration, the synonyms that
// other tools use, and the one reader that refuses a word by its choices and the nearest of them.
#pragma once

#include <algorithm>
#include <array>
#include <cctype>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/core/hosted/printable.hpp"
#include "fpq/format/quant_args.hpp"
#include "fpq/format/transform_kind.hpp"
#include "fpq/pipeline/recipe.hpp"
#include "fpq/solve/smooth.hpp"

namespace fpq {

/// Edit distance of two words.
inline std::size_t edit_distance(std::string_view a, std::string_view b) {
    std::vector<std::size_t> row(b.size() + 1);
    for (std::size_t j = 0; j <= b.size(); ++j) {
        row[j] = j;
    }
    for (std::size_t i = 1; i <= a.size(); ++i) {
        std::size_t diagonal = row[0];
        row[0] = i;
        for (std::size_t j = 1; j <= b.size(); ++j) {
            std::size_t const above = row[j];
            row[j] = std::min({above + 1, row[j - 1] + 1,
                               diagonal + (a[i - 1] == b[j - 1] ? std::size_t{0} : 1)});
            diagonal = above;
        }
    }
    return row[b.size()];
}

namespace detail {

/// A vocabulary: values and their words.
template <class T, std::size_t N>
using word_list = std::array<std::pair<T, std::string_view>, N>;

/// What other tools call one of our words.
struct synonym {
    std::string_view theirs;
    std::string_view ours;
};

inline constexpr word_list<element_kind, 12> element_words{{{element_kind::e2m1, "e2m1"},
                                                            {element_kind::e2m3, "e2m3"},
                                                            {element_kind::e3m2, "e3m2"},
                                                            {element_kind::e4m3, "e4m3"},
                                                            {element_kind::e5m2, "e5m2"},
                                                            {element_kind::int2, "int2"},
                                                            {element_kind::int3, "int3"},
                                                            {element_kind::int4, "int4"},
                                                            {element_kind::int5, "int5"},
                                                            {element_kind::int6, "int6"},
                                                            {element_kind::int7, "int7"},
                                                            {element_kind::int8, "int8"}}};
inline constexpr word_list<scale_kind, 3> scale_words{
    {{scale_kind::fp16, "fp16"}, {scale_kind::e8m0, "e8m0"}, {scale_kind::e4m3, "e4m3"}}};
inline constexpr word_list<granularity, 3> grain_words{{{granularity::tensor, "tensor"},
                                                        {granularity::channel, "channel"},
                                                        {granularity::group, "group"}}};
inline constexpr word_list<quant_order, 2> order_words{
    {{quant_order::natural, "default"}, {quant_order::activation, "activation"}}};
inline constexpr word_list<export_kind, 3> export_words{
    {{export_kind::none, "none"},
     {export_kind::realquant, "realquant"},
     {export_kind::pseudoquant, "pseudoquant"}}};
/// What flags and recipe files may say of how scales are found; of inputs, what runs at every
/// token.
inline constexpr word_list<scale_rule, 3> weight_observers{
    {{scale_rule::minmax, "minmax"}, {scale_rule::mse, "mse"}, {scale_rule::sweep, "sweep"}}};
inline constexpr word_list<scale_rule, 2> input_observers{
    {{scale_rule::minmax, "minmax"}, {scale_rule::sweep, "sweep"}}};
inline constexpr word_list<scale_rule, 5> mx_rules{{{scale_rule::fp_quant, "fp_quant"},
                                                    {scale_rule::even, "even"},
                                                    {scale_rule::floor, "floor"},
                                                    {scale_rule::ceil, "ceil"},
                                                    {scale_rule::divisor_7_25, "divisor_7_25"}}};
/// The names of dialect/registry.hpp, which a test compares, and auto.
inline constexpr std::array<std::string_view, 5> layout_words{"auto", "compressed-tensors",
                                                              "fp_quant", "modelopt", "gguf"};
inline constexpr std::array<std::string_view, 5> element_choices{"auto", "e2m3", "e3m2", "e4m3",
                                                                 "e5m2"};
inline constexpr word_list<smooth_rule, 3> smooth_words{{{smooth_rule::none, "none"},
                                                         {smooth_rule::smoothquant, "smoothquant"},
                                                         {smooth_rule::awq, "awq"}}};
inline constexpr std::array<synonym, 3> smooth_synonyms{
    {{"off", "none"}, {"sq", "smoothquant"}, {"smooth_quant", "smoothquant"}}};
inline constexpr word_list<bool, 2> objective_words{{{false, "output"}, {true, "two_sided"}}};
inline constexpr word_list<bool, 2> global_words{{{true, "pow2"}, {false, "exact"}}};

template <class T, std::size_t N>
std::string_view word_of(word_list<T, N> const& words, T value) noexcept {
    for (auto const& [known, word] : words) {
        if (known == value) {
            return word;
        }
    }
    return "";
}

inline word_list<transform_kind, 9> const& transform_words() {
    static word_list<transform_kind, 9> const words = [] {
        word_list<transform_kind, 9> out{};
        for (std::size_t i = 0; i < out.size(); ++i) {
            auto const kind = static_cast<transform_kind>(i);
            out[i] = {kind, name_of(kind)};
        }
        return out;
    }();
    return words;
}

template <class T, std::size_t N>
std::vector<std::string_view> words_of(word_list<T, N> const& list) {
    std::vector<std::string_view> out;
    for (auto const& [value, word] : list) {
        out.push_back(word);
    }
    return out;
}

inline std::string listed(std::span<std::string_view const> words) {
    std::string out;
    for (std::string_view const word : words) {
        out += (out.empty() ? "" : ", ") + std::string(word);
    }
    return out;
}

/// A value as a message shows it, printable and cut.
inline std::string shown(std::string_view text) {
    return text.empty() ? "nothing" : printable(text, 80);
}

/// Letter case does not count, and '-' is '_'.
inline std::string plain_word(std::string_view text) {
    std::string out(text);
    for (char& c : out) {
        c = c == '-' ? '_' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    }
    return out;
}

/// Where `text` stands in `words`, itself or as a synonym.
inline std::optional<std::size_t> find_word(std::span<std::string_view const> words,
                                            std::span<synonym const> synonyms,
                                            std::string_view text) {
    std::string wanted = plain_word(text);
    for (synonym const& s : synonyms) {
        if (plain_word(s.theirs) == wanted) {
            wanted = plain_word(s.ours);
            break;
        }
    }
    for (std::size_t i = 0; i < words.size(); ++i) {
        if (plain_word(words[i]) == wanted) {
            return i;
        }
    }
    return std::nullopt;
}

/// The word that lies nearest to `text`; empty when none is near.
inline std::string_view nearest_word(std::span<std::string_view const> words,
                                     std::string_view text) {
    std::string const wanted = plain_word(text.substr(0, 80));
    std::string_view best;
    std::size_t least = std::max<std::size_t>(3, wanted.size() / 2 + 1);
    for (std::string_view const word : words) {
        std::size_t const distance = edit_distance(wanted, plain_word(word));
        if (distance < least) {
            least = distance;
            best = word;
        }
    }
    return wanted.empty() ? std::string_view{} : best;
}

/// The index of a word; else a usage error at `place` with all choices and the nearest.
inline std::size_t read_word(std::string_view place, std::span<std::string_view const> words,
                             std::span<synonym const> synonyms, std::string_view text) {
    if (std::optional<std::size_t> const at = find_word(words, synonyms, text)) {
        return *at;
    }
    std::string_view const nearest = nearest_word(words, text);
    fail_usage(
        place, {},
        listed(words) + (nearest.empty() ? "" : " (the nearest is " + std::string(nearest) + ")"),
        shown(text));
}

template <class T, std::size_t N>
T read_word(std::string_view place, word_list<T, N> const& list, std::span<synonym const> synonyms,
            std::string_view text) {
    std::vector<std::string_view> const words = words_of(list);
    return list[read_word(place, words, synonyms, text)].first;
}

inline constexpr std::array<synonym, 10> observer_synonyms{{{"min_max", "minmax"},
                                                            {"absmax", "minmax"},
                                                            {"amax", "minmax"},
                                                            {"max", "minmax"},
                                                            {"rtn", "minmax"},
                                                            {"memoryless_minmax", "minmax"},
                                                            {"static_minmax", "minmax"},
                                                            {"memoryless_mse", "mse"},
                                                            {"l2", "mse"},
                                                            {"search", "sweep"}}};
inline constexpr std::array<synonym, 7> order_synonyms{{{"act", "activation"},
                                                        {"act_order", "activation"},
                                                        {"actorder", "activation"},
                                                        {"desc_act", "activation"},
                                                        {"natural", "default"},
                                                        {"none", "default"},
                                                        {"sequential", "default"}}};
inline constexpr std::array<synonym, 8> grain_synonyms{{{"per_tensor", "tensor"},
                                                        {"per_channel", "channel"},
                                                        {"per_token", "channel"},
                                                        {"token", "channel"},
                                                        {"row", "channel"},
                                                        {"per_group", "group"},
                                                        {"block", "group"},
                                                        {"tensor_group", "group"}}};
inline constexpr std::array<synonym, 8> scale_synonyms{{{"float16", "fp16"},
                                                        {"half", "fp16"},
                                                        {"ue8m0", "e8m0"},
                                                        {"e8m0fnu", "e8m0"},
                                                        {"float8_e8m0fnu", "e8m0"},
                                                        {"fp8", "e4m3"},
                                                        {"e4m3fn", "e4m3"},
                                                        {"float8_e4m3fn", "e4m3"}}};
inline constexpr std::array<synonym, 6> export_synonyms{{{"real", "realquant"},
                                                         {"real_quant", "realquant"},
                                                         {"pseudo", "pseudoquant"},
                                                         {"pseudo_quant", "pseudoquant"},
                                                         {"fake", "pseudoquant"},
                                                         {"", "none"}}};
inline constexpr std::array<synonym, 4> transform_synonyms{
    {{"none", "identity"},
     {"had", "hadamard"},
     {"randomized_hadamard", "random_hadamard"},
     {"fastfood", "fast_food"}}};
inline constexpr std::array<synonym, 3> mx_synonyms{
    {{"ocp", "floor"}, {"round_even", "even"}, {"fpquant", "fp_quant"}}};
inline constexpr std::array<synonym, 3> element_synonyms{
    {{"e4m3fn", "e4m3"}, {"fp8_e4m3", "e4m3"}, {"fp8_e5m2", "e5m2"}}};
inline constexpr std::array<synonym, 15> layout_synonyms{
    {{"llm-compressor", "compressed-tensors"},
     {"llmcompressor", "compressed-tensors"},
     {"vllm", "compressed-tensors"},
     {"ct", "compressed-tensors"},
     {"nvfp4-pack-quantized", "compressed-tensors"},
     {"mxfp4-pack-quantized", "compressed-tensors"},
     {"fpquant", "fp_quant"},
     {"qutlass", "fp_quant"},
     {"model-opt", "modelopt"},
     {"nvidia-modelopt", "modelopt"},
     {"tensorrt-llm", "modelopt"},
     {"trtllm", "modelopt"},
     {"llama.cpp", "gguf"},
     {"llamacpp", "gguf"},
     {"default", "auto"}}};

}  // namespace detail

}  // namespace fpq
