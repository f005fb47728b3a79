// SPDX-License-Identifier: Apache-2.0
// Floor 6. Reads quantized linears back from a checkpoint of any dialect of the registry, without
// copying codes or scales out of the map, and refuses what does not fit together. Which tensors of
// a whole checkpoint are wrong is verify.hpp.
#pragma once

#include <algorithm>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/dialect/dialect.hpp"
#include "fpq/dialect/registry.hpp"
#include "fpq/dialect/stored.hpp"
#include "fpq/io/json/json_member.hpp"
#include "fpq/io/safetensors/checkpoint.hpp"

namespace fpq {

/// The quantized linears of a checkpoint, which must outlive it. A checkpoint without
/// quantization_config has none. Errors: fpq::error (input) for a dialect or variant that we do not
/// read, by config key; linear() for tensors that are missing, of another type or shape, or hold
/// NaN or negative scales, by file and tensor.
class quantized_source {
public:
    explicit quantized_source(checkpoint const& source) : source_(&source) {
        nlohmann::json const& q = detail::member_or_null(source.config(), "quantization_config");
        if (q.is_null()) {
            return;
        }
        std::string names;
        for (dialect const* const d : dialects) {
            kind_ = kind_ == nullptr && d->recognizes(q) ? d : kind_;
            names += (names.empty() ? "" : d == dialects.back() ? " or " : ", ");
            names += d->name;
        }
        if (kind_ == nullptr) {
            detail::fail_config(source, "quantization_config.quant_method", names,
                                detail::member_or_null(q, "quant_method"));
        }
        layout_ = kind_->read(source, q);
        for (std::string const& name : source.names()) {
            for (stored_scheme const& s : layout_.schemes) {
                if (!name.ends_with(s.code_suffix)) {
                    continue;
                }
                std::string module = name.substr(0, name.size() - s.code_suffix.size());
                if (scheme_of(module) == &s && holds(module, s)) {
                    modules_.push_back(std::move(module));
                    break;
                }
            }
        }
    }

    /// Null when the checkpoint is not quantized.
    [[nodiscard]] dialect const* kind() const noexcept { return kind_; }
    /// Quantized modules, in the order of their tensors.
    [[nodiscard]] std::vector<std::string> const& modules() const noexcept { return modules_; }
    /// Every treatment that the config names.
    [[nodiscard]] std::vector<stored_scheme> const& schemes() const noexcept {
        return layout_.schemes;
    }

    /// What the config says of a module, whether it is quantized or not; null: nothing.
    [[nodiscard]] stored_scheme const* scheme_of(std::string_view module) const {
        for (stored_scheme const& s : layout_.schemes) {
            if (s.targets.empty() || matches_any(s.targets, module)) {
                return &s;
            }
        }
        return nullptr;
    }

    /// Listed in modules_to_not_convert, ignore or their like.
    [[nodiscard]] bool is_ignored(std::string_view module) const {
        return matches_any(layout_.ignored, module);
    }

    [[nodiscard]] bool is_quantized(std::string_view module) const {
        stored_scheme const* const s = kind_ == nullptr ? nullptr : scheme_of(module);
        return s != nullptr && holds(module, *s);
    }

    /// Errors: see the class; also a module that is not quantized.
    [[nodiscard]] stored_linear linear(std::string_view module) const {
        if (!is_quantized(module)) {
            fail_input("not a quantized linear", source_->directory().string(),
                       "quantized module '" + detail::printable(module) + "'", "none");
        }
        return kind_->linear(*source_, *scheme_of(module), std::string(module));
    }

    /// checkpoint::release for the tensors of a module, after its last use.
    void release(std::string_view module) const {
        std::string const name(module);
        for (std::string_view const suffix : {".scales", ".weight_scale"}) {
            source_->release(name + std::string(suffix));
        }
        if (stored_scheme const* const s = scheme_of(module)) {
            source_->release(name + std::string(s->code_suffix));
        }
    }

private:
    static bool matches_any(std::vector<name_pattern> const& patterns, std::string_view module) {
        return std::any_of(patterns.begin(), patterns.end(),
                           [&](name_pattern const& p) { return p.matches(module); });
    }

    /// A tensor of codes is there; under ".weight" its type tells it from a plain weight.
    [[nodiscard]] bool holds(std::string_view module, stored_scheme const& s) const {
        std::string const name = std::string(module) + std::string(s.code_suffix);
        return source_->contains(name) &&
               (s.code_suffix != ".weight" || source_->at(name).type == s.code_type);
    }

    checkpoint const* source_;
    dialect const* kind_ = nullptr;
    stored_layout layout_;
    std::vector<std::string> modules_;
};

}  // namespace fpq
