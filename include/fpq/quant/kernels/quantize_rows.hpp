// SPDX-License-Identifier: Apache-2.0
// Floor 2. Minmax quantization of whole rows by the fastest kernel that this processor and format
// have: scales and packed codes in one pass over the weights.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "fpq/core/hosted/parallel.hpp"
#include "fpq/core/hosted/simd_level.hpp"
#include "fpq/core/view.hpp"
#include "fpq/quant/kernels/avx512_quantize.hpp"
#include "fpq/quant/kernels/encode_lanes.hpp"
#include "fpq/quant/kernels/group_batches.hpp"
#include "fpq/quant/kernels/group_lanes.hpp"
#include "fpq/quant/kernels/pack_words.hpp"
#include "fpq/quant/kernels/plain_groups.hpp"
#include "fpq/quant/packed_matrix.hpp"

namespace fpq::kernels {

/// Groups of 16 k values by the lanes of encode_lanes.hpp, one row at a time; tails in a buffer
/// padded with zeros, which change no maximum.
template <class T>
class lane_quantizer {
public:
    lane_quantizer(quant_format const& format, observer_options const& options, std::size_t cols)
        : format_(format),
          options_(options),
          grid_(rule_of(format.element)),
          rule_(encode_rule_of(format.element)),
          level_(active_simd_level()),
          encode_(encode_lanes_at(level_)),
          group_(format.group_of(cols)),
          bits_(element_bits(format.element)),
          values_((cols + group_ + 15) / 16 * 16),
          codes_(values_.size()) {}

    /// x (cols) to its codes, scales and zero points (null if symmetric).
    void row(T const* x, std::size_t cols, std::uint8_t* codes, std::uint8_t* scales,
             std::uint8_t* zeros) {
        std::size_t const each = format_.scale_bytes_each();
        widen_at(level_, x, cols, values_.data());
        std::size_t at = 0;
        for (std::size_t first = 0; first < cols; first += group_, ++at) {
            std::size_t const count = std::min(group_, cols - first);
            float* const w = values_.data() + first;
            std::size_t const padded = (count + 15) / 16 * 16;
            if (padded != count) {  // the last group of the row
                std::fill(w + count, w + padded, 0.0F);
            }
            auto const [least, most] = extremes_at(level_, w, padded);
            base_scale const base = minmax_base_of(format_, least, most);
            group_scale const s = store_scale(format_, grid_, base.scale, std::max(-least, most),
                                              base.zero, options_);
            put_scale(s, each, scales + at * each, zeros == nullptr ? nullptr : zeros + at);
            if (!format_.symmetric) {
                rule_ = encode_rule_of_asymmetric(format_.element, s.zero);
            }
            encode_(w, padded, s.value, rule_, codes_.data() + first);
        }
        pack_codes(bits_, codes_.data(), cols, codes);
    }

private:
    quant_format format_;
    observer_options options_;
    grid_rule grid_;
    encode_rule rule_;
    simd_level level_;
    decltype(encode_lanes_at(simd_level::generic)) encode_;
    std::size_t group_;
    int bits_;
    std::vector<float> values_;  // one row, zero-padded
    std::vector<std::uint8_t> codes_;
};

/// Rows by lane_quantizer. Groups are a multiple of 16, or the whole row.
template <class T>
void quantize_by_lanes(matrix_view<T const> w, quant_format const& format,
                       observer_options const& options, int threads, packed_matrix& q) {
    std::size_t const groups = format.groups(w.cols);
    std::size_t const each = format.scale_bytes_each();
    parallel_for(w.rows, 8, threads, [&](std::size_t begin, std::size_t end) {
        lane_quantizer<T> work(format, options, w.cols);
        for (std::size_t i = begin; i < end; ++i) {
            work.row(w.row(i), w.cols, q.codes.data() + i * format.row_bytes(w.cols),
                     q.scales.data() + i * groups * each,
                     q.zeros.empty() ? nullptr : q.zeros.data() + i * groups);
        }
    });
}

#if FPQ_X86_KERNELS
/// NVFP4 (Group 16) or MXFP4 (32) through the batches of avx512_quantize.hpp; shared by threads.
template <std::size_t Group>
class e2m1_strips {
public:
    static constexpr std::size_t batch = 16 * Group;

