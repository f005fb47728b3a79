// SPDX-License-Identifier: Apache-2.0
// Embedding, residual add, RMSNorm, SiLU and rope on a GPU against the same in float64.
#include "gpu.hpp"
// (first: it ends the program where there is no device)

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "catch.hpp"
#include "forward_support.hpp"

namespace {

using namespace fpq_test;
namespace cuda = fpq::cuda;
using fpq::bf16;

template <class T>
constexpr cuda::float_type type_of = sizeof(T) == 2 ? cuda::float_type::bf16
                                                    : cuda::float_type::fp32;

template <class Stream>
void embeds(std::size_t cols) {
    std::size_t const vocab = 37;
    std::vector<std::int32_t> const tokens = {0, 36, 5, 5, -1, 37, 11};
    auto const table = random_values<bf16>(vocab * cols, 1);
    auto const table_there = on_device(table);
    auto const tokens_there = on_device(tokens);
    auto out = poisoned<Stream>(tokens.size() * cols);
    require_ok(cuda::launch_embed(tokens_there.data(), table_there.data(), vocab,
                                  {out.data(), type_of<Stream>, tokens.size(), cols}, nullptr));
    auto const found = widened(on_host(out));
    std::size_t wrong = 0;
    for (std::size_t i = 0; i < found.size(); ++i) {
        std::int32_t const token = tokens[i / cols];
        if (token < 0 || token >= static_cast<std::int32_t>(vocab)) {
            wrong += std::isnan(found[i]) ? 0 : 1;
        } else {
            auto const at = static_cast<std::size_t>(token) * cols + i % cols;
            wrong += found[i] == fpq::to_float(table[at]) ? 0 : 1;
        }
    }
    INFO("columns " << cols);
    CHECK(wrong == 0);
}

template <class Stream>
void adds(std::size_t rows, std::size_t cols) {
    auto const x = random_values<Stream>(rows * cols, 2);
    auto const y = random_values<bf16>(rows * cols, 3, 0.3F);
    auto x_there = on_device(x);
    auto const y_there = on_device(y);
    require_ok(
        cuda::launch_add({x_there.data(), type_of<Stream>, rows, cols}, y_there.data(), nullptr));
    std::vector<Stream> want(x.size());
    for (std::size_t i = 0; i < x.size(); ++i) {
        want[i] = narrowed(Stream{}, fpq::to_float(x[i]) + fpq::to_float(y[i]));
    }
    INFO(rows << " x " << cols);
    CHECK(same_bytes(on_host(x_there), want));
}

/// RMSNorm after an add (or not) against a plain add and a norm in float64 of what it stores.
template <class Stream>
void norms(std::size_t rows, std::size_t cols, bool add) {
    auto const x = random_values<Stream>(rows * cols, 4, 3.0F);
    auto const y = random_values<bf16>(rows * cols, 5);
    auto const weight = gaussian(cols, 61, 6, 0.2F, 1.0F);
    float const eps = 1e-5F;
    auto x_there = on_device(x);
    auto summed = on_device(x);
    auto const y_there = on_device(y);
    auto const weight_there = on_device(weight);
    auto out = poisoned<bf16>(rows * cols);
    cuda::stream_matrix const stream{x_there.data(), type_of<Stream>, rows, cols};
    require_ok(cuda::launch_rms_norm(stream, add ? y_there.data() : nullptr, weight_there.data(),
                                     eps, out.data(), nullptr));
    if (add) {
        require_ok(cuda::launch_add({summed.data(), type_of<Stream>, rows, cols}, y_there.data(),
                                    nullptr));
    }
    auto const stored = on_host(x_there);
    INFO(rows << " x " << cols << (add ? " with an add" : ""));
    CHECK(same_bytes(stored, on_host(summed)));
    auto const v = widened(stored);
    std::vector<double> want(v.size());
    for (std::size_t i = 0; i < rows; ++i) {
        double squares = 0;
        for (std::size_t j = 0; j < cols; ++j) {
            double const t = static_cast<double>(v[i * cols + j]);
            squares += t * t;
        }
        double const inverse =
            1 / std::sqrt(squares / static_cast<double>(cols) + static_cast<double>(eps));
        for (std::size_t j = 0; j < cols; ++j) {
            want[i * cols + j] =
                static_cast<double>(weight[j]) * static_cast<double>(v[i * cols + j]) * inverse;
        }
    }
    auto const found = on_host(out);
    CHECK(off_by_more_than_rounding(widened(found), want, 1e-6, 0) == 0);
    // The last row alone: the same bits.
    auto one = on_device(
        std::vector<Stream>(stored.end() - static_cast<std::ptrdiff_t>(cols), stored.end()));
    auto one_out = poisoned<bf16>(cols);
    require_ok(cuda::launch_rms_norm({one.data(), type_of<Stream>, 1, cols}, nullptr,
                                     weight_there.data(), eps, one_out.data(), nullptr));
    CHECK(same_bytes(
        on_host(one_out),
        std::vector<bf16>(found.end() - static_cast<std::ptrdiff_t>(cols), found.end())));
}

struct rope_case {
    std::size_t heads, kv_heads, head_dim;
    bool norm, listed;
    std::size_t tokens = 23;
};

/// q and k inside one matrix of all heads, as a fused product leaves them.
void rotates(rope_case const& c) {
    std::size_t const tokens = c.tokens;
    std::size_t const length = 7;
    std::size_t const positions = 40;
    std::size_t const half = c.head_dim / 2;
    std::size_t const heads = c.heads + c.kv_heads;
    std::size_t const stride = heads * c.head_dim + 8;
    auto const x = random_values<bf16>(tokens * stride, 7, 2.0F);
    std::vector<float> cosines(positions * half);
    std::vector<float> sines(positions * half);
    for (std::size_t i = 0; i < cosines.size(); ++i) {
        double const angle =
            static_cast<double>(i / half) *
            std::pow(100.0, -static_cast<double>(i % half) / static_cast<double>(half));
        cosines[i] = static_cast<float>(std::cos(angle));
        sines[i] = static_cast<float>(std::sin(angle));
    }
    std::vector<std::int32_t> listed(tokens);
    for (std::size_t t = 0; t < tokens; ++t) {
        listed[t] = static_cast<std::int32_t>((t * 17 + 3) % positions);
    }
    auto const q_norm = gaussian(c.head_dim, 61, 8, 0.2F, 1.0F);
    auto const k_norm = gaussian(c.head_dim, 61, 9, 0.2F, 1.0F);
    auto there = on_device(x);
    auto const cos_there = on_device(cosines);
    auto const sin_there = on_device(sines);
    auto const listed_there = on_device(listed);
    auto const q_norm_there = on_device(q_norm);
    auto const k_norm_there = on_device(k_norm);
    cuda::rope_args args;
    args.q = {there.data(), stride};
    args.k = {there.data() + c.heads * c.head_dim, stride};
    args.tokens = tokens;
    args.heads = c.heads;
    args.kv_heads = c.kv_heads;
    args.head_dim = c.head_dim;
    args.cos = cos_there.data();
    args.sin = sin_there.data();
    args.length = length;
    args.positions = c.listed ? listed_there.data() : nullptr;
    args.q_norm = c.norm ? q_norm_there.data() : nullptr;
    args.k_norm = c.norm ? k_norm_there.data() : nullptr;
    args.eps = 1e-6F;
    require_ok(cuda::launch_rope(args, nullptr));

    std::vector<double> want(x.size());
    for (std::size_t i = 0; i < x.size(); ++i) {
        want[i] = static_cast<double>(fpq::to_float(x[i]));
    }
    for (std::size_t t = 0; t < tokens; ++t) {
        auto const position = c.listed ? static_cast<std::size_t>(listed[t]) : t % length;
        for (std::size_t h = 0; h < heads; ++h) {
            double* const head = want.data() + t * stride + h * c.head_dim;
            if (c.norm) {
                double squares = 0;
                for (std::size_t i = 0; i < c.head_dim; ++i) {
                    squares += head[i] * head[i];
                }
                double const inverse =
                    1 / std::sqrt(squares / static_cast<double>(c.head_dim) + 1e-6);
                for (std::size_t i = 0; i < c.head_dim; ++i) {
                    head[i] *= inverse * static_cast<double>(h < c.heads ? q_norm[i] : k_norm[i]);
                }
            }
            for (std::size_t i = 0; i < half; ++i) {
                double const co = static_cast<double>(cosines[position * half + i]);
                double const si = static_cast<double>(sines[position * half + i]);
                double const a = head[i];
                double const b = head[i + half];
                head[i] = a * co - b * si;
                head[i + half] = b * co + a * si;
            }
        }
    }
    INFO("heads " << c.heads << "+" << c.kv_heads << ", head_dim " << c.head_dim << ", norm "
                  << c.norm << ", listed " << c.listed);
    // What is between the rows stays as it is: exact in `want`.
    CHECK(off_by_more_than_rounding(widened(on_host(there)), want, 1e-6) == 0);
}

/// Keys and values that go to slots are those of a rotation in place, copied.
void rotates_into_slots(rope_case const& c) {
    std::size_t const tokens = 9;
    std::size_t const half = c.head_dim / 2;
    std::size_t const wide = c.heads * c.head_dim;
    std::size_t const narrow = c.kv_heads * c.head_dim;
    std::size_t const stride = wide + 2 * narrow;
    auto const x = random_values<bf16>(tokens * stride, 11, 2.0F);
    std::vector<std::int32_t> const slots{4, 0, 9, -1, 2, 11, 7, -1, 3};
    std::size_t const rows = 12;
    auto const cosines = gaussian(tokens * half, 62, 1, 1.0F);
    auto const sines = gaussian(tokens * half, 62, 2, 1.0F);
    auto const norm = gaussian(c.head_dim, 62, 3, 0.2F, 1.0F);
    auto const cos_there = on_device(cosines);
    auto const sin_there = on_device(sines);
    auto const norm_there = on_device(norm);
    auto const slots_there = on_device(slots);
    auto in_place = on_device(x);
    auto there = on_device(x);
    auto keys = poisoned<bf16>(rows * narrow);
    auto kept = poisoned<bf16>(rows * narrow);
    cuda::rope_args args;
    args.tokens = args.length = tokens;
    args.heads = c.heads;
    args.kv_heads = c.kv_heads;
    args.head_dim = c.head_dim;
    args.cos = cos_there.data();
    args.sin = sin_there.data();
    args.q_norm = args.k_norm = c.norm ? norm_there.data() : nullptr;
    args.eps = 1e-6F;
    args.q = {in_place.data(), stride};
    args.k = {in_place.data() + wide, stride};
    require_ok(cuda::launch_rope(args, nullptr));
    args.q = {there.data(), stride};
    args.k = {there.data() + wide, stride};
    args.v = {there.data() + wide + narrow, stride};
    args.slots = slots_there.data();
    args.keys = {keys.data(), narrow};
    args.values = {kept.data(), narrow};
    require_ok(cuda::launch_rope(args, nullptr));

    auto const turned = on_host(in_place);
    std::vector<bf16> want = x;  // queries turn in place, the rest stays
    std::vector<bf16> want_keys(rows * narrow, bf16{0xFFFF});
    std::vector<bf16> want_values = want_keys;
    for (std::size_t t = 0; t < tokens; ++t) {
        auto const row = static_cast<std::ptrdiff_t>(t * stride);
        auto const k = row + static_cast<std::ptrdiff_t>(wide);
        auto const v = k + static_cast<std::ptrdiff_t>(narrow);
        std::copy(turned.begin() + row, turned.begin() + k, want.begin() + row);
        if (slots[t] >= 0) {
            auto const slot = static_cast<std::ptrdiff_t>(narrow) * slots[t];
            std::copy(turned.begin() + k, turned.begin() + v, want_keys.begin() + slot);
            std::copy_n(x.begin() + v, narrow, want_values.begin() + slot);
        }
    }
    INFO("heads " << c.heads << "+" << c.kv_heads << ", head_dim " << c.head_dim << ", norm "
                  << c.norm);
    CHECK(same_bytes(on_host(there), want));
    CHECK(same_bytes(on_host(keys), want_keys));
    CHECK(same_bytes(on_host(kept), want_values));
}

void gates(std::size_t rows, std::size_t cols, std::size_t gap) {
    std::size_t const stride = 2 * cols + gap;
    auto x = random_values<bf16>(rows * stride, 10, 4.0F);
    for (std::size_t i = 0; i < std::min<std::size_t>(cols, 6); ++i) {
        float const far[6] = {90.0F, -90.0F, 200.0F, -200.0F, -86.5F, 0.0F};
        x[i] = fpq::to_bf16(far[i]);
    }
    auto const there = on_device(x);
    auto out = poisoned<bf16>(rows * cols);
    require_ok(cuda::launch_silu_mul({there.data(), stride}, {there.data() + cols, stride}, rows,
                                     cols, {out.data(), cols}, nullptr));
    std::vector<double> want(rows * cols);
    for (std::size_t i = 0; i < want.size(); ++i) {
        std::size_t const at = i / cols * stride + i % cols;
        double const g = static_cast<double>(fpq::to_float(x[at]));
        want[i] = g / (1 + std::exp(std::clamp(-g, -87.0, 87.0))) *
                  static_cast<double>(fpq::to_float(x[at + cols]));
    }
    INFO(rows << " x " << cols << ", gap " << gap);
    // __expf is off by some 2^-21 of its argument's size.
    CHECK(off_by_more_than_rounding(widened(on_host(out)), want, 2e-5, 0) == 0);
}

}  // namespace

