// SPDX-License-Identifier: Apache-2.0
// Times the GPTQ part on one GPU: Hessians beside cuBLAS' whole product, factorisations, solves.
// CUDA events, medians. Prints aligned rows and, with --json, one JSON line a row.
// usage: fpq_bench_cuda_gptq [--json] [--quick] [--no-tiles]
#include <cublas_v2.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "fpq/cuda/api/gptq.hpp"
#include "fpq/cuda/gptq/linear_algebra.hpp"

namespace {

namespace cuda = fpq::cuda;

bool json = false;
bool tiles = true;

void check(cuda::status const& s) {
    if (!s.ok()) {
        std::fprintf(stderr, "%s\n", s.text);
        std::exit(5);
    }
}

/// Milliseconds of `f` by events: the median of `repeats` after one untimed call.
double median_ms(int repeats, std::function<void()> const& f) {
    cudaEvent_t begin{};
    cudaEvent_t end{};
    check(cuda::from_cuda(cudaEventCreate(&begin), "event"));
    check(cuda::from_cuda(cudaEventCreate(&end), "event"));
    f();
    std::vector<double> times;
    for (int i = 0; i < repeats; ++i) {
        check(cuda::from_cuda(cudaEventRecord(begin), "record"));
        f();
        check(cuda::from_cuda(cudaEventRecord(end), "record"));
        check(cuda::from_cuda(cudaEventSynchronize(end), "wait"));
        float ms = 0;
        check(cuda::from_cuda(cudaEventElapsedTime(&ms, begin, end), "elapsed"));
        times.push_back(static_cast<double>(ms));
    }
    check(cuda::from_cuda(cudaEventDestroy(begin), "event"));
    check(cuda::from_cuda(cudaEventDestroy(end), "event"));
    std::sort(times.begin(), times.end());
    return times[times.size() / 2];
}

/// One row: the time, the rate in TFLOP/s of the operations named, the ratio to a baseline.
void row(char const* work, std::string const& shape, char const* variant, double ms, double flops,
         double ratio) {
    double const rate = flops / (ms * 1e9);
    if (json) {
        std::printf(
            "{\"work\":\"%s\",\"shape\":\"%s\",\"variant\":\"%s\",\"ms\":%.4f,\"tflops\":%.1f,"
            "\"ratio\":%.4f}\n",
            work, shape.c_str(), variant, ms, rate, ratio);
    } else {
        std::printf("%-10s %-18s %-22s %9.3f ms %8.1f TFLOP/s %8.4f\n", work, shape.c_str(),
                    variant, ms, rate, ratio);
    }
    std::fflush(stdout);
}

/// Random bf16 of magnitudes 2^-3 .. 2, a column's size set by its index so that the activation
/// order is not the natural one.
std::vector<std::uint16_t> random_bf16(std::size_t rows, std::size_t cols, int spread) {
    std::vector<std::uint16_t> out(rows * cols);
    std::uint64_t state = 88172645463325252ull;
    for (std::size_t i = 0; i < out.size(); ++i) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        auto const size =
            static_cast<unsigned>(i % cols * 2654435761u % 97u) % static_cast<unsigned>(spread + 1);
        auto const exponent = static_cast<unsigned>(124 + (state >> 20 & 3u)) + size;
        out[i] =
            static_cast<std::uint16_t>((state & 1u) << 15 | exponent << 7 | (state >> 8 & 0x7Fu));
    }
    return out;
}

template <class T>
cuda::device_buffer<T> on_device(std::vector<T> const& from) {
    cuda::device_buffer<T> out;
    check(out.resize(from.size()));
    check(out.upload(from.data()));
    return out;
}

std::string shape_of(std::size_t a, std::size_t b) {
    return std::to_string(a) + " x " + std::to_string(b);
}

