// SPDX-License-Identifier: Apache-2.0
// Floor 5. Jinja source as tokens, with the white space rules that checkpoints' templates are
// written for: trim_blocks, lstrip_blocks, no trailing newline.
// Source: Jinja 3.1, "Template Designer Documentation", white space control.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "fpq/io/chat/chat_error.hpp"
#include "fpq/io/chat/chat_strings.hpp"

namespace fpq::chat {

enum class token_kind {
    text,          // between tags, trimmed
    output_begin,  // {{
    output_end,
    block_begin,  // {%
    block_end,
    name,
    string,  // decoded
    integer,
    real,
    op,
    end
};

struct token {
    token_kind kind = token_kind::end;
    std::string text;
    std::size_t line = 1;
};

class lexer {
public:
    lexer(std::string_view source, std::string file) : source_(newlines(source)) {
        at_.file = std::move(file);
    }

    /// Errors: fpq::error (input) for a tag or string without end and a character of no token.
    std::vector<token> run() {
        while (position_ < source_.size()) {
            data();
        }
        push(token_kind::end, "");
        return std::move(out_);
    }

private:
    static std::string newlines(std::string_view text) {
        std::string out;
        for (std::size_t i = 0; i < text.size(); ++i) {
            if (text[i] == '\r') {
                i += i + 1 < text.size() && text[i + 1] == '\n' ? 1 : 0;
                out.push_back('\n');
            } else {
                out.push_back(text[i]);
            }
        }
        if (out.ends_with('\n')) {
            out.pop_back();
        }
        return out;
    }

    [[nodiscard]] std::string_view rest() const {
        return std::string_view(source_).substr(position_);
    }
    void advance(std::size_t bytes) {
        auto const begin = source_.begin() + static_cast<std::ptrdiff_t>(position_);
        at_.line += static_cast<std::size_t>(
            std::count(begin, begin + static_cast<std::ptrdiff_t>(bytes), '\n'));
        position_ += bytes;
    }
    void push(token_kind kind, std::string_view text) {
        out_.push_back({kind, std::string(text), at_.line});
    }

    /// Text up to the next tag, and the tag.
    void data() {
        std::size_t begin = position_;
        do {
            begin = source_.find('{', begin);
        } while (begin != std::string::npos && ++begin < source_.size() &&
                 std::string_view("{%#").find(source_[begin]) == std::string_view::npos);
        if (begin == std::string::npos || begin >= source_.size()) {
            emit_text(rest());
            advance(rest().size());
            return;
        }
        char const kind = source_[begin];
        char const sign = begin + 1 < source_.size() ? source_[begin + 1] : '\0';
        std::string_view text = rest().substr(0, begin - 1 - position_);
        if (sign == '-') {
            text = strip_right(text);
        } else if (sign != '+' && kind != '{') {
            std::size_t const feed = text.rfind('\n');
            std::size_t const line = feed == std::string_view::npos ? 0 : feed + 1;
            if ((line > 0 || line_begins_) && strip_left(text.substr(line)).empty()) {
                text = text.substr(0, line);
            }
        }
        emit_text(text);
        advance(begin + 1 - position_);
        if (sign == '-' || sign == '+') {
            advance(1);
        }
        line_begins_ = false;
        if (kind == '#') {
            comment();
        } else {
            tag(kind == '{');
        }
    }

    void emit_text(std::string_view text) {
        if (!text.empty()) {
            push(token_kind::text, text);
        }
    }

    void comment() {
        std::size_t const end = rest().find("#}");
        if (end == std::string_view::npos) {
            fail_syntax(at_, "#}", "the end of the template");
        }
        char const sign = end > 0 ? rest()[end - 1] : '\0';
        advance(end + 2);
        after_tag(sign, true);
    }

    /// What a tag's end takes of the text behind it.
    void after_tag(char sign, bool takes_newline) {
        if (sign == '-') {
            std::size_t const space = rest().size() - strip_left(rest()).size();
            line_begins_ = space > 0 && source_[position_ + space - 1] == '\n';
            advance(space);
        } else if (takes_newline && sign != '+' && rest().starts_with('\n')) {
            advance(1);
            line_begins_ = true;
        }
    }

    void tag(bool is_output) {
        push(is_output ? token_kind::output_begin : token_kind::block_begin,
             is_output ? "{{" : "{%");
        std::string_view const end = is_output ? "}}" : "%}";
        std::string open;  // brackets
        for (;;) {
            advance(rest().size() - strip_left(rest()).size());
            if (rest().empty()) {
                fail_syntax(at_, end, "the end of the template");
            }
            if (open.empty()) {
                char const sign = rest()[0];
                bool const is_signed = (sign == '-' || sign == '+') && rest().substr(1, 2) == end;
                if (is_signed || rest().starts_with(end)) {
                    push(is_output ? token_kind::output_end : token_kind::block_end, end);
                    advance(is_signed ? 3 : 2);
                    after_tag(is_signed ? sign : '\0', !is_output);
                    return;
                }
            }
            one_token(open);
        }
    }

