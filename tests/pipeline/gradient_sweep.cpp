// SPDX-License-Identifier: Apache-2.0
// Statistics of gradients against sums in double over the backward pass of every window, and what
// they may not depend on.
#include "fpq/pipeline/gradient_sweep.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "catch.hpp"
#include "line/backward.hpp"
#include "model/backward_pass.hpp"
#include "model/random_model.hpp"

using namespace fpq_test;

namespace {

constexpr std::size_t windows = 9, tokens = 12;  // a shard of two windows

fpq::model_config five_layers() {
    fpq::model_config c = small_config();
    c.family = &fpq::families::qwen3;
    c.layers = 5;
    return c;
}

fpq::token_windows some_windows() {
    auto const all = some_tokens(windows * tokens, 50);
    fpq::token_windows out;
    for (std::size_t w = 0; w < windows; ++w) {
        auto const begin = all.begin() + static_cast<std::ptrdiff_t>(w * tokens);
        out.emplace_back(begin, begin + tokens);
    }
    return out;
}

struct swept {
    double loss = 0;
    std::vector<std::size_t> order;                    // of layers
    std::map<std::string, std::vector<float>> values;  // "module in" and "module out"
    friend bool operator==(swept const&, swept const&) = default;
};

std::vector<float> values_of(fpq::hessian const& h) {
    return {h.view().data, h.view().data + h.view().size()};
}

swept sweep(fpq::cpu const& b, random_model const& model, fpq::gradient_options const& options,
            fpq::rank_group& ranks,
            fpq::gradient_sweep<fpq::cpu>::input_hook const& on_input = {}) {
    fpq::token_windows const text = some_windows();
    fpq::decoder<fpq::cpu> const network = model.frame();
    fpq::progress_sink const quiet = [](fpq::progress_event const&) {};
    swept out;
    fpq::gradient_sweep<fpq::cpu> sweeping(
        b, ranks, network, [&](std::size_t layer) { return model.layers[layer]; }, text, options, 0,
        quiet);
    auto const take = [&](std::size_t layer, fpq::decoder_layer<fpq::cpu>& weights,
                          std::vector<fpq::gradient_statistics<fpq::cpu>> const& found) {
        out.order.push_back(layer);
        for (auto const& one : found) {
            REQUIRE(one.node->layer == layer);
            REQUIRE(one.inputs.count() == windows * tokens);
            out.values[one.node->module + " in"] = values_of(one.inputs);
            if (one.outputs) {
                REQUIRE(one.outputs->count() == windows * tokens);
                out.values[one.node->module + " out"] = values_of(*one.outputs);
            }
        }
        for (auto& linear : weights.linears) {  // nobody needs them any more
            std::fill_n(linear.weight.view().data, linear.weight.view().size(), NAN);
        }
    };
    out.loss = sweeping.run(take, on_input);
    return out;
}

swept sweep(random_model const& model, int threads, fpq::gradient_options const& options) {
    fpq::lone_rank alone;
    return sweep(fpq::cpu{threads}, model, options, alone);
}

/// sum of weight x x^T over rows.
void add_products(std::vector<double>& sum, fpq::cpu::const_view x,
                  std::vector<double> const& weights) {
    sum.resize(x.cols * x.cols);
    for (std::size_t t = 0; t < x.rows; ++t) {
        for (std::size_t i = 0; i < x.cols; ++i) {
            for (std::size_t j = 0; j < x.cols; ++j) {
                sum[i * x.cols + j] +=
                    weights[t] * static_cast<double>(x(t, i)) * static_cast<double>(x(t, j));
            }
        }
    }
}

void require_near(std::vector<float> const& found, std::vector<double> const& expected) {
    REQUIRE(found.size() == expected.size());
    double const size = *std::max_element(expected.begin(), expected.end());
    REQUIRE(size > 0);
    for (std::size_t i = 0; i < found.size(); ++i) {
        REQUIRE(std::abs(static_cast<double>(found[i]) - expected[i]) < 2e-6 * size);
    }
}

}  // namespace

