// SPDX-License-Identifier: Apache-2.0
// Floor 6. quantization_config and tensors of an fp_quant checkpoint, ours or another writer's:
// read, or refused by name, and what --verify finds in its keys.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/core/hosted/printable.hpp"
#include "fpq/dialect/dialect.hpp"
#include "fpq/dialect/stored.hpp"
#include "fpq/format/quant_args.hpp"
#include "fpq/io/json/json_member.hpp"
#include "fpq/io/safetensors/checkpoint.hpp"

namespace fpq::detail {

inline stored_layout read_fp_quant(checkpoint const& source, nlohmann::json const& q) {
    nlohmann::json const& type = member_or_null(q, "forward_dtype");
    nlohmann::json const& method = member_or_null(q, "forward_method");
    bool const nv = json_equals(type, "nvfp4");
    bool const quest = json_equals(method, "quest");
    if (!nv && !json_equals(type, "mxfp4")) {
        fail_config(source, "forward_dtype", "nvfp4 or mxfp4", type);
    }
    if (!json_equals(method, "abs_max") && (nv || !quest)) {
        fail_config(source, "forward_method", "abs_max (or quest for mxfp4)", method);
    }
    stored_scheme s;
    s.format = nv ? nvfp4 : mxfp4;
    nlohmann::json const& own =
        member_or_null(member_or_null(source.config(), "fpq"), "activation_bits");
    if (own != 16) {
        s.input = quant_args{s.format, quest ? scale_rule::quest : scale_rule::minmax,
                             scale_rule::fp_quant, true, true};
    }
    nlohmann::json const& group = member_or_null(q, "hadamard_group_size");
    s.transform_block = s.format.group;
    if (!group.is_null()) {
        if (!group.is_number_unsigned() || group == 0 || group > 4096) {
            fail_config(source, "hadamard_group_size", "a block size", group);
        }
        s.transform_block = group.get<std::size_t>();
    }
    nlohmann::json const& pseudo = member_or_null(q, "pseudoquantization");
    if (!pseudo.is_null() && !pseudo.is_boolean()) {
        fail_config(source, "pseudoquantization", "true or false", pseudo);
    }
    s.pseudo = pseudo == true;
    s.code_suffix = s.pseudo ? ".dqweight" : ".qweight";
    s.code_type = s.pseudo ? dtype::bf16 : dtype::u8;
    stored_layout out;
    out.schemes.push_back(std::move(s));
    for (std::string const& entry : json_strings(
             source, member_or_null(q, "modules_to_not_convert"), "modules_to_not_convert")) {
        if (!entry.empty()) {
            out.ignored.push_back(name_pattern::suffix(entry));  // as its client matches
        }
    }
    return out;
}

inline stored_linear read_fp_quant_linear(checkpoint const& source, stored_scheme const& how,
                                          std::string const& module) {
    stored_linear out;
    out.input = how.input;
    out.weight.format = how.format;
    out.weight.global_scale = read_global(source, module + ".weight_global_scale");
    out.act_global_scale = read_global(source, module + ".act_global_scale");
    if (how.pseudo) {
        tensor_ref const& dense = source.at(module + ".dqweight");
        if (dense.shape.size() != 2) {
            fail_input("bad dqweight", tensor_place(dense), "(out, in)",
                       fpq::shape_text(dense.shape));
        }
        out.dense = load_floats(dense);
        out.weight.rows = dense.shape[0];
        out.weight.cols = dense.shape[1];
    } else {
        float const global = out.weight.global_scale;
        view_packed(source, how, module + ".qweight", module + ".scales", dtype::u8, out);
        out.weight.global_scale = global;
    }
    tensor_ref const& matrix = source.at(module + ".forward_hadamard_matrix");
    require_shape(matrix, std::vector<std::uint64_t>{how.transform_block, how.transform_block});
    if (out.weight.cols % how.transform_block != 0) {
        fail_input("hadamard_group_size does not fit", tensor_place(matrix),
                   "a divisor of " + std::to_string(out.weight.cols),
                   std::to_string(how.transform_block));
    }
    out.forward_matrix = load_floats(matrix);
    out.transform_block = how.transform_block;
    return out;
}

inline bool is_fp_quant(nlohmann::json const& q) {
    return json_equals(member_or_null(q, "quant_method"), "fp_quant");
}

inline void verify_fp_quant(checkpoint const& source, std::vector<std::string>& findings) {
    nlohmann::json const& q = member_or_null(source.config(), "quantization_config");
    for (char const* key :
         {"hadamard_group_size", "forward_dtype", "forward_method", "modules_to_not_convert"}) {
        if (member_or_null(q, key).is_null()) {
            findings.push_back(std::string("quantization_config: key ") + key +
                               " is required by vLLM");
        }
    }
    if (member_or_null(q, "store_master_weights") == true) {
        findings.emplace_back("quantization_config: store_master_weights must be false");
    }
    auto const one_of = [&](char const* key, std::initializer_list<char const*> words) {
        nlohmann::json const& found = member_or_null(q, key);
        bool known = found.is_null();
        std::string names;
        for (char const* const word : words) {
            known = known || json_equals(found, word);
            names += (names.empty() ? "" : " or ") + std::string(word);
        }
        if (!known) {
            findings.push_back("quantization_config: " + std::string(key) + ": expected " + names +
                               ", found " + printable(found.dump()));
        }
    };
    one_of("transform_init", {"hadamard", "identity", "gsr"});
    one_of("backward_dtype", {"bf16", "mxfp8", "mxfp4"});  // of training alone
    for (char const* const key : {"dtype", "torch_dtype"}) {
        nlohmann::json const& type = member_or_null(source.config(), key);
        if (!type.is_null() && !json_equals(type, "bfloat16")) {
            findings.push_back("config.json: " + std::string(key) +
                               ": expected bfloat16, which transformers requires, found " +
                               printable(type.dump()));
        }
    }
}

}  // namespace fpq::detail
