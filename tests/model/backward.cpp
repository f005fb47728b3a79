// SPDX-License-Identifier: Apache-2.0
// The backward pass of whole models against central differences of the slow forward pass, for every
// kind of layer.
#include "fpq/model/backward.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "model/backward_pass.hpp"
#include "model/fused_family.hpp"
#include "model/random_model.hpp"

using namespace fpq_test;

namespace {

backward_result backward(random_model const& model, std::vector<std::int32_t> const& tokens,
                         int threads, fpq::label_rule const& rule, std::size_t windows = 1,
                         std::size_t first = 0) {
    return backward_pass(
        threads, model.frame(),
        [&](std::size_t i) -> fpq::decoder_layer<fpq::cpu> const& { return model.layers[i]; },
        tokens, windows, first, rule);
}

/// sum of -log p(label) of the slow forward pass.
double loss(slow_forward const& model, std::vector<std::int32_t> const& tokens,
            std::vector<std::int32_t> const& labels) {
    std::vector<double> const logits = model.logits(tokens);
    std::size_t const vocab = logits.size() / tokens.size();
    double sum = 0;
    for (std::size_t t = 0; t < tokens.size(); ++t) {
        if (labels[t] == fpq::no_label) {
            continue;
        }
        double total = 0;
        for (std::size_t v = 0; v < vocab; ++v) {
            total += std::exp(logits[t * vocab + v]);
        }
        sum += std::log(total) - logits[t * vocab + static_cast<std::size_t>(labels[t])];
    }
    return sum;
}

/// The number of the slow pass's call for a part of a token in a layer.
std::size_t call_of(std::size_t layer, fpq::part which, std::size_t token, std::size_t tokens) {
    std::size_t const before = tokens + layer * 7 * tokens;
    auto const at = static_cast<std::size_t>(which);
    return at < 4 ? before + 4 * token + at : before + 4 * tokens + 3 * token + at - 4;
}

/// d loss / d value `index` of that call, by differences.
double difference(random_model const& model, std::vector<std::int32_t> const& tokens,
                  std::vector<std::int32_t> const& labels, std::size_t call, fpq::part which,
                  std::size_t index) {
    constexpr double h = 0x1p-13;
    std::array<double, 2> at{};
    for (std::size_t side = 0; side < 2; ++side) {
        slow_forward const changed(model, [&](std::size_t n, fpq::part p, slow_forward::row& y) {
            if (n == call) {
                REQUIRE(p == which);
                y[index] += side == 0 ? h : -h;
            }
        });
        at[side] = loss(changed, tokens, labels);
    }
    return (at[0] - at[1]) / (2 * h);
}

/// Every linear's gradient at a few values of every token, and that of the embedding. float32
/// forward and backward passes of two layers lose a few 1e-6 of the largest gradient.
void require_gradients(fpq::model_config const& config, std::size_t tokens,
                       fpq::label_rule const& rule) {
    constexpr double tolerance = 2e-5;
    random_model const model(config);
    auto const ids = some_tokens(tokens, config.vocab_size);
    backward_result const found = backward(model, ids, 2, rule);
    REQUIRE(found.linears.size() == config.layers * config.family->linears.size());
    double nll = 0;
    for (fpq::label_score const& s : found.scores) {
        nll += static_cast<double>(s.nll);
    }
    REQUIRE(nll == Approx(loss(slow_forward(model), ids, found.labels)).epsilon(1e-5));
    std::size_t draw = 0;
    fpq::philox const random{11, 1};
    auto const check = [&](fpq::cpu::const_view dy, std::size_t begin, std::size_t width,
                           auto const& call, fpq::part which) {
        float most = 0;
        for (std::size_t t = 0; t < tokens; ++t) {
            for (std::size_t j = 0; j < dy.cols; ++j) {
                most = std::max(most, std::abs(dy(t, j)));
            }
        }
        if (tokens == 1 && (which == fpq::part::q || which == fpq::part::k)) {
            REQUIRE(most == 0.0F);  // a lone key has all the weight, whatever it is
            return;
        }
        REQUIRE(most > 1e-3F);
        for (std::size_t t = 0; t<tokens; t += tokens> 20 ? 13 : 1) {
            std::size_t const j = random.below(draw++, static_cast<std::uint32_t>(width));
            double const expected = difference(model, ids, found.labels, call(t), which, j);
            INFO("part " << static_cast<int>(which) << " token " << t << " value " << j
                         << " largest " << most);
            REQUIRE(std::abs(static_cast<double>(dy(t, begin + j)) - expected) <
                    tolerance * static_cast<double>(most));
        }
    };
    for (std::size_t layer = 0; layer < config.layers; ++layer) {
        for (std::size_t r = 0; r < config.family->linears.size(); ++r) {
            fpq::linear_row const& row = config.family->linears[r];
            std::size_t begin = 0;
            for (std::size_t i = 0; i < row.part_count; ++i) {
                fpq::part const which = row.parts[i];
                std::size_t const width = fpq::part_width(config, which);
                check(
                    found.at(layer, r).dy.view(), begin, width,
                    [&](std::size_t t) { return call_of(layer, which, t, tokens); }, which);
                begin += width;
            }
        }
    }
    check(
        found.embedding.view(), 0, config.hidden_size, [](std::size_t t) { return t; },
        fpq::part::logits);
}

}  // namespace

