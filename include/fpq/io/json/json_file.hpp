// SPDX-License-Identifier: Apache-2.0
// Floor 5. Strict JSON text: nlohmann's parser with its errors turned into one-line fpq::errors
// that name file, byte and line, duplicate keys refused, size and nesting bounded. No meaning is
// read here; typed access is json_value.hpp.
#pragma once

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/io/file/mapped_file.hpp"

namespace fpq {

/// Deepest nesting that is read; configs and indices need fewer than ten.
inline constexpr std::size_t json_depth_limit = 64;

/// Largest file that is read, in bytes; the vocabulary of a tokenizer needs some 30 MB.
inline constexpr std::size_t json_size_limit = std::size_t{256} << 20;

namespace detail {

/// Printable ASCII of `text`, at most `most` characters: safe to put in an error line.
inline std::string printable(std::string_view text, std::size_t most = 120) {
    std::string out;
    for (char const c : text.substr(0, most)) {
        out.push_back(c >= 0x20 && c < 0x7F ? c : '?');
    }
    return text.size() > most ? out + "..." : out;
}

/// The middle of nlohmann's message: without its prefix and without the (unbounded) last token.
inline std::string json_reason(std::string_view message) {
    std::size_t const from = message.find("] ");
    std::string_view text = from == std::string_view::npos ? message : message.substr(from + 2);
    if (std::size_t const detail = text.find(": "); detail != std::string_view::npos) {
        text = text.substr(detail + 2);
    }
    return printable(text.substr(0, text.find("; last read")));
}

[[noreturn]] inline void fail_json(std::string_view where, std::size_t byte,
                                   std::string_view expected, std::string_view found) {
    std::string place(where);
    place.append(": byte ").append(std::to_string(byte));
    fail_input("malformed JSON", place, expected, found);
}

/// With the line, counted from 1, where `text` has more than one.
[[noreturn]] inline void fail_json(std::string_view where, std::string_view text, std::size_t byte,
                                   std::string_view expected, std::string_view found) {
    std::string place(where);
    place.append(": byte ").append(std::to_string(byte));
    if (text.find('\n') < text.size() - 1) {  // npos is more
        std::string_view const before = text.substr(0, byte);
        std::size_t const line = 1 + std::count(before.begin(), before.end(), '\n');
        place.append(" (line ").append(std::to_string(line)).append(")");
    }
    fail_input("malformed JSON", place, expected, found);
}

/// A character iterator that tells where the parser stands. nlohmann reads through copies of it.
class counting_iterator {
public:
    using iterator_category = std::input_iterator_tag;
    using value_type = char;
    using difference_type = std::ptrdiff_t;
    using pointer = char const*;
    using reference = char const&;

    counting_iterator(char const* at, char const** progress) noexcept
        : at_(at), progress_(progress) {}
    reference operator*() const noexcept { return *at_; }
    counting_iterator& operator++() noexcept {
        *progress_ = ++at_;
        return *this;
    }
    counting_iterator operator++(int) noexcept {
        counting_iterator const old = *this;
        ++*this;
        return old;
    }
    bool operator==(counting_iterator const& other) const noexcept { return at_ == other.at_; }
    bool operator!=(counting_iterator const& other) const noexcept { return at_ != other.at_; }

private:
    char const* at_;
    char const** progress_;
};

/// Runs a SAX handler over `text`. The handler reports by throwing; it is told positions through
/// `progress`. Syntax errors become fpq::error with the byte (`offset` + position in `text`).
template <class Handler>
void sax_parse(std::string_view text, Handler& handler, char const** progress) {
    char const* const end = text.data() + text.size();
    *progress = text.data();
    nlohmann::json::sax_parse(counting_iterator(text.data(), progress),
                              counting_iterator(end, progress), &handler);
}

/// Checks what nlohmann's parser accepts and we do not, while it builds the value: duplicate keys
/// and deep nesting.
class json_checker {
public:
    json_checker(std::string_view where, std::string_view text, char const* const* progress)
        : where_(where), text_(text), progress_(progress) {}

    bool operator()(int, nlohmann::json::parse_event_t event, nlohmann::json const& value) {
        using kind = nlohmann::json::parse_event_t;
        if (event == kind::object_start || event == kind::array_start) {
            keys_.emplace_back();
            if (keys_.size() > json_depth_limit) {
                fail_json(where_, text_, byte(),
                          "nesting of at most " + std::to_string(json_depth_limit),
                          "deeper nesting");
            }
        } else if (event == kind::object_end || event == kind::array_end) {
            keys_.pop_back();
        } else if (event == kind::key) {
            std::string const& name = value.get_ref<std::string const&>();
            if (!keys_.back().insert(name).second) {
                fail_json(where_, text_, byte(), "each key once",
                          "key '" + printable(name) + "' twice");
            }
        }
        return true;
    }
    [[nodiscard]] std::size_t byte() const {
        return static_cast<std::size_t>(*progress_ - text_.data());
    }

private:
    std::string_view where_;
    std::string_view text_;
    char const* const* progress_;
    std::vector<std::unordered_set<std::string>> keys_;
};

}  // namespace detail

/// The value of a JSON text. Errors: fpq::error (input) naming `where`, the byte and the line for
/// anything that is not UTF-8 JSON, for a number that is none in double, for a key given twice and
/// for nesting beyond json_depth_limit.
inline nlohmann::json parse_json(std::string_view text, std::string_view where) {
    char const* progress = text.data();
    detail::json_checker checker(where, text, &progress);
    using iterator = detail::counting_iterator;
    try {
        return nlohmann::json::parse(iterator(text.data(), &progress),
                                     iterator(text.data() + text.size(), &progress),
                                     std::ref(checker));
    } catch (nlohmann::json::parse_error const& why) {
        detail::fail_json(where, text, why.byte == 0 ? 0 : why.byte - 1, "valid JSON",
                          detail::json_reason(why.what()));
    } catch (nlohmann::json::exception const& why) {
        detail::fail_json(where, text, checker.byte(), "valid JSON",
                          detail::json_reason(why.what()));
    }
}

/// The value of a JSON file. Errors: as parse_json, and a file that cannot be read or has more than
/// json_size_limit bytes.
inline nlohmann::json read_json_file(std::filesystem::path const& path) {
    mapped_file const file(path);
    if (file.bytes().size() > json_size_limit) {
        fail_input("JSON file is too large", path.string(),
                   "at most " + std::to_string(json_size_limit) + " bytes",
                   std::to_string(file.bytes().size()));
    }
    std::string_view const text(reinterpret_cast<char const*>(file.bytes().data()),
                                file.bytes().size());
    return parse_json(text, path.string());
}

}  // namespace fpq
