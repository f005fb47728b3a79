// SPDX-License-Identifier: Apache-2.0
// Floor 2. The scale of one group by each observer. `scale_search` holds a group in a padded
// buffer, divided by a power of two so that errors neither underflow nor overflow (exact).
// Candidate orders are part of the contract: on equal errors the first candidate stays.
// Sources: FP-Quant (mse); ScaleSearch, arXiv 2605.12464 (sweep); QuTLASS (abs_max, quest).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "fpq/core/hosted/simd_level.hpp"
#include "fpq/core/rounded.hpp"
#include "fpq/core/view.hpp"
#include "fpq/format/block.hpp"
#include "fpq/format/scale_bytes.hpp"
#include "fpq/quant/group_error.hpp"
#include "fpq/quant/kernels/group_lanes.hpp"
#include "fpq/quant/observer_options.hpp"
#include "fpq/quant/stored_scale.hpp"

namespace fpq {

/// Finds the scale of one group at a time; one object a thread.
class scale_search {
public:
    /// plain: never through a kernel; what the kernels are compared with.
    scale_search(quant_format const& format, observer_options const& options, bool plain = false)
        : format_(format), options_(settled(format, options)), rule_(rule_of(format.element)) {
        level_ = plain ? simd_level::generic : active_simd_level();
        bounds_ = rule_;
        if (!format.symmetric) {
            bounds_.high = static_cast<float>((1 << element_bits(format.element)) - 1);
        }
    }

    /// Takes columns [first, first + count) of all rows of w as one group.
    void load(matrix_view<float const> w, std::size_t first, std::size_t count) {
        std::size_t const n = w.rows * count;
        count_ = n;
        padded_ = (n + error_lanes - 1) / error_lanes * error_lanes;
        values_.resize(padded_);
        for (std::size_t i = 0; i < w.rows; ++i) {
            float const* from = w.row(i) + first;
            std::copy(from, from + count, values_.data() + i * count);
        }
        std::fill(values_.begin() + static_cast<std::ptrdiff_t>(n), values_.end(), 0.0F);
        kernels::extremes const ends = kernels::extremes_at(level_, values_.data(), padded_);
        least_ = ends.least;
        most_ = ends.most;
        amax_ = magnitude(std::max(-least_, most_));  // never -0
        if (!options_.column_weight.empty() && options_.rule == scale_rule::sweep) {
            weights_.assign(padded_, 0.0F);
            for (std::size_t i = 0; i < w.rows; ++i) {
                std::copy_n(options_.column_weight.begin() + static_cast<std::ptrdiff_t>(first),
                            count, weights_.begin() + static_cast<std::ptrdiff_t>(i * count));
            }
        }
    }

    /// The scale of the loaded group. An all-zero or infinite group gets its minmax scale, but for
    /// abs_max and quest.
    [[nodiscard]] group_scale find() {
        if (options_.rule == scale_rule::abs_max || options_.rule == scale_rule::quest) {
            return statistic();
        }
        bool const plain = amax_ == 0.0F || !is_finite(amax_);
        if (options_.rule == scale_rule::minmax || plain) {
            return minmax();
        }
        normalise();
        if (options_.rule == scale_rule::four_over_six) {
            return four_over_six();
        }
        if (options_.rule == scale_rule::mse) {
            return rule_.integer ? mse<true>() : mse<false>();
        }
        bool const weighted = !weights_.empty();
        if (rule_.integer) {
            return weighted ? sweep<true, true>() : sweep<true, false>();
        }
        return weighted ? sweep<false, true>() : sweep<false, false>();
    }

private:
    [[nodiscard]] base_scale minmax_base() const noexcept {
        return minmax_base_of(format_, least_, most_);
    }

    [[nodiscard]] group_scale minmax() const noexcept {
        base_scale const b = minmax_base();
        return store_scale(format_, rule_, b.scale, amax_, b.zero, options_);
    }

    /// abs_max and quest: a scale from the maximum, or from mean and mean square, summed in order.
    [[nodiscard]] group_scale statistic() const noexcept {
        float const g = options_.global_scale;
        bool const nv = format_.scale == scale_kind::e4m3;
        mx_rule_constants const mx = mx_constants(options_.rule, false, g);
        if (options_.rule == scale_rule::abs_max) {
            return stored(nv ? nv_byte_of_maximum(options_.rule, amax_, g) : mx_byte(mx, amax_));
        }
        float sum = 0.0F;
        float squares = 0.0F;
        for (std::size_t i = 0; i < count_; ++i) {
            sum = add_rn(sum, values_[i]);
            squares = add_rn(squares, mul_rn(values_[i], values_[i]));
        }
        float const per = div_rn(1.0F, static_cast<float>(count_));
        float const scale = quest_scale(mul_rn(sum, per), mul_rn(squares, per));
        return stored(nv ? nv_byte(scale, g) : mx_byte(mx, scale));
    }

