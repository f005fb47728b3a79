// SPDX-License-Identifier: Apache-2.0
// Gradients of the committed models against tests/vectors/gradients.json, which
// tests/interop/make_gradients.py made with an independent implementation.
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "catch.hpp"
#include "fpq/graph/families.hpp"
#include "line/models.hpp"
#include "model/backward_pass.hpp"

#ifndef FPQ_SOURCE_DIR
#define FPQ_SOURCE_DIR "."
#endif

namespace {

/// The norm and some entries of a gradient. float32 through four layers and a head loses some 1e-6
/// of its size; entries are compared in units of the root mean square.
void require_same(nlohmann::json const& expected, fpq::cpu::const_view found) {
    double squares = 0;
    for (std::size_t i = 0; i < found.rows; ++i) {
        for (std::size_t j = 0; j < found.cols; ++j) {
            squares += std::pow(static_cast<double>(found(i, j)), 2);
        }
    }
    double const norm = expected.at("norm").get<double>();
    CHECK(std::sqrt(squares) == Approx(norm).epsilon(1e-5));
    double const rms = norm / std::sqrt(static_cast<double>(found.size()));
    for (nlohmann::json const& entry : expected.at("entries")) {
        auto const t = entry[0].get<std::size_t>();
        auto const j = entry[1].get<std::size_t>();
        INFO("token " << t << " value " << j);
        CHECK(std::abs(static_cast<double>(found(t, j)) - entry[2].get<double>()) < 1e-4 * rms);
    }
}

}  // namespace

TEST_CASE("gradients of the committed models are those of another implementation", "[model]") {
    std::filesystem::path const root = FPQ_SOURCE_DIR;
    std::ifstream in(root / "tests" / "vectors" / "gradients.json");
    nlohmann::json const all = nlohmann::json::parse(in);
    for (std::string const model : {"tiny-llama", "tiny-qwen3"}) {
        fpq::cpu const b{2};
        fpq::opened_model<fpq::cpu> const opened(b, root / "examples" / "models" / model,
                                                 fpq::shipped_architectures);
        REQUIRE(all.at(model).size() == 2);
        for (nlohmann::json const& window : all.at(model)) {
#if !defined(__OPTIMIZE__) || defined(__SANITIZE_ADDRESS__)
            if (&window != &all.at(model)[0]) {
                std::cerr << "SKIPPED: gradients of a window: this build is too slow for two\n";
                break;
            }
#endif
            auto const labels = window.at("labels").get<std::vector<std::int32_t>>();
            auto const found = fpq_test::backward_pass(
                2, opened.network(),
                [&](std::size_t layer) {
                    fpq::layer_hooks<fpq::cpu> hooks;
                    return opened.load(b, layer, hooks);
                },
                window.at("tokens").get<std::vector<std::int32_t>>(), 1, 0,
                {fpq::label_source::caller, 0}, labels);
            REQUIRE(found.labels == labels);
            double loss = 0;
            for (fpq::label_score const& s : found.scores) {
                loss += static_cast<double>(s.nll);
            }
            CHECK(loss == Approx(window.at("loss").get<double>()).epsilon(1e-6));
            nlohmann::json const& gradients = window.at("gradients");
            REQUIRE(gradients.size() == found.linears.size() + 1);
            require_same(gradients.at(opened.graph().embedding()), found.embedding.view());
            for (fpq_test::seen_linear const& one : found.linears) {
                std::string const& module = opened.graph().layer(one.layer)[one.row].module;
                INFO(model << " " << module);
                require_same(gradients.at(module), one.dy.view());
            }
        }
    }
}
