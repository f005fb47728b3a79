// SPDX-License-Identifier: Apache-2.0
// The page of a report and the values of its logs, from a report that holds one of everything.
// tests/interop/page.sh looks at a page in a browser.
#include "fpq/pipeline/page/report_page.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "catch.hpp"
#include "fpq/pipeline/log_values.hpp"
#include "fpq/pipeline/report_json.hpp"

using namespace fpq;

namespace {

std::size_t count(std::string const& text, std::string_view part) {
    std::size_t found = 0;
    for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
        ++found;
    }
    return found;
}

bool has(std::string const& text, std::string const& part) {
    INFO(part);
    return text.find(part) != std::string::npos;
}

/// Two layers of two linears and a head, an evaluation of two texts, a task, a note.
run_report whole_report() {
    run_report r;
    r.recipe = {{"model", "/models/tiny <&>"}, {"output", {{"kind", "realquant"}}}};
    r.layout = "compressed-tensors";
    r.directory = "/out";
    r.input_bytes = 4000;
    r.output_bytes = 1000;
    r.phases = {{"load", 1.5}, {"solve", 2.5}};
    r.seconds = 4.25;
    r.host_memory = 3 << 20;
    for (std::size_t layer = 0; layer < 2; ++layer) {
        for (char const* const kind : {"self_attn.q_proj", "mlp.down_proj"}) {
            linear_report l;
            l.module = "model.layers." + std::to_string(layer) + "." + kind;
            l.kind = kind;
            l.layer = layer;
            l.rows = 4;
            l.cols = 32;
            l.sqnr_db = 20.0;
            l.objective = layer == 0 ? solve_objective::guided : solve_objective::two_sided;
            l.row_damping = 0.5 * static_cast<double>(layer);
            l.relative_error = 0.01 * static_cast<double>(layer + 1);
            l.weight_peak = 5.0;
            l.input_peak = 40.0 * static_cast<double>(layer + 1);
            r.add(l, 72);
        }
        r.layers.push_back({layer, 0.5, 1 << 20});
    }
    linear_report head;
    head.module = head.kind = "lm_head";
    head.layer = 2;
    head.rows = 4;
    head.cols = 32;
    head.sqnr_db = std::numeric_limits<double>::infinity();
    r.add(head, 72);
    eval_result e;
    e.perplexity = 10.0;
    e.nll_se = 0.01;
    e.targets = 100;
    e.has_reference = true;
    e.reference_perplexity = 8.0;
    e.nll_difference_se = 0.002;
    e.kl_mean = 0.05;
    e.kl_se = 0.0012;
    e.top1_agreement = 0.9;
    e.texts = {e, e};
    e.texts[0].text = "/texts/a.txt";
    e.texts[1].text = "/texts/b.txt";
    r.evaluation = e;
    r.tasks = task_scores{{{"arc", "acc", "none", 0.5, 0.01}, {"gsm8k", "em", "strict", 0.25, {}}},
                          {"lm_eval"}};
    r.notes.emplace_back("a note with <script>alert(1)</script>");
    return r;
}

double value_of(std::vector<log_value> const& all, std::string const& tag) {
    INFO(tag);
    auto const at =
        std::find_if(all.begin(), all.end(), [&](log_value const& v) { return v.tag == tag; });
    REQUIRE(at != all.end());
    return at->value;
}

}  // namespace

TEST_CASE("the page says what the report says, and needs nothing but itself", "[page]") {
    std::string const page = report_page(whole_report(), "openblas");
    CHECK(page.starts_with("<!DOCTYPE html>"));
    CHECK(has(page, "<title>tiny &lt;&amp;&gt;, quantized</title>"));
    for (char const* const no : {"<script", "http-equiv", "src=", "<link", "@import", "url("}) {
        CHECK_FALSE(has(page, no));
    }
    CHECK(count(page, "http") == count(page, "xmlns=\"http://www.w3.org/2000/svg\""));
    CHECK(has(page, "a note with &lt;script&gt;"));
    CHECK(count(page, "prefers-color-scheme:dark") == 1);
    CHECK(has(page, "name=\"viewport\""));
    // Sizes, quality with errors, tasks.
    CHECK(has(page, "of tensors, 25.0 % of 0.0 MiB"));
    CHECK(has(page, "<td>10.00 \u00b1\u00a00.10</td>"));
    CHECK(has(page, "<td>0.0500 \u00b1\u00a00.0012</td>"));
    CHECK(has(page, "<td>1.2500 \u00b1\u00a00.0025</td>"));
    CHECK(has(page, "<td>a.txt</td>"));
    CHECK(has(page, "<td>0.500 \u00b1\u00a00.010</td>"));
    CHECK(has(page, "<td>0.25</td>"));
    // Charts: perplexity, KL, errors, outliers, phases, layers.
    CHECK(count(page, "<svg ") == 6);
    CHECK(count(page, "</svg>") == 6);
    CHECK(has(page, "self_attn.q_proj, layer 1: 0.02"));
    CHECK_FALSE(has(page, "lm_head, layer"));
    CHECK(has(page, "<td>lm_head</td>"));
    CHECK(count(page, "<td>two_sided</td>") == 2);
    CHECK(count(page, "<td>guided</td>") == 2);
    for (char const* const element : {"figure", "table", "div", "details", "p", "ul", "li"}) {
        INFO(element);
        CHECK(count(page, std::string("<") + element + ">") +
                  count(page, std::string("<") + element + " ") ==
              count(page, std::string("</") + element + ">"));
    }
}

