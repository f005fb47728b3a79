// SPDX-License-Identifier: Apache-2.0
// Times the products of packed weights on the GPU: W4A16 against cuBLASLt's bf16 product and a
// copy, and the W4A4 mainloop with whatever atom the card has. One launch is the median over
// replays of a graph of 40 launches, divided by 40; the operands of consecutive launches are
// different, more than 150 MB in all, so nothing is found in L2. Rows are aligned text and JSON.
#include <cublasLt.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "fpq/core/half.hpp"
#include "fpq/cuda/api/buffer.hpp"
#include "fpq/cuda/api/gemm.hpp"
#include "fpq/format/scale_layout.hpp"

using namespace fpq::cuda;

namespace {

[[noreturn]] void die(char const* what) {
    std::fprintf(stderr, "%s\n", what);
    std::exit(5);
}
void must(status const& s) {
    if (!s.ok()) {
        die(s.text);
    }
}
void must(cudaError_t e) { must(from_cuda(e, "bench")); }
void must(cublasStatus_t e) {
    if (e != CUBLAS_STATUS_SUCCESS) {
        die(cublasLtGetStatusName(e));
    }
}

constexpr int launches = 40;
constexpr int replays = 15;

cudaStream_t the_stream = nullptr;

/// Microseconds of one launch; run(i) queues launch i on the_stream.
template <class Run>
double time_us(Run&& run, int count = launches) {
    run(0);
    must(cudaStreamSynchronize(the_stream));
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t exec = nullptr;
    must(cudaStreamBeginCapture(the_stream, cudaStreamCaptureModeThreadLocal));
    for (int i = 0; i < count; ++i) {
        run(i);
    }
    must(cudaStreamEndCapture(the_stream, &graph));
    must(cudaGraphInstantiate(&exec, graph, 0));
    cudaEvent_t begin = nullptr;
    cudaEvent_t end = nullptr;
    must(cudaEventCreate(&begin));
    must(cudaEventCreate(&end));
    std::vector<float> times;
    for (int i = 0; i < replays + 2; ++i) {
        must(cudaEventRecord(begin, the_stream));
        must(cudaGraphLaunch(exec, the_stream));
        must(cudaEventRecord(end, the_stream));
        must(cudaEventSynchronize(end));
        float ms = 0.0F;
        must(cudaEventElapsedTime(&ms, begin, end));
        if (i >= 2) {
            times.push_back(ms);
        }
    }
    cudaEventDestroy(begin);
    cudaEventDestroy(end);
    cudaGraphExecDestroy(exec);
    cudaGraphDestroy(graph);
    std::sort(times.begin(), times.end());
    return 1e3 * static_cast<double>(times[times.size() / 2]) / count;
}

double copy_bytes_per_us = 0.0;

/// bytes: moved by one launch, 0 if the row is not about memory; base_us: of the row compared with.
void row(char const* work, std::size_t m, std::size_t n, std::size_t k, double us, double bytes,
         double base_us) {
    double const tflops =
        2e-6 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k) / us;
    double const of_copy = bytes / us / copy_bytes_per_us;
    double const of_base = base_us > 0.0 ? base_us / us : 0.0;
    std::printf("%-34s %6zu %6zu %6zu %9.2f us %8.1f TFLOP/s  copy %5.2f  cublas %5.2f\n", work, m,
                n, k, us, tflops, of_copy, of_base);
    std::printf(
        "{\"work\":\"%s\",\"m\":%zu,\"n\":%zu,\"k\":%zu,\"us\":%.3f,\"of_copy\":%.3f,"
        "\"of_cublas\":%.3f}\n",
        work, m, n, k, us, of_copy, of_base);
    std::fflush(stdout);
}

template <class T>
device_buffer<T> random_buffer(std::size_t size, std::uint64_t mask, std::uint64_t add) {
    static std::mt19937_64 gen(1);
    std::vector<std::uint64_t> host((size * sizeof(T) + 7) / 8);
    for (auto& word : host) {
        word = (gen() & mask) + add;
    }
    device_buffer<T> buffer;
    must(buffer.resize(size));
    must(cudaMemcpy(buffer.data(), host.data(), buffer.bytes(), cudaMemcpyHostToDevice));
    return buffer;
}

constexpr std::uint64_t all_bits = ~std::uint64_t{0};
/// bf16 of magnitude 1 .. 2 with random signs.
device_buffer<std::uint16_t> random_bf16(std::size_t size) {
    return random_buffer<std::uint16_t>(size, 0x807F807F807F807Fu, 0x3F803F803F803F80u);
}

struct weight {
    device_buffer<std::uint8_t> codes;
    device_buffer<std::uint8_t> scales;
};

weight random_weight(fpq::quant_format format, std::size_t n, std::size_t k) {
    std::size_t const scales = fpq::swizzled_scales{k / format.group}.size(n);
    std::uint64_t const least = format == fpq::nvfp4 ? 0x3030303030303030u : 0x7C7C7C7C7C7C7C7Cu;
    return {random_buffer<std::uint8_t>(n * k / 2, all_bits, 0),
            random_buffer<std::uint8_t>(scales, 0x0303030303030303u, least)};
}