    e2m1_strips(quant_format const& format, observer_options const& options, e2m1_input input)
        : format_(format),
          options_(options),
          table_(make_e2m1_table(format.scale, options.global_scale, input)),
          rule_(Group == 16 ? e4m3_scale_lanes(options.global_scale, table_.low, table_.high)
                            : e8m0_scale_lanes(options.mx, rule_of(format.element),
                                               options.global_scale, table_.low, table_.high)) {}

    /// False: not with these options.
    [[nodiscard]] bool usable() const noexcept { return rule_.usable; }

    /// x (n) times the input's factor to codes and scales; only the last group may be short.
    /// source (n): what x was made from.
    template <class T>
    void run(T const* x, std::size_t n, std::uint8_t* codes, std::uint8_t* scales,
             T const* source) const {
        std::size_t const whole = n / batch;
        e2m1_minmax_avx512<Group>(x, whole, table_, rule_, format_, options_, codes, scales,
                                  source);
        std::size_t const done = whole * batch;
        std::size_t const rest = n - done;
        if (rest != 0) {
            T padded[batch] = {};
            std::copy(x + done, x + n, padded);
            std::uint8_t tail_codes[batch / 2];
            std::uint8_t tail_scales[16];
            e2m1_minmax_avx512<Group>(padded, 1, table_, rule_, format_, options_, tail_codes,
                                      tail_scales, padded);
            std::memcpy(codes + done / 2, tail_codes, (rest + 1) / 2);
            std::memcpy(scales + done / Group, tail_scales, (rest + Group - 1) / Group);
        }
    }

private:
    quant_format format_;
    observer_options options_;
    e2m1_table table_;
    scale_lanes rule_;
};

/// False: not with these options.
template <std::size_t Group, class T>
bool quantize_by_strips(matrix_view<T const> w, quant_format const& format,
                        observer_options const& options, int threads, packed_matrix& q) {
    e2m1_strips<Group> const strips(format, options, {.unseen = unseen_bits<T>});
    if (!strips.usable()) {
        return false;
    }
    // A dense matrix of whole groups is one long row.
    bool const dense = w.stride == w.cols && w.cols % Group == 0;
    std::size_t const rows = dense ? 1 : w.rows;
    std::size_t const cols = dense ? w.rows * w.cols : w.cols;
    constexpr std::size_t chunk = 32768;  // values: a unit of work for one thread
    std::size_t const chunks = (cols + chunk - 1) / chunk;
    parallel_for(rows * chunks, 1, threads, [&](std::size_t begin, std::size_t) {
        std::size_t const i = begin / chunks;
        std::size_t const first = begin % chunks * chunk;
        T const* const x = w.row(i) + first;
        strips.run(x, std::min(cols - first, chunk),
                   q.codes.data() + i * format.row_bytes(cols) + first / 2,
                   q.scales.data() + i * format.groups(cols) + first / Group, x);
    });
    return true;
}
#endif

/// Codes, scales and zero points of w by minmax into q (made for this format and shape), the same
/// bytes as the plain loops. False, with q unspecified: searches of scales are to do it.
template <class T>
bool quantize_minmax(matrix_view<T const> w, quant_format const& format,
                     observer_options const& options, int threads, packed_matrix& q) {
    if (options.rule != scale_rule::minmax || format.grain == granularity::tensor) {
        return false;
    }
#if FPQ_X86_KERNELS
    if (active_simd_level() == simd_level::avx512) {
        if (format == nvfp4 && quantize_by_strips<16>(w, format, options, threads, q)) {
            return true;
        }
        if (format == mxfp4 && quantize_by_strips<32>(w, format, options, threads, q)) {
            return true;
        }
    }
#endif
    std::size_t const group = format.group_of(w.cols);
    if (group == 0 || (group % 16 != 0 && group != w.cols) || has_group_batches(format, options)) {
        return false;
    }
    quantize_by_lanes(w, format, options, threads, q);
    return true;
}

}  // namespace fpq::kernels
