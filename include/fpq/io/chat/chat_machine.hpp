// SPDX-License-Identifier: Apache-2.0
// Floor 5. What every operation of a chat template needs: where it stands and how much it may still
// do. A template comes with a checkpoint: it is untrusted, and it must end.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fpq/io/chat/chat_error.hpp"
#include "fpq/io/chat/chat_print.hpp"
#include "fpq/io/chat/chat_value.hpp"

namespace fpq::chat {

struct machine {
    place at;
    std::size_t steps = 0;  // left: nodes that are evaluated and bytes and items that are made

    void spend(std::size_t n) {
        if (n > steps) {
            fail_render(at, "more steps than a conversation needs");
        }
        steps -= n;
    }
    [[nodiscard]] value text(std::string&& s) {
        spend(s.size());
        return value::of(std::move(s));
    }
    [[nodiscard]] value text(std::string_view s) {
        spend(s.size());
        return value::of(s);
    }
    [[noreturn]] void fail(std::string_view why) const { fail_render(at, why); }
    [[noreturn]] void refuse(std::string_view construct) const { fail_construct(at, construct); }

    /// str(v).
    [[nodiscard]] std::string printed(value const& v) {
        if (auto const* s = v.string()) {
            spend(s->size());
            return *s;
        }
        std::string out = text_of(v, at);
        spend(out.size());
        return out;
    }
    [[nodiscard]] std::string const& string(value const& v, std::string_view who) const {
        auto const* s = v.string();
        if (s == nullptr) {
            fail(std::string(who) + " of " + described(v) + ", not str");
        }
        return *s;
    }
    [[nodiscard]] std::int64_t integer(value const& v, std::string_view who) const {
        if (auto const* b = v.get<bool>()) {
            return *b ? 1 : 0;
        }
        auto const* i = v.get<std::int64_t>();
        if (i == nullptr) {
            fail(std::string(who) + " of " + described(v) + ", not int");
        }
        return *i;
    }
    [[nodiscard]] static std::string described(value const& v) {
        auto const* u = v.get<undefined>();
        return u == nullptr ? std::string(type_name(v)) : "undefined '" + u->name + "'";
    }

    /// What a loop over v goes through.
    [[nodiscard]] value_list iterate(value const& v) {
        value_list out;
        if (auto const* l = v.items()) {
            out = *l;
        } else if (auto const* m = v.members()) {
            for (auto const& [key, item] : *m) {
                out.push_back(value::of(key));
            }
        } else if (auto const* s = v.string()) {
            for (std::string_view const c : characters(*s)) {
                out.push_back(value::of(c));
            }
        } else if (auto const* g = v.get<std::shared_ptr<generator>>()) {
            if (!std::exchange((*g)->used, true)) {
                out = (*g)->items;
            }
        } else if (!v.is<undefined>()) {
            fail("a loop over " + described(v));
        }
        spend(out.size());
        return out;
    }

    /// len(v).
    [[nodiscard]] std::size_t length(value const& v) const {
        if (auto const* l = v.items()) {
            return l->size();
        }
        if (auto const* m = v.members()) {
            return m->size();
        }
        if (auto const* s = v.string()) {
            return characters(*s).size();
        }
        if (!v.is<undefined>()) {
            fail("length of " + described(v));
        }
        return 0;
    }
};

/// Arguments of a call, filter or test, without the value that it is applied to.
struct arguments {
    value_list positional;
    std::vector<std::pair<std::string, value>> named;

    /// Argument i, or the one of that name, or null.
    [[nodiscard]] value const* get(std::size_t i, std::string_view name) const {
        if (i < positional.size()) {
            return &positional[i];
        }
        for (auto const& [key, v] : named) {
            if (key == name) {
                return &v;
            }
        }
        return nullptr;
    }
    /// Refuses more than `most` positional arguments and names that are none of `names`.
    void only(machine const& m, std::string_view who, std::size_t most,
              std::initializer_list<std::string_view> names = {}) const {
        if (positional.size() > most) {
            m.refuse(std::string(who) + " with " + std::to_string(positional.size()) +
                     " arguments");
        }
        for (auto const& [key, v] : named) {
            bool known = false;
            for (std::string_view const name : names) {
                known = known || name == key;
            }
            if (!known) {
                m.refuse(std::string(who) + " with argument " + key);
            }
        }
    }
};

}  // namespace fpq::chat
