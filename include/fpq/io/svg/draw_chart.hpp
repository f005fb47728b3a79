// SPDX-License-Identifier: Apache-2.0
// Floor 5. A chart as one <svg> element: no script, no file beside it, light and dark by
// prefers-color-scheme. Every point says its values to a pointer that rests on it.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <iterator>
#include <string>
#include <utility>

#include "fpq/io/svg/axis_scale.hpp"
#include "fpq/io/svg/chart.hpp"
#include "fpq/io/svg/chart_layout.hpp"
#include "fpq/io/svg/chart_style.hpp"
#include "fpq/io/svg/xml_text.hpp"

namespace fpq {

namespace detail {

/// Draws one chart. Lengths are CSS pixels; y grows downwards.
class chart_drawing {
public:
    chart_drawing(chart const& what, chart_use use) : chart_(what), use_(use), at_(what, use) {}

    std::string draw() {
        bool const file = use_ == chart_use::standalone;
        put("<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"chart\" viewBox=\"0 0 {:.0f} "
            "{:.0f}\" width=\"{:.0f}\" height=\"{:.0f}\" role=\"img\" aria-label=\"{}\">\n",
            chart_.width, at_.height, chart_.width, at_.height, xml_text(chart_.title));
        if (file) {
            put("<style>{}</style>\n<rect class=\"back\" width=\"100%\" height=\"100%\"/>\n",
                chart_style());
            put("<text class=\"title\" x=\"{:.1f}\" y=\"20\">{}</text>\n", chart_layout::edge,
                xml_text(chart_.title));
        }
        draw_axes();
        for (std::size_t i = 0; i < chart_.series.size(); ++i) {
            chart_.kind == chart_kind::bars ? draw_bars(i) : draw_line(i);
        }
        draw_legend();
        put("</svg>\n");
        return std::move(out_);
    }

private:
    template <class... A>
    void put(fmt::format_string<A...> pattern, A&&... values) {
        fmt::format_to(std::back_inserter(out_), pattern, std::forward<A>(values)...);
    }

    void draw_axes() {
        for (double const tick : at_.y_axis.ticks) {
            double const y = at_.down(at_.y_axis.at(tick));
            put("<line class=\"grid\" x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>"
                "<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>\n",
                at_.left, at_.right, y, y, at_.left - 6.0, y + 4.0, short_number(tick));
        }
        put("<line class=\"base\" x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>\n",
            at_.left, at_.right, at_.down(at_.y_axis.at(0.0)), at_.down(at_.y_axis.at(0.0)));
        at_.bars() ? name_categories() : name_ticks();
        if (!chart_.x.title.empty()) {
            put("<text class=\"name\" x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{}</text>\n",
                (at_.left + at_.right) / 2.0, at_.below + 14.0, xml_text(chart_.x.title));
        }
        if (!chart_.y.title.empty()) {
            double const middle = (at_.top + at_.bottom) / 2.0;
            put("<text class=\"name\" transform=\"translate({:.1f} {:.1f}) rotate(-90)\" "
                "text-anchor=\"middle\">{}</text>\n",
                chart_layout::edge + 8.0, middle, xml_text(chart_.y.title));
        }
        if (at_.empty) {
            put("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">nothing to show</text>\n",
                (at_.left + at_.right) / 2.0, (at_.top + at_.bottom) / 2.0);
        }
    }

    void name_ticks() {
        double free_from = 0.0;
        for (double const tick : at_.x_axis.ticks) {
            std::string const text = short_number(tick);
            double const x = at_.across(at_.x_axis.at(tick));
            double const half = chart_layout::text_width(text) / 2.0;
            if (x - half < free_from) {
                continue;
            }
            free_from = x + half + 6.0;
            put("<line class=\"base\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1:.1f}\" y2=\"{2:.1f}\"/>"
                "<text x=\"{0:.1f}\" y=\"{3:.1f}\" text-anchor=\"middle\">{4}</text>\n",
                x, at_.bottom, at_.bottom + 4.0, at_.bottom + chart_layout::line_height, text);
        }
    }

    void name_categories() {
        for (std::size_t i = 0; i < chart_.categories.size(); ++i) {
            double const x = at_.left + (static_cast<double>(i) + 0.5) * at_.slot();
            std::string const name =
                xml_text(cut_characters(chart_.categories[i], chart_layout::longest_name));
            if (at_.slanted) {
                put("<text transform=\"translate({:.1f} {:.1f}) rotate(-40)\" "
                    "text-anchor=\"end\">{}</text>\n",
                    x + 4.0, at_.bottom + 14.0, name);
            } else {
                put("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"middle\">{}</text>\n", x,
                    at_.bottom + chart_layout::line_height, name);
            }
        }
    }

    /// What a pointer is told.
    [[nodiscard]] std::string told(chart_series const& s, chart_point const& p) const {
        std::string const x = at_.bars() ? chart_.categories[static_cast<std::size_t>(p.x)]
                                         : chart_.x.title + " " + short_number(p.x);
        return xml_text((s.name.empty() ? "" : s.name + ", ") + x + ": " + short_number(p.y, 5) +
                        (p.error > 0.0 ? " \u00b1 " + short_number(p.error, 2) : ""));
    }

