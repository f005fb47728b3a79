// SPDX-License-Identifier: Apache-2.0
// Floor 2. The scales of whole rows by the fastest search that this processor, format and rule
// have. What no kernel takes goes to scale_search, group by group.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "fpq/core/hosted/simd_level.hpp"
#include "fpq/core/view.hpp"
#include "fpq/format/block.hpp"
#include "fpq/quant/kernels/group_batches.hpp"
#include "fpq/quant/kernels/group_lanes.hpp"
#include "fpq/quant/kernels/lane_search.hpp"
#include "fpq/quant/kernels/lane_steps.hpp"
#include "fpq/quant/kernels/plain_groups.hpp"
#include "fpq/quant/kernels/sweep_batches.hpp"
#include "fpq/quant/observer_options.hpp"
#include "fpq/quant/scale_search.hpp"

namespace fpq::kernels {

/// Where the scales of consecutive rows go, each array at its first row.
struct scale_rows {
    std::uint8_t* bytes;  // groups x scale_bytes_each a row
    std::uint8_t* zeros;  // groups a row; null if symmetric
    float* values;        // groups a row: fl(scale / G)
};

/// Tables of one search; safe to share between threads. Not for granularity tensor, whose one group
/// is no part of a row.
class row_scales {
public:
    row_scales(quant_format const& format, observer_options const& options)
        : format_(format),
          options_(settled(format, options)),
          grid_(rule_of(format.element)),
          search_(format, options_),
          batches_(format, options_, false),
          eights_(format, options_),
          steps_(format, options_) {}

    /// Rows whose scales are one unit of work: enough to fill the lanes.
    [[nodiscard]] static std::size_t rows_a_chunk(std::size_t cols) noexcept {
        return std::max<std::size_t>(4, 16384 / std::max<std::size_t>(cols, 1));
    }

    /// The scales of every group of w.
    void find(matrix_view<float const> w, scale_rows const& out) const {
        std::size_t const groups = format_.groups(w.cols);
        std::size_t const group = format_.group_of(w.cols);
        std::size_t const each = format_.scale_bytes_each();
        scale_search plain = search_;
        lane_search lanes(format_, options_, steps_, w.cols);
        auto const put = [&](std::size_t at, group_scale const& s) {
            put_scale(s, each, out.bytes + at * each,
                      out.zeros == nullptr ? nullptr : out.zeros + at);
            out.values[at] = s.value;
        };
        auto const one = [&](std::size_t i, std::size_t g) {
            std::size_t const first = g * group;
            std::size_t const count = std::min(group, w.cols - first);
            std::size_t const at = i * groups + g;
            if (options_.rule == scale_rule::minmax) {
                put(at, minmax(w.row(i) + first, count));
                return;
            }
            if (lanes.usable() && lanes.take(w.row(i) + first, count, first, at)) {
                if (lanes.full()) {
                    lanes.run(put);
                }
                return;
            }
            plain.load(w.rows_at(i, 1), first, count);
            put(at, plain.find());
        };
        for (std::size_t i = 0; i < w.rows; ++i) {
            std::size_t g = 0;
            for (; batches_.take(w.cols, g); g += sweep_batches::groups) {
                std::size_t const at = i * groups + g;
                // The bits say which of its groups the kernel leaves.
                for (unsigned left = batches_.run(w.row(i), g, out.bytes + at, out.values + at);
                     left != 0; left &= left - 1) {
                    one(i, g + static_cast<std::size_t>(std::countr_zero(left)));
                }
            }
            for (; eights_.take(w.cols, g); g += group_batches::groups) {
                auto const put_one = [&](std::size_t k, group_scale const& s) {
                    put(i * groups + g + k, s);
                };
                for (unsigned left = eights_.run(w.row(i), g, put_one); left != 0;
                     left &= left - 1) {
                    one(i, g + static_cast<std::size_t>(std::countr_zero(left)));
                }
            }
            for (; g < groups; ++g) {
                one(i, g);
            }
        }
        lanes.run(put);
    }

private:
    /// The scale of x (count).
    [[nodiscard]] group_scale minmax(float const* x, std::size_t count) const noexcept {
        std::size_t const whole = count / 16 * 16;
        extremes ends = extremes_at(level_, x, whole);
        for (std::size_t i = whole; i < count; ++i) {
            ends.least = x[i] < ends.least ? x[i] : ends.least;
            ends.most = x[i] > ends.most ? x[i] : ends.most;
        }
        base_scale const base = minmax_base_of(format_, ends.least, ends.most);
        float const amax = std::max(-ends.least, ends.most);
        return store_scale(format_, grid_, base.scale, amax, base.zero, options_);
    }

    quant_format format_;
    observer_options options_;
    grid_rule grid_;
    simd_level level_ = active_simd_level();
    scale_search search_;
    sweep_batches batches_;
    group_batches eights_;
    lane_steps steps_;
};

}  // namespace fpq::kernels
