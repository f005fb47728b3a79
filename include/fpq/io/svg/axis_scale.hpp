// SPDX-License-Identifier: Apache-2.0
// Floor 5. Where values lie on an axis, and its ticks: 1, 2 and 5 times powers of ten.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include "fpq/io/svg/chart.hpp"

namespace fpq::detail {

/// An axis from `low` to `high`, low < high, with ticks within.
struct axis_scale {
    double low = 0.0;
    double high = 1.0;
    bool log = false;
    std::vector<double> ticks;

    /// Whether a value has a place.
    [[nodiscard]] bool shows(double value) const {
        return std::isfinite(value) && (!log || value > 0.0);
    }
    /// The place of a value as a share of the axis; of one outside, the nearer end.
    [[nodiscard]] double at(double value) const {
        if (log) {
            value = value > 0.0 ? value : low;
            return std::clamp(std::log(value / low) / std::log(high / low), 0.0, 1.0);
        }
        return std::clamp((value - low) / (high - low), 0.0, 1.0);
    }
};

/// The largest of 1, 2 and 5 times a power of ten that is not above `value` > 0.
inline double round_down_125(double value) {
    double const power = std::pow(10.0, std::floor(std::log10(value)));
    double const digit = value / power * (1.0 + 1e-12);
    return power * (digit >= 5.0 ? 5.0 : digit >= 2.0 ? 2.0 : 1.0);
}

/// The smallest of them that is not below.
inline double round_up_125(double value) {
    double const power = std::pow(10.0, std::floor(std::log10(value)));
    double const digit = value / power * (1.0 - 1e-12);
    return power * (digit <= 1.0 ? 1.0 : digit <= 2.0 ? 2.0 : digit <= 5.0 ? 5.0 : 10.0);
}

/// About five steps over [low, high], whose ends move out to ticks.
inline axis_scale linear_scale(double low, double high, bool whole) {
    if (!(low < high)) {
        double const room = low == 0.0 || whole ? 1.0 : std::abs(low) / 2.0;
        low -= low == 0.0 ? 0.0 : room;
        high += room;
    }
    constexpr double steps = 5.0;
    double step = round_up_125((high - low) / steps);
    step = whole ? std::max(1.0, step) : step;
    axis_scale out;
    out.low = std::floor(low / step + 1e-9) * step;
    out.high = std::ceil(high / step - 1e-9) * step;
    auto const count = static_cast<std::size_t>(std::lround((out.high - out.low) / step));
    for (std::size_t i = 0; i <= count; ++i) {
        double const tick = out.low + static_cast<double>(i) * step;
        out.ticks.push_back(std::abs(tick) < step * 1e-9 ? 0.0 : tick);
    }
    return out;
}

/// Ticks at 1, 2 and 5 over less than two decades, else at powers of ten, of many every n-th.
inline axis_scale log_scale(double low, double high) {
    axis_scale out;
    out.log = true;
    out.low = round_down_125(low);
    out.high = round_up_125(high);
    if (!(out.low < out.high)) {
        out.low /= 2.0;
        out.high *= 2.0;
    }
    double const decades = std::log10(out.high / out.low);
    if (decades > 2.0) {
        out.low = std::pow(10.0, std::floor(std::log10(out.low) + 1e-9));
        out.high = std::pow(10.0, std::ceil(std::log10(out.high) - 1e-9));
    }
    constexpr double most = 6.0;
    auto const first = static_cast<int>(std::floor(std::log10(out.low) + 1e-9));
    auto const last = static_cast<int>(std::ceil(std::log10(out.high) - 1e-9));
    int const every = static_cast<int>(std::ceil(static_cast<double>(last - first) / most));
    for (int power = first; power <= last; power += std::max(1, every)) {
        for (double const digit : {1.0, 2.0, 5.0}) {
            double const tick = digit * std::pow(10.0, power);
            bool const within = tick > out.low * (1 - 1e-9) && tick < out.high * (1 + 1e-9);
            if (within && (digit == 1.0 || decades <= 2.0)) {
                out.ticks.push_back(tick);
            }
        }
    }
    return out;
}

/// An axis for values from `low` to `high`; those of a logarithmic one are above 0.
inline axis_scale scale_for(double low, double high, chart_axis const& axis) {
    return axis.log ? log_scale(low, high) : linear_scale(low, high, axis.whole);
}

/// A value in few characters: 0.002, 1500, 1e-5, 2.5e+7 as 2.5e7.
inline std::string short_number(double value, int digits = 4) {
    std::string text = fmt::format("{:.{}g}", value, digits);
    std::size_t const e = text.find('e');
    if (e == std::string::npos) {
        return text;
    }
    std::size_t const begin = text.find_first_not_of("+-0", e + 1);
    return text.substr(0, e) + (text[e + 1] == '-' ? "e-" : "e") + text.substr(begin);
}

}  // namespace fpq::detail