/// Fills h with X^T X and times the ways to it.
void bench_hessian(cuda::linear_algebra& libraries, std::size_t n, std::size_t tokens, int repeats,
                   cuda::device_buffer<float>& h) {
    auto const x = on_device(random_bf16(tokens, n, 3));
    auto const size = static_cast<double>(n);
    double const half = size * (size + 1) * static_cast<double>(tokens);
    std::string const shape = shape_of(tokens, n);
    check(libraries.use(nullptr));
    float const one = 1.0F;
    float const zero = 0.0F;
    auto const full = [&] {
        auto const ld = static_cast<int>(n);
        check(
            cuda::from_cublas(cublasGemmEx(libraries.blas(), CUBLAS_OP_N, CUBLAS_OP_T, ld, ld,
                                           static_cast<int>(tokens), &one, x.data(), CUDA_R_16BF,
                                           ld, x.data(), CUDA_R_16BF, ld, &zero, h.data(),
                                           CUDA_R_32F, ld, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
                              "cublasGemmEx"));
    };
    double const before = median_ms(repeats, full);
    row("hessian", shape, "cublas whole", before, 2 * half, 1.0);
    cuda::hessian_args args;
    args.x = x.data();
    args.tokens = tokens;
    args.cols = n;
    args.x_stride = n;
    args.h = h.data();
    args.accumulate = true;
    struct way {
        char const* name;
        cuda::hessian_path path;
    };
    for (way const& w : {way{"halves by cublas", cuda::hessian_path::blas},
                         way{"tiles", cuda::hessian_path::tiles}}) {
        if (!tiles && w.path != cuda::hessian_path::blas) {
            continue;
        }
        args.path = w.path;
        double const ms =
            median_ms(repeats, [&] { check(cuda::launch_hessian(libraries, nullptr, args)); });
        row("hessian", shape, w.name, ms, half, before / ms);
    }
    args.accumulate = false;
    args.path = cuda::hessian_path::blas;
    check(cuda::launch_hessian(libraries, nullptr, args));
}

void bench_factor(cuda::linear_algebra& libraries, std::size_t n,
                  cuda::device_buffer<float> const& h, cuda::gptq_factor& factor, int repeats) {
    auto const size = static_cast<double>(n);
    for (bool const wide : {true, false}) {
        cuda::gptq_factor_options options;
        options.order = cuda::gptq_order::activation;
        options.double_limit = wide ? n : 0;
        double const ms = median_ms(repeats, [&] {
            check(cuda::factor_hessian(libraries, nullptr, h.data(), n, options, factor));
        });
        row("factor", std::to_string(n), wide ? "double" : "float", ms, size * size * size / 3,
            1.0);
    }
}

void bench_solve(cuda::linear_algebra& libraries, std::size_t rows, std::size_t cols,
                 cuda::device_buffer<float> const& h, cuda::gptq_factor& factor, int repeats) {
    auto const w = on_device(random_bf16(rows, cols, 0));
    // Any E4M3 byte near 1/4 will do: minmax of values up to 2.
    auto const scales = on_device(std::vector<std::uint8_t>(rows * (cols / 16), 0x2B));
    auto const codes = on_device(std::vector<std::uint8_t>(rows * cols / 2));
    cuda::gptq_workspace workspace;
    cuda::gptq_layer layer;
    layer.w = w.data();
    layer.rows = rows;
    layer.cols = cols;
    layer.w_stride = cols;
    layer.scales = scales.data();
    layer.codes = codes.data();
    double const flops = static_cast<double>(rows) * static_cast<double>(cols * cols);
    double first_loss = 0;  // the ratio in a row of these is that of the losses
    struct plan {
        char const* name;
        std::size_t panel;
        bool tf32;
    };
    for (plan const& p : {plan{"panel 128", 128, false}, plan{"panel 256", 256, false},
                          plan{"panel 512", 512, false}, plan{"panel 1024", 1024, false},
                          plan{"panel 128, tf32", 128, true}, plan{"panel 256, tf32", 256, true},
                          plan{"panel 512, tf32", 512, true}}) {
        layer.panel = p.panel;
        layer.tf32 = p.tf32;
        double const ms = median_ms(repeats, [&] {
            check(cuda::launch_gptq(libraries, nullptr, factor, layer, workspace));
        });
        cuda::gptq_report report;
        check(cuda::read_gptq_report(nullptr, layer, workspace, report));
        first_loss = first_loss > 0 ? first_loss : report.loss;
        row("solve", shape_of(rows, cols), p.name, ms, flops, report.loss / first_loss);
    }
    layer.panel = 512;
    layer.tf32 = false;
    cuda::gptq_factor_options options;
    options.order = cuda::gptq_order::activation;
    double const ms = median_ms(repeats, [&] {
        check(cuda::factor_hessian(libraries, nullptr, h.data(), cols, options, factor));
        check(cuda::launch_gptq(libraries, nullptr, factor, layer, workspace));
    });
    auto const n = static_cast<double>(cols);
    row("gptq", shape_of(rows, cols), "factor and solve", ms, flops + n * n * n / 3, 1.0);
    cuda::gptq_report report;
    check(cuda::read_gptq_report(nullptr, layer, workspace, report));
}

}  // namespace

int main(int argc, char** argv) {
    bool quick = false;
    for (int i = 1; i < argc; ++i) {
        json = json || std::strcmp(argv[i], "--json") == 0;
        quick = quick || std::strcmp(argv[i], "--quick") == 0;
        tiles = tiles && std::strcmp(argv[i], "--no-tiles") != 0;
    }
    int devices = 0;
    if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
        std::printf("SKIPPED: no CUDA device\n");
        return 77;
    }
    cuda::linear_algebra libraries;
    cuda::gptq_factor factor;
    cuda::device_buffer<float> h;
    struct width {
        std::size_t cols;
        std::vector<std::size_t> rows;
    };
    for (width const& w : {width{4096, {4096, 14336}}, width{14336, {4096}}}) {
        if (quick && w.cols > 4096) {
            continue;
        }
        check(h.resize(w.cols * w.cols));
        bench_hessian(libraries, w.cols, 16384, w.cols > 4096 ? 7 : 20, h);
        bench_factor(libraries, w.cols, h, factor, 5);
        for (std::size_t const rows : w.rows) {
            bench_solve(libraries, rows, w.cols, h, factor, 5);
        }
    }
    return 0;
}
