// SPDX-License-Identifier: Apache-2.0
#include "inspect/survey.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <set>
#include <string_view>
#include <utility>

#include "common/console.hpp"
#include "fpq/core/hosted/error.hpp"
#include "fpq/core/hosted/natural_order.hpp"
#include "fpq/dialect/dialect.hpp"
#include "fpq/dialect/quantized_source.hpp"
#include "fpq/dialect/stored.hpp"
#include "fpq/io/json/json_member.hpp"
#include "fpq/model/load.hpp"
#include "fpq/quant/error_stats.hpp"
#include "fpq/quant/quantize.hpp"
#include "fpq/transform/transform.hpp"

namespace fpq::tools {

namespace {

tensor_line line_of(tensor_ref const& t) {
    return {
        t.name, std::string(dtype_name(t.type)), {t.shape.begin(), t.shape.end()}, t.bytes.size()};
}

linear_error error_of(stored_linear const& stored, checkpoint const& original,
                      std::string const& module) {
    tensor_ref const& tensor = original.at(module + ".weight");
    std::size_t const rows = stored.weight.rows;
    std::size_t const cols = stored.weight.cols;
    fpq::require_shape(tensor, std::vector<std::uint64_t>{rows, cols});
    std::vector<float> w = load_floats(tensor);
    original.release(tensor.name);
    if (!stored.forward_matrix.empty()) {
        block_transform::from_matrix(stored.transform_block, stored.forward_matrix,
                                     transform_kind::orthogonal)
            .apply_to_weights(as_view(w.data(), rows, cols), default_threads());
    }
    std::vector<float> const decoded = stored.weight.codes == nullptr
                                           ? stored.dense
                                           : dequantize(stored.weight, default_threads());
    auto const a = as_view<float const>(w.data(), rows, cols);
    auto const b = as_view<float const>(decoded.data(), rows, cols);
    error_stats const sums = measure_error(a, b);
    local_loss const local = measure_local_loss(a, b, stored.weight.format.group_of(cols));
    linear_error out;
    if (sums.signal > 0.0 || sums.noise > 0.0) {
        out.sqnr_db = sums.sqnr_db();
    }
    out.worst_row_sqnr_db = local.worst_row_db;
    out.zeroed_blocks = local.zeroed_share();
    return out;
}

linear_line read_linear(quantized_source const& quantized, std::string const& module,
                        checkpoint const* original) {
    stored_linear const stored = quantized.linear(module);
    linear_line line;
    line.module = module;
    line.rows = stored.weight.rows;
    line.cols = stored.weight.cols;
    line.format = format_name(stored.weight.format);
    if (stored.input) {
        line.inputs = format_name(stored.input->format);
    }
    line.bits_per_weight = stored.weight.format.bits_per_value(line.rows, line.cols);
    stored_scheme const& how = *quantized.scheme_of(module);
    line.stored_bits =
        how.pseudo ? static_cast<double>(dtype_bits(how.code_type)) : line.bits_per_weight;
    line.weight_global = stored.weight.global_scale;
    line.input_global = stored.act_global_scale;
    if (original != nullptr) {
        line.error = error_of(stored, *original, module);
    }
    quantized.release(module);
    return line;
}

template <class Which>
tensor_line const* part_that(std::vector<tensor_line> const& tensors, Which const& is) {
    auto const found = std::find_if(tensors.begin(), tensors.end(),
                                    [&](tensor_line const& t) { return is(t.name); });
    return found == tensors.end() ? nullptr : &*found;
}

}  // namespace

std::uint64_t linear_line::bytes() const {
    return std::accumulate(tensors.begin(), tensors.end(), std::uint64_t{0},
                           [](std::uint64_t sum, tensor_line const& t) { return sum + t.bytes; });
}

tensor_line const* linear_line::codes() const {
    return part_that(tensors, [](std::string_view name) {
        return name.ends_with("weight") || name.ends_with("weight_packed");
    });
}

tensor_line const* linear_line::scales() const {
    return part_that(tensors, [](std::string_view name) {
        return name.ends_with(".scales") || name.ends_with(".weight_scale");
    });
}

std::vector<format_total> survey::formats() const {
    std::vector<format_total> out;
    for (linear_line const& l : linears) {
        auto found = std::find_if(out.begin(), out.end(), [&](format_total const& t) {
            return t.format == l.format && t.inputs == l.inputs;
        });
        if (found == out.end()) {
            out.push_back({l.format, l.inputs});
            found = out.end() - 1;
        }
        std::uint64_t const weights = std::uint64_t{l.rows} * l.cols;
        ++found->linears;
        found->weights += weights;
        found->bits += l.bits_per_weight * static_cast<double>(weights);
        found->stored_bits += l.stored_bits * static_cast<double>(weights);
    }
    return out;
}

std::vector<linear_line const*> survey::worst(std::size_t most) const {
    std::vector<linear_line const*> out;
    for (linear_line const& l : linears) {
        if (l.error && l.error->sqnr_db) {
            out.push_back(&l);
        }
    }
    std::stable_sort(out.begin(), out.end(), [](linear_line const* a, linear_line const* b) {
        return *a->error->sqnr_db < *b->error->sqnr_db;
    });
    out.resize(std::min(out.size(), most));
    return out;
}

survey survey_of(checkpoint const& source, checkpoint const* original, name_filter const& filter,
                 bool tolerant) {
    survey out;
    out.directory = source.directory().string();
    nlohmann::json const& type = fpq::detail::member_or_null(source.config(), "model_type");
    out.model_type = type.is_string() ? type.get<std::string>() : std::string();
    out.shards = source.shards().size();
    out.all_tensors = source.names().size();
    out.all_bytes = source.total_bytes();
    std::set<std::string> taken;
    try {
        quantized_source const quantized(source);
        out.layout = quantized.kind() == nullptr ? "" : quantized.kind()->name;
        std::vector<std::string> modules = quantized.modules();
        std::sort(modules.begin(), modules.end(), natural_less);
        out.all_linears = modules.size();
        for (std::string const& module : modules) {
            std::vector<tensor_line> parts;
            for (std::string_view const part : quantized.kind()->parts) {
                if (std::string const name = module + std::string(part); source.contains(name)) {
                    parts.push_back(line_of(source.at(name)));
                    taken.insert(name);
                }
            }
            bool const wanted = filter.takes(module) ||
                                std::any_of(parts.begin(), parts.end(), [&](tensor_line const& t) {
                                    return filter.takes(t.name);
                                });
            if (!wanted) {
                continue;
            }
            try {
                linear_line line = read_linear(quantized, module, original);
                line.tensors = std::move(parts);
                out.linears.push_back(std::move(line));
            } catch (error const&) {
                if (!tolerant) {
                    throw;
                }
            }
        }
    } catch (error const&) {
        if (!tolerant) {
            throw;
        }
        out.unread = true;
    }
    std::vector<std::string> names = source.names();
    std::sort(names.begin(), names.end(), natural_less);
    for (std::string const& name : names) {
        if (!taken.contains(name) && filter.takes(name)) {
            out.tensors.push_back(line_of(source.at(name)));
        }
    }
    return out;
}

}  // namespace fpq::tools
