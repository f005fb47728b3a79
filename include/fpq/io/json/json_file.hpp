// SPDX-License-Identifier: Apache-2.0
// Floor 5. Strict JSON text: nlohmann's parser with its errors turned into one-line fpq::errors
// that name file, byte and line, duplicate keys refused, size and nesting bounded. No meaning is
// read here; typed access is json_value.hpp.
#pragma once

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/core/hosted/printable.hpp"
#include "fpq/io/file/lfs_pointer.hpp"
#include "fpq/io/file/mapped_file.hpp"

namespace fpq {

/// Deepest nesting that is read; configs and indices need fewer than ten.
inline constexpr std::size_t json_depth_limit = 64;

/// Largest file that is read, in bytes; the vocabulary of a tokenizer needs some 30 MB.
inline constexpr std::size_t json_size_limit = std::size_t{256} << 20;

namespace detail {

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

/// Checks what nlohmann's parser accepts and we do not: duplicate keys and deep nesting.
class json_checker : public nlohmann::json_sax<nlohmann::json> {
public:
    json_checker(std::string_view where, std::string_view text) : where_(where), text_(text) {}
    char const* progress = nullptr;

    bool null() override { return true; }
    bool boolean(bool) override { return true; }
    bool number_integer(number_integer_t) override { return true; }
    bool number_unsigned(number_unsigned_t) override { return true; }
    bool number_float(number_float_t, string_t const&) override { return true; }
    bool string(string_t&) override { return true; }
    bool binary(binary_t&) override { return true; }
    bool start_object(std::size_t) override { return enter(); }
    bool start_array(std::size_t) override { return enter(); }
    bool end_object() override { return leave(); }
    bool end_array() override { return leave(); }
    bool key(string_t& name) override {
        if (!keys_.back().insert(name).second) {
            fail_json(where_, text_, byte(), "each key once",
                      "key '" + printable(name) + "' twice");
        }
        return true;
    }
    bool parse_error(std::size_t position, std::string const&,
                     nlohmann::json::exception const& why) override {
        fail_json(where_, text_, position == 0 ? 0 : position - 1, "valid JSON",
                  json_reason(why.what()));
    }

private:
    [[nodiscard]] std::size_t byte() const {
        return static_cast<std::size_t>(progress - text_.data());
    }
    bool enter() {
        keys_.emplace_back();
        if (keys_.size() > json_depth_limit) {
            fail_json(where_, text_, byte(),
                      "nesting of at most " + std::to_string(json_depth_limit), "deeper nesting");
        }
        return true;
    }
    bool leave() {
        keys_.pop_back();
        return true;
    }

    std::string_view where_;
    std::string_view text_;
    std::vector<std::unordered_set<std::string>> keys_;
};

}  // namespace detail

/// The value of a JSON text. Errors: fpq::error (input) naming `where`, the byte and the line for
/// anything that is not UTF-8 JSON, for a number that is none in double, for a key given twice and
/// for nesting beyond json_depth_limit.
inline nlohmann::json parse_json(std::string_view text, std::string_view where) {
    detail::json_checker checker(where, text);
    detail::sax_parse(text, checker, &checker.progress);
    return nlohmann::json::parse(text.begin(), text.end());
}

namespace detail {

/// The text of a JSON file; `file` is its map.
inline std::string_view json_text(mapped_file const& file, std::filesystem::path const& path) {
    if (file.bytes().size() > json_size_limit) {
        fail_input("JSON file is too large", path.string(),
                   "at most " + std::to_string(json_size_limit) + " bytes",
                   std::to_string(file.bytes().size()));
    }
    refuse_lfs_pointer(file.bytes(), path);
    return {reinterpret_cast<char const*>(file.bytes().data()), file.bytes().size()};
}

}  // namespace detail

/// The value of a JSON file. Errors: as parse_json, and a file that cannot be read or has more than
/// json_size_limit bytes.
inline nlohmann::json read_json_file(std::filesystem::path const& path) {
    mapped_file const file(path);
    return parse_json(detail::json_text(file, path), path.string());
}

/// The errors of read_json_file without its value, which for a tokenizer is large.
inline void check_json_file(std::filesystem::path const& path) {
    mapped_file const file(path);
    std::string_view const text = detail::json_text(file, path);
    std::string const where = path.string();
    detail::json_checker checker(where, text);
    detail::sax_parse(text, checker, &checker.progress);
}

}  // namespace fpq
