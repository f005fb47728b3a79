// SPDX-License-Identifier: Apache-2.0
// Floor 5. A whole file as read-only memory, and the owning file descriptor that the storage
// headers share. It knows nothing of what the bytes mean. A file that another process truncates
// while it is mapped ends this process by SIGBUS: inputs must not change during a run.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <system_error>
#include <utility>

#include "fpq/core/hosted/error.hpp"

namespace fpq {

namespace detail {

/// The system's words for an errno value.
inline std::string system_words(int code) { return std::generic_category().message(code); }

/// f(piece) for pieces of at most 16 MiB, in order: what walks a mapped file this way and releases
/// each piece holds no more of it. The size is a multiple of every element's.
template <class F>
void for_each_piece(std::span<std::byte const> bytes, F const& f) {
    constexpr std::size_t most = std::size_t{16} << 20;
    for (std::size_t at = 0; at < bytes.size(); at += most) {
        f(bytes.subspan(at, std::min(most, bytes.size() - at)));
    }
}

/// A file descriptor that closes itself. Move only.
class unique_fd {
public:
    unique_fd() = default;
    explicit unique_fd(int fd) noexcept : fd_(fd) {}
    unique_fd(unique_fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    unique_fd& operator=(unique_fd&& other) noexcept {
        std::swap(fd_, other.fd_);
        return *this;
    }
    ~unique_fd() {
        if (fd_ >= 0) {
            ::close(fd_);
        }
    }
    [[nodiscard]] int get() const noexcept { return fd_; }
    /// Somebody else closes it.
    void release() noexcept { fd_ = -1; }
    [[nodiscard]] explicit operator bool() const noexcept { return fd_ >= 0; }

private:
    int fd_ = -1;
};

struct regular_file {
    unique_fd fd;
    std::uint64_t size = 0;  // bytes
};

/// Opens a regular file for reading. Pipes and devices are refused, not waited on.
/// Errors: fpq::error (input) by path.
inline regular_file open_regular(std::filesystem::path const& path) {
    unique_fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    struct stat facts {};
    if (!fd || ::fstat(fd.get(), &facts) != 0) {
        fail_input("cannot read file", path.string(), "a readable file", system_words(errno));
    }
    if (!S_ISREG(facts.st_mode)) {
        fail_input("cannot read file", path.string(), "a regular file",
                   S_ISDIR(facts.st_mode)    ? "a directory"
                   : S_ISFIFO(facts.st_mode) ? "a pipe"
                                             : "a device or socket");
    }
    return {std::move(fd), static_cast<std::uint64_t>(facts.st_size)};
}

}  // namespace detail

/// A file mapped read-only for the life of the object. Move only; moving keeps the addresses.
/// Errors: fpq::error (input) when the path cannot be opened, is no regular file or cannot be
/// mapped. An empty file gives an empty span.
class mapped_file {
public:
    explicit mapped_file(std::filesystem::path const& path) {
        detail::regular_file const file = detail::open_regular(path);
        size_ = static_cast<std::size_t>(file.size);
        if (size_ == 0) {
            return;
        }
        void* const at = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.fd.get(), 0);
        if (at == MAP_FAILED) {
            fail_input("cannot map", path.string(), std::to_string(size_) + " bytes",
                       detail::system_words(errno));
        }
        data_ = static_cast<std::byte const*>(at);
    }
    mapped_file(mapped_file&& other) noexcept
        : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
    mapped_file& operator=(mapped_file&& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        return *this;
    }
    ~mapped_file() {
        if (data_ != nullptr) {
            ::munmap(const_cast<std::byte*>(data_), size_);
        }
    }

    /// Every byte of the file.
    [[nodiscard]] std::span<std::byte const> bytes() const noexcept { return {data_, size_}; }

    /// Takes the pages of `part`, a piece of bytes(), out of this process; what is touched again is
    /// mapped again. Addresses and contents stay; nothing is read or written. Safe beside readers.
    void release(std::span<std::byte const> part) const noexcept {
        // A fault maps more than its page: a window, or a whole folio of the page cache, up to what
        // one page table holds. Give back those of the borders too, or small tensors never go.
        constexpr std::uintptr_t window = std::uintptr_t{2} << 20;
        auto const begin = reinterpret_cast<std::uintptr_t>(data_);
        auto const from = reinterpret_cast<std::uintptr_t>(part.data());
        std::uintptr_t const first = std::max(begin, from / window * window);
        std::uintptr_t const last =
            std::min(begin + size_, (from + part.size() + window - 1) / window * window);
        if (!part.empty()) {
            ::madvise(const_cast<std::byte*>(data_) + (first - begin), last - first, MADV_DONTNEED);
        }
    }

private:
    std::byte const* data_ = nullptr;
    std::size_t size_ = 0;
};

}  // namespace fpq
