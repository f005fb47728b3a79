// SPDX-License-Identifier: Apache-2.0
// Floor 5. The variables of a chat template.
#pragma once

#include <cstddef>
#include <string_view>
#include <utility>

#include "fpq/io/chat/chat_value.hpp"

namespace fpq::chat {

/// Variables of one level: the template, one turn of a loop, one call of a macro.
class scope {
public:
    explicit scope(scope const* parent) : parent_(parent) {}
    /// The variable, or null; `looked`: grows by the names that were looked at.
    [[nodiscard]] value const* find(std::string_view name, std::size_t& looked) const {
        for (scope const* s = this; s != nullptr; s = s->parent_) {
            looked += s->variables_.size() + 1;
            if (value const* const v = member(s->variables_, name)) {
                return v;
            }
        }
        return nullptr;
    }
    [[nodiscard]] std::size_t size() const noexcept { return variables_.size(); }
    void set(std::string_view name, value v) {
        for (auto& [key, old] : variables_) {
            if (key == name) {
                old = std::move(v);
                return;
            }
        }
        variables_.emplace_back(name, std::move(v));
    }

private:
    scope const* parent_;
    value_members variables_;
};

}  // namespace fpq::chat