/// The same values elsewhere in memory.
template <class T>
device_buffer<T> copy_of(device_buffer<T> const& from) {
    device_buffer<T> buffer;
    must(buffer.resize(from.size()));
    must(cudaMemcpy(buffer.data(), from.data(), from.bytes(), cudaMemcpyDeviceToDevice));
    return buffer;
}

/// `count` weights in memory of their own.
std::vector<weight> weights_apart(fpq::quant_format format, std::size_t n, std::size_t k,
                                  std::size_t count) {
    std::vector<weight> w;
    w.push_back(random_weight(format, n, k));
    while (w.size() < count) {
        w.push_back({copy_of(w[0].codes), copy_of(w[0].scales)});
    }
    return w;
}

void time_copy() {
    std::size_t const bytes = std::size_t{512} << 20;
    device_buffer<std::uint8_t> const from = random_buffer<std::uint8_t>(bytes, all_bits, 0);
    device_buffer<std::uint8_t> to;
    must(to.resize(bytes));
    cudaEvent_t begin = nullptr;
    cudaEvent_t end = nullptr;
    must(cudaEventCreate(&begin));
    must(cudaEventCreate(&end));
    std::vector<float> times;
    for (int i = 0; i < 12; ++i) {
        must(cudaEventRecord(begin, the_stream));
        must(cudaMemcpyAsync(to.data(), from.data(), bytes, cudaMemcpyDeviceToDevice, the_stream));
        must(cudaEventRecord(end, the_stream));
        must(cudaEventSynchronize(end));
        float ms = 0.0F;
        must(cudaEventElapsedTime(&ms, begin, end));
        times.push_back(ms);
    }
    cudaEventDestroy(begin);
    cudaEventDestroy(end);
    std::sort(times.begin(), times.end());
    copy_bytes_per_us = 2e-3 * static_cast<double>(bytes) / static_cast<double>(times[6]);
    std::printf("copy of 512 MiB, read and written: %.3f TB/s\n", copy_bytes_per_us * 1e-6);
}

