// SPDX-License-Identifier: Apache-2.0
// Floor 4. Descent over scales and codes together: for each group of a row the stored scales near
// the present one are tried, the codes re-rounded under each, and the best taken if the objective
// falls. It starts where a solver with fixed scales ended. Codes alone (polish.hpp) cannot follow a
// scale, and a scale alone would leave its codes behind.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "fpq/core/view.hpp"
#include "fpq/format/block.hpp"
#include "fpq/format/near_scale.hpp"
#include "fpq/format/stored_scale.hpp"
#include "fpq/linalg/hessian.hpp"
#include "fpq/solve/descend.hpp"
#include "fpq/solve/descent.hpp"
#include "fpq/solve/options.hpp"
#include "fpq/solve/polish.hpp"

namespace fpq {

namespace detail {

/// One group of one row while it is tried. All arrays are `length` long and relative to the group.
template <class Codec>
class joint_group {
public:
    joint_group(descent_input const& in, descent_state const& s, std::size_t r, std::size_t first,
                std::size_t length)
        : in_(in),
          first_(first),
          length_(length),
          w_(in.w.row(s.row0 + r) + first),
          error_(s.errors.data() + r * in.h.rows + first),
          slope_(s.slope.data() + r * in.h.rows + first),
          codes_(s.codes.data() + r * in.h.rows + first) {}

    /// What is known of the best candidate so far.
    struct choice {
        bool found = false;
        double gain = 0;  // the change of the row's objective, negative
        group_scale scale{};
        std::vector<std::uint8_t> codes;
    };

    /// Tries every scale near `now`, and every zero point near its own; the first of equals stays.
    choice search(group_scale const& now) {
        choice best;
        int const span = joint_span(in_.format.scale);
        int const shift = in_.format.symmetric ? 0 : 1;
        int const last_zero = (1 << element_bits(in_.format.element)) - 1;
        bool const fixed = in_.format.grain == granularity::tensor;  // one scale for all rows
        for (int step = fixed ? 0 : -span; step <= (fixed ? 0 : span); ++step) {
            near_scale const at = scale_near(in_.format.scale, now.stored, step);
            if (step != 0 && !at.ok) {
                continue;
            }
            for (int move = fixed ? 0 : -shift; move <= (fixed ? 0 : shift); ++move) {
                int const zero = now.zero + move;
                if (zero < 0 || zero > last_zero) {
                    continue;
                }
                bool const same = step == 0 && move == 0;
                group_scale const tried =
                    same ? now
                         : decode_group_scale(in_.format.scale, at.stored,
                                              static_cast<std::uint8_t>(zero), in_.global_scale);
                if (tried.value != 0.0F) {  // abs_max may have stored 0
                    consider(now, tried, same, best);
                }
            }
        }
        return best;
    }

private:
    [[nodiscard]] float const* h_row(std::size_t j) const noexcept {
        return in_.h.row(first_ + j) + first_;
    }

    /// Gives column j the code; slope and delta follow.
    void put(std::size_t j, std::uint8_t code, group_scale const& scale) {
        float const value = Codec::decode(code, scale.value, scale.zero);
        float const step = ((w_[j] - value) - error_[j]) - delta_[j];
        code_[j] = code;
        if (step == 0.0F) {
            return;
        }
        delta_[j] += step;
        float const* const row = h_row(j);
        for (std::size_t c = 0; c < length_; ++c) {
            now_[c] += step * row[c];
        }
        now_[j] += step * in_.damping;
    }

