// SPDX-License-Identifier: Apache-2.0
// Flags to recipes, recipes to JSON and back, recipes to flags.
#include "fpq/pipeline/recipe.hpp"

#include <string>
#include <vector>

#include "catch.hpp"
#include "fpq/pipeline/flags.hpp"
#include "fpq/pipeline/recipe_json.hpp"

using namespace fpq;

namespace {

std::string refusal(harness_flags const& f) {
    try {
        std::vector<std::string> notes;
        (void)recipe_of(f, notes);
    } catch (error const& e) {
        REQUIRE(e.category() == error_category::usage);
        return e.what();
    }
    return {};
}

harness_flags of(format_family family) {
    harness_flags f;
    f.scheme.family = family;
    return f;
}

quant_format weight_format(harness_flags const& f) {
    std::vector<std::string> notes;
    return scheme_of(f, notes).weight->format;
}

std::vector<std::string> notes_of(harness_flags const& f) {
    std::vector<std::string> notes;
    (void)recipe_of(f, notes);
    return notes;
}

}  // namespace

TEST_CASE("nvfp and mxfp force their group and scale and say what was set otherwise",
          "[pipeline]") {
    harness_flags f = of(format_family::nvfp);
    CHECK(notes_of(f).empty());
    f.scheme.w_group_size = 128;
    CHECK(notes_of(f) == std::vector<std::string>{"changed weight group_size to 16 for nvfp"});
    CHECK(weight_format(f) == nvfp4);
    f.scheme.w_group_size = 16;
    f.scheme.scale_precision = scale_kind::e8m0;
    CHECK(notes_of(f) == std::vector<std::string>{"changed scale_precision to e4m3 for nvfp"});
    f = of(format_family::mxfp);
    f.scheme.a_bits = 4;
    f.scheme.a_group_size = 16;
    CHECK(notes_of(f) == std::vector<std::string>{"changed activation group_size to 32 for mxfp"});
    CHECK(weight_format(f) == mxfp4);
}

TEST_CASE("six and eight bits of mxfp choose their element", "[pipeline]") {
    harness_flags f = of(format_family::mxfp);
    f.scheme.w_bits = 6;
    REQUIRE(weight_format(f) == mxfp6_e2m3);
    f.scheme.element = "e3m2";
    REQUIRE(weight_format(f) == mxfp6_e3m2);
    f.scheme.w_bits = 8;
    f.scheme.element = "auto";
    REQUIRE(weight_format(f) == mxfp8_e4m3);
    f.scheme.element = "e5m2";
    REQUIRE(weight_format(f) == mxfp8_e5m2);
}

TEST_CASE("a group size that is not given is the whole row", "[pipeline]") {
    harness_flags f;
    REQUIRE(weight_format(f).grain == granularity::channel);
    f.scheme.w_group_size = 32;
    REQUIRE(weight_format(f) == int_format(4, 32));
    f.scheme.w_grain = granularity::tensor;
    REQUIRE(weight_format(f).grain == granularity::tensor);
}

TEST_CASE("impossible flags are refused by their name", "[pipeline]") {
    harness_flags f = of(format_family::nvfp);
    f.scheme.w_bits = 5;
    REQUIRE(refusal(f) == "w_bits: nvfp: expected 4 or 16, found 5");
    f = harness_flags{};
    f.scheme.w_bits = 9;
    REQUIRE(refusal(f).starts_with("w_bits: int"));
    f = harness_flags{};
    f.scheme.scale_precision = scale_kind::e4m3;
    REQUIRE(refusal(f).starts_with("scale_precision: int"));
    f = harness_flags{};
    f.gptq = true;
    f.rel_damp = -1;
    REQUIRE(refusal(f).starts_with("rel_damp"));
    f = harness_flags{};
    f.scheme.w_group_size = 0;
    REQUIRE(refusal(f).starts_with("w_group_size"));
    for (char const* const rule : {"x", "=nvfp4", "x=", "x=nvfp5"}) {
        f = of(format_family::nvfp);
        f.rules = {rule};
        INFO(rule);
        REQUIRE(refusal(f).starts_with("rule: "));
    }
}

