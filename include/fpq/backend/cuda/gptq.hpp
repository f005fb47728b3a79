// SPDX-License-Identifier: Apache-2.0
// Edge. The CPU solver's GPTQ with its factorisation and its column sweep on a GPU: same arguments,
// same result types, same errors; scales are found on the CPU. Needs fpq::solve and fpq::cuda, and
// a translation unit that owns the kernels (fpq/cuda/instantiate.cuh).
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fpq/backend/cuda/status.hpp"
#include "fpq/core/view.hpp"
#include "fpq/cuda/api/gptq.hpp"
#include "fpq/cuda/gptq/linear_algebra.hpp"
#include "fpq/linalg/hessian.hpp"
#include "fpq/quant/observer.hpp"
#include "fpq/quant/packed_matrix.hpp"
#include "fpq/solve/options.hpp"
#include "fpq/solve/rtn.hpp"

namespace fpq::backend {

using fpq::require_ok;

/// A Hessian and its factor on the device, shared by layers with the same input.
struct device_factor {
    cuda::device_buffer<float> h;
    cuda::gptq_factor factor;
};

/// Solves on the current device, on the default stream. Keeps handles and scratch memory from call
/// to call; not for use from two threads at a time.
class gptq_on_cuda {
public:
    /// Uploads h and factors it; errors as basic_gptq_factor::make has them.
    [[nodiscard]] device_factor factor(hessian const& h, solve_options const& options,
                                       std::string_view name) {
        device_factor out;
        auto const view = h.view();
        require_ok(out.h.resize(view.size()), name);
        require_ok(out.h.upload(view.data), name);
        cuda::gptq_factor_options o;
        o.order = options.order == quant_order::activation ? cuda::gptq_order::activation
                                                           : cuda::gptq_order::natural;
        o.rel_damp = options.rel_damp;
        require_ok(
            cuda::factor_hessian(libraries_, nullptr, out.h.data(), view.rows, o, out.factor),
            name);
        return out;
    }

    /// As fpq::gptq: w (out, in) in `format`, the observer's scales, codes by GPTQ.
    /// Throws fpq::error: usage when shapes disagree, input for a
    /// non-finite weight, device for what CUDA reports.
    [[nodiscard]] solve_result solve(matrix_view<float const> w, device_factor const& on_device,
                                     quant_format const& format, solve_options const& options,
                                     std::string_view name) {
        cuda::gptq_factor const& f = on_device.factor;
        detail::require_shape(f.size == w.cols, "gptq_on_cuda",
                              "a factor of " + std::to_string(w.cols), std::to_string(f.size));
        detail::require_finite_weight(w, name);
        std::vector<float> storage;
        auto const live = without_dead(w, f, options.zero_dead_columns, storage);
        auto const weight = column_weights(f, options);  // the observer borrows it
        observer_options const observer = detail::weighted_observer(options, weight);
        scale_grid grid = find_scales(live, format, observer, options.threads);

        solve_result result;
        result.weight = make_packed(format, w.rows, w.cols, observer.global_scale);
        result.weight.scales = std::move(grid.bytes);
        result.weight.zeros = std::move(grid.zeros);
        result.report.damping_retries = f.retries;
        result.report.damping = f.damping;
        result.report.dead_columns = f.dead_columns;
        if (w.size() != 0) {
            run(w, on_device, options, name, result);
        }
        return result;
    }

private:
    /// The sweep's column weights in original order: diag(H) or the innovation variances.
    static std::vector<float> column_weights(cuda::gptq_factor const& f,
                                             solve_options const& options) {
        std::vector<float> out = f.host_diagonal;
        if (options.weight_by_innovation) {
            std::vector<cuda::column_cost> cost(f.size);
            require_ok(cuda::from_cuda(
                           cudaMemcpy(cost.data(), f.cost.data(),
                                      f.size * sizeof(cuda::column_cost), cudaMemcpyDeviceToHost),
                           "gptq_on_cuda: copy"),
                       {});
            for (std::size_t k = 0; k < f.size; ++k) {
                out[f.host_order[k]] = cost[k].innovation;
            }
        }
        return out;
    }

    static matrix_view<float const> without_dead(matrix_view<float const> w,
                                                 cuda::gptq_factor const& f, bool zero_dead,
                                                 std::vector<float>& storage) {
        if (!zero_dead || f.dead_columns == 0) {
            return w;
        }
        storage.resize(w.size());
        for (std::size_t i = 0; i < w.rows; ++i) {
            for (std::size_t j = 0; j < w.cols; ++j) {
                storage[i * w.cols + j] = f.host_diagonal[j] > 0.0F ? w(i, j) : 0.0F;
            }
        }
        return as_view(static_cast<float const*>(storage.data()), w.rows, w.cols);
    }

    void run(matrix_view<float const> w, device_factor const& on_device,
             solve_options const& options, std::string_view name, solve_result& result) {
        packed_matrix& q = result.weight;
        require_ok(cuda::ensure(w_, w.size()), name);
        require_ok(cuda::from_cuda(cudaMemcpy2D(w_.data(), w.cols * sizeof(float), w.data,
                                                w.stride * sizeof(float), w.cols * sizeof(float),
                                                w.rows, cudaMemcpyHostToDevice),
                                   "gptq_on_cuda: copy"),
                   name);
        upload(scales_, q.scales, name);
        upload(zeros_, q.zeros, name);
        require_ok(cuda::ensure(codes_, q.codes.size()), name);
        cuda::gptq_layer layer;
        layer.w = w_.data();
        layer.type = cuda::float_type::fp32;
        layer.rows = w.rows;
        layer.cols = w.cols;
        layer.w_stride = w.cols;
        layer.format = q.format;
        layer.scales = scales_.data();
        layer.zeros = zeros_.data();
        layer.global_scale = q.global_scale;
        layer.zero_dead_columns = options.zero_dead_columns;
        layer.codes = codes_.data();
        require_ok(cuda::launch_gptq(libraries_, nullptr, on_device.factor, layer, workspace_),
                   name);
        require_ok(
            cuda::launch_gptq_energy(libraries_, nullptr, on_device.h.data(), layer, workspace_),
            name);
        cuda::gptq_report report;
        require_ok(cuda::read_gptq_report(nullptr, layer, workspace_, report), name);
        result.report.relative_error = report.relative_error();
        require_ok(cuda::from_cuda(cudaMemcpy(q.codes.data(), codes_.data(), q.codes.size(),
                                              cudaMemcpyDeviceToHost),
                                   "gptq_on_cuda: copy"),
                   name);
    }

    static void upload(cuda::device_buffer<std::uint8_t>& to, std::vector<std::uint8_t> const& from,
                       std::string_view name) {
        require_ok(cuda::ensure(to, from.size()), name);
        if (!from.empty()) {
            require_ok(cuda::from_cuda(
                           cudaMemcpy(to.data(), from.data(), from.size(), cudaMemcpyHostToDevice),
                           "gptq_on_cuda: copy"),
                       name);
        }
    }

    cuda::linear_algebra libraries_;
    cuda::gptq_workspace workspace_;
    cuda::device_buffer<float> w_;
    cuda::device_buffer<std::uint8_t> scales_;
    cuda::device_buffer<std::uint8_t> zeros_;
    cuda::device_buffer<std::uint8_t> codes_;
};

}  // namespace fpq::backend
