// SPDX-License-Identifier: Apache-2.0
// Floor 8. The flags that choose the scheme of all linears, what contradicts what among them, and
// the formats that they stand for.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/format/quant_args.hpp"
#include "fpq/format/transform_kind.hpp"
#include "fpq/pipeline/bounds.hpp"
#include "fpq/pipeline/words.hpp"

namespace fpq {

/// --format int, fp, nvfp, mxfp.
enum class format_family : std::uint8_t { integer, fp, nvfp, mxfp };

constexpr char const* name_of(format_family family) noexcept {
    constexpr char const* names[] = {"int", "fp", "nvfp", "mxfp"};
    return names[static_cast<int>(family)];
}

/// A word of --format: a family, or a format that says its bits, too ("nvfp4").
struct format_word {
    std::string_view word;
    format_family family = format_family::integer;
    int w_bits = 0;  ///< 0: not said
    int a_bits = 0;  ///< 0: not said
};

inline constexpr std::array<format_word, 14> format_words{{
    {"int", format_family::integer, 0, 0},
    {"fp", format_family::fp, 0, 0},
    {"nvfp", format_family::nvfp, 0, 0},
    {"mxfp", format_family::mxfp, 0, 0},
    {"nvfp4", format_family::nvfp, 4, 0},
    {"nvfp4a16", format_family::nvfp, 4, 16},
    {"mxfp4", format_family::mxfp, 4, 0},
    {"mxfp4a16", format_family::mxfp, 4, 16},
    {"mxfp6", format_family::mxfp, 6, 0},
    {"mxfp8", format_family::mxfp, 8, 0},
    {"mxfp8a16", format_family::mxfp, 8, 16},
    {"fp4", format_family::fp, 4, 0},
    {"int4", format_family::integer, 4, 0},
    {"int8", format_family::integer, 8, 0},
}};

/// Throws fpq::error (usage) with the four families and the nearest.
inline format_word read_format(std::string_view place, std::string_view text) {
    std::string wanted = detail::plain_word(text);
    std::erase(wanted, '_');
    for (format_word const& f : format_words) {
        if (f.word == wanted) {
            return f;
        }
    }
    constexpr std::array<std::string_view, 4> families{"int", "fp", "nvfp", "mxfp"};
    return format_words[detail::read_word(place, families, {}, text)];
}

/// The flags that choose the scheme of all linears. Bits of 16 mean "not quantized".
struct scheme_flags {
    format_family family = format_family::integer;
    int w_bits = 4;
    int a_bits = 16;
    std::string element = "auto";             // of 6 and 8 bits: auto, e2m3, e3m2, e4m3, e5m2
    std::optional<std::size_t> w_group_size;  // unset: the whole row
    std::optional<std::size_t> a_group_size;
    granularity w_grain = granularity::group;
    granularity a_grain = granularity::group;
    scale_kind scale_precision = scale_kind::fp16;
    bool symmetric = true;
    scale_rule w_observer = scale_rule::minmax;
    scale_rule a_observer = scale_rule::minmax;
    std::optional<scale_rule> mx_rule;  // unset: see mx_rule_of
    bool pow2_global_scale = true;
    transform_kind transform = transform_kind::identity;
    std::size_t transform_block = 128;