    /// The codes under `tried`: the old values on its grid, then two sweeps in which each code is
    /// re-rounded given the group's others.
    void consider(group_scale const& old, group_scale const& tried, bool same, choice& best) {
        constexpr int sweeps = 2;
        code_.assign(codes_, codes_ + length_);
        delta_.assign(length_, 0.0F);
        now_.assign(slope_, slope_ + length_);
        for (std::size_t j = 0; j < length_ && !same; ++j) {
            float const value = Codec::decode(codes_[j], old.value, old.zero);
            put(j, Codec::encode(value, tried.value, tried.zero), tried);
        }
        for (int sweep = 0; sweep < sweeps; ++sweep) {
            for (std::size_t j = 0; j < length_; ++j) {
                float const curvature = h_row(j)[j] + in_.damping;
                // A column that nothing excites is rounded to nearest, as before.
                float const target = curvature > 0.0F
                                         ? (w_[j] - (error_[j] + delta_[j])) + now_[j] / curvature
                                         : w_[j];
                std::uint8_t const code = Codec::encode(target, tried.value, tried.zero);
                if (code != code_[j]) {
                    put(j, code, tried);
                }
            }
        }
        double gain = 0;
        double square = 0;  // delta (H + damping I) delta^T
        for (std::size_t j = 0; j < length_; ++j) {
            auto const d = static_cast<double>(delta_[j]);
            auto const before = static_cast<double>(slope_[j]);
            auto const after = static_cast<double>(now_[j]);
            gain += d * (before + after);
            square += d * (after - before);
        }
        if (gain < best.gain && gain < -static_cast<double>(least_gain) * square) {
            best.found = true;
            best.gain = gain;
            best.scale = tried;
            best.codes = code_;
        }
    }

    descent_input const& in_;
    std::size_t first_;
    std::size_t length_;
    float const* w_;
    float const* error_;
    float const* slope_;
    std::uint8_t const* codes_;
    std::vector<std::uint8_t> code_;
    std::vector<float> delta_;
    std::vector<float> now_;  // the slope under the candidate
};

/// Chooses scale and codes of the groups in columns [c0, c0 + width) of row r, one after the other.
template <class Codec>
struct visit_groups {
    bool operator()(descent_input const& in, descent_state& s, std::size_t r, std::size_t c0,
                    std::size_t width, float* change) const {
        std::size_t const n = in.h.rows;
        std::size_t const group = in.format.group_of(n);
        group_scale* const scales = s.scales.data() + r * in.format.groups(n);
        float* const slope = s.slope.data() + r * n + c0;
        bool changed = false;
        for (std::size_t first = 0; first < width; first += group) {
            std::size_t const length = std::min(group, width - first);
            std::size_t const g = (c0 + first) / group;
            auto const best = joint_group<Codec>(in, s, r, c0 + first, length).search(scales[g]);
            if (!best.found) {
                continue;
            }
            changed = true;
            scales[g] = best.scale;
            std::copy(best.codes.begin(), best.codes.end(), s.codes.data() + r * n + c0 + first);
            for (std::size_t j = 0; j < length; ++j) {
                std::size_t const k = first + j;
                float& error = s.errors[r * n + c0 + k];
                float const left = in.w(s.row0 + r, c0 + k) -
                                   Codec::decode(best.codes[j], best.scale.value, best.scale.zero);
                float const delta = left - error;
                error = left;
                change[k] = delta;
                float const* const row = in.h.row(c0 + k) + c0;
                for (std::size_t i = 0; i < width && delta != 0.0F; ++i) {
                    slope[i] += delta * row[i];
                }
                slope[k] += delta * in.damping;
            }
        }
        return changed;
    }
};

/// Columns of a block: as many whole groups as descent_block holds, at least one.
inline std::size_t joint_block(quant_format const& format, std::size_t n) noexcept {
    std::size_t const group = std::min(format.group_of(n), n);
    return std::max<std::size_t>(descent_block / group, 1) * group;
}

}  // namespace detail

/// Improves `solved`, the codes of w (out, in) by any method, by up to `sweeps` sweeps over all
/// groups, scales and codes together, towards `goal` (see polish). Every kind of scale, the zero
/// points of asymmetric formats too; with one scale a tensor codes alone. The objective, damped,
/// never increases. The same bytes at any thread count. Throws fpq::error (usage) when shapes
/// disagree. Cost of a sweep: that of a polish pass and, for groups of k, 9 to 27 candidates a
/// group with up to 3 k^2 multiplications and additions each.
inline void joint(matrix_view<float const> w, descent_goal const& goal, int sweeps, int threads,
                  solve_result& solved) {
    if (w.size() == 0) {
        return;
    }
    detail::descend(w, goal, "joint", detail::joint_block(solved.weight.format, w.cols), sweeps,
                    threads, solved,
                    [](auto codec) { return detail::visit_groups<decltype(codec)>{}; });
}

}  // namespace fpq
