// SPDX-License-Identifier: Apache-2.0
// Patterns of module names: the three spellings of compressed-tensors, shell wildcards, and what a
// pattern that is wrong or never ends says.
#include "fpq/io/text/name_pattern.hpp"

#include <string>
#include <utility>

#include "catch.hpp"
#include "fpq/core/hosted/error.hpp"

namespace {

using fpq::error_category;
using fpq::name_pattern;

std::string const q_proj = "model.layers.3.self_attn.q_proj";

/// The line that `act` fails with, and its category.
template <class Act>
std::pair<std::string, error_category> refusal(Act&& act) {
    try {
        act();
    } catch (fpq::error const& why) {
        return {why.what(), why.category()};
    }
    return {"nothing was thrown", error_category::device};
}

}  // namespace

TEST_CASE("a plain pattern is one exact name", "[name_pattern]") {
    name_pattern const exact("lm_head");
    CHECK(exact.matches("lm_head"));
    CHECK_FALSE(exact.matches("lm_head2"));
    CHECK_FALSE(exact.matches("model.lm_head"));
    CHECK_FALSE(exact.matches(""));
    CHECK(exact.text() == "lm_head");
    // A dot is a dot, and wildcards mean nothing here.
    CHECK_FALSE(name_pattern("model.layers.3").matches("modelxlayers.3"));
    CHECK_FALSE(name_pattern("model.*").matches("model.layers"));
}

TEST_CASE("Linear is every linear, and only under that spelling", "[name_pattern]") {
    CHECK(name_pattern("Linear").matches(q_proj));
    CHECK(name_pattern("Linear").matches("lm_head"));
    CHECK_FALSE(name_pattern("linear").matches(q_proj));
}

TEST_CASE("re: matches at the start and need not reach the end", "[name_pattern]") {
    CHECK(name_pattern("re:.*q_proj$").matches(q_proj));
    CHECK(name_pattern("re:model\\.layers\\.3\\b").matches(q_proj));
    CHECK_FALSE(name_pattern("re:q_proj").matches(q_proj));
    CHECK_FALSE(name_pattern("re:.*k_proj$").matches(q_proj));
    // Every branch is held to the start, not the first alone.
    CHECK_FALSE(name_pattern("re:lm_head|q_proj").matches(q_proj));
    CHECK(name_pattern("re:").matches(q_proj));
    CHECK(name_pattern("re:.*layers\\.(?!3\\.)").matches("model.layers.2.mlp"));
    CHECK_FALSE(name_pattern("re:.*layers\\.(?!3\\.)").matches(q_proj));
    CHECK(name_pattern("re:(?P<part>model)").matches(q_proj));
    CHECK(name_pattern("re:.*q_proj$").text() == "re:.*q_proj$");
}

TEST_CASE("shell wildcards are matched against whole names", "[name_pattern]") {
    CHECK(name_pattern::wildcards("*q_proj").matches(q_proj));
    CHECK(name_pattern::wildcards("model.layers.*.q_proj").matches(q_proj));
    CHECK(name_pattern::wildcards("*").matches(q_proj));
    CHECK(name_pattern::wildcards("**").matches(q_proj));
    CHECK_FALSE(name_pattern::wildcards("*self_attn").matches(q_proj));
    CHECK_FALSE(name_pattern::wildcards("self_attn*").matches(q_proj));
    CHECK(name_pattern::wildcards("model.layers.?.self_attn.[kq]_proj").matches(q_proj));
    CHECK_FALSE(name_pattern::wildcards("model.layers.?.*").matches("model.layers.12.mlp"));
    CHECK_FALSE(name_pattern::wildcards("model?layers.4*").matches(q_proj));
    // Without a wildcard: an exact name, and the other spellings mean nothing.
    CHECK(name_pattern::wildcards("lm_head").matches("lm_head"));
    CHECK_FALSE(name_pattern::wildcards("lm_head").matches("lm_head.weight"));
    CHECK_FALSE(name_pattern::wildcards("Linear").matches(q_proj));
    CHECK_FALSE(name_pattern::wildcards("re:.").matches(q_proj));
    CHECK(name_pattern::wildcards("*q_proj").text() == "*q_proj");
}

TEST_CASE("a bad pattern is refused with its text, the byte and PCRE2's words", "[name_pattern]") {
    auto const [line, category] = refusal([] { name_pattern const bad("re:a(b"); });
    CHECK(line == "pattern 're:a(b' is not understood: byte 6: found missing closing parenthesis");
    CHECK(category == error_category::usage);
    CHECK(refusal([] { name_pattern const bad("re:*", error_category::input); }).second ==
          error_category::input);
    CHECK(refusal([] {
              (void)name_pattern::wildcards("[a", error_category::input);
          }).first.starts_with("pattern '[a' is not understood: byte "));
}

TEST_CASE("a pattern that would never end gives up", "[name_pattern]") {
    std::string const name(64, 'a');
    auto const [line, category] =
        refusal([&] { (void)name_pattern("re:(a+)+$").matches(name + "!"); });
    CHECK(line ==
          "pattern 're:(a+)+$' gave up: module '" + name + "!': found match limit exceeded");
    CHECK(category == error_category::input);
    CHECK(refusal([&] {
              (void)name_pattern("re:(?:|a|aa)*[bc]").matches(name);
          }).first.starts_with("pattern 're:(?:|a|aa)*[bc]' gave up"));
    // Wildcards never go back over what an earlier star has taken.
    CHECK_FALSE(name_pattern::wildcards("*a*a*a*a*a*a*a*a*a*a*b").matches(name));
}

TEST_CASE("copies match alike", "[name_pattern]") {
    name_pattern copy("lm_head");
    {
        name_pattern const regex("re:.*q_proj");
        copy = regex;
    }
    CHECK(copy.matches(q_proj));
    CHECK_FALSE(copy.matches("lm_head"));
}