/// cuBLASLt's bf16 product of the same shape, the best of the candidates it offers.
double time_blas(cublasLtHandle_t handle, std::size_t m, std::size_t n, std::size_t k) {
    std::size_t const copies = std::max<std::size_t>(2, (std::size_t{200} << 20) / (n * k * 2));
    std::vector<device_buffer<std::uint16_t>> w;
    w.push_back(random_bf16(n * k));
    while (w.size() < copies) {
        w.push_back(copy_of(w[0]));
    }
    device_buffer<std::uint16_t> const x = random_bf16(m * k);
    device_buffer<std::uint16_t> out;
    must(out.resize(m * n));
    std::size_t const scratch_bytes = std::size_t{32} << 20;
    device_buffer<std::uint8_t> scratch;
    must(scratch.resize(scratch_bytes));
    cublasLtMatmulDesc_t matmul = nullptr;
    cublasLtMatrixLayout_t lw = nullptr;
    cublasLtMatrixLayout_t lx = nullptr;
    cublasLtMatrixLayout_t lo = nullptr;
    cublasLtMatmulPreference_t preference = nullptr;
    cublasOperation_t const transpose = CUBLAS_OP_T;
    must(cublasLtMatmulDescCreate(&matmul, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    must(cublasLtMatmulDescSetAttribute(matmul, CUBLASLT_MATMUL_DESC_TRANSA, &transpose,
                                        sizeof transpose));
    must(cublasLtMatrixLayoutCreate(&lw, CUDA_R_16BF, k, n, static_cast<std::int64_t>(k)));
    must(cublasLtMatrixLayoutCreate(&lx, CUDA_R_16BF, k, m, static_cast<std::int64_t>(k)));
    must(cublasLtMatrixLayoutCreate(&lo, CUDA_R_16BF, n, m, static_cast<std::int64_t>(n)));
    must(cublasLtMatmulPreferenceCreate(&preference));
    must(cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                              &scratch_bytes, sizeof scratch_bytes));
    cublasLtMatmulHeuristicResult_t found[4];
    int count = 0;
    must(cublasLtMatmulAlgoGetHeuristic(handle, matmul, lw, lx, lo, lo, preference, 4, found,
                                        &count));
    float const one = 1.0F;
    float const zero = 0.0F;
    double best = 0.0;
    for (int algo = 0; algo < count; ++algo) {
        double const us = time_us(
            [&](int i) {
                must(cublasLtMatmul(handle, matmul, &one,
                                    w[static_cast<std::size_t>(i) % copies].data(), lw, x.data(),
                                    lx, &zero, out.data(), lo, out.data(), lo, &found[algo].algo,
                                    scratch.data(), scratch_bytes, the_stream));
            },
            m > 256 ? 8 : launches);
        best = best == 0.0 ? us : std::min(best, us);
    }
    row("cublaslt bf16", m, n, k, best, static_cast<double>(n * k * 2), best);
    return best;
}

void time_w4a16(cublasLtHandle_t handle, fpq::quant_format format, std::size_t m, std::size_t n,
                std::size_t k, bool overlap, double blas_us, float_type activations) {
    w4a16_problem p;
    p.format = format;
    p.activations = activations;
    p.m = m;
    p.n = n;
    p.k = k;
    std::size_t const weight_bytes = n * k / 2 + n * (k / format.group);
    std::size_t const copies =
        std::max<std::size_t>(2, ((std::size_t{250} << 20) + weight_bytes) / weight_bytes);
    std::vector<weight> const w = weights_apart(format, n, k, copies);
    device_buffer<std::uint16_t> const x = random_bf16(m * k);
    device_buffer<std::uint16_t> out;
    must(out.resize(m * n));
    w4a16_plan plan;
    must(plan_w4a16(p, true, true, &plan));
    device_buffer<std::uint8_t> workspace;
    must(workspace.resize(plan.workspace_bytes + 256));
    must(workspace.fill(0));
    w4a16_operands o;
    o.x = x.data();
    o.x_stride = k;
    o.out = out.data();
    o.workspace = workspace.data();
    o.workspace_bytes = workspace.size();
    o.blas = handle;
    o.overlap_previous = overlap;
    double const us = time_us(
        [&](int i) {
            weight const& own = w[static_cast<std::size_t>(i) % copies];
            o.codes = own.codes.data();
            o.scales = own.scales.data();
            must(launch_w4a16(p, o, the_stream));
        },
        m > 256 ? 8 : launches);
    std::string name = std::string("w4a16 ") + name_of(format) + ' ' + name_of(activations);
    name += overlap ? " overlapped" : "";
    row(name.c_str(), m, n, k, us, static_cast<double>(weight_bytes), blas_us);
}

void time_w4a4(fpq::quant_format format, std::size_t m, std::size_t n, std::size_t k,
               double blas_us) {
    w4a4_problem const p{format, float_type::bf16, m, n, k};
    weight const a = random_weight(format, m, k);
    std::vector<weight> const b = weights_apart(format, n, k, 4);
    device_buffer<std::uint16_t> out;
    must(out.resize(m * n));
    w4a4_plan plan;
    must(plan_w4a4(p, &plan));
    device_buffer<std::uint8_t> workspace;
    must(workspace.resize(plan.workspace_bytes + 256));
    must(workspace.fill(0));
    w4a4_operands o;
    o.a = a.codes.data();
    o.a_scales = a.scales.data();
    o.out = out.data();
    o.workspace = workspace.data();
    o.workspace_bytes = workspace.size();
    double const us = time_us(
        [&](int i) {
            o.b = b[static_cast<std::size_t>(i) % 4].codes.data();
            o.b_scales = b[static_cast<std::size_t>(i) % 4].scales.data();
            must(launch_w4a4(p, o, w4a4_atom::automatic, the_stream));
        },
        4);
    int major = 0;
    must(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0));
    std::string const name =
        std::string("w4a4 ") + name_of(format) + (major == 12 ? " hardware" : " emulated");
    row(name.c_str(), m, n, k, us, 0.0, blas_us);
}

}  // namespace

int main() {
    int count = 0;
    if (cudaGetDeviceCount(&count) != cudaSuccess || count == 0) {
        std::printf("SKIPPED: no CUDA device\n");
        return 77;
    }
    must(cudaStreamCreateWithFlags(&the_stream, cudaStreamNonBlocking));
    cublasLtHandle_t handle = nullptr;
    must(cublasLtCreate(&handle));
    time_copy();
    float_type const bf16 = float_type::bf16;
    for (std::size_t m : {1, 16, 32, 64, 128, 256, 512}) {
        double const blas = time_blas(handle, m, 14336, 4096);
        time_w4a16(handle, fpq::nvfp4, m, 14336, 4096, false, blas, bf16);
        time_w4a16(handle, fpq::nvfp4, m, 14336, 4096, true, blas, bf16);
        time_w4a16(handle, fpq::nvfp4, m, 14336, 4096, true, blas, float_type::fp16);
        time_w4a16(handle, fpq::mxfp4, m, 14336, 4096, true, blas, bf16);
    }
    for (std::size_t m : {1, 16, 32, 64, 128}) {
        double const blas = time_blas(handle, m, 4096, 14336);
        time_w4a16(handle, fpq::nvfp4, m, 4096, 14336, true, blas, bf16);
    }
    double const blas = time_blas(handle, 4096, 14336, 4096);
    time_w4a16(handle, fpq::nvfp4, 4096, 14336, 4096, false, blas, bf16);
    time_w4a16(handle, fpq::mxfp4, 4096, 14336, 4096, false, blas, bf16);
    double const cube = time_blas(handle, 4096, 4096, 4096);
    time_w4a4(fpq::nvfp4, 4096, 4096, 4096, cube);
    time_w4a4(fpq::mxfp4, 4096, 4096, 4096, cube);
    cublasLtDestroy(handle);
    return 0;
}
