// SPDX-License-Identifier: Apache-2.0
// The two-sided solvers, polish and joint against tests/vectors/two_sided: plain numpy loops in
// float64 (tests/interop/make_two_sided.py). The layer is small enough for one chunk and one block
// of columns, so that a descent visits in the same order: the same codes and scales.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <limits>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "catch.hpp"
#include "fpq/solve/joint.hpp"
#include "fpq/solve/polish.hpp"
#include "fpq/solve/two_sided.hpp"
#include "solve/moments.hpp"

namespace {

constexpr std::size_t m = 24;
constexpr std::size_t n = 64;
constexpr std::size_t tokens = 160;

/// make_two_sided.py's integers.
std::vector<int> integers(std::uint64_t state, std::size_t count, int low, int high) {
    std::vector<int> out(count);
    for (int& x : out) {
        state = state * 6364136223846793005U + 1442695040888963407U;
        x = low + static_cast<int>((state >> 33) % static_cast<unsigned>(high - low + 1));
    }
    return out;
}

/// Not damped; every element an integer that float holds.
fpq::hessian moment(std::uint64_t seed, std::size_t width) {
    auto x = integers(seed, tokens * width, -4, 4);
    auto const shared = integers(seed + 1, tokens * 4, -4, 4);
    auto const size = integers(seed + 2, width, 1, 3);
    std::vector<float> values(tokens * width);
    for (std::size_t t = 0; t < tokens; ++t) {
        for (std::size_t j = 0; j < width; ++j) {
            values[t * width + j] = static_cast<float>(
                (x[t * width + j] + 2 * shared[t * 4 + j / (width / 4)]) * size[j]);
        }
    }
    return fpq::hessian_of(fpq::as_view(values.data(), tokens, width), 1);
}

std::vector<float> weights() {
    auto const a = integers(1, m * n, -127, 127);
    auto const b = integers(2, m * n, -127, 127);
    std::vector<float> w(m * n);
    for (std::size_t i = 0; i < w.size(); ++i) {
        w[i] = static_cast<float>(a[i] * b[i]) / 262144.0F;
    }
    return w;
}

std::map<std::string, std::string> expected(std::string const& name) {
    std::ifstream file(std::string(FPQ_SOURCE_DIR) + "/tests/vectors/two_sided/" + name + ".txt");
    REQUIRE(file.good());
    std::map<std::string, std::string> out;
    for (std::string line; std::getline(file, line);) {
        std::istringstream words(line);
        std::string method;
        std::string what;
        std::string value;
        words >> method >> what >> value;
        method += " " + what;
        out[method] = value;
    }
    return out;
}

/// A nibble a code, a zero without its sign, and two digits a scale.
std::string codes_of(fpq::packed_matrix const& q) {
    std::string out;
    for (std::size_t i = 0; i < m * n; ++i) {
        unsigned const code = (q.codes[i / 2] >> (i % 2 * 4)) & 0xFU;
        out += "0123456789abcdef"[code == 8 ? 0 : code];
    }
    return out;
}

std::string scales_of(fpq::packed_matrix const& q) {
    std::string out;
    for (std::uint8_t const byte : q.scales) {
        out += "0123456789abcdef"[byte >> 4];
        out += "0123456789abcdef"[byte & 0xFU];
    }
    return out;
}

}  // namespace

TEST_CASE("GPTQ, polish and joint, one- and two-sided, are those of plain loops in float64",
          "[solve]") {
    auto const w = weights();
    auto const wv = fpq::as_view(static_cast<float const*>(w.data()), m, n);
    auto const h_i = moment(3, n);
    auto const h_o = moment(6, m);
    float amax = 0;
    for (float const x : w) {
        amax = std::max(amax, std::abs(x));
    }
    for (auto const& format : {fpq::nvfp4, fpq::mxfp4}) {
        auto const want = expected(fpq::name_of(format));
        fpq::solve_options o;
        o.threads = 1;
        o.order = fpq::quant_order::activation;
        o.observer.rule = fpq::scale_rule::sweep;
        o.observer.global_scale = format.has_global ? fpq::nvfp_global_scale(amax, true) : 1.0F;
        auto const columns = fpq::factor(h_i, o, "layer");
        auto damped = h_i.diagonal();  // the reference weighs by the damped diagonal
        for (float& x : damped) {
            x += static_cast<float>(columns.damping());
        }
        o.observer.column_weight = damped;
        auto const rows = fpq::row_factor(h_o, 0.01, 1, "layer");
        fpq::row_coupling const coupling(h_o, rows.damping(), "layer");
        auto const one = fpq::gptq(wv, h_i, columns, format, o, "layer");
        auto const two = fpq::gptq_two_sided(wv, h_i, columns, h_o, rows, format, o, "layer");
        struct row {
            char const* method;
            bool two_sided;
            int polish;
            int joint;
        };
        for (row const& r :
             {row{"gptq", false, 0, 0}, row{"gptq+polish", false, 2, 0},
              row{"gptq+joint", false, 0, 2}, row{"two_sided", true, 0, 0},
              row{"two_sided+polish", true, 3, 0}, row{"two_sided+joint", true, 0, 2}}) {
            INFO(fpq::name_of(format) << " " << r.method);
            auto solved = r.two_sided ? two : one;
            fpq::descent_goal const goal{h_i, r.two_sided ? &coupling : nullptr, true};
            fpq::polish(wv, goal, r.polish, 1, solved);
            fpq::joint(wv, goal, r.joint, 1, solved);
            std::string const method = r.method;
            CHECK(scales_of(solved.weight) == want.at(method + " scales"));
            CHECK(codes_of(solved.weight) == want.at(method + " codes"));
            double const objective =
                fpq_test::damped_objective(w, solved.weight, h_i, columns.damping(),
                                           r.two_sided ? &h_o : nullptr, rows.damping());
            CHECK(objective == Approx(std::stod(want.at(method + " objective"))).epsilon(1e-6));
        }
    }
}
