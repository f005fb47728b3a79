// SPDX-License-Identifier: Apache-2.0
// Charts: scales and ticks, places of points, well-formed text, colours that can be read.
#include "fpq/io/svg/draw_chart.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "catch.hpp"
#include "fpq/core/hosted/error.hpp"

namespace {

using fpq::detail::axis_scale;
using fpq::detail::linear_scale;
using fpq::detail::log_scale;
using fpq::detail::short_number;

void same_numbers(std::vector<double> const& found, std::vector<double> const& expected) {
    REQUIRE(found.size() == expected.size());
    for (std::size_t i = 0; i < found.size(); ++i) {
        CHECK(std::abs(found[i] - expected[i]) <= 1e-12 * std::abs(expected[i]));
    }
}

std::size_t count(std::string const& text, std::string_view part) {
    std::size_t found = 0;
    for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
        ++found;
    }
    return found;
}

/// The numbers of `name="..."` of every element that begins with `element`.
std::vector<double> attributes(std::string const& svg, std::string const& element,
                               std::string const& name) {
    std::vector<double> out;
    for (std::size_t at = svg.find(element); at != std::string::npos;
         at = svg.find(element, at + 1)) {
        std::size_t const value = svg.find(" " + name + "=\"", at) + name.size() + 3;
        out.push_back(std::stod(svg.substr(value)));
    }
    return out;
}

/// Every element is closed by its own name and every attribute is quoted: the little of XML that a
/// drawing uses. Returns the number of elements, 0 where something is wrong.
std::size_t well_formed(std::string const& text) {
    std::vector<std::string> open;
    std::size_t elements = 0;
    std::size_t at = 0;
    while ((at = text.find('<', at)) != std::string::npos) {
        std::size_t const end = text.find('>', at);
        std::string const tag = text.substr(at + 1, end - at - 1);
        std::string const name = tag.substr(0, tag.find_first_of(" /"));
        if (end == std::string::npos || tag.find('<') != std::string::npos ||
            count(tag, "\"") % 2 != 0) {
            return 0;
        }
        if (tag[0] == '/') {
            if (open.empty() || open.back() != tag.substr(1)) {
                return 0;
            }
            open.pop_back();
        } else {
            ++elements;
            if (tag.back() != '/') {
                open.push_back(name);
            }
        }
        at = end;
    }
    return open.empty() ? elements : 0;
}

/// Relative luminance of #rrggbb (WCAG 2.1).
double luminance(std::string_view color) {
    double out = 0.0;
    double const weights[] = {0.2126, 0.7152, 0.0722};
    for (std::size_t i = 0; i < 3; ++i) {
        double const c = std::stoi(std::string(color.substr(1 + 2 * i, 2)), nullptr, 16) / 255.0;
        out += weights[i] * (c <= 0.03928 ? c / 12.92 : std::pow((c + 0.055) / 1.055, 2.4));
    }
    return out;
}

double contrast(std::string_view a, std::string_view b) {
    double const one = luminance(a) + 0.05;
    double const other = luminance(b) + 0.05;
    return std::max(one, other) / std::min(one, other);
}

fpq::chart two_lines() {
    fpq::chart c;
    c.title = "Error of <layers> & \"heads\"";
    c.x = {"layer", false, true};
    c.y = {"relative error", true, false};
    c.series = {{"q_proj", {{0, 1e-3}, {1, 2e-3, 5e-4}, {2, 4e-3}}},
                {"down_proj", {{0, 5e-2}, {1, 0.0}, {2, 1e-2}}}};
    return c;
}

}  // namespace

