// SPDX-License-Identifier: Apache-2.0
// Pieces that no pre-tokenizer cuts: merged word by word, with the ids of the whole.
#include "fpq/io/tokenizer/bpe.hpp"

#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "catch.hpp"
#include "tokenizer_fixture.hpp"

namespace {

struct rules {
    std::vector<fpq::bpe_token> tokens;
    std::vector<fpq::bpe_merge> merges;
};

/// Bytes, and merges of random pairs of tokens over four letters.
rules random_rules(std::mt19937& random) {
    rules out;
    for (int b = 0; b < 256; ++b) {
        out.tokens.push_back({std::string(1, static_cast<char>(b)), b});
    }
    std::vector<std::int32_t> known{'a', 'b', 'c', 'd'};
    while (known.size() < 16) {
        std::int32_t const left = known[random() % known.size()];
        std::int32_t const right = known[random() % known.size()];
        std::string const bytes = out.tokens[static_cast<std::size_t>(left)].bytes +
                                  out.tokens[static_cast<std::size_t>(right)].bytes;
        bool is_new = bytes.size() < 8;
        for (auto const& t : out.tokens) {
            is_new = is_new && t.bytes != bytes;
        }
        if (is_new) {
            auto const id = static_cast<std::int32_t>(out.tokens.size());
            out.tokens.push_back({bytes, id});
            out.merges.push_back({left, right, id});
            known.push_back(id);
        }
    }
    return out;
}

/// The rule by its definition: the first merge that applies, at its leftmost place, until none
/// does.
std::vector<std::int32_t> merged(rules const& r, std::string const& text) {
    std::vector<std::int32_t> ids;
    for (char const c : text) {
        ids.push_back(static_cast<unsigned char>(c));
    }
    for (std::size_t m = 0; m < r.merges.size();) {
        std::size_t at = 0;
        while (at + 1 < ids.size() &&
               (ids[at] != r.merges[m].left || ids[at + 1] != r.merges[m].right)) {
            ++at;
        }
        if (at + 1 >= ids.size()) {
            ++m;
            continue;
        }
        ids[at] = r.merges[m].merged;
        ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(at) + 1);
        m = 0;
    }
    return ids;
}

}  // namespace

TEST_CASE("long pieces have the ids of the rule, wherever they may be cut", "[io]") {
    std::mt19937 random(7);
    for (int round = 0; round < 40; ++round) {
        rules const r = random_rules(random);
        fpq::bpe_model const model(r.tokens, r.merges, fpq::bpe_symbols::bytes, false, "test");
        std::string text;
        while (text.size() < 200) {
            text.push_back("abcdabcd "[random() % 9]);
        }
        std::vector<std::int32_t> ids;
        model.encode(text, ids);
        CHECK(ids == merged(r, text));
    }
}

TEST_CASE("a word that merges may reach through has a limit, others none", "[io]") {
    rules r;
    for (int b = 0; b < 256; ++b) {
        r.tokens.push_back({std::string(1, static_cast<char>(b)), b});
    }
    r.tokens.push_back({"aa", 256});
    r.merges.push_back({'a', 'a', 256});
    fpq::bpe_model const model(r.tokens, r.merges, fpq::bpe_symbols::bytes, false, "test");
    std::size_t const most = fpq::bpe_model::word_limit;
    std::vector<std::int32_t> ids;
    model.encode(std::string(most + 1, 'b'), ids);
    CHECK(ids.size() == most + 1);
    std::string const line =
        fpq_test::input_error([&] { model.encode(std::string(most + 1, 'a'), ids); });
    CHECK(line.find("word is too long") != std::string::npos);
}