TEST_CASE("the MX rule follows what is asked for, never whether anything is written",
          "[pipeline]") {
    scheme_flags f;
    CHECK(mx_rule_of(f, "auto") == scale_rule::even);
    CHECK(mx_rule_of(f, "compressed-tensors") == scale_rule::even);
    CHECK(mx_rule_of(f, "fp_quant") == scale_rule::fp_quant);
    f.transform = transform_kind::hadamard;
    CHECK(mx_rule_of(f, "auto") == scale_rule::fp_quant);
    f.mx_rule = scale_rule::ceil;
    CHECK(mx_rule_of(f, "fp_quant") == scale_rule::ceil);
    harness_flags flags = of(format_family::mxfp);
    std::vector<std::string> notes;
    scheme const without = scheme_of(flags, notes);
    flags.output.kind = export_kind::realquant;
    CHECK(scheme_of(flags, notes) == without);
}

TEST_CASE("recipes survive JSON, and become the flags they came from", "[pipeline]") {
    std::vector<harness_flags> all;
    for (format_family const family :
         {format_family::integer, format_family::fp, format_family::nvfp, format_family::mxfp}) {
        for (int const a_bits : {4, 16}) {
            harness_flags f = of(family);
            f.model = "m";
            f.scheme.a_bits = a_bits;
            f.calibration = {"text.txt", 128, 64, 7};
            all.push_back(f);
            f.scheme.w_observer = scale_rule::sweep;
            all.push_back(f);
            f.gptq = true;
            f.order = quant_order::activation;
            f.rel_damp = 0.003;
            f.polish = 2;
            f.joint = 3;
            f.two_sided = a_bits == 16;
            f.smooth = family == format_family::mxfp ? smooth_rule::awq : smooth_rule::smoothquant;
            f.smooth_alpha = a_bits == 16 ? std::optional<double>() : 0.25;
            f.scheme.transform = transform_kind::gsr;
            f.scheme.transform_block = 64;
            f.scheme.pow2_global_scale = false;
            f.rules = {"re:.*down_proj=mxfp8", "model.layers.0.mlp.up_proj=bf16"};
            f.ignore = std::vector<std::string>{"lm_head", "re:.*o_proj"};
            f.output = {export_kind::pseudoquant, "fp_quant", "out", 1000};
            f.evaluation = {true, {"a.txt", "b.txt"}, 10, 20, false};
            f.threads = 3;
            all.push_back(f);
        }
    }
    harness_flags odd = of(format_family::integer);
    odd.scheme.symmetric = false;
    odd.scheme.w_group_size = 64;
    odd.scheme.a_bits = 8;
    odd.scheme.a_grain = granularity::tensor;
    all.push_back(odd);
    for (harness_flags const& f : all) {
        std::vector<std::string> notes;
        recipe const r = recipe_of(f, notes);
        recipe const back = recipe_from_json(nlohmann::json::parse(to_json(r).dump()), "r");
        INFO(to_json(r).dump(2));
        CHECK(back == r);
        CHECK(recipe_of(flags_of(back), notes) == r);
    }
}

TEST_CASE("flags override a recipe file field by field", "[pipeline]") {
    harness_flags f = of(format_family::mxfp);
    f.rules = {"re:.*down_proj=mxfp8a16"};
    f.calibration.dataset = "text.txt";
    std::vector<std::string> notes;
    recipe const r = recipe_of(f, notes);
    harness_flags over = flags_of(r);
    over.scheme.w_observer = scale_rule::sweep;
    over.calibration.num_sequences = 5;
    recipe const changed = recipe_of(over, notes);
    CHECK(changed.rules[0].how.weight->rule == scale_rule::sweep);
    CHECK(changed.rules[0].how.weight->format == mxfp4);
    CHECK(changed.rules[1].how.weight->rule == scale_rule::sweep);
    CHECK(changed.rules[1].how.weight->format == mxfp8_e4m3);
    CHECK(changed.calibration.num_sequences == 5);
    CHECK(changed.calibration.dataset == "text.txt");
    // A scheme that flags cannot say stays as it is, or is refused.
    recipe mixed = r;
    mixed.rules[0].how.input = quant_args{nvfp4, scale_rule::minmax, scale_rule::even, true, true};
    harness_flags kept = flags_of(mixed);
    CHECK(recipe_of(kept, notes).rules[0] == mixed.rules[0]);
    kept.scheme.w_observer = scale_rule::mse;
    CHECK_THROWS_WITH(recipe_of(kept, notes), Catch::Contains("edit the file"));
}