TEST_CASE("the backward pass agrees with differences for every kind of layer", "[model]") {
    fpq::model_config c = small_config();
    fpq::label_rule const drawn{fpq::label_source::model, 4};
    SECTION("llama, the text's labels") { require_gradients(c, 9, {fpq::label_source::text, 0}); }
    SECTION("llama, drawn labels, more tokens than a tile of queries") {
        require_gradients(c, 70, drawn);
    }
    SECTION("untied head") {
        c.tied_head = false;
        require_gradients(c, 9, drawn);
    }
    SECTION("biases everywhere") {
        c.attention_bias = c.mlp_bias = true;
        require_gradients(c, 9, drawn);
    }
    SECTION("norms of q and k") {
        c.family = &fpq::families::qwen3;
        require_gradients(c, 9, drawn);
    }
    SECTION("fused q/k/v and gate/up, norms behind the blocks instead of before them") {
        c.family = &fused_family;
        require_gradients(c, 9, drawn);
    }
    SECTION("parts and rows in another order, norms before and behind a block") {
        c.family = &shuffled_family;
        require_gradients(c, 9, drawn);
    }
    SECTION("one key/value head, and as many as query heads") {
        c.kv_heads = 1;
        require_gradients(c, 9, drawn);
        c.kv_heads = 4;
        require_gradients(c, 9, drawn);
    }
    SECTION("one token") { require_gradients(c, 1, drawn); }
}

TEST_CASE("linears are seen once, taps in reverse, with what the forward pass read", "[model]") {
    fpq::model_config c = small_config();
    SECTION("a linear each") {}
    SECTION("fused, in another order, without a norm before attention") {
        c.family = &shuffled_family;
    }
    random_model const model(c);
    auto const ids = some_tokens(5, 50);
    std::vector<fpq::cpu::tensor> read;
    fpq::layer_hooks<fpq::cpu> watching;
    watching.on_input = [&](fpq::tap, fpq::cpu::view x) { read.push_back(copy_of(x)); };
    static_cast<void>(model.logits(ids, 1, watching));
    backward_result const found = backward(model, ids, 1, {});
    std::vector<std::pair<std::size_t, std::size_t>> calls;
    for (std::size_t layer = c.layers; layer-- > 0;) {
        for (std::size_t tap = fpq::tap_count - 1; tap-- > 0;) {
            for (std::size_t r = 0; r < c.family->linears.size(); ++r) {
                if (static_cast<std::size_t>(c.family->linears[r].input) == tap) {
                    calls.emplace_back(layer, r);
                }
            }
        }
    }
    REQUIRE(found.linears.size() == calls.size());
    for (std::size_t i = 0; i < calls.size(); ++i) {
        seen_linear const& one = found.linears[i];
        REQUIRE(std::pair(one.layer, one.row) == calls[i]);
        fpq::linear_node const& node = model.graph->layer(one.layer)[one.row];
        fpq::cpu::tensor const& x = read[one.layer * 4 + static_cast<std::size_t>(node.input)];
        REQUIRE(one.x.rows() == 5);
        REQUIRE(one.x.cols() == node.in);
        REQUIRE(one.dy.cols() == node.out);
        REQUIRE(std::equal(x.view().data, x.view().data + x.view().size(), one.x.view().data));
    }
}

