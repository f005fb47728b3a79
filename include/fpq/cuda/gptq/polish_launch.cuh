// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Definition of polish_codes: slopes by one product, then block after block the column
// kernel and the products that carry its changes to the right, then the verdict on every row.
//
// Only the lower half of H is read. What lies above the diagonal is taken from below it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "fpq/cuda/api/gptq.hpp"
#include "fpq/cuda/gptq/checks.hpp"
#include "fpq/cuda/gptq/codec.hpp"
#include "fpq/cuda/gptq/linear_algebra.hpp"
#include "fpq/cuda/gptq/polish.cuh"
#include "fpq/cuda/gptq/polish_lanes.hpp"
#include "fpq/cuda/gptq/weights.cuh"
#include "fpq/format/packed.hpp"

namespace fpq::cuda {

namespace detail {

/// One polishing; its stages in the order in which run() calls them.
class polish_run {
public:
    polish_run(linear_algebra& libraries, cudaStream_t stream, gptq_layer const& layer,
               polish_args const& args, gptq_workspace& workspace)
        : libraries_(libraries),
          stream_(stream),
          layer_(layer),
          args_(args),
          ws_(workspace),
          at_once_(std::min(layer.rows, args.rows_at_once != 0
                                            ? args.rows_at_once
                                            : polish_rows_at_once(layer.cols, groups()))) {}

    status run(polish_report& report) {
        status s = allocate();
        for (std::size_t row = 0; s.ok() && row < layer_.rows; row += at_once_) {
            choose(row, std::min(at_once_, layer_.rows - row));
            s = polish_chosen();
        }
        if (s.ok()) s = sum_of(ws_.row_sums.data(), ws_.polished.data());
        if (s.ok()) s = sum_of(ws_.row_sums.data() + layer_.rows, ws_.polished.data() + 1);
        double sums[2] = {};
        if (s.ok()) s = read(sums, ws_.polished.data(), sizeof sums);
        report = {sums[0], sums[1]};
        return s;
    }

private:
    static constexpr int threads = gptq_row_threads;

    [[nodiscard]] std::size_t groups() const noexcept { return layer_.format.groups(layer_.cols); }
    [[nodiscard]] unsigned rows() const noexcept { return static_cast<unsigned>(at_.q.rows); }

    status allocate() {
        std::size_t const values = at_once_ * polish_stride(layer_.cols);
        status s = ensure(ws_.target, values, stream_);
        if (s.ok()) s = ensure(ws_.error, values, stream_);
        if (s.ok()) s = ensure(ws_.codes, values, stream_);
        if (s.ok()) s = ensure(ws_.kept, values, stream_);
        if (s.ok()) s = ensure(ws_.steps, at_once_ * groups(), stream_);
        if (s.ok()) s = ensure(ws_.change, at_once_ * polish_panel, stream_);
        if (s.ok()) s = ensure(ws_.frozen, at_once_, stream_);
        if (s.ok()) s = ensure(ws_.row_sums, 2 * layer_.rows, stream_);
        if (s.ok()) s = ensure(ws_.polished, 2, stream_);
        if (s.ok()) s = ensure(ws_.counts, 1, stream_);
        return s;
    }

    /// Rows [first, first + count) of the layer are at hand.
    void choose(std::size_t first, std::size_t count) noexcept {
        quant_format const& format = layer_.format;
        std::size_t const scale = format.grain == granularity::tensor ? 0 : first * groups();
        std::size_t const byte = first * format.row_bytes(layer_.cols);
        std::size_t const value = first * layer_.w_stride * float_bytes(layer_.type);
        at_.q = {format,
                 count,
                 layer_.cols,
                 layer_.codes + byte,
                 layer_.scales + scale * format.scale_bytes_each(),
                 format.symmetric ? nullptr : layer_.zeros + scale,
                 layer_.global_scale};
        at_.w = static_cast<unsigned char const*>(layer_.w) + value;
        at_.type = layer_.type;
        at_.zero_dead = layer_.zero_dead_columns;
        at_.w_stride = layer_.w_stride;
        at_.h = args_.h;
        at_.damping = args_.damping;
        at_.groups = static_cast<std::uint32_t>(groups());
        at_.stride = polish_stride(layer_.cols);
        at_.error = ws_.error.data();
        at_.slope = ws_.target.data();
        at_.change = ws_.change.data();
        at_.steps = ws_.steps.data();
        at_.codes = ws_.codes.data();
        at_.kept = ws_.kept.data();
        at_.frozen = ws_.frozen.data();
        at_.objective = ws_.row_sums.data() + first;
        at_.squared = ws_.row_sums.data() + layer_.rows + first;
        at_.changed = ws_.counts.data();
        at_.packed = layer_.codes + byte;
    }

    status polish_chosen() {
        status s = begin();
        if (s.ok()) s = judge(true);
        std::uint32_t changed = 1;
        for (int pass = 0; s.ok() && changed != 0 && pass < args_.passes; ++pass) {
            s = from_cuda(cudaMemsetAsync(at_.changed, 0, sizeof changed, stream_),
                          "polish_codes: clear");
            if (s.ok()) s = sweep();
            if (s.ok()) s = read(&changed, at_.changed, sizeof changed);
            if (s.ok() && changed != 0) s = judge(false);
        }
        return s.ok() ? end() : s;
    }

