// SPDX-License-Identifier: Apache-2.0
// Floor 5. Evaluates the expressions of a parsed chat template.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <string>
#include <utility>

#include "fpq/io/chat/chat_filters.hpp"
#include "fpq/io/chat/chat_globals.hpp"
#include "fpq/io/chat/chat_machine.hpp"
#include "fpq/io/chat/chat_operators.hpp"
#include "fpq/io/chat/chat_scope.hpp"
#include "fpq/io/chat/chat_syntax.hpp"
#include "fpq/io/chat/chat_tests.hpp"
#include "fpq/io/chat/chat_value.hpp"

namespace fpq::chat {

/// What a template's macros do is up to who runs its statements.
class evaluator {
public:
    evaluator(evaluator const&) = delete;
    evaluator& operator=(evaluator const&) = delete;

protected:
    evaluator(place at, std::size_t steps) : machine_{std::move(at), steps} {}
    virtual ~evaluator() {
        for (auto const& space : machine_.spaces) {
            space->members.clear();
        }
    }

    virtual value macro(callable const& f, arguments const& args) = 0;

    /// One level of recursion.
    class level {
    public:
        explicit level(evaluator& i) : i_(i) {
            if (++i_.depth_ > 6 * depth_limit_of_calls) {
                i_.machine_.fail("calls and blocks nested too deep");
            }
            i_.machine_.spend(1);
        }
        level(level const&) = delete;
        level& operator=(level const&) = delete;
        ~level() { --i_.depth_; }

    private:
        static constexpr std::size_t depth_limit_of_calls = 100;
        evaluator& i_;
    };

    [[nodiscard]] value const* find(scope const& s, std::string const& name) {
        std::size_t looked = name.size();
        value const* const found = s.find(name, looked);
        machine_.look(looked);
        return found;
    }
    void set(scope& s, std::string const& name, value v) {
        machine_.look(s.size() + name.size());
        s.set(name, std::move(v));
    }

    value eval(expression const& e, scope& s) {
        level const here(*this);
        machine_.at.line = e.line;
        switch (e.kind) {
            case kind::constant:
                return e.literal;
            case kind::name: {
                value const* const v = find(s, e.text);
                return v == nullptr ? value::missing(e.text) : *v;
            }
            case kind::list: {
                value_list out;
                for (expression_ptr const& item : e.args) {
                    out.push_back(eval(*item, s));
                }
                return e.text == "(" ? machine_.tuple(std::move(out))
                                     : machine_.list(std::move(out));
            }
            case kind::dict:
                return dict(e, s);
            case kind::negate:
                return arithmetic(machine_, "-", value::integer(0), number(eval(*e.args[0], s)));
            case kind::positive:
                return number(eval(*e.args[0], s));
            case kind::logical_not:
                return value::boolean(!truth(eval(*e.args[0], s)));
            case kind::logical_and:
            case kind::logical_or: {
                value left = eval(*e.args[0], s);
                return truth(left) == (e.kind == kind::logical_or) ? left : eval(*e.args[1], s);
            }
            case kind::arithmetic: {
                value const left = eval(*e.args[0], s);
                return arithmetic(machine_, e.text, left, eval(*e.args[1], s));
            }
            case kind::join: {
                std::string out;
                for (expression_ptr const& part : e.args) {
                    out += machine_.printed(eval(*part, s));
                }
                return machine_.text(std::move(out));
            }
            case kind::compare:
                return value::boolean(comparison(e, s));
            case kind::conditional:
                return truth(eval(*e.args[1], s)) ? eval(*e.args[0], s)
                       : e.args[2] == nullptr     ? value::missing("else")
                                                  : eval(*e.args[2], s);
            case kind::attribute:
                return attribute(machine_, eval(*e.args[0], s), e.text);
            case kind::item: {
                value const whole = eval(*e.args[0], s);
                return item(machine_, whole, eval(*e.args[1], s));
            }
            case kind::slice:
                return slice_of(e, s);
            case kind::call:
                return call(e, s);
            case kind::filter: {
                value const v = eval(*e.args[0], s);
                return filter(machine_, e.text, v, arguments_of(e, s));
            }
            case kind::test: {
                value const v = eval(*e.args[0], s);
                return value::boolean(test(machine_, e.text, v, arguments_of(e, s)));
            }
        }
        return value();
    }

