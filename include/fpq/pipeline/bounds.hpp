// SPDX-License-Identifier: Apache-2.0
// Floor 8. What every number of a recipe may be, once: flags (as text), recipe files (as JSON) and
// recipes made by a program are held to the same rows, and refused by the same words.
#pragma once

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <system_error>

#include "fpq/core/hosted/error.hpp"
#include "fpq/pipeline/words.hpp"

namespace fpq {

/// A count from `least` to `most`; `special` is what a message adds ("0: all").
struct count_bounds {
    std::uint64_t least = 0;
    std::uint64_t most = std::numeric_limits<std::uint64_t>::max();
    std::string_view special;

    [[nodiscard]] constexpr bool holds(std::uint64_t value) const noexcept {
        return value >= least && value <= most;
    }
};

/// A real number from `least` to `most`.
struct real_bounds {
    double least = 0.0;
    double most = 1.0;

    /// Never NaN.
    [[nodiscard]] constexpr bool holds(double value) const noexcept {
        return value >= least && value <= most;
    }
};

namespace bounds {

inline constexpr count_bounds bits{2, 16, "16: not quantized"};
inline constexpr count_bounds group_size{1, std::uint64_t{1} << 20, "-1: the whole row"};
inline constexpr count_bounds group{1, std::uint64_t{1} << 20, {}};  // of a recipe file
inline constexpr count_bounds transform_block{1, std::uint64_t{1} << 16, {}};
inline constexpr count_bounds sequence_length{2, std::uint64_t{1} << 20, {}};
inline constexpr count_bounds num_sequences{1, std::uint64_t{1} << 20, {}};
inline constexpr count_bounds seed{};
inline constexpr count_bounds polish{0, 1000, "0: none"};
inline constexpr count_bounds polish_passes{1, 1000, {}};  // of a recipe file
inline constexpr count_bounds joint{0, 1000, "0: none"};
inline constexpr count_bounds joint_sweeps{1, 1000, {}};  // of a recipe file
inline constexpr count_bounds memory_bytes{1, std::uint64_t{1} << 50, "bytes, or 16GB, 16GiB"};
inline constexpr count_bounds shard_bytes{1, std::uint64_t{1} << 50, "bytes, or 5GB, 2GiB"};
inline constexpr count_bounds characters{0, std::uint64_t{1} << 50, "0: all"};
inline constexpr count_bounds windows{0, std::uint64_t{1} << 32, "0: all"};
inline constexpr count_bounds task_batch{0, 4096, "0: as many as are served side by side"};
inline constexpr count_bounds threads{0, 4096, "0: all processors"};
inline constexpr real_bounds rel_damp{0.0, 1.0};
inline constexpr real_bounds smooth_alpha{0.0, 1.0};

}  // namespace bounds

/// "an integer from 2 to 1048576".
inline std::string described(count_bounds const& b) {
    return "an integer from " + std::to_string(b.least) + " to " + std::to_string(b.most) +
           (b.special.empty() ? "" : " (" + std::string(b.special) + ")");
}

/// "a number from 0 to 1".
inline std::string described(real_bounds const& b) {
    auto const plain = [](double value) {
        std::string text = std::to_string(value);
        text.erase(text.find_last_not_of('0') + 1);
        return text.ends_with('.') ? text.substr(0, text.size() - 1) : text;
    };
    return "a number from " + plain(b.least) + " to " + plain(b.most);
}

/// Throws fpq::error (usage) at `place` unless `value` is within `b`.
inline void require_within(std::string_view place, count_bounds const& b, std::uint64_t value) {
    if (!b.holds(value)) {
        fail_usage(place, {}, described(b), std::to_string(value));
    }
}
inline void require_within(std::string_view place, real_bounds const& b, double value) {
    if (!b.holds(value)) {
        fail_usage(place, {}, described(b), std::to_string(value));
    }
}

/// The integer that `text` is, all of it. Throws fpq::error (usage): signs, blanks, fractions,
/// empty text and what does not fit 64 bits are refused like what is out of bounds.
inline std::uint64_t read_count(std::string_view place, count_bounds const& b,
                                std::string_view text) {
    std::uint64_t value = 0;
    auto const [end, fault] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (text.empty() || fault != std::errc{} || end != text.data() + text.size() ||
        !b.holds(value)) {
        fail_usage(place, {}, described(b), detail::shown(text));
    }
    return value;
}

/// The same for real numbers; infinities and NaN are never within bounds.
inline double read_real(std::string_view place, real_bounds const& b, std::string_view text) {
    double value = 0.0;
    auto const [end, fault] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (text.empty() || fault != std::errc{} || end != text.data() + text.size() ||
        !b.holds(value)) {
        fail_usage(place, {}, described(b), detail::shown(text));
    }
    return value;
}

/// A count of bytes: a plain number, or one with KB, MB, GB, TB (of 1000) or KiB, MiB, GiB, TiB.
inline std::uint64_t read_bytes(std::string_view place, count_bounds const& b,
                                std::string_view text) {
    std::size_t const digits = std::min(text.find_first_not_of("0123456789"), text.size());
    std::string const unit = detail::plain_word(text.substr(digits));
    std::uint64_t factor = unit.empty() ? 1 : 0;
    for (std::size_t power = 1; power <= 4; ++power) {
        std::string const letter(1, "kmgt"[power - 1]);
        for (std::uint64_t const step : {std::uint64_t{1000}, std::uint64_t{1024}}) {
            if (unit == letter + (step == 1000 ? "b" : "ib")) {
                factor = 1;
                for (std::size_t i = 0; i < power; ++i) {
                    factor *= step;
                }
            }
        }
    }
    std::uint64_t value = 0;
    auto const [end, fault] = std::from_chars(text.data(), text.data() + digits, value);
    if (digits == 0 || factor == 0 || fault != std::errc{} || end != text.data() + digits ||
        value > b.most / factor || !b.holds(value * factor)) {
        fail_usage(place, {}, described(b), detail::shown(text));
    }
    return value * factor;
}

}  // namespace fpq
