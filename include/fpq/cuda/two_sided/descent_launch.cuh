// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Definition of descend_codes. Tiles of rows t and blocks of columns b are visited in
// turns, in turn u those with b = (u + t) mod slots: no two of a turn share rows or columns, so
// what one changes reaches another by two off-diagonal elements only. Before a turn its tiles'
// slopes are made, H_O (E H_I); after it, E H_I takes the changes: both are batched products.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <type_traits>
#include <vector>

#include "fpq/cuda/api/two_sided.hpp"
#include "fpq/cuda/gptq/checks.hpp"
#include "fpq/cuda/gptq/codec.hpp"
#include "fpq/cuda/gptq/linear_algebra.hpp"
#include "fpq/cuda/two_sided/descent_tile.cuh"
#include "fpq/cuda/two_sided/form.cuh"
#include "fpq/cuda/two_sided/matrices.cuh"

namespace fpq::cuda {

namespace detail {

/// One descent; its stages in the order in which run() calls them.
class descent_run {
public:
    descent_run(linear_algebra& libraries, cudaStream_t stream, gptq_layer const& layer,
                descent_args const& args, two_sided_workspace& workspace)
        : libraries_(libraries), stream_(stream), layer_(layer), args_(args), ws_(workspace) {
        std::size_t const group = std::min(layer.format.group_of(layer.cols), layer.cols);
        width_ = descent_tile::width_of(group);
        blocks_ = (layer.cols + width_ - 1) / width_;
        stride_ = blocks_ * width_;
        std::size_t const even = (layer.rows + blocks_ - 1) / blocks_;
        tile_rows_ = std::clamp<std::size_t>(even, 8, descent_tile::rows_of(width_));
        tiles_ = (layer.rows + tile_rows_ - 1) / tile_rows_;
        padded_ = tiles_ * tile_rows_;
        slots_ = std::max(blocks_, tiles_);
        at_once_ = std::max<std::size_t>(1, std::min(blocks_, tiles_) / at_once_part);
    }

    status run(descent_report& report) {
        status s = allocate();
        if (s.ok()) s = prepare();
        if (s.ok()) s = list_turns();
        if (s.ok()) s = judge(report.before);
        report.after = report.before;
        while (s.ok() && report.sweeps < args_.sweeps) {
            s = keep();
            std::uint32_t changed = 0;
            if (s.ok()) s = sweep_once(changed);
            double now = 0;
            if (s.ok()) s = judge(now);
            if (!s.ok() || changed == 0) {
                break;
            }
            if (now < report.after) {
                report.after = now;
                ++report.sweeps;
                continue;
            }
            s = take_back();
            if (!s.ok() || at_once_ == 1) {
                break;
            }
            at_once_ = std::max<std::size_t>(1, at_once_ / at_once_part);
            s = list_turns();
        }
        return s.ok() ? finish() : s;
    }

private:
    /// How much fewer tiles are visited at the same time than could be; and fewer again when a
    /// sweep did harm. Measured on the small models: all of four or more tiles at once harm every
    /// third layer, a quarter harms none.
    static constexpr std::size_t at_once_part = 4;

    /// Tiles [first, first + count), those that do not rest, are visited at the same time.
    struct turn {
        std::size_t slot;
        std::size_t first;
        std::size_t count;
    };

    [[nodiscard]] std::size_t groups() const noexcept { return layer_.format.groups(layer_.cols); }
    [[nodiscard]] bool coupled() const noexcept { return args_.outputs != nullptr; }

    status allocate() {
        std::size_t const values = padded_ * stride_;
        std::size_t const scales = padded_ * groups();
        status s = ensure(ws_.w, values, stream_);
        if (s.ok()) s = ensure(ws_.error, values, stream_);
        if (s.ok()) s = ensure(ws_.first, values, stream_);
        if (s.ok()) s = ensure(ws_.codes, values, stream_);
        if (s.ok()) s = ensure(ws_.best_codes, values, stream_);
        if (s.ok()) s = ensure(ws_.scales, scales, stream_);
        if (s.ok()) s = ensure(ws_.zeros, scales, stream_);
        if (s.ok()) s = ensure(ws_.best_error, values, stream_);
        if (s.ok()) s = ensure(ws_.best_scales, scales, stream_);
        if (s.ok()) s = ensure(ws_.best_zeros, scales, stream_);
        if (s.ok()) s = ensure(ws_.inputs, stride_ * stride_, stream_);
        if (s.ok()) s = ensure(ws_.changes, padded_ * width_, stream_);
        if (s.ok()) s = ensure(ws_.counts, 1, stream_);
        if (s.ok() && coupled()) s = ensure(ws_.second, values, stream_);
        if (s.ok() && coupled()) s = ensure(ws_.outputs, padded_ * padded_, stream_);
        if (s.ok() && coupled()) s = ensure(ws_.tiles, padded_ * width_, stream_);
        return s;
    }

