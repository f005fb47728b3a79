// SPDX-License-Identifier: Apache-2.0
// Floor 5. Reads a text file line by line, gzip or not, through zlib with a fixed buffer: a C4
// shard is 800 MB when inflated. A gzip stream that ends early or is corrupt is refused.
#pragma once

#include <fcntl.h>
#include <unistd.h>
#include <zlib.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "fpq/core/hosted/error.hpp"
#include "fpq/io/file/mapped_file.hpp"

namespace fpq {

class line_reader {
public:
    /// `compressed`: the file must be gzip; otherwise it is read as it is.
    /// Errors: fpq::error (input) when it cannot be opened or is not gzip.
    line_reader(std::filesystem::path const& path, bool compressed)
        : name_(path.string()), file_(open(path), gzclose) {
        gzbuffer(file_.get(), 1U << 17);
        fill();
        if (compressed && gzdirect(file_.get()) != 0) {
            fail_input("not a gzip file", name_, "gzip's magic bytes 1f 8b", "others");
        }
    }

    /// Standard input, gzip or not. Errors: fpq::error (input) when it is a terminal or closed.
    line_reader() : name_("standard input"), file_(open_standard_input(), gzclose) {
        gzbuffer(file_.get(), 1U << 17);
        fill();
    }

    [[nodiscard]] std::string const& name() const noexcept { return name_; }
    /// What next() reads next, as far as it is known: empty at the end only.
    [[nodiscard]] std::string_view peek() const { return {buffer_.data() + begin_, end_ - begin_}; }

    /// The next line without its line end; false at the end of the file.
    bool next(std::string& line) {
        line.clear();
        if (begin_ == end_ && !fill()) {
            return false;
        }
        ++number_;
        do {
            std::string_view const rest(buffer_.data() + begin_, end_ - begin_);
            std::size_t const feed = rest.find('\n');
            line.append(rest.substr(0, feed));
            if (line.size() > line_limit) {
                fail_input("line is too long", where(),
                           "at most " + std::to_string(line_limit) + " bytes", "more");
            }
            if (feed != std::string_view::npos) {
                begin_ += feed + 1;
                break;
            }
        } while (fill());
        if (!line.empty() && line.back() == '\r') {
            line.pop_back();
        }
        return true;
    }

    /// Calls f(piece) for everything that next() has not given, at most a buffer at a time.
    /// Errors: as next(), and for more than `most` bytes.
    template <class F>
    void rest_in_pieces(F f, std::size_t most = text_limit) {
        std::size_t given = 0;
        do {
            given += end_ - begin_;
            if (given > most) {
                fail_input("text is too long", name_, "at most " + std::to_string(most) + " bytes",
                           "more");
            }
            f(peek());
        } while (fill());
    }

    /// The same as one text.
    std::string rest(std::size_t most = text_limit) {
        std::string out;
        rest_in_pieces([&](std::string_view piece) { out += piece; }, most);
        return out;
    }

    /// "FILE line N" of the line that next() gave last.
    std::string where() const { return name_ + " line " + std::to_string(number_); }

private:
    /// A document is a line; no text of real use comes near, a few kilobytes of gzip can.
    static constexpr std::size_t line_limit = std::size_t{16} << 20;
    static constexpr std::size_t text_limit = std::size_t{1} << 30;

    static gzFile open_standard_input() {
        if (::isatty(STDIN_FILENO) != 0) {
            fail_input("cannot read text", "standard input", "a file or pipe", "a terminal");
        }
        detail::unique_fd fd(::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0));
        gzFile const file = fd ? gzdopen(fd.get(), "rb") : nullptr;
        if (file == nullptr) {
            fail_input("cannot read text", "standard input", {}, detail::system_words(errno));
        }
        fd.release();
        return file;
    }

    static gzFile open(std::filesystem::path const& path) {
        detail::regular_file opened = detail::open_regular(path);
        gzFile const file = gzdopen(opened.fd.get(), "rb");
        if (file == nullptr) {
            fail_input("cannot read file", path.string(), {}, "no memory");
        }
        opened.fd.release();
        return file;
    }

    bool fill() {
        int const got = gzread(file_.get(), buffer_.data(), static_cast<unsigned>(buffer_.size()));
        int code = Z_OK;
        char const* const message = gzerror(file_.get(), &code);
        if (got < 0 || (code != Z_OK && code != Z_STREAM_END)) {
            fail_input("compressed file is truncated or corrupt", where(), "a whole gzip stream",
                       message);
        }
        begin_ = 0;
        end_ = static_cast<std::size_t>(got);
        return got > 0;
    }

    std::string name_;
    std::unique_ptr<gzFile_s, int (*)(gzFile)> file_;
    std::array<char, 1U << 16> buffer_{};
    std::size_t begin_ = 0;  // unread bytes of buffer_ are [begin_, end_)
    std::size_t end_ = 0;
    std::size_t number_ = 0;
};

}  // namespace fpq