    /// The maximum as 6, or as 4 where that has the smaller error.
    [[nodiscard]] group_scale four_over_six() const noexcept {
        group_scale const six = minmax();
        group_scale const four = stored(nv_byte(mul_rn(amax_, 0.25F), options_.global_scale));
        return error_of<false, false>(four) < error_of<false, false>(six) ? four : six;
    }

    [[nodiscard]] group_scale stored(std::uint8_t byte) const noexcept {
        return decode_group_scale(format_.scale, byte, 0, options_.global_scale);
    }

    void normalise() noexcept {
        int const e = std::clamp(floor_log2(amax_), -126, 126);
        unit_ = exp2_int(-e);
        for (float& v : values_) {
            v *= unit_;
        }
    }

    [[nodiscard]] grid_rule rule_at(std::uint8_t zero) const noexcept {
        return format_.symmetric ? rule_ : rule_of_asymmetric(format_.element, zero);
    }

    template <bool Integer>
    [[nodiscard]] group_scale mse() const noexcept {
        base_scale const b = minmax_base();
        grid_rule const rule = rule_at(b.zero);
        float best_factor = 1.0F;
        double best = 0.0;
        for (int i = 0; i < mse_steps; ++i) {
            auto const factor = static_cast<float>(1.0 - mse_max_shrink * i / mse_steps);
            // Scales only shrink from here: once the largest value's cut alone is worse, stop.
            float const cut = amax_ * unit_ - rule.reach() * b.scale * factor * unit_;
            if (i > 0 && cut > 0.0F &&
                static_cast<double>(power_2_4(cut)) >= best * mse_bound_slack) {
                break;
            }
            double const e = group_error<Integer, false, error_power::power_2_4>(
                values_.data(), nullptr, padded_, b.scale * factor * unit_, rule, level_);
            if (i == 0 || e < best) {
                best = e;
                best_factor = factor;
            }
        }
        // The E8M0 rules look at the maximum that the shrunk scale stands for.
        return store_scale(format_, rule_, b.scale * best_factor, amax_ * best_factor, b.zero,
                           options_);
    }

    /// Squared error of a stored scale, as decoding will have it.
    template <bool Integer, bool Weighted>
    [[nodiscard]] double error_of(group_scale const& s) const noexcept {
        return group_error<Integer, Weighted, error_power::square>(
            values_.data(), weights_.data(), padded_, s.value * unit_, rule_at(s.zero), level_);
    }

    struct found {
        group_scale scale;
        double error;
        int index;
    };

    /// Walks candidates start, start-1, .. low, then start+1, .. high; |scale| grows with the
    /// index. Each direction ends where a lower bound says that nothing further can win.
    template <bool Integer, bool Weighted, class Candidate>
    [[nodiscard]] found walk(int start, int low, int high, Candidate candidate) const noexcept {
        found best{candidate(start), 0.0, start};
        best.error = error_of<Integer, Weighted>(best.scale);
        auto const take = [&](int i, group_scale const& s) {
            double const e = error_of<Integer, Weighted>(s);
            if (e < best.error) {
                best = {s, e, i};
            }
        };
        float const* const w = values_.data();
        float const* const weight = weights_.data();
        for (int i = start - 1; i >= low; --i) {
            group_scale const s = candidate(i);
            if (clipping_bound<Weighted>(w, weight, padded_, s.value * unit_, bounds_) >=
                best.error * bound_slack) {
                break;
            }
            take(i, s);
        }
        for (int i = start + 1; i <= high; ++i) {
            group_scale const s = candidate(i);
            if (vanishing_bound<Weighted>(w, weight, padded_, s.value * unit_, bounds_) >=
                best.error * bound_slack) {
                break;
            }
            take(i, s);
        }
        return best;
    }

