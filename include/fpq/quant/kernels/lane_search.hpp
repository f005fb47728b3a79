// SPDX-License-Identifier: Apache-2.0
// Floor 2. The searches of scale_search.hpp for eight groups at once, one a lane. All lanes try the
// same place of their own lists of candidates, in the order of the plain search; a list ends when
// no lane can gain. A lane may see candidates that the plain search has ruled out: those never win.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "fpq/core/hosted/simd_level.hpp"
#include "fpq/format/block.hpp"
#include "fpq/quant/kernels/group_lanes.hpp"
#include "fpq/quant/kernels/lane_candidates.hpp"
#include "fpq/quant/kernels/lane_errors.hpp"
#include "fpq/quant/kernels/lane_load.hpp"
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
          level_(active_simd_level()),
          square_(options.rule == scale_rule::sweep),
          weighted_(square_ && !options.column_weight.empty()),
          usable_(has_lanes(format, options, cols)),
          n_((format.group_of(cols) + 15) / 16 * 16),
          candidates_(rule_.integer, weighted_, square_, usable_ ? most_candidates : 0),
          staged_(usable_ ? n_ * lane_groups : 0),
          staged_weights_(usable_ && weighted_ ? n_ * lane_groups : 0),
          values_(staged_.size()),
          weights_(staged_weights_.size()),
          block_{values_.data(), weights_.data(), n_, rule_, {}, {}} {
        std::fill_n(block_.low, lane_groups, rule_.low);
        std::fill_n(block_.high, lane_groups, rule_.high);
        std::fill_n(scores().reach, lane_groups, rule_.reach());
        std::fill_n(scores().heavy, lane_groups, 1.0F);
        scores().half = 0.5F * rule_.high;
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
        std::size_t const l = count_;
        float* const w = staged_.data() + l * n_;
        std::copy(x, x + count, w);
        std::fill(w + count, w + n_, 0.0F);
        extremes const ends = extremes_at(level_, w, n_);
        float const amax = std::max(-ends.least, ends.most);
        if (!(amax >= 0x1p-100F && amax <= 0x1p100F)) {
            return false;
        }
        base_scale const base = minmax_base_of(format_, ends.least, ends.most);
        float const unit = exp2_int(-floor_log2(amax));
        float step = base.scale;
        if (square_) {
            minmax_[l] = store_scale(format_, rule_, base.scale, amax, base.zero, options_);
            step = minmax_[l].value;
        }
        if (!(step * unit >= 0x1p-30F && step * unit <= 0x1p30F)) {
            return false;
        }
        amax_[l] = amax;
        scores().top[l] = amax * unit;
        scores().unit[l] = unit;
        base_[l] = base.scale;
        zero_[l] = base.zero;
        tag_[l] = tag;
        if (!format_.symmetric) {
            set_zero(l, base.zero);
        }
        if (weighted_) {
            float* const u = staged_weights_.data() + l * n_;
            std::copy_n(options_.column_weight.data() + first, count, u);
            std::fill(u + count, u + n_, 0.0F);
            std::size_t largest = 0;
            for (std::size_t i = 0; i < count; ++i) {
                largest = magnitude(w[i]) == amax ? i : largest;
            }
            scores().heavy[l] = u[largest];
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
        for (std::size_t l = count_; l < lane_groups; ++l) {
            repeat_first(l);
        }
        load_lanes_at(level_, staged_.data(), n_, scores().unit, !rule_.integer, values_.data());
        if (weighted_) {
            constexpr float ones[lane_groups] = {1, 1, 1, 1, 1, 1, 1, 1};
            load_lanes_at(level_, staged_weights_.data(), n_, ones, false, weights_.data());
        }
        candidates_.clear();
        if (!square_) {
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
    /// The longest list: both signs of the fp16 sweep.
    static constexpr std::size_t most_candidates = 2 * (1 + fp16_highest - fp16_lowest);

    lane_scores& scores() noexcept { return candidates_.scores; }

    void set_zero(std::size_t l, int zero) noexcept {
        grid_rule const rule = rule_of_asymmetric(format_.element, zero);
        block_.low[l] = rule.low;
        block_.high[l] = rule.high;
        scores().reach[l] = rule.reach();
    }

    /// Lane l without a group does what lane 0 does.
    void repeat_first(std::size_t l) noexcept {
        auto const at = static_cast<std::ptrdiff_t>(l * n_);
        std::copy_n(staged_.begin(), n_, staged_.begin() + at);
        if (weighted_) {
            std::copy_n(staged_weights_.begin(), n_, staged_weights_.begin() + at);
        }
        lane_scores& s = scores();
        s.top[l] = s.top[0];
        s.unit[l] = s.unit[0];
        s.heavy[l] = s.heavy[0];
        s.reach[l] = s.reach[0];
        amax_[l] = amax_[0];
        base_[l] = base_[0];
        zero_[l] = zero_[0];
        minmax_[l] = minmax_[0];
        block_.low[l] = block_.low[0];
        block_.high[l] = block_.high[0];
    }

    bool add(lane_source const& from, lane_test test, int code) noexcept {
        return candidates_.add(block_, from, test, code);
    }
    void choose() noexcept {
        candidates_.choose(block_, [](std::size_t, int) {});
    }

    void mse() noexcept {
        auto const factor = [](int i) {
            return static_cast<float>(1.0 - mse_max_shrink * i / mse_steps);
        };
        add({.base = base_}, lane_test::always, 0);
        for (int i = 1; i < mse_steps; ++i) {
            if (!add({.base = base_, .factor = factor(i)}, lane_test::below_power, i)) {
                break;
            }
        }
        choose();
        for (std::size_t l = 0; l < count_; ++l) {
            float const f = factor(candidates_.code(l));
            found_[l] = store_scale(format_, rule_, base_[l] * f, amax_[l] * f, zero_[l], options_);
        }
    }

    /// E4M3 from the minmax byte, E8M0 around the floor exponent.
    void sweep_bytes() noexcept {
        bool const e8 = format_.scale == scale_kind::e8m0;
        int start[lane_groups];
        float const* at[lane_groups];
        int least = e4m3::max_code;
        int most = 0;
        for (std::size_t l = 0; l < lane_groups; ++l) {
            start[l] = e8 ? mx_scale_byte(scale_rule::floor, rule_, amax_[l], options_.global_scale)
                          : minmax_[l].stored;
            at[l] = steps_.of_byte(start[l]);
            least = std::min(least, start[l]);
            most = std::max(most, start[l]);
        }
        // Beyond either end of E4M3 the last byte is repeated, which never wins.
        int const low = e8 ? -2 : 1 - most;
        int const high = e8 ? 3 : e4m3::max_code - least;
        auto const try_byte = [&](lane_test test, int i) {
            return add({.at = at, .index = i}, test, i);
        };
        try_byte(lane_test::always, 0);
        for (int i = -1; i >= low && try_byte(lane_test::below, i); --i) {
        }
        // A step of which half holds all values never beats that half, whose grid has all its
        // values and which is tried before it, or cannot win. Small bytes of E4M3 have no half.
        int const halves = e8 ? -2 : (2 << e4m3::mantissa_bits) - least;
        for (int i = 1; i <= high; ++i) {
            if (!try_byte(i < halves ? lane_test::always : lane_test::above, i)) {
                break;
            }
        }
        choose();
        int const first = e8 ? 0 : 1;
        int const last = e8 ? e8m0::max_code : e4m3::max_code;
        for (std::size_t l = 0; l < count_; ++l) {
            int const byte = std::clamp(start[l] + candidates_.code(l), first, last);
            found_[l] = {static_cast<std::uint16_t>(byte), zero_[l], *steps_.of_byte(byte)};
        }
    }

    /// Candidate `factor` of fp16 scales.
    [[nodiscard]] group_scale fp16_at(std::size_t l, double factor, int zero) const noexcept {
        float const scale = static_cast<float>(static_cast<double>(base_[l]) * factor);
        return decode_group_scale(scale_kind::fp16, store_fp16(scale, options_.global_scale),
                                  static_cast<std::uint8_t>(zero), options_.global_scale);
    }
    /// The candidate with these factors.
    bool add_fp16(double const* factors, lane_test test, int code) noexcept {
        float step[lane_groups];
        steps_.of_fp16(base_, factors, step);
        return add({.base = step}, test, code);
    }
    bool add_fp16(double factor, lane_test test, int code) noexcept {
        double factors[lane_groups];
        std::fill_n(factors, lane_groups, factor);
        return add_fp16(factors, test, code);
    }

    void sweep_fp16() noexcept {
        constexpr int negative = 1024;  // in a code: the candidate's sign
        int const sides = rule_.integer && options_.signed_end ? 2 : 1;
        for (int side = 0; side < sides; ++side) {
            double const sign = side == 0 ? 1.0 : -1.0;
            auto const try_at = [&](lane_test test, int i) {
                return add_fp16(sign * steps_.coarse(i), test, side * negative + i);
            };
            try_at(lane_test::always, 0);
            for (int i = -1; i >= fp16_lowest && try_at(lane_test::below, i); --i) {
            }
            for (int i = 1; i <= fp16_highest; ++i) {
                try_at(lane_test::always, i);
            }
        }
        choose();
        double centre[lane_groups];
        for (std::size_t l = 0; l < lane_groups; ++l) {
            int const code = candidates_.code(l);
            bool const flipped = code > negative / 2;
            centre[l] = flipped ? -steps_.coarse(code - negative) : steps_.coarse(code);
        }
        // Around the best, which stays the first candidate.
        candidates_.clear();
        constexpr int none = fp16_refine + 1;
        add_fp16(centre, lane_test::always, none);
        auto const fine = [&](std::size_t l, int i) {
            return i == none ? centre[l] : centre[l] * (1.0 + fp16_refine_step * i);
        };
        for (int i = -fp16_refine; i <= fp16_refine; ++i) {
            double factors[lane_groups];
            for (std::size_t l = 0; l < lane_groups; ++l) {
                factors[l] = fine(l, i);
            }
            add_fp16(factors, lane_test::always, i);
        }
        choose();
        for (std::size_t l = 0; l < count_; ++l) {
            found_[l] = fp16_at(l, fine(l, candidates_.code(l)), 0);
        }
    }

    void sweep_asymmetric() noexcept {
        int const last = (1 << element_bits(format_.element)) - 1;
        // A code is 4 step + shift + 1000, which says both.
        constexpr int none = 0;
        auto const step_of = [](int code) { return (code + 1) / 4 - 250; };
        auto const zero_of = [&](std::size_t l, int code) {
            int const shift = code == none ? 0 : code - 1000 - 4 * step_of(code);
            return std::clamp(zero_[l] + shift, 0, last);
        };
        float first[lane_groups];
        for (std::size_t l = 0; l < lane_groups; ++l) {
            first[l] = minmax_[l].value;
        }
        add({.base = first}, lane_test::always, none);
        for (int step = 5; step >= -46; --step) {
            for (int shift = -1; shift <= 1; ++shift) {
                int const code = 4 * step + shift + 1000;
                for (std::size_t l = 0; l < lane_groups; ++l) {
                    set_zero(l, zero_of(l, code));
                }
                add_fp16(steps_.coarse(step), lane_test::always, code);
            }
        }
        candidates_.choose(block_, [&](std::size_t l, int code) { set_zero(l, zero_of(l, code)); });
        for (std::size_t l = 0; l < count_; ++l) {
            int const code = candidates_.code(l);
            found_[l] = code == none ? minmax_[l]
                                     : fp16_at(l, steps_.coarse(step_of(code)), zero_of(l, code));
        }
    }

    quant_format format_;
    observer_options options_;
    grid_rule rule_;
    lane_steps const& steps_;
    simd_level level_;
    bool square_;
    bool weighted_;
    bool usable_;
    std::size_t n_;  // values of a lane
    lane_candidates candidates_;
    std::vector<float> staged_;          // the groups as they came, one after the other
    std::vector<float> staged_weights_;  // beside them
    std::vector<float> values_;          // of block_
    std::vector<float> weights_;         // of block_
    lane_block block_;
    std::size_t count_ = 0;  // lanes taken

    // Of each lane's group.
    std::size_t tag_[lane_groups] = {};
    group_scale minmax_[lane_groups] = {};
    group_scale found_[lane_groups] = {};
    std::uint8_t zero_[lane_groups] = {};
    float amax_[lane_groups] = {};
    alignas(32) float base_[lane_groups] = {};  // the unrounded minmax scales
};

}  // namespace fpq::kernels