    machine machine_;

private:
    using kind = expression_kind;

    value number(value v) {
        if (!v.is_number()) {
            machine_.fail("the sign of " + machine::described(v));
        }
        return v;
    }

    bool comparison(expression const& e, scope& s) {
        value left = eval(*e.args[0], s);
        for (std::size_t i = 0; i < e.ops.size(); ++i) {
            value right = eval(*e.args[i + 1], s);
            if (!compare(machine_, e.ops[i], left, right)) {
                return false;
            }
            left = std::move(right);
        }
        return true;
    }

    value dict(expression const& e, scope& s) {
        value_members out;
        for (std::size_t i = 0; i < e.args.size(); i += 2) {
            value const key = eval(*e.args[i], s);
            if (key.string() == nullptr) {
                machine_.refuse("a dict with keys that are no text");
            }
            put(out, *key.string(), eval(*e.args[i + 1], s));
        }
        return machine_.dict(std::move(out));
    }
    void put(value_members& members, std::string const& key, value v) {
        machine_.look(members.size() + key.size());
        for (auto& [name, old] : members) {
            if (name == key) {
                old = std::move(v);
                return;
            }
        }
        members.emplace_back(key, std::move(v));
    }

    value slice_of(expression const& e, scope& s) {
        value const whole = eval(*e.args[0], s);
        std::array<value, 3> parts;
        std::array<value const*, 3> given{};
        for (std::size_t i = 0; i < 3; ++i) {
            if (e.args[i + 1] != nullptr) {
                parts[i] = eval(*e.args[i + 1], s);
                given[i] = &parts[i];
            }
        }
        return slice(machine_, whole, given[0], given[1], given[2]);
    }

    arguments arguments_of(expression const& e, scope& s) {
        arguments out;
        for (std::size_t i = 1; i < e.args.size(); ++i) {
            out.positional.push_back(eval(*e.args[i], s));
        }
        for (auto const& [name, given] : e.named) {
            out.named.emplace_back(name, eval(*given, s));
        }
        return out;
    }

    value call(expression const& e, scope& s) {
        expression const& what = *e.args[0];
        if (what.kind == kind::attribute) {
            value const object = eval(*what.args[0], s);
            if (object.string() != nullptr) {
                return string_method(machine_, *object.string(), what.text, arguments_of(e, s));
            }
            if (object.members() != nullptr && detail::is_method(object, what.text)) {
                return dict_method(machine_, *object.members(), what.text, arguments_of(e, s));
            }
            if (auto const* l = object.get<std::shared_ptr<loop_state>>();
                l != nullptr && what.text == "cycle") {
                arguments const args = arguments_of(e, s);
                args.only(machine_, "loop.cycle", args.positional.size());
                if (args.positional.empty()) {
                    machine_.fail("loop.cycle without arguments");
                }
                return args.positional[(*l)->index % args.positional.size()];
            }
            if (object.is<undefined>()) {
                machine_.fail("method " + what.text + " of " + machine::described(object));
            }
            machine_.refuse("method " + what.text + " of " + machine::described(object));
        }
        value const f = eval(what, s);
        auto const* function = f.get<callable>();
        if (function == nullptr) {
            machine_.fail("a call of " + machine::described(f));
        }
        arguments const args = arguments_of(e, s);
        return function->body != nullptr ? macro(*function, args)
                                         : call_global(machine_, function->name, args);
    }

    std::size_t depth_ = 0;
};

}  // namespace fpq::chat
