// SPDX-License-Identifier: Apache-2.0
// Floor 4. Scales per input channel that make a linear easier to quantize: inputs are divided by
// them and the columns of weights multiplied. SmoothQuant balances the largest input against the
// largest weight of a channel, AWQ protects weights of channels with large inputs.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "fpq/core/hosted/error.hpp"

namespace fpq {

enum class smooth_rule : std::uint8_t { none, smoothquant, awq };

constexpr char const* name_of(smooth_rule rule) noexcept {
    constexpr char const* names[] = {"none", "smoothquant", "awq"};
    return names[static_cast<int>(rule)];
}

/// Which scales, and their exponent; empty: the best of smooth_exponents, or none.
struct smooth_args {
    smooth_rule rule = smooth_rule::none;
    std::optional<double> alpha;

    [[nodiscard]] bool acts() const noexcept { return rule != smooth_rule::none; }
    [[nodiscard]] bool operator==(smooth_args const&) const noexcept = default;
};

/// Exponents of a search: i / smooth_exponents for i from 0 to smooth_exponents.
inline constexpr std::size_t smooth_exponents = 20;

/// What is tried for one input: no scales, and those of all exponents or of the given one.
[[nodiscard]] constexpr std::size_t smooth_candidates(smooth_args const& args) noexcept {
    return args.alpha ? 2 : smooth_exponents + 2;
}

/// Tokens whose inputs a search looks at, evenly spread over those of the calibration.
inline constexpr std::size_t smooth_tokens = 1024;

/// What is known of channels, one value each; channels that share a scale are one.
struct channel_sizes {
    std::vector<float> input_amax;   ///< max |x|
    std::vector<float> input_mean;   ///< mean |x|
    std::vector<float> weight_amax;  ///< max |w| over the linears that read the channel
};

/// The scales of a rule under an exponent from 0 to 1, greater than 0 and divided by the geometric
/// mean of the least and the largest, so that neither side carries all:
/// smoothquant max|x|^alpha / max|w|^(1 - alpha), awq mean|x|^alpha. Channels without input or
/// weight have 1; what is further than 2^12 from 1 is drawn there.
/// Throws fpq::error (usage) for another exponent, sizes that disagree or the rule none.
[[nodiscard]] inline std::vector<float> smooth_scales(smooth_rule rule, channel_sizes const& of,
                                                      double alpha) {
    std::size_t const n = of.weight_amax.size();
    if (rule == smooth_rule::none || of.input_amax.size() != n || of.input_mean.size() != n) {
        fail_usage("sizes of channels", "smooth_scales", "a rule, and as many of each",
                   name_of(rule));
    }
    if (!(alpha >= 0.0 && alpha <= 1.0)) {
        fail_usage("exponent", "smooth_scales", "a number from 0 to 1", std::to_string(alpha));
    }
    constexpr double furthest = 4096.0;
    std::vector<double> exact(n, 0.0);  // 0: the channel has no say
    double least = std::numeric_limits<double>::infinity();
    double most = 0.0;
    for (std::size_t c = 0; c < n; ++c) {
        if (!(of.input_amax[c] > 0.0F && of.input_mean[c] > 0.0F && of.weight_amax[c] > 0.0F)) {
            continue;
        }
        exact[c] = rule == smooth_rule::awq
                       ? std::pow(static_cast<double>(of.input_mean[c]), alpha)
                       : std::pow(static_cast<double>(of.input_amax[c]), alpha) /
                             std::pow(static_cast<double>(of.weight_amax[c]), 1.0 - alpha);
        least = std::min(least, exact[c]);
        most = std::max(most, exact[c]);
    }
    std::vector<float> out(n, 1.0F);
    double const middle = most > 0.0 ? std::sqrt(least) * std::sqrt(most) : 1.0;
    for (std::size_t c = 0; c < n; ++c) {
        if (exact[c] > 0.0) {
            out[c] = static_cast<float>(std::clamp(exact[c] / middle, 1.0 / furthest, furthest));
        }
    }
    return out;
}

}  // namespace fpq