TEST_CASE("statistics of gradients are sums over the tokens of all windows", "[pipeline]") {
    random_model const model(five_layers());
    fpq::label_rule const labels{fpq::label_source::model, 21};
    swept const found = sweep(model, 2, {labels});
    std::map<std::string, std::vector<double>> expected;
    fpq::token_windows const text = some_windows();
    double loss = 0;
    for (std::size_t w = 0; w < windows; ++w) {
        backward_result const one = backward_pass(
            1, model.frame(),
            [&](std::size_t i) -> fpq::decoder_layer<fpq::cpu> const& { return model.layers[i]; },
            text[w], 1, w, labels);
        for (seen_linear const& seen : one.linears) {
            std::string const& module = model.graph->layer(seen.layer)[seen.row].module;
            std::vector<double> weights(tokens, 0.0);
            for (std::size_t t = 0; t < tokens; ++t) {
                for (std::size_t o = 0; o < seen.dy.cols(); ++o) {
                    weights[t] += std::pow(static_cast<double>(seen.dy.view()(t, o)), 2) /
                                  static_cast<double>(seen.dy.cols());
                }
            }
            add_products(expected[module + " in"], seen.x.view(), weights);
            add_products(expected[module + " out"], seen.dy.view(),
                         std::vector<double>(tokens, 1.0));
        }
        for (fpq::label_score const& s : one.scores) {
            loss += static_cast<double>(s.nll) / (windows * tokens);
        }
    }
    REQUIRE(found.order == std::vector<std::size_t>{4, 3, 2, 1, 0});
    REQUIRE(found.values.size() == expected.size());
    REQUIRE(found.values.size() == 5 * 7 * 2);
    for (auto const& [name, values] : expected) {
        INFO(name);
        require_near(found.values.at(name), values);
    }
    REQUIRE(found.loss == Approx(loss).epsilon(1e-12));
}

TEST_CASE("statistics of gradients are the same bytes whatever is kept, and on any threads",
          "[pipeline]") {
    random_model const model(five_layers());
    fpq::gradient_options options{{fpq::label_source::model, 21}};
    swept const one = sweep(model, 1, options);
    REQUIRE(sweep(model, 3, options) == one);
    for (std::size_t const every : {2U, 3U, 5U, 9U}) {
        options.keep_every = every;
        INFO(every);
        REQUIRE(sweep(model, 1, options) == one);
    }
    SECTION("hidden states in a file") {
        fpq::cpu b{1};
        b.budget.host = 1;
        fpq::lone_rank alone;
        REQUIRE(sweep(b, model, options, alone) == one);
    }
    SECTION("another seed") {
        options.labels.seed = 22;
        REQUIRE(sweep(model, 1, options).values != one.values);
    }
}

TEST_CASE("statistics of gradients are the same bytes on several ranks", "[pipeline]") {
    random_model const model(five_layers());
    fpq::gradient_options const options{{fpq::label_source::model, 21}};
    swept const one = sweep(model, 1, options);
    for (std::size_t const size : {2, 4, 8}) {
        std::vector<swept> found(size);
        fpq::on_thread_ranks(fpq::thread_ranks(size), size, [&](fpq::rank_group& ranks) {
            found[ranks.rank()] = sweep(fpq::cpu{1}, model, options, ranks);
        });
        for (swept const& rank : found) {
            REQUIRE(rank == one);
        }
    }
}

TEST_CASE("linears get no moment of their gradients where that is asked", "[pipeline]") {
    random_model const model(five_layers());
    fpq::gradient_options options{{fpq::label_source::text, 0}};
    options.inputs_alone = [](fpq::linear_node const& node) {
        return node.out > 24;  // as many as queries; the MLP has 36
    };
    swept const found = sweep(model, 2, options);
    for (auto const& [name, values] : found.values) {
        bool const wide =
            name.find("gate") != std::string::npos || name.find("up_proj") != std::string::npos;
        REQUIRE_FALSE((wide && name.ends_with("out")));
    }
    REQUIRE(found.values.size() == 5 * (7 + 5));
}