    status prepare() {
        unpacked_layer const a{
            {layer_.format, layer_.rows, layer_.cols, layer_.codes, args_.stored_scales,
             layer_.format.symmetric ? nullptr : args_.stored_zeros, layer_.global_scale},
            layer_.w,
            layer_.type,
            layer_.w_stride,
            layer_.zero_dead_columns ? args_.inputs : nullptr,
            stride_,
            ws_.w.data(),
            ws_.error.data(),
            ws_.codes.data(),
            ws_.scales.data(),
            ws_.zeros.data(),
            groups()};
        unpack_layer_kernel<matrix_threads>
            <<<static_cast<unsigned>(padded_), matrix_threads, 0, stream_>>>(a);
        status s = after_launch("unpack_layer_kernel");
        if (s.ok()) {
            whole_moment_kernel<matrix_threads>
                <<<static_cast<unsigned>(stride_), matrix_threads, 0, stream_>>>(
                    args_.inputs, layer_.cols, args_.damping, ws_.inputs.data(), stride_);
            s = after_launch("whole_moment_kernel");
        }
        if (s.ok() && coupled()) {
            whole_moment_kernel<matrix_threads>
                <<<static_cast<unsigned>(padded_), matrix_threads, 0, stream_>>>(
                    args_.outputs, layer_.rows, args_.row_damping, ws_.outputs.data(), padded_);
            s = after_launch("whole_moment_kernel");
        }
        return s;
    }

    /// Block of columns of tile t in slot u; blocks_ or more: the tile rests.
    [[nodiscard]] std::size_t block_of(std::size_t u, std::size_t t) const noexcept {
        return (u + t) % slots_;
    }

    /// The turns of a sweep and the matrices of their products: for each turn and tile that does
    /// not rest those of slopes = outputs (E H) and of E H += changes H.
    status list_turns() {
        turns_.clear();
        for (std::size_t u = 0; u < slots_; ++u) {
            for (std::size_t first = 0; first < tiles_; first += at_once_) {
                turns_.push_back({u, first, std::min(at_once_, tiles_ - first)});
            }
        }
        for (auto& list : lists_) {
            list.clear();
        }
        begins_.assign(1, 0);
        for (turn const& now : turns_) {
            for (std::size_t t = now.first; t < now.first + now.count; ++t) {
                std::size_t const b = block_of(now.slot, t);
                if (b >= blocks_) {
                    continue;
                }
                std::size_t const rows = t * tile_rows_;
                lists_[0].push_back(ws_.first.data() + b * width_);
                lists_[1].push_back(ws_.outputs.data() + rows * padded_);
                lists_[2].push_back(ws_.tiles.data() + rows * width_);
                lists_[3].push_back(ws_.inputs.data() + b * width_ * stride_);
                lists_[4].push_back(ws_.changes.data() + rows * width_);
                lists_[5].push_back(ws_.first.data() + rows * stride_);
            }
            begins_.push_back(lists_[0].size());
        }
        std::size_t const each = lists_[0].size();
        status s = ensure(ws_.operands, 6 * each, stream_);
        for (std::size_t i = 0; s.ok() && i < 6; ++i) {
            s = from_cuda(
                cudaMemcpyAsync(ws_.operands.data() + i * each, lists_[i].data(),
                                each * sizeof(float const*), cudaMemcpyHostToDevice, stream_),
                "descend_codes: copy");
        }
        return s;
    }

    /// out (rows, cols) = x (rows, depth) y (depth, cols), or += it, for the products of turn i in
    /// the lists y, x, out.
    status multiply(std::size_t i, std::size_t y, std::size_t x, std::size_t out, std::size_t cols,
                    std::size_t depth, std::size_t ldy, std::size_t ldx, std::size_t ldo,
                    float beta) {
        float const one = 1.0F;
        auto const number = [](std::size_t n) { return static_cast<int>(n); };
        std::size_t const each = lists_[0].size();
        auto const list = [&](std::size_t which) {
            return ws_.operands.data() + which * each + begins_[i];
        };
        return from_cublas(
            cublasSgemmBatched(libraries_.blas(), CUBLAS_OP_N, CUBLAS_OP_N, number(cols),
                               number(tile_rows_), number(depth), &one, list(y), number(ldy),
                               list(x), number(ldx), &beta, const_cast<float* const*>(list(out)),
                               number(ldo), number(begins_[i + 1] - begins_[i])),
            "descend_codes: cublasSgemmBatched");
    }