    template <bool Integer, bool Weighted>
    [[nodiscard]] group_scale sweep() const {
        float const g = options_.global_scale;
        if (format_.scale == scale_kind::fp16) {
            return format_.symmetric ? sweep_fp16<Integer, Weighted>()
                                     : sweep_asymmetric<Integer, Weighted>();
        }
        std::uint8_t const zero = minmax_base().zero;
        auto const candidate = [&](int byte) {
            return decode_group_scale(format_.scale, static_cast<std::uint16_t>(byte), zero, g);
        };
        if (format_.scale == scale_kind::e4m3) {
            int const start = minmax().stored;
            return walk<Integer, Weighted>(start, 1, e4m3::max_code, candidate).scale;
        }
        int const start = mx_scale_byte(scale_rule::floor, rule_, amax_, g);
        int const low = std::max(start - 2, 0);
        int const high = std::min<int>(start + 3, e8m0::max_code);
        return walk<Integer, Weighted>(start, low, high, candidate).scale;
    }

    /// Steps of 2 %, then of 0.25 %; INT with signed_end: the negative scales after the positive.
    template <bool Integer, bool Weighted>
    [[nodiscard]] group_scale sweep_fp16() const {
        float const base_scale = minmax_base().scale;
        auto const at = [&](double factor) {
            float const scale = static_cast<float>(static_cast<double>(base_scale) * factor);
            return decode_group_scale(scale_kind::fp16, store_fp16(scale, options_.global_scale), 0,
                                      options_.global_scale);
        };
        auto const coarse = [](int i) {
            return std::exp2(static_cast<double>(i) / fp16_steps_an_octave);
        };
        double sign = 1.0;
        found best = walk<Integer, Weighted>(0, fp16_lowest, fp16_highest,
                                             [&](int i) { return at(coarse(i)); });
        if (Integer && options_.signed_end) {
            found const other = walk<Integer, Weighted>(0, fp16_lowest, fp16_highest,
                                                        [&](int i) { return at(-coarse(i)); });
            if (other.error < best.error) {
                best = other;
                sign = -1.0;
            }
        }
        double const centre = sign * coarse(best.index);
        for (int i = -fp16_refine; i <= fp16_refine; ++i) {
            group_scale const s = at(centre * (1.0 + fp16_refine_step * i));
            double const e = error_of<Integer, Weighted>(s);
            if (e < best.error) {
                best = {s, e, best.index};
            }
        }
        return best.scale;
    }

    /// Both ends shrunk together from 1.1 down to 0.4 of the minmax range in steps of 2 %, each
    /// with the zero point and its two neighbours; minmax itself comes first.
    template <bool Integer, bool Weighted>
    [[nodiscard]] group_scale sweep_asymmetric() const {
        base_scale const b = minmax_base();
        int const last = (1 << element_bits(format_.element)) - 1;
        group_scale best = minmax();
        double best_error = error_of<Integer, Weighted>(best);
        for (int step = 5; step >= -46; --step) {
            double const factor = std::exp2(static_cast<double>(step) / fp16_steps_an_octave);
            std::uint16_t const stored =
                store_fp16(static_cast<float>(b.scale * factor), options_.global_scale);
            for (int shift = -1; shift <= 1; ++shift) {
                int const zero = b.zero + shift;
                if (zero < 0 || zero > last) {
                    continue;
                }
                group_scale const s =
                    decode_group_scale(scale_kind::fp16, stored, static_cast<std::uint8_t>(zero),
                                       options_.global_scale);
                double const e = error_of<Integer, Weighted>(s);
                if (e < best_error) {
                    best = s;
                    best_error = e;
                }
            }
        }
        return best;
    }

    /// Bounds and errors are rounded differently: stop only when clearly beyond.
    static constexpr double bound_slack = 1.0 + 1e-5;
    static constexpr double mse_bound_slack = 1.0 + 1e-4;

    quant_format format_;
    observer_options options_;
    grid_rule rule_;
    simd_level level_ = simd_level::generic;
    grid_rule bounds_;            // the widest grid that any zero point gives
    std::vector<float> values_;   // one group, zero-padded, times unit_ once normalised
    std::vector<float> weights_;  // empty: unweighted
    std::size_t count_ = 0;       // values of the group
    std::size_t padded_ = 0;
    float least_ = 0.0F;  // of the group, at most 0
    float most_ = 0.0F;   // of the group, at least 0
    float amax_ = 0.0F;
    float unit_ = 1.0F;  // 2^-floor(log2 amax) once normalised
};

}  // namespace fpq