TEST_CASE("ticks of a linear axis are round and cover the values", "[io][svg]") {
    same_numbers(linear_scale(0.0, 97.0, false).ticks, {0, 20, 40, 60, 80, 100});
    same_numbers(linear_scale(-0.3, 0.7, false).ticks, {-0.4, -0.2, 0, 0.2, 0.4, 0.6, 0.8});
    same_numbers(linear_scale(0.0, 3.0, true).ticks, {0, 1, 2, 3});
    same_numbers(linear_scale(3.0, 3.0, true).ticks, {2, 3, 4});
    same_numbers(linear_scale(0.0, 0.0, false).ticks, {0, 0.2, 0.4, 0.6, 0.8, 1});
    for (double const value : {1e-9, 0.37, 12.0, 8.5e11}) {
        axis_scale const s = linear_scale(value, value * 1.7, false);
        CHECK(s.low <= value);
        CHECK(s.high >= value * 1.7 * (1 - 1e-12));
        CHECK(s.ticks.size() >= 4);
        CHECK(s.ticks.size() <= 8);
    }
}

TEST_CASE("ticks of a logarithmic axis", "[io][svg]") {
    same_numbers(log_scale(0.003, 0.04).ticks, {0.002, 0.005, 0.01, 0.02, 0.05});
    same_numbers(log_scale(1e-5, 0.3).ticks, {1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1});
    same_numbers(log_scale(1e-12, 1.0).ticks, {1e-12, 1e-10, 1e-8, 1e-6, 1e-4, 1e-2, 1});
    same_numbers(log_scale(1.0, 1.0).ticks, {0.5, 1, 2});
    axis_scale const s = log_scale(0.01, 100.0);
    CHECK(s.at(1.0) == Approx(0.5));
    CHECK(s.at(0.0) == 0.0);
    CHECK(s.at(1e9) == 1.0);
    CHECK_FALSE(s.shows(0.0));
    CHECK_FALSE(s.shows(std::numeric_limits<double>::quiet_NaN()));
}

TEST_CASE("numbers of an axis are short", "[io][svg]") {
    CHECK(short_number(0.0) == "0");
    CHECK(short_number(0.002) == "0.002");
    CHECK(short_number(1e-5) == "1e-5");
    CHECK(short_number(2.5e7) == "2.5e7");
    CHECK(short_number(1e10) == "1e10");
    CHECK(short_number(-3e-12) == "-3e-12");
    CHECK(short_number(1500.0) == "1500");
}

TEST_CASE("lines: a point for each value that the axes show, gaps for the others", "[io][svg]") {
    std::string const svg = draw_chart(two_lines());
    CHECK(well_formed(svg) > 20);
    CHECK(count(svg, "<path class=\"path ") == 2);
    CHECK(count(svg, "<path class=\"f0\"") == 4);  // three points and the legend
    CHECK(count(svg, "<path class=\"f1\"") == 3);  // a logarithm of 0 has no place
    CHECK(count(svg, "<path class=\"error s0\"") == 1);
    CHECK(svg.find("q_proj, layer 1: 0.002 \u00b1 0.0005") != std::string::npos);
    CHECK(svg.find("aria-label=\"Error of &lt;layers&gt; &amp; &quot;heads&quot;\"") !=
          std::string::npos);
    CHECK(svg.find("<style>") == std::string::npos);
    // A gap: the second line is two strokes of the pen.
    std::size_t const second = svg.find("<path class=\"path s1\"");
    std::string const path = svg.substr(second, svg.find("/>", second) - second);
    CHECK(count(path, "M") == 2);
    CHECK(count(path, "L") == 0);
}

TEST_CASE("bars: heights are proportional, error bars as long as their errors", "[io][svg]") {
    fpq::chart c;
    c.kind = fpq::chart_kind::bars;
    c.title = "speed-up";
    c.categories = {"a", "b"};
    c.series = {{"fpq", {{0, 2.0}, {1, 4.0, 1.0}}}};
    std::string const svg = draw_chart(c);
    std::vector<double> const heights = attributes(svg, "<rect class=\"f0\"", "height");
    REQUIRE(heights.size() == 2);
    CHECK(heights[1] == Approx(2.0 * heights[0]).margin(0.2));
    std::vector<double> const widths = attributes(svg, "<rect class=\"f0\"", "width");
    CHECK(widths[0] == widths[1]);
    std::size_t const at = svg.find("<path class=\"whisker\"");
    REQUIRE(at != std::string::npos);
    std::string const path = svg.substr(at, svg.find("/>", at) - at);
    double const high = std::stod(path.substr(path.find(' ', path.find("d=\"")) + 1));
    double const low = std::stod(path.substr(path.find('V') + 1));
    CHECK(low - high == Approx(heights[0]).margin(0.2));  // from 5 to 3
    CHECK(count(svg, "class=\"value\"") == 0);
    c.value_labels = true;
    CHECK(count(draw_chart(c), "class=\"value\"") == 2);
}

