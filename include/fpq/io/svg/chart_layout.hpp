// SPDX-License-Identifier: Apache-2.0
// Floor 5. Where the parts of a chart lie: scales, margins that hold their texts, the legend's
// rows.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <string_view>

#include "fpq/core/hosted/error.hpp"
#include "fpq/io/svg/axis_scale.hpp"
#include "fpq/io/svg/chart.hpp"
#include "fpq/io/svg/xml_text.hpp"

namespace fpq {

/// Where a chart is shown. In a page that holds chart_style() and its own caption; or as a file,
/// with style, background and title.
enum class chart_use { in_page, standalone };

namespace detail {

/// Lengths are CSS pixels; y grows downwards. `what` must outlive it.
struct chart_layout {
    chart_layout(chart const& drawn, chart_use use) : what(drawn) {
        find_scales();
        lay_out(use);
    }

    static constexpr double edge = 10.0;
    static constexpr double line_height = 17.0;
    static constexpr double small = 12.0;   // text
    static constexpr double slant = 0.643;  // sine of 40 degrees, for names that need room
    static constexpr double cosine = 0.766;
    static constexpr std::size_t longest_name = 20;

    /// About how wide a text is; fonts differ.
    static double text_width(std::string_view text) {
        return 0.58 * small * static_cast<double>(count_characters(text));
    }

    [[nodiscard]] bool bars() const { return what.kind == chart_kind::bars; }

    [[nodiscard]] bool shows(chart_point const& p) const {
        auto const positive = [](chart_axis const& axis, double v) {
            return std::isfinite(v) && (!axis.log || v > 0.0);
        };
        return positive(what.y, p.y) && (bars() || positive(what.x, p.x));
    }

    [[nodiscard]] bool labelled() const { return bars() && what.value_labels; }
    [[nodiscard]] double slot() const {
        return (right - left) /
               static_cast<double>(std::max<std::size_t>(1, what.categories.size()));
    }
    [[nodiscard]] double across(double share) const { return left + share * (right - left); }
    [[nodiscard]] double down(double share) const { return bottom - share * (bottom - top); }

    /// The width of one entry of the legend.
    static double entry_width(std::string const& name) {
        return 16.0 + text_width(cut_characters(name, longest_name * 2)) + 14.0;
    }

    [[nodiscard]] bool has_legend() const {
        return std::any_of(what.series.begin(), what.series.end(),
                           [](chart_series const& s) { return !s.name.empty(); });
    }

    /// Calls place(index, x, row) for each entry and returns the number of rows.
    template <class F>
    double each_entry(F place) const {
        double x = left;
        double row = 0.0;
        for (std::size_t i = 0; has_legend() && i < what.series.size(); ++i) {
            double const width = entry_width(what.series[i].name);
            if (x > left && x + width - 14.0 > right) {
                x = left;
                row += 1.0;
            }
            place(i, x, row);
            x += width;
        }
        return has_legend() ? row + 1.0 : 0.0;
    }

    [[nodiscard]] double legend_rows() const {
        return each_entry([](std::size_t, double, double) {});
    }

    chart const& what;
    axis_scale x_axis;
    axis_scale y_axis;
    bool empty = false;    // no point has a place
    bool slanted = false;  // names of categories need it
    double left = 0.0;     // of the plot
    double right = 0.0;
    double top = 0.0;
    double bottom = 0.0;
    double below = 0.0;   // under the names of ticks
    double legend = 0.0;  // its top
    double height = 0.0;

private:
    void find_scales() {
        constexpr double infinity = std::numeric_limits<double>::infinity();
        double low_x = infinity;
        double high_x = -infinity;
        double low_y = bars() && !what.y.log ? 0.0 : infinity;
        double high_y = bars() && !what.y.log ? 0.0 : -infinity;
        for (chart_series const& s : what.series) {
            for (chart_point const& p : s.points) {
                if (bars() && !(p.x >= 0.0 && p.x < static_cast<double>(what.categories.size()))) {
                    fail_usage("chart", what.title, "a category for each bar", short_number(p.x));
                }
                if (!shows(p)) {
                    continue;
                }
                low_x = std::min(low_x, p.x);
                high_x = std::max(high_x, p.x);
                double const error = std::isfinite(p.error) ? p.error : 0.0;
                bool const has_room = !what.y.log || p.y - error > 0.0;
                low_y = std::min(low_y, has_room ? p.y - error : p.y);
                high_y = std::max(high_y, p.y + error);
            }
        }
        empty = !(low_x <= high_x);
        x_axis = scale_for(empty ? 1.0 : low_x, empty ? 2.0 : high_x, what.x);
        y_axis = scale_for(empty ? 1.0 : low_y, empty ? 2.0 : high_y, what.y);
        if (!bars() && !what.x.log && !empty && low_x < high_x) {
            x_axis.low = low_x;  // lines fill the width
            x_axis.high = high_x;
            std::erase_if(x_axis.ticks, [&](double t) {
                double const room = (high_x - low_x) * 1e-9;
                return t < low_x - room || t > high_x + room;
            });
        }
    }

    void lay_out(chart_use use) {
        double widest = 0.0;
        for (double const tick : y_axis.ticks) {
            widest = std::max(widest, text_width(short_number(tick)));
        }
        double const title_room = what.y.title.empty() ? 0.0 : line_height;
        left = edge + title_room + widest + 6.0;
        right = what.width - edge - 6.0;
        top = edge + (use == chart_use::standalone ? 26.0 : 4.0) + (labelled() ? 8.0 : 0.0);
        bottom = top + what.plot_height;
        double names = line_height;
        if (bars()) {
            double longest = 0.0;
            for (std::string const& name : what.categories) {
                longest = std::max(longest, text_width(cut_characters(name, longest_name)));
            }
            slanted = longest > slot() - 4.0;
            if (slanted) {
                left = std::max(left, edge + cosine * longest - slot() / 2.0);
                names = slant * longest + line_height;
            }
        }
        below = bottom + names + 2.0;
        legend = below + (what.x.title.empty() ? 4.0 : line_height + 6.0);
        height = legend + legend_rows() * line_height + 4.0;
    }
};

}  // namespace detail

}  // namespace fpq