    [[nodiscard]] bool operator==(scheme_flags const&) const noexcept = default;
};

namespace detail {

inline element_kind float_element(scheme_flags const& f, int bits) {
    if (bits == 4) {
        return element_kind::e2m1;
    }
    if (bits == 6) {
        return f.element == "e3m2" ? element_kind::e3m2 : element_kind::e2m3;
    }
    return f.element == "e5m2" ? element_kind::e5m2 : element_kind::e4m3;
}

inline void check_bits(scheme_flags const& f, int bits, char const* flag) {
    if (bits == 16) {
        return;
    }
    bool const nv = f.family == format_family::nvfp;
    bool const whole = f.family == format_family::integer;
    bool const fine =
        whole ? bits >= 2 && bits <= 8 : bits == 4 || (!nv && (bits == 6 || bits == 8));
    if (!fine) {
        fail_usage(flag, name_of(f.family),
                   whole ? "2 to 8, or 16"
                   : nv  ? "4 or 16"
                         : "4, 6, 8 or 16",
                   std::to_string(bits));
    }
}

inline quant_format operand_format(scheme_flags const& f, int bits, granularity grain,
                                   std::optional<std::size_t> group) {
    if (f.family == format_family::nvfp) {
        return nvfp4;
    }
    if (f.family == format_family::mxfp) {
        quant_format format = mxfp4;
        format.element = float_element(f, bits);
        return format;
    }
    bool const whole = grain == granularity::group && !group;
    granularity const actual = whole ? granularity::channel : grain;
    if (f.family == format_family::integer) {
        return int_format(bits, group.value_or(0), f.symmetric, actual);
    }
    quant_format format = fp4(group.value_or(0), actual);
    format.element = float_element(f, bits);
    return format;
}

/// A flag that says what the format cannot be.
inline void require_format(bool fine, char const* flag, scheme_flags const& f,
                           std::string_view expected, std::string_view found) {
    if (!fine) {
        fail_usage(flag, name_of(f.family), expected, found);
    }
}

/// An element that no operand of this width could have.
inline void check_element(scheme_flags const& f) {
    if (f.element == "auto") {
        return;
    }
    int const bits = f.element == "e2m3" || f.element == "e3m2" ? 6 : 8;
    bool const floats = f.family == format_family::fp || f.family == format_family::mxfp;
    require_format(floats && (f.w_bits == bits || f.a_bits == bits), "element", f,
                   "auto, or fp or mxfp with w_bits or a_bits of 6 (e2m3, e3m2) or 8 (e4m3, e5m2)",
                   f.element + " with w_bits " + std::to_string(f.w_bits) + ", a_bits " +
                       std::to_string(f.a_bits));
}

/// What one operand's group and granularity may be.
inline void check_operand(scheme_flags const& f, bool input, std::vector<std::string>& notes) {
    std::string const side = input ? "a_" : "w_";
    granularity const grain = input ? f.a_grain : f.w_grain;
    std::optional<std::size_t> const& given = input ? f.a_group_size : f.w_group_size;
    bool const nv = f.family == format_family::nvfp;
    if (nv || f.family == format_family::mxfp) {
        require_format(grain == granularity::group, (side + "granularity").c_str(), f, "group",
                       word_of(grain_words, grain));
        std::size_t const group = nv ? 16 : 32;
        if (given && *given != group) {
            notes.push_back("changed " + std::string(input ? "activation" : "weight") +
                            " group_size to " + std::to_string(group) + " for " +
                            name_of(f.family));
        }
    } else if (grain == granularity::group && given) {
        require_within(side + "group_size", bounds::group_size, *given);
    }
}

/// One line for each value that a family forces to another (nvfp: groups of 16, e4m3; mxfp: 32,
/// e8m0), and the refusal of what contradicts it.
inline void check_family(scheme_flags const& f, std::vector<std::string>& notes) {
    check_element(f);
    require_format(f.symmetric || f.family == format_family::integer, "asymmetric", f,
                   "format int (floats have no zero point)", "it");
    if (f.w_bits < 16) {
        check_operand(f, false, notes);
    }
    if (f.a_bits < 16) {
        check_operand(f, true, notes);
    }
    bool const nv = f.family == format_family::nvfp;
    bool const fixed = nv || f.family == format_family::mxfp;
    scale_kind const scale = nv ? scale_kind::e4m3 : scale_kind::e8m0;
    require_format(fixed || f.scale_precision == scale_kind::fp16, "scale_precision", f, "fp16",
                   word_of(scale_words, f.scale_precision));
    if (fixed && f.scale_precision != scale && f.scale_precision != scale_kind::fp16) {
        notes.push_back("changed scale_precision to " + std::string(word_of(scale_words, scale)) +
                        " for " + name_of(f.family));
    }
}

}  // namespace detail

/// The E8M0 rule of a run without --mx_rule: that of the only clients that rotate inputs where
/// there is a transform or the fp_quant layout was asked for by name; else `even`, that of all
/// others. It depends on what was asked for, never on whether anything is written.
inline scale_rule mx_rule_of(scheme_flags const& f, std::string const& layout) {
    bool const rotates = f.transform != transform_kind::identity || layout == "fp_quant";
    return f.mx_rule.value_or(rotates ? scale_rule::fp_quant : scale_rule::even);
}

}  // namespace fpq