    status begin() {
        std::size_t const count = at_.q.rows * groups();
        auto const blocks = static_cast<unsigned>((count + threads - 1) / threads);
        gptq_steps_kernel<threads>
            <<<blocks, threads, 0, stream_>>>(at_.q, groups(), ws_.steps.data());
        if (status s = after_launch("gptq_steps_kernel"); !s.ok()) {
            return s;
        }
        polish_begin_kernel<threads><<<rows(), threads, 0, stream_>>>(at_);
        return after_launch("polish_begin_kernel");
    }

    /// slope = error H, and what that says of every row.
    status judge(bool first) {
        float const one = 1.0F;
        float const zero = 0.0F;
        auto const n = static_cast<std::int64_t>(layer_.cols);
        auto const ld = static_cast<std::int64_t>(at_.stride);
        // Row-major lower is column-major upper, and the product comes transposed as it should.
        status s =
            from_cublas(cublasSsymm_64(libraries_.blas(), CUBLAS_SIDE_LEFT, CUBLAS_FILL_MODE_UPPER,
                                       n, static_cast<std::int64_t>(at_.q.rows), &one, at_.h, n,
                                       at_.error, ld, &zero, at_.slope, ld),
                        "polish_codes: cublasSsymm");
        if (!s.ok()) {
            return s;
        }
        polish_judge_kernel<threads><<<rows(), threads, 0, stream_>>>(at_, first);
        return after_launch("polish_judge_kernel");
    }

    status sweep_block(std::size_t panel, std::size_t first) {
        auto const blocks = static_cast<unsigned>((at_.q.rows + polish_tile - 1) / polish_tile);
        return visit_gptq_codec(layer_.format.element, layer_.format.symmetric, [&](auto codec) {
            polish_block_kernel<<<blocks, polish_threads, 0, stream_>>>(
                at_, static_cast<std::uint32_t>(first), static_cast<std::uint32_t>(panel), codec);
            return after_launch("polish_block_kernel");
        });
    }

    /// slopes [to, end) += changes [from, from + depth) * H, of which the transpose is read.
    status update(std::size_t panel, std::size_t from, std::size_t depth, std::size_t to,
                  std::size_t end) {
        float const one = 1.0F;
        return from_cublas(
            cublasGemmEx_64(
                libraries_.blas(), CUBLAS_OP_T, CUBLAS_OP_N, static_cast<std::int64_t>(end - to),
                static_cast<std::int64_t>(at_.q.rows), static_cast<std::int64_t>(depth), &one,
                at_.h + to * layer_.cols + from, CUDA_R_32F, static_cast<std::int64_t>(layer_.cols),
                at_.change + (from - panel), CUDA_R_32F, static_cast<std::int64_t>(polish_panel),
                &one, at_.slope + to, CUDA_R_32F, static_cast<std::int64_t>(at_.stride),
                CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
            "polish_codes: cublasGemmEx");
    }

    /// One pass over all columns: after each block the rest of its panel, after each panel
    /// everything beyond it, as launch_gptq does.
    status sweep() {
        std::size_t const cols = layer_.cols;
        for (std::size_t panel = 0; panel < cols; panel += polish_panel) {
            std::size_t const end = std::min(panel + polish_panel, cols);
            for (std::size_t first = panel; first < end; first += polish_block::width) {
                status s = sweep_block(panel, first);
                std::size_t const next = first + polish_block::width;
                if (s.ok() && next < end) {
                    s = update(panel, first, polish_block::width, next, end);
                }
                if (!s.ok()) {
                    return s;
                }
            }
            if (end < cols) {
                if (status s = update(panel, panel, end - panel, end, cols); !s.ok()) {
                    return s;
                }
            }
        }
        return {};
    }

    status end() {
        polish_end_kernel<threads><<<rows(), threads, 0, stream_>>>(at_);
        return after_launch("polish_end_kernel");
    }

    status sum_of(double const* of_rows, double* out) {
        gptq_sum_kernel<threads><<<1, threads, 0, stream_>>>(of_rows, layer_.rows, out);
        return after_launch("gptq_sum_kernel");
    }

    status read(void* to, void const* from, std::size_t bytes) {
        status const s =
            from_cuda(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream_),
                      "polish_codes: copy");
        return s.ok() ? from_cuda(cudaStreamSynchronize(stream_), "polish_codes: wait") : s;
    }

    linear_algebra& libraries_;
    cudaStream_t stream_;
    gptq_layer const& layer_;
    polish_args const& args_;
    gptq_workspace& ws_;
    std::size_t at_once_;
    polish_rows at_{};
};

}  // namespace detail

status polish_codes(linear_algebra& libraries, cudaStream_t stream, gptq_layer const& layer,
                    polish_args const& args, gptq_workspace& workspace, polish_report& report) {
    report = {};
    if (status s = check_polish(layer, args); !s.ok()) {
        return s;
    }
    if (layer.rows == 0) {
        return {};
    }
    if (status s = libraries.use(stream); !s.ok()) {
        return s;
    }
    return detail::polish_run(libraries, stream, layer, args, workspace).run(report);
}

}  // namespace fpq::cuda
