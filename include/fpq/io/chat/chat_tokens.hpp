// SPDX-License-Identifier: Apache-2.0
// Floor 5. The tokens of a chat template, taken one after another.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fpq/io/chat/chat_error.hpp"
#include "fpq/io/chat/chat_lexer.hpp"

namespace fpq::chat {

/// Deepest nesting of expressions and of blocks.
inline constexpr std::size_t depth_limit = 100;

class token_stream {
public:
    token_stream(std::vector<token> tokens, std::string file) : tokens_(std::move(tokens)) {
        file_ = std::move(file);
    }

protected:
    [[nodiscard]] token const& now() const { return tokens_[next_]; }
    [[nodiscard]] place here() const { return {file_, now().line}; }
    token take() {
        token const& t = tokens_[next_];
        next_ += t.kind == token_kind::end ? 0 : 1;
        return t;
    }
    [[nodiscard]] bool is_op(std::string_view text, std::size_t ahead = 0) const {
        std::size_t const at = std::min(next_ + ahead, tokens_.size() - 1);
        return tokens_[at].kind == token_kind::op && tokens_[at].text == text;
    }
    [[nodiscard]] bool is_name(std::string_view text, std::size_t ahead = 0) const {
        std::size_t const at = std::min(next_ + ahead, tokens_.size() - 1);
        return tokens_[at].kind == token_kind::name && tokens_[at].text == text;
    }
    bool accept_op(std::string_view text) { return is_op(text) && (take(), true); }
    bool accept_name(std::string_view text) { return is_name(text) && (take(), true); }
    void expect_op(std::string_view text) {
        if (!accept_op(text)) {
            fail_syntax(here(), text, found());
        }
    }
    std::string expect_name(std::string_view what) {
        if (now().kind != token_kind::name) {
            fail_syntax(here(), what, found());
        }
        return take().text;
    }
    [[nodiscard]] std::string found() const {
        return now().kind == token_kind::end ? "the end of the template" : now().text.substr(0, 60);
    }
    void back() { --next_; }

    class nested {
    public:
        explicit nested(token_stream& p) : parser_(p) {
            if (++parser_.depth_ > depth_limit) {
                fail_construct(parser_.here(),
                               "nesting beyond " + std::to_string(depth_limit) + " levels");
            }
        }
        nested(nested const&) = delete;
        nested& operator=(nested const&) = delete;
        ~nested() { --parser_.depth_; }

    private:
        token_stream& parser_;
    };

private:
    std::string file_;
    std::vector<token> tokens_;
    std::size_t next_ = 0;
    std::size_t depth_ = 0;
};

}  // namespace fpq::chat
