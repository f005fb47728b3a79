// SPDX-License-Identifier: Apache-2.0
// Floor 5. Documents in order, read one at a time: a few in memory, many in an unnamed temporary
// file. A calibration set may be larger than the memory, its windows never are.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <initializer_list>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/io/file/mapped_file.hpp"
#include "fpq/io/text/text_unicode.hpp"

namespace fpq {

/// Move only. Temporary files lie where std::filesystem::temp_directory_path says (TMPDIR).
/// Errors of append and document: fpq::error (input) by that directory, when it is full as a rule.
class document_store {
public:
    /// Bytes that are held in memory; beyond them goes the file.
    static constexpr std::size_t memory_bytes = std::size_t{8} << 20;

    document_store() = default;
    document_store(std::vector<std::string> const& documents) {  // NOLINT: a vector is one
        for (std::string const& text : documents) {
            append(text);
        }
    }
    document_store(std::initializer_list<std::string> documents)
        : document_store(std::vector<std::string>(documents)) {}

    void append(std::string_view text) {
        malformed_ += last_.malformed() ? 1 : 0;
        last_ = {};
        ends_.push_back(bytes());
        extend(text);
    }

    /// The last document goes on; there must be one. Parts may end anywhere, within a character
    /// too.
    void extend(std::string_view text) {
        replaced_ += last_.look(text);
        if (recent_.size() + text.size() > memory_bytes && !recent_.empty()) {
            spill();
        }
        recent_ += text;
        ends_.back() = spilled_ + recent_.size();
    }

    [[nodiscard]] std::size_t size() const noexcept { return ends_.size(); }
    [[nodiscard]] bool empty() const noexcept { return ends_.empty(); }
    /// Of all documents together.
    [[nodiscard]] std::uint64_t bytes() const noexcept { return ends_.empty() ? 0 : ends_.back(); }
    /// Documents that are no valid UTF-8.
    [[nodiscard]] std::size_t malformed() const noexcept {
        return malformed_ + (last_.malformed() ? 1 : 0);
    }
    /// U+FFFD in all documents: what a decoder writes for what it did not understand.
    [[nodiscard]] std::size_t replaced() const noexcept { return replaced_; }

    /// Document i, below size().
    [[nodiscard]] std::string operator[](std::size_t i) const {
        std::string out;
        append_to(out, i == 0 ? 0 : ends_[i - 1], ends_[i]);
        return out;
    }
    /// All documents one after another with `between` between them.
    [[nodiscard]] std::string joined(std::string_view between) const {
        std::string out;
        out.reserve(static_cast<std::size_t>(bytes()) + size() * between.size());
        for (std::size_t i = 0; i < size(); ++i) {
            out += i == 0 ? std::string_view() : between;
            append_to(out, i == 0 ? 0 : ends_[i - 1], ends_[i]);
        }
        return out;
    }
    [[nodiscard]] std::vector<std::string> all() const {
        std::vector<std::string> out;
        for (std::size_t i = 0; i < size(); ++i) {
            out.push_back((*this)[i]);
        }
        return out;
    }

private:
    /// A document's encoding, seen part by part.
    class encoding {
    public:
        /// The next part; how many more U+FFFD there are.
        std::size_t look(std::string_view part) {
            std::string const seen = carried_.append(part);
            std::size_t const good = valid_utf8_prefix(seen);
            malformed_ = malformed_ || seen.size() - good > longest_cut;
            carried_ = seen.substr(malformed_ ? seen.size() - std::min(seen.size(), mark.size() - 1)
                                              : good);
            std::size_t marks = 0;
            for (std::size_t at = seen.find(mark); at != std::string::npos;
                 at = seen.find(mark, at + mark.size())) {
                ++marks;
            }
            return marks;
        }
        /// As if nothing came any more.
        [[nodiscard]] bool malformed() const noexcept { return malformed_ || !carried_.empty(); }

    private:
        static constexpr std::string_view mark = "\xEF\xBF\xBD";
        static constexpr std::size_t longest_cut = 3;  // bytes of a character that is not whole
        std::string carried_;  // what may go on: part of a character, or of a mark
        bool malformed_ = false;
    };

    [[noreturn]] static void refuse(char const* what) {
        int const code = errno;
        std::error_code failed;
        std::filesystem::path const directory = std::filesystem::temp_directory_path(failed);
        fail_input(what, failed ? std::string("TMPDIR") : directory.string(),
                   "space for the calibration text", detail::system_words(code));
    }

    /// Appends the bytes [begin, end) of all documents together.
    void append_to(std::string& out, std::uint64_t begin, std::uint64_t end) const {
        std::uint64_t const in_file = std::min(end, spilled_);
        if (begin < in_file) {
            std::size_t at = out.size();
            out.resize(at + static_cast<std::size_t>(in_file - begin));
            while (begin < in_file) {
                ::ssize_t const got = ::pread(file_.get(), out.data() + at, out.size() - at,
                                              static_cast<::off_t>(begin));
                if (got < 0 && errno == EINTR) {
                    continue;
                }
                if (got <= 0) {
                    refuse("cannot read temporary file");
                }
                at += static_cast<std::size_t>(got);
                begin += static_cast<std::uint64_t>(got);
            }
        }
        if (begin < end) {
            out.append(recent_, static_cast<std::size_t>(begin - spilled_),
                       static_cast<std::size_t>(end - begin));
        }
    }

    /// Moves what is held in memory behind the bytes of the file.
    void spill() {
        if (!file_) {
            std::error_code failed;
            std::string name =
                (std::filesystem::temp_directory_path(failed) / "fpq-text-XXXXXX").string();
            file_ = detail::unique_fd(failed ? -1 : ::mkostemp(name.data(), O_CLOEXEC));
            if (!file_) {
                refuse("cannot create temporary file");
            }
            ::unlink(name.c_str());
        }
        for (std::size_t at = 0; at < recent_.size();) {
            ::ssize_t const put = ::write(file_.get(), recent_.data() + at, recent_.size() - at);
            if (put < 0 && errno == EINTR) {
                continue;
            }
            if (put <= 0) {
                refuse("cannot write temporary file");
            }
            at += static_cast<std::size_t>(put);
        }
        spilled_ += recent_.size();
        recent_.clear();
    }

    detail::unique_fd file_;
    std::string recent_;               // the bytes behind those of file_
    std::vector<std::uint64_t> ends_;  // of each document
    std::uint64_t spilled_ = 0;        // bytes of file_
    encoding last_;                    // of the last document
    std::size_t malformed_ = 0;        // of those before it
    std::size_t replaced_ = 0;
};

}  // namespace fpq
