// SPDX-License-Identifier: Apache-2.0
// Floor 5. A chart as data: series of points over axes. draw_chart.hpp makes an SVG of it.
#pragma once

#include <string>
#include <vector>

namespace fpq {

/// One value, in the units of the axes.
struct chart_point {
    double x = 0.0;      ///< of bars: the number of the category
    double y = 0.0;      ///< not finite: a gap
    double error = 0.0;  ///< half the length of the error bar; 0: none
};

struct chart_series {
    std::string name;  ///< in the legend; a chart whose series have no names has none
    std::vector<chart_point> points;
};

struct chart_axis {
    std::string title;   ///< with the unit
    bool log = false;    ///< what is not above 0 is left out then
    bool whole = false;  ///< ticks are whole numbers
};

enum class chart_kind { lines, bars };

/// Lines go through the points in their order. Bars stand side by side within a category, on 0, or
/// on the lower end of a logarithmic axis.
struct chart {
    std::string title;
    chart_kind kind = chart_kind::lines;
    chart_axis x;
    chart_axis y;
    std::vector<std::string> categories;  ///< of bars: the names along x
    std::vector<chart_series> series;
    bool value_labels = false;  ///< of bars: each says its value
    double width = 480.0;       ///< of the whole drawing, in CSS pixels
    double plot_height = 220.0;
};

}  // namespace fpq