    void one_token(std::string& open) {
        char const c = rest()[0];
        if (is_word(c)) {
            word();
        } else if (c == '\'' || c == '"') {
            string_literal(c);
        } else {
            static constexpr std::array<std::string_view, 7> two{
                "==", "!=", "<=", ">=", "//", "**", "::"};
            std::string_view text = rest().substr(0, 1);
            for (std::string_view const op : two) {
                text = rest().starts_with(op) && op != "::" ? rest().substr(0, 2) : text;
            }
            if (std::string_view("+-*/%~()[]{}<>=!.:|,").find(c) == std::string_view::npos ||
                text == "!") {
                fail_syntax(at_, "an expression", printable_byte(c));
            }
            if (c == '(' || c == '[' || c == '{') {
                open.push_back(c == '(' ? ')' : c == '[' ? ']' : '}');
            } else if (c == ')' || c == ']' || c == '}') {
                if (open.empty() || open.back() != c) {
                    fail_syntax(at_, "brackets in pairs", std::string(1, c));
                }
                open.pop_back();
            }
            push(token_kind::op, text);
            advance(text.size());
        }
    }

    static std::string printable_byte(char c) {
        auto const byte = static_cast<unsigned char>(c);
        return byte > 0x20 && byte < 0x7F ? std::string(1, c) : "byte " + std::to_string(byte);
    }
    static bool is_digit(char c) { return c >= '0' && c <= '9'; }
    static bool is_word(char c) {
        return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
    }

    void word() {
        std::size_t end = 0;
        if (!is_digit(rest()[0])) {
            while (end < rest().size() && is_word(rest()[end])) {
                ++end;
            }
            push(token_kind::name, rest().substr(0, end));
            advance(end);
            return;
        }
        auto const digits = [&] {
            while (end < rest().size() && is_digit(rest()[end])) {
                ++end;
            }
        };
        digits();
        token_kind kind = token_kind::integer;
        // "x.0.1" is two subscripts; a fraction needs a digit behind its point.
        bool const behind_point =
            !out_.empty() && out_.back().text == "." && out_.back().kind == token_kind::op;
        if (!behind_point && end + 1 < rest().size() && rest()[end] == '.' &&
            is_digit(rest()[end + 1])) {
            kind = token_kind::real;
            ++end;
            digits();
        }
        if (end < rest().size() && is_word(rest()[end])) {
            fail_construct(at_, "number " + std::string(rest().substr(0, end + 1)));
        }
        push(kind, rest().substr(0, end));
        advance(end);
    }

    void string_literal(char quote) {
        std::size_t end = 1;
        while (end < rest().size() && rest()[end] != quote) {
            end += rest()[end] == '\\' ? 2 : 1;
        }
        if (end >= rest().size()) {
            fail_syntax(at_, "the end of a string", "the end of the template");
        }
        push(token_kind::string, unescape(rest().substr(1, end - 1)));
        advance(end + 1);
    }

    std::string unescape(std::string_view text) const {
        std::string out;
        for (std::size_t i = 0; i < text.size(); ++i) {
            if (text[i] != '\\') {
                out.push_back(text[i]);
                continue;
            }
            static constexpr std::string_view letters = "ntr\\'\"abfv0\n";
            static constexpr std::string_view meaning("\n\t\r\\'\"\a\b\f\v\0", 11);
            char const c = text[++i];
            std::size_t const digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
            if (digits != 0) {
                out += code_point(text.substr(i + 1, digits), digits);
                i += digits;
            } else if (c >= '0' && c <= '7') {
                fail_construct(at_, "octal escape in a string");
            } else if (c == 'N') {
                fail_construct(at_, "\\N in a string");
            } else if (std::size_t const k = letters.find(c); k == std::string_view::npos) {
                out.push_back('\\');
                out.push_back(c);
            } else if (k < meaning.size()) {
                out.push_back(meaning[k]);
            }  // an escaped newline is nothing
        }
        return out;
    }

    [[nodiscard]] std::string code_point(std::string_view hex, std::size_t digits) const {
        std::uint32_t code = 0;
        bool good = hex.size() == digits;
        for (char const c : hex) {
            std::size_t const digit = std::string_view("0123456789abcdef")
                                          .find(static_cast<char>(is_digit(c) ? c : c | 32));
            good = good && digit != std::string_view::npos && code < 0x1000000;
            code = code << 4 | static_cast<std::uint32_t>(digit & 15);
        }
        if (!good || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) {
            fail_construct(at_, "escape of no character in a string");
        }
        return utf8_of(code);
    }

    std::string source_;
    place at_;
    std::size_t position_ = 0;
    bool line_begins_ = true;  // the text that comes begins a line
    std::vector<token> out_;
};

}  // namespace fpq::chat