TEST_CASE("the GPU's embedding is the table's rows", "[gpu]") {
    for (std::size_t const cols : {8u, 64u, 1030u, 4096u}) {
        embeds<bf16>(cols);
        embeds<float>(cols);
    }
}

TEST_CASE("the GPU's residual add rounds once", "[gpu]") {
    for (std::size_t const cols : {8u, 172u, 4096u}) {
        adds<bf16>(9, cols);
        adds<float>(9, cols);
    }
    adds<bf16>(300000, 8);
}

TEST_CASE("the GPU's RMSNorm is that of float64 and the same in any batch", "[gpu]") {
    for (std::size_t const cols : {8u, 64u, 896u, 2048u, 4096u, 5120u, 8192u, 16384u}) {
        for (bool const add : {false, true}) {
            norms<bf16>(5, cols, add);
            norms<float>(5, cols, add);
        }
    }
    norms<bf16>(1025, 3584, true);
}

TEST_CASE("the GPU's rope turns, and norms, heads of all sizes", "[gpu]") {
    for (std::size_t const dim : {8u, 16u, 24u, 64u, 80u, 96u, 128u, 192u, 256u}) {
        for (bool const norm : {false, true}) {
            rotates({8, 2, dim, norm, false});
            rotates({3, 1, dim, norm, true});
            rotates({7, 7, dim, norm, false});
            rotates({8, 2, dim, norm, true, 700});  // several heads a group
        }
    }
}

