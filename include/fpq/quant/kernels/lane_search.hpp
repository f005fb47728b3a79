// SPDX-License-Identifier: Apache-2.0
// Floor 2. The searches of scale_search.hpp for eight groups at once, one a lane. All lanes try the
// same place of their own lists of candidates, in the order of the plain search; the lists end when
// no lane can gain. A lane may see candidates that the plain search has ruled out: those never win.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "fpq/core/hosted/simd_level.hpp"
#include "fpq/format/block.hpp"
#include "fpq/quant/kernels/group_lanes.hpp"
#include "fpq/quant/kernels/lane_errors.hpp"
#include "fpq/quant/kernels/lane_steps.hpp"
#include "fpq/quant/observer_options.hpp"
#include "fpq/quant/scale_search.hpp"
#include "fpq/quant/stored_scale.hpp"

namespace fpq::kernels {

/// Takes groups one by one and answers eight at a time; one object a thread.
class lane_search {
public:
    /// cols: of the matrix. steps outlives the object.
    lane_search(quant_format const& format, observer_options const& options,
                lane_steps const& steps, std::size_t cols)
        : format_(format),
          options_(options),
          rule_(rule_of(format.element)),
          steps_(steps),
          level_(active_simd_level()) {
        std::size_t const n = (format.group_of(cols) + 15) / 16 * 16;
        bool const square = options.rule == scale_rule::sweep;
        bool const known = square || options.rule == scale_rule::mse;
        bool const zeros = !format.symmetric;
        usable_ = known && n > 0 && n <= lane_values && format.grain != granularity::tensor &&
                  (!zeros || (rule_.integer && format.scale == scale_kind::fp16));
        if (!usable_) {
            return;
        }
        bool const weighted = square && !options.column_weight.empty();
        errors_ = lane_errors_at(level_, rule_.integer, weighted, square);
        powers_ = lane_powers_at(level_);
        padded_.resize(n);
        values_.resize(n * lane_groups);
        weights_.resize(weighted ? n * lane_groups : 0);
        block_ = {values_.data(), weights_.data(), n, rule_, {}, {}};
        std::fill_n(block_.low, lane_groups, rule_.low);
        std::fill_n(block_.high, lane_groups, rule_.high);
        std::fill_n(reach_, lane_groups, rule_.reach());
        std::fill_n(unit_, lane_groups, 1.0F);
        std::fill_n(heaviest_, lane_groups, 1.0F);
    }
    lane_search(lane_search const&) = delete;
    lane_search& operator=(lane_search const&) = delete;

    /// False: not with these options, or groups that large.
    [[nodiscard]] bool usable() const noexcept { return usable_; }
    /// True when take() has no lane left.
    [[nodiscard]] bool full() const noexcept { return count_ == lane_groups; }

    /// The next group: x (count), its columns from `first` on; put of run() gets `tag` back.
    /// False: zeros, infinities and the ends of float's range, which are left to scale_search.
    bool take(float const* x, std::size_t count, std::size_t first, std::size_t tag) noexcept {
        std::size_t const n = block_.n;
        if (count != n) {
            std::copy(x, x + count, padded_.begin());
            std::fill(padded_.begin() + static_cast<std::ptrdiff_t>(count), padded_.end(), 0.0F);
            x = padded_.data();
        }
        extremes const ends = extremes_at(level_, x, n);
        float const amax = std::max(-ends.least, ends.most);
        if (!(amax >= 0x1p-100F && amax <= 0x1p100F)) {
            return false;
        }
        std::size_t const l = count_;
        base_scale const base = minmax_base_of(format_, ends.least, ends.most);
        group_scale const start =
            store_scale(format_, rule_, base.scale, amax, base.zero, options_);
        float const unit = exp2_int(-floor_log2(amax));
        bool const mse = options_.rule == scale_rule::mse;
        float const step = (mse ? base.scale : start.value) * unit;
        if (!(step >= 0x1p-30F && step <= 0x1p30F)) {
            return false;
        }
        amax_[l] = amax;
        unit_[l] = unit;
        base_[l] = base.scale;
        zero_[l] = base.zero;
        minmax_[l] = start;
        tag_[l] = tag;
        if (!format_.symmetric) {
            set_zero(l, base.zero);
        }
        std::size_t widest = 0;
        if (rule_.integer) {
            for (std::size_t i = 0; i < n; ++i) {
                values_[i * lane_groups + l] = x[i] * unit;
            }
        } else {
            for (std::size_t i = 0; i < n; ++i) {
                values_[i * lane_groups + l] = magnitude(x[i]) * unit;
            }
        }
        if (!weights_.empty()) {
            float const* const u = options_.column_weight.data() + first;
            for (std::size_t i = 0; i < n; ++i) {
                weights_[i * lane_groups + l] = i < count ? u[i] : 0.0F;
                widest = magnitude(x[i]) == amax ? i : widest;
            }
            heaviest_[l] = weights_[widest * lane_groups + l];
        }
        ++count_;
        return true;
    }