    /// An error bar with its ends. Over a bar it has a rim, to be seen on any colour.
    void draw_error(double x, chart_point const& p, std::string const& style) {
        if (!(p.error > 0.0) || !std::isfinite(p.error)) {
            return;
        }
        double const high = at_.down(at_.y_axis.at(p.y + p.error));
        double const low = at_.down(at_.y_axis.at(p.y - p.error));
        std::string const path =
            fmt::format("M{:.1f} {:.1f}h8M{:.1f} {:.1f}V{:.1f}M{:.1f} {:.1f}h8", x - 4.0, high, x,
                        high, low, x - 4.0, low);
        if (at_.bars()) {
            put("<path class=\"rim\" d=\"{}\"/>\n", path);
        }
        put("<path class=\"{}\" d=\"{}\"/>\n", style, path);
    }

    void draw_line(std::size_t index) {
        chart_series const& s = chart_.series[index];
        std::size_t const color = index % light_colors.series.size();
        std::string path;
        bool pen_down = false;
        for (chart_point const& p : s.points) {
            if (at_.shows(p)) {
                path += fmt::format("{}{:.1f} {:.1f}", pen_down ? 'L' : 'M',
                                    at_.across(at_.x_axis.at(p.x)), at_.down(at_.y_axis.at(p.y)));
            }
            pen_down = at_.shows(p);
        }
        if (!path.empty()) {
            put("<path class=\"path s{}\" d=\"{}\"/>\n", color, path);
        }
        for (chart_point const& p : s.points) {
            if (at_.shows(p)) {
                double const x = at_.across(at_.x_axis.at(p.x));
                draw_error(x, p, fmt::format("error s{}", color));
                draw_mark(index, index, x, at_.down(at_.y_axis.at(p.y)), told(s, p));
            }
        }
    }

    /// A circle, a square, a diamond or a triangle: series differ in more than colour.
    void draw_mark(std::size_t series, std::size_t shape, double x, double y,
                   std::string const& title) {
        char const* const shapes[] = {
            "m-3 0a3 3 0 1 0 6 0a3 3 0 1 0 -6 0z", "m-2.7 -2.7h5.4v5.4h-5.4z",
            "m0 -3.8l3.8 3.8l-3.8 3.8l-3.8 -3.8z", "m0 -3.6l3.6 6.2h-7.2z"};
        put("<path class=\"f{}\" d=\"M{:.1f} {:.1f}{}\">{}</path>\n",
            series % light_colors.series.size(), x, y, shapes[shape % std::size(shapes)],
            title.empty() ? std::string() : "<title>" + title + "</title>");
    }

    void draw_bars(std::size_t index) {
        constexpr double filled = 0.8;  // of a category's room
        constexpr double widest = 64.0;
        chart_series const& s = chart_.series[index];
        auto const count = static_cast<double>(chart_.series.size());
        double const width = std::min(filled * at_.slot() / count, widest);
        double const floor = at_.down(at_.y_axis.at(0.0));
        for (chart_point const& p : s.points) {
            if (!at_.shows(p)) {
                continue;
            }
            double const middle = at_.left + (p.x + 0.5) * at_.slot();
            double const begin = middle + (static_cast<double>(index) - count / 2.0) * width;
            double const end = at_.down(at_.y_axis.at(p.y));
            put("<rect class=\"f{}\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" "
                "height=\"{:.1f}\"><title>{}</title></rect>\n",
                index % light_colors.series.size(), begin, std::min(end, floor),
                std::max(1.0, width - 1.0), std::abs(end - floor), told(s, p));
            draw_error(begin + (width - 1.0) / 2.0, p, "whisker");
            if (at_.labelled()) {
                double const above = at_.down(at_.y_axis.at(p.y + std::max(0.0, p.error)));
                put("<text class=\"value\" x=\"{:.1f}\" y=\"{:.1f}\" "
                    "text-anchor=\"middle\">{}</text>\n",
                    begin + (width - 1.0) / 2.0, std::min(above, floor) - 4.0,
                    short_number(p.y, 3));
            }
        }
    }

    void draw_legend() {
        at_.each_entry([&](std::size_t i, double x, double row) {
            double const y =
                at_.legend + row * chart_layout::line_height + chart_layout::line_height / 2.0;
            constexpr std::size_t square = 1;
            draw_mark(i, at_.bars() ? square : i, x + 5.0, y, {});
            put("<text class=\"name\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>\n", x + 14.0, y + 4.0,
                xml_text(cut_characters(chart_.series[i].name, chart_layout::longest_name * 2)));
        });
    }

    chart const& chart_;
    chart_use use_;
    chart_layout at_;
    std::string out_;
};

}  // namespace detail

/// The chart as SVG. Throws fpq::error (usage) for a bar without a category.
[[nodiscard]] inline std::string draw_chart(chart const& what, chart_use use = chart_use::in_page) {
    return detail::chart_drawing(what, use).draw();
}

}  // namespace fpq