    /// E H_I afresh, and the objective, sum of E H_O (E H_I).
    status judge(double& objective) {
        status s = times_inputs(libraries_, ws_.inputs.data(), stride_, ws_.error.data(), padded_,
                                stride_, stride_, ws_.first.data());
        float const* y = ws_.first.data();
        if (s.ok() && coupled()) {
            s = times_outputs(libraries_, ws_.outputs.data(), padded_, y, padded_, stride_, stride_,
                              ws_.second.data());
            y = ws_.second.data();
        }
        return s.ok() ? dot_of(stream_, ws_.error.data(), y, padded_, stride_, ws_, objective) : s;
    }

    template <class T>
    status copy(device_buffer<T>& to, device_buffer<T> const& from, std::size_t count) {
        return from_cuda(cudaMemcpyAsync(to.data(), from.data(), count * sizeof(T),
                                         cudaMemcpyDeviceToDevice, stream_),
                         "descend_codes: copy");
    }
    status keep() {
        status s = copy(ws_.best_codes, ws_.codes, padded_ * stride_);
        if (s.ok()) s = copy(ws_.best_scales, ws_.scales, padded_ * groups());
        if (s.ok()) s = copy(ws_.best_error, ws_.error, padded_ * stride_);
        return s.ok() ? copy(ws_.best_zeros, ws_.zeros, padded_ * groups()) : s;
    }
    /// What was kept, with its errors and E H_I.
    status take_back() {
        status s = copy(ws_.codes, ws_.best_codes, padded_ * stride_);
        if (s.ok()) s = copy(ws_.scales, ws_.best_scales, padded_ * groups());
        if (s.ok()) s = copy(ws_.zeros, ws_.best_zeros, padded_ * groups());
        if (s.ok()) s = copy(ws_.error, ws_.best_error, padded_ * stride_);
        return s.ok() ? times_inputs(libraries_, ws_.inputs.data(), stride_, ws_.error.data(),
                                     padded_, stride_, stride_, ws_.first.data())
                      : s;
    }

    [[nodiscard]] descent_layer face() const noexcept {
        descent_layer a{};
        a.w = ws_.w.data();
        a.error = ws_.error.data();
        a.errors_h = ws_.first.data();
        a.inputs = ws_.inputs.data();
        a.outputs = coupled() ? ws_.outputs.data() : nullptr;
        a.row_stride = padded_;
        a.slopes = ws_.tiles.data();
        a.changes = ws_.changes.data();
        a.codes = ws_.codes.data();
        a.scales = ws_.scales.data();
        a.zeros = ws_.zeros.data();
        a.changed = ws_.counts.data();
        a.format = layer_.format;
        a.global_scale = layer_.global_scale;
        a.tries_scales = args_.scales;
        a.stride = stride_;
        a.rows = static_cast<std::uint32_t>(layer_.rows);
        a.cols = static_cast<std::uint32_t>(layer_.cols);
        a.group =
            static_cast<std::uint32_t>(std::min(layer_.format.group_of(layer_.cols), layer_.cols));
        a.groups = static_cast<std::uint32_t>(groups());
        a.width = static_cast<std::uint32_t>(width_);
        a.tile_rows = static_cast<std::uint32_t>(tile_rows_);
        a.slots = static_cast<std::uint32_t>(slots_);
        return a;
    }

    template <int Most, class Codec>
    status visit_with(descent_layer const& a, turn const& now, Codec const& codec) {
        auto const kernel = descent_tile_kernel<Codec, Most>;
        std::size_t const bytes = descent_tile::shared_bytes(tile_rows_, width_);
        status s =
            from_cuda(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                           static_cast<int>(bytes)),
                      "descent_tile_kernel: shared memory");
        if (s.ok()) {
            kernel<<<static_cast<unsigned>(now.count), descent_tile::threads, bytes, stream_>>>(
                a, static_cast<std::uint32_t>(now.slot), codec);
            s = after_launch("descent_tile_kernel");
        }
        return s;
    }

    /// Loops are unrolled for what is quantized to most: FP4 and integers, groups of 16 and 32.
    status visit(descent_layer const& a, turn const& now) {
        return visit_gptq_codec(layer_.format.element, layer_.format.symmetric, [&](auto codec) {
            using codec_type = decltype(codec);
            if constexpr (std::is_same_v<codec_type, minifloat_codec<e2m1>>) {
                if (a.group <= 16) {
                    return visit_with<16>(a, now, codec);
                }
            }
            if constexpr (std::is_same_v<codec_type, minifloat_codec<e2m1>> ||
                          std::is_same_v<codec_type, integer_codec>) {
                if (a.group <= descent_unrolled) {
                    return visit_with<descent_unrolled>(a, now, codec);
                }
            }
            return visit_with<descent_tile::most_width>(a, now, codec);
        });
    }

