// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Definition of factor_hessian: checks, order, damping and its retries on the host, the
// passes over memory and the Cholesky factorisation on the device. The order and the mean are
// made on the host, from the n values of the diagonal, as the CPU solver makes them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <numeric>
#include <type_traits>
#include <vector>

#include "fpq/cuda/api/gptq.hpp"
#include "fpq/cuda/gptq/linear_algebra.hpp"
#include "fpq/cuda/gptq/prepare.cuh"

namespace fpq::cuda {

namespace detail {

/// One factorisation after another, until one succeeds.
class factor_maker {
public:
    factor_maker(linear_algebra& libraries, cudaStream_t stream, float const* h,
                 gptq_factor_options const& options, gptq_factor& out)
        : libraries_(libraries), stream_(stream), h_(h), options_(options), f_(out) {}

    status run() {
        status s = allocate();
        if (s.ok()) {
            s = look();
        }
        if (s.ok()) {
            choose_order();
            s = upload_order();
        }
        return s.ok() ? damp_and_factor() : s;
    }

private:
    static constexpr int tries = 6;

    status allocate() {
        std::size_t const n = f_.size;
        status s = ensure(f_.feedback, n * n, stream_);
        if (s.ok()) s = ensure(f_.cost, n, stream_);
        if (s.ok()) s = ensure(f_.order, n, stream_);
        if (s.ok()) s = ensure(f_.position, n, stream_);
        if (s.ok()) s = ensure(f_.diagonal, n, stream_);
        if (s.ok()) s = ensure(f_.inverse, n, stream_);
        if (s.ok()) s = ensure(f_.faults, 1, stream_);
        return s.ok() ? ensure(f_.info, 1, stream_) : s;
    }

    template <class T>
    status copy(T* to, T const* from, std::size_t count, cudaMemcpyKind kind) {
        status s = from_cuda(cudaMemcpyAsync(to, from, count * sizeof(T), kind, stream_),
                             "factor_hessian: copy");
        return s.ok() ? from_cuda(cudaStreamSynchronize(stream_), "factor_hessian: wait") : s;
    }

    /// "H[i, j]" of a row-major index, for a message.
    status fault_at(unsigned long long index, char const* expected, char const* found) const {
        char what[64];
        std::snprintf(what, sizeof what, "factor_hessian: H[%llu, %llu]", index / f_.size,
                      index % f_.size);
        return refuse_numbers(what, expected, found);
    }

    status look() {
        std::size_t const n = f_.size;
        hessian_faults found{hessian_faults::none_found, hessian_faults::none_found, 0};
        status s = copy(f_.faults.data(), &found, 1, cudaMemcpyHostToDevice);
        if (!s.ok()) {
            return s;
        }
        hessian_check_kernel<gptq_pass_threads>
            <<<static_cast<unsigned>(n), gptq_pass_threads, 0, stream_>>>(
                h_, static_cast<std::uint32_t>(n), f_.diagonal.data(), f_.faults.data());
        s = after_launch("hessian_check_kernel");
        f_.host_diagonal.resize(n);
        if (s.ok()) {
            s = copy(f_.host_diagonal.data(), f_.diagonal.data(), n, cudaMemcpyDeviceToHost);
        }
        if (s.ok()) {
            s = copy(&found, f_.faults.data(), 1, cudaMemcpyDeviceToHost);
        }
        if (!s.ok()) {
            return s;
        }
        if (found.not_finite != hessian_faults::none_found) {
            return fault_at(found.not_finite, "a finite number", "NaN or infinity");
        }
        if (found.negative != hessian_faults::none_found) {
            return fault_at(found.negative, "0 or more on the diagonal", "a negative number");
        }
        return {};
    }

    void choose_order() {
        auto const& diagonal = f_.host_diagonal;
        f_.host_order.resize(f_.size);
        std::iota(f_.host_order.begin(), f_.host_order.end(), std::uint32_t{0});
        if (options_.order == gptq_order::activation) {
            std::stable_sort(f_.host_order.begin(), f_.host_order.end(),
                             [&](auto a, auto b) { return diagonal[a] > diagonal[b]; });
        }
        f_.dead_columns = static_cast<std::size_t>(
            std::count_if(diagonal.begin(), diagonal.end(), [](float d) { return !(d > 0.0F); }));
    }