TEST_CASE("flags over a recipe file reach every rule, or a note names those that keep theirs",
          "[pipeline]") {
    harness_flags f = of(format_family::mxfp);
    f.scheme.a_bits = 4;
    f.scheme.w_observer = scale_rule::sweep;
    f.scheme.transform = transform_kind::random_hadamard;
    f.scheme.transform_block = 32;
    f.rules = {"re:.*down_proj=mxfp8", "re:.*up_proj=bf16"};
    std::vector<std::string> notes;
    recipe const r = recipe_of(f, notes);
    harness_flags over = flags_of(r);
    over.scheme.w_observer = scale_rule::minmax;
    over.scheme.a_observer = scale_rule::sweep;
    over.scheme.mx_rule = scale_rule::floor;
    over.scheme.pow2_global_scale = false;
    over.scheme.transform_block = 64;
    over.calibration.seed = 7;
    recipe const changed = recipe_of(over, notes);
    CHECK(notes.empty());
    for (module_rule const& rule : {changed.rules[0], changed.rules[1]}) {
        INFO(rule.pattern);
        CHECK(rule.how.weight->rule == scale_rule::minmax);
        CHECK(rule.how.input->rule == scale_rule::sweep);
        CHECK(rule.how.weight->mx == scale_rule::floor);
        CHECK(rule.how.input->mx == scale_rule::floor);
        CHECK_FALSE(rule.how.weight->pow2_global);
        CHECK(rule.how.transform == transform_args{transform_kind::random_hadamard, 64, 7});
    }
    CHECK(changed.rules[1].how.weight->format == mxfp8_e4m3);
    CHECK(changed.rules[2].how.does_nothing());
    over = flags_of(r);
    over.scheme.transform = transform_kind::identity;
    CHECK(recipe_of(over, notes).rules[1].how.transform.is_identity());
    // The seed alone is of windows and transforms, too.
    over = flags_of(r);
    over.calibration.seed = 7;
    CHECK(recipe_of(over, notes).rules[0].how.transform.seed == 7);
    CHECK(recipe_of(over, notes).rules[1].how.transform.seed == 7);
    // What chooses formats is the first rule's, as on a command line with --rule.
    over = flags_of(r);
    over.scheme.a_bits = 16;
    recipe const weights = recipe_of(over, notes);
    CHECK_FALSE(weights.rules[0].how.input.has_value());
    CHECK(weights.rules[1] == r.rules[1]);
    CHECK(notes ==
          std::vector<std::string>{"--a_bits: of the recipe's rule for Linear; formats of its "
                                   "other rules stay (re:.*down_proj, re:.*up_proj)"});
    // What is given counts where it says what the first rule says, and seeds of a file may differ.
    recipe uneven = r;
    uneven.rules[1].how.weight->rule = scale_rule::mse;
    uneven.rules[0].how.transform.seed = 9;
    over = flags_of(uneven);
    over.given = {"w_observer"};
    CHECK(recipe_of(over, notes).rules[1].how.weight->rule == scale_rule::sweep);
    over.scheme.w_observer = scale_rule::minmax;
    CHECK(recipe_of(over, notes).rules[0].how.transform.seed == 9);
    over.given = {"seed"};
    CHECK(recipe_of(over, notes).rules[0].how.transform.seed == 42);
}

TEST_CASE("recipes that begin with no rule for Linear become the same again", "[pipeline]") {
    recipe r;
    std::vector<std::string> notes;
    CHECK(recipe_of(flags_of(r), notes) == r);
    r.rules = {{"re:.*down_proj", {quant_args{mxfp4}, std::nullopt, {}}}};
    r.ignore = {};
    CHECK(recipe_of(flags_of(r), notes) == r);
    harness_flags over = flags_of(r);
    over.scheme.family = format_family::nvfp;
    over.scheme.w_bits = 4;
    CHECK(refusal(over) ==
          "--format, --w_bits: of the recipe's rule for Linear: expected such a rule (or --rule "
          "PATTERN=PRESET), found rules for re:.*down_proj");
    r.rules.clear();  // no other rule that one could have meant
    over.base->more.clear();
    CHECK(recipe_of(over, notes).rules.size() == 1);
    over = flags_of(r);
    over.given = {"w_observer"};
    CHECK(refusal(over).empty());
    quant_args odd{nvfp4};
    odd.format.group = 8;
    r.rules = {{"Linear", {odd, std::nullopt, {}}}};
    over = flags_of(r);
    over.scheme.a_bits = 4;
    over.scheme.w_observer = scale_rule::mse;
    CHECK(refusal(over).ends_with("found --a_bits, --w_observer"));
}

