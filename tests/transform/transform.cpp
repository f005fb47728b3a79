// SPDX-License-Identifier: Apache-2.0
// The laws of block_transform: products are kept, undo undoes, norms are kept, the fast path is
// the matrix.
#include "fpq/transform/transform.hpp"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "catch.hpp"
#include "support/gaussian.hpp"

using fpq::block_transform;
using fpq::transform_kind;

namespace {

std::vector<float> normals(std::size_t n, std::uint64_t stream) {
    return fpq_test::gaussian(n, 12, stream);
}

double dot(float const* a, float const* b, std::size_t n) {
    double sum = 0.0;
    for (std::size_t i = 0; i < n; ++i) {
        sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
    }
    return sum;
}

double worst_gap(std::vector<float> const& a, std::vector<float> const& b) {
    double worst = a.size() == b.size() ? 0.0 : 1e9;
    for (std::size_t i = 0; i < a.size() && i < b.size(); ++i) {
        worst = std::fmax(worst, std::fabs(static_cast<double>(a[i] - b[i])));
    }
    return worst;
}

/// x M block by block in double.
std::vector<float> dense(std::vector<float> const& x, std::size_t cols, std::vector<float> const& m,
                         std::size_t g) {
    std::vector<float> y(x.size());
    for (std::size_t base = 0; base < x.size(); base += g) {
        for (std::size_t j = 0; j < g; ++j) {
            double sum = 0.0;
            for (std::size_t k = 0; k < g; ++k) {
                sum += static_cast<double>(x[base + k]) * static_cast<double>(m[k * g + j]);
            }
            y[base + j] = static_cast<float>(sum);
        }
    }
    REQUIRE(cols % g == 0);
    return y;
}

void check_laws(block_transform const& t, double tolerance) {
    std::size_t const g = t.block();
    std::size_t const cols = 3 * g;
    std::vector<float> const x = normals(5 * cols, 1);
    std::vector<float> const w = normals(4 * cols, 2);
    std::vector<float> tx = x;
    std::vector<float> tw = w;
    t.apply_to_inputs(fpq::as_view(tx.data(), 5, cols), 1);
    t.apply_to_weights(fpq::as_view(tw.data(), 4, cols), 2);
    INFO(fpq::transform_name(t.kind()) << " " << g);
    REQUIRE(worst_gap(tx, dense(x, cols, t.matrix(), g)) < tolerance);
    REQUIRE(worst_gap(tw, dense(w, cols, t.weight_matrix(), g)) < tolerance);
    for (std::size_t i = 0; i < 5; ++i) {
        for (std::size_t j = 0; j < 4; ++j) {
            double const before = dot(x.data() + i * cols, w.data() + j * cols, cols);
            double const after = dot(tx.data() + i * cols, tw.data() + j * cols, cols);
            REQUIRE(after == Approx(before).margin(tolerance * static_cast<double>(g)));
        }
        if (t.orthogonal()) {
            REQUIRE(dot(tx.data() + i * cols, tx.data() + i * cols, cols) ==
                    Approx(dot(x.data() + i * cols, x.data() + i * cols, cols)).epsilon(1e-5));
        }
    }
    t.undo_on_weights(fpq::as_view(tw.data(), 4, cols), 1);
    REQUIRE(worst_gap(tw, w) < tolerance);
}

}  // namespace

TEST_CASE("every transform keeps products, undoes, and is its matrix", "[transform]") {
    for (transform_kind kind : fpq::all_transforms) {
        for (std::size_t g :
             {std::size_t{1}, std::size_t{2}, std::size_t{16}, std::size_t{32}, std::size_t{128}}) {
            block_transform const t = block_transform::make(kind, g);
            REQUIRE(t.orthogonal());
            REQUIRE(t.kind() == kind);
            check_laws(t, 2e-5);
        }
        if (!fpq::needs_power_of_two(kind)) {
            check_laws(block_transform::make(kind, 43), 2e-5);
        }
    }
}

