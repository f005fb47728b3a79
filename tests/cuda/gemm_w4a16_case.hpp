// SPDX-License-Identifier: Apache-2.0
// One W4A16 problem with random operands, its result in double, and a run of the launcher: what the
// tests of all W4A16 paths share.
#pragma once

#include <cublasLt.h>

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include "catch.hpp"
#include "fpq/cuda/api/gemm.hpp"
#include "gemm_fixture.hpp"

namespace fpq_test {

using namespace fpq::cuda;

inline std::uint16_t bits_as(float_type type, float x) {
    return type == float_type::bf16 ? fpq::to_bf16(x).bits : fpq::to_fp16(x).bits;
}

inline float value_of(float_type type, std::uint16_t bits) {
    return type == float_type::bf16 ? fpq::to_float(fpq::bf16{bits})
                                    : fpq::to_float(fpq::fp16{bits});
}

struct blas_handle {
    cublasLtHandle_t handle = nullptr;
    blas_handle() { REQUIRE(cublasLtCreate(&handle) == CUBLAS_STATUS_SUCCESS); }
    blas_handle(blas_handle const&) = delete;
    blas_handle& operator=(blas_handle const&) = delete;
    ~blas_handle() { cublasLtDestroy(handle); }
};

struct weight_case {
    w4a16_problem problem;
    packed_matrix w;
    std::size_t x_stride = 0;
    std::vector<std::uint16_t> x;

    /// exact: activations are integers -4 .. 4; wide: normal.
    weight_case(unsigned seed, w4a16_problem const& p, range r, std::size_t extra_stride = 0)
        : problem(p), x_stride(p.k + extra_stride) {
        std::mt19937 gen(seed);
        w = random_packed(gen, p.format, p.n, p.k, r);
        std::normal_distribution<float> normal;
        x.resize(p.m * x_stride);
        for (auto& bits : x) {
            float const integer = static_cast<float>(static_cast<int>(gen() % 9) - 4);
            bits = bits_as(p.activations, r == range::exact ? integer : normal(gen));
        }
    }
    std::vector<double> expected() const {
        std::vector<double> sums(problem.m * problem.n);
        for (std::size_t j = 0; j < problem.n; ++j) {
            std::vector<float> const row = w.decoded(j);
            for (std::size_t i = 0; i < problem.m; ++i) {
                double sum = 0.0;
                for (std::size_t k = 0; k < problem.k; ++k) {
                    sum += static_cast<double>(row[k]) *
                           static_cast<double>(value_of(problem.activations, x[i * x_stride + k]));
                }
                sums[i * problem.n + j] = sum;
            }
        }
        return sums;
    }
    /// float32 outputs; codes start `offset` bytes after an aligned address.
    std::vector<float> run(cublasLtHandle_t blas = nullptr, std::size_t offset = 0,
                           w4a16_path* path = nullptr) const {
        std::vector<std::uint8_t> shifted(offset, 0);
        shifted.insert(shifted.end(), w.codes.begin(), w.codes.end());
        auto const codes = on_device(shifted);
        auto const scales =
            on_device(problem.scales == scale_order::swizzled ? w.swizzled : w.scales);
        auto const x_there = on_device(x);
        device_buffer<float> out;
        must(out.resize(problem.m * problem.n));
        must(out.fill(0xFF));
        w4a16_plan plan;
        must(plan_w4a16(problem, blas != nullptr, offset % 16 == 0, &plan));
        if (path != nullptr) {
            *path = plan.path;
        }
        device_buffer<std::uint8_t> workspace;
        must(workspace.resize(plan.workspace_bytes + 256));
        must(workspace.fill(0));
        w4a16_operands o;
        o.x = x_there.data();
        o.x_stride = x_stride;
        o.codes = codes.data() + offset;
        o.scales = scales.data();
        o.out = out.data();
        o.workspace = workspace.data();
        o.workspace_bytes = workspace.size();
        o.blas = blas;
        must(launch_w4a16(problem, o, nullptr));
        return on_host(out);
    }
};

inline w4a16_problem make(fpq::quant_format format, std::size_t m, std::size_t n, std::size_t k,
                          float_type activations = float_type::bf16,
                          scale_order order = scale_order::row_major) {
    w4a16_problem p;
    p.format = format;
    p.scales = order;
    p.activations = activations;
    p.out = float_type::fp32;
    p.m = m;
    p.n = n;
    p.k = k;
    return p;
}

struct gemm_shape {
    std::size_t m, n, k;
};

/// Every shape in both formats, types and scale orders, exact range: no wrong value, all by `path`.
inline void require_exact(unsigned seed, std::vector<gemm_shape> const& shapes, w4a16_path path) {
    for (fpq::quant_format format : {fpq::nvfp4, fpq::mxfp4}) {
        for (float_type type : {float_type::bf16, float_type::fp16}) {
            for (scale_order order : {scale_order::row_major, scale_order::swizzled}) {
                for (gemm_shape const& s : shapes) {
                    weight_case const c(seed, make(format, s.m, s.n, s.k, type, order),
                                        range::exact);
                    INFO(name_of(format) << ' ' << name_of(type) << ' ' << name_of(order) << " m "
                                         << s.m << " n " << s.n << " k " << s.k);
                    w4a16_path found{};
                    REQUIRE(wrong_values(c.run(nullptr, 0, &found), c.expected()) == 0);
                    REQUIRE(found == path);
                }
            }
        }
    }
}

}  // namespace fpq_test