TEST_CASE("the GPU's rope brings keys and values to their slots", "[gpu]") {
    for (std::size_t const dim : {8u, 24u, 64u, 128u, 256u}) {
        for (bool const norm : {false, true}) {
            rotates_into_slots({8, 2, dim, norm, false});
            rotates_into_slots({3, 1, dim, norm, false});
            rotates_into_slots({5, 5, dim, norm, false});
        }
    }
}

TEST_CASE("the GPU's SiLU gate is that of float64, far values and odd widths included", "[gpu]") {
    gates(5, 14336, 0);
    gates(9, 172, 0);
    gates(9, 176, 8);
    gates(3, 7, 1);
}

TEST_CASE("what the GPU's row steps cannot do is refused", "[gpu]") {
    auto x = poisoned<bf16>(64);
    auto w = poisoned<float>(64);
    auto const refused = [](cuda::status const& s, char const* word) {
        INFO(s.text);
        CHECK(s.code != cuda::status_code::ok);
        CHECK(std::strstr(s.text, word) != nullptr);
    };
    using type = cuda::float_type;
    refused(cuda::launch_rms_norm({x.data(), type::bf16, 1, 12}, nullptr, w.data(), 0, x.data(),
                                  nullptr),
            "cols");
    refused(cuda::launch_rms_norm({x.data(), type::fp16, 1, 16}, nullptr, w.data(), 0, x.data(),
                                  nullptr),
            "fp16");
    refused(cuda::launch_silu_mul({x.data(), 8}, {x.data(), 8}, 1, 16, {x.data(), 16}, nullptr),
            "stride");
    refused(cuda::launch_add({nullptr, type::bf16, 1, 16}, x.data(), nullptr), "null");
    cuda::rope_args rope;
    rope.q = rope.k = {x.data(), 16};
    rope.tokens = rope.heads = rope.kv_heads = rope.length = 1;
    rope.cos = rope.sin = w.data();
    rope.head_dim = 12;
    refused(cuda::launch_rope(rope, nullptr), "head_dim");
    rope.head_dim = 16;
    rope.q_norm = w.data();
    refused(cuda::launch_rope(rope, nullptr), "norms");
}