    /// put(tag, group_scale) for every group taken since the last run.
    template <class Put>
    void run(Put put) {
        if (count_ == 0) {
            return;
        }
        if (options_.rule == scale_rule::mse) {
            mse();
        } else if (format_.scale != scale_kind::fp16) {
            sweep_bytes();
        } else if (format_.symmetric) {
            sweep_fp16();
        } else {
            sweep_asymmetric();
        }
        for (std::size_t l = 0; l < count_; ++l) {
            put(tag_[l], found_[l]);
        }
        count_ = 0;
    }

private:
    void set_zero(std::size_t l, int zero) noexcept {
        grid_rule const rule = rule_of_asymmetric(format_.element, zero);
        block_.low[l] = rule.low;
        block_.high[l] = rule.high;
        reach_[l] = rule.reach();
    }

    /// Errors of step_; lanes that gain remember `index`. The first candidates always gain.
    void compare(int index, bool first) noexcept {
        float error[lane_groups];
        errors_(block_, step_, error);
        for (std::size_t l = 0; l < lane_groups; ++l) {
            bool const better = first | (error[l] < best_[l]);
            best_[l] = better ? error[l] : best_[l];
            index_[l] = better ? index : index_[l];
        }
    }

    /// Whether step_ or a smaller one may still win: what the largest value alone loses. It is one
    /// term of the error, and rounding is monotonic.
    [[nodiscard]] bool open_below() const noexcept {
        bool open = false;
        for (std::size_t l = 0; l < count_; ++l) {
            float const over = amax_[l] * unit_[l] - magnitude(step_[l]) * rule_.reach();
            float const cut = over > 0.0F ? over : 0.0F;
            open |= cut * cut * heaviest_[l] < best_[l];
        }
        return open;
    }

    void mse() noexcept {
        for (int i = 0; i < mse_steps; ++i) {
            auto const factor = static_cast<float>(1.0 - mse_max_shrink * i / mse_steps);
            float cut[lane_groups];
            for (std::size_t l = 0; l < lane_groups; ++l) {
                step_[l] = base_[l] * factor * unit_[l];
                float const over = amax_[l] * unit_[l] - reach_[l] * base_[l] * factor * unit_[l];
                cut[l] = over > 0.0F ? over : 0.0F;
            }
            if (i > 0) {
                powers_(cut);
                bool open = false;
                for (std::size_t l = 0; l < count_; ++l) {
                    open |= cut[l] < best_[l] * 1.0001F;
                }
                if (!open) {
                    break;
                }
            }
            compare(i, i == 0);
        }
        for (std::size_t l = 0; l < count_; ++l) {
            auto const factor = static_cast<float>(1.0 - mse_max_shrink * index_[l] / mse_steps);
            found_[l] = store_scale(format_, rule_, base_[l] * factor, amax_[l] * factor, zero_[l],
                                    options_);
        }
    }

    /// E4M3 from the minmax byte, E8M0 around the floor exponent.
    void sweep_bytes() noexcept {
        bool const e8 = format_.scale == scale_kind::e8m0;
        int start[lane_groups] = {};
        int low[lane_groups] = {};
        int high[lane_groups] = {};
        for (std::size_t l = 0; l < count_; ++l) {
            start[l] = e8 ? mx_scale_byte(scale_rule::floor, rule_, amax_[l], options_.global_scale)
                          : minmax_[l].stored;
            low[l] = e8 ? std::max(start[l] - 2, 0) : 1;
            high[l] = e8 ? std::min<int>(start[l] + 3, e8m0::max_code) : e4m3::max_code;
        }
        auto const byte_of = [&](std::size_t l, int i) {
            return std::clamp(start[l] + i, low[l], high[l]);
        };
        auto const set_steps = [&](int i) {
            for (std::size_t l = 0; l < lane_groups; ++l) {
                step_[l] = steps_.of_byte(byte_of(l, i)) * unit_[l];
            }
        };
        auto const any = [&](auto of) {
            bool is = false;
            for (std::size_t l = 0; l < count_; ++l) {
                is |= of(l);
            }
            return is;
        };
        set_steps(0);
        compare(0, true);
        for (int i = -1; any([&](std::size_t l) { return start[l] + i >= low[l]; }); --i) {
            set_steps(i);
            if (!open_below()) {
                break;
            }
            compare(i, false);
        }
        // A step of which half holds all values never beats that half, whose grid has all its
        // values and which is tried before it, or cannot win. Small bytes of E4M3 have no half.
        auto const may_win = [&](std::size_t l, int i) {
            int const byte = start[l] + i;
            bool const halves = amax_[l] * unit_[l] <= 0.5F * rule_.high * step_[l] &&
                                (e8 || byte >= 2 << e4m3::mantissa_bits);
            return byte <= high[l] && !halves;
        };
        for (int i = 1;; ++i) {
            set_steps(i);
            if (!any([&](std::size_t l) { return may_win(l, i); })) {
                break;
            }
            compare(i, false);
        }
        for (std::size_t l = 0; l < count_; ++l) {
            auto const byte = static_cast<std::uint16_t>(byte_of(l, index_[l]));
            found_[l] = {byte, zero_[l], steps_.of_byte(byte)};
        }
    }