    status upload_order() {
        std::vector<std::uint32_t> position(f_.size);
        for (std::size_t k = 0; k < f_.size; ++k) {
            position[f_.host_order[k]] = static_cast<std::uint32_t>(k);
        }
        status s = copy(f_.order.data(), static_cast<std::uint32_t const*>(f_.host_order.data()),
                        f_.size, cudaMemcpyHostToDevice);
        return s.ok() ? copy(f_.position.data(), static_cast<std::uint32_t const*>(position.data()),
                             f_.size, cudaMemcpyHostToDevice)
                      : s;
    }

    status damp_and_factor() {
        auto const& diagonal = f_.host_diagonal;
        double const sum = std::accumulate(diagonal.begin(), diagonal.end(), 0.0);
        double const mean = sum / static_cast<double>(f_.size);
        f_.damping = options_.rel_damp * mean;
        for (f_.retries = 0; f_.retries < tries; ++f_.retries) {
            bool done = false;
            status s;
            if (f_.size > options_.double_limit) {
                s = factor_in<float>(done);
            }
            if (s.ok() && !done) {
                s = factor_in<double>(done);
            }
            if (!s.ok() || done) {
                return s;
            }
            f_.damping = f_.damping > 0 ? 10 * f_.damping : 1e-6 * mean;
        }
        char found[80];
        std::snprintf(found, sizeof found, "none up to a damping of %g times the mean diagonal",
                      f_.damping / (10 * mean));
        return refuse_numbers("factor_hessian: Hessian is not positive definite",
                              "a Cholesky factorisation within 6 tries", found);
    }

    template <class Work>
    status factor_in(bool& done) {
        std::size_t const n = f_.size;
        auto const n32 = static_cast<std::uint32_t>(n);
        Work* a = nullptr;
        if constexpr (std::is_same_v<Work, float>) {
            a = f_.feedback.data();
        } else {
            if (status s = ensure(libraries_.wide(), n * n, stream_); !s.ok()) {
                return s;
            }
            a = libraries_.wide().data();
        }
        auto* const inverse = reinterpret_cast<Work*>(f_.inverse.data());
        gptq_permute_kernel<Work><<<n32, gptq_pass_threads, 0, stream_>>>(
            h_, f_.diagonal.data(), f_.order.data(), n32, f_.damping, a);
        status s = after_launch("gptq_permute_kernel");
        if (s.ok()) {
            s = libraries_.cholesky_upper(a, n, f_.info.data());
        }
        if (!s.ok()) {
            return s;
        }
        unsigned const blocks = (n32 + gptq_pass_threads - 1) / gptq_pass_threads;
        s = from_cuda(cudaMemsetAsync(&f_.faults.data()->lost_pivot, 0, sizeof(unsigned), stream_),
                      "factor_hessian: memset");
        if (!s.ok()) {
            return s;
        }
        gptq_pivot_kernel<Work><<<blocks, gptq_pass_threads, 0, stream_>>>(
            a, f_.diagonal.data(), f_.order.data(), n32, f_.damping, f_.cost.data(), inverse,
            f_.faults.data());
        if (s = after_launch("gptq_pivot_kernel"); !s.ok()) {
            return s;
        }
        gptq_feedback_kernel<Work>
            <<<n32, gptq_pass_threads, 0, stream_>>>(a, inverse, n32, f_.feedback.data());
        if (s = after_launch("gptq_feedback_kernel"); !s.ok()) {
            return s;
        }
        int info = 0;
        hessian_faults found{};
        s = copy(&info, static_cast<int const*>(f_.info.data()), 1, cudaMemcpyDeviceToHost);
        if (s.ok()) {
            s = copy(&found, static_cast<hessian_faults const*>(f_.faults.data()), 1,
                     cudaMemcpyDeviceToHost);
        }
        done = s.ok() && info == 0 && found.lost_pivot == 0;
        return s;
    }

    linear_algebra& libraries_;
    cudaStream_t stream_;
    float const* h_;
    gptq_factor_options options_;
    gptq_factor& f_;
};

}  // namespace detail

status factor_hessian(linear_algebra& libraries, cudaStream_t stream, float const* h, std::size_t n,
                      gptq_factor_options const& options, gptq_factor& out) {
    if (n == 0 || n > 0x7FFFFFFFu || h == nullptr) {
        return refuse("factor_hessian: columns", "a Hessian of 1 or more",
                      h == nullptr ? -1 : static_cast<long long>(n));
    }
    if (status s = libraries.use(stream); !s.ok()) {
        return s;
    }
    out.size = n;
    return detail::factor_maker(libraries, stream, h, options, out).run();
}

}  // namespace fpq::cuda