TEST_CASE("a page of nothing but rounding has no empty sections", "[page]") {
    run_report r;
    r.recipe = {{"model", "m"}};
    std::string const page = report_page(r, "openblas");
    CHECK(has(page, "Nothing was written"));
    for (char const* const no : {"<h2>Quality", "<h2>Tasks", "<h2>Errors", "<h2>Notes", "nan",
                                 "inf", "<svg", "figure><"}) {
        CHECK_FALSE(has(page, no));
    }
}

TEST_CASE("errors of a chart are those of outputs, or of weights where nothing was seen",
          "[page]") {
    run_report r = whole_report();
    chart const outputs = detail::error_chart(r);
    REQUIRE(outputs.series.size() == 2);
    CHECK(outputs.series[0].points[1].y == 0.02);
    CHECK(outputs.y.log);
    for (linear_report& l : r.linears) {
        l.relative_error.reset();
    }
    r.linears.back().sqnr_db = 30.0;  // the head, which has no layer
    chart const weights = detail::error_chart(r);
    CHECK(weights.series.size() == 2);
    CHECK(weights.series[0].points[0].y == Approx(0.01));
    CHECK(weights.title != outputs.title);
}

TEST_CASE("outliers are counted in bins of a half power of two, the last one open", "[page]") {
    chart const c = detail::outlier_chart(whole_report());
    REQUIRE(c.series.size() == 2);
    CHECK(c.categories.front() == "4\u20135.7");  // 5 is the least
    double weights = 0.0;
    double inputs = 0.0;
    for (std::size_t i = 0; i < c.categories.size(); ++i) {
        weights += c.series[0].points[i].y;
        inputs += c.series[1].points[i].y;
    }
    CHECK(weights == 4.0);
    CHECK(inputs == 4.0);
    CHECK(c.series[0].points[0].y == 4.0);
    CHECK(c.series[1].points[6].y == 2.0);  // 40: from 32 to 45
    CHECK(c.series[1].points[8].y == 2.0);  // 80: from 64 to 91
    run_report far = whole_report();
    far.linears[0].weight_peak = 1e9;
    chart const open = detail::outlier_chart(far);
    CHECK(open.categories.size() == 12);
    CHECK(has(open.categories.back(), "and more"));
    CHECK(open.series[0].points.back().y == 1.0);
}

TEST_CASE("errors are shown to two digits, and values to the digit of their errors", "[page]") {
    CHECK(detail::with_error(10.234, 0.1234) == "10.23 \u00b1\u00a00.12");
    CHECK(detail::with_error(0.048212, 0.00091) == "0.04821 \u00b1\u00a00.00091");
    CHECK(detail::with_error(1234.0, 56.0) == "1234 \u00b1\u00a056");
    CHECK(detail::with_error(0.5, 0.0) == "0.5");
    CHECK(detail::seconds_words(12.34) == "12.3 s");
    CHECK(detail::seconds_words(600.0) == "10.0 min");
    CHECK(detail::size_words(std::uint64_t{3} << 30) == "3.00 GiB");
}

TEST_CASE("the values of a log: by layer, and at the end; nothing that is not finite", "[log]") {
    run_report const r = whole_report();
    std::vector<log_value> const second = layer_values(r, 1);
    CHECK(second.size() == 10);
    CHECK(value_of(second, "relative_error/self_attn.q_proj") == 0.02);
    CHECK(value_of(second, "input_peak_to_rms/mlp.down_proj") == 80.0);
    CHECK(value_of(second, "layer/seconds") == 0.5);
    CHECK(value_of(second, "layer/host_memory_mib") == 1.0);
    CHECK(
        std::all_of(second.begin(), second.end(), [](log_value const& v) { return v.step == 1; }));
    CHECK(layer_values(r, 2).empty());  // the head's SQNR is infinite
    std::vector<log_value> const end = final_values(r);
    CHECK(value_of(end, "phase_seconds/solve") == 2.5);
    CHECK(value_of(end, "evaluation/kl_se") == 0.0012);
    CHECK(value_of(end, "evaluation/text_2/perplexity") == 10.0);
    CHECK(value_of(end, "tasks/arc/acc") == 0.5);
    CHECK(value_of(end, "tasks/arc/acc_stderr") == 0.01);
    CHECK(value_of(end, "tasks/gsm8k/em,strict") == 0.25);
    CHECK(value_of(end, "size/bits_per_weight") == 4.5);
    CHECK(value_of(end, "run/host_memory_mib") == 3.0);
}

TEST_CASE("what reports say of peaks and errors comes back from their JSON", "[page]") {
    run_report const r = whole_report();
    for (linear_report const& l : r.linears) {
        linear_report const back = linear_report_from(to_json(l));
        CHECK(back.kind == l.kind);
        CHECK(back.layer == l.layer);
        CHECK(back.weight_peak == l.weight_peak);
        CHECK(back.input_peak == l.input_peak);
        CHECK(back.objective == l.objective);
        CHECK(back.row_damping == l.row_damping);
    }
    nlohmann::json other = to_json(r.linears.front());
    other["objective"] = "three_sided";
    CHECK_THROWS_WITH(linear_report_from(other),
                      Catch::Contains("expected output, two_sided, guided or null"));
    eval_result const e = eval_result_from(to_json(*r.evaluation));
    CHECK(e.nll_se == 0.01);
    CHECK(e.nll_difference_se == 0.002);
}