    /// Candidate `factor` of fp16 scales.
    [[nodiscard]] group_scale fp16_at(std::size_t l, double factor,
                                      std::uint8_t zero) const noexcept {
        float const scale = static_cast<float>(static_cast<double>(base_[l]) * factor);
        return decode_group_scale(scale_kind::fp16, store_fp16(scale, options_.global_scale), zero,
                                  options_.global_scale);
    }
    template <class Factor>
    void set_fp16_steps(Factor factor) noexcept {
        double wide[lane_groups];
        for (std::size_t l = 0; l < lane_groups; ++l) {
            wide[l] = factor(l);
        }
        steps_.of_fp16(base_, wide, unit_, step_);
    }

    void sweep_fp16() noexcept {
        constexpr int negative = 1024;  // in index_: the candidate's sign
        auto const coarse = [&](int i) { return steps_.coarse(i); };
        bool const signed_end = rule_.integer && options_.signed_end;
        for (int side = 0; side < (signed_end ? 2 : 1); ++side) {
            double const sign = side == 0 ? 1.0 : -1.0;
            int const mark = side * negative;
            set_fp16_steps([&](std::size_t) { return sign * coarse(0); });
            compare(mark, side == 0);
            for (int i = -1; i >= fp16_lowest; --i) {
                set_fp16_steps([&](std::size_t) { return sign * coarse(i); });
                if (!open_below()) {
                    break;
                }
                compare(mark + i, false);
            }
            for (int i = 1; i <= fp16_highest; ++i) {
                set_fp16_steps([&](std::size_t) { return sign * coarse(i); });
                compare(mark + i, false);
            }
        }
        double centre[lane_groups] = {};
        for (std::size_t l = 0; l < lane_groups; ++l) {
            bool const flipped = index_[l] > negative / 2;
            centre[l] = flipped ? -coarse(index_[l] - negative) : coarse(index_[l]);
            index_[l] = 0;
        }
        constexpr int refined = 100;  // in index_: a fine step, so many above
        auto const fine = [](int i) { return 1.0 + fp16_refine_step * i; };
        for (int i = -fp16_refine; i <= fp16_refine; ++i) {
            set_fp16_steps([&](std::size_t l) { return centre[l] * fine(i); });
            compare(refined + i, false);
        }
        for (std::size_t l = 0; l < count_; ++l) {
            found_[l] =
                fp16_at(l, index_[l] == 0 ? centre[l] : centre[l] * fine(index_[l] - refined), 0);
        }
    }

    void sweep_asymmetric() noexcept {
        int const last = (1 << element_bits(format_.element)) - 1;
        auto const zero_of = [&](std::size_t l, int shift) {
            return std::clamp(zero_[l] + shift, 0, last);
        };
        constexpr int none = 1000;
        for (std::size_t l = 0; l < lane_groups; ++l) {
            step_[l] = minmax_[l].value * unit_[l];
        }
        compare(none, true);
        for (int step = 5; step >= -46; --step) {
            double const factor = steps_.coarse(step);
            set_fp16_steps([&](std::size_t) { return factor; });
            for (int shift = -1; shift <= 1; ++shift) {
                for (std::size_t l = 0; l < count_; ++l) {
                    set_zero(l, zero_of(l, shift));
                }
                compare(4 * step + shift, false);
            }
        }
        for (std::size_t l = 0; l < count_; ++l) {
            int const step = (index_[l] + 1002) / 4 - 250;  // index_ = 4 step + shift
            int const shift = index_[l] - 4 * step;
            found_[l] = index_[l] == none ? minmax_[l]
                                          : fp16_at(l, steps_.coarse(step),
                                                    static_cast<std::uint8_t>(zero_of(l, shift)));
        }
    }

    quant_format format_;
    observer_options options_;
    grid_rule rule_;
    lane_steps const& steps_;
    simd_level level_;
    bool usable_ = false;
    lane_errors_function errors_ = nullptr;
    lane_powers_function powers_ = nullptr;
    std::vector<float> padded_;   // one group
    std::vector<float> values_;   // of block_
    std::vector<float> weights_;  // of block_; empty: unweighted
    lane_block block_{};
    std::size_t count_ = 0;  // lanes taken

    // Of each lane's group.
    std::size_t tag_[lane_groups] = {};
    group_scale minmax_[lane_groups] = {};
    group_scale found_[lane_groups] = {};
    std::uint8_t zero_[lane_groups] = {};
    float amax_[lane_groups] = {};
    float unit_[lane_groups] = {};      // 2^-floor(log2 amax)
    float base_[lane_groups] = {};      // the unrounded minmax scale
    float reach_[lane_groups] = {};     // of its grid
    float heaviest_[lane_groups] = {};  // weight of its largest value
    float step_[lane_groups] = {};      // the candidate, times unit_
    float best_[lane_groups] = {};
    int index_[lane_groups] = {};
};

}  // namespace fpq::kernels