TEST_CASE("bars hang from 0 when they are negative; without a category they are refused",
          "[io][svg]") {
    fpq::chart c;
    c.kind = fpq::chart_kind::bars;
    c.categories = {"a", "b"};
    c.series = {{"", {{0, -1.0}, {1, 1.0}}}};
    std::string const svg = draw_chart(c);
    std::vector<double> const tops = attributes(svg, "<rect class=\"f0\"", "y");
    std::vector<double> const heights = attributes(svg, "<rect class=\"f0\"", "height");
    REQUIRE(tops.size() == 2);
    CHECK(tops[0] == Approx(tops[1] + heights[1]).margin(0.15));
    c.series[0].points.push_back({2, 1.0});
    CHECK_THROWS_AS(draw_chart(c), fpq::error);
}

TEST_CASE("all of a drawing lies within its frame", "[io][svg]") {
    fpq::chart c;
    c.kind = fpq::chart_kind::bars;
    c.title = "long names";
    c.y.title = "times";
    c.value_labels = true;
    for (int i = 0; i < 12; ++i) {
        c.categories.push_back("a category with a long name " + std::to_string(i));
        c.series.resize(2);
        c.series[0].name = "the first series, which has a long name too";
        c.series[1].name = "the second series, which has a long name too";
        c.series[0].points.push_back({double(i), 1.0 + i, 0.5});
        c.series[1].points.push_back({double(i), 13.0 - i});
    }
    std::string const svg = draw_chart(c, fpq::chart_use::standalone);
    CHECK(well_formed(svg) > 50);
    double const height = attributes(svg, "<svg", "height").at(0);
    double const width = attributes(svg, "<svg", "width").at(0);
    for (char const* const element : {"<rect class=\"f", "<text", "<line"}) {
        for (double const x : attributes(svg, element, "x")) {
            CHECK((x >= 0.0 && x <= width));
        }
        for (double const y : attributes(svg, element, "y")) {
            CHECK((y >= 0.0 && y <= height));
        }
    }
    CHECK(svg.find("<style>") != std::string::npos);
    CHECK(svg.find("prefers-color-scheme:dark") != std::string::npos);
    CHECK(svg.find("class=\"title\"") != std::string::npos);
}

TEST_CASE("a chart of nothing says so", "[io][svg]") {
    fpq::chart c;
    c.series = {{"a", {{0, std::numeric_limits<double>::quiet_NaN()}}}};
    std::string const svg = draw_chart(c);
    CHECK(well_formed(svg) > 3);
    CHECK(svg.find("nothing to show") != std::string::npos);
    CHECK(svg.find("nan") == std::string::npos);
}

TEST_CASE("text within XML", "[io][svg]") {
    CHECK(fpq::xml_text("a<b>&\"'c\n") == "a&lt;b&gt;&amp;&quot;&#39;c\n");
    CHECK(fpq::xml_text("\x01\xff\u202e") == "???");
    CHECK(fpq::xml_text("\u00e9\u4e16") == "\u00e9\u4e16");
    CHECK(fpq::detail::cut_characters("\u00e9\u00e9\u00e9", 2) == "\u00e9\u2026");
    CHECK(fpq::detail::cut_characters("abc", 3) == "abc");
}

TEST_CASE("colours of text and series stand out from their background", "[io][svg]") {
    for (fpq::chart_colors const& colors : {fpq::light_colors, fpq::dark_colors}) {
        CHECK(contrast(colors.ink, colors.background) >= 7.0);
        CHECK(contrast(colors.faint, colors.background) >= 4.5);
        for (std::string_view const color : colors.series) {
            INFO(std::string(color));
            CHECK(contrast(color, colors.background) >= 4.5);
        }
    }
}