    status sweep_once(std::uint32_t& changed) {
        status s = from_cuda(cudaMemsetAsync(ws_.counts.data(), 0, sizeof changed, stream_),
                             "descend_codes: clear");
        descent_layer a = face();
        for (std::size_t i = 0; s.ok() && i < turns_.size(); ++i) {
            if (begins_[i + 1] == begins_[i]) {
                continue;  // all rest
            }
            a.first = static_cast<std::uint32_t>(turns_[i].first);
            if (coupled()) {
                s = multiply(i, 0, 1, 2, width_, padded_, stride_, padded_, width_, 0.0F);
            }
            if (s.ok()) {
                s = visit(a, turns_[i]);
            }
            if (s.ok()) {
                s = multiply(i, 3, 4, 5, stride_, width_, stride_, width_, stride_, 1.0F);
            }
        }
        if (s.ok()) {
            s = from_cuda(cudaMemcpyAsync(&changed, ws_.counts.data(), sizeof changed,
                                          cudaMemcpyDeviceToHost, stream_),
                          "descend_codes: copy");
        }
        return s.ok() ? from_cuda(cudaStreamSynchronize(stream_), "descend_codes: wait") : s;
    }

    status finish() {
        repack_layer_kernel<matrix_threads>
            <<<static_cast<unsigned>(layer_.rows), matrix_threads, 0, stream_>>>(
                layer_.format, layer_.cols, stride_, groups(), ws_.codes.data(), ws_.scales.data(),
                ws_.zeros.data(), layer_.codes, args_.scales ? args_.stored_scales : nullptr,
                layer_.format.symmetric ? nullptr : args_.stored_zeros);
        status const s = after_launch("repack_layer_kernel");
        return s.ok() ? from_cuda(cudaStreamSynchronize(stream_), "descend_codes: wait") : s;
    }

    linear_algebra& libraries_;
    cudaStream_t stream_;
    gptq_layer const& layer_;
    descent_args const& args_;
    two_sided_workspace& ws_;
    std::size_t width_ = 0;  // columns of a block
    std::size_t blocks_ = 0;
    std::size_t stride_ = 0;  // columns, padded
    std::size_t tile_rows_ = 0;
    std::size_t tiles_ = 0;
    std::size_t padded_ = 0;   // rows, padded
    std::size_t slots_ = 0;    // of the schedule
    std::size_t at_once_ = 1;  // tiles that are visited at the same time
    std::vector<turn> turns_;  // of a sweep
    std::vector<float const*> lists_[6];
    std::vector<std::size_t> begins_;  // of each turn in the lists
};

inline status check_descent(gptq_layer const& layer, descent_args const& args) noexcept {
    constexpr char const* who = "descend_codes";
    if (status s = check_layer(who, layer); !s.ok()) {
        return s;
    }
    std::size_t const group = std::min(layer.format.group_of(layer.cols), layer.cols);
    if (group > descent_tile::most_width) {
        return unsupported("descend_codes: group", "128 columns or fewer", "more");
    }
    if (args.sweeps < 0) {
        return refuse_in(who, "sweeps", "0 or more", args.sweeps);
    }
    for (float const d : {args.damping, args.row_damping}) {
        if (!(d >= 0.0F) || std::isinf(d)) {
            return refuse("descend_codes: damping", "a finite number, 0 or more", "another");
        }
    }
    if (layer.rows != 0 && (args.inputs == nullptr || args.stored_scales == nullptr ||
                            (!layer.format.symmetric && args.stored_zeros == nullptr))) {
        return refuse("descend_codes", "device pointers to H_I, scales and zeros", "null");
    }
    return {};
}

}  // namespace detail

status descend_codes(linear_algebra& libraries, cudaStream_t stream, gptq_layer const& layer,
                     descent_args const& args, two_sided_workspace& workspace,
                     descent_report& report) {
    report = {};
    if (status s = detail::check_descent(layer, args); !s.ok()) {
        return s;
    }
    if (layer.rows == 0 || args.sweeps == 0) {
        return {};
    }
    if (status s = libraries.use(stream); !s.ok()) {
        return s;
    }
    return detail::descent_run(libraries, stream, layer, args, workspace).run(report);
}

}  // namespace fpq::cuda