TEST_CASE("joined linears are seen one by one", "[model]") {
    random_model const model(small_config());
    random_model joined = model;  // k and v become rows below q's
    for (fpq::decoder_layer<fpq::cpu>& layer : joined.layers) {
        fpq::cpu::tensor all(24 + 12 + 12, 20);
        std::size_t at = 0;
        for (std::size_t r = 0; r < 3; ++r) {
            fpq::cpu::tensor const& w = layer.linears[r].weight;
            fpq::copy(fpq::cpu{1}, w.view(), all.view().rows_at(at, w.rows()));
            at += w.rows();
        }
        layer.linears[0].weight = std::move(all);
        layer.linears[0].joined = 2;
        layer.linears[1] = layer.linears[2] = {};
    }
    auto const ids = some_tokens(7, 50);
    fpq::label_rule const text{fpq::label_source::text, 0};
    backward_result const apart = backward(model, ids, 1, text);
    backward_result const found = backward(joined, ids, 1, text);
    REQUIRE(found.linears.size() == apart.linears.size());
    for (std::size_t i = 0; i < found.linears.size(); ++i) {
        REQUIRE(found.linears[i].row == apart.linears[i].row);
        auto const a = apart.linears[i].dy.view();
        auto const f = found.linears[i].dy.view();
        REQUIRE(f.cols == a.cols);
        double const size = *std::max_element(a.data, a.data + a.size());
        for (std::size_t j = 0; j < a.size(); ++j) {  // sums over q, k and v have another order
            REQUIRE(std::abs(static_cast<double>(f.data[j] - a.data[j])) < 1e-5 * size);
        }
    }
}

TEST_CASE("gradients are the same bits for any number of threads and windows at once", "[model]") {
    fpq::model_config c = small_config();
    c.vocab_size = 600;
    c.family = &fpq::families::qwen3;
    random_model const model(c);
    auto const ids = some_tokens(3 * 70, c.vocab_size);
    fpq::label_rule const drawn{fpq::label_source::model, 9};
    backward_result const one = backward(model, ids, 1, drawn, 3, 5);
    auto const same = [](fpq::cpu::const_view a, fpq::cpu::const_view b) {
        return std::equal(a.data, a.data + a.size(), b.data);
    };
    for (int const threads : {2, 5}) {
        backward_result const other = backward(model, ids, threads, drawn, 3, 5);
        REQUIRE(other.labels == one.labels);
        REQUIRE(same(other.embedding.view(), one.embedding.view()));
        for (std::size_t i = 0; i < one.linears.size(); ++i) {
            REQUIRE(same(other.linears[i].dy.view(), one.linears[i].dy.view()));
        }
    }
    for (std::size_t w = 0; w < 3; ++w) {
        auto const begin = ids.begin() + static_cast<std::ptrdiff_t>(70 * w);
        backward_result const alone = backward(model, {begin, begin + 70}, 2, drawn, 1, 5 + w);
        REQUIRE(std::equal(alone.labels.begin(), alone.labels.end(),
                           one.labels.begin() + static_cast<std::ptrdiff_t>(70 * w)));
        REQUIRE(same(alone.embedding.view(), one.embedding.view().rows_at(70 * w, 70)));
    }
    REQUIRE(backward(model, ids, 2, {fpq::label_source::model, 10}, 3, 5).labels != one.labels);
    REQUIRE(backward(model, ids, 2, drawn, 3, 6).labels != one.labels);
}

TEST_CASE("the text's labels are its next tokens", "[model]") {
    random_model const model(small_config());
    backward_result const found = backward(model, {3, 1, 4, 1, 5}, 1, {fpq::label_source::text, 0});
    REQUIRE(found.labels == std::vector<std::int32_t>{1, 4, 1, 5, fpq::no_label});
    REQUIRE(found.scores.back().nll == 0.0F);
}

TEST_CASE("windows past the sliding window have no backward pass", "[model]") {
    fpq::model_config c = small_config();
    random_model const model(c);
    c.sliding_window = 4;
    random_model const windowed(c);
    fpq::cpu::tensor const input(5, c.hidden_size);
    REQUIRE_THROWS_WITH(
        fpq::trace_layer<fpq::cpu>(fpq::cpu{1}, windowed.frame(), model.layers[0], input.view(), 5),
        "sliding-window attention is not supported: small config: sliding_window: expected a "
        "window of at least the sequence length 5, found 4");
}
