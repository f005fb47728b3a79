// SPDX-License-Identifier: Apache-2.0
// Times the forward pass's kernels on one GPU beside what limits them, which it measures first: a
// copy of 512 MiB (bytes read and written) and a bf16 product of cuBLAS. CUDA events, medians; the
// inputs are random and larger than the L2 cache.
// usage: fpq_bench_cuda_forward [WORD]   only rows whose name holds WORD
#include <cublas_v2.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <string>
#include <vector>

#include "fpq/core/half.hpp"
#include "fpq/cuda/api/buffer.hpp"
#include "fpq/cuda/api/forward.hpp"
#include "fpq/cuda/api/score.hpp"
#include "fpq/cuda/gptq/linear_algebra.hpp"
#include "timing.hpp"

namespace {

namespace cuda = fpq::cuda;
using fpq::bf16;

char const* word = "";
double copy_rate = 0;     // bytes a second
double product_rate = 0;  // operations a second

void must(cuda::status const& s) {
    if (!s.ok()) {
        std::fprintf(stderr, "%s\n", s.text);
        std::exit(5);
    }
}

template <class T>
cuda::device_buffer<T> room(std::size_t size) {
    cuda::device_buffer<T> out;
    must(out.resize(size));
    return out;
}

template <class T>
cuda::device_buffer<T> upload(std::vector<T> const& from) {
    auto out = room<T>(from.size());
    must(out.upload(from.data()));
    return out;
}

std::uint64_t state = 88172645463325252u;
float uniform() {  // xorshift64, -1 to 1
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return static_cast<float>(state >> 40) * 0x1p-23F - 1.0F;
}

/// `size` values of some spread; a stretch of random ones again and again.
cuda::device_buffer<bf16> random_bf16(std::size_t size, float most) {
    std::size_t const stretch = (std::size_t{1} << 22) + 12345;
    std::vector<bf16> host(size);
    for (std::size_t i = 0; i < size; ++i) {
        host[i] = i < stretch ? fpq::to_bf16(most * uniform()) : host[i - stretch];
    }
    return upload(host);
}

std::vector<float> random_floats(std::size_t size, float from, float spread) {
    std::vector<float> out(size);
    for (float& x : out) {
        x = from + spread * uniform();
    }
    return out;
}

/// One row: bytes that must move, or operations that must be done, and their share of the limit.
void row(char const* kernel, std::string const& shape, double bytes, double operations,
         std::function<void()> const& work) {
    if (std::strstr(kernel, word) == nullptr) {
        return;
    }
    auto const t = fpq_bench::time_on_device([&](int) { work(); }, 20, 3);
    must(cuda::from_cuda(cudaGetLastError(), kernel));
    double const seconds = t.median * 1e-3;
    if (operations > 0) {
        std::printf("%-17s %-50s %9.1f us [%8.1f, %8.1f] %7.1f TFLOP/s  %.3f of the product\n",
                    kernel, shape.c_str(), t.median * 1e3, t.least * 1e3, t.most * 1e3,
                    operations / seconds * 1e-12, operations / seconds / product_rate);
    } else {
        std::printf("%-17s %-50s %9.1f us [%8.1f, %8.1f] %7.0f GB/s     %.3f of copy\n", kernel,
                    shape.c_str(), t.median * 1e3, t.least * 1e3, t.most * 1e3,
                    bytes / seconds * 1e-9, bytes / seconds / copy_rate);
    }
    std::fflush(stdout);
}

void limits() {
    cudaDeviceProp card{};
    must(cuda::from_cuda(cudaGetDeviceProperties(&card, 0), "device"));
    std::size_t const bytes = std::size_t{512} << 20;
    auto from = room<char>(bytes);
    auto to = room<char>(bytes);
    must(from.fill(0x3C));
    auto const copy = fpq_bench::time_on_device([&](int) {
        static_cast<void>(cudaMemcpyAsync(to.data(), from.data(), bytes, cudaMemcpyDeviceToDevice));
    });
    copy_rate = 2 * static_cast<double>(bytes) / (copy.median * 1e-3);
    int const n = 8192;
    auto const a = random_bf16(std::size_t{n} * n, 1.0F);
    auto const b = random_bf16(std::size_t{n} * n, 1.0F);
    auto c = room<bf16>(std::size_t{n} * n);
    cuda::linear_algebra libraries;
    must(libraries.use(nullptr));
    float const one = 1.0F;
    float const none = 0.0F;
    auto const product = fpq_bench::time_on_device([&](int) {
        static_cast<void>(cublasGemmEx(libraries.blas(), CUBLAS_OP_T, CUBLAS_OP_N, n, n, n, &one,
                                       a.data(), CUDA_R_16BF, n, b.data(), CUDA_R_16BF, n, &none,
                                       c.data(), CUDA_R_16BF, n, CUBLAS_COMPUTE_32F,
                                       CUBLAS_GEMM_DEFAULT));
    });
    product_rate = 2.0 * n * n * n / (product.median * 1e-3);
    std::printf("%s, %d multiprocessors: copy %.0f GB/s, bf16 product of 8192 %.0f TFLOP/s\n",
                card.name, card.multiProcessorCount, copy_rate * 1e-9, product_rate * 1e-12);
}

std::string text(char const* format, std::size_t a, std::size_t b, std::size_t c = 0,
                 std::size_t d = 0, std::size_t e = 0) {
    char out[96];
    std::snprintf(out, sizeof out, format, a, b, c, d, e);
    return out;
}

/// Whether one of these kernels is asked for: what they need is not made otherwise.
bool asked(std::initializer_list<char const*> kernels) {
    return std::any_of(kernels.begin(), kernels.end(),
                       [](char const* k) { return std::strstr(k, word) != nullptr; });
}

constexpr std::size_t tokens = 16384;  // eight windows of 2,048

void rows_of(std::size_t hidden, std::size_t intermediate, std::size_t vocab) {
    if (!asked({"embed", "add", "rms_norm", "add and rms_norm", "silu_mul"})) {
        return;
    }
    double const values = static_cast<double>(tokens) * static_cast<double>(hidden);
    std::string const shape = text("%zu x %zu", tokens, hidden);
    {
        auto const table = random_bf16(vocab * hidden, 1.0F);
        std::vector<std::int32_t> ids(tokens);
        for (auto& id : ids) {
            id = static_cast<std::int32_t>((uniform() + 1) / 2 * static_cast<float>(vocab - 1));
        }
        auto const there = upload(ids);
        auto out = room<bf16>(tokens * hidden);
        row("embed", shape + text(" of %zu", vocab, 0), values * 4, 0, [&] {
            must(cuda::launch_embed(there.data(), table.data(), vocab,
                                    {out.data(), cuda::float_type::bf16, tokens, hidden}, nullptr));
        });
    }
    auto x = random_bf16(tokens * hidden, 1.0F);
    auto const added = random_bf16(tokens * hidden, 0.001F);
    auto wide = room<float>(tokens * hidden);
    must(wide.fill(0x3C));
    auto const weight = upload(random_floats(hidden, 1.0F, 0.3F));
    auto out = room<bf16>(tokens * hidden);
    cuda::stream_matrix const narrow{x.data(), cuda::float_type::bf16, tokens, hidden};
    cuda::stream_matrix const full{wide.data(), cuda::float_type::fp32, tokens, hidden};
    auto const norm = [&](cuda::stream_matrix const& m, bf16 const* more) {
        must(cuda::launch_rms_norm(m, more, weight.data(), 1e-5F, out.data(), nullptr));
    };
    row("add", shape, values * 6, 0,
        [&] { must(cuda::launch_add(narrow, added.data(), nullptr)); });
    row("rms_norm", shape, values * 4, 0, [&] { norm(narrow, nullptr); });
    row("rms_norm", shape + ", fp32 stream", values * 6, 0, [&] { norm(full, nullptr); });
    row("add and rms_norm", shape, values * 8, 0, [&] { norm(narrow, added.data()); });
    row("add and rms_norm", shape + ", fp32 stream", values * 12, 0,
        [&] { norm(full, added.data()); });
    double const inner = static_cast<double>(tokens) * static_cast<double>(intermediate);
    auto const gates = random_bf16(tokens * 2 * intermediate, 4.0F);
    auto gated = room<bf16>(tokens * intermediate);
    row("silu_mul", text("%zu x %zu", tokens, intermediate), inner * 6, 0, [&] {
        must(cuda::launch_silu_mul({gates.data(), 2 * intermediate},
                                   {gates.data() + intermediate, 2 * intermediate}, tokens,
                                   intermediate, {gated.data(), intermediate}, nullptr));
    });
}

void rope_of(std::size_t heads, std::size_t kv_heads, std::size_t dim, bool norm) {
    if (!asked({"rope", "rope with norms"})) {
        return;
    }
    std::size_t const width = (heads + 2 * kv_heads) * dim;
    auto qkv = random_bf16(tokens * width, 1.0F);
    auto const tables = upload(random_floats(2 * 2048 * dim / 2, 0.0F, 0.7F));
    auto const weights = upload(random_floats(dim, 1.0F, 0.3F));
    cuda::rope_args a;
    a.q = {qkv.data(), width};
    a.k = {qkv.data() + heads * dim, width};
    a.tokens = tokens;
    a.heads = heads;
    a.kv_heads = kv_heads;
    a.head_dim = dim;
    a.cos = tables.data();
    a.sin = tables.data() + 2048 * dim / 2;
    a.length = 2048;
    a.eps = 1e-6F;
    a.q_norm = a.k_norm = norm ? weights.data() : nullptr;
    row(norm ? "rope with norms" : "rope",
        text("%zu tokens, %zu + %zu heads of %zu", tokens, heads, kv_heads, dim),
        static_cast<double>(tokens) * static_cast<double>((heads + kv_heads) * dim) * 4, 0,
        [&] { must(cuda::launch_rope(a, nullptr)); });
}

void attention_of(std::size_t windows, std::size_t length, std::size_t heads, std::size_t kv_heads,
                  std::size_t dim, std::size_t sliding = 0) {
    if (!asked({"attention"})) {
        return;
    }
    std::size_t const width = (heads + 2 * kv_heads) * dim;
    auto const qkv = random_bf16(windows * length * width, 1.7F);
    auto out = room<bf16>(windows * length * heads * dim);
    cuda::attention_args a;
    a.q = {qkv.data(), width};
    a.k = {qkv.data() + heads * dim, width};
    a.v = {qkv.data() + (heads + kv_heads) * dim, width};
    a.out = {out.data(), heads * dim};
    a.windows = windows;
    a.length = length;
    a.heads = heads;
    a.kv_heads = kv_heads;
    a.head_dim = dim;
    a.sliding = sliding;
    // Counted causal: half of the square, or the band.
    double const n = static_cast<double>(length);
    double const band = static_cast<double>(sliding);
    double const pairs = sliding == 0 ? n * n / 2 : band * (n - band / 2);
    row("attention",
        text("%zu x %zu, heads %zu/%zu of %zu", windows, length, heads, kv_heads, dim) +
            (sliding == 0 ? "" : text(", sliding %zu", sliding, 0)),
        0, 4 * pairs * static_cast<double>(windows * heads * dim),
        [&] { must(cuda::launch_attention(a, nullptr)); });
}

/// One token of each sequence; every byte of the caches is read once.
void cached_attention_of(std::size_t sequences, std::size_t length, std::size_t heads,
                         std::size_t kv_heads, std::size_t dim) {
    if (!asked({"cached attention"})) {
        return;
    }
    std::size_t const width = kv_heads * dim;
    auto const q = random_bf16(sequences * heads * dim, 1.7F);
    auto const k = random_bf16(sequences * length * width, 1.7F);
    auto const v = random_bf16(sequences * length * width, 1.7F);
    auto out = room<bf16>(sequences * heads * dim);
    cuda::cached_attention_args a;
    a.q = {q.data(), heads * dim};
    a.k = {k.data(), width};
    a.v = {v.data(), width};
    a.out = {out.data(), heads * dim};
    a.sequences = sequences;
    a.capacity = a.length = length;
    a.heads = heads;
    a.kv_heads = kv_heads;
    a.head_dim = dim;
    row("cached attention",
        text("%zu x %zu, heads %zu/%zu of %zu", sequences, length, heads, kv_heads, dim),
        static_cast<double>(sequences * length * width) * 4, 0,
        [&] { must(cuda::launch_cached_attention(a, nullptr)); });
}

void score_of(std::size_t rows, std::size_t vocab, std::size_t hidden) {
    if (!asked({"score tile", "score", "score of two"})) {
        return;
    }
    auto const x = random_bf16(rows * hidden, 1.0F);
    auto const head = random_bf16(vocab * hidden, 0.03F);
    auto const other = random_bf16(vocab * hidden, 0.03F);
    auto const targets = upload(std::vector<std::int32_t>(rows, 7));
    auto out = room<cuda::position_score>(rows);
    auto states = room<cuda::score_state>(rows);
    {
        cuda::score_tile_args tile;
        tile.rows = 4096;
        tile.cols = tile.stride = 8192;
        auto const logits = upload(random_floats(tile.rows * tile.cols, 0.0F, 4.0F));
        auto const narrow = random_bf16(tile.rows * tile.cols, 4.0F);
        tile.logits = logits.data();
        tile.targets = targets.data();
        tile.states = states.data();
        double const count = static_cast<double>(tile.rows * tile.cols);
        std::string const shape = text("%zu x %zu", tile.rows, tile.cols);
        row("score tile", shape + " fp32", count * 4, 0,
            [&] { must(cuda::launch_score_tile(tile, nullptr)); });
        tile.reference = tile.logits;
        row("score tile", shape + " fp32, the same as reference", count * 4, 0,
            [&] { must(cuda::launch_score_tile(tile, nullptr)); });
        tile.type = cuda::float_type::bf16;
        tile.logits = narrow.data();
        tile.reference = nullptr;
        row("score tile", shape + " bf16", count * 2, 0,
            [&] { must(cuda::launch_score_tile(tile, nullptr)); });
    }
    cuda::linear_algebra libraries;
    cuda::score_workspace workspace;
    cuda::score_args a;
    a.model = {x.data(), head.data(), hidden};
    a.rows = rows;
    a.vocab = vocab;
    a.targets = targets.data();
    a.out = out.data();
    double const once = 2.0 * static_cast<double>(rows * vocab) * static_cast<double>(hidden);
    for (auto const type : {cuda::float_type::fp32, cuda::float_type::bf16}) {
        a.logits = type;
        std::string const shape = text("%zu x %zu x %zu, tiles of %zu x %zu ", rows, vocab, hidden,
                                       a.tile_rows, a.tile_cols) +
                                  cuda::name_of(type);
        a.reference = {};
        row("score", shape, 0, once,
            [&] { must(cuda::launch_score(libraries, nullptr, a, workspace)); });
        a.reference = {x.data(), other.data(), hidden};
        row("score of two", shape, 0, 2 * once,
            [&] { must(cuda::launch_score(libraries, nullptr, a, workspace)); });
    }
}

}  // namespace

int main(int count, char** arguments) {
    word = count > 1 ? arguments[1] : "";
    limits();
    rows_of(4096, 14336, 128256);
    rows_of(8192, 28672, 32000);
    rows_of(896, 4864, 151936);
    rope_of(32, 8, 128, false);
    rope_of(32, 8, 128, true);
    rope_of(14, 2, 64, false);
    for (std::size_t const dim : {64u, 80u, 96u, 128u, 256u}) {
        attention_of(8, 2048, 32, 8, dim);
    }
    attention_of(4, 2048, 32, 32, 128);
    attention_of(32, 512, 32, 8, 128);
    attention_of(1, 2048, 32, 8, 128);
    attention_of(2, 8192, 32, 8, 128);
    attention_of(2, 8192, 32, 8, 128, 1024);
    cached_attention_of(128, 1024, 32, 8, 128);
    cached_attention_of(128, 2048, 32, 8, 128);
    cached_attention_of(128, 1024, 28, 4, 128);
    cached_attention_of(128, 1024, 14, 2, 64);
    cached_attention_of(1, 2048, 32, 8, 128);
    score_of(8192, 128256, 4096);
    return 0;
}
