// SPDX-License-Identifier: Apache-2.0
// Floor 6. The GGUF layout (llama.cpp): one file with the weights in block formats, all that is in
// config.json as metadata, and the tokenizer. Weights alone are quantized there: clients choose
// themselves how they round inputs.
//
//   NAME.weight  MXFP4, NVFP4, Q8_0 or Q4_0 [in, out], rows of queries and keys in the order of
//                the architecture (gguf_names.hpp)
//   NAME.scale   NVFP4: F32 [1], fl(1 / global_scale); clients multiply the product by it
//   all else     norms, biases and rotary factors F32; embedding, head and other matrices as the
//                source has them
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <functional>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/core/hosted/printable.hpp"
#include "fpq/dialect/dialect.hpp"
#include "fpq/dialect/gguf_blocks.hpp"
#include "fpq/dialect/gguf_model.hpp"
#include "fpq/dialect/gguf_names.hpp"
#include "fpq/dialect/gguf_tokenizer.hpp"
#include "fpq/dialect/gguf_verify.hpp"
#include "fpq/io/gguf/ggml_type.hpp"
#include "fpq/io/gguf/gguf_file.hpp"
#include "fpq/io/gguf/gguf_layout.hpp"
#include "fpq/version.hpp"

namespace fpq {

namespace detail {

inline std::string format_words(quant_format const& f) {
    if (f.scale == scale_kind::fp16 && f.element != element_kind::e2m1) {
        std::string const grain = f.grain == granularity::group
                                      ? "groups of " + std::to_string(f.group)
                                  : f.grain == granularity::channel ? "rows"
                                                                    : "one group";
        return "int" + std::to_string(element_bits(f.element)) + " in " + grain +
               (f.symmetric ? "" : ", asymmetric");
    }
    return std::string(format_name(f));
}

inline std::optional<refusal> refuse_gguf(export_plan const& plan, export_linear const& linear) {
    scheme const& s = plan.scheme_of(linear);
    if (std::optional<refusal> why = refuse_plain_weight(linear, s)) {
        return why;
    }
    std::optional<ggml_type> const type = ggml_type_of(s.weight->format);
    if (!type) {
        return refusal{linear.module + ": format",
                       "nvfp4, mxfp4, or symmetric int8 or int4 in groups of 32",
                       format_words(s.weight->format)};
    }
    if (std::optional<refusal> why = refuse_unrotated_layout(plan, linear, s)) {
        return why;
    }
    if (s.input) {
        return refusal{linear.module + ": inputs",
                       "inputs as they are (--a_bits 16: clients choose how they round them)",
                       std::string(format_name(s.input->format))};
    }
    linear_node const* const node =
        plan.graph == nullptr ? nullptr : find_linear(*plan.graph, linear.module);
    if (node == nullptr) {
        return refusal{linear.module, "a linear of a known model", "another"};
    }
    if (linear.head && plan.graph->config().tied_head) {
        return refusal{linear.module,
                       "an unquantized head (--ignore " + linear.module +
                           "): clients read the embedding for a tied one",
                       "a scheme for it"};
    }
    bool const mlp = node->input == tap::mlp_input || node->input == tap::mlp_middle;
    if (*type == ggml_type::nvfp4 && mlp && node->bias) {
        return refusal{node->bias_name(),
                       "no bias in the MLP beside NVFP4 (clients stop at its global scale)", "one"};
    }
    return refuse_width(linear, facts_of(*type).block, "a block");
}

inline gguf_name name_in_gguf(export_plan const& plan, std::string const& module) {
    return gguf_name_of(*plan.graph, *find_linear(*plan.graph, module));
}

inline std::vector<tensor_plan> gguf_tensors(export_plan const& plan, export_linear const& linear) {
    ggml_type const type = *ggml_type_of(plan.scheme_of(linear).weight->format);
    std::string const name = name_in_gguf(plan, linear.module).name;
    std::vector<tensor_plan> out{
        {name + ".weight", dtype::u8, {linear.out, ggml_row_bytes(type, linear.in)}, name}};
    if (type == ggml_type::nvfp4) {
        out.push_back({name + ".scale", dtype::f32, {1}, name});
    }
    return out;
}

/// Refuses fp16 scales that are no numbers or negative.
inline void require_fp16_scales(linear_record const& r) {
    packed_view const& w = r.weight;
    std::size_t const count = w.format.scale_count(w.rows, w.cols);
    for (std::size_t i = 0; i < count; ++i) {
        float const value = decode_scale(scale_kind::fp16, w.scales + 2 * i);
        if (!(value >= 0.0F) || !std::isfinite(value)) {
            fail_numeric("bad block scale", r.module + ": scale " + std::to_string(i),
                         "a finite positive value", std::to_string(value));
        }
    }
}

inline std::vector<tensor_data> write_gguf(export_plan const& plan, export_linear const& linear,
                                           linear_record const& r) {
    scheme const& s = plan.scheme_of(linear);
    if (s.weight->format.scale == scale_kind::fp16) {
        if (!(r.weight.format == s.weight->format)) {
            fail_record("gguf", r, "the planned format", "another");
        }
        require_fp16_scales(r);
    } else {
        require_sound("gguf", s, r);
    }
    if (r.forward_matrix != nullptr) {
        fail_record("gguf", r, "no transform", "a transform matrix");
    }
    packed_view const& w = r.weight;
    if (!w.format.has_global && w.global_scale != 1.0F) {
        fail_record("gguf", r, "the global scale 1", std::to_string(w.global_scale));
    }
    ggml_type const type = *ggml_type_of(w.format);
    gguf_name const name = name_in_gguf(plan, linear.module);
    std::size_t const row_bytes = ggml_row_bytes(type, w.cols);
    std::vector<std::byte> bytes(w.rows * row_bytes);
    for (std::size_t row = 0; row < w.rows; ++row) {
        pack_ggml_row(w, gguf_source_row(row, w.rows, name.heads),
                      reinterpret_cast<std::uint8_t*>(bytes.data() + row * row_bytes));
    }
    std::vector<tensor_data> out;
    out.push_back({name.name + ".weight", dtype::u8, {w.rows, row_bytes}, std::move(bytes)});
    if (type == ggml_type::nvfp4) {
        out.push_back(scalar_tensor(name.name + ".scale", 1.0F / w.global_scale, {1}));
    }
    return out;
}

/// config.json as it is: tools that look for it beside the file find the original's.
inline std::vector<named_json> gguf_files(export_plan const&, nlohmann::json const& config) {
    return {{"config.json", config}};
}

inline std::optional<refusal> refuse_model_in_gguf(export_plan const& plan) {
    return refuse_gguf_model(*plan.graph);
}

inline std::vector<tensor_data> gguf_made(export_plan const& plan) {
    model_config const& c = plan.graph->config();
    if (c.rope.kind != rope_kind::llama3) {
        return {};
    }
    std::vector<float> const factors = gguf_rope_factors(c.rope, c.head_dim);
    std::vector<tensor_data> out;
    out.push_back({std::string(gguf_rope_tensor),
                   dtype::f32,
                   {factors.size()},
                   to_bytes(std::span<float const>(factors))});
    return out;
}

inline gguf_name copied_name(export_plan const& plan, tensor_ref const& t) {
    std::optional<gguf_name> const name = gguf_name_of(*plan.graph, t.name);
    if (!name) {
        fail_input("tensor that GGUF has no name for", tensor_place(t), "a part of the model",
                   "another");
    }
    return *name;
}

/// Vectors are F32, matrices as they are.
inline tensor_plan gguf_planned(export_plan const& plan, tensor_ref const& t) {
    return {copied_name(plan, t).name, t.shape.size() == 1 ? dtype::f32 : t.type, t.shape, t.name};
}

inline tensor_data gguf_copy(export_plan const& plan, tensor_ref const& t) {
    gguf_name const name = copied_name(plan, t);
    tensor_data out{name.name, t.type, t.shape, t.bytes};
    std::vector<float> values;
    std::span<std::byte const> bytes = t.bytes;
    if (t.shape.size() == 1) {
        values = load_floats(t);
        out.type = dtype::f32;
        bytes = std::as_bytes(std::span(values));
    } else if (name.heads == 0) {
        return out;
    }
    std::size_t const rows = t.shape.front();
    std::size_t const width = bytes.size() / rows;
    std::vector<std::byte> ordered(bytes.size());
    for (std::size_t row = 0; row < rows; ++row) {
        std::memcpy(ordered.data() + row * width,
                    bytes.data() + gguf_source_row(row, rows, name.heads) * width, width);
    }
    out.bytes = tensor_bytes(std::move(ordered));
    return out;
}

/// The type that most quantized values have, as general.file_type numbers it.
inline std::uint32_t gguf_file_type(export_plan const& plan) {
    std::map<ggml_type, std::uint64_t> values;
    for (export_linear const& linear : plan.linears) {
        values[*ggml_type_of(plan.scheme_of(linear).weight->format)] +=
            std::uint64_t{linear.out} * linear.in;
    }
    auto const most = std::max_element(values.begin(), values.end(),
                                       [](auto& a, auto& b) { return a.second < b.second; });
    switch (most->first) {
        case ggml_type::nvfp4:
            return 39;
        case ggml_type::mxfp4:
            return 38;
        case ggml_type::q8_0:
            return 7;
        default:
            return 2;  // Q4_0
    }
}

inline ggml_type plain_ggml_type(tensor_plan const& t) {
    switch (t.type) {
        case dtype::bf16:
            return ggml_type::bf16;
        case dtype::f16:
            return ggml_type::f16;
        case dtype::f32:
            return ggml_type::f32;
        default:
            fail_usage("gguf cannot hold this", "tensor '" + t.name + "'", "BF16, F16 or F32",
                       dtype_name(t.type));
    }
}

inline gguf_metadata gguf_facts(export_plan const& plan, checkpoint const& source) {
    model_graph const& graph = *plan.graph;
    gguf_metadata out = gguf_architecture(graph);
    std::filesystem::path directory = source.directory();
    if (!directory.has_filename()) {
        directory = directory.parent_path();
    }
    out.emplace_back("general.name", directory.filename().string());
    out.emplace_back("general.quantized_by", std::string("fpq " FPQ_VERSION_STRING));
    out.emplace_back("general.file_type", gguf_file_type(plan));
    out.emplace_back("general.quantization_version", std::uint32_t{2});
    gguf_metadata tokens =
        gguf_tokenizer(source.directory(), source.config(), graph.config().vocab_size);
    std::move(tokens.begin(), tokens.end(), std::back_inserter(out));
    return out;
}

inline shard_layout lay_out_gguf_file(export_plan const& plan,
                                      std::vector<tensor_plan> const& tensors,
                                      checkpoint const& source) {
    std::map<std::string, export_linear const*> blocks;
    for (export_linear const& linear : plan.linears) {
        blocks[name_in_gguf(plan, linear.module).name + ".weight"] = &linear;
    }
    std::vector<gguf_tensor_plan> named;
    shard_layout out;
    out.file = gguf_file_name;
    for (tensor_plan const& t : tensors) {
        std::vector<std::uint64_t> dims(t.shape.rbegin(), t.shape.rend());
        auto const block = blocks.find(t.name);
        if (block == blocks.end()) {
            named.push_back({t.name, plain_ggml_type(t), std::move(dims)});
        } else {
            dims.front() = block->second->in;
            named.push_back({t.name, *ggml_type_of(plan.scheme_of(*block->second).weight->format),
                             std::move(dims)});
        }
        out.tensors.push_back(out.tensors.size());
    }
    gguf_layout layout = lay_out_gguf(gguf_facts(plan, source), named);
    out.head = std::move(layout.head);
    out.offsets = std::move(layout.offsets);
    out.size = layout.size;
    return out;
}

inline void each_gguf_tensor(
    std::filesystem::path const& path,
    std::function<void(std::string const&, std::span<std::byte const>)> const& function) {
    gguf_file const file(path);
    for (gguf_tensor const& t : file.tensors()) {
        function(t.name, t.bytes);
        file.release(t.bytes);
    }
}

inline bool is_no_safetensors_layout(nlohmann::json const&) { return false; }
[[noreturn]] inline stored_layout read_no_gguf(checkpoint const& source, nlohmann::json const&) {
    fail_input("GGUF is not read as a model", source.directory().string(), "safetensors", "GGUF");
}
[[noreturn]] inline stored_linear read_no_gguf_linear(checkpoint const& source,
                                                      stored_scheme const&, std::string const&) {
    fail_input("GGUF is not read as a model", source.directory().string(), "safetensors", "GGUF");
}
inline void verify_no_config(checkpoint const&, std::vector<std::string>&) {}

inline constexpr single_file gguf_container{
    gguf_file_name, &refuse_model_in_gguf, &gguf_made,   &gguf_planned,
    &gguf_copy,     &lay_out_gguf_file,    &verify_gguf, &each_gguf_tensor};

}  // namespace detail

/// Written only: a GGUF file as a model to work on is not read yet.
inline constexpr dialect gguf{"gguf",
                              &detail::refuse_gguf,
                              &detail::gguf_tensors,
                              &detail::write_gguf,
                              &detail::gguf_files,
                              &detail::is_no_safetensors_layout,
                              &detail::read_no_gguf,
                              &detail::read_no_gguf_linear,
                              &detail::verify_no_config,
                              {},
                              &detail::gguf_container};

}  // namespace fpq
