// SPDX-License-Identifier: Apache-2.0
// Floor 6. The tensors of a written checkpoint against what a forward pass and a client need of
// them: there, of the right shape and type, finite, and none too many. verify.hpp collects.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fpq/core/bits.hpp"
#include "fpq/core/half.hpp"
#include "fpq/core/hosted/printable.hpp"
#include "fpq/dialect/carried_tensors.hpp"
#include "fpq/dialect/fp_quant.hpp"
#include "fpq/dialect/quantized_source.hpp"
#include "fpq/dialect/stored.hpp"
#include "fpq/graph/derived_tensors.hpp"
#include "fpq/graph/graph.hpp"
#include "fpq/io/json/json_member.hpp"
#include "fpq/io/safetensors/checkpoint.hpp"
#include "fpq/quant/quantize.hpp"
#include "fpq/quant/rounding.hpp"
#include "fpq/transform/transform.hpp"

namespace fpq::detail {

using say_line = std::function<void(std::string)>;

inline bool is_float(dtype type) noexcept {
    return type == dtype::bf16 || type == dtype::f16 || type == dtype::f32;
}

/// "model.layers.0.mlp.up_proj" and ".weight"; all of a name without a dot is its module.
inline std::pair<std::string, std::string> module_and_part(std::string const& name) {
    std::size_t const dot = std::min(name.rfind('.'), name.size());
    return {name.substr(0, dot), name.substr(dot)};
}

/// One plain tensor of the graph.
inline void check_plain(checkpoint const& source, std::string const& name,
                        std::vector<std::uint64_t> const& shape, say_line const& say) {
    if (!source.contains(name)) {
        say("tensor '" + name + "': expected " + fpq::shape_text(shape) + ", found none");
        return;
    }
    tensor_ref const& t = source.at(name);
    if (t.shape != shape) {
        say("tensor '" + name + "': expected " + fpq::shape_text(shape) + ", found " +
            fpq::shape_text(t.shape));
    }
    if (!is_float(t.type)) {
        say("tensor '" + name + "': expected BF16, F16 or F32, found " +
            std::string(dtype_name(t.type)));
    }
}

/// Plain tensors that the model reads and that are of another type of floats than config.json says:
/// clients convert them. One line for all.
inline void check_plain_types(checkpoint const& source, model_graph const& graph,
                              quantized_source const& quantized, say_line const& say) {
    std::string const& says = graph.config().dtype;
    std::string_view const want = says == "bfloat16"  ? "BF16"
                                  : says == "float16" ? "F16"
                                  : says == "float32" ? "F32"
                                                      : "";
    std::size_t others = 0;
    std::string first;
    graph.for_each_tensor([&](std::string const& name) {
        bool const plain =
            source.contains(name) && !quantized.is_quantized(module_and_part(name).first);
        if (!want.empty() && plain && is_float(source.at(name).type) &&
            dtype_name(source.at(name).type) != want && others++ == 0) {
            first = "tensor '" + name + "': expected " + std::string(want) +
                    " as config.json says, found " + std::string(dtype_name(source.at(name).type));
        }
    });
    if (others != 0) {
        say("warning: " + first +
            (others > 1 ? " (and " + std::to_string(others - 1) + " more)" : ""));
    }
}

/// Embedding, norms, biases, the head: what the forward pass reads beside the linears' weights.
inline void check_plain_tensors(checkpoint const& source, model_graph const& graph,
                                quantized_source const& quantized, say_line const& say) {
    model_config const& c = graph.config();
    check_plain(source, graph.embedding() + ".weight", {c.vocab_size, c.hidden_size}, say);
    for (std::size_t layer = 0; layer < graph.layers(); ++layer) {
        for (norm_node const& norm : graph.norms(layer)) {
            check_plain(source, norm.tensor, {norm.width}, say);
        }
        for (linear_node const& node : graph.layer(layer)) {
            if (!quantized.is_quantized(node.module) && source.contains(node.weight()) &&
                !is_float(source.at(node.weight()).type)) {
                check_plain(source, node.weight(), {node.out, node.in}, say);
            }
            if (node.bias) {
                check_plain(source, node.bias_name(), {node.out}, say);
            }
        }
    }
    check_plain(source, graph.final_norm(), {c.hidden_size}, say);
    if (!c.tied_head && !quantized.is_quantized(graph.head().module)) {
        check_plain(source, graph.head().weight(), {c.vocab_size, c.hidden_size}, say);
    }
}

/// Every plain tensor of floats; what no part of `graph` reads is a warning. Quantized linears are
/// their reader's.
inline void check_finite_tensors(checkpoint const& source, model_graph const* graph,
                                 quantized_source const& quantized, say_line const& say) {
    std::set<std::string> known;
    if (graph != nullptr) {
        graph->for_each_tensor([&](std::string const& name) { known.insert(name); });
    }
    for (std::string const& name : source.names()) {
        tensor_ref const& t = source.at(name);
        auto const [module, part] = module_and_part(name);
        if (!is_float(t.type) || (part != ".bias" && quantized.is_quantized(module))) {
            continue;
        }
        std::string fault;
        for_each_piece(t.bytes, [&](std::span<std::byte const> piece) {
            try {
                if (fault.empty()) {
                    require_finite(t, piece);
                }
            } catch (error const& why) {
                fault = why.what();
            }
            source.release(name, piece);
        });
        if (!fault.empty()) {
            bool const read = known.empty() || known.contains(name);
            say(read ? std::move(fault) : "warning: " + fault);
        }
    }
}

/// Whether a client reads such a part of a linear: no scale of inputs that stay as they are, and no
/// global scale of a format without one (fp_quant stores both always).
inline bool is_read(quantized_source const& quantized, stored_scheme const& how,
                    std::string_view part) {
    bool const of_input = part.starts_with(".input_");
    bool const global = part.ends_with("_global_scale");
    return quantized.kind() == &fp_quant ||
           ((!of_input || how.input) && (!global || how.format.has_global));
}

/// Whether a tensor lies somewhere below a quantized linear, and is not right under it.
inline bool lies_deep(quantized_source const& quantized, std::string const& name) {
    std::size_t const end = name.rfind('.');
    for (std::size_t dot = name.find('.'); dot < end; dot = name.find('.', dot + 1)) {
        if (quantized.is_quantized(std::string_view(name).substr(0, dot))) {
            return true;
        }
    }
    return false;
}

/// Tensors that no part of the model reads. Under a linear they are a fault: clients refuse or,
/// worse, ignore them. One warning names those that came along with the model: in an export of ours
/// what its recipe says, elsewhere what lies under no linear, and a bias of a plain one, as no
/// layout makes them.
inline void check_strays(checkpoint const& source, model_graph const& graph,
                         quantized_source const& quantized, say_line const& say) {
    std::set<std::string> known;
    graph.for_each_tensor([&](std::string const& name) { known.insert(name); });
    known.insert(graph.head().weight());  // a tied one that is written has its own line
    std::set<std::string> modules{graph.head().module};
    for (linear_node const& node : graph.linears()) {
        modules.insert(node.module);
    }
    std::optional<std::set<std::string>> const carried = carried_tensors(source.directory());
    std::vector<std::string> came_along;
    for (std::string const& name : source.names()) {
        auto const [module, part] = module_and_part(name);
        bool const cache = part == ".k_scale" || part == ".v_scale" || part == ".q_scale";
        bool const of_linear =
            part != ".bias" && part != ".weight" && quantized.is_quantized(module) &&
            is_read(quantized, *quantized.scheme_of(module), part) &&
            quantized.kind()->parts.end() !=
                std::find(quantized.kind()->parts.begin(), quantized.kind()->parts.end(), part);
        bool const listed = !modules.contains(module) && quantized.is_ignored(module) &&
                            !lies_deep(quantized, name);
        if (known.contains(name) || of_linear || cache || listed || is_derived_tensor(name)) {
            continue;
        }
        bool const plain = quantized.kind() == nullptr ||
                           (!modules.contains(module) && !lies_deep(quantized, name)) ||
                           (part == ".bias" && !quantized.is_quantized(module));
        if (plain && (!carried || carried->contains(name))) {
            came_along.push_back(name);
        } else {
            say("tensor '" + printable(name) + "': no part of the model reads it");
        }
    }
    if (!came_along.empty()) {
        say("warning: " + tensors_line(came_along, "that no part of the model reads"));
    }
}

/// Bytes of scales under which the largest element decodes to infinity.
inline std::array<bool, 256> overflowing_bytes(packed_view const& w) {
    std::array<bool, 256> out{};
    float const high = rule_of(w.format.element).high;
    for (std::size_t byte = 0; byte < out.size(); ++byte) {
        std::uint8_t const stored[2] = {static_cast<std::uint8_t>(byte), 0};
        out[byte] = !is_finite(
            high * effective_scale(decode_scale(w.format.scale, stored), w.global_scale));
    }
    return out;
}

/// Values that decode to infinity although every byte is a legal one.
inline void check_range(std::string const& module, packed_view const& w, say_line const& say) {
    if (w.codes == nullptr || w.format.scale_bytes_each() != 1) {
        return;
    }
    std::array<bool, 256> const over = overflowing_bytes(w);
    std::size_t const groups = w.format.groups(w.cols);
    for (std::size_t row = 0; row < w.rows; ++row) {
        std::uint8_t const* const scales = w.scales + row * groups;
        if (std::none_of(scales, scales + groups, [&](std::uint8_t b) { return over[b]; })) {
            continue;
        }
        packed_view one = w;
        one.rows = 1;
        one.codes += row * w.format.row_bytes(w.cols);
        one.scales = scales;
        std::vector<float> const values = dequantize(one, 1);
        auto const bad = std::find_if(values.begin(), values.end(),
                                      [](float value) { return !is_finite(value); });
        if (bad != values.end()) {
            say("module '" + module + "': row " + std::to_string(row) + ", column " +
                std::to_string(bad - values.begin()) + ": decodes to infinity");
            return;
        }
    }
}

/// What quantization_config's transform_init names, in bf16; empty when it is none of ours.
inline std::vector<float> named_transform(checkpoint const& source, std::size_t block) {
    nlohmann::json const& q = member_or_null(source.config(), "quantization_config");
    for (transform_kind const kind :
         {transform_kind::identity, transform_kind::hadamard, transform_kind::gsr}) {
        if (json_equals(member_or_null(q, "transform_init"), name_of(kind))) {
            std::vector<float> values(block * block, 0.0F);
            for (std::size_t i = 0; i < block; ++i) {
                values[i * block + i] = 1.0F;
            }
            if (kind != transform_kind::identity) {
                values = block_transform::make(kind, block).matrix();
            }
            for (float& value : values) {
                value = round_to_bf16(value);
            }
            return values;
        }
    }
    return {};
}

/// Both matrices of an fp_quant linear: there, BF16, finite, and what the config names. `named` is
/// named_transform's.
inline void check_matrices(checkpoint const& source, std::string const& module, std::size_t block,
                           std::vector<float> const& named, say_line const& say) {
    for (char const* const part : {".forward_hadamard_matrix", ".backward_hadamard_matrix"}) {
        std::string const name = module + part;
        try {
            std::vector<float> const found =
                load_floats(typed_tensor(source, name, dtype::bf16, {block, block}));
            source.release(name);
            std::size_t wrong = 0;
            for (std::size_t i = 0; i < named.size(); ++i) {
                wrong += found[i] == named[i] ? 0 : 1;
            }
            if (wrong != 0) {
                say("tensor '" + name + "': expected the matrix that transform_init names, found " +
                    std::to_string(wrong) + " other values");
            }
        } catch (error const& why) {
            say(why.what());
        }
    }
}

}  // namespace fpq::detail