TEST_CASE("a hook changes the inputs that statistics are of, and no gradient", "[pipeline]") {
    random_model const model(five_layers());
    fpq::gradient_options const options{{fpq::label_source::model, 21}};
    swept const plain = sweep(model, 1, options);
    std::map<fpq::tap, std::size_t> seen;  // rows
    fpq::lone_rank alone;
    auto const turn = [&](std::size_t layer, fpq::tap input, fpq::cpu::view x) {
        REQUIRE(layer < 5);
        seen[input] += x.rows;
        for (std::size_t t = 0; t < x.rows; ++t) {  // columns change places and size
            std::rotate(x.row(t), x.row(t) + 1, x.row(t) + x.cols);
            x(t, 0) *= 2.0F;
        }
    };
    swept const turned = sweep(fpq::cpu{1}, model, options, alone, turn);
    REQUIRE(turned.loss == plain.loss);
    REQUIRE(seen.size() == 4);
    for (auto const& [input, rows] : seen) {
        REQUIRE(rows == 5 * windows * tokens);  // once for all linears that read it
    }
    for (auto const& [name, values] : plain.values) {
        INFO(name);
        if (name.ends_with("out")) {
            REQUIRE(turned.values.at(name) == values);
            continue;
        }
        auto const n =
            static_cast<std::size_t>(std::lround(std::sqrt(static_cast<double>(values.size()))));
        std::vector<double> expected(n * n);
        for (std::size_t i = 0; i < n; ++i) {
            for (std::size_t j = 0; j < n; ++j) {
                expected[i * n + j] = (i == 0 ? 2.0 : 1.0) * (j == 0 ? 2.0 : 1.0) *
                                      static_cast<double>(values[(i + 1) % n * n + (j + 1) % n]);
            }
        }
        require_near(turned.values.at(name), expected);
    }
}

TEST_CASE("the loss of a sweep against the text is the model's", "[pipeline]") {
    random_model const model(five_layers());
    swept const found = sweep(model, 2, {{fpq::label_source::text, 0}});
    double loss = 0;
    for (auto const& window : some_windows()) {
        std::vector<double> const logits = slow_forward(model).logits(window);
        for (std::size_t t = 0; t + 1 < tokens; ++t) {
            double total = 0;
            for (std::size_t v = 0; v < 50; ++v) {
                total += std::exp(logits[t * 50 + v]);
            }
            loss += std::log(total) - logits[t * 50 + static_cast<std::size_t>(window[t + 1])];
        }
    }
    REQUIRE(found.loss == Approx(loss / (windows * (tokens - 1))).epsilon(1e-5));
}

TEST_CASE("sweeps that cannot be are refused", "[pipeline]") {
    random_model const model(small_config());
    fpq::decoder<fpq::cpu> const network = model.frame();
    fpq::progress_sink const quiet;
    fpq::lone_rank alone;
    auto const made = [&](fpq::token_windows const& text, fpq::gradient_options const& options) {
        fpq::gradient_sweep<fpq::cpu> const one(
            fpq::cpu{1}, alone, network, [&](std::size_t layer) { return model.layers[layer]; },
            text, options, 0, quiet);
    };
    REQUIRE_NOTHROW(made({{1, 2}, {3, 4}}, {}));
    REQUIRE_THROWS_WITH(made({}, {}),
                        "gradient sweep: windows: expected one for each rank at least, found 0");
    REQUIRE_THROWS_WITH(made({{1, 2}, {3}}, {}),
                        "gradient sweep: windows: expected one length, at least 2 tokens, found 1");
    REQUIRE_THROWS_WITH(made({{1, 2}}, {{}, 0}),
                        "gradient sweep: keep_every: expected 1 or more, found 0");
    REQUIRE_THROWS_WITH(made({{1, 2}}, {{fpq::label_source::caller}}),
                        "gradient sweep: labels: expected of the model or the text, found the "
                        "caller's");
}