TEST_CASE("a chain of methods that flags cannot say is refused by name", "[pipeline]") {
    std::vector<std::string> notes;
    recipe r;
    for (std::vector<method> const& chain :
         {std::vector<method>{rtn_method{}},
          {rtn_method{true}, polish_method{3}},
          {gptq_method{}, polish_method{1}},
          {gptq_method{}, joint_method{4}},
          {two_sided_method{quant_order::activation, 0.02}, polish_method{1}, joint_method{2}}}) {
        r.methods = chain;
        CHECK(recipe_of(flags_of(r), notes) == r);
    }
    for (std::vector<method> const& chain :
         {std::vector<method>{},
          {polish_method{1}},
          {rtn_method{}, gptq_method{}},
          {gptq_method{}, polish_method{1}, polish_method{2}},
          {gptq_method{}, joint_method{1}, polish_method{1}},
          {joint_method{1}},
          {gptq_method{}, two_sided_method{}},
          {polish_method{1}, gptq_method{}, rtn_method{}, gptq_method{}, polish_method{2}}}) {
        r.methods = chain;
        CHECK_THROWS_WITH(flags_of(r),
                          Catch::Contains("methods: expected rtn, gptq or two_sided, then"));
    }
    CHECK_THROWS_WITH(flags_of(r), Catch::Contains("found polish, gptq, rtn, gptq, polish"));
}

TEST_CASE("a rule for a module by its name is stronger than an exception nobody typed",
          "[pipeline]") {
    harness_flags f = of(format_family::nvfp);
    std::vector<std::string> notes;
    CHECK(recipe_of(f, notes).ignore == std::vector<std::string>{"lm_head"});
    f.rules = {"re:.*=nvfp4"};
    CHECK(recipe_of(f, notes).ignore == std::vector<std::string>{"lm_head"});
    f.rules = {"lm_head=mxfp8a16"};
    CHECK(recipe_of(f, notes).ignore.empty());
    f.ignore = std::vector<std::string>{"lm_head"};
    CHECK(recipe_of(f, notes).ignore == std::vector<std::string>{"lm_head"});
    CHECK(notes.empty());
    f.rules.clear();
    harness_flags over = flags_of(recipe_of(f, notes));
    over.rules = {"lm_head=mxfp8a16"};
    CHECK(recipe_of(over, notes).ignore.empty());
    CHECK_THAT(notes.at(0), Catch::Contains("taken out of the recipe's ignore"));
}

TEST_CASE("recipe files are refused by the place at fault", "[pipeline]") {
    struct row {
        char const* json;
        char const* part;
    };
    for (row const& r : std::vector<row>{
             {"[]", "r: expected an object"},
             {R"({"modl": "x"})", "r.modl"},
             {R"({"threads": -1})", "r.threads: expected an integer from 0"},
             {R"({"rules": {}})", "r.rules: expected a list"},
             {R"({"rules": [{"scheme": "nvfp5"}]})", "r.rules[0].scheme: expected nvfp4"},
             {R"({"rules": [{"scheme": {"weights": {"element": "e9m9"}}}]})",
              "r.rules[0].scheme.weights.element: expected e2m1, e2m3"},
             {R"({"rules": [{"scheme": {"weights": {"mx_rule": "sweep"}}}]})", "mx_rule"},
             {R"({"rules": [{"scheme": {"weights": {"symmetric": false}}}]})",
              "weights.symmetric: expected true (floats have no zero point)"},
             {R"({"methods": []})", "r.methods"},
             {R"({"methods": [{"awq": {}}]})", "r.methods[0].awq"},
             {R"({"methods": [{"gptq": {"rel_damp": 2}}]})", "rel_damp: expected a number from 0"},
             {R"({"smoothing": {"rule": "quik"}})", "r.smoothing.rule: expected none, smoothquant"},
             {R"({"smoothing": {"rule": "awq", "alpha": 2}})", "alpha: expected a number from 0"},
             {R"({"smoothing": {"alpha": 0.5}})", "rule: expected smoothquant or awq beside"},
             {R"({"smoothing": "awq"})", "r.smoothing: expected an object"},
             {R"({"calibration": {"sequence_length": 1}})", "sequence_length"},
             {R"({"output": {"kind": "reel"}})", "realquant"},
             {R"({"evaluation": {"texts": "a"}})", "r.evaluation.texts: expected a list"}}) {
        INFO(r.json);
        CHECK_THROWS_WITH(recipe_from_json(nlohmann::json::parse(r.json), "r"),
                          Catch::Contains(r.part));
    }
    CHECK(recipe_from_json(nlohmann::json::parse(R"({"rules": [{"pattern": "Linear",
        "scheme": "NVFP4-A16"}]})"),
                           "r")
              .rules[0]
              .how.weight->format == nvfp4);
}