TEST_CASE("a transform from its matrix equals the transform that made it", "[transform]") {
    for (transform_kind kind : fpq::all_transforms) {
        block_transform const t = block_transform::make(kind, 32, 7);
        block_transform const u = block_transform::from_matrix(32, t.matrix(), kind);
        REQUIRE(u.orthogonal());
        REQUIRE(worst_gap(u.weight_matrix(), t.weight_matrix()) < 1e-6);
        check_laws(u, 2e-5);
    }
}

TEST_CASE("a matrix that is not orthogonal gets its inverse transpose", "[transform]") {
    std::vector<float> m = normals(64, 3);
    for (std::size_t i = 0; i < 8; ++i) {
        m[i * 8 + i] += 4.0F;
    }
    block_transform const t = block_transform::from_matrix(8, m, transform_kind::orthogonal);
    REQUIRE_FALSE(t.orthogonal());
    check_laws(t, 2e-4);
    REQUIRE_THROWS_AS(
        block_transform::from_matrix(2, {1.0F, 2.0F, 2.0F, 4.0F}, transform_kind::orthogonal),
        fpq::error);
    REQUIRE_THROWS_AS(block_transform::from_matrix(3, {1.0F}, transform_kind::orthogonal),
                      fpq::error);
}

TEST_CASE("an input meets the rows of M, on the right side for an asymmetric one", "[transform]") {
    block_transform const t = block_transform::make(transform_kind::random_hadamard, 16, 3);
    std::vector<float> x(16, 0.0F);
    x[2] = 1.0F;
    t.apply_to_inputs(fpq::as_view(x.data(), 1, 16), 1);
    for (std::size_t j = 0; j < 16; ++j) {
        REQUIRE(x[j] == t.matrix()[2 * 16 + j]);
    }
    std::size_t asymmetric = 0;
    for (std::size_t i = 0; i < 16; ++i) {
        for (std::size_t j = 0; j < 16; ++j) {
            asymmetric += t.matrix()[i * 16 + j] != t.matrix()[j * 16 + i];
        }
    }
    REQUIRE(asymmetric > 0);
}

TEST_CASE("threads do not change a transform's bytes", "[transform]") {
    for (transform_kind kind : fpq::all_transforms) {
        block_transform const t = block_transform::make(kind, 16);
        std::vector<float> a = normals(50 * 64, 4);
        std::vector<float> b = a;
        t.apply_to_inputs(fpq::as_view(a.data(), 50, 64), 1);
        t.apply_to_inputs(fpq::as_view(b.data(), 50, 64), 6);
        REQUIRE(a == b);
    }
}

TEST_CASE("the identity leaves every bit", "[transform]") {
    block_transform const t = block_transform::make(transform_kind::identity, 8);
    std::vector<float> x = normals(64, 5);
    std::vector<float> const before = x;
    t.apply_to_inputs(fpq::as_view(x.data(), 2, 32), 1);
    t.apply_to_weights(fpq::as_view(x.data(), 2, 32), 1);
    t.undo_on_weights(fpq::as_view(x.data(), 2, 32), 1);
    REQUIRE(x == before);
}

TEST_CASE("block sizes that a kind cannot have are refused by name", "[transform]") {
    try {
        (void)block_transform::make(transform_kind::hadamard, 96);
        FAIL("96 is not a power of two");
    } catch (fpq::error const& e) {
        REQUIRE(e.category() == fpq::error_category::usage);
        REQUIRE(std::string(e.what()) ==
                "transform block size: hadamard: expected a power of two, found 96");
    }
    REQUIRE_THROWS_AS(block_transform::make(transform_kind::dct, 0), fpq::error);
}

TEST_CASE("FP-Quant loads hadamard, identity and gsr", "[transform]") {
    std::size_t loadable = 0;
    for (transform_kind kind : fpq::all_transforms) {
        loadable += is_client_transform(kind) ? 1U : 0U;
    }
    REQUIRE(loadable == 3);
    REQUIRE(is_client_transform(transform_kind::gsr));
}
